"""Two container nodes joined by an IP-in-IP tunnel, which needs no common segment: a router may lie between the nodes.

From ns245 to ns246 a packet takes br245, is wrapped in a second IPv4 header by tun245, leaves vm1 by eth0, and is
unwrapped by tun246 in vm2. It needs a kernel with the module ipip.

    netdsl up stacks/two_node_ipip.py --verify
    netdsl exec ns245 -- ping 172.246.0.2
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network
from typing import TypedDict

from netdsl import Bridge, Netns, Reachable, Route, Tunnel, stack
from two_nodes import two_nodes


class Lab(TypedDict):
    """What another stack, or a person, may want to know of the lab."""

    vm1: Netns
    vm2: Netns
    container1: Netns
    container2: Netns


@stack
def two_node_ipip(
    subnets: Sequence[str] = ("172.245.0.0/24", "172.246.0.0/24"),
    underlay: Sequence[str] = ("192.168.32.245/24", "192.168.32.246/24"),
    segment: Bridge | None = None,
) -> Lab:
    """Two container nodes joined by an IP-in-IP tunnel.

    subnets   the container network of each node; the tunnel has the first addresses of the network behind it
    underlay  the address of each node, with prefix length
    segment   a bridge to plug the nodes into, so that there can be more on it; absent: a veth pair joins them
    """
    vm1, vm2 = two_nodes(subnets, underlay, segment)
    for near, far in ((vm1, vm2), (vm2, vm1)):
        network = IPv4Network(near.subnet)
        behind = IPv4Network((int(network.broadcast_address) + 1, 30))
        tunnel = Tunnel(
            f"tun{near.tag}",
            netns=near.netns,
            mode="ipip",
            local=near.address,
            remote=far.address,
            addresses=[f"{behind[1]}/30"],
        )
        # A point-to-point link never asks who the gateway is; that it lies in a connected network is enough.
        Route(f"to {far.subnet}", dst=far.subnet, via=str(behind[2]), dev=tunnel)
        Reachable(near.container, far.inside, size=1480)  # the second header takes 20 of the 1500 of eth0
    return {"vm1": vm1.netns, "vm2": vm2.netns, "container1": vm1.container, "container2": vm2.container}
