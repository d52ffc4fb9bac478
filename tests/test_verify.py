"""Checks in the stack, tried with real packets by `verify` and `up --verify`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from labs import HOSTGW, VXLAN
from sandbox import Sandbox

LAB = """
from netdsl import *

@stack
def lab(mtu: int = 1500, size: int = 1500):
    here, there = Netns("here"), Netns("there")
    far = VethEnd("eth0", netns=there, mtu=mtu, addresses=["10.0.0.2/24", "fd00::2/64"])
    Veth("eth0", netns=here, mtu=mtu, addresses=["10.0.0.1/24", "fd00::1/64"], peer=far)
    Reachable(here, far, size=size)
    Reachable(here, "fd00::2", size=size, name="by IPv6")
    with there:
        Reachable("10.0.0.1", port=7000, within=0.5)
        Unreachable("10.0.0.9", within=0.2)
        Unreachable("10.0.0.1", port=7001, within=0.2)
"""

LISTEN = (
    "import socket; s = socket.create_server(('10.0.0.1', 7000)); print('listening', flush=True); s.accept()[0].recv(1)"
)


@pytest.fixture
def lab(sandbox: Sandbox, tmp_path: Path) -> str:
    """A lab of two namespaces that is up; a program there listens on port 7000."""
    program = tmp_path / "lab.py"
    program.write_text(LAB)
    sandbox.netdsl("up", str(program), "--yes")
    child = sandbox.popen([sys.executable, "-c", LISTEN], netns="here")
    assert child.stdout is not None
    assert child.stdout.readline() == "listening\n"
    return str(program)


def outcome(sandbox: Sandbox, *words: str) -> dict[str, Any]:
    """The checks of `verify --json`, by title."""
    found = json.loads(sandbox.netdsl("verify", "--json", *words, check=False).stdout)
    return {check["title"]: check for check in found["checks"]}


def test_all_pass(sandbox: Sandbox, lab: str) -> None:
    """Echoes by IPv4 and IPv6 of the size of the MTU, an open and a closed port and a silent address are told apart."""
    done = sandbox.netdsl("verify", lab)
    assert done.stdout.endswith("5 of 5 checks passed\n")
    assert [line.split()[0] for line in done.stdout.splitlines()[1:-1]] == ["ok"] * 5
    assert "there reaches 10.0.0.1 at TCP port 7000         connected in" in done.stdout
    assert "by IPv6" in done.stdout and "ttl 64" in done.stdout


def test_a_size_above_the_mtu(sandbox: Sandbox, lab: str) -> None:
    """One byte more than the MTU does not pass unfragmented; the check fails at its line with exit code 1."""
    done = sandbox.netdsl("verify", lab, "-p", "size=1501", check=False)
    assert done.returncode == 1
    line = next(n for n, text in enumerate(LAB.split("\n"), 1) if "Reachable(here, far" in text)
    assert f"lab.py:{line}: check failed: here reaches 10.0.0.2 with 1501 bytes: too large for the path" in done.stderr
    assert done.stderr.count("error: ") == 2
    assert "3 of 5 checks passed" in done.stdout


def test_drift_is_found(sandbox: Sandbox, lab: str) -> None:
    """What was deleted by hand makes the check fail that needs it, and no other."""
    sandbox.run(["ip", "-n", "there", "address", "del", "fd00::2/64", "dev", "eth0"])
    found = outcome(sandbox, "lab")
    assert {title for title, check in found.items() if not check["ok"]} == {"by IPv6"}
    assert found["by IPv6"]["reached"] is False and "no answer within 5 s" in found["by IPv6"]["detail"]
    assert found["here reaches 10.0.0.2 with 1500 bytes"]["ms"] > 0


def test_an_unreachable_that_answers(sandbox: Sandbox, lab: str) -> None:
    """An address that was to be silent and answers fails, exit code 1."""
    sandbox.run(["ip", "-n", "here", "address", "add", "10.0.0.9/24", "dev", "eth0"])
    done = sandbox.netdsl("verify", lab, check=False)
    assert done.returncode == 1
    assert "check failed: there does not reach 10.0.0.9: answered in" in done.stderr


def test_without_the_lab(sandbox: Sandbox, tmp_path: Path) -> None:
    """Before `up` each check says which netns is missing, and what to do."""
    program = tmp_path / "lab.py"
    program.write_text(LAB)
    done = sandbox.netdsl("verify", str(program), check=False)
    assert done.returncode == 1
    assert "there is no netns here" in done.stderr and "`netdsl up` makes what the stack declares." in done.stderr
    assert sandbox.netns_names() == []


def test_a_failed_check_rolls_back(sandbox: Sandbox, lab: str) -> None:
    """`up --verify --rollback-on-failure` with a check that the change breaks leaves the lab as it was."""
    before = sandbox.dump()
    done = sandbox.netdsl("up", lab, "--yes", "--verify", "--rollback-on-failure", "-p", "mtu=1400", check=False)
    assert done.returncode == 1
    assert "too large for the path: MTU 1400" in done.stderr
    assert "rolled back: the stack is what it was before this run" in done.stderr
    assert sandbox.dump() == before
    assert json.loads(sandbox.netdsl("plan", "lab", "--json", "-p", "mtu=1500").stdout)["changes"] == []


def test_a_failed_check_alone(sandbox: Sandbox, lab: str) -> None:
    """`up --verify` keeps what it did when a check fails, and exits with 1; --json shows the checks as an event."""
    done = sandbox.netdsl("up", lab, "--yes", "--verify", "--json", "-p", "mtu=1400", check=False)
    assert done.returncode == 1
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["event"] for event in events] == ["plan", "result", "checks"]
    assert events[2]["summary"] == {"passed": 3, "failed": 2}
    assert sandbox.ip("link", "show", "dev", "eth0", netns="here")[0]["mtu"] == 1400


@pytest.mark.parametrize("stack", [VXLAN, HOSTGW])
def test_the_shipped_labs(sandbox: Sandbox, stack: str) -> None:
    """The two-node labs verify themselves, and a second `up --verify`, which changes nothing, does too."""
    for _ in range(2):
        done = sandbox.netdsl("up", stack, "--yes", "--verify")
        assert "failed" not in done.stdout
        assert "checks passed" in done.stdout


WRONG = {
    'Reachable(n, "10.0.0.300")': "to must be an IP address like 192.0.2.1 or 2001:db8::1, not '10.0.0.300'",
    'Reachable(n, "10.0.0.1", port=70000)': "port must be between 1 and 65535, not 70000",
    'Reachable(n, "10.0.0.1", port=80, size=100)': "size is for an ICMP echo, and with port= there is none",
    'Reachable(n, "10.0.0.1", size=27)': "size must be between 28 and 65535, not 27",
    'Unreachable(n, "10.0.0.1", within=0)': "within must be more than 0",
    'Unreachable(n, "10.0.0.1", wait=3)': "there is no argument 'wait'",
    'Reachable("n", "10.0.0.1")': "source must be a Netns",
    'Reachable(n, Bridge("br0", netns=n))': "must be an address: Bridge 'br0' has none of its own",
    "Reachable(n)": "to is required: the address to reach",
}


@pytest.mark.parametrize(("line", "message"), WRONG.items(), ids=list(WRONG))
def test_mistakes(sandbox: Sandbox, tmp_path: Path, line: str, message: str) -> None:
    """A mistake in a check is one error at its line, and nothing is touched."""
    program = tmp_path / "bad.py"
    program.write_text(f'from netdsl import *\n\n@stack\ndef bad():\n    n = Netns("n")\n    {line}\n')
    done = sandbox.netdsl("up", str(program), "--yes", check=False)
    assert done.returncode == 1
    assert done.stderr.count("error: ") == 1
    assert "bad.py:6: " in done.stderr and message in done.stderr
    assert sandbox.netns_names() == []
