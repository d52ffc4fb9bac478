"""`plan --commands`: the printed script, run by hand, does what `up` would have done."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from labs import HOSTGW, RING, TWO_SITES, VXLAN, answers, plan_of, unowned
from sandbox import Sandbox

WIDE = """
from netdsl import *

@stack
def wide():
    room = Netns("room", forwarding=True)
    with room:
        br0 = Bridge("br0", mtu=1400, alias="it's a $HOME bridge", stp=True, priority=100, ageing_time=100, group=5,
                     txqueuelen=500, addresses=["10.1.0.1/24", "2001:db8:1::1/64"])
        Veth("p0", master=br0, port_cost=10, port_hairpin=True, port_isolated=True, mtu=1400,
             peer=VethEnd("q0", alias="far", mtu=1400, addresses=["10.2.0.1/24"]))
        low = Veth("low", peer=VethEnd("high", up=False), addresses=["2001:db8:9::1/64"])
        v0 = Vxlan("v0", vni=9, local="2001:db8:9::1", dev=low, port=4789, learning=False, ttl=9, tos=4, mtu=1330,
                   addresses=["fd00::1/64"])
        Vxlan("v1", vni=10, local="10.1.0.1", remote="10.1.0.77", udp_csum=False, ageing=50, limit=5)
        Neighbor("fd00::9", dev=v0, lladdr="02:00:00:00:00:09")
        FdbEntry("00:00:00:00:00:00", dev=v0, dst="2001:db8:9::2")
        FdbEntry("00:00:00:00:00:00", dev=v0, dst="2001:db8:9::3")
        FdbEntry("02:00:00:00:00:09", dev=v0, dst="2001:db8:9::4", port=4790, vni=77)
        Route("metric", dst="2001:db8:77::/48", via="fd00::9", dev=v0, metric=50)
        Route("link-local", dst="2001:db8:78::/48", via="fe80::1", dev=low)
        Route("hole", dst="10.66.0.0/16", type="blackhole", metric=9)
        Route("hole6", dst="2001:db8:66::/48", type="unreachable")
        Route("table", dst="default", via="10.1.0.9", dev=br0, table=1000, src="10.1.0.1")
        Route("scope", dst="10.88.0.0/16", dev=br0, table=77, scope="link")
        Route("default6", dst="::/0", via="2001:db8:1::9")
        Sysctl("net.ipv4.conf.br0.rp_filter", value=2)
        Sysctl("net/ipv4/ip_local_port_range", value="20000 30000")
    outside = Bridge("outside", addresses=["10.9.0.1/24"])
    Veth("port0", master=outside, peer=VethEnd("eth9", netns=room, addresses=["10.9.0.2/24"]))
    Veth("back", netns=room, peer=VethEnd("front", addresses=["10.11.0.1/30"]))
    Route("beyond", dst="10.10.0.0/16", via="10.9.0.2", metric=7)
"""
"""Every kind, both address families, and links in the namespace that the script runs in."""


def run_script(sandbox: Sandbox, *args: str) -> None:
    """Run what `plan --commands` prints, stopping at the first command that fails."""
    sandbox.run(["sh", "-e"], input=sandbox.netdsl("plan", "--commands", *args).stdout)


@pytest.mark.parametrize("name", ["two_node_vxlan", "two_node_hostgw", "two_sites", "ring", "wide"])
def test_the_script_gives_the_same_kernel_state(make_sandbox: Callable[[], Sandbox], tmp_path: Path, name: str) -> None:
    """The script gives the kernel state that `up` gives, and a plan that adopts everything finds nothing to change."""
    program = tmp_path / "wide.py"
    program.write_text(WIDE)
    arguments = {
        "two_node_vxlan": [VXLAN],
        "two_node_hostgw": [HOSTGW],
        "two_sites": [TWO_SITES],
        "ring": [RING, "-p", "nodes=3"],
        "wide": [str(program)],
    }[name]
    sandbox, other = make_sandbox(), make_sandbox()
    run_script(sandbox, *arguments)
    made = sandbox.dump()
    other.netdsl("up", *arguments, "--yes")
    assert unowned(made) == unowned(other.dump())
    changes = plan_of(sandbox, "--adopt", *arguments)
    assert changes
    assert {(c["action"], c["adopts"]) for c in changes} == {("same", True)}
    assert all(c["diff"] == {} for c in changes)
    taken = sandbox.netdsl("up", "--adopt", *arguments, "--yes").stdout
    assert f"\n{len(changes)} to take over (0 unchanged)\n" in taken
    assert unowned(sandbox.dump()) == unowned(made)
    assert plan_of(sandbox, *arguments) == []
    assert " to give back (0 unchanged)\n" in sandbox.netdsl("destroy", name, "--yes").stdout
    assert sandbox.dump() == made


IN_PLACE = {
    "MTU": "ip -n vm2 link set vtep246 mtu 1400",
    "neighbour": "ip -n vm1 neigh del 172.246.0.0 dev vtep245",
    "route": "ip -n ns245 route del default",
    "gateway": "ip -n vm1 route change 172.246.0.0/24 via 172.246.0.9 dev vtep245 onlink",
    "bridge down": "ip -n vm1 link set br245 down",
    "port": "ip -n vm2 link set veth246 nomaster",
    "vtep down": "ip -n vm1 link set vtep245 down",
    "MAC": "ip -n vm2 link set vtep246 address 02:00:00:00:00:99",
    "address": "ip -n ns245 addr del 172.245.0.2/24 dev eth0",
    "sysctl": "ip netns exec vm1 sysctl -qw net.ipv4.ip_forward=0",
}
"""Drift that leaves every link and netns in its place, so that all of them are still known as the stack's own."""


@pytest.mark.parametrize("name", IN_PLACE)
def test_the_script_heals_drift(sandbox: Sandbox, name: str) -> None:
    """The script for drift heals it as `up` would: the next plan is empty, and the kernel as it was."""
    sandbox.netdsl("up", VXLAN, "--yes")
    before = sandbox.dump()
    sandbox.run(["sh", "-ec", IN_PLACE[name]])
    assert plan_of(sandbox, VXLAN)
    run_script(sandbox, VXLAN)
    assert plan_of(sandbox, VXLAN) == []
    assert answers(sandbox, "ns245", "172.246.0.2") == 62
    assert sandbox.dump() == before


def test_the_script_heals_all_drift_at_once(sandbox: Sandbox) -> None:
    """One script heals several drifts."""
    sandbox.netdsl("up", VXLAN, "--yes")
    before = sandbox.dump()
    for line in IN_PLACE.values():
        sandbox.run(["sh", "-c", line])  # some find gone already what they would take away
    run_script(sandbox, VXLAN)
    assert plan_of(sandbox, VXLAN) == []
    assert sandbox.dump() == before


REMADE = {
    "veth pair": "ip -n vm1 link del veth245",
    "vtep": "ip -n vm1 link del vtep245",
    "bridge": "ip -n vm1 link del br245",
    "underlay": "ip -n vm1 link del eth0",
    "container": "ip netns del ns246",
}


@pytest.mark.parametrize("name", REMADE)
def test_the_script_makes_again_what_is_gone(sandbox: Sandbox, name: str) -> None:
    """Links and netns that the script makes again are the same ones but for the ownership, which only `up` writes."""
    sandbox.netdsl("up", VXLAN, "--yes")
    before = unowned(sandbox.dump())
    sandbox.run(["sh", "-ec", REMADE[name]])
    if name == "container":  # the pair's other end goes when the kernel has cleaned up
        sandbox.wait_until(lambda: sandbox.run(["ip", "-n", "vm2", "link", "show", "veth246"], check=False).returncode)
    run_script(sandbox, VXLAN)
    assert unowned(sandbox.dump()) == before
    assert answers(sandbox, "ns245", "172.246.0.2") == 62


def test_the_script_replaces(make_sandbox: Callable[[], Sandbox]) -> None:
    """The script for another VNI replaces the vteps and what falls with them, as `up` does."""
    sandbox, other = make_sandbox(), make_sandbox()
    for each in (sandbox, other):
        each.netdsl("up", VXLAN, "--yes")
    run_script(sandbox, VXLAN, "-p", "vni=2")
    other.netdsl("up", VXLAN, "--yes", "-p", "vni=2")
    assert unowned(sandbox.dump()) == unowned(other.dump())
    assert answers(sandbox, "ns245", "172.246.0.2") == 62


def test_the_script_takes_away(make_sandbox: Callable[[], Sandbox]) -> None:
    """The script for a smaller ring takes away a node and moves tunnels, as `up` does."""
    sandbox, other = make_sandbox(), make_sandbox()
    for each in (sandbox, other):
        each.netdsl("up", RING, "--yes", "-p", "nodes=6")
    run_script(sandbox, RING, "-p", "nodes=5")
    other.netdsl("up", RING, "--yes", "-p", "nodes=5")
    wanted = unowned(other.dump())
    sandbox.wait_until(lambda: unowned(sandbox.dump()) == wanted)
