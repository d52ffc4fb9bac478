"""The full kernel offers what the tests that are marked for it rely on."""

from __future__ import annotations

import os

import pytest

from sandbox import Sandbox

pytestmark = pytest.mark.fullkernel

KINDS = {
    "ipip": "remote 192.0.2.1 local 192.0.2.2",
    "sit": "remote 192.0.2.1 local 192.0.2.3",
    "gre": "remote 192.0.2.1 local 192.0.2.4",
    "gretap": "remote 192.0.2.1 local 192.0.2.5",
    "ip6tnl": "remote 2001:db8::1 local 2001:db8::2",
    "ip6gre": "remote 2001:db8::1 local 2001:db8::3",
    "ip6gretap": "remote 2001:db8::1 local 2001:db8::4",
    "geneve": "id 7 remote 192.0.2.1",
    "vrf": "table 10",
    "bond": "mode active-backup",
    "dummy": "",
    "bridge": "vlan_filtering 1",
}


def test_the_test_runs_on_the_full_kernel() -> None:
    """The marked tests are run by dev/fullkernel.py and nowhere else."""
    assert os.environ.get("NETDSL_LANE") == "fullkernel"


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_links(sandbox: Sandbox, kind: str) -> None:
    """The kernel makes each kind of link that the machine's own kernel may lack."""
    sandbox.run(["sh", "-ec", f"ip link add made type {kind} {KINDS[kind]}"])
    assert "made" in {link["ifname"] for link in sandbox.ip("link", "show")}
