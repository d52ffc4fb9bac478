"""Whatever is written for a property of a kind gives a resource or an error that names it, never a traceback."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from netdsl import (
    Bridge,
    Hop,
    Htb,
    HtbClass,
    Link,
    Netns,
    Nexthop,
    Opts,
    Overlay,
    OverlayNode,
    Route,
    VethEnd,
    Vxlan,
    VxlanPeer,
    WireGuard,
)
from netdsl.kinds import KINDS
from netdsl.lang.declaration import Declaration, declaring

ODD: list[Any] = [
    "", " ", "x" * 300, "é", "日本", "a\0b", "a/b", "-1", "default", "inherit", "10.0.0.1", "10.0.0.1/24",
    "10.0.0.0/33", "::", "fe80::1%eth0", "ff:ff:ff:ff:ff:ff", -1, 0, 2**31, 2**32, 2**64, 1.5, float("nan"), True,
    b"bytes", [], [None], ["a"], (), {"a": 1}, set(), int, Link, Bridge,
]  # fmt: skip
FORMS: dict[str, tuple[Any, dict[str, Any]]] = {
    "netns": ("n9", {}),
    "sysctl": ("net.ipv4.ip_forward", {"value": "1"}),
    "vxlan": ("x", {"vni": 1}),
    "tunnel": ("x", {"mode": "gre", "remote": "10.0.0.9"}),
    "geneve": ("x", {"id": 1, "remote": "10.0.0.9"}),
    "vlan": ("x", {"id": 5, "dev": "link"}),
    "macvlan": ("x", {"dev": "link"}),
    "ipvlan": ("x", {"dev": "link"}),
    "vrf": ("x", {"table": 9}),
    "veth": ("x", {"peer": "end"}),
    "address": ("10.0.0.1/24", {"dev": "link"}),
    "neighbor": ("10.0.0.1", {"dev": "link", "lladdr": "02:00:00:00:00:01"}),
    "fdb": ("02:00:00:00:00:01", {"dev": "vtep", "dst": "10.0.0.1"}),
    "route": ("r", {"dst": "10.0.0.0/8", "dev": "link"}),
    "rule": ("r", {"priority": 5, "table": 7}),
    "nexthop": ("h", {"dev": "link"}),
    "nexthop-group": ("g", {"members": "hops"}),
    "netem": ("q", {"dev": "link", "delay": "1ms"}),
    "tbf": ("q", {"dev": "link", "rate": "10mbit", "burst": "16kb", "limit": 50000}),
    "fq_codel": ("q", {"dev": "link"}),
    "htb": ("q", {"dev": "link"}),
    "htb-class": ("c", {"parent": "shaper", "rate": "1mbit"}),
    "tc-filter": ("f", {"to": "class", "prio": 5, "src": "10.0.0.0/8"}),
    "wireguard-peer": ("p", {"dev": "wg", "public_key": "NKfKi73tTj8kxg7LZV+SNawbEtl66mmMVU34vx2VDy0="}),
    "masquerade": ("m", {"src": "10.0.0.0/8"}),
    "snat": ("m", {"src": "10.0.0.0/8", "to": "10.0.0.1"}),
    "dnat": ("m", {"to": "10.0.0.1", "proto": "tcp", "port": 80}),
    "bridge-vlan": (10, {"dev": "link"}),
    "vxlan-vni": (10, {"dev": "filter"}),
}
"""Kind -> name and properties that are right; words stand for resources that `_around` declares."""


def _around() -> dict[str, Any]:
    here, far = Netns("n"), Netns("m")
    link = Bridge("link", netns=here, vlan_filtering=True)
    shaper = Htb("shaper", dev=Bridge("shaped", netns=here))
    return {
        "shaper": shaper,
        "class": HtbClass("gold", parent=shaper, rate="1mbit"),
        "wg": WireGuard("wg", netns=here),
        "link": link,
        "vtep": Vxlan("vtep", netns=here, vni=3),
        "filter": Vxlan("filter", netns=here, external=True, vnifilter=True, port=99),
        "hops": [Nexthop("hop", dev=link)],
        "away": Bridge("away", netns=far),
        "namespace": here,
        "other": Route("other", dst="1.0.0.0/8", dev=link),
    }


def _declared(make: Callable[[dict[str, Any]], object], what: str) -> bool:
    """Whether something was declared without a mistake; else each mistake is said in a line, with its place."""
    declaration = Declaration("odd")
    with declaring(declaration):
        make(_around())
        for resource in list(declaration.resources):
            resource.finished()
    for problem in declaration.problems:
        assert problem.where.startswith(__file__), (what, problem)
        assert "\n" not in problem.what and len(problem.what) < 700, (what, problem)
    if not declaration.problems:
        assert [resource.item().title for resource in declaration.resources]
    return not declaration.problems


@pytest.mark.parametrize("word", KINDS)
def test_odd_values(word: str) -> None:
    """Each property and argument of a kind, and its name, with odd values, and resources that do not belong there."""
    cls = KINDS[word]
    name, right = FORMS.get(word, ("x", {}))

    def make(around: dict[str, Any], first: Any, given: dict[str, Any]) -> None:
        if word != "netns":
            given = {"netns": around["namespace"], **given}
        if given.get("peer") == "end":
            given = {**given, "peer": VethEnd("end", netns=around["away"].netns)}
        cls(first, **{k: around.get(v, v) if isinstance(v, str) else v for k, v in given.items()})

    assert _declared(lambda around: make(around, name, right), word) or word == "veth-end"  # which is no link alone
    words = [*(p.name for p in cls.properties.values() if p.init), *sorted(cls.arguments), "no_such_thing"]
    for prop in words:
        for odd in [None, *ODD, "link", "vtep", "away", "namespace", "other"]:
            _declared(lambda around, p=prop, o=odd: make(around, name, {**right, p: o}), f"{word}.{prop} = {odd!r}")
    for odd in [None, *ODD]:
        _declared(lambda around, o=odd: make(around, o, right), f"{word} named {odd!r}")


def _node() -> Bridge:
    return Bridge("node", addresses=["10.0.0.1/24"])


def _peer() -> Vxlan:
    return Vxlan("peer", vni=3, local="10.0.0.2", addresses=["10.2.0.0/32"])


OTHERS: dict[str, Callable[[dict[str, Any], Any], object]] = {
    **{
        f"Overlay {word}": lambda a, odd, word=word: Overlay(
            "pods",
            **{"nodes": [OverlayNode(_node(), "10.1.0.0/24")], "backend": "vxlan", word: odd},
        )
        for word in ("nodes", "backend", "direct_routing", "device", "per_peer", "vni", "port", "mtu", "opts")
    },
    "node's link": lambda a, odd: Overlay("pods", nodes=[OverlayNode(odd, "10.1.0.0/24")], backend="ipip"),
    "node's subnet": lambda a, odd: Overlay(
        "pods", nodes=[OverlayNode(_node(), odd)], backend="ipip"
    ),
    **{
        f"VxlanPeer {word}": lambda a, odd, word=word: VxlanPeer(
            "p",
            **{"vtep": a["vtep"], "peer": _peer(), "subnets": [], word: odd},
        )
        for word in ("vtep", "peer", "subnets", "gateway", "opts")
    },
    **{
        f"Hop {word}": lambda a, odd, word=word: Route(
            "r", dst="10.9.0.0/16", paths=[Hop(**{"via": "10.0.0.9", "dev": a["link"], word: odd})]
        )
        for word in ("via", "dev", "weight", "onlink")
    },
    **{
        f"Opts {word}": lambda a, odd, word=word: Bridge("b", opts=Opts(**{word: odd}))
        for word in ("depends_on", "ignore_changes", "aliases")
    },
    "Link.get": lambda a, odd: Link.get(odd),
    "Link.get's netns": lambda a, odd: Link.get("x", netns=odd),
    "Netns.get": lambda a, odd: Netns.get(odd),
    "an address": lambda a, odd: Bridge("b", addresses=[odd]),
    "a VLAN": lambda a, odd: Bridge("b", vlan_filtering=True, vlans=[odd], pvid=odd),
    "a VNI": lambda a, odd: Vxlan("b", external=True, vnifilter=True, vnis=[odd]),
}  # fmt: skip


@pytest.mark.parametrize("what", OTHERS)
def test_odd_values_elsewhere(what: str) -> None:
    """The same for components and for what is written inside of properties."""
    for odd in [None, *ODD]:
        _declared(lambda around, o=odd: OTHERS[what](around, o), f"{what} {odd!r}")
