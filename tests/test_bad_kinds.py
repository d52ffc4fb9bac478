"""Mistakes in tunnels, overlays and rules: one clear error each, at the user's line, and nothing touched."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from test_bad_input import marked, stack_file, the_error

from sandbox import Sandbox

ETH0 = 'eth0 = Bridge("eth0", addresses=["10.0.0.1/24"])\n'
TWO = """
a, b = (Bridge("eth0", netns=Netns(name), addresses=[address]) for name, address in (("a", {a!r}), ("b", {b!r})))
Overlay("pods", nodes=[OverlayNode(a, {x!r}), OverlayNode(b, {y!r})], backend={backend!r})  # here
"""


def two(backend: str = "vxlan", a: str = "10.0.0.1/24", b: str = "10.0.0.2/24", x: str = "", y: str = "") -> str:
    """Two nodes, of which something is wrong."""
    return TWO.format(backend=backend, a=a, b=b, x=x or "10.1.0.0/24", y=y or "10.2.0.0/24")


MISTAKES: dict[str, tuple[str, Sequence[str]]] = {
    "mixed families": (
        'Tunnel("t", mode="ipip", local="10.0.0.1", remote="fd00::1")  # here',
        ["Tunnel 't': ipip runs over IPv4; remote fd00::1 is none"],
    ),
    "IPv4 for IPv6": (
        'Tunnel("t", mode="ip6gre", local="10.0.0.1")  # here',
        ["Tunnel 't': ip6gre runs over IPv6; local 10.0.0.1 is none"],
    ),
    "key on ipip": (
        'Tunnel("t", mode="ipip", remote="10.0.0.2", key=7)  # here',
        ["Tunnel 't': ipip has no key; the gre modes do"],
    ),
    "ttl": (
        'Tunnel("t", mode="gre", remote="10.0.0.2", ttl=256)  # here',
        ["ttl must be between 1 and 255", "not 256"],
    ),
    "mode": ('Tunnel("t", mode="vti", remote="10.0.0.2")  # here', ["mode must be one of ipip, sit,", "not 'vti'"]),
    "no mode": ('Tunnel("t", remote="10.0.0.2")  # here', ["Tunnel 't': mode= is required"]),
    "key twice": (
        'Tunnel("t", mode="gre", remote="10.0.0.2", key=7, ikey=8)  # here',
        ["Tunnel 't': key is ikey too; give one of them"],
    ),
    "key too large": (
        'Tunnel("t", mode="gre", remote="10.0.0.2", key=2**32)  # here',
        ["Tunnel 't': key must be between 1 and 4294967295, not 4294967296"],
    ),
    "ttl without pmtudisc": (
        'Tunnel("t", mode="ipip", remote="10.0.0.2", ttl=9, pmtudisc=False)  # here',
        ["Tunnel 't': a fixed ttl needs pmtudisc"],
    ),
    "tos over IPv6": ('Tunnel("t", mode="ip6tnl", remote="fd00::1", tos=4)  # here', ["ip6tnl has no tos"]),
    "MAC on a tunnel of packets": (
        'Tunnel("t", mode="sit", remote="10.0.0.2", mac="02:00:00:00:00:01")  # here',
        ["Tunnel 't': sit carries packets, not frames, and has no mac"],
    ),
    "port of a bridge": (
        ETH0 + 'Tunnel("t", mode="ipip", remote="10.0.0.2", master=eth0)  # here',
        ["Tunnel 't': Bridge 'eth0' takes no ipip tunnel, which carries packets, not frames, as a port"],
    ),
    "a tunnel without end points": (
        'Tunnel("t", mode="ipip")  # here',
        ["Tunnel 't': without local, remote, dev and key it would be the kernel's own tunl0", "Give one of them."],
    ),
    "options of an overlay": (
        'a = Bridge("eth0", addresses=["10.0.0.1/24"])\n'
        'Overlay("pods", nodes=[OverlayNode(a, "10.1.0.0/24")], backend="ipip", opts=None)  # here',
        ["Overlay 'pods': opts must be Opts(...), not None"],
    ),
    "per_peer of an overlay": (
        'a = Bridge("eth0", addresses=["10.0.0.1/24"])\n'
        'Overlay("pods", nodes=[OverlayNode(a, "10.1.0.0/24")], backend="ipip", per_peer="no")  # here',
        ["Overlay 'pods': per_peer must be True or False, not 'no'"],
    ),
    "twins": (
        'Tunnel("a", mode="ipip", local="10.0.0.1")\nTunnel("b", mode="ipip", local="10.0.0.1")  # here',
        ["Tunnel 'b' has the mode, local, remote and key of a; the kernel takes only one such", "another remote"],
    ),
    "backend": (two("udp"), ["Overlay 'pods': backend must be one of host-gw, ipip, vxlan, not 'udp'"]),
    "no nodes": ('Overlay("pods", nodes="a", backend="ipip")  # here', ["nodes must be a list of OverlayNode"]),
    "no node": (
        'Overlay("pods", nodes=[7], backend="ipip")  # here',
        ["nodes must be OverlayNode(link, subnet), not 7"],
    ),
    "no address": (
        'Overlay("pods", nodes=[OverlayNode(Bridge("br0"), "10.1.0.0/24")], backend="ipip")  # here',
        ["Overlay 'pods': node link 'br0' in netns '' has no address"],
    ),
    "no subnet": (two(x="10.1.0.1/24"), ["Overlay 'pods': subnet has bits set beyond its prefix"]),
    "subnets overlap": (two(x="10.2.0.0/16"), ["Overlay 'pods': the subnets 10.2.0.0/16 and 10.2.0.0/24 overlap"]),
    "two segments": (
        two("host-gw", b="10.9.0.2/24"),
        ["host-gw needs all nodes on one segment; 10.0.0.1/24 and 10.9.0.2/24 are not", "Take ipip or vxlan"],
    ),
    "ipip over IPv6": (
        two("ipip", a="fd00::1/64", b="10.0.0.2/24"),
        ["Overlay 'pods': ipip carries IPv4 over IPv4; fd00::1/64 with 10.1.0.0/24 is not that"],
    ),
    "host-gw of two families": (
        two("host-gw", x="fd00:1::/64"),
        ["Overlay 'pods': host-gw needs one address family; 10.0.0.1/24 with fd00:1::/64 has two"],
    ),
    "rule of two families": (
        'Rule("r", priority=7, src="10.0.0.0/8", dst="fd00::/8")  # here',
        ["Rule 'r': dst fd00::/8 is not of the address family inet"],
    ),
    "port without protocol": ('Rule("r", priority=7, dport=80)  # here', ["dport needs ipproto", "6 is TCP"]),
    "mask without mark": ('Rule("r", priority=7, fwmask=15)  # here', ["Rule 'r': fwmask needs fwmark"]),
    "table without lookup": (
        'Rule("r", priority=7, action="blackhole", table=10)  # here',
        ["Rule 'r': table is for lookup; the action is blackhole"],
    ),
    "rules twice": (
        'Rule("a", priority=7, table=10)\nRule("b", priority=7, table=10)  # here',
        ["Rule 'b' and Rule 'a' are one kernel object"],
    ),
    "one netns twice": (
        ETH0 + 'n = OverlayNode(eth0, "10.1.0.0/24")\nm = OverlayNode(eth0, "10.2.0.0/24")\n'
        'Overlay("pods", nodes=[n, m], backend="host-gw")  # here',
        ["Overlay 'pods': two nodes are in netns 'host'"],
    ),
}


@pytest.mark.parametrize(("body", "words"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_at_its_line(sandbox: Sandbox, tmp_path: Path, body: str, words: Sequence[str]) -> None:
    """up ends with exit code 1 and an error at the user's line that says why, and touches nothing."""
    before = sandbox.dump()
    path = stack_file(tmp_path, body)
    done = sandbox.netdsl("up", path.name, "--yes", check=False, cwd=tmp_path)
    said = the_error(done)
    assert said.removeprefix("error: ").partition(": ")[0] in marked(path)
    for word in words:
        assert word in said
    assert sandbox.dump() == before
