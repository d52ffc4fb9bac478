"""Two container nodes joined by VXLAN: the smallest overlay in the way of flannel.

From ns245 to ns246 a packet takes br245, is wrapped in UDP by vtep245, leaves vm1 by eth0, and is unwrapped by vtep246
in vm2. Learning is off: what flannel keeps of each node in etcd, a VxlanPeer declares.

    netdsl up stacks/two_node_vxlan.py --verify
    netdsl exec ns245 -- ping 172.246.0.2
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network
from typing import TypedDict

from netdsl import Bridge, Netns, Reachable, Vxlan, VxlanPeer, stack
from two_nodes import Node, two_nodes

MTU = 1450
"""Bytes of the largest packet between containers: VXLAN takes 50 of the 1500 of eth0."""


class Overlay(TypedDict):
    """What another stack, or a person, may want to know of the lab."""

    vm1: Netns
    vm2: Netns
    container1: Netns
    container2: Netns
    vm1_mac: str
    vm2_mac: str


@stack
def two_node_vxlan(
    subnets: Sequence[str] = ("172.245.0.0/24", "172.246.0.0/24"),
    underlay: Sequence[str] = ("192.168.32.245/24", "192.168.32.246/24"),
    vni: int = 1,
    port: int = 8472,
    segment: Bridge | None = None,
) -> Overlay:
    """Two container nodes joined by VXLAN.

    subnets   the container network of each node
    underlay  the address of each node, with prefix length
    vni       the VXLAN network identifier
    port      the UDP port of the tunnel
    segment   a bridge to plug the nodes into, so that there can be more on it; absent: a veth pair joins them
    """
    vm1, vm2 = two_nodes(subnets, underlay, segment)
    vtep1, vtep2 = vtep(vm1, vni, port), vtep(vm2, vni, port)
    VxlanPeer("to-vm2", vtep=vtep1, peer=vtep2, subnets=[vm2.subnet])
    VxlanPeer("to-vm1", vtep=vtep2, peer=vtep1, subnets=[vm1.subnet])
    for near, far in ((vm1, vm2), (vm2, vm1)):
        Reachable(near.container, far.inside)
        Reachable(near.container, far.inside, size=MTU)
    return {
        "vm1": vm1.netns,
        "vm2": vm2.netns,
        "container1": vm1.container,
        "container2": vm2.container,
        "vm1_mac": vtep1.mac,
        "vm2_mac": vtep2.mac,
    }


def vtep(node: Node, vni: int, port: int) -> Vxlan:
    """The node's end of the tunnel. It carries the subnet's own address, which no container can have."""
    return Vxlan(
        f"vtep{node.tag}",
        netns=node.netns,
        vni=vni,
        local=node.address,
        dev=node.eth0,
        port=port,
        learning=False,
        mtu=MTU,
        addresses=[f"{IPv4Network(node.subnet).network_address}/32"],
    )
