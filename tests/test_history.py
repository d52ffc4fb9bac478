"""`history` and `rollback`: what a stack was, and the way back to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from going_back import program

from labs import brief, plan_of
from sandbox import Sandbox


def runs(sandbox: Sandbox, *words: str) -> list[dict[str, Any]]:
    """The past runs."""
    found: list[dict[str, Any]] = json.loads(sandbox.netdsl("history", "--json", *words).stdout)["runs"]
    return found


@pytest.fixture
def lab(sandbox: Sandbox, tmp_path: Path) -> str:
    """A lab with three runs: made, changed, grown."""
    path = program(tmp_path)
    sandbox.netdsl("up", path, "--yes")
    sandbox.netdsl("up", path, "--yes", "-p", "mtu=1400")
    sandbox.netdsl("up", path, "--yes", "-p", "extra=true")
    return path


def test_what_was_run(sandbox: Sandbox, lab: str) -> None:
    """history lists number, command, how it ended, what it changed and the parameters, oldest first; as text too."""
    found = runs(sandbox)
    assert [(run["number"], run["command"], run["status"]) for run in found] == [
        (1, "up", "done"), (2, "up", "done"), (3, "up", "done")
    ]  # fmt: skip
    assert [run["summary"]["create"] for run in found] == [7, 0, 3]
    assert found[1]["summary"]["update"] == 2
    assert [run["values"] for run in found] == [{}, {"mtu": 1400}, {"mtu": 1400, "extra": True}]
    assert all(run["started"] <= run["finished"] for run in found)
    lines = sandbox.netdsl("history", "lab").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["1", "2", "3"]
    assert lines[2].endswith("up  done  3 created  mtu=1400 extra=true")


def test_a_run_that_changes_nothing_is_none(sandbox: Sandbox, lab: str) -> None:
    """A second up with nothing to do leaves no trace in the history."""
    sandbox.netdsl("up", lab, "--yes")
    assert len(runs(sandbox)) == 3


def test_back_by_one(sandbox: Sandbox, lab: str) -> None:
    """rollback without a number undoes the last run, in the kernel and the parameters; twice is forth again."""
    grown = sandbox.dump()
    done = sandbox.netdsl("rollback", "--yes")
    assert done.stdout.startswith("lab")
    assert sandbox.netns_names() == ["here", "there"]
    assert plan_of(sandbox, "lab", "-p", "extra=false") == []
    assert runs(sandbox)[-1]["command"] == "rollback to 2"
    sandbox.netdsl("rollback", "--yes")
    assert sandbox.netns_names() == ["here", "more", "there"]
    assert plan_of(sandbox, "lab") == []
    assert {name: len(found["links"]) for name, found in sandbox.dump().items()} == {
        name: len(found["links"]) for name, found in grown.items()
    }


def test_back_to_a_number(sandbox: Sandbox, lab: str) -> None:
    """rollback N plans what lies between and comes back to run N, with its outputs."""
    done = sandbox.netdsl("rollback", "lab", "1", "--json", "--yes")
    plan, result = (json.loads(line) for line in done.stdout.splitlines())
    assert brief(plan["changes"]) >= {("delete", "netns", "", "more"), ("update", "veth", "here", "eth0")}
    assert result["outputs"] == {"mtu": 1500}
    assert sandbox.ip("link", "show", "dev", "eth0", netns="here")[0]["mtu"] == 1500
    assert json.loads(sandbox.netdsl("outputs", "lab", "--json").stdout)["mtu"] == 1500
    assert plan_of(sandbox, "lab") == []


def test_back_to_before_the_first(sandbox: Sandbox, tmp_path: Path) -> None:
    """rollback 0 leaves the kernel as it was before the stack, which is then not recorded any more."""
    sandbox.run(["sh", "-ec", "ip netns add guest; ip link add foreign type bridge"])
    before = sandbox.dump()
    path = program(tmp_path)
    sandbox.netdsl("up", path, "--yes")
    sandbox.netdsl("up", path, "--yes", "-p", "extra=true")
    sandbox.netdsl("rollback", "0", "--yes")
    assert sandbox.dump() == before
    assert "no stacks" in sandbox.netdsl("list").stdout


def test_back_without_the_program(sandbox: Sandbox, lab: str) -> None:
    """The program may be gone; what was deleted by hand comes back too."""
    Path(lab).unlink()
    sandbox.run(["ip", "netns", "del", "there"])
    sandbox.netdsl("rollback", "2", "--yes")
    assert sandbox.netns_names() == ["here", "there"]
    assert sandbox.ip("link", "show", "dev", "eth0", netns="there")[0]["mtu"] == 1400
    assert sandbox.ip("route", "show", "10.9.0.0/16", netns="there")[0]["gateway"] == "10.0.0.1"


def test_back_after_destroy(sandbox: Sandbox, tmp_path: Path) -> None:
    """A destroyed stack has no history: the state goes with it."""
    sandbox.netdsl("up", program(tmp_path), "--yes")
    sandbox.netdsl("destroy", "--yes")
    done = sandbox.netdsl("rollback", "lab", "--yes", check=False)
    assert done.returncode == 2
    assert "there is no stack 'lab'" in done.stderr


WRONG = {
    ("7",): (2, "stack lab has no run 7 to go back to"),
    ("-1",): (2, "No such option '-1'"),
    ("lab", "x"): (2, "'x' is not a valid integer"),
    ("elsewhere",): (2, "there is no stack 'elsewhere'"),
}


@pytest.mark.parametrize(("words", "expected"), WRONG.items(), ids=[" ".join(words) for words in WRONG])
def test_no_such_run(sandbox: Sandbox, lab: str, words: tuple[str, ...], expected: tuple[int, str]) -> None:
    """A number or stack that there is not is one error, and nothing is touched."""
    before = sandbox.dump()
    done = sandbox.netdsl("rollback", *words, "--yes", check=False)
    code, message = expected
    assert done.returncode == code
    assert message in done.stderr
    assert sandbox.dump() == before


def test_back_needs_a_yes(sandbox: Sandbox, lab: str) -> None:
    """Without a terminal and without --yes rollback shows the plan and touches nothing; exit code 2."""
    before = sandbox.dump()
    done = sandbox.netdsl("rollback", "1", check=False)
    assert done.returncode == 2
    assert "netns more" in done.stdout and "needs a confirmation" in done.stderr
    assert sandbox.dump() == before


def test_history_of_nothing(sandbox: Sandbox) -> None:
    """Of a stack that is not recorded there is no history: exit code 2."""
    done = sandbox.netdsl("history", "lab", check=False)
    assert done.returncode == 2 and "there is no stack 'lab'" in done.stderr
