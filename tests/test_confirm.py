"""`up --confirm-within`: a run that nobody confirms is undone, whatever became of who started it."""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from going_back import program

from labs import plan_of
from sandbox import Sandbox


def ended(sandbox: Sandbox) -> bool:
    """Whether the last run was undone and nobody waits any more."""
    history = json.loads(sandbox.netdsl("history", "lab", "--json", check=False).stdout or '{"runs": []}')["runs"]
    return bool(history) and history[-1]["command"] == "rollback, not confirmed" and history[-1]["status"] == "done"


def test_not_confirmed(sandbox: Sandbox, tmp_path: Path) -> None:
    """Without a word the run is undone in time; until then another run is refused, and says what to do."""
    path = program(tmp_path)
    sandbox.netdsl("up", path, "--yes")
    before = sandbox.dump()
    done = sandbox.netdsl("up", path, "--yes", "-p", "extra=true", "-p", "mtu=1400", "--confirm-within", "2s")
    assert done.stdout.endswith("undone in 2 s unless you run: netdsl confirm lab\n")
    assert "more" in sandbox.netns_names()
    for command in (["up", path], ["destroy", "lab"], ["rollback", "lab"]):
        refused = sandbox.netdsl(*command, "--yes", check=False)
        assert refused.returncode == 2
        assert "the last run of stack lab waits to be confirmed" in refused.stderr
    sandbox.wait_until(lambda: ended(sandbox))
    assert sandbox.dump() == before
    assert plan_of(sandbox, "lab") == []


def test_a_first_run_not_confirmed(sandbox: Sandbox, tmp_path: Path) -> None:
    """Of a first run nothing is left, and no record."""
    before = sandbox.dump()
    sandbox.netdsl("up", program(tmp_path), "--yes", "--confirm-within", "0.5s")
    sandbox.wait_until(lambda: "no stacks" in sandbox.netdsl("list").stdout)
    assert sandbox.dump() == before


def test_confirmed(sandbox: Sandbox, tmp_path: Path) -> None:
    """A confirmed run stands, nobody waits any more, and a second confirmation has nothing to confirm."""
    path = program(tmp_path)
    sandbox.netdsl("up", path, "--yes", "--confirm-within", "1h")
    assert sandbox.netdsl("confirm").stdout == "stack lab: confirmed\n"
    sandbox.netdsl("up", path, "--yes", "-p", "mtu=1400")
    again = sandbox.netdsl("confirm", "lab", check=False)
    assert again.returncode == 1
    assert "no run of stack lab waits to be confirmed" in again.stderr
    assert [run["command"] for run in json.loads(sandbox.netdsl("history", "--json").stdout)["runs"]] == ["up", "up"]


OPERATOR = """
from netdsl import *

@stack
def lab(cut: bool = False):
    node = Netns("node")
    far = VethEnd("eth0", netns=node, addresses=["10.0.0.2/24"], up=not cut)
    Veth("eth0", netns=Netns("operator"), addresses=["10.0.0.1/24"], peer=far)
"""


def test_the_operators_path(sandbox: Sandbox, tmp_path: Path) -> None:
    """An operator who reaches the node only through the changed link, and cuts it, has it back in time.

    The session that the run was started in is gone by then: its terminal hung up, and all its processes were killed.
    """
    path = program(tmp_path, OPERATOR)
    sandbox.netdsl("up", path, "--yes")
    sandbox.wait_until(lambda: sandbox.ping("operator", "10.0.0.2").ttl)
    words = ["up", path, "--yes", "-p", "cut=true", "--confirm-within", "2s"]
    child = sandbox.popen([sys.executable, "-m", "netdsl", *words])
    assert child.wait() == 0
    for number in (signal.SIGHUP, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(child.pid, number)
    assert not sandbox.ping("operator", "10.0.0.2").ttl
    sandbox.wait_until(lambda: ended(sandbox))
    sandbox.wait_until(lambda: sandbox.ping("operator", "10.0.0.2").ttl)


def test_a_run_that_is_killed(sandbox: Sandbox, tmp_path: Path) -> None:
    """A run that is killed as soon as somebody guards it is undone too; what it had not recorded is settled."""
    path = program(tmp_path)
    sandbox.netdsl("up", path, "--yes")
    before = sandbox.dump()
    words = ["up", path, "--yes", "-p", "extra=true", "-p", "mtu=1400", "--confirm-within", "1s"]
    child = sandbox.popen([sys.executable, "-m", "netdsl", *words])
    guarded = Path(sandbox.env["NETDSL_STATE_DIR"], "lab.confirm")
    sandbox.wait_until(guarded.exists)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    sandbox.wait_until(lambda: not guarded.exists())
    assert sandbox.dump() == before
    assert plan_of(sandbox, "lab", "-p", "extra=false", "-p", "mtu=1500") == []


@pytest.mark.parametrize("time", ["0", "-1s", "abc", "", "1x", "nan", "inf"])
def test_no_time(sandbox: Sandbox, tmp_path: Path, time: str) -> None:
    """What is no time is a usage error, and nothing is touched."""
    done = sandbox.netdsl("up", program(tmp_path), "--yes", f"--confirm-within={time}", check=False)
    assert done.returncode == 2
    assert sandbox.netns_names() == []
