"""Two VRFs in one router, each with its customers, and one service that both may use.

The VRFs red and blue are separate routing domains: both have a customer site with the same network. The network of
blue's service is leaked on purpose: a route in red's table leads into blue for that network alone, and one in blue's
table leads back to red's office. Nothing else goes from one to the other.

    red:  site 192.168.1.0/24, office 10.1.0.0/24 ---+
                                                     | router
    blue: site 192.168.1.0/24, service 10.9.0.0/24 --+

    netdsl up stacks/vrf_leak.py --verify
    netdsl exec red-office -- ping 10.9.0.2
"""

from __future__ import annotations

from typing import TypedDict

from netdsl import Netns, Reachable, Route, Unreachable, Veth, VethEnd, Vrf, stack

LAST = 4278198272
"""The metric of the route that ends a VRF's table: without it, what the table does not know is looked up in main."""

SITE, OFFICE, SERVICE = "192.168.1", "10.1.0", "10.9.0"
"""The networks, each a /24: the router has .1, the customer .2."""


class Domains(TypedDict):
    """The addresses of the office in red and of the service in blue."""

    office: str
    service: str


@stack
def vrf_leak(leak: bool = True, tables: tuple[int, int] = (10, 20)) -> Domains:
    """Two VRFs in one router, each with its customers, and one service that both may use.

    leak    whether red may use blue's service
    tables  the routing tables of red and blue
    """
    router = Netns("router", forwarding=True)
    red, blue = (vrf(router, name, table) for name, table in zip(("red", "blue"), tables, strict=True))
    site = customer(red, "site", SITE)
    office = customer(red, "office", OFFICE)
    customer(blue, "site", SITE)
    service = customer(blue, "service", SERVICE)
    (Reachable if leak else Unreachable)(office, f"{SERVICE}.2")
    Reachable(office, f"{SITE}.2")
    Reachable(service, f"{SITE}.2")
    Unreachable(site, f"{SERVICE}.2")
    if leak:
        Route("leak", netns=router, dst=f"{SERVICE}.0/24", dev=blue, table=red.table)
        Route("leak back", netns=router, dst=f"{OFFICE}.0/24", dev=red, table=blue.table)
    return {"office": f"{OFFICE}.2", "service": f"{SERVICE}.2"}


def vrf(router: Netns, name: str, table: int) -> Vrf:
    """A VRF whose table ends with itself."""
    made = Vrf(name, netns=router, table=table)
    Route(f"end of {name}", netns=router, dst="default", type="unreachable", metric=LAST, table=table)
    return made


def customer(domain: Vrf, name: str, prefix: str) -> Netns:
    """A netns with one network, plugged into the router within a VRF."""
    made = Netns(f"{domain.name}-{name}")
    inside = VethEnd("eth0", netns=made, addresses=[f"{prefix}.2/24"])
    Veth(f"{domain.name}-{name}", netns=domain.netns, master=domain, addresses=[f"{prefix}.1/24"], peer=inside)
    Route("default", dst="default", via=f"{prefix}.1", dev=inside)
    return made
