"""Devices that the kernel puts into each netns for each mode of tunnel: never in the way, there or not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from labs import plan_of
from netdsl.kinds import FALLBACK_LINKS
from sandbox import Sandbox

pytestmark = pytest.mark.fullkernel

ONLY_FIRST = Path("/proc/sys/net/core/fb_tunnels_only_for_init_net")
PROGRAM = """
from netdsl import *


@stack
def tunnels():
    with Netns("n"):
        eth0 = Bridge("eth0", addresses=["10.0.0.1/24", "fd00::1/64"])
        for i, mode in enumerate(("ipip", "sit", "gre", "gretap")):
            Tunnel(f"four{i}", mode=mode, local="10.0.0.1", addresses=[f"10.{i + 1}.0.1/24"])
        for i, mode in enumerate(("ip6tnl", "ip6gre", "ip6gretap")):
            Tunnel(f"six{i}", mode=mode, local="fd00::1", addresses=[f"fd0{i + 1}::1/64"])
"""


@pytest.fixture(params=["0", "1"])
def only_first(request: pytest.FixtureRequest) -> Iterator[str]:
    """The sysctl of the full kernel that keeps those devices out of all namespaces but the first."""
    assert os.environ.get("NETDSL_LANE"), "this sets a sysctl of the whole kernel: run it by dev/fullkernel.py"
    before = ONLY_FIRST.read_text()
    ONLY_FIRST.write_text(request.param)
    yield request.param
    ONLY_FIRST.write_text(before)


def test_fallback_devices_are_ignored(only_first: str, sandbox: Sandbox, tmp_path: Path) -> None:
    """Tunnels of all modes are made, are in order, healed and taken away, beside tunl0 and its like or without them."""
    path = tmp_path / "tunnels.py"
    path.write_text(PROGRAM)
    before = sandbox.dump()
    sandbox.netdsl("up", str(path), "--yes")
    there = {link["ifname"] for link in sandbox.ip("link", "show", netns="n")} & FALLBACK_LINKS
    assert {"tunl0", "sit0", "gre0", "ip6tnl0"} <= there if only_first == "0" else not there
    assert plan_of(sandbox, "tunnels") == []
    sandbox.run(["ip", "-n", "n", "link", "del", "four0"])
    assert [change["name"] for change in plan_of(sandbox, "tunnels") if change["kind"] == "tunnel"] == ["four0"]
    sandbox.netdsl("up", "tunnels", "--yes")
    assert plan_of(sandbox, "tunnels") == []
    sandbox.netdsl("destroy", "tunnels", "--yes")
    sandbox.wait_until(lambda: sandbox.dump() == before)
