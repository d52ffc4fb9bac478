"""`up --confirm-within TIME --probe TARGET`: the run confirms itself, or is undone."""

from __future__ import annotations

from pathlib import Path

import pytest

from labs import plan_of
from sandbox import Sandbox

LAB = """
from netdsl import *

@stack
def lab(mtu: int = 1500, cut: bool = False):
    operator, node = Netns("operator"), Netns("node")
    far = VethEnd("eth0", netns=node, mtu=mtu, addresses=["10.0.0.2/24"], up=not cut)
    Veth("eth0", netns=operator, mtu=mtu, addresses=["10.0.0.1/24"], peer=far)
    Reachable(operator, far)
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


@pytest.mark.parametrize("target", ["operator@10.0.0.2", "checks"])
def test_what_breaks_nothing_is_confirmed(sandbox: Sandbox, lab: str, target: str) -> None:
    """A run after which all that answered before answers again stands at once; what failed before does not count."""
    done = sandbox.netdsl("up", lab, "--yes", "-p", "mtu=1400", "--confirm-within", "60s", "--probe", target)
    assert "confirmed: all probes pass" in done.stdout
    assert plan_of(sandbox, "lab") == []
    done = sandbox.netdsl("confirm", "lab", check=False)
    assert done.returncode == 1 and "no run of stack lab waits to be confirmed" in done.stderr


@pytest.mark.parametrize("target", ["operator@10.0.0.2", "checks"])
def test_what_cuts_the_path_is_undone(sandbox: Sandbox, lab: str, target: str) -> None:
    """A run that takes the operator's path away is undone in time, says so and exits with 1."""
    before = sandbox.dump()
    done = sandbox.netdsl(
        "up", lab, "--yes", "-p", "cut=true", "--confirm-within", "1s", "--probe", target, check=False
    )
    assert done.returncode == 1
    assert "not all probes passed within 1 s: the run was undone" in done.stderr
    assert sandbox.dump() == before
    assert sandbox.wait_until(lambda: sandbox.ping("operator", "10.0.0.2").ttl)


WRONG = {
    "operator@10.0.0.9": (1, "--probe operator@10.0.0.9: no answer within 1 s, already before the run"),
    "operator@10.0.0.2:9": (1, "Connection refused, already before the run"),
    "nowhere@10.0.0.2": (1, "there is no netns nowhere, already before the run"),
    "10.0.0.2:http": (2, "--probe 10.0.0.2:http: the port must be a whole number, not 'http'"),
    "10.0.0.2:70000": (2, "the port must be between 1 and 65535, not 70000"),
    "no such host": (2, "--probe no such host: no such host has no address"),
    "10.0.0.2:": (2, "--probe '10.0.0.2:' names nothing to reach"),
    "@10.0.0.2": (2, "--probe '@10.0.0.2' names nothing to reach"),
}


@pytest.mark.parametrize(("target", "expected"), WRONG.items(), ids=list(WRONG))
def test_a_probe_that_shows_nothing(sandbox: Sandbox, lab: str, target: str, expected: tuple[int, str]) -> None:
    """A target that is none, or does not answer before the run either, is one error, and nothing is touched."""
    before = sandbox.dump()
    done = sandbox.netdsl(
        "up", lab, "--yes", "-p", "cut=true", "--confirm-within", "9s", "--probe", target, check=False
    )
    code, message = expected
    assert (done.returncode, done.stderr.count("error: ")) == (code, 1)
    assert message in done.stderr
    assert sandbox.dump() == before
    assert sandbox.netdsl("history", "lab").stdout.count("\n") == 1


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
