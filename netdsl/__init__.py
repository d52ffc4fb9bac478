"""netdsl: the Linux network stack, declared in Python. These are the names that the author of a stack imports."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netdsl.components.overlay import Overlay, OverlayNode
    from netdsl.components.vxlan_peer import VxlanPeer
    from netdsl.kinds.address import Address
    from netdsl.kinds.bond import Bond
    from netdsl.kinds.bridge import Bridge
    from netdsl.kinds.bridge_vlan import BridgeVlan
    from netdsl.kinds.dnat import Dnat
    from netdsl.kinds.dummy import Dummy
    from netdsl.kinds.fdb_entry import FdbEntry
    from netdsl.kinds.fq_codel import FqCodel
    from netdsl.kinds.geneve import Geneve
    from netdsl.kinds.hop import Hop
    from netdsl.kinds.htb import Htb
    from netdsl.kinds.htb_class import HtbClass
    from netdsl.kinds.ipvlan import Ipvlan
    from netdsl.kinds.link import Link
    from netdsl.kinds.macvlan import Macvlan
    from netdsl.kinds.masquerade import Masquerade
    from netdsl.kinds.neighbor import Neighbor
    from netdsl.kinds.netem import Netem
    from netdsl.kinds.netns import Netns
    from netdsl.kinds.nexthop import Nexthop, NexthopGroup
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
    from netdsl.lang.check import Reachable, Unreachable
    from netdsl.lang.component import Component
    from netdsl.lang.item import Opts
    from netdsl.lang.reference import StackReference
    from netdsl.lang.stack import stack

__all__ = [
    "Address",
    "Bond",
    "Bridge",
    "BridgeVlan",
    "Component",
    "Dnat",
    "Dummy",
    "FdbEntry",
    "FqCodel",
    "Geneve",
    "Hop",
    "Htb",
    "HtbClass",
    "Ipvlan",
    "Link",
    "Macvlan",
    "Masquerade",
    "Neighbor",
    "Netem",
    "Netns",
    "Nexthop",
    "NexthopGroup",
    "Opts",
    "Overlay",
    "OverlayNode",
    "Reachable",
    "Route",
    "Rule",
    "Snat",
    "StackReference",
    "Sysctl",
    "Tap",
    "Tbf",
    "TcFilter",
    "Tunnel",
    "Unreachable",
    "Veth",
    "VethEnd",
    "Vlan",
    "Vrf",
    "Vxlan",
    "VxlanPeer",
    "VxlanVni",
    "WireGuard",
    "WireGuardPeer",
    "stack",
]

_HOMES = {
    "Overlay": "components.overlay",
    "OverlayNode": "components.overlay",
    "VxlanPeer": "components.vxlan_peer",
    "BridgeVlan": "kinds.bridge_vlan",
    "FdbEntry": "kinds.fdb_entry",
    "FqCodel": "kinds.fq_codel",
    "HtbClass": "kinds.htb_class",
    "NexthopGroup": "kinds.nexthop",
    "TcFilter": "kinds.tc_filter",
    "VethEnd": "kinds.veth",
    "VxlanVni": "kinds.vxlan_vni",
    "WireGuardPeer": "kinds.wireguard_peer",
    "Component": "lang.component",
    "Opts": "lang.item",
    "Reachable": "lang.check",
    "StackReference": "lang.reference",
    "Unreachable": "lang.check",
    "stack": "lang.stack",
}
"""Where a name lives that is not in a module of kinds/ with its own name in small letters."""


def __getattr__(name: str) -> object:
    """Import a name when it is asked for, so that `netdsl --help` does not pay for the language."""
    if name not in __all__:
        raise AttributeError(f"module 'netdsl' has no attribute {name!r}")
    found: object = getattr(import_module(f"netdsl.{_HOMES.get(name, f'kinds.{name.lower()}')}"), name)
    globals()[name] = found
    return found
