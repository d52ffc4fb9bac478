"""VLANs on bridges, with real packets: who reaches whom, and what the kernel does by itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from labs import STACKS, answers, brief, plan_of
from sandbox import Sandbox

pytestmark = pytest.mark.fullkernel

VLAN_BRIDGE = str(STACKS / "vlan_bridge.py")


def reaches(sandbox: Sandbox, here: str, there: str) -> bool:
    """Whether any of three pings is answered."""
    return sandbox.ping(here, there, count=3).received > 0


def test_vlans_keep_containers_apart(sandbox: Sandbox) -> None:
    """Containers of one VLAN answer each other, on one switch and over the trunk; those of two VLANs do not, until
    somebody turns filtering off, which the next `up` heals."""
    before = sandbox.dump()
    sandbox.netdsl("up", VLAN_BRIDGE, "--yes")
    assert plan_of(sandbox, VLAN_BRIDGE) == []
    addresses = json.loads(sandbox.netdsl("outputs", "vlan_bridge", "--json").stdout)["outputs"]
    vlan = {name: name.partition("-")[0] for name in addresses}
    for here in addresses:
        for there, address in addresses.items():
            if here != there and vlan[here] == vlan[there]:
                assert answers(sandbox, here, address) == 64
    apart = [("v10-1", "v20-1"), ("v20-2", "v10-2"), ("v10-1", "v20-3"), ("v20-3", "v10-3")]
    assert not any(reaches(sandbox, here, addresses[there]) for here, there in apart)
    sandbox.run(["ip", "-n", "switch1", "link", "set", "br0", "type", "bridge", "vlan_filtering", "0"])
    assert answers(sandbox, "v10-1", addresses["v20-1"]) == 64
    assert brief(plan_of(sandbox, VLAN_BRIDGE)) == {("update", "bridge", "switch1", "br0")}
    sandbox.netdsl("up", VLAN_BRIDGE, "--yes")
    assert not reaches(sandbox, "v10-1", addresses["v20-1"])
    sandbox.netdsl("destroy", "vlan_bridge", "--yes")
    sandbox.wait_until(lambda: sandbox.dump() == before)


PORT = """
from netdsl import *


@stack
def port(default: int = 1, vlans: list[int] = (), pvid: int = 0, master: int = 0):
    n = Netns("n")
    bridges = [Bridge(f"br{i}", netns=n, vlan_filtering=True, vlan_default_pvid=default) for i in range(2)]
    Veth("v", netns=n, master=bridges[master], vlans=vlans, pvid=pvid or None, peer=VethEnd("w"))
"""


def members(sandbox: Sandbox) -> dict[int, list[str]]:
    """The VLANs of the port and their flags."""
    (shown,) = sandbox.bridge("vlan", "show", "dev", "v", netns="n")
    return {vlan["vlan"]: vlan.get("flags", []) for vlan in shown["vlans"]}


ACCESS = ["PVID", "Egress Untagged"]


def test_what_the_kernel_does_by_itself_is_foreseen(sandbox: Sandbox, tmp_path: Path) -> None:
    """After each change of default VLAN, members, pvid and master the port is in the VLANs that the program says, and
    the next plan is empty."""
    path = tmp_path / "port.py"
    path.write_text(PORT)
    steps = [
        ("default=1", {1: ACCESS}),
        ("default=0 vlans=1,10 pvid=1", {1: ACCESS, 10: []}),
        ("default=0 vlans=1,10 pvid=10", {1: [], 10: ACCESS}),
        ("default=0 vlans=1,10,20 pvid=20 master=1", {1: [], 10: [], 20: ACCESS}),
        ("default=5 vlans=1,10,20 pvid=20 master=1", {1: [], 5: ["Egress Untagged"], 10: [], 20: ACCESS}),
        ("default=5 vlans=10 master=0", {5: ACCESS, 10: []}),
        ("default=0 vlans=10 master=1", {10: []}),
    ]
    for given, expected in steps:
        words = [word for pair in given.split() for word in ("-p", pair)]
        sandbox.netdsl("up", str(path), "--yes", "--reset-params", *words)
        assert members(sandbox) == expected, given
        assert plan_of(sandbox, "port") == [], given


def test_a_port_takes_every_vlan(sandbox: Sandbox, tmp_path: Path) -> None:
    """All 4,094 VLANs of a trunk are made, read back, and counted as they should."""
    path = tmp_path / "port.py"
    path.write_text(PORT.replace("vlans=vlans", 'vlans=["1-4094"]'))
    sandbox.netdsl("up", str(path), "--yes", "-p", "default=0", "-p", "pvid=7")
    assert plan_of(sandbox, "port") == []
    assert {vid: flags for vid, flags in members(sandbox).items() if flags} == {7: ACCESS}
    sandbox.run(["bridge", "-n", "n", "vlan", "del", "vid", "100-101", "dev", "v"])
    assert brief(plan_of(sandbox, "port")) == {
        ("create", "bridge-vlan", "n", "100 dev v"),
        ("create", "bridge-vlan", "n", "101 dev v"),
    }
