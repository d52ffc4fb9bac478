"""A ring of N container nodes on one segment, each joined by VXLAN to the two before it and the two after it.

Node i is the netns n{i}, its container c{i}. The segment is a bridge in a netns of its own, or several bridges when
there are more nodes than one has ports for. Adding or removing the last node touches only its neighbours in the ring.

    netdsl up stacks/ring.py -p nodes=100 --verify
    netdsl exec c0 -- ping 172.16.2.2
"""

from __future__ import annotations

from typing import NamedTuple, TypedDict

from netdsl import Bridge, Netns, Reachable, Route, Veth, VethEnd, Vxlan, VxlanPeer, stack

PORTS = 1000
"""Nodes that fit on one bridge: the kernel takes 1,023 ports, and the first has those to the other bridges too."""

NODES_MOST = 4096
"""As many container networks (/24) as 172.16.0.0/12 holds."""


class Node(NamedTuple):
    """What others need to know of a node.

    vtep       its end of the tunnels
    subnet     its container network
    netns      its container's network namespace
    container  its container's address
    """

    vtep: Vxlan
    subnet: str
    netns: Netns
    container: str


class Ring(TypedDict):
    """The first bridge of the segment, for more to be plugged in, and the addresses of two containers to talk to."""

    segment: Bridge
    first: str
    last: str


@stack
def ring(nodes: int = 5, vni: int = 1, port: int = 8472, per_bridge: int = PORTS) -> Ring:
    """A ring of container nodes, each joined by VXLAN to the two before it and the two after it.

    nodes       how many
    vni         the VXLAN network identifier
    port        the UDP port of the tunnels
    per_bridge  nodes on one bridge of the segment; with fewer there are more bridges
    """
    if not 1 <= nodes <= NODES_MOST:
        raise ValueError(f"nodes must be between 1 and {NODES_MOST}, not {nodes}")
    if not 1 <= per_bridge <= PORTS:
        raise ValueError(f"per_bridge must be between 1 and {PORTS}, not {per_bridge}")
    bridges = segment(count=(nodes + per_bridge - 1) // per_bridge)
    members = [container_node(i, bridges[i // per_bridge], vni, port) for i in range(nodes)]
    for i, here in enumerate(members):
        for j in neighbours(i, nodes):
            there = members[j]
            VxlanPeer(f"n{i}-to-n{j}", vtep=here.vtep, peer=there.vtep, subnets=[there.subnet])
        if nodes > 1:
            Reachable(here.netns, members[(i + 1) % nodes].container)
    return {"segment": bridges[0], "first": members[0].container, "last": members[-1].container}


def segment(count: int) -> list[Bridge]:
    """The bridges that nodes are plugged into; a veth pair joins each further one to the first."""
    with Netns("underlay"):
        first = Bridge("br0")
        bridges = [first]
        for k in range(1, count):
            further = Bridge(f"br{k}")
            Veth(f"trunk{k}", master=first, peer=VethEnd(f"trunk{k}p", master=further))
            bridges.append(further)
    return bridges


def container_node(i: int, bridge: Bridge, vni: int, port: int) -> Node:
    """Node i, plugged into a bridge of the segment, with its container."""
    underlay = f"10.200.{i // 250}.{i % 250 + 1}"
    prefix = f"172.{16 + i // 256}.{i % 256}"
    container = Netns(f"c{i}")
    with Netns(f"n{i}", forwarding=True):
        plug = VethEnd(f"port{i}", netns=bridge.netns, master=bridge)
        eth0 = Veth("eth0", addresses=[f"{underlay}/16"], peer=plug)
        br0 = Bridge("br0", addresses=[f"{prefix}.1/24"])
        inside = VethEnd("eth0", netns=container, addresses=[f"{prefix}.2/24"])
        Veth("veth0", master=br0, peer=inside)
        vtep = Vxlan(
            "vtep0",
            vni=vni,
            local=underlay,
            dev=eth0,
            port=port,
            learning=False,
            mtu=1450,
            addresses=[f"{prefix}.0/32"],
        )
    Route("default", dst="default", via=f"{prefix}.1", dev=inside)
    return Node(vtep, f"{prefix}.0/24", container, f"{prefix}.2")


def neighbours(i: int, nodes: int) -> list[int]:
    """The nodes up to two steps away on a ring.

    >>> neighbours(0, 5), neighbours(0, 3), neighbours(0, 1)
    ([1, 2, 3, 4], [1, 2], [])
    """
    return sorted({(i + step) % nodes for step in (-2, -1, 1, 2)} - {i})
