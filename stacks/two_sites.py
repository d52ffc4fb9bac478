"""Two sites and a router between them: a bigger lab, made of two small ones.

Each site is the two-node VXLAN lab, on a segment that is a bridge in the router. Inside a site containers talk through
the site's tunnel; to the other site the nodes route their packets plainly, by way of the router.

    left-ns245 --- left-vm1 ---+        +--- right-vm1 --- right-ns247
                               | router |
    left-ns246 --- left-vm2 ---+        +--- right-vm2 --- right-ns248

    netdsl up stacks/two_sites.py --verify
    netdsl exec left-ns245 -- ping 172.248.0.2
"""

from __future__ import annotations

from ipaddress import IPv4Interface, IPv4Network
from typing import NamedTuple, TypedDict

from netdsl import Bridge, Netns, Reachable, Route, stack
from two_node_vxlan import Overlay, two_node_vxlan


class Plan(NamedTuple):
    """The addresses of a site: the router's on the segment, the nodes' there, and the container networks."""

    router: str
    underlay: tuple[str, str]
    subnets: tuple[str, str]


LEFT = Plan("192.168.32.1/24", ("192.168.32.245/24", "192.168.32.246/24"), ("172.245.0.0/24", "172.246.0.0/24"))
RIGHT = Plan("192.168.33.1/24", ("192.168.33.247/24", "192.168.33.248/24"), ("172.247.0.0/24", "172.248.0.0/24"))


class Sites(TypedDict):
    """Both sites, and what joins them."""

    router: Netns
    left: Overlay
    right: Overlay


@stack
def two_sites(vni: int = 1, port: int = 8472) -> Sites:
    """Two sites of two container nodes each, and a router between them.

    vni   the VXLAN network identifier in both sites
    port  the UDP port of their tunnels
    """
    router = Netns("router", forwarding=True)
    left = two_node_vxlan("left", LEFT.subnets, LEFT.underlay, vni, port, segment("left", LEFT, router))
    right = two_node_vxlan("right", RIGHT.subnets, RIGHT.underlay, vni, port, segment("right", RIGHT, router))
    join(router, left, LEFT, RIGHT)
    join(router, right, RIGHT, LEFT)
    return {"router": router, "left": left, "right": right}


def segment(name: str, plan: Plan, router: Netns) -> Bridge:
    """A site's segment: a bridge in the router, on which the router has an address."""
    return Bridge(name, netns=router, addresses=[plan.router])


def join(router: Netns, site: Overlay, here: Plan, there: Plan) -> None:
    """Routes from the router to the containers of a site, and from the site's nodes to those of the other one."""
    gateway = str(IPv4Interface(here.router).ip)
    for vm, address, subnet in zip((site["vm1"], site["vm2"]), here.underlay, here.subnets, strict=True):
        Route(f"to {subnet}", netns=router, dst=subnet, via=str(IPv4Interface(address).ip))
        for remote in there.subnets:
            Route(f"to {remote}", netns=vm, dst=remote, via=gateway)
    for container in (site["container1"], site["container2"]):
        for remote in there.subnets:
            Reachable(container, str(IPv4Network(remote)[2]), size=1500)
