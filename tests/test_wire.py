"""Our netlink messages against those of pyroute2 and of iproute2, and batches and dumps on a real socket.

Each case is a stack with one resource that is looked at. What we would send to create it is held against what pyroute2
makes of the same attributes, and against what iproute2 sends for the command that we print.
"""

from __future__ import annotations

import json
import re
import shlex
import socket
import struct
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pytest
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.ndmsg import ndmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from netdsl import wire
from netdsl.engine.compile import Encoding, assign_ifindexes, creations
from netdsl.engine.deploy import items_of, relate_offline
from netdsl.engine.observe import Observation
from netdsl.engine.plan import make_plan
from netdsl.errors import KernelError
from netdsl.kernel.netlink import Netlink
from netdsl.lang.ops import Send
from netdsl.lang.stack import declare
from sandbox import Sandbox

NEWLINK, SETLINK, NEWADDR, NEWROUTE, NEWNEIGH, NEWLINKPROP = 16, 19, 20, 24, 28, 108
CREATE, EXCL, REPLACE, APPEND = 0x400, 0x200, 0x100, 0x800
UP = {"flags": 1, "change": 1}
FD = 9
"""Stands for the descriptor of a netns."""


class Theirs(NamedTuple):
    """A message in pyroute2's terms. In values "@br0" is the ifindex of br0 in the resource's netns, "@m/br0" in m."""

    encoder: Any
    type: int
    flags: int
    header: Mapping[str, Any]
    attrs: Sequence[Any]


class Case(NamedTuple):
    """A stack's body, the title of the resource that is looked at, and the messages that create it."""

    body: str
    title: str
    messages: Sequence[Theirs]
    same_bytes: bool = True


def nest(name: str, *attrs: Any) -> tuple[str, Any]:
    return (name, {"attrs": list(attrs)})


def info(kind: str, *data: Any) -> tuple[str, Any]:
    inner = [nest("IFLA_INFO_DATA", *data)] if data else []
    return nest("IFLA_LINKINFO", ("IFLA_INFO_KIND", kind), *inner)


def mark(name: str, link: str) -> Theirs:
    """The message that writes the ownership altname."""
    names = nest("IFLA_PROP_LIST", ("IFLA_ALT_IFNAME", name))
    return Theirs(ifinfmsg, NEWLINKPROP, CREATE | EXCL | APPEND, {"index": link}, [names])


PORT = nest(
    "IFLA_LINKINFO",
    ("IFLA_INFO_SLAVE_KIND", "bridge"),
    nest(
        "IFLA_INFO_SLAVE_DATA",
        ("IFLA_BRPORT_COST", 10),
        ("IFLA_BRPORT_PRIORITY", 5),
        ("IFLA_BRPORT_MODE", 1),
        ("IFLA_BRPORT_GUARD", 1),
        ("IFLA_BRPORT_PROTECT", 0),
        ("IFLA_BRPORT_LEARNING", 0),
        ("IFLA_BRPORT_UNICAST_FLOOD", 0),
        ("IFLA_BRPORT_MCAST_FLOOD", 1),
        ("IFLA_BRPORT_BCAST_FLOOD", 0),
        ("IFLA_BRPORT_NEIGH_SUPPRESS", 1),
        ("IFLA_BRPORT_ISOLATED", 1),
    ),
)
PORT_WORDS = (
    "port_cost=10, port_priority=5, port_hairpin=True, port_guard=True, port_root_block=False, port_learning=False, "
    "port_flood=False, port_mcast_flood=True, port_bcast_flood=False, port_neigh_suppress=True, port_isolated=True"
)

CASES = {
    "bridge": Case(
        'Bridge("br0", mac="02:00:00:00:00:01")',
        "Bridge 'br0'",
        [
            Theirs(
                ifinfmsg,
                NEWLINK,
                CREATE | EXCL,
                {"index": "@br0"},
                [("IFLA_IFNAME", "br0"), ("IFLA_ADDRESS", "02:00:00:00:00:01"), info("bridge")],
            ),
            mark("netdsl:lab:br0", "@br0"),
            Theirs(ifinfmsg, NEWLINK, 0, {"index": "@br0", **UP}, []),
        ],
    ),
    "bridge with everything": Case(
        'Bridge("br0", netns=Netns("n"), mac="02:00:00:00:00:01", mtu=1400, txqueuelen=500, group=7, alias="a b", up=False,'
        "forward_delay=4, hello_time=3, max_age=8, ageing_time=60, stp=True, priority=100, group_fwd_mask=8,"
        "mcast_snooping=True, mcast_querier=True, mcast_hash_max=512)",
        "Bridge 'br0' in netns n",
        [
            Theirs(
                ifinfmsg,
                NEWLINK,
                CREATE | EXCL,
                {"index": "@br0"},
                [
                    ("IFLA_IFNAME", "br0"),
                    ("IFLA_MTU", 1400),
                    ("IFLA_ADDRESS", "02:00:00:00:00:01"),
                    ("IFLA_TXQLEN", 500),
                    ("IFLA_GROUP", 7),
                    info(
                        "bridge",
                        ("IFLA_BR_FORWARD_DELAY", 400),
                        ("IFLA_BR_HELLO_TIME", 300),
                        ("IFLA_BR_MAX_AGE", 800),
                        ("IFLA_BR_AGEING_TIME", 6000),
                        ("IFLA_BR_STP_STATE", 1),
                        ("IFLA_BR_PRIORITY", 100),
                        ("IFLA_BR_GROUP_FWD_MASK", 8),
                        ("IFLA_BR_MCAST_SNOOPING", 1),
                        ("IFLA_BR_MCAST_QUERIER", 1),
                        ("IFLA_BR_MCAST_HASH_MAX", 512),
                    ),
                ],
            ),
            mark("netdsl:lab:br0", "@br0"),
            Theirs(ifinfmsg, NEWLINK, 0, {"index": "@br0"}, [("IFLA_IFALIAS", "a b")]),
        ],
    ),
    "vxlan": Case(
        'Vxlan("vtep", vni=7, mac="02:00:00:00:00:01")',
        "Vxlan 'vtep'",
        [
            Theirs(
                ifinfmsg,
                NEWLINK,
                CREATE | EXCL,
                {"index": "@vtep", **UP},
                [
                    ("IFLA_IFNAME", "vtep"),
                    ("IFLA_ADDRESS", "02:00:00:00:00:01"),
                    info("vxlan", ("IFLA_VXLAN_ID", 7)),
                ],
            ),
            mark("netdsl:lab:vtep", "@vtep"),
        ],
        same_bytes=True,
    ),
    "vxlan with everything": Case(
        'with Netns("n"):\n'
        '    eth0 = Bridge("eth0")\n'
        '    Vxlan("vtep", vni=7, mac="02:00:00:00:00:01", remote="10.0.0.2", dev=eth0, local="10.0.0.1", ttl=5, tos=16,'
        '          learning=False, ageing=60, limit=100, port=4789, udp_csum=False, master=Bridge("br0"), mtu=1400)',
        "Vxlan 'vtep' in netns n",
        [
            Theirs(
                ifinfmsg,
                NEWLINK,
                CREATE | EXCL,
                {"index": "@vtep", **UP},
                [
                    ("IFLA_IFNAME", "vtep"),
                    ("IFLA_MTU", 1400),
                    ("IFLA_ADDRESS", "02:00:00:00:00:01"),
                    ("IFLA_MASTER", "@br0"),
                    info(
                        "vxlan",
                        ("IFLA_VXLAN_ID", 7),
                        ("IFLA_VXLAN_GROUP", "10.0.0.2"),
                        ("IFLA_VXLAN_LINK", "@eth0"),
                        ("IFLA_VXLAN_LOCAL", "10.0.0.1"),
                        ("IFLA_VXLAN_TTL", 5),
                        ("IFLA_VXLAN_TOS", 16),
                        ("IFLA_VXLAN_LEARNING", 0),
                        ("IFLA_VXLAN_AGEING", 60),
                        ("IFLA_VXLAN_LIMIT", 100),
                        ("IFLA_VXLAN_PORT", 4789),
                        ("IFLA_VXLAN_UDP_CSUM", 0),
                    ),
                ],
            ),
            mark("netdsl:lab:vtep", "@vtep"),
        ],
    ),
    "vxlan over IPv6": Case(
        'Vxlan("vtep", vni=7, mac="02:00:00:00:00:01", remote="fd00::2", local="fd00::1", learning=True, udp_csum=True)',
        "Vxlan 'vtep'",
        [
            Theirs(
                ifinfmsg,
                NEWLINK,
                CREATE | EXCL,
                {"index": "@vtep", **UP},
                [
                    ("IFLA_IFNAME", "vtep"),
                    ("IFLA_ADDRESS", "02:00:00:00:00:01"),
                    info(
                        "vxlan",
                        ("IFLA_VXLAN_ID", 7),
                        ("IFLA_VXLAN_GROUP6", "fd00::2"),
                        ("IFLA_VXLAN_LOCAL6", "fd00::1"),
                        ("IFLA_VXLAN_LEARNING", 1),
                        ("IFLA_VXLAN_UDP_CSUM", 1),
                    ),
                ],
            ),
            mark("netdsl:lab:vtep", "@vtep"),
        ],
    ),
    "veth in one netns, a bridge port": Case(
        'end = VethEnd("w", mac="02:00:00:00:00:02")\n'
        f'Veth("v", mac="02:00:00:00:00:01", peer=end, master=Bridge("br0"), alias="x", {PORT_WORDS})',
        "Veth 'v'",
        [
            Theirs(
                ifinfmsg,
                NEWLINK,
                CREATE | EXCL,
                {"index": "@v", **UP},
                [
                    ("IFLA_IFNAME", "v"),
                    ("IFLA_ADDRESS", "02:00:00:00:00:01"),
                    ("IFLA_MASTER", "@br0"),
                    info(
                        "veth",
                        (
                            "VETH_INFO_PEER",
                            {
                                "index": "@w",
                                "attrs": [("IFLA_IFNAME", "w"), ("IFLA_ADDRESS", "02:00:00:00:00:02")],
                            },
                        ),
                    ),
                ],
            ),
            mark("netdsl:lab:v", "@v"),
            Theirs(ifinfmsg, NEWLINK, 0, {"index": "@v"}, [("IFLA_IFALIAS", "x")]),
            Theirs(ifinfmsg, NEWLINK, 0, {"index": "@v"}, [PORT]),
        ],
    ),
    "veth between netns": Case(
        'end = VethEnd("w", netns=Netns("m"), mac="02:00:00:00:00:02", mtu=1300)\n'
        'Veth("v", netns=Netns("n"), mac="02:00:00:00:00:01", mtu=1400, peer=end)',
        "Veth 'v' in netns n",
        [
            Theirs(
                ifinfmsg,
                NEWLINK,
                CREATE | EXCL,
                {"index": "@v", **UP},
                [
                    ("IFLA_IFNAME", "v"),
                    ("IFLA_MTU", 1400),
                    ("IFLA_ADDRESS", "02:00:00:00:00:01"),
                    info(
                        "veth",
                        (
                            "VETH_INFO_PEER",
                            {
                                "index": "@m/w",
                                "attrs": [
                                    ("IFLA_IFNAME", "w"),
                                    ("IFLA_MTU", 1300),
                                    ("IFLA_ADDRESS", "02:00:00:00:00:02"),
                                    ("IFLA_NET_NS_FD", FD),
                                ],
                            },
                        ),
                    ),
                ],
            ),
            mark("netdsl:lab:v", "@v"),
        ],
    ),
    "veth end": Case(
        'with Netns("m"):\n'
        '    end = VethEnd("w", mac="02:00:00:00:00:02", mtu=1300, master=Bridge("br0"), alias="x", port_hairpin=True)\n'
        'Veth("v", netns=Netns("n"), peer=end)',
        "VethEnd 'w' in netns m",
        [
            mark("netdsl:lab:w", "@w"),
            Theirs(
                ifinfmsg,
                NEWLINK,
                0,
                {"index": "@w", **UP},
                [("IFLA_MASTER", "@br0"), ("IFLA_IFALIAS", "x")],
            ),
            Theirs(
                ifinfmsg,
                NEWLINK,
                0,
                {"index": "@w"},
                [
                    nest(
                        "IFLA_LINKINFO",
                        ("IFLA_INFO_SLAVE_KIND", "bridge"),
                        nest("IFLA_INFO_SLAVE_DATA", ("IFLA_BRPORT_MODE", 1)),
                    )
                ],
            ),
        ],
    ),
    "veth end with a queue and a group": Case(
        'Veth("v", peer=VethEnd("w", mac="02:00:00:00:00:02", txqueuelen=500, group=7))',
        "VethEnd 'w'",
        [
            mark("netdsl:lab:w", "@w"),
            Theirs(ifinfmsg, NEWLINK, 0, {"index": "@w", **UP}, [("IFLA_TXQLEN", 500), ("IFLA_GROUP", 7)]),
        ],
    ),
    "address": Case(
        'Bridge("br0", addresses=["10.0.0.1/24"])',
        "Address '10.0.0.1/24 dev br0'",
        [
            Theirs(
                ifaddrmsg,
                NEWADDR,
                CREATE | EXCL,
                {"family": 2, "prefixlen": 24, "index": "@br0"},
                [("IFA_LOCAL", "10.0.0.1"), ("IFA_ADDRESS", "10.0.0.1")],
            )
        ],
    ),
    "address with a scope": Case(
        'Address("10.0.0.1/32", dev=Bridge("br0"), scope="link")',
        "Address '10.0.0.1/32 dev br0'",
        [
            Theirs(
                ifaddrmsg,
                NEWADDR,
                CREATE | EXCL,
                {"family": 2, "prefixlen": 32, "index": "@br0", "scope": 253},
                [("IFA_LOCAL", "10.0.0.1"), ("IFA_ADDRESS", "10.0.0.1")],
            )
        ],
    ),
    "address of IPv6 in an owned netns": Case(
        'Bridge("br0", netns=Netns("n"), addresses=["fd00::1/64"])',
        "Address 'fd00::1/64 dev br0' in netns n",
        [
            Theirs(
                ifaddrmsg,
                NEWADDR,
                CREATE | EXCL,
                {"family": 10, "prefixlen": 64, "index": "@br0", "flags": 2},
                [("IFA_LOCAL", "fd00::1"), ("IFA_ADDRESS", "fd00::1")],
            )
        ],
    ),
    "neighbour": Case(
        'Neighbor("10.0.0.2", dev=Bridge("br0"), lladdr="02:00:00:00:00:02")',
        "Neighbor '10.0.0.2 dev br0'",
        [
            Theirs(
                ndmsg,
                NEWNEIGH,
                CREATE | REPLACE,
                {"family": 2, "ifindex": "@br0", "state": 0x80},
                [("NDA_DST", "10.0.0.2"), ("NDA_LLADDR", "02:00:00:00:00:02"), ("NDA_PROTOCOL", 78)],
            )
        ],
    ),
    "neighbour of IPv6": Case(
        'Neighbor("fd00::2", dev=Bridge("br0", netns=Netns("n")), lladdr="02:00:00:00:00:02")',
        "Neighbor 'fd00::2 dev br0' in netns n",
        [
            Theirs(
                ndmsg,
                NEWNEIGH,
                CREATE | REPLACE,
                {"family": 10, "ifindex": "@br0", "state": 0x80},
                [("NDA_DST", "fd00::2"), ("NDA_LLADDR", "02:00:00:00:00:02"), ("NDA_PROTOCOL", 78)],
            )
        ],
    ),
    "fdb entry of a vtep": Case(
        'FdbEntry("02:00:00:00:00:02", dev=Vxlan("v", vni=7), dst="10.0.0.2", port=4790, vni=8)',
        "FdbEntry '02:00:00:00:00:02 dev v'",
        [
            Theirs(
                ndmsg,
                NEWNEIGH,
                CREATE | REPLACE,
                {"family": 7, "ifindex": "@v", "state": 0xC0, "flags": 2},
                [
                    ("NDA_LLADDR", "02:00:00:00:00:02"),
                    ("NDA_DST", "10.0.0.2"),
                    ("NDA_PORT", 4790),
                    ("NDA_VNI", 8),
                ],
            )
        ],
    ),
    "fdb entry for unknown destinations": Case(
        'FdbEntry("00:00:00:00:00:00", dev=Vxlan("v", vni=7), dst="fd00::2")',
        "FdbEntry '00:00:00:00:00:00 dev v dst fd00::2'",
        [
            Theirs(
                ndmsg,
                NEWNEIGH,
                CREATE | APPEND,
                {"family": 7, "ifindex": "@v", "state": 0xC0, "flags": 2},
                [("NDA_LLADDR", "00:00:00:00:00:00"), ("NDA_DST", "fd00::2")],
            )
        ],
    ),
    "fdb entry of a bridge": Case(
        'v = Veth("v", master=Bridge("br0"), peer=VethEnd("w"))\nFdbEntry("02:00:00:00:00:02", dev=v, on="master")',
        "FdbEntry '02:00:00:00:00:02 dev v'",
        [
            Theirs(
                ndmsg,
                NEWNEIGH,
                CREATE | REPLACE,
                {"family": 7, "ifindex": "@v", "state": 0xC0, "flags": 4},
                [("NDA_LLADDR", "02:00:00:00:00:02")],
            )
        ],
    ),
    "route to a link": Case(
        'Route("r", dst="10.1.0.0/16", dev=Bridge("br0"))',
        "Route 'r'",
        [
            Theirs(
                rtmsg,
                NEWROUTE,
                CREATE | EXCL,
                {"family": 2, "dst_len": 16, "table": 254, "proto": 78, "scope": 253, "type": 1},
                [("RTA_DST", "10.1.0.0"), ("RTA_OIF", "@br0")],
            )
        ],
    ),
    "route with everything": Case(
        'b = Bridge("br0", addresses=["10.0.0.1/24"])\n'
        'Route("r", dst="10.1.0.0/16", via="10.9.0.2", dev=b, onlink=True, src="10.0.0.1", metric=5, table=1000)',
        "Route 'r'",
        [
            Theirs(
                rtmsg,
                NEWROUTE,
                CREATE | EXCL,
                {"family": 2, "dst_len": 16, "table": 0, "proto": 78, "scope": 0, "type": 1, "flags": 4},
                [
                    ("RTA_DST", "10.1.0.0"),
                    ("RTA_TABLE", 1000),
                    ("RTA_GATEWAY", "10.9.0.2"),
                    ("RTA_OIF", "@br0"),
                    ("RTA_PREFSRC", "10.0.0.1"),
                    ("RTA_PRIORITY", 5),
                ],
            )
        ],
    ),
    "default route": Case(
        'Bridge("br0", netns=Netns("n"), addresses=["10.0.0.1/24"])\n'
        'Route("r", netns=Netns("o"), dst="10.0.0.0/8", type="blackhole")\n'
        'Route("r", netns=Link.get("br0", netns=None).netns, dst="default", via="10.0.0.2")'
        if False
        else 'n = Netns("n")\nBridge("br0", netns=n, addresses=["10.0.0.1/24"])\n'
        'Route("r", netns=n, dst="default", via="10.0.0.2")',
        "Route 'r' in netns n",
        [
            Theirs(
                rtmsg,
                NEWROUTE,
                CREATE | EXCL,
                {"family": 2, "table": 254, "proto": 78, "scope": 0, "type": 1},
                [("RTA_GATEWAY", "10.0.0.2")],
            )
        ],
    ),
    "route of IPv6": Case(
        'n = Netns("n")\nb = Bridge("br0", netns=n, addresses=["fd00::1/64"])\n'
        'Route("r", dst="fd01::/32", via="fd00::2", dev=b, metric=50)',
        "Route 'r' in netns n",
        [
            Theirs(
                rtmsg,
                NEWROUTE,
                CREATE | EXCL,
                {"family": 10, "dst_len": 32, "table": 254, "proto": 78, "type": 1},
                [("RTA_DST", "fd01::"), ("RTA_GATEWAY", "fd00::2"), ("RTA_OIF", "@br0"), ("RTA_PRIORITY", 50)],
            )
        ],
    ),
    "default route of IPv6": Case(
        'Route("r", dst="::/0", dev=Bridge("br0"), table=7)',
        "Route 'r'",
        [
            Theirs(
                rtmsg,
                NEWROUTE,
                CREATE | EXCL,
                {"family": 10, "table": 7, "proto": 78, "type": 1},
                [("RTA_OIF", "@br0")],
            )
        ],
    ),
    **{
        f"{word} route": Case(
            f'Route("r", dst="10.1.0.0/16", type="{word}")',
            "Route 'r'",
            [
                Theirs(
                    rtmsg,
                    NEWROUTE,
                    CREATE | EXCL,
                    {"family": 2, "dst_len": 16, "table": 254, "proto": 78, "scope": 0, "type": number},
                    [("RTA_DST", "10.1.0.0")],
                )
            ],
        )
        for word, number in (("blackhole", 6), ("unreachable", 7), ("prohibit", 8))
    },
}
