"""`netdsl rollback`, and `up --rollback-on-failure`: the way back."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from labfile import Lab
from sandbox import Sandbox


@pytest.fixture
def lab(sandbox: Sandbox, tmp_path: Path) -> Lab:
    """A stack without a program yet."""
    return Lab(sandbox, tmp_path)


SITE = """
site = Netns("site", forwarding=True)
lan = Bridge("lan", netns=site, mtu=mtu, addresses=["10.0.0.1/24"])
Veth("v0", netns=site, master=lan, peer=VethEnd("eth9", addresses=["10.0.0.2/24"]))
return {"mac": lan.mac, "mtu": mtu}
"""
OTHER = """
Bridge("br9", alias="another", addresses=["10.9.0.1/24"])
Sysctl("net.ipv4.tcp_syn_retries", value=5)
return {"other": True}
"""


# rollback


def test_back_to_an_earlier_run_and_forth_again(lab: Lab) -> None:
    """A rollback brings back a deleted netns with all in it, parameters and outputs; another one takes that back. What
    is not the stack's stays."""
    lab.sandbox.ip("link", "add", "foreign", "type", "bridge")
    empty = lab.dump()
    lab.write(SITE, "mtu: int = 1500")
    lab.up("-p", "mtu=1400")
    one, state = lab.dump(), lab.recorded()
    lab.write(OTHER)
    lab.up("--reset-params")
    two = lab.dump()
    assert two.keys() == {""}
    lab.path.unlink()  # the state alone is enough
    done = lab.sandbox.netdsl("rollback", "lab", "--yes")
    assert "+  netns site" in done.stdout
    assert "-  bridge br9" in done.stdout
    assert "mtu = 1400" in done.stdout
    assert unnumbered(lab.dump()) == unnumbered(one)
    assert without_marks(lab.recorded()) == without_marks(state)
    assert lab.outputs()["mtu"] == 1400
    lab.write(SITE, "mtu: int = 1500")
    assert lab.pending() == []  # with the parameters of then
    lab.sandbox.netdsl("rollback", "2", "--yes")
    assert unnumbered(lab.dump()) == unnumbered(two)
    assert lab.outputs() == {"other": True}
    lab.sandbox.netdsl("rollback", "lab", "0", "--yes")
    assert lab.dump() == empty
    assert [run["command"] for run in lab.runs()] == ["up", "up", "rollback 1", "rollback 2", "rollback 0"]
    lab.sandbox.netdsl("rollback", "--yes")
    assert unnumbered(lab.dump()) == unnumbered(two)
    lab.write(OTHER)
    assert lab.pending() == []
    lab.sandbox.netdsl("destroy", "--yes")
    assert lab.dump() == empty
    assert lab.states() == []


def unnumbered(picture: object) -> object:
    """A dump without ifindexes, which are chosen anew for what is made anew."""
    if isinstance(picture, dict):
        return {key: unnumbered(value) for key, value in picture.items() if key not in ("ifindex", "link_index")}
    return [unnumbered(value) for value in picture] if isinstance(picture, list) else picture


def without_marks(resources: dict[str, dict[str, object]]) -> dict[str, dict[str, object]]:
    """Resources without what tells one incarnation from another."""
    return {urn: {word: resource[word] for word in ("kind", "props", "after")} for urn, resource in resources.items()}


def test_nothing_is_done_without_a_yes(lab: Lab) -> None:
    """Without a terminal and without --yes the plan is shown and nothing done; --json prints events."""
    lab.write('Bridge("br0")')
    lab.up()
    lab.write('Bridge("br0", mtu=1400)')
    lab.up()
    before = lab.dump()
    done = lab.sandbox.netdsl("rollback", check=False)
    assert (done.returncode, "mtu: 1400 -> 1500" in done.stdout) == (2, True)
    assert "error: rollback 1 needs a confirmation" in done.stderr
    assert lab.dump() == before
    done = lab.sandbox.netdsl("rollback", "lab", "1", "--yes", "--json")
    plan, result = map(json.loads, done.stdout.splitlines())
    assert (plan["event"], plan["summary"]["update"]) == ("plan", 1)
    assert (result["event"], result["status"]) == ("result", "done")
    assert lab.links()["br0"]["mtu"] == 1500


def test_where_the_kernel_is_already(lab: Lab) -> None:
    """When only parameters and outputs differ, they go back, without a run."""
    lab.write('Bridge("br0", mtu=1400 if small else 1500)\nreturn {"small": small}', "small: bool = False")
    lab.up()
    lab.up("-p", "small=true")
    lab.sandbox.ip("link", "set", "br0", "mtu", "1500")
    lab.sandbox.netdsl("rollback", "1", "--yes", check=True)
    assert lab.outputs() == {"small": False}
    assert lab.pending() == []


@pytest.mark.parametrize(
    ("number", "words"),
    [
        ("7", ["has no run 7 to go back to", "It keeps runs 1 to 2; `netdsl history` shows them."]),
        ("-1", ["No such option", "-1"]),
        ("x", ["'x' is not a valid integer"]),
    ],
)
def test_a_run_that_there_is_not(lab: Lab, number: str, words: list[str]) -> None:
    """To name a run that is not in the history is an error."""
    lab.write('Bridge("br0")')
    lab.up()
    lab.write('Bridge("br1")')
    lab.up()
    before = lab.dump()
    said = lab.refused(2, "rollback", "lab", number, "--yes")
    assert all(word in said for word in words), said
    assert lab.dump() == before


def test_foreign_and_protected_objects_stop_it(lab: Lab) -> None:
    """What stands in the way of a rollback, or is protected from it, is named; nothing is touched."""
    lab.write('Bridge("br0")')
    lab.up()
    lab.write('Bridge("br1", opts=Opts(protect=True))')
    lab.up()
    assert "Bridge 'br1' is protected; the plan would delete it" in lab.refused(1, "rollback", "--yes")
    lab.write('Bridge("br1")')
    lab.up()
    lab.sandbox.ip("link", "add", "br0", "type", "bridge")
    before = lab.dump()
    assert "Bridge 'br0' exists already and is not this stack's" in lab.refused(1, "rollback", "1", "--yes")
    assert lab.dump() == before


def test_a_killed_run_is_passed_over(lab: Lab) -> None:
    """A run that was killed is nothing to go back to: it is passed over, and refused when named."""
    lab.write('Bridge("br0")')
    lab.up()
    lab.write('Bridge("br0")\nBridge("br1")')
    lab.killed("up", "lab", "--yes")
    lab.write('Bridge("br0")\nBridge("br2")')
    lab.up()
    assert "error: run 2 of stack lab was killed" in lab.refused(2, "rollback", "lab", "2", "--yes")
    lab.sandbox.netdsl("rollback", "--yes")
    assert set(lab.links()) == {"br0"}
    lab.write('Bridge("br0")')
    assert lab.pending() == []


def test_what_was_adopted_is_adopted_again(lab: Lab) -> None:
    """A rollback takes over again what had been taken over and given back; the way back gives it back once more."""
    lab.sandbox.run(["sh", "-c", "ip link add found mtu 1300 type bridge && ip link set found up"])
    before = lab.dump()
    lab.write('Bridge("found", mtu=1400, opts=Opts(adopt=True))\nBridge("br0")')
    lab.up()
    lab.write('Bridge("br0")')
    lab.up()
    assert lab.links()["found"]["mtu"] == 1300
    lab.sandbox.netdsl("rollback", "--yes")
    assert lab.links()["found"]["mtu"] == 1400
    lab.sandbox.netdsl("destroy", "--yes")
    assert lab.dump() == before


# destroying a part


def test_a_run_knows_its_parameters_after_a_part_was_destroyed(lab: Lab) -> None:
    """`destroy --target` leaves parameters and outputs as they are, and can be taken back."""
    lab.write('Bridge("br0", mtu=mtu)\nBridge("br1")\nreturn {"mtu": mtu}', "mtu: int = 1500")
    lab.up("-p", "mtu=1400")
    lab.sandbox.netdsl("destroy", "--target", "br1", "--yes")
    assert lab.outputs() == {"mtu": 1400}
    assert lab.runs()[-1]["values"] == {"mtu": 1400}
    lab.sandbox.netdsl("rollback", "--yes")
    assert set(lab.links()) == {"br0", "br1"}
    assert lab.pending() == []


# up --rollback-on-failure

FAILING = """
site = Netns("site", forwarding=True)
lan = Bridge("lan", netns=site, mtu=1300, addresses=["10.0.0.1/24"])
Bridge("br0", addresses=["10.1.0.1/24"])
down = Bridge("down", up=False)
Route("no", dst="10.8.0.0/24", dev=down)
return {"failing": True}
"""
"""Its last step is refused: the kernel takes no route over a link that is down."""


def test_a_failing_first_up_leaves_nothing(lab: Lab) -> None:
    """When the kernel refuses a step of the first up, all that was made before is taken away, and the state too."""
    before = lab.dump()
    lab.write(FAILING)
    done = lab.up("--rollback-on-failure", check=False)
    assert done.returncode == 1
    assert re.search(r"error: .*lab.py:9: Route 'no': .*Network is down", done.stderr), done.stderr
    assert "error: rolled back: the stack is what it was before this run" in done.stderr
    assert lab.dump() == before
    assert lab.states() == []


def test_a_failing_change_leaves_what_was_there(lab: Lab) -> None:
    """When the kernel refuses a step of a change, kernel, records, parameters and outputs are what they were; a second
    plan shows nothing."""
    lab.write(SITE, "mtu: int = 1500")
    lab.up("-p", "mtu=1400")
    before, state, outputs = lab.dump(), lab.recorded(), lab.outputs()
    good = lab.path.read_text()
    lab.write(FAILING)
    done = lab.up("--rollback-on-failure", check=False)
    assert done.returncode == 1
    assert "error: rolled back: the stack is what it was before this run" in done.stderr
    assert unnumbered(lab.dump()) == unnumbered(before)
    assert without_marks(lab.recorded()) == without_marks(state)
    assert lab.outputs() == outputs
    assert [(run["command"], run["status"]) for run in lab.runs()] == [
        ("up", "done"),
        ("up", "partly"),
        ("rollback", "done"),
    ]
    lab.path.write_text(good)
    assert lab.pending() == []


def test_without_it_what_was_done_stays(lab: Lab) -> None:
    """The same failure without the option: exit code 4, and the rest is done and recorded."""
    lab.write(FAILING)
    assert lab.up(check=False).returncode == 4
    assert {"br0", "down"} <= set(lab.links())


def test_events_of_an_up_that_was_rolled_back(lab: Lab) -> None:
    """With --json both the run and the way back are events."""
    lab.write(FAILING)
    done = lab.up("--rollback-on-failure", "--json", check=False)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(event["event"], event.get("status")) for event in events] == [
        ("plan", None),
        ("result", "partly"),
        ("plan", None),
        ("result", "done"),
    ]


def test_a_rollback_that_fails_too_is_told(lab: Lab) -> None:
    """When the kernel refuses the way back as well, both errors are told and the exit code says: partly applied."""
    lab.sandbox.run(["sh", "-c", "ip link add ext type bridge && ip link set ext up"])
    lab.write('Route("r", dst="10.7.0.0/24", dev=Link.get("ext"))')
    lab.up()
    lab.sandbox.ip("link", "set", "ext", "down")  # the route falls, and cannot come back
    lab.write(FAILING)
    done = lab.up("--rollback-on-failure", check=False)
    assert done.returncode == 4
    first, second = re.findall(r"^error: .*", done.stderr, re.M)
    assert "Route 'no'" in first
    assert "the rollback failed too: Route 'r'" in second
    assert set(lab.links()) == {"ext"}
    assert lab.recorded() == {}


def test_what_is_refused_before_the_first_write_is_no_failure_to_roll_back(lab: Lab) -> None:
    """A conflict is told as ever: there is nothing to undo."""
    lab.sandbox.ip("link", "add", "br0", "type", "bridge")
    lab.write('Bridge("br0")')
    done = lab.up("--rollback-on-failure", check=False)
    assert (done.returncode, "rolled back" in done.stderr) == (1, False)
    assert lab.states() == []
