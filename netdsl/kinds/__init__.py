"""All kinds, in one explicit list; each is imported when somebody asks for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module

from netdsl.kinds.link import LINK_KINDS, Link
from netdsl.kinds.link_dump import FALLBACK_LINKS, LINKS
from netdsl.lang.resource import Resource

_HOMES = {
    "netns": "netns.Netns",
    "sysctl": "sysctl.Sysctl",
    "bridge": "bridge.Bridge",
    "dummy": "dummy.Dummy",
    "veth": "veth.Veth",
    "veth-end": "veth.VethEnd",
    "vxlan": "vxlan.Vxlan",
    "tunnel": "tunnel.Tunnel",
    "bridge-vlan": "bridge_vlan.BridgeVlan",
    "vlan": "vlan.Vlan",
    "vrf": "vrf.Vrf",
    "vxlan-vni": "vxlan_vni.VxlanVni",
    "macvlan": "macvlan.Macvlan",
    "ipvlan": "ipvlan.Ipvlan",
    "geneve": "geneve.Geneve",
    "tap": "tap.Tap",
    "bond": "bond.Bond",
    "wireguard": "wireguard.WireGuard",
    "wireguard-peer": "wireguard_peer.WireGuardPeer",
    "address": "address.Address",
    "neighbor": "neighbor.Neighbor",
    "fdb": "fdb_entry.FdbEntry",
    "nexthop": "nexthop.Nexthop",
    "nexthop-group": "nexthop.NexthopGroup",
    "route": "route.Route",
    "rule": "rule.Rule",
    "netem": "netem.Netem",
    "tbf": "tbf.Tbf",
    "fq_codel": "fq_codel.FqCodel",
    "htb": "htb.Htb",
    "htb-class": "htb_class.HtbClass",
    "tc-filter": "tc_filter.TcFilter",
    "masquerade": "masquerade.Masquerade",
    "snat": "snat.Snat",
    "dnat": "dnat.Dnat",
}
"""The kernel's word -> module and class."""


class _Kinds(Mapping[str, type[Resource]]):
    """The kernel's word -> class. A program that is two links long does not wait for forty kinds."""

    def __init__(self) -> None:
        self._imported: dict[str, type[Resource]] = {}

    def __getitem__(self, word: str) -> type[Resource]:
        found = self._imported.get(word)
        if found is None:
            module, _, name = _HOMES[word].partition(".")
            found = self._imported[word] = getattr(import_module(f"netdsl.kinds.{module}"), name)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(_HOMES)

    def __len__(self) -> int:
        return len(_HOMES)


KINDS = _Kinds()


def link_kinds() -> Mapping[str, type[Link]]:
    """All kinds of links, by what the kernel calls them (IFLA_INFO_KIND)."""
    list(KINDS.values())
    return LINK_KINDS


__all__ = ["FALLBACK_LINKS", "KINDS", "LINKS", "link_kinds"]
