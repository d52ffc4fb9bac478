"""`plan --commands`: the printed script, run by hand, does what `up` would have done."""

from __future__ import annotations

import pytest

from labs import HOSTGW, RING, TWO_SITES, VXLAN, answers, plan_of
from sandbox import Sandbox


@pytest.mark.parametrize(
    "arguments", [[VXLAN], [HOSTGW], [TWO_SITES], [RING, "-p", "nodes=3"]], ids=lambda a: a[0][-14:]
)
def test_the_script_gives_the_same_kernel_state(sandbox: Sandbox, arguments: list[str]) -> None:
    """After the script a plan that adopts everything finds no difference but the missing ownership."""
    script = sandbox.netdsl("plan", "--commands", *arguments).stdout
    sandbox.run(["sh", "-e"], input=script)
    changes = plan_of(sandbox, "--adopt", *arguments)
    assert changes
    assert {(c["action"], c["adopts"]) for c in changes} == {("same", True)}
    assert all(c["diff"] == {} for c in changes)


BY_HAND = (
    "ip -n vm2 link set vtep246 mtu 1400; ip -n vm1 neigh del 172.246.0.0 dev vtep245; ip -n ns245 route del default"
)


def test_the_script_heals_drift(sandbox: Sandbox) -> None:
    """The script for drift heals it as `up` would."""
    sandbox.netdsl("up", VXLAN, "--yes")
    sandbox.run(["sh", "-ec", BY_HAND])
    assert len(plan_of(sandbox, VXLAN)) == 3
    sandbox.run(["sh", "-e"], input=sandbox.netdsl("plan", "--commands", VXLAN).stdout)
    assert plan_of(sandbox, VXLAN) == []
    assert answers(sandbox, "ns245", "172.246.0.2") == 62


def test_the_script_replaces(sandbox: Sandbox) -> None:
    """The script for another VNI replaces the vteps and what falls with them."""
    sandbox.netdsl("up", VXLAN, "--yes")
    sandbox.run(["sh", "-e"], input=sandbox.netdsl("plan", "--commands", VXLAN, "-p", "vni=2").stdout)
    assert answers(sandbox, "ns245", "172.246.0.2") == 62
    assert all(c["diff"] == {} for c in plan_of(sandbox, "--adopt", VXLAN, "-p", "vni=2"))
