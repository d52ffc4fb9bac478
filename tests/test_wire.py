"""Our netlink messages against those of pyroute2 and of iproute2, and batches and dumps on a real socket.

Each case is a stack with one resource that is looked at. What we would send to create it is held against what pyroute2
makes of the same attributes, and against what iproute2 sends for the commands that we print.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
import textwrap
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from struct import Struct
from threading import Lock
from typing import Any, NamedTuple

import pytest
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg  # type: ignore[import-untyped]
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg  # type: ignore[import-untyped]
from pyroute2.netlink.rtnl.ndmsg import ndmsg  # type: ignore[import-untyped]
from pyroute2.netlink.rtnl.rtmsg import rtmsg  # type: ignore[import-untyped]

import netdsl
from netdsl import wire
from netdsl.engine.compile import Encoding, Step, all_steps, assign_ifindexes
from netdsl.engine.deploy import relate_offline
from netdsl.engine.observe import Observation
from netdsl.engine.plan import make_plan
from netdsl.errors import KernelError
from netdsl.kernel.netlink import Netlink
from netdsl.lang.ops import Send
from netdsl.lang.stack import Stack, declare
from sandbox import Sandbox

NEWLINK, SETLINK, NEWADDR, NEWROUTE, NEWNEIGH, NEWLINKPROP = 16, 19, 20, 24, 28, 108
NEWRULE, NEWQDISC, NEWTCLASS, NEWTFILTER, NEWNEXTHOP, NEWTUNNEL = 32, 36, 40, 44, 104, 120
REQUEST, ACK, REPLACE, EXCL, CREATE, APPEND = 0x1, 0x4, 0x100, 0x200, 0x400, 0x800
FD = 9
"""Stands for the descriptor of a netns."""

# What pyroute2 is given


class Theirs(NamedTuple):
    """A message in pyroute2's terms. "@br0" is the ifindex of br0 in the resource's netns, "@m/br0" of that in m."""

    encoder: type
    type: int
    flags: int
    header: Mapping[str, Any]
    attrs: Sequence[Any]


def nest(name: str, *attrs: Any, **header: Any) -> tuple[str, Any]:
    return (name, {**header, "attrs": attrs})


def info(kind: str, *attrs: Any) -> tuple[str, Any]:
    """IFLA_LINKINFO of a link."""
    inner = [nest("IFLA_INFO_DATA", *attrs)] if attrs else []
    return nest("IFLA_LINKINFO", ("IFLA_INFO_KIND", kind), *inner)


def port(*attrs: Any) -> tuple[str, Any]:
    """IFLA_LINKINFO of a bridge port."""
    return nest("IFLA_LINKINFO", ("IFLA_INFO_SLAVE_KIND", "bridge"), nest("IFLA_INFO_SLAVE_DATA", *attrs))


def new_link(index: str, *attrs: Any, up: bool = True) -> Theirs:
    return Theirs(ifinfmsg, NEWLINK, CREATE | EXCL, {"index": index, "flags": up, "change": up}, attrs)


def set_link(index: str, *attrs: Any, up: bool = False) -> Theirs:
    return Theirs(ifinfmsg, NEWLINK, 0, {"index": index, "flags": up, "change": up}, attrs)


def mark(index: str, name: str) -> Theirs:
    """What writes the ownership altname."""
    names = nest("IFLA_PROP_LIST", ("IFLA_ALT_IFNAME", name))
    return Theirs(ifinfmsg, NEWLINKPROP, CREATE | EXCL | APPEND, {"index": index}, [names])


new_address = partial(Theirs, ifaddrmsg, NEWADDR, CREATE | EXCL)
new_neighbour = partial(Theirs, ndmsg, NEWNEIGH, CREATE | REPLACE)
new_route = partial(Theirs, rtmsg, NEWROUTE, CREATE | EXCL)

ONE_QUEUE = [("IFLA_NUM_TX_QUEUES", 1), ("IFLA_NUM_RX_QUEUES", 1)]
MAC1, MAC2 = "02:00:00:00:00:01", "02:00:00:00:00:02"
FDB = {"family": 7, "ifindex": "@v", "state": 0xC0, "flags": 2}
ROUTE = {"family": 2, "dst_len": 16, "table": 254, "proto": 78, "scope": 0, "type": 1}
ROUTE6 = {"family": 10, "table": 254, "proto": 78, "type": 1}


class Case(NamedTuple):
    """A stack's body, the title of the resource that is looked at, and the messages that create it.

    plain  pyroute2 gives the very same bytes; else only the same attributes (STRINGS, NESTED)
    """

    body: str
    title: str
    messages: Sequence[Theirs]
    plain: bool = True


Link = partial(Case, plain=False)

CASES = {
    "bridge": Link(
        f'Bridge("br0", mac="{MAC1}")',
        "Bridge 'br0'",
        [
            new_link("@br0", ("IFLA_IFNAME", "br0"), ("IFLA_ADDRESS", MAC1), info("bridge"), up=False),
            mark("@br0", "netdsl:lab:br0"),
            set_link("@br0", up=True),
        ],
    ),
    "bridge with everything": Link(
        f"""
        Bridge("br0", netns=Netns("n"), mac="{MAC1}", mtu=1400, txqueuelen=500, group=7, alias="a b", up=False,
               stp=True, priority=100, group_fwd_mask=8, mcast_snooping=True, mcast_querier=True, mcast_hash_max=512)
        """,
        "Bridge 'br0' in netns n",
        [
            new_link(
                "@br0",
                *[("IFLA_IFNAME", "br0"), ("IFLA_MTU", 1399), ("IFLA_ADDRESS", MAC1)],
                *[("IFLA_TXQLEN", 500), ("IFLA_GROUP", 7)],
                info(
                    "bridge",
                    *[("IFLA_BR_STP_STATE", 1), ("IFLA_BR_PRIORITY", 100), ("IFLA_BR_GROUP_FWD_MASK", 8)],
                    ("IFLA_BR_MCAST_SNOOPING", 1),
                    *[("IFLA_BR_MCAST_QUERIER", 1), ("IFLA_BR_MCAST_HASH_MAX", 512)],
                ),
                up=False,
            ),
            set_link("@br0", ("IFLA_MTU", 1400)),
            mark("@br0", "netdsl:lab:br0"),
            set_link("@br0", ("IFLA_IFALIAS", "a b")),
        ],
    ),
    "bridge with times": Link(
        f'Bridge("br0", mac="{MAC1}", up=False, forward_delay=4, hello_time=3, max_age=8, ageing_time=60)',
        "Bridge 'br0'",
        [
            new_link(
                "@br0",
                *[("IFLA_IFNAME", "br0"), ("IFLA_ADDRESS", MAC1)],
                info(
                    "bridge",
                    *[("IFLA_BR_FORWARD_DELAY", 400), ("IFLA_BR_HELLO_TIME", 300), ("IFLA_BR_MAX_AGE", 800)],
                    ("IFLA_BR_AGEING_TIME", 6000),
                ),
                up=False,
            ),
            mark("@br0", "netdsl:lab:br0"),
        ],
    ),
    "vxlan": Link(
        f'Vxlan("v", vni=7, mac="{MAC1}")',
        "Vxlan 'v'",
        [
            new_link("@v", ("IFLA_IFNAME", "v"), ("IFLA_ADDRESS", MAC1), info("vxlan", ("IFLA_VXLAN_ID", 7))),
            mark("@v", "netdsl:lab:v"),
        ],
    ),
    "vxlan with everything": Link(
        f"""
        with Netns("n"):
            eth0, br0 = Bridge("eth0"), Bridge("br0")
            Vxlan("v", vni=7, mac="{MAC1}", mtu=1400, master=br0, remote="10.0.0.2", dev=eth0, local="10.0.0.1", ttl=5,
                  learning=False, ageing=60, limit=100, port=4789, udp_csum=False)
        """,
        "Vxlan 'v' in netns n",
        [
            new_link(
                "@v",
                *[("IFLA_IFNAME", "v"), ("IFLA_MTU", 1400), ("IFLA_ADDRESS", MAC1), ("IFLA_MASTER", "@br0")],
                info(
                    "vxlan",
                    *[("IFLA_VXLAN_ID", 7), ("IFLA_VXLAN_GROUP", "10.0.0.2"), ("IFLA_VXLAN_LINK", "@eth0")],
                    *[("IFLA_VXLAN_LOCAL", "10.0.0.1"), ("IFLA_VXLAN_TTL", 5)],
                    *[("IFLA_VXLAN_LEARNING", 0), ("IFLA_VXLAN_AGEING", 60), ("IFLA_VXLAN_LIMIT", 100)],
                    *[("IFLA_VXLAN_PORT", 4789), ("IFLA_VXLAN_UDP_CSUM", 0)],
                ),
            ),
            mark("@v", "netdsl:lab:v"),
        ],
    ),
    "vxlan with a tos": Link(
        f'Vxlan("v", vni=7, mac="{MAC1}", tos=16)',
        "Vxlan 'v'",
        [
            new_link(
                "@v",
                *[("IFLA_IFNAME", "v"), ("IFLA_ADDRESS", MAC1)],
                info("vxlan", ("IFLA_VXLAN_ID", 7), ("IFLA_VXLAN_TOS", 16)),
            ),
            mark("@v", "netdsl:lab:v"),
        ],
    ),
    "vxlan over IPv6": Link(
        f'Vxlan("v", vni=7, mac="{MAC1}", remote="fd00::2", local="fd00::1", learning=True, udp_csum=True)',
        "Vxlan 'v'",
        [
            new_link(
                "@v",
                *[("IFLA_IFNAME", "v"), ("IFLA_ADDRESS", MAC1)],
                info(
                    "vxlan",
                    *[("IFLA_VXLAN_ID", 7), ("IFLA_VXLAN_GROUP6", "fd00::2"), ("IFLA_VXLAN_LOCAL6", "fd00::1")],
                    *[("IFLA_VXLAN_LEARNING", 1), ("IFLA_VXLAN_UDP_CSUM", 1)],
                ),
            ),
            mark("@v", "netdsl:lab:v"),
        ],
    ),
    "veth, a bridge port": Link(
        f"""
        Veth("v", mac="{MAC1}", peer=VethEnd("w", mac="{MAC2}"), master=Bridge("br0"), alias="x", port_cost=10,
             port_priority=5, port_hairpin=True, port_guard=True, port_root_block=False, port_learning=False,
             port_flood=False, port_mcast_flood=True, port_bcast_flood=False, port_neigh_suppress=True,
             port_isolated=True)
        """,
        "Veth 'v'",
        [
            new_link(
                "@v",
                *[("IFLA_IFNAME", "v"), ("IFLA_ADDRESS", MAC1), ("IFLA_MASTER", "@br0")],
                info(
                    "veth",
                    nest("VETH_INFO_PEER", ("IFLA_IFNAME", "w"), ("IFLA_ADDRESS", MAC2), *ONE_QUEUE, index="@w"),
                ),
                *ONE_QUEUE,
            ),
            mark("@v", "netdsl:lab:v"),
            set_link("@v", ("IFLA_IFALIAS", "x")),
            set_link(
                "@v",
                port(
                    *[("IFLA_BRPORT_COST", 10), ("IFLA_BRPORT_PRIORITY", 5), ("IFLA_BRPORT_MODE", 1)],
                    *[("IFLA_BRPORT_GUARD", 1), ("IFLA_BRPORT_PROTECT", 0), ("IFLA_BRPORT_LEARNING", 0)],
                    *[("IFLA_BRPORT_UNICAST_FLOOD", 0), ("IFLA_BRPORT_MCAST_FLOOD", 1)],
                    *[("IFLA_BRPORT_BCAST_FLOOD", 0), ("IFLA_BRPORT_NEIGH_SUPPRESS", 1), ("IFLA_BRPORT_ISOLATED", 1)],
                ),
            ),
        ],
    ),
    "veth between netns": Link(
        f"""
        end = VethEnd("w", netns=Netns("m"), mac="{MAC2}", mtu=1300)
        Veth("v", netns=Netns("n"), mac="{MAC1}", mtu=1400, peer=end)
        """,
        "Veth 'v' in netns n",
        [
            new_link(
                "@v",
                *[("IFLA_IFNAME", "v"), ("IFLA_MTU", 1400), ("IFLA_ADDRESS", MAC1)],
                info(
                    "veth",
                    nest(
                        "VETH_INFO_PEER",
                        *[("IFLA_IFNAME", "w"), ("IFLA_MTU", 1300), ("IFLA_ADDRESS", MAC2)],
                        *[*ONE_QUEUE, ("IFLA_NET_NS_FD", FD)],
                        index="@m/w",
                    ),
                ),
                *ONE_QUEUE,
            ),
            mark("@v", "netdsl:lab:v"),
        ],
    ),
    "veth end": Link(
        f"""
        with Netns("m"):
            end = VethEnd("w", mac="{MAC2}", mtu=1300, master=Bridge("br0"), alias="x", port_hairpin=True)
        Veth("v", netns=Netns("n"), peer=end)
        """,
        "VethEnd 'w' in netns m",
        [
            mark("@w", "netdsl:lab:w"),
            set_link("@w", ("IFLA_MASTER", "@br0"), ("IFLA_IFALIAS", "x"), up=True),
            set_link("@w", port(("IFLA_BRPORT_MODE", 1))),
        ],
    ),
    "bridge with flags": Link(
        f'Bridge("br0", mac="{MAC1}", up=False, arp=False, multicast=False, promisc=True, allmulticast=False)',
        "Bridge 'br0'",
        [
            Theirs(
                *(ifinfmsg, NEWLINK, CREATE | EXCL, {"index": "@br0", "flags": 0x180, "change": 0x1380}),
                [("IFLA_IFNAME", "br0"), ("IFLA_ADDRESS", MAC1), info("bridge")],
            ),
            mark("@br0", "netdsl:lab:br0"),
        ],
    ),
    "veth end with segments": Link(
        f'Veth("v", peer=VethEnd("w", mac="{MAC2}", gso_max_size=30000, gro_max_size=40000))',
        "VethEnd 'w'",
        [
            mark("@w", "netdsl:lab:w"),
            set_link("@w", ("IFLA_GSO_MAX_SIZE", 30000), ("IFLA_GRO_MAX_SIZE", 40000), up=True),
        ],
    ),
    "veth end with a queue and a group": Link(
        f'Veth("v", peer=VethEnd("w", mac="{MAC2}", txqueuelen=500, group=7))',
        "VethEnd 'w'",
        [mark("@w", "netdsl:lab:w"), set_link("@w", ("IFLA_TXQLEN", 500), ("IFLA_GROUP", 7), up=True)],
    ),
    "address": Case(
        'Bridge("br0", addresses=["10.0.0.1/24"])',
        "Address '10.0.0.1/24 dev br0'",
        [
            new_address(
                {"family": 2, "prefixlen": 24, "index": "@br0"},
                [("IFA_LOCAL", "10.0.0.1"), ("IFA_ADDRESS", "10.0.0.1")],
            )
        ],
    ),
    "address of the host": Case(
        'Bridge("br0", addresses=["127.1.0.1/8"])',
        "Address '127.1.0.1/8 dev br0'",
        [
            new_address(
                {"family": 2, "prefixlen": 8, "index": "@br0", "scope": 254},
                [("IFA_LOCAL", "127.1.0.1"), ("IFA_ADDRESS", "127.1.0.1")],
            )
        ],
    ),
    "address with a scope": Case(
        'Address("10.0.0.1/32", dev=Bridge("br0"), scope="link")',
        "Address '10.0.0.1/32 dev br0'",
        [
            new_address(
                {"family": 2, "prefixlen": 32, "index": "@br0", "scope": 253},
                [("IFA_LOCAL", "10.0.0.1"), ("IFA_ADDRESS", "10.0.0.1")],
            )
        ],
    ),
    "address of IPv6 in an owned netns": Case(
        'Bridge("br0", netns=Netns("n"), addresses=["fd00::1/64"])',
        "Address 'fd00::1/64 dev br0' in netns n",
        [
            new_address(
                {"family": 10, "prefixlen": 64, "index": "@br0", "flags": 2},
                [("IFA_LOCAL", "fd00::1"), ("IFA_ADDRESS", "fd00::1")],
            )
        ],
    ),
    "neighbour": Case(
        f'Neighbor("10.0.0.2", dev=Bridge("br0"), lladdr="{MAC2}")',
        "Neighbor '10.0.0.2 dev br0'",
        [
            new_neighbour(
                {"family": 2, "ifindex": "@br0", "state": 0x80},
                [("NDA_DST", "10.0.0.2"), ("NDA_LLADDR", MAC2), ("NDA_PROTOCOL", 78)],
            )
        ],
    ),
    "neighbour of IPv6": Case(
        f'Neighbor("fd00::2", dev=Bridge("br0", netns=Netns("n")), lladdr="{MAC2}")',
        "Neighbor 'fd00::2 dev br0' in netns n",
        [
            new_neighbour(
                {"family": 10, "ifindex": "@br0", "state": 0x80},
                [("NDA_DST", "fd00::2"), ("NDA_LLADDR", MAC2), ("NDA_PROTOCOL", 78)],
            )
        ],
    ),
    "fdb entry of a vtep": Case(
        f'FdbEntry("{MAC2}", dev=Vxlan("v", vni=7), dst="10.0.0.2", port=4790, vni=8)',
        f"FdbEntry '{MAC2} dev v'",
        [new_neighbour(FDB, [("NDA_LLADDR", MAC2), ("NDA_DST", "10.0.0.2"), ("NDA_PORT", 4790), ("NDA_VNI", 8)])],
    ),
    "fdb entry for unknown destinations": Case(
        'FdbEntry("00:00:00:00:00:00", dev=Vxlan("v", vni=7, local="fd00::1"), dst="fd00::2")',
        "FdbEntry '00:00:00:00:00:00 dev v dst fd00::2'",
        [Theirs(ndmsg, NEWNEIGH, CREATE | APPEND, FDB, [("NDA_LLADDR", "00:00:00:00:00:00"), ("NDA_DST", "fd00::2")])],
    ),
    "fdb entry of a bridge": Case(
        f'v = Veth("v", master=Bridge("br0"), peer=VethEnd("w"))\nFdbEntry("{MAC2}", dev=v, on="master")',
        f"FdbEntry '{MAC2} dev v'",
        [new_neighbour({**FDB, "flags": 4}, [("NDA_LLADDR", MAC2)])],
    ),
    "route to a link": Case(
        'Route("r", dst="10.1.0.0/16", dev=Bridge("br0"))',
        "Route 'r'",
        [new_route({**ROUTE, "scope": 253}, [("RTA_DST", "10.1.0.0"), ("RTA_OIF", "@br0")])],
    ),
    "route with everything": Case(
        """
        b = Bridge("br0", addresses=["10.0.0.1/24"])
        Route("r", dst="10.1.0.0/16", via="10.9.0.2", dev=b, onlink=True, src="10.0.0.1", metric=5, table=1000)
        """,
        "Route 'r'",
        [
            new_route(
                {**ROUTE, "table": 0, "flags": 4},
                [
                    *[("RTA_DST", "10.1.0.0"), ("RTA_TABLE", 1000), ("RTA_GATEWAY", "10.9.0.2"), ("RTA_OIF", "@br0")],
                    *[("RTA_PREFSRC", "10.0.0.1"), ("RTA_PRIORITY", 5)],
                ],
            )
        ],
    ),
    "route with a scope": Case(
        'Route("r", dst="10.1.0.0/16", dev=Bridge("br0"), scope="global", table=7)',
        "Route 'r'",
        [new_route({**ROUTE, "table": 7}, [("RTA_DST", "10.1.0.0"), ("RTA_OIF", "@br0")])],
    ),
    "default route": Case(
        """
        n = Netns("n")
        Bridge("br0", netns=n, addresses=["10.0.0.1/24"])
        Route("r", netns=n, dst="default", via="10.0.0.2")
        """,
        "Route 'r' in netns n",
        [new_route({**ROUTE, "dst_len": 0}, [("RTA_GATEWAY", "10.0.0.2")])],
    ),
    "route of IPv6": Case(
        """
        b = Bridge("br0", netns=Netns("n"), addresses=["fd00::1/64"])
        Route("r", dst="fd01::/32", via="fd00::2", dev=b, metric=50)
        """,
        "Route 'r' in netns n",
        [
            new_route(
                {**ROUTE6, "dst_len": 32},
                [("RTA_DST", "fd01::"), ("RTA_GATEWAY", "fd00::2"), ("RTA_OIF", "@br0"), ("RTA_PRIORITY", 50)],
            )
        ],
    ),
    "default route of IPv6": Case(
        'Route("r", dst="::/0", dev=Bridge("br0"), table=7)',
        "Route 'r'",
        [new_route({**ROUTE6, "table": 7}, [("RTA_OIF", "@br0")])],
    ),
    **{
        f"{word} route": Case(
            f'Route("r", dst="10.1.0.0/16", type="{word}")',
            "Route 'r'",
            [new_route({**ROUTE, "type": number}, [("RTA_DST", "10.1.0.0")])],
        )
        for word, number in (("blackhole", 6), ("unreachable", 7), ("prohibit", 8))
    },
}

# Reading messages

HEADERS = {
    NEWLINK: Struct("=BxHiII"),
    SETLINK: Struct("=BxHiII"),
    NEWLINKPROP: Struct("=BxHiII"),
    NEWADDR: Struct("=BBBBI"),
    NEWROUTE: Struct("=BBBBBBBBI"),
    NEWNEIGH: Struct("=BxxxiHBB"),
    NEWRULE: Struct("=BBBBBBBBI"),
    NEWQDISC: Struct("=BxxxiIII"),
    NEWTCLASS: Struct("=BxxxiIII"),
    NEWTFILTER: Struct("=BxxxiIII"),
    NEWNEXTHOP: Struct("=BBBBI"),
    NEWTUNNEL: Struct("=BBHI"),
}
INDEX_AT = {NEWLINK: 2, SETLINK: 2, NEWLINKPROP: 2, NEWADDR: 4, NEWNEIGH: 1}
INDEX_AT |= {NEWQDISC: 1, NEWTCLASS: 1, NEWTFILTER: 1, NEWTUNNEL: 3}
"""Where the ifindex stands in a header."""

Path = tuple[int, ...]
LINKINFO, PROTINFO, PROPS, PEER = (18,), (12,), (52,), (18, 2, 1)
NESTED = {LINKINFO, PROTINFO, PROPS, (18, 2), (18, 5)}
"""Attributes of links that hold attributes; NLA_F_NESTED is ignored: pyroute2 and iproute2 set it only on some."""
STRINGS = {(3,), (20,), (52, 53), (18, 1), (18, 4), (18, 2, 1, 3)}
"""Attributes of links that are strings; the NUL at their end is ignored: not all send it with all of them."""
INDEXES: Mapping[int, set[Path]] = {NEWLINK: {(5,), (10,), (18, 2, 3)}, NEWROUTE: {(4,)}, NEWNEXTHOP: {(5,)}}
"""Attributes that are ifindexes (of a vxlan's data the lower device)."""
FDS = {(18, 2, 1, 28)}
"""Attributes that are descriptors: that they are there is all that can be compared."""


class Message(NamedTuple):
    """A message taken apart: type, flags, family header, and attributes by the path of their numbers."""

    type: int
    flags: int
    header: tuple[int | str, ...]
    attrs: Mapping[Path, Any]


def leaves(buffer: bytes, kind: int, veth: bool, path: Path = ()) -> Iterator[tuple[Path, bytes]]:
    """Attributes that hold no others."""
    netem = buffer[4:].startswith(b"netem\0")
    while len(buffer) >= 4:
        size, number = Struct("=HH").unpack_from(buffer)
        here, value = (*path, number & 0x3FFF), buffer[4:size]
        buffer = buffer[(size + 3) & ~3 :]
        if kind in (NEWQDISC, NEWTCLASS, NEWTFILTER) and here == (2,):  # TCA_OPTIONS; netem has a struct before it
            if netem:
                yield (2, 0), value[:24]
            yield from leaves(value[24 * netem :], kind, veth, here)
            continue
        if kind in (NEWLINK, SETLINK, NEWLINKPROP) and (here in NESTED or (veth and here == PEER)):
            yield from leaves(value[16:] if here == PEER else value, kind, veth, here)
        else:
            yield here, value.rstrip(b"\0") if here in STRINGS and kind == NEWLINK else value


def read(message: bytes, link: Callable[[int], str]) -> Message:
    """A message with the names of links in place of their ifindexes."""
    size, kind, flags, _, _ = Struct("=IHHII").unpack_from(message)
    assert size == len(message)
    header: list[int | str] = list(HEADERS[kind].unpack_from(message, 16))
    if kind in INDEX_AT:
        header[INDEX_AT[kind]] = link(int(header[INDEX_AT[kind]]))
    body = message[16 + HEADERS[kind].size :]
    veth = b"\1\0veth" in body
    attrs: dict[Path, Any] = {}
    for path, value in leaves(body, kind, veth):
        if path in INDEXES.get(kind, set()) and (path != (18, 2, 3) or b"\1\0vxlan" in body):
            attrs[path] = link(int.from_bytes(value, sys.byteorder))
        else:
            attrs[path] = "fd" if path in FDS else value
    return Message(kind, flags & ~(REQUEST | ACK), tuple(header), attrs)


# What we send


class Ours(NamedTuple):
    """A case's plan, encoded.

    steps   all steps in an order in which they could be done by hand
    focus   those of the resource that is looked at
    indexes  ifindexes that we chose, by netns and name
    """

    encoding: Encoding
    steps: Sequence[Step]
    focus: Sequence[Step]
    indexes: Mapping[tuple[str, str], int]

    @property
    def netns(self) -> str:
        return self.focus[0].item.netns

    @property
    def messages(self) -> list[bytes]:
        ops = [op for step in self.focus for op in step.ops(self.encoding)]
        return [wire.message(op.kind, REQUEST | op.flags, 0, op.body) for op in ops if isinstance(op, Send)]

    def number(self, name: str) -> int:
        """The ifindex of "@link" or "@netns/link"."""
        netns, _, link = name[1:].rpartition("/")
        return self.indexes[(netns or self.netns, link)]

    def link(self, index: int) -> str:
        """The name of an ifindex; each is used once in a stack."""
        return {number: name for (_, name), number in self.indexes.items()}.get(index, "")


def ours(case: Case) -> Ours:
    """Declare a case's stack and plan it on an empty machine."""
    names: dict[str, Any] = {**{name: getattr(netdsl, name) for name in netdsl.__all__}}
    exec("@stack\ndef lab():\n" + textwrap.indent(textwrap.dedent(case.body).strip(), "    "), names)
    lab: Stack[[], Any] = names["lab"]
    nothing = Observation()
    plan = make_plan("lab", relate_offline(declare(lab, "lab", {}).items), [], nothing)
    assign_ifindexes(plan, nothing, [])
    encoding = Encoding(plan, nothing, lambda netns: FD)
    steps = list(all_steps(plan))
    focus = [step for step in steps if step.item.title == case.title]
    links = [change.item for change in plan.changes if change.item.kind.is_link]
    return Ours(encoding, steps, focus, {(item.netns, item.name): item.extra["ifindex"] for item in links})


# Against pyroute2


def encoded(theirs: Theirs, mine: Ours) -> bytes:
    """pyroute2's bytes."""

    def resolved(value: Any) -> Any:
        if isinstance(value, str) and value.startswith("@"):
            return mine.number(value)
        if isinstance(value, Mapping):
            return {key: resolved(inner) for key, inner in value.items()}
        return [resolved(v) for v in value] if isinstance(value, list) else value

    def attributes(pairs: Sequence[Any]) -> list[Any]:
        return [
            (name, {**resolved({k: v for k, v in value.items() if k != "attrs"}), "attrs": attributes(value["attrs"])})
            if isinstance(value, Mapping)
            else (name, resolved(value))
            for name, value in pairs
        ]

    message = theirs.encoder()
    message["header"]["type"], message["header"]["flags"] = theirs.type, REQUEST | theirs.flags
    for name, value in theirs.header.items():
        message[name] = int(resolved(value))
    message["attrs"] = attributes(theirs.attrs)
    message.encode()
    return bytes(message.data)


@pytest.mark.parametrize("name", CASES)
def test_creation_is_what_pyroute2_encodes(name: str) -> None:
    """The messages that create a resource have type, flags, header and attributes as pyroute2 encodes them."""
    case = CASES[name]
    mine = ours(case)
    theirs = [encoded(message, mine) for message in case.messages]
    assert [read(m, mine.link) for m in mine.messages] == [read(m, mine.link) for m in theirs]
    if case.plain:
        assert mine.messages == theirs


# Against iproute2

DIFFERENCES = {
    "explicit ifindex": "we choose the ifindex of a new link; iproute2 leaves it at 0, and names existing ones by it",
    "ownership mark": "RTM_NEWLINKPROP is ours alone: the commands do without it",
    "number of messages": "what we put into one message can take several commands, and the other way round",
    "bridge link set": "RTM_SETLINK of AF_BRIDGE has port options in IFLA_PROTINFO; we send them in IFLA_LINKINFO",
}
"""Where iproute2's way with links is another one for the same effect; `merged` takes it out."""

IMPLIED = {
    (NEWLINK, (18, 2, 7)): {b"\1"},  # a new vxlan learns unless told otherwise
    (NEWROUTE, (1,)): {bytes(4), bytes(16)},  # the destination of a default route
    (NEWROUTE, (6,)): {Struct("=I").pack(1024)},  # the metric of an IPv6 route
}
"""Attributes that iproute2 sends also with the value that they have anyway."""

DUMPED = re.compile(r"^ \| [0-9a-f]{5}  (.{49})")


def sent(trace: str) -> list[bytes]:
    """The netlink messages in strace's output, from the hex dumps of what was written."""
    messages: list[bytes] = []
    for line in trace.splitlines():
        found = DUMPED.match(line)
        if found:
            if line.startswith(" | 00000"):
                messages.append(b"")
            messages[-1] += bytes.fromhex(found[1])
    return messages


def changing(message: bytes) -> bool:
    """Whether a message changes anything: not a question, and not iproute2's try whether there is RTM_NEWLINK."""
    kind = Struct("=IH").unpack_from(message)[1]
    return kind in HEADERS and not (kind == NEWLINK and len(message) == 32 and not any(message[16:]))


def merged(messages: Sequence[Message]) -> list[Message]:
    """The messages of one link as one (DIFFERENCES)."""
    flags = state = change = 0
    attrs: dict[Path, Any] = {}
    for message in messages:
        if message.type == NEWLINKPROP:
            continue
        flags |= message.flags
        if message.type == SETLINK:
            attrs[(18, 4)] = b"bridge"
        else:
            state, change = state | int(message.header[3]), change | int(message.header[4])
        attrs |= {(18, 5, *p[1:]) if p[:1] == PROTINFO else p: v for p, v in message.attrs.items()}
    return [Message(NEWLINK, flags, (state, change), attrs)]


@pytest.mark.parametrize("name", CASES)
def test_the_commands_send_the_same(sandbox: Sandbox, name: str) -> None:
    """The commands that we print for a resource make iproute2 send what we send ourselves."""
    case = CASES[name]
    mine = ours(case)
    messages: list[bytes] = []
    for step in mine.steps:
        for command in step.commands(mine.encoding):
            trace = ["strace", "-e", "trace=sendmsg,sendto", "-e", "write=all"] if step in mine.focus else []
            done = sandbox.run([*trace, *shlex.split(command)])
            messages += [message for message in sent(done.stderr) if changing(message)]
    shown = json.loads(sandbox.run(["ip", *(["-n", mine.netns] if mine.netns else []), "-j", "link"]).stdout)
    links = {link["ifindex"]: link["ifname"] for link in shown}
    theirs = [read(message, lambda index: links.get(index, "")) for message in messages]
    wanted = [read(message, mine.link) for message in mine.messages]
    if mine.focus[0].item.kind.is_link:
        theirs, wanted = merged(theirs), merged(wanted)
    said = {path for message in wanted for path in message.attrs}
    assert [without_implied(message, said) for message in theirs] == wanted


def without_implied(message: Message, said: Collection[Path]) -> Message:
    """The message without what goes without saying, unless we say it too (IMPLIED)."""
    attrs = {p: v for p, v in message.attrs.items() if p in said or v not in IMPLIED.get((message.type, p), ())}
    return message._replace(attrs=attrs)


def test_the_commands_put_an_end_here(sandbox: Sandbox) -> None:
    """The commands for a pair whose second end is where netdsl runs put it there, wherever process 1 is."""
    mine = ours(Case('Veth("v", netns=Netns("n"), peer=VethEnd("w"))', "VethEnd 'w'", []))
    for step in mine.steps:
        for command in step.commands(mine.encoding):
            sandbox.run(["sh", "-c", command])
    assert "w" in [link["ifname"] for link in sandbox.ip("link")]


# The socket

BATCH = """
import json, socket
from netdsl import wire
from netdsl.kernel.netlink import Netlink

def address(number, seq, prefix):
    local = socket.inet_pton(socket.AF_INET, f"10.{number >> 8}.{number & 255}.1")
    body = bytes([2, prefix, 0, 0, 1, 0, 0, 0]) + wire.attr(2, local) + wire.attr(1, local)
    return seq, wire.message(20, wire.F_REQUEST | wire.F_CREATE | wire.F_EXCL, seq, body)

netlink = Netlink()
planted = {17: 33, 300: 24, 599: 40}  # number in the batch -> prefix length; the second is there already
messages = [address(3 if n == 300 else n, 5000 + n, planted.get(n, 24)) for n in range(600)]
failures = netlink.submit(messages)
print(json.dumps({seq: [failure.errno, failure.message, str(failure)] for seq, failure in failures.items()}))
again = netlink.submit([address(3, 1, 24), address(700, 2, 24)])
print(json.dumps(sorted(again)))
"""


def test_errors_of_a_batch_are_told_apart(sandbox: Sandbox) -> None:
    """Of 600 messages the three that the kernel refuses are named by sequence number, with its words; 597 are done."""
    first, again = sandbox.run([sys.executable, "-c", BATCH]).stdout.splitlines()
    assert json.loads(first) == {
        "5017": [22, "ipv4: Invalid prefix length", "ipv4: Invalid prefix length (Invalid argument)"],
        "5300": [17, "ipv4: Address already assigned", "ipv4: Address already assigned (File exists)"],
        "5599": [22, "ipv4: Invalid prefix length", "ipv4: Invalid prefix length (Invalid argument)"],
    }
    assert json.loads(again) == [1], "the next batch on the socket gets its own answers"
    (lo,) = sandbox.ip("addr", "show", "lo")
    assert len([a for a in lo["addr_info"] if a["local"].startswith("10.")]) == 597 + 1


class Replayed(Netlink):
    """A Netlink whose kernel answers each dump with the next of those given: bodies, and whether it was disturbed."""

    def __init__(self, answers: Sequence[tuple[list[bytes], int]]) -> None:
        self._seq = 0
        self._answers = iter(answers)
        self._socket: Any = self
        self._lock = Lock()
        self._waiting: list[bytes] = []

    def send(self, request: bytes) -> None:
        _, _, flags, seq, _ = wire.HEADER.unpack_from(request)
        assert flags & wire.F_DUMP == wire.F_DUMP
        bodies, disturbed = next(self._answers)
        stale = wire.message(NEWLINK, wire.F_MULTI, seq - 1, b"old.")
        parts = [wire.message(NEWLINK, wire.F_MULTI | disturbed, seq, body) for body in bodies]
        done = wire.message(wire.NLMSG_DONE, wire.F_MULTI | disturbed, seq, b"\0\0\0\0")
        self._waiting = [stale + b"".join(parts), done]

    def recv(self, _size: int) -> bytes:
        return self._waiting.pop(0)


def dumped(answers: Sequence[tuple[list[bytes], int]]) -> list[bytes]:
    bodies: list[bytes] = []
    Replayed(answers).dump(18, b"", lambda buffer, start, end: bodies.append(buffer[start:end]))
    return bodies


def test_a_disturbed_dump_is_repeated() -> None:
    """A dump that the kernel flags as changed while it was read is read again, and only the whole one is used."""
    disturbed = ([b"aaaa", b"bbbb"], wire.F_DUMP_INTR)
    assert dumped([disturbed, disturbed, ([b"cccc", b"dddd"], 0)]) == [b"cccc", b"dddd"]
    with pytest.raises(KernelError, match="change faster than they can be read"):
        dumped([disturbed] * 1000)
