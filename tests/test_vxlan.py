"""The end points of a vxlan against the kernel: every change from one form to another."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from pathlib import Path

import pytest

from labs import plan_of, unowned
from sandbox import Sandbox

PROGRAM = """
from netdsl import *

FORMS = {
    "none": {},
    "local": {"local": "10.0.0.1"},
    "remote": {"remote": "10.0.0.2"},
    "group": {"mcast_group": "239.1.1.1"},
    "local6": {"local": "fd00::1"},
    "both6": {"local": "fd00::1", "remote": "fd00::2"},
    "remote6": {"remote": "fd00::3"},
    "group6": {"mcast_group": "ff05::1"},
}


@stack
def turns(step: int):
    with Netns("n"):
        lower = Bridge("lower", addresses=["10.0.0.1/24", "fd00::1/64"])
        pairs = [(a, b) for a in FORMS for b in FORMS if a != b]
        for number, pair in enumerate(pairs):
            Vxlan(f"{pair[0]}-{pair[1]}", vni=number, dev=lower, port=4000 + number, **FORMS[pair[step]])
"""
FORMS = ["none", "local", "remote", "group", "local6", "both6", "remote6", "group6"]


@pytest.mark.kernel
def test_end_points_turn_into_each_other(make_sandbox: Callable[[], Sandbox], tmp_path: Path) -> None:
    """From each form of end points to each other one: `up` does it as if the old one had never been, in place where the
    address family stays, and the plan after it is empty."""
    sandbox, never = make_sandbox(), make_sandbox()
    path = tmp_path / "turns.py"
    path.write_text(PROGRAM)
    sandbox.netdsl("up", str(path), "--yes", "-p", "step=0")
    assert plan_of(sandbox, "turns") == []
    actions = {c["name"]: c["action"] for c in plan_of(sandbox, "turns", "-p", "step=1") if c["kind"] == "vxlan"}
    for old, new in permutations(FORMS, 2):
        same = old.endswith("6") == new.endswith("6")
        assert actions[f"{old}-{new}"] == ("update" if same else "replace"), (old, new)
    sandbox.netdsl("up", str(path), "--yes", "-p", "step=1")
    assert plan_of(sandbox, "turns") == []
    never.netdsl("up", str(path), "--yes", "-p", "step=1")
    assert unowned(sandbox.dump()) == unowned(never.dump())


def test_the_mtu_without_dev(sandbox: Sandbox, tmp_path: Path) -> None:
    """Without dev the MTU follows from the link that has the local address; the kernel would take 1500."""
    lines = ["from netdsl import *", "@stack", "def lab(mtu: int = 1400):", '    n = Netns("n")']
    lines += ['    Bridge("low", netns=n, mtu=mtu, addresses=["10.0.0.1/24", "fd00::1/64"])']
    lines += [f'    Vxlan("v{i}", vni={i}, netns=n, local="{a}")' for i, a in ((4, "10.0.0.1"), (6, "fd00::1"))]
    path = tmp_path / "lab.py"
    path.write_text("\n".join(lines) + "\n")
    for mtu in (1400, 1300):
        sandbox.netdsl("up", str(path), "--yes", "-p", f"mtu={mtu}")
        found = {link["ifname"]: link["mtu"] for link in sandbox.ip("link", "show", netns="n")}
        assert (found["v4"], found["v6"]) == (mtu - 50, mtu - 70)


@pytest.mark.kernel
def test_mtu_changes_with_other_properties(sandbox: Sandbox, tmp_path: Path) -> None:
    """MTU and a property of the tunnel change in place in one run; the kernel takes them only one after the other."""
    path = tmp_path / "lab.py"
    for mtu, ageing in ((1400, 100), (1300, 200)):
        body = f'Vxlan("v", vni=1, mtu={mtu}, ageing={ageing})'
        path.write_text(f"from netdsl import *\n\n@stack\ndef lab():\n    {body}\n")
        assert [change["action"] for change in plan_of(sandbox, str(path))] == ["create" if mtu == 1400 else "update"]
        sandbox.netdsl("up", str(path), "--yes")
        assert plan_of(sandbox, str(path)) == []


JOINING = """
from netdsl import *

@stack
def turn(port: bool = False):
    with Netns("n"):
        br0 = Bridge("br0", addresses=["10.0.0.1/24"])
        Vxlan("vx0", vni=7, local="10.0.0.1", **({"master": br0} if port else {"dev": br0}))
"""


def test_one_joins_its_former_lower_device(sandbox: Sandbox, tmp_path: Path) -> None:
    """A vxlan on a bridge that becomes a port of it, which the kernel does not do in one step, is made anew; and the
    other way round."""
    path = tmp_path / "turn.py"
    path.write_text(JOINING)
    for port in (False, True, False):
        sandbox.netdsl("up", str(path), "--yes", "-p", f"port={port}")
        assert plan_of(sandbox, "turn") == []
        (vxlan,) = [link for link in sandbox.ip("link", "show", netns="n") if link["ifname"] == "vx0"]
        found = vxlan.get("master"), vxlan["linkinfo"]["info_data"].get("link")
        assert found == (("br0", None) if port else (None, "br0"))


SHRINKING = """
from netdsl import *

@stack
def shrinking(step: int = 0):
    if step < 2:
        Vxlan("l1", vni=8, **({"mtu": 1400} if step else {}))
    else:
        Vxlan("l1", vni=8, dev=Bridge("l2"))
"""


def test_the_mtu_of_a_former_lower_device(sandbox: Sandbox, tmp_path: Path) -> None:
    """An MTU that is not given any more becomes what a new vxlan would have now, not what this one had before it was
    given: with a lower device since then the kernel would refuse that."""
    path = tmp_path / "shrinking.py"
    path.write_text(SHRINKING)
    for step, mtu in enumerate((1500, 1400, 1450)):
        sandbox.netdsl("up", str(path), "--yes", "-p", f"step={step}")
        assert {link["ifname"]: link["mtu"] for link in sandbox.ip("link", "show")}["l1"] == mtu
    assert plan_of(sandbox, "shrinking") == []
