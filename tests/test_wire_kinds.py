"""The messages of the kinds that not every kernel has, and of queueing disciplines, against pyroute2's and iproute2's.

As in tests/test_wire.py. What iproute2 sends is seen even where the kernel then refuses it.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Collection, Sequence
from functools import partial
from struct import Struct
from typing import Any

import pytest
from pyroute2.netlink.rtnl.fibmsg import fibmsg  # type: ignore[import-untyped]
from pyroute2.netlink.rtnl.tcmsg import tcmsg  # type: ignore[import-untyped]
from test_wire import (
    CREATE,
    EXCL,
    MAC1,
    NEWQDISC,
    NEWRULE,
    NEWTCLASS,
    NEWTFILTER,
    Case,
    Link,
    Message,
    Path,
    Theirs,
    changing,
    encoded,
    info,
    mark,
    merged,
    nest,
    new_link,
    ours,
    read,
    sent,
    without_implied,
)

from sandbox import Sandbox

ETH0 = 'eth0 = Bridge("eth0")\n'
NAMES = ("IFLA_IFNAME", "v"), ("IFLA_ADDRESS", MAC1)
ON_ETH0 = ("IFLA_LINK", "@eth0")
HTB = ETH0 + 'up = Htb("up", dev=eth0)\ngold = HtbClass("gold", parent=up, classid="1:10", rate="8mbit")\n'

new_qdisc = partial(Theirs, tcmsg, NEWQDISC, CREATE | EXCL)
QOPT, NANOSECONDS = Struct("=6I"), Struct("=q")
ROOT = {"index": "@eth0", "handle": 0x10000, "parent": 0xFFFFFFFF}
RULE = {"family": 2, "table": 254, "action": 1}


def link(body: str, *messages: Any) -> Case:
    """A link v that stays down, so that one command makes all of it."""
    return Link(body, "", [*messages, mark("@v", "netdsl:lab:v")])


CASES: dict[str, Case] = {
    "Dummy 'v'": link(f'Dummy("v", mac="{MAC1}", mtu=1400, up=False)',
        new_link("@v", NAMES[0], ("IFLA_MTU", 1400), NAMES[1], info("dummy"), up=False)),
    "Vlan 'v'": link(f'Vlan("v", dev=Bridge("eth0", up=False), id=7, mac="{MAC1}", up=False)',
        new_link("@v", *NAMES, ON_ETH0, info("vlan", ("IFLA_VLAN_ID", 7)), up=False)),
    "Vrf 'v'": link(f'Vrf("v", table=10, mac="{MAC1}", up=False)',
        new_link("@v", *NAMES, info("vrf", ("IFLA_VRF_TABLE", 10)), up=False)),
    "Macvlan 'v'": link(ETH0 + f'Macvlan("v", dev=eth0, mode="bridge", mac="{MAC1}", up=False)',
        new_link("@v", *NAMES, ON_ETH0, info("macvlan", ("IFLA_MACVLAN_MODE", "bridge")), up=False)),
    "Ipvlan 'v'": link(ETH0 + 'Ipvlan("v", dev=eth0, mode="l3", up=False)',
        new_link("@v", NAMES[0], ON_ETH0, info("ipvlan", ("IFLA_IPVLAN_MODE", 1)), up=False)),
    "Geneve 'v'": link(f'Geneve("v", id=7, remote="10.0.0.2", ttl=5, mac="{MAC1}", up=False)',
        new_link("@v", *NAMES, info("geneve", ("IFLA_GENEVE_ID", 7), ("IFLA_GENEVE_REMOTE", "10.0.0.2"),
                                    ("IFLA_GENEVE_TTL", 5)), up=False)),
    "Bond 'v'": link(f'Bond("v", mode="active-backup", miimon=50, mac="{MAC1}", up=False)',
        new_link("@v", *NAMES, info("bond", ("IFLA_BOND_MODE", 1), ("IFLA_BOND_MIIMON", 50)), up=False)),
    "Tunnel 'v'": link('Tunnel("v", mode="ipip", local="10.0.0.1", remote="10.0.0.2", ttl=9, up=False)',
        new_link("@v", NAMES[0], info("ipip", ("IFLA_IPIP_LOCAL", "10.0.0.1"), ("IFLA_IPIP_REMOTE", "10.0.0.2"),
                                      ("IFLA_IPIP_TTL", 9), ("IFLA_IPIP_PROTO", 4)), up=False)),
    "Rule 'r'": Case('Rule("r", priority=7, src="10.0.0.0/8", fwmark=3, table=10)', "", [
        Theirs(fibmsg, NEWRULE, CREATE | EXCL, {**RULE, "src_len": 8, "table": 10}, [
            ("FRA_SRC", "10.0.0.0"), ("FRA_PRIORITY", 7), ("FRA_FWMARK", 3), ("FRA_TABLE", 10), ("FRA_PROTOCOL", 78)])],
        plain=False),
    "FqCodel 'q dev eth0'": Case(ETH0 + 'FqCodel("q", dev=eth0, target="5ms", limit=100, flows=64, ecn=False)', "", [
        new_qdisc(ROOT, [("TCA_KIND", "fq_codel"), nest("TCA_OPTIONS", ("TCA_FQ_CODEL_TARGET", 5000),
            ("TCA_FQ_CODEL_LIMIT", 100), ("TCA_FQ_CODEL_FLOWS", 64), ("TCA_FQ_CODEL_ECN", 0))])], plain=False),
    "Htb 'up dev eth0'": Case(HTB, "", [
        new_qdisc(ROOT, [("TCA_KIND", "htb"), nest("TCA_OPTIONS", nest("TCA_HTB_INIT", version=3, rate2quantum=10))])],
        plain=False),
    "HtbClass 'gold dev eth0'": Case(HTB, "", []),
    "HtbClass 'c dev eth0'": Case(
        HTB + 'HtbClass("c", parent=up, rate="40gbit", ceil="80gbit", burst=1000000, cburst=2000000, prio=2, '
        'quantum=9)', "", []),
    "TcFilter 'f dev eth0'": Case(HTB + 'TcFilter("f", to=gold, prio=5, src="10.0.0.0/9", dst="10.1.0.0/16")', "", []),
    "TcFilter 'g dev eth0'": Case(HTB + 'TcFilter("g", to=gold, prio=6, dst="fd00:1:2:3::/72")', "", []),
    "Tbf 't dev eth0'": Case(
        ETH0 + 'Tbf("t", dev=eth0, rate="8mbit", burst=16000, limit=9999, peakrate="16mbit", mtu=2000)', "", []),
    "Tbf 'u dev eth0'": Case(ETH0 + 'Tbf("u", dev=eth0, rate="40gbit", burst=1000000, limit=9999)', "", []),
    "Netem 'n dev eth0'": Case(
        ETH0 + 'Netem("n", dev=eth0, delay="10ms", jitter="1ms", loss=25, rate="10mbit", limit=50)', "", []),
    "Nexthop 'h'": Case('Nexthop("h", id=7, via="10.0.0.2", dev=Bridge("eth0", addresses=["10.0.0.1/24"]))', "", []),
    "NexthopGroup 'g'": Case(
        'a, b = (Nexthop(n, id=i, blackhole=False, dev=Bridge(n)) for i, n in ((7, "a"), (8, "b")))\n'
        'NexthopGroup("g", id=9, members=[a, (b, 3)])', "", []),
    "VxlanVni '7 dev v'": Case('VxlanVni(7, dev=Vxlan("v", external=True, vnifilter=True), remote="10.0.0.2")', "", []),
    "BridgeVlan '7 dev w'": Case(
        'br0 = Bridge("br0", vlan_filtering=True)\n'
        'BridgeVlan(7, dev=Veth("w", peer=VethEnd("x"), master=br0), pvid=True)', "", []),
}  # fmt: skip
CASES = {title: case._replace(title=title) for title, case in CASES.items()}

TABLE = 1024
"""Bytes of a table of times, which `tc` sends and no kernel reads that is told the link layer (sch_htb.c)."""
OF_TABLES = (0, 4, 5, 12, 16, 17)
"""Where two ratespecs say how to read the tables."""
TICKS = slice(28, 36)
"""Where Tbf's bursts in ticks are; it goes by those in bytes. Of rates from 34 gbit on `tc` 6.1 has them wrong."""
PMTUDISC = (18, 2, 10)


def plainly(message: Message) -> Message:
    """The message in one form, where there are several for the same."""
    kind, attrs = message.type, {path: value for path, value in message.attrs.items() if len(value) != TABLE}
    if kind == NEWRULE and attrs.get((15,)) == bytes((message.header[4], 0, 0, 0)):  # the table is in the header too
        del attrs[(15,)]
    if kind not in (NEWQDISC, NEWTCLASS, NEWTFILTER):
        return message._replace(attrs=attrs)
    word = attrs[(1,)] = attrs[(1,)].rstrip(b"\0")
    if (2, 1) in attrs and (word == b"tbf" or kind == NEWTCLASS):
        attrs[(2, 1)] = bytes(0 if at in OF_TABLES else byte for at, byte in enumerate(attrs[(2, 1)]))
    if word == b"tbf" and (2, 4) in attrs:
        attrs[(2, 1)] = attrs[(2, 1)][: TICKS.start] + bytes(8) + attrs[(2, 1)][TICKS.stop :]
    if word == b"netem" and (2, 10) not in attrs:  # times as ticks of 64 ns, instead of attributes
        latency, limit, loss, gap, duplicate, jitter = QOPT.unpack(attrs[(2, 0)])
        attrs[(2, 0)] = QOPT.pack(0, limit, loss, gap, duplicate, 0)
        attrs |= {(2, 10): NANOSECONDS.pack(latency * 64), (2, 11): NANOSECONDS.pack(jitter * 64)}
    return message._replace(attrs=attrs)


def without_zeros(message: Message, said: Collection[Path]) -> Message:
    """The message without what iproute2 says of links although it is zero, or true of each tunnel, and we do not."""
    attrs = message.attrs.items()
    return message._replace(
        attrs={
            path: value
            for path, value in attrs
            if path in said or path[:2] != (18, 2) or (any(value) and (path, value) != (PMTUDISC, b"\1"))
        }
    )


@pytest.mark.parametrize("title", [title for title, case in CASES.items() if case.messages])
def test_creation_is_what_pyroute2_encodes(title: str) -> None:
    """The messages that create a resource have type, flags, header and attributes as pyroute2 encodes them."""
    mine = ours(CASES[title])
    theirs = [read(encoded(message, mine), mine.link) for message in CASES[title].messages]
    assert [plainly(read(m, mine.link)) for m in mine.messages] == [plainly(m) for m in theirs]


@pytest.mark.parametrize("title", CASES)
def test_the_commands_send_the_same(sandbox: Sandbox, title: str) -> None:
    """The commands that we print for a resource make iproute2 send what we send, whatever the kernel says to it."""
    mine = ours(CASES[title])
    messages: list[bytes] = []
    for step in mine.steps:
        for command in step.commands(mine.encoding):
            trace = ["strace", "-e", "trace=sendmsg,sendto", "-e", "write=all"] if step in mine.focus else []
            done = sandbox.run([*trace, *shlex.split(command)], check=False)
            messages += [message for message in sent(done.stderr) if changing(message)]
    links = {shown["ifindex"]: shown["ifname"] for shown in json.loads(sandbox.run(["ip", "-j", "link"]).stdout)}
    theirs: Sequence[Message] = [read(message, lambda index: links.get(index, "")) for message in messages]
    wanted: Sequence[Message] = [read(message, mine.link) for message in mine.messages]
    if mine.focus[0].item.kind.is_link:
        theirs, wanted = merged(theirs), merged(wanted)
    said = {path for message in wanted for path in message.attrs}
    theirs = [without_zeros(without_implied(message, said), said) for message in theirs]
    assert [plainly(message) for message in theirs] == [plainly(message) for message in wanted]
