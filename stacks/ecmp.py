"""A client and a server with two routers between them, and flows spread over both (ECMP, RFC 2992).

Each end has a link to each router, and an address of its own on the bridge `service`, which has no ports: whatever
link its packets take, they come from there. With `fib_multipath_hash_policy` 1 the kernel chooses the link by a flow's
addresses and ports, so that the packets of one flow stay in order.

            +-- left  --+
    client -+           +- server
            +-- right --+

    netdsl up stacks/ecmp.py --verify
    netdsl exec client -- ping 10.2.0.1
    netdsl up ecmp --yes -p share=3     # three flows by left for each one by right
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, TypedDict

from netdsl import Bridge, Hop, Netns, Nexthop, NexthopGroup, Reachable, Route, Sysctl, Veth, VethEnd, stack

ROUTERS = ("left", "right")


class End(NamedTuple):
    """A client or server: its number, and its link to each router."""

    netns: Netns
    number: int
    uplinks: list[Veth]


class Ecmp(TypedDict):
    """The addresses of the ends."""

    client: str
    server: str
    server6: str


@stack
def ecmp(via: Literal["paths", "nexthops"] = "nexthops", share: int = 1) -> Ecmp:
    """A client and a server with two routers between them, and flows spread over both.

    via    whether each route has its own paths, or the routes of an end share a group of nexthops
    share  how many flows go by the left router for each one by the right, 1..255
    """
    routers = [Netns(name, forwarding=True) for name in ROUTERS]
    client, server = (end(name, number, routers) for number, name in enumerate(("client", "server"), 1))
    for here, there in ((client, server), (server, client)):
        for inet in ("inet", "inet6"):
            ways = by_paths(here, inet, share) if via == "paths" else by_nexthops(here, inet, share)
            dst, src = network(there.number, inet), address(here.number, inet)
            Route(f"{there.netns.name} {inet}", netns=here.netns, dst=dst, src=src, **ways)
            Reachable(here.netns, address(there.number, inet))
    return {"client": address(1, "inet"), "server": address(2, "inet"), "server6": address(2, "inet6")}


def network(number: int, inet: str) -> str:
    """The network of an end's own address.

    >>> network(1, "inet"), network(2, "inet6"), address(2, "inet6")
    ('10.1.0.0/24', 'fd00:2::/64', 'fd00:2::1')
    """
    return f"10.{number}.0.0/24" if inet == "inet" else f"fd00:{number}::/64"


def address(number: int, inet: str) -> str:
    """An end's own address."""
    return f"10.{number}.0.1" if inet == "inet" else f"fd00:{number}::1"


def end(name: str, number: int, routers: list[Netns]) -> End:
    """A netns with an address of its own and a link to each router, which knows the way to it."""
    netns, uplinks = Netns(name), []
    with netns:
        for family in (4, 6):
            Sysctl(f"net.ipv{family}.fib_multipath_hash_policy", value=1)
        Bridge("service", addresses=[f"{address(number, 'inet')}/24", f"{address(number, 'inet6')}/64"])
        for i, router in enumerate(routers):
            line = f"10.{number}.{i + 1}", f"fd00:{number}:0:{i + 1}:"
            plug = VethEnd(name, netns=router, addresses=[f"{line[0]}.2/24", f"{line[1]}:2/64"])
            uplinks.append(Veth(router.name, addresses=[f"{line[0]}.1/24", f"{line[1]}:1/64"], peer=plug))
            Route(f"{name} inet", netns=router, dst=network(number, "inet"), via=f"{line[0]}.1", dev=plug)
            Route(f"{name} inet6", netns=router, dst=network(number, "inet6"), via=f"{line[1]}:1", dev=plug)
    return End(netns, number, uplinks)


def gateways(here: End, inet: str) -> list[tuple[str, Veth]]:
    """The address of each router, and the link to it."""
    near = f"10.{here.number}.{{}}.2" if inet == "inet" else f"fd00:{here.number}:0:{{}}::2"
    return [(near.format(i), uplink) for i, uplink in enumerate(here.uplinks, 1)]


def by_paths(here: End, inet: str, share: int) -> dict[str, Any]:
    """Paths of the route's own."""
    (left, dev), (right, other) = gateways(here, inet)
    return {"paths": [Hop(via=left, dev=dev, weight=share), Hop(via=right, dev=other)]}


def by_nexthops(here: End, inet: str, share: int) -> dict[str, Any]:
    """A group of nexthops, which any number of routes can use, and which changes for all of them at once."""
    left, right = (Nexthop(f"{dev.name} {inet}", via=via, dev=dev) for via, dev in gateways(here, inet))
    return {"nexthop": NexthopGroup(f"both {inet}", members=[(left, share), right])}
