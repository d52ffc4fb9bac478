"""Mistakes with VLANs: one clear error at the line that makes them, and nothing touched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from test_bad_input import Quiet, marked, stack_file, the_error

from sandbox import Sandbox

pytestmark = pytest.mark.kernel  # the quiet sandbox is not found by name


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Quiet]:
    """One sandbox for all tests after which it must be as it was before."""
    with Sandbox(tmp_path_factory.mktemp("quiet") / "state") as sandbox:
        yield Quiet(sandbox, sandbox.dump())


BRIDGE = 'br0 = Bridge("br0", vlan_filtering=True)\n'
PORT = BRIDGE + 'port = Vxlan("v", vni=7, master=br0)\n'
MISTAKES = {
    "too high": (
        PORT + "BridgeVlan(4095, dev=port)  # here",
        ["BridgeVlan: a VLAN ID must be between 1 and 4094, not 4095"],
    ),
    "too low": (PORT + 'BridgeVlan("0", dev=port)  # here', ["must be between 1 and 4094, not 0"]),
    "no number": (PORT + "BridgeVlan(True, dev=port)  # here", ["a VLAN ID must be a whole number, not True"]),
    "too high in a list": (
        BRIDGE + 'Vxlan("v", vni=7, master=br0, vlans=[10, 4095])  # here',
        ["Vxlan 'v': vlans: a VLAN ID must be between 1 and 4094, not 4095"],
    ),
    "too high in a range": (
        BRIDGE + 'Vxlan("v", vni=7, master=br0, vlans=["4090-4099"])  # here',
        ["Vxlan 'v': vlans: a VLAN ID must be between 1 and 4094, not 4099"],
    ),
    "range the wrong way": (
        BRIDGE + 'Vxlan("v", vni=7, master=br0, vlans=["20-10"])  # here',
        ["Vxlan 'v': vlans: a range goes from the lower number to the higher, not 20-10"],
    ),
    "no list": (
        BRIDGE + 'Vxlan("v", vni=7, master=br0, vlans="10")  # here',
        ["Vxlan 'v': vlans: must be a list of VLAN IDs", "not '10'"],
    ),
    "bad pvid": (
        BRIDGE + 'Vxlan("v", vni=7, master=br0, vlans=[10], pvid=5000)  # here',
        ["Vxlan 'v': pvid: a VLAN ID must be between 1 and 4094, not 5000"],
    ),
    "two access VLANs": (
        PORT + "BridgeVlan(10, dev=port, pvid=True)\nBridgeVlan(20, dev=port, pvid=True)  # here",
        ["BridgeVlan '20': Vxlan 'v' has VLAN 10 as its pvid already; a port takes one", "declared at", "lab.py:7"],
    ),
    "no master": (
        'Vxlan("v", vni=7, vlans=[10])  # here',
        ["BridgeVlan '10': Vxlan 'v' is neither a Bridge nor has it one as its master"],
    ),
    "no filtering": (
        'Bridge("br0", vlans=[10])  # here',
        ["BridgeVlan '10': Bridge 'br0' does not tell VLANs apart", "Give it vlan_filtering=True"],
    ),
    "the default VLAN": (
        BRIDGE + 'Vxlan("v", vni=7, master=br0, pvid=1)  # here',
        ["BridgeVlan '1': the kernel itself makes all ports of Bridge 'br0' members of VLAN 1", "vlan_default_pvid=0"],
    ),
    "on the wrong side": (
        PORT + 'BridgeVlan(10, dev=port, on="self")  # here',
        ["BridgeVlan '10': on is 'master' for Vxlan 'v', not 'self'"],
    ),
    "twice": (
        PORT + "BridgeVlan(10, dev=port)\nBridgeVlan(10, dev=port)  # here",
        ["BridgeVlan '10 dev v'", "lab.py:7"],
    ),
}


@pytest.mark.parametrize(("body", "words"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_at_its_line(quiet: Quiet, tmp_path: Path, body: str, words: Sequence[str]) -> None:
    """plan and up end with exit code 1 and one error at the user's line that says why, and touch nothing."""
    path = stack_file(tmp_path, body)
    for command in (["plan", path.name], ["up", path.name, "--yes"]):
        said = the_error(quiet.sandbox.netdsl(*command, check=False, cwd=tmp_path))
        assert said.removeprefix("error: ").partition(": ")[0] in marked(path)
        assert [word for word in words if word not in said] == []
    assert quiet.untouched()


def test_a_kernel_without_vlans_says_so(quiet: Quiet, tmp_path: Path) -> None:
    """Where the kernel cannot filter VLANs, `up` names the bridge that needs it, and leaves nothing behind."""
    path = stack_file(tmp_path, 'Bridge("br0", vlan_filtering=True, vlan_default_pvid=0, vlans=[10])')
    done = quiet.sandbox.netdsl("up", path.name, "--yes", check=False, cwd=tmp_path)
    if done.returncode == 0:
        quiet.sandbox.netdsl("destroy", "lab", "--yes")
    else:
        assert "error: lab.py:5: kernel " in done.stderr
        lack = "offers no bridge VLAN filtering (CONFIG_BRIDGE_VLAN_FILTERING), which Bridge 'br0' needs"
        assert lack in done.stderr
    assert quiet.sandbox.dump() == quiet.before
