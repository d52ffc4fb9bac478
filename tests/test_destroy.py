"""Destroy takes away exactly what a stack made; what is foreign is never touched."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from labs import STACKS, VXLAN, answers, plan_of
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


DAMAGE = {
    "some objects": """
        ip -n vm1 neigh del 172.246.0.0 dev vtep245; ip -n vm1 link del br245
        ip -n vm2 link del vtep246; ip netns del ns246
    """,
    "every netns": "ip netns del vm1; ip netns del vm2; ip netns del ns245; ip netns del ns246",
    "a file of the name": "ip netns del ns246; touch /run/netns/ns246",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_gone_already(sandbox: Sandbox, damage: str) -> None:
    """What somebody took away by hand does not keep destroy from taking away the rest."""
    foreign(sandbox)
    before = sandbox.dump()
    sandbox.netdsl("up", VXLAN, "--yes")
    sandbox.run(["sh", "-ec", DAMAGE[damage]])
    sandbox.netdsl("destroy", "--yes")
    sandbox.wait_until(lambda: sandbox.dump() == before)
    assert "no stacks" in sandbox.netdsl("list").stdout
    again = sandbox.netdsl("destroy", VXLAN, "--yes")
    assert "nothing to destroy" in again.stdout


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
    assert answers(sandbox, "inner", "10.1.0.1") == 64
    assert plan_of(sandbox, "own") == []
    program.unlink()
    sandbox.netdsl("destroy", "own", "--yes")
    sandbox.wait_until(lambda: sandbox.dump() == before)


def test_a_foreign_netns_in_the_way(sandbox: Sandbox) -> None:
    """A vm1 that is not ours is named, and nothing is written."""
    sandbox.run(["ip", "netns", "add", "vm1"])
    before = sandbox.dump()
    done = sandbox.netdsl("up", VXLAN, "--yes", check=False)
    assert done.returncode == 1
    assert "'vm1' exists already" in done.stderr and "two_nodes.py:" in done.stderr
    assert sandbox.dump() == before
    assert "no stacks" in sandbox.netdsl("list").stdout
    sandbox.run(["ip", "netns", "del", "vm1"])
    sandbox.netdsl("up", VXLAN, "--yes")  # nothing of the first try is in the way


@pytest.mark.parametrize(
    ("in_the_way", "named"),
    [
        ("ip link add br0 type bridge", "Bridge 'br0'"),
        ("ip link add port0 type veth peer name port1", "Veth 'port0'"),
        ("ip netns add inner; ip -n inner link add eth0 type bridge", "Netns 'inner'"),
    ],
)
def test_foreign_objects_in_the_way(sandbox: Sandbox, tmp_path: Path, in_the_way: str, named: str) -> None:
    """Whatever has the name of something of ours is named before anything is written, here and in netns."""
    sandbox.run(["sh", "-ec", in_the_way])
    before = sandbox.dump()
    program = tmp_path / "own.py"
    program.write_text(OWN)
    done = sandbox.netdsl("up", str(program), "--yes", check=False)
    assert done.returncode == 1
    assert f"{named} exists already" in done.stderr and "own.py:" in done.stderr
    assert done.stderr.count("exists already") == 1
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


@pytest.mark.parametrize("held", ["vm1", "ns245"])
def test_a_held_netns(sandbox: Sandbox, held: str) -> None:
    """A netns that a process lives in is named with the pid; all names go, and with them all that was ours inside."""
    before = sandbox.dump()
    sandbox.netdsl("up", VXLAN, "--yes")
    child = sandbox.popen(["sleep", "1000"], netns=held)
    process = Path(f"/proc/{child.pid}")
    sandbox.wait_until(lambda: (process / "comm").read_text() == "sleep\n")
    done = sandbox.netdsl("destroy", "--yes")
    assert f"{held} is held by process {child.pid}" in done.stdout
    assert done.stdout.count("is held by") == 1
    sandbox.wait_until(lambda: sandbox.dump() == before)
    assert "no stacks" in sandbox.netdsl("list").stdout
    inside = ["nsenter", f"--net={process}/ns/net"]
    links = sandbox.run([*inside, "ip", "-br", "link"]).stdout.splitlines()
    assert [line.split()[0] for line in links] == ["lo"]
    assert sandbox.run([*inside, "ip", "route", "show", "table", "all"]).stdout == ""
    sandbox.netdsl("up", VXLAN, "--yes")  # beside the old one, which still lives
    assert answers(sandbox, "ns245", "172.246.0.2") == 62


def test_a_netns_kept_open(sandbox: Sandbox) -> None:
    """A netns that no process lives in, but one has open, is told from those that the kernel is about to remove."""
    sandbox.netdsl("up", VXLAN, "--yes")
    child = sandbox.popen(["sh", "-c", "exec sleep 1000 9</run/netns/vm1"])
    sandbox.wait_until(lambda: Path(f"/proc/{child.pid}/fd/9").exists())
    done = sandbox.netdsl("destroy", "--yes")
    (line,) = [line for line in done.stdout.splitlines() if "not let go of" in line]
    assert line.endswith("by the kernel yet: netns vm1")
    assert sandbox.netns_names() == []


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


IN_PART = """
from netdsl import *

@stack
def in_part():
    bridge = Bridge("br9", ageing_time=100, addresses=["10.9.0.1/24", "10.7.0.1/24"], opts=Opts(adopt=True))
    Veth("port0", master=bridge, peer=VethEnd("eth0", netns=Netns("inner"), addresses=["10.9.0.2/24"]))
"""


def test_what_was_added_to_the_adopted_goes(sandbox: Sandbox, tmp_path: Path) -> None:
    """On an adopted bridge destroy leaves the port and the address that it had, and removes those that are ours."""
    foreign(sandbox)
    sandbox.run(["sh", "-ec", "ip link add guest type veth peer name far; ip link set guest master br9 up"])
    before = sandbox.dump()
    program = tmp_path / "in_part.py"
    program.write_text(IN_PART)
    sandbox.netdsl("up", str(program), "--yes")
    assert plan_of(sandbox, "in_part") == []
    assert answers(sandbox, "inner", "10.9.0.1") == 64
    sandbox.netdsl("destroy", "--yes")
    sandbox.wait_until(lambda: sandbox.dump() == before)


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
