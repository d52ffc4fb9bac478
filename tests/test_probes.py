"""`up --confirm-within TIME --probe TARGET`: the run confirms itself, or is undone."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pytest
from going_back import LAB as LAB_THAT_GROWS
from going_back import program

from labs import plan_of, unowned
from sandbox import Sandbox

LAB = """
from netdsl import *

@stack
def lab(mtu: int = 1500, cut: bool = False):
    operator, node = Netns("operator"), Netns("node")
    far = VethEnd("eth0", netns=node, mtu=mtu, addresses=["10.0.0.2/24", "fd00::2/64"], up=not cut)
    Veth("eth0", netns=operator, mtu=mtu, addresses=["10.0.0.1/24", "fd00::1/64"], peer=far)
    Reachable(operator, far)
    Unreachable(operator, far, port=9, within=0.3)
    Reachable(operator, "10.0.0.3", within=0.2, name="never")
"""


@pytest.fixture
def lab(sandbox: Sandbox, tmp_path: Path) -> str:
    """A lab that is up, in which one check passes and another does not."""
    program = tmp_path / "lab.py"
    program.write_text(LAB)
    sandbox.netdsl("up", str(program), "--yes")
    assert sandbox.wait_until(lambda: sandbox.ping("operator", "10.0.0.2").ttl)
    return str(program)


def probed(*targets: str) -> list[str]:
    """The options that ask for targets."""
    return [word for target in targets for word in ("--probe", target)]


def waiting(sandbox: Sandbox) -> Path:
    """Where the guardian of the lab is asked."""
    return Path(sandbox.env["NETDSL_STATE_DIR"], "lab.confirm")


def last_run(sandbox: Sandbox) -> tuple[str, str]:
    """Command and status of the lab's last run."""
    last = json.loads(sandbox.netdsl("history", "lab", "--json").stdout)["runs"][-1]
    return last["command"], last["status"]


LISTEN = """
import socket
servers = [socket.create_server(("10.0.0.2", 7)), socket.create_server(("fd00::2", 7), family=socket.AF_INET6)]
print("listening", flush=True)
input()
"""


def test_what_breaks_nothing_is_confirmed(sandbox: Sandbox, lab: str) -> None:
    """A run after which everything answers as before stands at once: echoes and TCP ports, by IPv4, IPv6 and name, from
    the namespace that netdsl runs in and from another. Nobody need, or can, confirm it again."""
    server = sandbox.popen([sys.executable, "-c", LISTEN], netns="node")
    assert server.stdout is not None
    assert server.stdout.readline() == "listening\n"
    targets = ["operator@10.0.0.2", "operator@10.0.0.2:7", "operator@fd00::2", "operator@[fd00::2]:7"]
    targets += ["operator@[fd00::2]", "127.0.0.1", "localhost"]
    sandbox.wait_until(lambda: sandbox.ping("operator", "fd00::2").received)
    words = ["up", lab, "--yes", "-p", "mtu=1400", "--confirm-within", "60s", *probed(*targets)]
    assert sandbox.netdsl(*words).stdout.endswith("confirmed: all probes pass\n")
    assert plan_of(sandbox, "lab") == []
    done = sandbox.netdsl("confirm", "lab", check=False)
    assert done.returncode == 1 and "no run of stack lab waits to be confirmed" in done.stderr


def test_the_stacks_own_checks(sandbox: Sandbox, lab: str) -> None:
    """Of the stack's checks those count that pass before the run; the other one is named. --json ends with an event."""
    words = ["up", lab, "--yes", "-p", "mtu=1400", "--confirm-within", "60s", *probed("checks"), "--json"]
    done = sandbox.netdsl(*words)
    note = "note: not asked for after the run, since it fails before: never: no answer within 0.2 s"
    assert [line.partition(": Dest")[0] for line in done.stderr.splitlines()] == [note]
    assert json.loads(done.stdout.splitlines()[-1]) == {"event": "confirmed", "version": 1, "by": "probes"}
    assert last_run(sandbox) == ("up", "done")


@pytest.mark.parametrize("target", ["operator@10.0.0.2", "checks"])
def test_what_cuts_the_path_is_undone(sandbox: Sandbox, lab: str, target: str) -> None:
    """A run that takes the operator's path away is undone in time, says so and exits with 1."""
    before = sandbox.dump()
    done = sandbox.netdsl(
        "up", lab, "--yes", "-p", "cut=true", "--confirm-within", "1s", "--probe", target, check=False
    )
    assert done.returncode == 1
    assert "error: not all probes passed within 1 s: the run was undone" in done.stderr
    name = "operator reaches 10.0.0.2" if target == "checks" else target
    assert done.stderr.count("error: ") == 2 and f"error: probe failed: {name}: no answer within " in done.stderr
    assert sandbox.dump() == before
    assert sandbox.wait_until(lambda: sandbox.ping("operator", "10.0.0.2").ttl)


def test_a_part_does_not_confirm_itself(sandbox: Sandbox, tmp_path: Path) -> None:
    """A run that was applied in part is undone although its probes pass: nobody said that the part may stand."""
    path = program(tmp_path)
    sandbox.netdsl("up", path, "--yes")
    before = sandbox.dump()
    given = ["-p", "mtu=1400", "-p", "broken=true", "--confirm-within", "1s", *probed("here@10.0.0.2")]
    done = sandbox.netdsl("up", path, "--yes", *given, check=False)
    assert done.returncode == 4
    assert "error: what was done is undone in 1 s unless you run: netdsl confirm lab" in done.stderr
    sandbox.wait_until(lambda: not waiting(sandbox).exists())
    assert last_run(sandbox) == ("rollback, not confirmed", "done")
    assert sandbox.dump() == before


def test_what_fails_to_verify_does_not_confirm_itself(sandbox: Sandbox, lab: str) -> None:
    """A run after which a check of `--verify` fails is undone although its probes pass."""
    before = sandbox.dump()
    given = ["-p", "mtu=1400", "--verify", "--confirm-within", "1s", *probed("operator@10.0.0.2")]
    done = sandbox.netdsl("up", lab, "--yes", *given, check=False)
    assert done.returncode == 1
    assert "check failed: never" in done.stderr and "what was done is undone in 1 s" in done.stderr
    sandbox.wait_until(lambda: not waiting(sandbox).exists())
    assert sandbox.dump() == before


def test_a_killed_run_does_not_confirm_itself(sandbox: Sandbox, tmp_path: Path) -> None:
    """A run that is killed while it still tries out its own checks is undone although its probes pass."""
    path = program(
        tmp_path, LAB_THAT_GROWS.replace("    return", '    Reachable(here, "10.0.0.3", within=60)\n    return')
    )
    sandbox.netdsl("up", path, "--yes")
    before = sandbox.dump()
    words = ["up", path, "--yes", "--verify", "-p", "extra=true"]
    words += ["--confirm-within", "1s", *probed("here@10.0.0.2")]
    child = sandbox.popen([sys.executable, "-m", "netdsl", *words])
    sandbox.wait_until(lambda: "more" in sandbox.netns_names() and last_run(sandbox) == ("up", "done"))
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    sandbox.wait_until(lambda: not waiting(sandbox).exists())
    assert sandbox.dump() == before


def test_confirmed_by_hand(sandbox: Sandbox, lab: str) -> None:
    """While probes fail, `netdsl confirm` still lets the run stand."""
    words = ["up", lab, "--yes", "-p", "cut=true", "--confirm-within", "1h", *probed("operator@10.0.0.2")]
    child = sandbox.popen([sys.executable, "-m", "netdsl", *words])
    sandbox.wait_until(lambda: sandbox.netdsl("confirm", "lab", check=False).returncode == 0)
    out, _ = child.communicate()
    assert child.returncode == 0 and out.endswith("confirmed by hand\n")
    assert last_run(sandbox) == ("up", "done")


def test_a_probe_whose_namespace_goes(sandbox: Sandbox, tmp_path: Path) -> None:
    """A run that takes away the namespace of a probe is undone, and says that it is gone."""
    path = program(tmp_path)
    sandbox.netdsl("up", path, "--yes", "-p", "extra=true")
    before = unowned(sandbox.dump())
    sandbox.run(["ip", "-n", "more", "link", "set", "lo", "up"])
    given = ["-p", "extra=false", "--confirm-within", "1s", *probed("more@10.7.0.1")]
    done = sandbox.netdsl("up", path, "--yes", *given, "--json", check=False)
    assert done.returncode == 1
    assert "probe failed: more@10.7.0.1: there is no netns more" in done.stderr
    expected = {"event": "undone", "version": 1, "reasons": ["more@10.7.0.1: there is no netns more"]}
    assert json.loads(done.stdout.splitlines()[-1]) == expected
    assert unowned(sandbox.dump()) == before


def test_what_cannot_be_undone(sandbox: Sandbox, tmp_path: Path) -> None:
    """When somebody else's object stands in the way of undoing it, the run says so and exits with 4."""
    path = program(tmp_path)
    sandbox.netdsl("up", path, "--yes", "-p", "extra=true")
    given = ["-p", "extra=false", "-p", "cut=true", "--confirm-within", "3s", *probed("here@10.0.0.2")]
    child = sandbox.popen([sys.executable, "-m", "netdsl", "up", path, "--yes", *given])
    sandbox.wait_until(lambda: "more" not in sandbox.netns_names())
    sandbox.run(["ip", "netns", "add", "more"])
    _, err = child.communicate()
    assert child.returncode == 4
    assert "error: not all probes passed within 3 s, and the run could not be undone" in err
    assert "Netns 'more'" in err
    assert "more" in sandbox.netns_names()


def test_a_guardian_that_is_killed(sandbox: Sandbox, lab: str) -> None:
    """A run whose guardian is killed says so and exits with 4."""
    words = ["up", lab, "--yes", "-p", "cut=true", "--confirm-within", "1h", *probed("operator@10.0.0.2")]
    child = sandbox.popen([sys.executable, "-m", "netdsl", *words])

    def guardian() -> int:
        found = Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()
        return int(found[0]) if waiting(sandbox).exists() and found else 0

    number = sandbox.wait_until(guardian)
    sandbox.wait_until(lambda: sandbox.netdsl("history", "lab").stdout.count("done") == 2)
    os.kill(number, signal.SIGKILL)
    _, err = child.communicate()
    assert child.returncode == 4
    assert "error: the guardian of the run was killed" in err


DEAD = {
    "operator@10.0.0.9": "--probe operator@10.0.0.9: no answer within 2 s",
    "localhost:9": "--probe localhost:9 (127.0.0.1): no connection within 2 s: Connection refused",
    "operator@10.0.0.2:9": "--probe operator@10.0.0.2:9: no connection within 2 s: Connection refused",
    "nowhere@10.0.0.2": "--probe nowhere@10.0.0.2: there is no netns nowhere",
}


def test_what_does_not_answer_before(sandbox: Sandbox, lab: str) -> None:
    """Each target that does not answer before the run either is one error, all are told together, and nothing is
    touched."""
    before = sandbox.dump()
    given = ["-p", "cut=true", "--confirm-within", "9s", *probed("operator@10.0.0.2", *DEAD)]
    done = sandbox.netdsl("up", lab, "--yes", *given, check=False)
    assert done.returncode == 1
    errors = done.stderr.split("error: ")[1:]
    assert len(errors) == len(DEAD)
    for error, message in zip(errors, DEAD.values(), strict=True):
        assert error.startswith(message) and ", already before the run\n" in error
    assert sandbox.dump() == before
    assert last_run(sandbox) == ("up", "done")
    assert not waiting(sandbox).exists()


WRONG = {
    "10.0.0.2:http": "--probe 10.0.0.2:http: the port must be a whole number, not 'http'",
    "10.0.0.2:70000": "the port must be between 1 and 65535, not 70000",
    "10.0.0.2:": "--probe '10.0.0.2:' names nothing to reach",
    "@10.0.0.2": "--probe '@10.0.0.2' names nothing to reach",
    "[::1": "--probe '[::1' names nothing to reach",
    "[::1]7": "--probe '[::1]7' names nothing to reach",
    "": "--probe '' names nothing to reach",
    "no such host": "--probe no such host: no such host has no address: ",
    "a" * 70: "has no address: ",
    "\x1b[31mx": "--probe \\x1b[31mx: \\x1b[31mx has no address: ",
    "0.0.0.0": "--probe 0.0.0.0: it must be the address of one host; 0.0.0.0 stands for no host",
    "operator@fe80::1": "fe80::1 is link-local",
}


def test_what_is_no_target(sandbox: Sandbox, tmp_path: Path) -> None:
    """What names nothing to reach is one error and wrong usage, told before the state is looked at."""
    path = program(tmp_path)
    for target, message in WRONG.items():
        done = sandbox.netdsl("up", path, "--yes", "--confirm-within", "9s", *probed(target), check=False)
        assert (done.returncode, done.stderr.count("error: ")) == (2, 1), target
        assert message in done.stderr
    assert sandbox.netns_names() == []


def test_without_a_time(sandbox: Sandbox, lab: str) -> None:
    """--probe alone is a usage error."""
    done = sandbox.netdsl("up", lab, "--yes", "--probe", "10.0.0.2", check=False)
    assert done.returncode == 2 and "--probe is for --confirm-within" in done.stderr


def test_no_check_passes_before(sandbox: Sandbox, tmp_path: Path) -> None:
    """`--probe checks` on a lab that is not there yet has nothing to go by, and says so before anything is touched."""
    program = tmp_path / "lab.py"
    program.write_text(LAB)
    done = sandbox.netdsl("up", str(program), "--yes", "--confirm-within", "9s", "--probe", "checks", check=False)
    assert done.returncode == 1
    assert "none of the stack's checks passes before the run" in done.stderr
    assert sandbox.netns_names() == []
