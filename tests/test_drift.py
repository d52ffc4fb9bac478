"""Drift: what somebody changes by hand is shown exactly, and `up` heals it."""

from __future__ import annotations

import json
from typing import Any, NamedTuple, TypeAlias

import pytest

from labs import VXLAN, answers, plan_of
from sandbox import Sandbox

Shown: TypeAlias = dict[tuple[str, str, str, str], dict[str, tuple[Any, Any]]]
"""A plan: (action, kind, netns, name) of each change, and the properties that differ with (have, want)."""


class Drift(NamedTuple):
    """Changes by hand, and what the next plan has to be. The MACs of both vteps stand in for {vtep245} and {vtep246}.

    gone  netns and name of a link that the kernel takes away in its own time
    """

    by_hand: str
    plan: Shown
    gone: tuple[str, str] | None = None


def created(netns: str, *resources: str) -> Shown:
    """Changes that make what is missing, each given as "kind name"."""
    return {("create", kind, netns, name): {} for kind, _, name in (each.partition(" ") for each in resources)}


TO_VM2 = ("neighbor 172.246.0.0 dev vtep245", "fdb {vtep246} dev vtep245", "route to 172.246.0.0/24")
TO_VM1 = ("neighbor 172.245.0.0 dev vtep246", "fdb {vtep245} dev vtep246", "route to 172.245.0.0/24")
VTEP245 = ("vxlan vtep245", "address 172.245.0.0/32 dev vtep245", *TO_VM2)
VTEP246 = ("vxlan vtep246", "address 172.246.0.0/32 dev vtep246", *TO_VM1)
UNDERLAY = {
    **created("vm1", "veth eth0", "address 192.168.32.245/24 dev eth0", *VTEP245),
    **created("vm2", "veth-end eth0", "address 192.168.32.246/24 dev eth0", *VTEP246),
}
BRIDGE = ("bridge br245", "address 172.245.0.1/24 dev br245")
INSIDE_NS245 = ("veth-end eth0", "address 172.245.0.2/24 dev eth0", "route default")
INSIDE_NS246 = ("veth-end eth0", "address 172.246.0.2/24 dev eth0", "route default")
FORWARDING = ("sysctl net/ipv4/ip_forward", "sysctl net/ipv6/conf/all/forwarding")

DRIFTS = {
    "neighbour deleted": Drift(
        "ip -n vm1 neigh del 172.246.0.0 dev vtep245", created("vm1", "neighbor 172.246.0.0 dev vtep245")
    ),
    "neighbour no longer permanent": Drift(
        "ip -n vm1 neigh replace 172.246.0.0 lladdr {vtep246} dev vtep245 nud stale",
        created("vm1", "neighbor 172.246.0.0 dev vtep245"),
    ),
    "neighbour with another MAC": Drift(
        "ip -n vm1 neigh replace 172.246.0.0 lladdr 02:00:00:00:00:77 dev vtep245 nud permanent",
        {
            ("update", "neighbor", "vm1", "172.246.0.0 dev vtep245"): {
                "lladdr": ("02:00:00:00:00:77", "{vtep246}"),
            }
        },
    ),
    "fdb entry deleted": Drift(
        "bridge -n vm1 fdb del {vtep246} dev vtep245", created("vm1", "fdb {vtep246} dev vtep245")
    ),
    "fdb entry that leads elsewhere": Drift(
        "bridge -n vm1 fdb replace {vtep246} dev vtep245 dst 192.168.32.99 self permanent",
        {("update", "fdb", "vm1", "{vtep246} dev vtep245"): {"dst": ("192.168.32.99", "192.168.32.246")}},
    ),
    "MTU": Drift("ip -n vm2 link set vtep246 mtu 1400", {("update", "vxlan", "vm2", "vtep246"): {"mtu": (1400, 1450)}}),
    "learning switched on": Drift(
        "ip -n vm1 link set vtep245 type vxlan id 1 learning",
        {("update", "vxlan", "vm1", "vtep245"): {"learning": (True, False)}},
    ),
    "MAC, which drops neighbours": Drift(
        "ip -n vm2 link set vtep246 address 02:00:00:00:00:99",
        {
            ("update", "vxlan", "vm2", "vtep246"): {"mac": ("02:00:00:00:00:99", "{vtep246}")},
            **created("vm2", "neighbor 172.245.0.0 dev vtep246"),
        },
    ),
    "vtep down, which drops neighbours and routes": Drift(
        "ip -n vm1 link set vtep245 down",
        {
            ("update", "vxlan", "vm1", "vtep245"): {"up": (False, True)},
            **created("vm1", "neighbor 172.246.0.0 dev vtep245", "route to 172.246.0.0/24"),
        },
    ),
    "vtep deleted": Drift("ip -n vm1 link del vtep245", created("vm1", *VTEP245)),
    "vtep's address, which takes its neighbours and routes along": Drift(
        "ip -n vm1 addr del 172.245.0.0/32 dev vtep245",
        created(
            "vm1",
            "address 172.245.0.0/32 dev vtep245",
            "neighbor 172.246.0.0 dev vtep245",
            "route to 172.246.0.0/24",
        ),
    ),
    "default route deleted": Drift("ip -n ns245 route del default", created("ns245", "route default")),
    "gateway": Drift(
        "ip -n vm1 route change 172.246.0.0/24 via 172.246.0.9 dev vtep245 onlink",
        {("update", "route", "vm1", "to 172.246.0.0/24"): {"via": ("172.246.0.9", "172.246.0.0")}},
    ),
    "bridge down": Drift(
        "ip -n vm1 link set br245 down", {("update", "bridge", "vm1", "br245"): {"up": (False, True)}}
    ),
    "bridge deleted": Drift(
        "ip -n vm1 link del br245",
        {**created("vm1", *BRIDGE), ("update", "veth", "vm1", "veth245"): {"master": ("", "br245")}},
    ),
    "port taken out": Drift(
        "ip -n vm2 link set veth246 nomaster", {("update", "veth", "vm2", "veth246"): {"master": ("", "br246")}}
    ),
    "bridge's address": Drift(
        "ip -n vm1 addr del 172.245.0.1/24 dev br245", created("vm1", "address 172.245.0.1/24 dev br245")
    ),
    "container's address, which takes the route along": Drift(
        "ip -n ns245 addr del 172.245.0.2/24 dev eth0",
        created("ns245", "address 172.245.0.2/24 dev eth0", "route default"),
    ),
    "container's link down": Drift(
        "ip -n ns245 link set eth0 down",
        {("update", "veth-end", "ns245", "eth0"): {"up": (False, True)}, **created("ns245", "route default")},
    ),
    "veth pair deleted": Drift(
        "ip -n vm1 link del veth245", {**created("vm1", "veth veth245"), **created("ns245", *INSIDE_NS245)}
    ),
    "veth renamed": Drift(
        "ip -n vm1 link set veth245 down; ip -n vm1 link set veth245 name astray",
        {
            **created("vm1", "veth veth245"),
            ("replace", "veth-end", "ns245", "eth0"): {"peer": ("", "vm1/veth245")},
            ("replace", "address", "ns245", "172.245.0.2/24 dev eth0"): {},
            ("replace", "route", "ns245", "default"): {},
        },
    ),
    "underlay deleted, with everything on it": Drift("ip -n vm1 link del eth0", UNDERLAY),
    "container deleted": Drift(
        "ip netns del ns246",
        {**created("", "netns ns246"), **created("vm2", "veth veth246"), **created("ns246", *INSIDE_NS246)},
        gone=("vm2", "veth246"),
    ),
    "node deleted": Drift(
        "ip netns del vm1",
        {
            **created("", "netns vm1"),
            **created("vm1", *FORWARDING, *BRIDGE, "veth veth245"),
            **created("ns245", *INSIDE_NS245),
            **UNDERLAY,
        },
        gone=("vm2", "vtep246"),
    ),
    "forwarding": Drift(
        "ip netns exec vm1 sysctl -qw net.ipv4.ip_forward=0",
        {("update", "sysctl", "vm1", "net/ipv4/ip_forward"): {"value": ("0", "1")}},
    ),
}


@pytest.fixture
def lab(sandbox: Sandbox) -> Sandbox:
    """The vxlan lab, up and answering."""
    sandbox.netdsl("up", VXLAN, "--yes")
    answers(sandbox, "ns245", "172.246.0.2")
    return sandbox


def shown(changes: list[dict[str, Any]]) -> Shown:
    """A plan of netdsl in the form of these tests."""
    found: Shown = {}
    for change in changes:
        key = (change["action"], change["kind"], change["netns"], change["name"])
        assert key not in found
        found[key] = {prop: (diff["have"], diff["want"]) for prop, diff in change["diff"].items()}
    return found


def macs(sandbox: Sandbox) -> dict[str, str]:
    """The MAC of each vtep."""
    vteps = {"vtep245": "vm1", "vtep246": "vm2"}
    return {name: sandbox.ip("link", "show", "dev", name, netns=vm)[0]["address"] for name, vm in vteps.items()}


def filled(plan: Shown, known: dict[str, str]) -> Shown:
    """The plan with the MACs in it."""

    def fill(value: Any) -> Any:
        return value.format(**known) if isinstance(value, str) else value

    return {
        (action, kind, netns, fill(name)): {prop: (fill(have), fill(want)) for prop, (have, want) in diff.items()}
        for (action, kind, netns, name), diff in plan.items()
    }


def unnumbered(picture: Any) -> Any:
    """A dump without ifindexes, which are others for an object that was made again."""
    if isinstance(picture, dict):
        return {key: unnumbered(value) for key, value in picture.items() if key not in ("ifindex", "link_index")}
    if isinstance(picture, list):
        return sorted(map(unnumbered, picture), key=lambda value: json.dumps(value, sort_keys=True))
    return picture


@pytest.mark.parametrize("name", DRIFTS)
def test_drift_is_shown_and_healed(lab: Sandbox, name: str) -> None:
    """The plan is exactly what was changed by hand; `up` heals it, and the kernel and a ping are as they were before."""
    drift, known, before = DRIFTS[name], macs(lab), unnumbered(lab.dump())
    lab.run(["sh", "-ec", drift.by_hand.format(**known)])
    if drift.gone:
        netns, link = drift.gone
        lab.wait_until(lambda: lab.run(["ip", "-n", netns, "link", "show", "dev", link], check=False).returncode)
    assert shown(plan_of(lab, VXLAN)) == filled(drift.plan, known)
    assert lab.netdsl("plan", VXLAN, "--detailed-exitcode", check=False).returncode == 3
    lab.netdsl("up", VXLAN, "--yes")
    assert answers(lab, "ns245", "172.246.0.2") == 62
    assert plan_of(lab, VXLAN) == []
    assert unnumbered(lab.dump()) == before


def test_several_drifts_at_once(lab: Sandbox) -> None:
    """Drifts in different namespaces and of different kinds are one plan, which heals them all."""
    names = ("MTU", "bridge down", "forwarding", "neighbour deleted", "default route deleted", "port taken out")
    known, before = macs(lab), unnumbered(lab.dump())
    for name in names:
        lab.run(["sh", "-ec", DRIFTS[name].by_hand.format(**known)])
    wanted = {key: diff for name in names for key, diff in DRIFTS[name].plan.items()}
    assert shown(plan_of(lab, VXLAN)) == filled(wanted, known)
    lab.netdsl("up", VXLAN, "--yes")
    assert answers(lab, "ns245", "172.246.0.2") == 62
    assert unnumbered(lab.dump()) == before


REPLACED = {
    ("replace", kind, netns, name): {"vni": (1, 2)} if kind == "vxlan" else {}
    for netns, resources in (("vm1", VTEP245), ("vm2", VTEP246))
    for kind, _, name in (each.partition(" ") for each in resources)
}
"""What another VNI replaces: both vteps with their address, neighbour, fdb entry and route."""


def vnis(sandbox: Sandbox) -> list[int]:
    """The VNI of both vteps."""
    vteps = (("vm1", "vtep245"), ("vm2", "vtep246"))
    links = [sandbox.ip("link", "show", "dev", name, netns=vm)[0] for vm, name in vteps]
    return [found["linkinfo"]["info_data"]["id"] for found in links]


def test_another_vni_replaces_both_vteps_and_what_falls_with_them(lab: Sandbox) -> None:
    """`-p vni=2` replaces the vteps with their address, neighbour, fdb entry and route, and nothing else."""
    known = macs(lab)
    changes = plan_of(lab, VXLAN, "-p", "vni=2")
    assert shown(changes) == filled(REPLACED, known)
    for change in changes:
        here = "245" if change["netns"] == "vm1" else "246"
        because = "" if change["kind"] == "vxlan" else f"Vxlan 'vtep{here}' in netns {change['netns']}"
        assert change["falls_with"] == because
    lab.netdsl("up", VXLAN, "--yes", "-p", "vni=2")
    assert answers(lab, "ns245", "172.246.0.2") == 62
    assert vnis(lab) == [2, 2]
    assert macs(lab) == known


def test_parameters_persist(lab: Sandbox) -> None:
    """A parameter that was given stays until another is given or the parameters are reset."""
    known, before = macs(lab), unnumbered(lab.dump())
    lab.netdsl("up", VXLAN, "--yes", "-p", "vni=2")
    assert plan_of(lab, VXLAN) == []
    assert "vni=2" in lab.netdsl("plan", VXLAN).stdout
    lab.netdsl("up", VXLAN, "--yes")
    assert vnis(lab) == [2, 2]
    back = {key: {prop: (want, have) for prop, (have, want) in diff.items()} for key, diff in REPLACED.items()}
    assert shown(plan_of(lab, VXLAN, "--reset-params")) == filled(back, known)
    assert plan_of(lab, VXLAN) == []  # planning alone has reset nothing
    lab.netdsl("up", VXLAN, "--yes", "--reset-params")
    assert vnis(lab) == [1, 1]
    assert plan_of(lab, VXLAN) == []
    assert answers(lab, "ns245", "172.246.0.2") == 62
    assert unnumbered(lab.dump()) == before
