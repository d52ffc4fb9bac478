"""Two container nodes that are each other's gateway: the fastest way between them, where they share a segment.

From ns245 to ns246 a packet takes br245 and leaves vm1 by eth0 as it is, addressed to the MAC of vm2. A router between
the nodes would have no route for it.

    netdsl up stacks/two_node_hostgw.py --verify
    netdsl exec ns245 -- ping 172.246.0.2
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from netdsl import Bridge, Netns, Reachable, Route, stack
from two_nodes import two_nodes


class Lab(TypedDict):
    """What another stack, or a person, may want to know of the lab."""

    vm1: Netns
    vm2: Netns
    container1: Netns
    container2: Netns


@stack
def two_node_hostgw(
    subnets: Sequence[str] = ("172.245.0.0/24", "172.246.0.0/24"),
    underlay: Sequence[str] = ("192.168.32.245/24", "192.168.32.246/24"),
    segment: Bridge | None = None,
) -> Lab:
    """Two container nodes that are each other's gateway.

    subnets   the container network of each node
    underlay  the address of each node, with prefix length
    segment   a bridge to plug the nodes into, so that there can be more on it; absent: a veth pair joins them
    """
    vm1, vm2 = two_nodes(subnets, underlay, segment)
    for near, far in ((vm1, vm2), (vm2, vm1)):
        Route(f"to {far.subnet}", dst=far.subnet, via=far.address, dev=near.eth0, onlink=True)
        Reachable(near.container, far.inside, size=1500)
    return {"vm1": vm1.netns, "vm2": vm2.netns, "container1": vm1.container, "container2": vm2.container}
