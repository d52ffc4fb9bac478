"""Trees of queueing disciplines on a real kernel: whose is what, what falls with what, what goes before what."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from labs import plan_of
from sandbox import Sandbox

LAB = '''
from netdsl import *

@stack
def lab(form: str = "inner"):
    """A tree, in several forms."""
    far = VethEnd("eth0", netns=Netns("b"), addresses=["10.0.0.2/24"])
    a = Netns("a")
    near = Veth("eth0", netns=a, addresses=["10.0.0.1/24"], peer=far)
    if form in ("narrow", "narrower"):
        outer = Tbf("outer", dev=near, rate="80mbit", burst="16kb", limit=100000)
        if form == "narrower":
            Tbf("inner", parent=outer, rate="40mbit", burst="16kb", limit=100000)
    elif form != "plain":
        up = Htb("up", dev=near)
        if form in ("inner", "moved"):
            top = HtbClass("top", parent=up, rate="80mbit")
            sub = HtbClass("sub", parent=up if form == "moved" else top, rate="40mbit")
            inner = HtbClass("inner", parent=sub, rate="8mbit")
            Tbf("leaf", parent=inner, rate="4mbit", burst="16kb", limit=100000)
            TcFilter("to-b", to=inner, prio=1, dst="10.0.0.2/32")
'''


@pytest.fixture
def lab(tmp_path: Path) -> str:
    """The program."""
    path = tmp_path / "lab.py"
    path.write_text(textwrap.dedent(LAB))
    return str(path)


@pytest.mark.parametrize("form", ["moved", "bare", "plain", "narrow"])
def test_a_tree_is_rebuilt(sandbox: Sandbox, lab: str, form: str) -> None:
    """Classes that divide others, with a filter that holds them, are moved, taken out, or go with their root, and come
    back; after each change the plan is empty and packets pass."""
    for now in ("inner", form, "inner"):
        sandbox.netdsl("up", lab, "--yes", "-p", f"form={now}")
        assert plan_of(sandbox, lab) == []
        assert sandbox.ping("a", "10.0.0.2").received
    sandbox.netdsl("destroy", "lab", "--yes")
    assert sandbox.netns_names() == []


def test_the_commands_take_a_tree_apart(sandbox: Sandbox, lab: str) -> None:
    """The commands of a plan that takes out classes but not their root run in an order that the kernel accepts."""
    sandbox.netdsl("up", lab, "--yes")
    script = sandbox.netdsl("plan", "--commands", lab, "-p", "form=bare").stdout
    deleted = [line.split()[3] for line in script.splitlines() if " del " in line]
    assert deleted == ["filter", "class", "class", "class"]
    sandbox.run(["sh", "-e"], input=script)
    assert sandbox.run(["tc", "class", "show", "dev", "eth0"], netns="a").stdout == ""


def test_tbf_goes_on_without_what_it_carried(sandbox: Sandbox, lab: str) -> None:
    """When what stands under a Tbf is taken out, the Tbf gets its queue again: else the kernel drops every packet."""
    sandbox.netdsl("up", lab, "--yes", "-p", "form=narrower")
    assert sandbox.ping("a", "10.0.0.2").received
    changes = plan_of(sandbox, lab, "-p", "form=narrow")
    assert {(c["action"], c["name"]) for c in changes} == {("delete", "inner dev eth0"), ("update", "outer dev eth0")}
    sandbox.netdsl("up", lab, "--yes", "-p", "form=narrow")
    assert sandbox.ping("a", "10.0.0.2").received


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("tc qdisc replace dev eth0 root tbf rate 1mbit burst 4kb limit 9999", "another has taken its place"),
        ("tc qdisc replace dev eth0 root handle 7: htb", "another has taken its place"),
        ("tc qdisc replace dev eth0 root pfifo", "another has taken its place"),
    ],
)
def test_a_foreign_root_is_a_conflict(sandbox: Sandbox, lab: str, command: str, words: str) -> None:
    """A root that somebody else put in the place of ours is named before anything is written, and stays."""
    sandbox.netdsl("up", lab, "--yes")
    sandbox.run(command.split(), netns="a")
    before = sandbox.dump()
    done = sandbox.netdsl("up", lab, "--yes", check=False)
    assert done.returncode == 1
    assert done.stderr.count("error: ") == 1
    assert "Htb 'up dev eth0' in netns a" in done.stderr and words in done.stderr
    assert sandbox.dump() == before


def test_a_root_that_was_there_is_a_conflict(sandbox: Sandbox, lab: str) -> None:
    """A link's own queue is none, a discipline that somebody gave it is; of the same kind it can be taken over, and
    goes back to what it was."""
    sandbox.netdsl("up", lab, "--yes", "-p", "form=plain")
    tbf = "tc qdisc add dev eth0 root handle 1: tbf rate 8mbit burst 16kb limit 100000"
    sandbox.run(tbf.split(), netns="a")
    before = sandbox.dump()
    for form, code in (("inner", 1), ("narrow", 1)):
        done = sandbox.netdsl("up", lab, "--yes", "-p", f"form={form}", check=False)
        assert done.returncode == code
        assert "exists already and is not this stack's" in done.stderr
    done = sandbox.netdsl("up", lab, "--yes", "--adopt", "-p", "form=inner", check=False)
    assert "Htb 'up dev eth0' in netns a cannot be taken over: it is a tbf" in done.stderr
    assert sandbox.dump() == before
    sandbox.netdsl("up", lab, "--yes", "--adopt", "-p", "form=narrow")
    assert sandbox.dump() != before
    sandbox.netdsl("up", lab, "--yes", "-p", "form=plain")
    assert sandbox.dump() == before
