"""A part of a plan: --target, --exclude, --replace, and the options of a resource that keep a plan from it."""

from __future__ import annotations

from pathlib import Path

import pytest
from going_back import LAB, program

from labs import brief, plan_of
from sandbox import Sandbox


def test_target_pulls_in_what_it_needs(sandbox: Sandbox, tmp_path: Path) -> None:
    """A bridge alone brings its netns, which is said; the rest stays for the next plan."""
    path = program(tmp_path)
    done = sandbox.netdsl("up", path, "--yes", "-p", "extra=true", "--target", "*bridge::br0")
    assert "note: --target pulls in: Netns 'more'" in done.stdout
    assert sandbox.netns_names() == ["more"]
    assert {c["netns"] or c["name"] for c in plan_of(sandbox, "lab")} == {"here", "there", "more"}
    sandbox.netdsl("up", "lab", "--yes")
    assert plan_of(sandbox, "lab") == []


def test_exclude_leaves_out_what_needs_it(sandbox: Sandbox, tmp_path: Path) -> None:
    """Without the netns there is no bridge in it, which is said; all else is made."""
    path = program(tmp_path)
    done = sandbox.netdsl("up", path, "--yes", "-p", "extra=true", "--exclude", "more")
    assert "note: --exclude leaves out too: Bridge 'br0'" in done.stdout
    assert sandbox.netns_names() == ["here", "there"]
    assert {c["netns"] or c["name"] for c in plan_of(sandbox, "lab")} == {"more"}


def test_replace(sandbox: Sandbox, tmp_path: Path) -> None:
    """What is to be replaced takes with it what stands on it, and all of it is there again."""
    path = program(tmp_path)
    sandbox.netdsl("up", path, "--yes")
    before = sandbox.ip("link", "show", "dev", "eth0", netns="here")[0]["ifindex"]
    changes = plan_of(sandbox, "lab", "--replace", "*::here::veth::eth0")
    assert {("replace", "veth", "here", "eth0"), ("replace", "route", "there", "far")} <= brief(changes)
    (asked,) = [change for change in changes if change["kind"] == "veth"]
    assert asked["reason"] == "asked for with --replace"
    sandbox.netdsl("up", "lab", "--yes", "--replace", "*::here::veth::eth0")
    assert sandbox.ip("link", "show", "dev", "eth0", netns="here")[0]["ifindex"] != before
    assert plan_of(sandbox, "lab") == []


def test_destroy_of_a_part(sandbox: Sandbox, tmp_path: Path) -> None:
    """destroy --target takes what stands on it along and leaves the rest recorded; --exclude is the other way round."""
    path = program(tmp_path)
    sandbox.netdsl("up", path, "--yes", "-p", "extra=true")
    sandbox.netdsl("destroy", "lab", "--yes", "--target", "more")
    assert sandbox.netns_names() == ["here", "there"]
    assert {c["netns"] or c["name"] for c in plan_of(sandbox, "lab")} == {"more"}
    sandbox.netdsl("up", "lab", "--yes")
    sandbox.netdsl("destroy", "lab", "--yes", "--exclude", "more")
    assert sandbox.netns_names() == ["more"]
    sandbox.netdsl("destroy", "lab", "--yes")
    assert sandbox.netns_names() == []


@pytest.mark.parametrize("option", ["--target", "--exclude", "--replace"])
def test_no_such_resource(sandbox: Sandbox, tmp_path: Path, option: str) -> None:
    """A name that no resource has is a usage error, and nothing is touched."""
    done = sandbox.netdsl("up", program(tmp_path), "--yes", option, "nothing", check=False)
    assert done.returncode == 2
    assert "no resource of the stack is called 'nothing'" in done.stderr
    assert sandbox.netns_names() == []


COMPONENT = """
from netdsl import *

class Pair(Component):
    def __init__(self, name, here, there):
        super().__init__(name)
        with self:
            far = VethEnd("eth0", netns=there, mtu=1500, addresses=["10.0.0.2/24"], up=True)
            Veth("eth0", netns=here, mtu=1500, addresses=["10.0.0.1/24"], peer=far)
            Route("far", netns=there, dst="10.9.0.0/16", via="10.0.0.1")

@stack
def lab():
    Pair("pair", Netns("here"), Netns("there"))
    return {"mtu": 1500}
"""


def test_another_structure_destroys_nothing(sandbox: Sandbox, tmp_path: Path) -> None:
    """Resources that move into a component keep what they are in the kernel: moves alone, found by kernel identity."""
    path = program(tmp_path)
    sandbox.netdsl("up", path, "--yes")
    before = sandbox.dump()
    program(tmp_path, COMPONENT)
    changes = plan_of(sandbox, "lab")
    assert {(change["action"], bool(change["moved_from"])) for change in changes} == {("same", True)}
    sandbox.netdsl("up", "lab", "--yes")
    assert sandbox.dump() == before
    assert plan_of(sandbox, "lab") == []


def test_retain_on_delete(sandbox: Sandbox, tmp_path: Path) -> None:
    """What is to be retained is forgotten instead of deleted; to have it back is adoption."""
    text = 'from netdsl import *\n\n@stack\ndef lab():\n    Netns("n")\n    {}\n'
    path = program(tmp_path, text.format('Bridge("kept", opts=Opts(retain_on_delete=True))'))
    sandbox.netdsl("up", path, "--yes")
    program(tmp_path, text.format("pass"))
    sandbox.netdsl("up", path, "--yes")
    assert sandbox.ip("link", "show", "dev", "kept")[0]["ifname"] == "kept"
    assert "kept" not in sandbox.netdsl("state", "list", "lab").stdout
    program(tmp_path, text.format('Bridge("kept")'))
    refused = sandbox.netdsl("up", path, "--yes", check=False)
    assert refused.returncode == 1 and "Bridge 'kept' exists already" in refused.stderr
    sandbox.netdsl("up", path, "--yes", "--adopt")
    assert plan_of(sandbox, path) == []
    sandbox.netdsl("destroy", "--yes")
    assert sandbox.ip("link", "show", "dev", "kept")[0]["ifname"] == "kept"


def test_ignored_changes(sandbox: Sandbox, tmp_path: Path) -> None:
    """A property whose changes are ignored is set at creation, then neither drift nor a new value is acted upon."""
    text = LAB.replace("peer=far)", 'peer=far, opts=Opts(ignore_changes=["mtu"]))')
    path = program(tmp_path, text)
    sandbox.netdsl("up", path, "--yes", "-p", "mtu=1400")
    assert sandbox.ip("link", "show", "dev", "eth0", netns="here")[0]["mtu"] == 1400
    sandbox.run(["ip", "-n", "here", "link", "set", "eth0", "mtu", "1300"])
    assert plan_of(sandbox, "lab") == []
    assert brief(plan_of(sandbox, "lab", "-p", "mtu=1450")) == {("update", "veth-end", "there", "eth0")}
