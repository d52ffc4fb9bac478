"""What the two-node labs share: two nodes on one segment, and behind each of them a bridge with a container.

    ns245 eth0 --- veth245 br245  vm1  eth0 --- eth0  vm2  br246 veth246 --- eth0 ns246

This file is no stack: a stack calls `two_nodes` and adds its own way from one container network to the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Interface, IPv4Network
from typing import NamedTuple

from netdsl import Bridge, Link, Netns, Route, Veth, VethEnd


class Node(NamedTuple):
    """A node and its container.

    tag        the number in its device names: br245, veth245, ns245
    netns      the node's network namespace
    eth0       its link to the other node
    address    its address on that link
    subnet     its container network: the first address is the bridge's, the second the container's
    container  the container's network namespace
    inside     the container's address
    """

    tag: int
    netns: Netns
    eth0: Link
    address: str
    subnet: str
    container: Netns
    inside: str


def two_nodes(subnets: Sequence[str], underlay: Sequence[str], segment: Bridge | None = None) -> tuple[Node, Node]:
    """Declare the nodes vm1 and vm2.

    subnets   their container networks
    underlay  their addresses on the segment, with prefix length
    segment   a bridge that both are plugged into; absent: a veth pair joins them
    """
    if len(subnets) != 2 or len(underlay) != 2:
        raise ValueError(f"two nodes need two subnets and two underlay addresses, not {subnets} and {underlay}")
    tags = tags_of(*subnets)
    vms = Netns("vm1", forwarding=True), Netns("vm2", forwarding=True)
    links = wire(vms, underlay) if segment is None else plug(vms, underlay, segment)
    first, second = map(container_node, tags, vms, links, underlay, subnets)
    return first, second


def tags_of(first: str, second: str) -> tuple[int, int]:
    """The first byte in which two networks differ: 245 and 246 for 172.245.0.0/24 and 172.246.0.0/24."""
    one, other = IPv4Network(first), IPv4Network(second)
    if one.overlaps(other):
        raise ValueError(f"the subnets {first} and {second} overlap")
    pairs = zip(one.network_address.packed, other.network_address.packed, strict=True)
    return next((a, b) for a, b in pairs if a != b)


def wire(vms: Sequence[Netns], underlay: Sequence[str]) -> list[Link]:
    """Join the nodes directly: eth0 of each is one end of a veth pair."""
    near, far = vms
    end = VethEnd("eth0", netns=far, addresses=[underlay[1]])
    return [Veth("eth0", netns=near, addresses=[underlay[0]], peer=end), end]


def plug(vms: Sequence[Netns], underlay: Sequence[str], segment: Bridge) -> list[Link]:
    """Plug the nodes into a bridge, whose ports are named after them."""
    return [
        Veth("eth0", netns=vm, addresses=[address], peer=VethEnd(vm.name, netns=segment.netns, master=segment))
        for vm, address in zip(vms, underlay, strict=True)
    ]


def container_node(tag: int, vm: Netns, eth0: Link, underlay: str, subnet: str) -> Node:
    """Give a node its bridge and its container."""
    network = IPv4Network(subnet)
    if network.num_addresses < 4:
        raise ValueError(f"the subnet {subnet} has no room for a bridge and a container")
    container = Netns(f"ns{tag}")
    with vm:
        bridge = Bridge(f"br{tag}", addresses=[f"{network[1]}/{network.prefixlen}"])
        inside = VethEnd("eth0", netns=container, addresses=[f"{network[2]}/{network.prefixlen}"])
        Veth(f"veth{tag}", master=bridge, peer=inside)
    Route("default", dst="default", via=str(network[1]), dev=inside)
    return Node(tag, vm, eth0, str(IPv4Interface(underlay).ip), subnet, container, str(network[2]))
