"""A line with netem on both ends is as slow as it is declared to be."""

from __future__ import annotations

import re

import pytest

from labs import STACKS, plan_of
from sandbox import Sandbox

pytestmark = pytest.mark.fullkernel

SLOW = str(STACKS / "slow_link.py")


def fastest(sandbox: Sandbox) -> float:
    """The shortest round trip of a few pings, in milliseconds."""
    done = sandbox.run(["ping", "-n", "-c", "3", "-i", "0.2", "-w", "20", "10.0.0.2"], netns="left")
    return min(float(ms) for ms in re.findall(r"time=([\d.]+) ms", done.stdout))


def test_the_delay_is_seen_in_pings(sandbox: Sandbox) -> None:
    """A round trip takes twice the delay at least, a longer one is a change in place, and without it they are fast."""
    sandbox.netdsl("up", SLOW, "--yes", "-p", "delay=20ms")
    assert fastest(sandbox) >= 40
    changes = plan_of(sandbox, SLOW, "-p", "delay=60ms")
    assert {(c["action"], c["kind"]) for c in changes} == {("update", "netem")}
    sandbox.netdsl("up", SLOW, "--yes", "-p", "delay=60ms")
    assert fastest(sandbox) >= 120
    sandbox.netdsl("up", SLOW, "--yes", "-p", "delay=0ms")
    assert fastest(sandbox) < 40


def test_all_is_lost(sandbox: Sandbox) -> None:
    """With a loss of 100 % no ping comes back."""
    sandbox.netdsl("up", SLOW, "--yes", "-p", "loss=100")
    assert sandbox.ping("left", "10.0.0.2", count=3).received == 0
