"""Drift: what somebody changes by hand is shown exactly, and `up` heals it."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from labs import VXLAN, answers, brief, plan_of
from sandbox import Sandbox


class Drift(NamedTuple):
    """A change by hand, and what the next plan has to be: (action, kind, netns, name) and what properties differ."""

    by_hand: str
    changes: set[tuple[str, str, str, str]]
    diff: dict[str, tuple[object, object]] = {}  # noqa: RUF012  (never changed)


DRIFTS = {
    "neighbour": Drift(
        "ip -n vm1 neigh del 172.246.0.0 dev vtep245", {("create", "neighbor", "vm1", "172.246.0.0 dev vtep245")}
    ),
    "mtu": Drift("ip -n vm2 link set vtep246 mtu 1400", {("update", "vxlan", "vm2", "vtep246")}, {"mtu": (1400, 1450)}),
    "default route": Drift("ip -n ns245 route del default", {("create", "route", "ns245", "default")}),
    "bridge down": Drift(
        "ip -n vm1 link set br245 down", {("update", "bridge", "vm1", "br245")}, {"up": (False, True)}
    ),
    "veth pair": Drift(
        "ip -n vm1 link del veth245",
        {
            ("create", "veth", "vm1", "veth245"),
            ("create", "veth-end", "ns245", "eth0"),
            ("create", "address", "ns245", "172.245.0.2/24 dev eth0"),
            ("create", "route", "ns245", "default"),
        },
    ),
    "container": Drift(
        "ip netns del ns246",
        {
            ("create", "netns", "", "ns246"),
            ("create", "veth", "vm2", "veth246"),
            ("create", "veth-end", "ns246", "eth0"),
            ("create", "address", "ns246", "172.246.0.2/24 dev eth0"),
            ("create", "route", "ns246", "default"),
        },
    ),
    "port": Drift(
        "ip -n vm2 link set veth246 nomaster", {("update", "veth", "vm2", "veth246")}, {"master": ("", "br246")}
    ),
    "address": Drift(
        "ip -n vm1 addr del 172.245.0.1/24 dev br245", {("create", "address", "vm1", "172.245.0.1/24 dev br245")}
    ),
    "route": Drift(
        "ip -n vm1 route change 172.246.0.0/24 via 172.246.0.9 dev vtep245 onlink",
        {("update", "route", "vm1", "to 172.246.0.0/24")},
        {"via": ("172.246.0.9", "172.246.0.0")},
    ),
    "forwarding": Drift(
        "ip netns exec vm1 sysctl -qw net.ipv4.ip_forward=0",
        {("update", "sysctl", "vm1", "net/ipv4/ip_forward")},
        {"value": ("0", "1")},
    ),
}


@pytest.fixture
def lab(sandbox: Sandbox) -> Sandbox:
    """The vxlan lab, up and answering."""
    sandbox.netdsl("up", VXLAN, "--yes")
    answers(sandbox, "ns245", "172.246.0.2")
    return sandbox


def sh(sandbox: Sandbox, line: str) -> None:
    """Run a shell line inside."""
    sandbox.run(["sh", "-ec", line])


@pytest.mark.parametrize("name", DRIFTS)
def test_drift_is_shown_and_healed(lab: Sandbox, name: str) -> None:
    """The plan is exactly what was changed by hand, `up` heals it, the containers reach each other, nothing is left."""
    drift = DRIFTS[name]
    sh(lab, drift.by_hand)
    if name == "container":  # the pair's other end goes when the kernel has cleaned up
        lab.wait_until(lambda: lab.run(["ip", "-n", "vm2", "link", "show", "veth246"], check=False).returncode)
    changes = plan_of(lab, VXLAN)
    assert brief(changes) == drift.changes
    diffs = {prop: (d["have"], d["want"]) for change in changes for prop, d in change["diff"].items()}
    assert diffs == drift.diff
    lab.netdsl("up", VXLAN, "--yes")
    assert answers(lab, "ns245", "172.246.0.2") == 62
    assert plan_of(lab, VXLAN) == []


def test_fdb_drift_is_healed(lab: Sandbox) -> None:
    """A forwarding entry that points elsewhere is brought back in place."""
    mac = lab.ip("link", "show", "dev", "vtep246", netns="vm2")[0]["address"]
    lab.run(
        ["bridge", "-n", "vm1", "fdb", "replace", mac, "dev", "vtep245", "dst", "192.168.32.99", "self", "permanent"]
    )
    (change,) = plan_of(lab, VXLAN)
    assert (change["action"], change["diff"]) == (
        "update",
        {"dst": {"have": "192.168.32.99", "want": "192.168.32.246"}},
    )
    lab.netdsl("up", VXLAN, "--yes")
    assert plan_of(lab, VXLAN) == []


FALLS = [("address", "172.{here}.0.0/32 dev vtep{here}"), ("neighbor", "172.{there}.0.0 dev vtep{here}")]


def test_another_vni_replaces_both_vteps_and_what_falls_with_them(lab: Sandbox) -> None:
    """`-p vni=2` replaces the vteps with their address, neighbour, fdb entry and route, and nothing else."""
    changes = plan_of(lab, VXLAN, "-p", "vni=2")
    assert {c["action"] for c in changes} == {"replace"}
    macs = {c["name"].split()[0] for c in changes if c["kind"] == "fdb"}
    assert len(macs) == 2
    wanted = set()
    for here, there, vm in ((245, 246, "vm1"), (246, 245, "vm2")):
        wanted |= {("replace", "vxlan", vm, f"vtep{here}"), ("replace", "route", vm, f"to 172.{there}.0.0/24")}
        wanted |= {("replace", kind, vm, name.format(here=here, there=there)) for kind, name in FALLS}
    assert {c for c in brief(changes) if c[1] != "fdb"} == wanted
    for change in changes:
        assert (change["diff"] == {"vni": {"have": 1, "want": 2}}) == (change["kind"] == "vxlan")
    lab.netdsl("up", VXLAN, "--yes", "-p", "vni=2")
    assert answers(lab, "ns245", "172.246.0.2") == 62


def test_parameters_persist(lab: Sandbox) -> None:
    """A parameter that was given stays until another is given or the parameters are reset."""
    lab.netdsl("up", VXLAN, "--yes", "-p", "vni=2")
    assert plan_of(lab, VXLAN) == []
    assert "vni=2" in lab.netdsl("plan", VXLAN).stdout
    assert {c["kind"] for c in plan_of(lab, VXLAN, "--reset-params")} >= {"vxlan"}
