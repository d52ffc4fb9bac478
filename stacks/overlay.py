"""Container nodes joined each with each in one of flannel's three ways, which can be changed while the lab runs.

Node i is the netns n{i}, its container c{i}. With several segments the nodes are dealt out to them, and a router joins
them: host-gw cannot do that, and with direct_routing the tunnel is taken only where a packet has to cross the router.

    netdsl up stacks/overlay.py -p backend=vxlan -p nodes=4 --verify
    netdsl exec c0 -- ping 10.244.3.2
    netdsl up stacks/overlay.py -p backend=host-gw
"""

from __future__ import annotations

from typing import TypedDict

from netdsl import Bridge, Link, Netns, Overlay, OverlayNode, Reachable, Route, Veth, VethEnd, stack

NODES_MOST = 200


class Pods(TypedDict):
    """The addresses of two containers to talk to."""

    first: str
    last: str


@stack
def overlay(
    backend: str = "vxlan",
    nodes: int = 4,
    segments: int = 1,
    direct_routing: bool = False,
    per_peer: bool = False,
    ipv6: bool = False,
) -> Pods:
    """Container nodes joined each with each.

    backend         "host-gw", "ipip" or "vxlan"
    nodes           how many
    segments        how many segments they are dealt out to
    direct_routing  no tunnel between nodes on one segment
    per_peer        ipip: a device for each peer
    ipv6            the nodes reach each other over IPv6, and so do the containers
    """
    if not 1 <= nodes <= NODES_MOST or not 1 <= segments <= nodes:
        raise ValueError(f"nodes must be between 1 and {NODES_MOST}, and segments between 1 and nodes")
    bridges = underlay(segments, ipv6)
    members = [node(i, bridges[i % segments], i % segments, segments > 1, ipv6, nodes) for i in range(nodes)]
    Overlay("pods", nodes=members, backend=backend, direct_routing=direct_routing, per_peer=per_peer)
    return {"first": container_address(0, ipv6), "last": container_address(nodes - 1, ipv6)}


def underlay(segments: int, ipv6: bool) -> list[Bridge]:
    """The segments, and the router that joins them when there are several."""
    with Netns("underlay"):
        bridges = [Bridge(f"br{k}") for k in range(segments)]
    if segments > 1:
        router = Netns("router", forwarding=True)
        for k, bridge in enumerate(bridges):
            port = VethEnd(f"router{k}", netns=bridge.netns, master=bridge)
            Veth(f"eth{k}", netns=router, addresses=[node_address(k, 254, ipv6)], peer=port)
    return bridges


def node(i: int, bridge: Bridge, segment: int, routed: bool, ipv6: bool, nodes: int) -> OverlayNode:
    """Node i of so many, plugged into a segment, with its container, which is to reach that of the next node."""
    container = Netns(f"c{i}")
    with Netns(f"n{i}", forwarding=True):
        plug = VethEnd(f"n{i}", netns=bridge.netns, master=bridge)
        eth0: Link = Veth("eth0", addresses=[node_address(segment, i + 1, ipv6)], peer=plug)
        length = 64 if ipv6 else 24
        gateway = f"fd00:244:{i:x}::1" if ipv6 else f"10.244.{i}.1"
        br0 = Bridge("br0", addresses=[f"{gateway}/{length}"])
        inside = VethEnd("eth0", netns=container, addresses=[f"{container_address(i, ipv6)}/{length}"])
        Veth("veth0", master=br0, peer=inside)
        if routed:
            via = node_address(segment, 254, ipv6).partition("/")[0]
            Route("default", dst="::/0" if ipv6 else "default", via=via, dev=eth0)
    Route("default", dst="::/0" if ipv6 else "default", via=gateway, dev=inside)
    if nodes > 1:
        Reachable(container, container_address((i + 1) % nodes, ipv6))
    return OverlayNode(eth0, f"fd00:244:{i:x}::/64" if ipv6 else f"10.244.{i}.0/24")


def node_address(segment: int, host: int, ipv6: bool) -> str:
    """An address on a segment, with prefix length."""
    return f"fd00:10:{segment:x}::{host:x}/64" if ipv6 else f"10.10.{segment}.{host}/24"


def container_address(i: int, ipv6: bool) -> str:
    """The address of container i."""
    return f"fd00:244:{i:x}::2" if ipv6 else f"10.244.{i}.2"
