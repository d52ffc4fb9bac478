"""The cloud kernel offers what the tests that are marked for it rely on."""

from __future__ import annotations

import os

import pytest

from sandbox import Sandbox

pytestmark = pytest.mark.cloudkernel


def test_the_test_runs_on_the_cloud_kernel(sandbox: Sandbox) -> None:
    """The marked tests are run by dev/cloudkernel.py and nowhere else, on a kernel that has WireGuard."""
    assert os.environ.get("NETDSL_LANE") == "cloudkernel"
    sandbox.run(["ip", "link", "add", "made", "type", "wireguard"])
    assert "made" in {link["ifname"] for link in sandbox.ip("link", "show")}
    assert sandbox.run(["wg", "show", "made", "peers"]).stdout == ""
