"""An overlay whose nodes and containers have IPv6 addresses: its backend changes while it runs."""

from __future__ import annotations

from labs import OVERLAY, plan_of
from sandbox import Sandbox


def test_backends_change_over_ipv6(sandbox: Sandbox) -> None:
    """vxlan, host-gw, vxlan, and vxlan with direct routing between segments: all containers answer after each `up`, the
    next plan is empty, and at the end nothing is left."""
    before = sandbox.dump()
    for given in (
        ["backend=vxlan", "nodes=3", "ipv6=true"],
        ["backend=host-gw"],
        ["backend=vxlan"],
        ["segments=2", "direct_routing=true"],
        ["segments=1", "direct_routing=false"],
    ):
        options = [word for one in given for word in ("-p", one)]
        sandbox.netdsl("up", OVERLAY, "--yes", "--verify", *options)
        assert plan_of(sandbox, OVERLAY) == [], given
    sandbox.netdsl("destroy", "overlay", "--yes")
    sandbox.wait_until(lambda: sandbox.dump() == before)
