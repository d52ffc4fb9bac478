"""Destroy takes away exactly what a stack made; what is foreign is never touched."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from labs import STACKS, VXLAN, plan_of
from sandbox import Sandbox


def foreign(sandbox: Sandbox) -> None:
    """Objects that are not any stack's."""
    sandbox.run(["sh", "-ec", "ip link add br9 type bridge; ip addr add 10.9.0.1/24 dev br9; ip link set br9 up"])
    sandbox.run(
        ["sh", "-ec", "ip netns add other; ip -n other link set lo up; ip -n other route add blackhole 10.8.0.0/16"]
    )


def test_the_kernel_is_as_before(sandbox: Sandbox, tmp_path: Path) -> None:
    """With the stack's file deleted, destroy leaves every namespace as it was, and foreign objects beside it alone."""
    foreign(sandbox)
    before = sandbox.dump()
    for name in ("two_node_vxlan.py", "two_nodes.py"):
        shutil.copy(STACKS / name, tmp_path / name)
    program = tmp_path / "two_node_vxlan.py"
    sandbox.netdsl("up", str(program), "--yes")
    assert sandbox.dump() != before
    program.unlink()
    sandbox.netdsl("destroy", "two_node_vxlan", "--yes")
    sandbox.wait_until(lambda: sandbox.dump() == before)
    assert "no stacks" in sandbox.netdsl("list").stdout


OWN = """
from netdsl import *

@stack
def own():
    inner = Netns("inner")
    bridge = Bridge("br0", addresses=["10.1.0.1/24"])
    Veth("port0", master=bridge, peer=VethEnd("eth0", netns=inner, addresses=["10.1.0.2/24"]))
    Route("beyond", dst="10.2.0.0/16", via="10.1.0.2", dev=bridge)
    Sysctl("net.ipv4.ip_forward", value=1)
"""


def test_links_in_the_own_namespace(sandbox: Sandbox, tmp_path: Path) -> None:
    """Links, routes and sysctls in the namespace that netdsl runs in are taken away and restored too."""
    foreign(sandbox)
    sandbox.run(["sysctl", "-qw", "net.ipv4.ip_forward=0"])
    before = sandbox.dump()
    program = tmp_path / "own.py"
    program.write_text(OWN)
    sandbox.netdsl("up", str(program), "--yes")
    assert plan_of(sandbox, "own") == []
    sandbox.netdsl("destroy", "own", "--yes")
    assert sandbox.dump() == before


def test_a_foreign_netns_in_the_way(sandbox: Sandbox, tmp_path: Path) -> None:
    """A vm1 that is not ours is named, and nothing is written."""
    sandbox.run(["ip", "netns", "add", "vm1"])
    before = sandbox.dump()
    done = sandbox.netdsl("up", VXLAN, "--yes", check=False)
    assert done.returncode == 1
    assert "'vm1' exists already" in done.stderr and "two_nodes.py:" in done.stderr
    assert sandbox.dump() == before
    assert "no stacks" in sandbox.netdsl("list").stdout


def test_a_foreign_link_in_our_netns(sandbox: Sandbox) -> None:
    """Destroy stops before a link that somebody put into our netns, unless it is forced."""
    sandbox.netdsl("up", VXLAN, "--yes")
    sandbox.run(["ip", "-n", "vm1", "link", "add", "guest", "type", "bridge"])
    before = sandbox.dump()
    done = sandbox.netdsl("destroy", "--yes", check=False)
    assert done.returncode == 1
    assert "guest" in done.stderr and "--force" in done.stderr
    assert sandbox.dump() == before
    sandbox.netdsl("destroy", "--yes", "--force")
    assert sandbox.netns_names() == []


def test_a_held_netns(sandbox: Sandbox) -> None:
    """A netns that a process lives in is named with the pid; the name goes, and with it all that was ours inside."""
    sandbox.netdsl("up", VXLAN, "--yes")
    child = sandbox.popen(["cat"], netns="vm1")
    path = Path(f"/proc/{child.pid}/ns/net")
    here = Path(f"/proc/{sandbox.pid}/ns/net").readlink()
    sandbox.wait_until(lambda: path.readlink() != here and (path.parent.parent / "comm").read_text() == "cat\n")
    done = sandbox.netdsl("destroy", "--yes")
    assert f"vm1 is held by process {child.pid}" in done.stdout
    assert sandbox.netns_names() == []
    links = sandbox.run(["nsenter", f"--net=/proc/{child.pid}/ns/net", "ip", "-br", "link"]).stdout.split("\n")
    assert [line.split()[0] for line in links if line] == ["lo"]


ADOPT = """
from netdsl import *

@stack
def adopt(mtu: int = 1400):
    Bridge("br9", mtu=mtu, opts=Opts(adopt=True))
"""


def test_what_was_adopted_is_given_back(sandbox: Sandbox, tmp_path: Path) -> None:
    """An adopted bridge keeps its MAC, and destroy leaves it as it was found."""
    foreign(sandbox)
    before = sandbox.dump()
    program = tmp_path / "adopt.py"
    program.write_text(ADOPT)
    (change,) = plan_of(sandbox, str(program))
    assert change["adopts"] and change["diff"] == {"mtu": {"have": 1500, "want": 1400}}
    sandbox.netdsl("up", str(program), "--yes")
    assert sandbox.ip("link", "show", "dev", "br9")[0]["mtu"] == 1400
    assert plan_of(sandbox, "adopt") == []
    sandbox.netdsl("destroy", "--yes")
    assert sandbox.dump() == before


@pytest.mark.parametrize("answer", ["no\n", ""])
def test_without_a_terminal_nothing_is_destroyed(sandbox: Sandbox, answer: str) -> None:
    """Without a terminal and without --yes destroy exits 2 and touches nothing."""
    sandbox.netdsl("up", VXLAN, "--yes")
    before = sandbox.dump()
    assert sandbox.netdsl("destroy", check=False, input=answer).returncode == 2
    assert sandbox.dump() == before


DROPS = """
from netdsl import *

@stack
def drops(keep: bool = True):
    Netns("k")
    if keep:
        Netns("z")
"""


def test_a_netns_with_a_foreign_link_is_not_dropped(sandbox: Sandbox, tmp_path: Path) -> None:
    """`up` of a program that no longer has a netns stops before a link that somebody put into it."""
    program = tmp_path / "drops.py"
    program.write_text(DROPS)
    sandbox.netdsl("up", str(program), "--yes")
    sandbox.run(["ip", "-n", "z", "link", "add", "guest", "type", "bridge"])
    before = sandbox.dump()
    done = sandbox.netdsl("up", "--yes", "-p", "keep=0", check=False)
    assert done.returncode == 1 and "guest" in done.stderr
    assert sandbox.dump() == before
    sandbox.run(["ip", "-n", "z", "link", "del", "guest"])
    sandbox.netdsl("up", "--yes", "-p", "keep=0")
    assert sandbox.netns_names() == ["k"]
