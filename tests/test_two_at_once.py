"""Two runs and two stacks at once."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

from going_back import LAB, program

from labfile import Lab
from labs import plan_of
from sandbox import Sandbox

GATE = """    import pathlib, time
    pathlib.Path("RUNNING").touch()
    while not pathlib.Path("GATE").exists():
        time.sleep(0.01)
"""


def slow(folder: Path) -> tuple[str, Path, Path]:
    """A program that says when it runs and goes on when a gate file is there: paths of it, of both."""
    gate, running = folder / "gate", folder / "running"
    wait = GATE.replace("RUNNING", str(running)).replace("GATE", str(gate))
    return program(folder, LAB.replace("    here, there", f"{wait}    here, there")), gate, running


def test_the_holder_is_named(sandbox: Sandbox, tmp_path: Path) -> None:
    """While one up runs, another of the stack is refused with the holder's pid and command; exit code 5."""
    path, gate, running = slow(tmp_path)
    first = sandbox.popen([sys.executable, "-m", "netdsl", "up", path, "--yes"])
    sandbox.wait_until(running.exists)
    for command in (["up", path, "--yes"], ["up", path, "--yes", "--lock-timeout", "0.2s"]):
        refused = sandbox.netdsl(*command, check=False)
        assert refused.returncode == 5
        assert f"stack lab is locked by pid {first.pid} (up)" in refused.stderr
    assert "(waited 0.2 s)" in refused.stderr
    gate.touch()
    assert first.wait() == 0


def test_waiting_for_the_holder(sandbox: Sandbox, tmp_path: Path) -> None:
    """With --lock-timeout the second waits for the first, and then finds nothing to do."""
    path, gate, running = slow(tmp_path)
    first = sandbox.popen([sys.executable, "-m", "netdsl", "up", path, "--yes"])
    sandbox.wait_until(running.exists)
    second = sandbox.popen([sys.executable, "-m", "netdsl", "up", path, "--yes", "--lock-timeout", "60s"])
    gate.touch()
    out, err = second.communicate()
    assert (first.wait(), second.returncode, err) == (0, 0, "")
    assert "7 unchanged" in out
    assert plan_of(sandbox, "lab") == []


def opened(pid: int) -> set[str]:
    """The files that a process has open."""
    found = set()
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            found.add(os.readlink(file))
    return found


def test_who_waited_for_a_destroy(sandbox: Sandbox, tmp_path: Path) -> None:
    """An `up` that waited while another run took the state's file away, as `destroy` does, makes a new one."""
    lab = Lab(sandbox, tmp_path)
    lab.write('Bridge("br0")')
    lab.up()
    with lab.holding():
        second = sandbox.popen(lab.argv("up", "lab", "--yes", "--lock-timeout", "60s"))
        sandbox.wait_until(lambda: str(lab.state_dir / "lab.lock") in opened(second.pid))
        (lab.state_dir / "lab.db").unlink()
        sandbox.run(["ip", "link", "del", "br0"])
    out, err = second.communicate()
    assert (second.returncode, err) == (0, "")
    assert "done: 1 created" in out
    assert lab.pending() == []


def test_a_dead_holder_holds_nothing(sandbox: Sandbox, tmp_path: Path) -> None:
    """The lock of a run that was killed is gone with it."""
    path, gate, running = slow(tmp_path)
    first = sandbox.popen([sys.executable, "-m", "netdsl", "up", path, "--yes"])
    sandbox.wait_until(running.exists)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    gate.touch()
    sandbox.netdsl("up", path, "--yes")
    assert plan_of(sandbox, "lab") == []


SHARED = """
from netdsl import *

@stack
def {name}():
    n = Netns.get("shared")
    Bridge("{name}", netns=n, addresses=["10.{number}.0.1/24"])
    Route("far", netns=n, dst="10.{number}.9.0/24", via="10.{number}.0.2")
"""


def test_two_stacks_in_one_netns(sandbox: Sandbox, tmp_path: Path) -> None:
    """Side by side in a netns that is neither's: each sees its own only, and destroying one leaves the other's."""
    sandbox.run(["ip", "netns", "add", "shared"])
    before = sandbox.dump()
    for number, name in enumerate(("one", "two"), 1):
        sandbox.netdsl("up", program(tmp_path, SHARED.format(name=name, number=number), f"{name}.py"), "--yes")
    assert plan_of(sandbox, "one") == plan_of(sandbox, "two") == []
    sandbox.netdsl("destroy", "one", "--yes")
    assert plan_of(sandbox, "two") == []
    sandbox.netdsl("destroy", "two", "--yes")
    assert sandbox.dump() == before
