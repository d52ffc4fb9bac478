"""--target, --exclude and --replace: a part of a stack; and what the options of single resources hold back."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from labfile import Lab
from sandbox import Sandbox


@pytest.fixture
def lab(sandbox: Sandbox, tmp_path: Path) -> Lab:
    """A stack, not up."""
    lab = Lab(sandbox, tmp_path)
    lab.write(SITE, "mtu: int = 1500")
    return lab


SITE = """
site = Netns("site")
lan = Bridge("lan", netns=site, mtu=mtu, addresses=["10.0.0.1/24"])
for i in (1, 2):
    eth0 = VethEnd("eth0", netns=Netns(f"c{i}"), addresses=[f"10.0.0.{i + 1}/24"])
    Veth(f"v{i}", netns=site, master=lan, peer=eth0)
    Route(f"out{i}", dst="default", via="10.0.0.1", dev=eth0)
Bridge("br9")
return {"mac": lan.mac}
"""
ALL = {
    *("site", "lan", "10.0.0.1/24 dev lan", "br9"),
    *("c1", "v1", "eth0", "10.0.0.2/24 dev eth0", "out1"),
    *("c2", "v2", "10.0.0.3/24 dev eth0", "out2"),
}


def note(output: str, start: str) -> set[str]:
    """The resources that a note names, without their namespaces."""
    (line,) = [line for line in output.splitlines() if line.startswith(f"note: {start}: ")]
    return {part.partition(" in netns ")[0] for part in line.removeprefix(f"note: {start}: ").split(", ")}


# --target


def test_a_target_comes_with_what_it_needs(lab: Lab) -> None:
    """Only the target is made, and what it stands on, which a note names; a plan without the choice shows the rest."""
    done = lab.up("--target", "v1")
    pulled = {"Netns 'site'", "Netns 'c1'", "Bridge 'lan'", "VethEnd 'eth0'"}
    assert note(done.stdout, "--target pulls in") == pulled
    assert "done: 5 created" in done.stdout
    assert lab.brief("--target", "v1") == {}
    assert lab.brief().keys() == ALL - {"site", "lan", "v1", "c1"}  # the other eth0 is still to come
    assert lab.up().returncode == 0
    assert lab.pending() == []


@pytest.mark.parametrize(
    ("target", "names"),
    [
        ("br9", {"br9"}),
        ("::::bridge::br9", {"br9"}),
        ("bridge::br9", {"br9"}),
        ("br?", {"br9"}),
        ("::c*::netns::*", set()),
        ("::::netns::c*", {"c1", "c2"}),
        ("*::bridge::*", {"site", "lan", "br9"}),
        ("*", ALL),
    ],
)
def test_what_a_target_may_be(lab: Lab, target: str, names: set[str]) -> None:
    """A name, a logical name, the end of one, or a pattern; to mean nothing is an error."""
    if names:
        assert lab.brief("--target", target).keys() == names
    else:
        said = lab.refused(2, "plan", str(lab.path), "--target", target)
        assert f"error: no resource of the stack is called '{target}'" in said
        assert "show logical names; * and ? stand for characters." in said


def test_several_targets_and_an_exception(lab: Lab) -> None:
    """Options add up; what is excluded is left out, with what needs it, although it is a target."""
    assert lab.brief("--target", "br9", "--target", "c1").keys() == {"br9", "c1"}
    both = lab.brief("--target", "*", "--exclude", "lan", "--exclude", "c2")
    assert both.keys() == {"site", "c1", "br9"}


def test_what_the_program_dropped_can_be_a_target(lab: Lab) -> None:
    """A resource that is recorded and no longer wanted can be taken away alone, with what falls with it."""
    lab.up()
    lab.write('site = Netns("site")\nBridge("br8")')
    done = lab.up("--target", "lan", "--reset-params")
    assert note(done.stdout, "--target pulls in") == {"Address '10.0.0.1/24 dev lan'"}
    assert lab.links("site").keys() == {"v1", "v2"}
    assert "br9" in lab.links()
    assert lab.brief()["br8"] == "create"


# --exclude


def test_what_is_excluded_stays_out_with_what_needs_it(lab: Lab) -> None:
    """What needs the excluded is left out too, and named; the rest is made."""
    done = lab.up("--exclude", "v1", "--exclude", "out2")
    left = {"VethEnd 'eth0'", "Address '10.0.0.2/24 dev eth0'", "Route 'out1'"}
    assert note(done.stdout, "--exclude leaves out too") == left
    assert lab.links("site").keys() == {"lan", "v2"}
    assert {change["urn"] for change in lab.pending()} == {
        "::site::veth::v1",
        "::c1::veth-end::eth0",
        "::c1::address::10.0.0.2/24 dev eth0",
        "::c1::route::out1",
        "::c2::route::out2",
    }


def test_an_excluded_conflict_is_none(lab: Lab) -> None:
    """Something foreign in the place of what is left out does not stop the rest."""
    lab.sandbox.ip("link", "add", "br9", "type", "bridge")
    assert "Bridge 'br9' exists already" in lab.refused(1, "plan", str(lab.path))
    lab.up("--exclude", "br9")
    assert lab.links("site").keys() == {"lan", "v1", "v2"}


# --replace


def test_what_is_replaced_takes_along_and_brings_back(lab: Lab) -> None:
    """A resource is made anew on request, with all that falls with it; the second plan is empty."""
    lab.up()
    before = lab.links("site")["lan"]["ifindex"]
    done = lab.up("--replace", "lan")
    assert "+- bridge lan" in done.stdout
    assert "(asked for with --replace)" in done.stdout
    assert "+- address 10.0.0.1/24 dev lan  (it goes with Bridge 'lan' in netns site)" in done.stdout
    assert "done: 2 updated, 2 replaced" in done.stdout
    after = lab.links("site")
    assert after["lan"]["ifindex"] != before
    assert {name: after[name].get("master") for name in after} == {"lan": None, "v1": "lan", "v2": "lan"}
    assert lab.pending() == []
    lab.up("--replace", "*")
    assert lab.pending() == []


def test_what_is_replaced_and_left_out(lab: Lab) -> None:
    """--replace is limited by the other two, and says so; what does not exist yet is only created."""
    assert lab.brief("--replace", "br9")["br9"] == "create"
    lab.up()
    plan = ["plan", str(lab.path)]
    shown = lab.sandbox.netdsl(*plan, "--replace", "lan", "--target", "br9").stdout
    assert note(shown, "left out although --replace names it") == {"Bridge 'lan'"}
    assert "no changes" in shown
    shown = lab.sandbox.netdsl(*plan, "--replace", "lan", "--exclude", "v1").stdout
    assert note(shown, "--exclude leaves out too") >= {"Bridge 'lan'"}
    assert lab.brief("--replace", "*", "--target", "br9") == {"br9": "replace"}
    assert "no resource of the stack is called 'nosuch'" in lab.refused(2, *plan, "--replace", "nosuch")


def test_what_the_kernel_drops_with_the_last_address(lab: Lab) -> None:
    """Routes and neighbours that the kernel drops with the last address of a link are made again when it is replaced,
    go with it when it goes, and keep it when they are to stay."""
    lab.write("""
    br0 = Bridge("br0", addresses=["10.0.0.1/24"])
    Route("route", dst="10.8.0.0/24", dev=br0)
    Neighbor("10.0.0.2", dev=br0, lladdr="02:00:00:00:00:01")
    """)
    lab.up()
    done = lab.up("--replace", "10.0.0.1/24*")
    assert "done: 2 updated, 1 replaced" in done.stdout
    assert lab.pending() == []
    done = lab.sandbox.netdsl("destroy", "--exclude", "route", "--yes")
    assert note(done.stdout, "--exclude leaves out too") == {"Address '10.0.0.1/24 dev br0'", "Bridge 'br0'"}
    assert lab.brief() == {"10.0.0.2 dev br0": "create"}
    done = lab.sandbox.netdsl("destroy", "--target", "10.0.0.1/24*", "--yes")
    assert note(done.stdout, "--target pulls in") == {"Route 'route'"}
    assert lab.brief().keys() == {"10.0.0.1/24 dev br0", "route", "10.0.0.2 dev br0"}


# destroy


def test_a_part_is_destroyed(lab: Lab) -> None:
    """`destroy --target` takes what stands on the target along, which a note names, and the state keeps the rest; a
    last destroy takes that."""
    before = lab.dump()
    lab.up()
    done = lab.sandbox.netdsl("destroy", "--target", "c1", "--yes")
    gone = {"Route 'out1'", "Address '10.0.0.2/24 dev eth0'", "VethEnd 'eth0'", "Veth 'v1'"}
    assert note(done.stdout, "--target pulls in") == gone
    assert lab.links("site").keys() == {"lan", "v2"}
    assert lab.sandbox.netns_names() == ["c2", "site"]
    assert lab.brief().keys() == {"c1", "v1", "eth0", "10.0.0.2/24 dev eth0", "out1"}
    assert "no resource of the stack is called 'c1'" in lab.refused(2, "destroy", "--target", "c1", "--yes")
    done = lab.sandbox.netdsl("destroy", "--exclude", "br9", "--yes")
    assert lab.sandbox.netns_names() == []
    assert lab.recorded().keys() == {"::::bridge::br9"}
    lab.sandbox.netdsl("destroy", "--yes")
    assert lab.dump() == before
    assert lab.states() == []


# Options of single resources


def test_what_is_protected_is_neither_deleted_nor_replaced(lab: Lab) -> None:
    """With protect a plan that would delete or make anew is refused, whatever asks for it; a change in place is not,
    and without protect it is as ever."""
    lab.write('Bridge("kept", opts=Opts(protect=True))')
    lab.up()
    before = lab.dump()
    for command in ("destroy", "destroy --target kept", "up --replace kept", "rollback lab 0"):
        said = lab.refused(1, *command.split(), "--yes")
        assert "Bridge 'kept' is protected; the plan would " in said, command
        assert "Take protect away first if that is wanted." in said
    lab.write("...")
    assert "Bridge 'kept' is protected; the plan would delete it" in lab.refused(1, "up", "--yes")
    assert lab.dump() == before
    lab.write('Bridge("kept", mtu=1400, opts=Opts(protect=True))')
    assert "done: 1 updated" in lab.up().stdout
    lab.write('Bridge("kept")')
    lab.up()
    lab.sandbox.netdsl("destroy", "--yes")
    assert lab.links() == {}


def test_what_stands_on_something_protected(lab: Lab) -> None:
    """A link in a netns that goes is protected as well."""
    lab.write('Bridge("kept", netns=Netns("n"), opts=Opts(protect=True))')
    lab.up()
    assert "Bridge 'kept' in netns n is protected" in lab.refused(1, "up", "--yes", "--replace", "n")
    assert "Bridge 'kept' in netns n is protected" in lab.refused(1, "destroy", "--target", "n", "--yes")


def test_what_depends_on_a_target_by_word(lab: Lab) -> None:
    """depends_on counts like any other need, also when the program is gone."""
    lab.write('a = Bridge("a")\nBridge("b", opts=Opts(depends_on=[a]))\nBridge("c")')
    assert lab.brief("--target", "b").keys() == {"a", "b"}
    assert lab.brief("--exclude", "a").keys() == {"c"}
    lab.up()
    lab.path.unlink()
    done = lab.sandbox.netdsl("destroy", "--target", "a", "--yes")
    assert note(done.stdout, "--target pulls in") == {"Bridge 'b'"}
    assert lab.links().keys() == {"c"}


TOGETHER = """
class Office(Component):
    def __init__(self, name, netns):
        super().__init__(name)
        with self:
            self.lan = Bridge("lan", netns=netns, addresses=["10.0.0.1/24"])
            self.route = Route("out", dst="10.8.0.0/24", via="10.0.0.2", dev=self.lan)
            Neighbor("10.0.0.2", dev=self.lan, lladdr="02:00:00:00:00:01")
            Sysctl("net.ipv4.ip_forward", netns=self.lan.netns, value=1)
Office("office", Netns("office"))
"""
APART = """
class Net(Component):
    def __init__(self, name, netns):
        super().__init__(name)
        with self:
            self.lan = Bridge("lan", netns=netns, addresses=["10.0.0.1/24"])
class Paths(Component):
    def __init__(self, name, lan):
        super().__init__(name)
        with self:
            Route("beyond", dst="10.8.0.0/24", via="10.0.0.2", dev=lan)
            Neighbor("10.0.0.2", dev=lan, lladdr="02:00:00:00:00:01")
ns = Netns("office")
Sysctl("net.ipv4.ip_forward", netns=ns, value=1)
Paths("paths", Net("net", ns).lan)
"""


def test_another_structure_writes_nothing(lab: Lab) -> None:
    """A program whose components are cut otherwise, and whose resources have other logical names, sends the kernel
    nothing; the state knows them by their new names, and nothing is left to plan."""
    lab.write(TOGETHER)
    lab.up()
    before, urns = lab.dump(), set(lab.recorded())
    lab.write(APART)
    assert {change["action"] for change in lab.pending()} == {"same"}
    looking = sends(lab, "plan", "lab")
    assert looking
    assert sends(lab, "up", "lab", "--yes") == looking
    assert lab.dump() == before
    assert set(lab.recorded()) == {
        "::::netns::office",
        "::office::sysctl::net/ipv4/ip_forward",
        "net::office::bridge::lan",
        "net::office::address::10.0.0.1/24 dev lan",
        "paths::office::route::beyond",
        "paths::office::neighbor::10.0.0.2 dev lan",
    }
    assert len(urns) == 6
    assert lab.pending() == []
    lab.sandbox.netdsl("rollback", "--yes")
    assert lab.dump() == before
    assert set(lab.recorded()) == urns


def sends(lab: Lab, *args: str) -> list[str]:
    """The types of the messages that a command sends by netlink."""
    log = lab.folder / "log"
    trace = ["strace", "--seccomp-bpf", "-f", "-qq", "-o", str(log), "-e", "trace=sendto"]
    lab.sandbox.run([*trace, *lab.argv(*args)])
    return sorted(re.findall(r"nlmsg_type=(\w+)", log.read_text()))


def test_the_ends_of_a_pair_go_together(lab: Lab) -> None:
    """Where the deletion of one end of a veth pair is left out, so is that of the other, which would take it along; and
    one that is to go pulls the other in."""
    lab.write('w = Veth("w", peer=VethEnd("far"))\nNeighbor("10.0.0.9", dev=w, lladdr="02:00:00:00:00:01")')
    lab.up()
    lab.write('Bridge("other")')
    lab.up("--exclude", "10.0.0.9*")
    assert set(lab.links()) == {"w", "far", "other"}
    assert len(lab.recorded()) == 4
    done = lab.up("--target", "far")
    assert "note: --target pulls in: Veth 'w'" in done.stdout
    assert set(lab.links()) == {"other"}
    assert set(lab.recorded()) == {"::::bridge::other"}
