"""Labs of stacked links: containers that share a wire with macvlan, and VRFs with one leaked service. Real pings."""

from __future__ import annotations

import pytest

from labs import STACKS, answers, plan_of
from sandbox import Sandbox

MACVLAN = str(STACKS / "macvlan.py")
VRF_LEAK = str(STACKS / "vrf_leak.py")


def test_macvlan_containers_share_a_wire(sandbox: Sandbox) -> None:
    """Containers on one wire reach each other and the machine outside at once, and not the host whose wire it is."""
    sandbox.netdsl("up", MACVLAN, "--yes")
    assert plan_of(sandbox, MACVLAN) == []
    for here, others in {"c1": ("12", "1"), "c2": ("11", "1"), "outside": ("11", "12")}.items():
        for last in others:
            assert answers(sandbox, here, f"192.0.2.{last}") == 64
    assert sandbox.ping("c1", "192.0.2.2").ttl is None


def test_private_macvlans_do_not_reach_each_other(sandbox: Sandbox) -> None:
    """In the mode private a container reaches the machine outside, and not the other; changed in place, it does."""
    sandbox.netdsl("up", MACVLAN, "--yes", "-p", "mode=private")
    assert answers(sandbox, "c1", "192.0.2.1") == 64
    assert answers(sandbox, "c2", "192.0.2.1") == 64
    assert sandbox.ping("c1", "192.0.2.12").ttl is None
    changes = plan_of(sandbox, MACVLAN, "-p", "mode=bridge")
    assert {(c["action"], c["kind"]) for c in changes} == {("update", "macvlan")}
    sandbox.netdsl("up", MACVLAN, "--yes", "-p", "mode=bridge")
    assert answers(sandbox, "c1", "192.0.2.12") == 64


@pytest.mark.fullkernel
def test_a_vrf_leaks_its_service_alone(sandbox: Sandbox) -> None:
    """Red's office reaches blue's service; the sites, which have one address, are reached within their own VRF, and
    nothing else crosses. Without the leak nothing crosses at all."""
    sandbox.netdsl("up", VRF_LEAK, "--yes")
    assert plan_of(sandbox, VRF_LEAK) == []
    assert answers(sandbox, "red-office", "10.9.0.2") == 63
    assert answers(sandbox, "blue-service", "10.1.0.2") == 63
    assert answers(sandbox, "red-office", "192.168.1.2") == 63
    assert answers(sandbox, "blue-service", "192.168.1.2") == 63
    sandbox.run(["ip", "-n", "red-site", "link", "set", "eth0", "down"])
    assert answers(sandbox, "blue-service", "192.168.1.2") == 63
    for here, there in (("red-office", "192.168.1.2"), ("red-site", "10.9.0.2"), ("blue-site", "10.1.0.2")):
        assert sandbox.ping(here, there).ttl is None, (here, there)
    sandbox.netdsl("up", VRF_LEAK, "--yes", "-p", "leak=false")
    assert plan_of(sandbox, VRF_LEAK) == []
    assert answers(sandbox, "red-office", "192.168.1.2") == 63
    assert sandbox.ping("red-office", "10.9.0.2").ttl is None
    sandbox.netdsl("destroy", "vrf_leak", "--yes")
    assert sandbox.netns_names() == []
