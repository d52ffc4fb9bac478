"""`up --rollback-on-failure`: all or nothing."""

from __future__ import annotations

import json
from pathlib import Path

from going_back import program

from labs import plan_of
from sandbox import Sandbox


def test_a_change_that_fails(sandbox: Sandbox, tmp_path: Path) -> None:
    """When the kernel refuses a step, what was done before it is undone: kernel, records, parameters are as before."""
    path = program(tmp_path)
    sandbox.netdsl("up", path, "--yes")
    before = sandbox.dump()
    words = ["-p", "broken=true", "-p", "extra=true", "-p", "mtu=1400"]
    done = sandbox.netdsl("up", path, "--yes", "--rollback-on-failure", *words, check=False)
    assert done.returncode == 1
    assert "Sysctl 'net/ipv4/conf/all/rp_filter' in netns there: the kernel refused to" in done.stderr
    assert done.stderr.endswith("error: rolled back: the stack is what it was before this run\n")
    assert sandbox.dump() == before
    assert plan_of(sandbox, "lab") == []
    history = json.loads(sandbox.netdsl("history", "--json").stdout)["runs"]
    assert [(run["command"], run["status"]) for run in history] == [
        ("up", "done"), ("up", "partly"), ("rollback", "done")
    ]  # fmt: skip


def test_a_first_run_that_fails(sandbox: Sandbox, tmp_path: Path) -> None:
    """Before the first run there was nothing, and there is nothing again; a foreign bridge is untouched."""
    sandbox.run(["ip", "link", "add", "foreign", "type", "bridge"])
    before = sandbox.dump()
    done = sandbox.netdsl("up", program(tmp_path), "--yes", "--rollback-on-failure", "-p", "broken=true", check=False)
    assert done.returncode == 1
    assert sandbox.dump() == before
    assert "no stacks" in sandbox.netdsl("list").stdout


def test_without_it(sandbox: Sandbox, tmp_path: Path) -> None:
    """Without the option what was done stays, exit code 4, and the next up goes on from there."""
    path = program(tmp_path)
    done = sandbox.netdsl("up", path, "--yes", "-p", "broken=true", check=False)
    assert done.returncode == 4
    assert sandbox.netns_names() == ["here", "there"]
    sandbox.netdsl("up", path, "--yes", "-p", "broken=false")
    assert plan_of(sandbox, "lab") == []


def test_as_data(sandbox: Sandbox, tmp_path: Path) -> None:
    """--json tells both runs as lines of their own."""
    path = program(tmp_path)
    words = ["--yes", "--json", "--rollback-on-failure", "-p", "broken=true"]
    done = sandbox.netdsl("up", path, *words, check=False)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["event"] for event in events] == ["plan", "result", "plan", "result"]
    assert [event["status"] for event in events[1::2]] == ["partly", "done"]
