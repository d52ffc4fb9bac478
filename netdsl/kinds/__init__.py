"""All kinds, in one explicit list."""

from __future__ import annotations

from netdsl.kinds.address import Address
from netdsl.kinds.bond import Bond
from netdsl.kinds.bridge import Bridge
from netdsl.kinds.bridge_vlan import BridgeVlan
from netdsl.kinds.dnat import Dnat
from netdsl.kinds.dummy import Dummy
from netdsl.kinds.fdb_entry import FdbEntry
from netdsl.kinds.fq_codel import FqCodel
from netdsl.kinds.geneve import Geneve
from netdsl.kinds.htb import Htb
from netdsl.kinds.htb_class import HtbClass
from netdsl.kinds.ipvlan import Ipvlan
from netdsl.kinds.link import FALLBACK_LINKS, LINK_KINDS, Link
from netdsl.kinds.link_dump import LINKS
from netdsl.kinds.macvlan import Macvlan
from netdsl.kinds.masquerade import Masquerade
from netdsl.kinds.neighbor import Neighbor
from netdsl.kinds.netem import Netem
from netdsl.kinds.netns import Netns
from netdsl.kinds.nexthop import Nexthop, NexthopGroup
from netdsl.kinds.qdisc import Qdisc
from netdsl.kinds.route import Route
from netdsl.kinds.rule import Rule
from netdsl.kinds.snat import Snat
from netdsl.kinds.sysctl import Sysctl
from netdsl.kinds.tap import Tap
from netdsl.kinds.tbf import Tbf
from netdsl.kinds.tc_filter import TcFilter
from netdsl.kinds.tunnel import Tunnel
from netdsl.kinds.veth import Veth, VethEnd
from netdsl.kinds.vlan import Vlan
from netdsl.kinds.vrf import Vrf
from netdsl.kinds.vxlan import Vxlan
from netdsl.kinds.vxlan_vni import VxlanVni
from netdsl.kinds.wireguard import WireGuard
from netdsl.kinds.wireguard_peer import WireGuardPeer
from netdsl.lang.resource import Resource

_ALL: tuple[type[Resource], ...] = (
    Netns,
    Sysctl,
    Bridge,
    Dummy,
    Veth,
    VethEnd,
    Vxlan,
    Tunnel,
    BridgeVlan,
    Vlan,
    Vrf,
    VxlanVni,
    Macvlan,
    Ipvlan,
    Geneve,
    Tap,
    Bond,
    WireGuard,
    WireGuardPeer,
    Address,
    Neighbor,
    FdbEntry,
    Nexthop,
    NexthopGroup,
    Route,
    Rule,
    Netem,
    Tbf,
    FqCodel,
    Htb,
    HtbClass,
    TcFilter,
    Masquerade,
    Snat,
    Dnat,
)

KINDS: dict[str, type[Resource]] = {cls.word: cls for cls in _ALL}
"""The kernel's word -> class."""

# Veth and VethEnd are the kernel's one kind "veth"; the former stands for both when they are read.
for _link in (*_ALL, Veth):
    if issubclass(_link, Link):
        LINK_KINDS.update(dict.fromkeys((*_link.kernels, _link.kernel or _link.word), _link))

Qdisc.own = {cls.word: cls for cls in _ALL if issubclass(cls, Qdisc)}

__all__ = ["FALLBACK_LINKS", "KINDS", "LINKS", "LINK_KINDS"]
