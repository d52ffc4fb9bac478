"""Checks in the stack, tried with real packets by `verify` and `up --verify`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from labs import HOSTGW, IPIP, OVERLAY, RING, STACKS, TWO_SITES, VXLAN
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
    """What was deleted by hand makes the check fail that needs it, and no other. --json has all that a check says, and
    how it went; the exit code is 1 all the same."""
    sandbox.run(["ip", "-n", "there", "address", "del", "fd00::2/64", "dev", "eth0"])
    done = sandbox.netdsl("verify", "--json", check=False)
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert (found["version"], found["stack"], found["summary"]) == (1, "lab", {"passed": 4, "failed": 1})
    assert all(check["ms"] > 0 for check in found["checks"])
    (check,) = [check for check in found["checks"] if not check["ok"]]
    assert check.pop("ms") >= 5000 and check.pop("detail").startswith("no answer within 5 s")
    line = next(n for n, text in enumerate(LAB.split("\n"), 1) if "by IPv6" in text)
    assert check.pop("where").endswith(f"lab.py:{line}")
    assert check == {
        **{"check": "reachable", "title": "by IPv6", "name": "by IPv6", "component": "", "netns": "here"},
        **{"to": "fd00::2", "proto": "icmp", "port": None, "size": 1500, "within": 5.0, "ok": False, "reached": False},
    }


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


def test_a_check_of_what_was_brought_up_before(sandbox: Sandbox, lab: str) -> None:
    """A second `up --verify` has nothing to change and tries the checks all the same; a netns that somebody took away
    is named, and what to do."""
    done = sandbox.netdsl("up", lab, "--yes", "--verify")
    assert "no changes" in done.stdout and done.stdout.endswith("5 of 5 checks passed\n")
    sandbox.run(["ip", "netns", "del", "there"])
    done = sandbox.netdsl("verify", check=False)
    assert done.returncode == 1
    assert done.stderr.count("there is no netns there\n       `netdsl up` makes what the stack declares.") == 3


PATH = """
from netdsl import *

@stack
def path():
    with Netns.get("ns245"):
        Reachable("172.246.0.2", size=1450)
        Unreachable("172.246.0.2", size=1451, within=0.3)
        Reachable("172.246.0.2", size=1451, within=0.3, name="too much")
"""


def test_the_mtu_of_a_tunnel(sandbox: Sandbox, tmp_path: Path) -> None:
    """Through the tunnel go 1450 bytes unfragmented and not one more: the node at the near end says so. The checks are
    those of another stack, which looks into the lab and is never brought up."""
    sandbox.netdsl("up", VXLAN, "--yes", "--verify")
    program = tmp_path / "path.py"
    program.write_text(PATH)
    done = sandbox.netdsl("verify", str(program), check=False)
    assert done.returncode == 1 and done.stderr.count("error: ") == 1
    assert "check failed: too much: too large for the path: MTU 1450, says 172.245.0.1" in done.stderr
    assert "2 of 3 checks passed" in done.stdout


def test_without_the_way_back(sandbox: Sandbox) -> None:
    """When the other node has lost its route to the containers here, all checks of the lab fail, each at its line."""
    sandbox.netdsl("up", VXLAN, "--yes")
    sandbox.run(["ip", "-n", "vm2", "route", "del", "172.245.0.0/24"])
    done = sandbox.netdsl("verify", check=False)
    assert done.returncode == 1
    assert done.stderr.count("two_node_vxlan.py:") == done.stderr.count("check failed: ") == 4
    assert "check failed: ns245 reaches 172.246.0.2: no answer within 5 s" in done.stderr
    assert done.stdout.endswith("0 of 4 checks passed\n")


MANY = """
from netdsl import *

@stack
def many():
    for i in range(1, 201):
        Reachable(f"127.0.0.{i}")
"""


def test_more_than_are_tried_at_once(sandbox: Sandbox, tmp_path: Path) -> None:
    """Two hundred checks of the namespace that netdsl runs in are all tried, and none is mixed up with another."""
    program = tmp_path / "many.py"
    program.write_text(MANY)
    found = outcome(sandbox, str(program))
    assert list(found) == [f"this namespace reaches 127.0.0.{i}" for i in range(1, 201)]
    assert all(check["ok"] for check in found.values())


def test_what_cannot_be_tried(sandbox: Sandbox, tmp_path: Path) -> None:
    """A check for which the system has nothing left fails and says why; those that could be tried have their result."""
    program = tmp_path / "many.py"
    program.write_text(MANY.replace("Reachable(f", "Unreachable(within=0.5, to=f").replace("127", "10"))
    words = [sys.executable, "-m", "netdsl", "verify", str(program)]
    done = sandbox.run(["prlimit", "--nofile=40", *words], check=False)
    assert done.returncode == 1
    assert "check failed: this namespace does not reach 10.0.0." in done.stderr
    assert done.stderr.count("it cannot be tried: Too many open files") == done.stderr.count("error: ")
    assert "  ok  " in done.stdout and "netdsl up" not in done.stderr


def test_nothing_to_verify(sandbox: Sandbox, tmp_path: Path) -> None:
    """A stack without checks has nothing that could fail; no stack, or an unknown one, is a usage error."""
    assert "which stack?" in (done := sandbox.netdsl("verify", check=False)).stderr and done.returncode == 2
    done = sandbox.netdsl("verify", "lab", check=False)
    assert "there is no stack 'lab'" in done.stderr and done.returncode == 2
    program = tmp_path / "none.py"
    program.write_text("from netdsl import *\n\n@stack\ndef none():\n    pass\n")
    assert sandbox.netdsl("verify", str(program)).stdout == "none\nno checks are declared\n"
    assert outcome(sandbox, str(program)) == {}


@pytest.mark.parametrize(
    ("where", "message"),
    {
        "Netns.get('here')": "netns here cannot be entered: Operation not permitted",
        "None": "to send ICMP echoes",
    }.items(),
)
def test_without_the_right(sandbox: Sandbox, tmp_path: Path, where: str, message: str) -> None:
    """Who may not enter a netns, or may not send echoes, is told so in one error, whatever the number of checks."""
    sandbox.run(["ip", "netns", "add", "here"])
    program = tmp_path / "mine.py"
    text = f"from netdsl import *\n\n@stack\ndef mine():\n    at = {where}\n" + '    Reachable(at, "127.0.0.1")\n' * 9
    program.write_text(text)
    words = [sys.executable, "-m", "netdsl", "verify", str(program)]
    done = sandbox.run(["setpriv", "--inh-caps=-all", "--bounding-set=-all", *words], check=False)
    assert done.returncode == 1
    assert done.stderr.count("error: ") == 1 and message in done.stderr
    assert "Run as root" in done.stderr


HERE = [VXLAN, HOSTGW, OVERLAY, RING, TWO_SITES, *(str(STACKS / f"{name}.py") for name in ("macvlan", "ecmp"))]
NAT = str(STACKS / "nat_gateway.py")
ELSEWHERE = [IPIP, *(str(STACKS / f"{name}.py") for name in ("vlan_bridge", "vrf_leak", "bond", "slow_link"))]


@pytest.mark.parametrize(
    "stack",
    [*HERE, NAT, *(pytest.param(s, marks=pytest.mark.fullkernel) for s in ELSEWHERE)],
    ids=lambda s: Path(s).stem,
)
def test_the_shipped_labs(sandbox: Sandbox, stack: str) -> None:
    """Every lab verifies itself."""
    done = sandbox.netdsl("up", stack, "--yes", "--verify")
    assert "  ok  " in done.stdout and "failed" not in done.stdout
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
    'Reachable(n, "fe80::1")': "fe80::1 is link-local",
    'Reachable(n, "0.0.0.0")': "0.0.0.0 stands for no host",
    'Reachable(n, "224.0.0.1")': "224.0.0.1 is a multicast group",
    'Reachable(n, "10.0.0.1", within=True)': "within must be a number of seconds, not True",
    'Reachable(n, "10.0.0.1", name="\\x1b[31m")': "must be a string without control characters",
}


def test_mistakes(sandbox: Sandbox, tmp_path: Path) -> None:
    """A mistake in a check is one error at its line, all are told together, and nothing is touched."""
    program = tmp_path / "bad.py"
    lines = "\n".join(f"    {line}" for line in WRONG)
    program.write_text(f'from netdsl import *\n\n@stack\ndef bad():\n    n = Netns("n")\n{lines}\n')
    done = sandbox.netdsl("up", str(program), "--yes", check=False)
    assert done.returncode == 1
    errors = done.stderr.split("error: ")[1:]
    assert len(errors) == len(WRONG)
    for number, (error, message) in enumerate(zip(errors, WRONG.values(), strict=True), 6):
        assert f"bad.py:{number}: " in error and message in error
    assert sandbox.netns_names() == []
