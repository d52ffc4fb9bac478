"""Mistakes with VXLAN: one clear error at the line that makes them, and nothing touched."""

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


FILTER = 'v = Vxlan("v", external=True, vnifilter=True)\n'
MISTAKES = {
    "no vni": ('Vxlan("v")  # here', ["Vxlan 'v': vni= is required: VXLAN network identifier"]),
    "vni and external": ('Vxlan("v", vni=7, external=True)  # here', ["vni 7 means nothing with external"]),
    "vnifilter alone": ('Vxlan("v", vni=7, vnifilter=True)  # here', ["Vxlan 'v': vnifilter needs external=True"]),
    "group as remote": (
        'Vxlan("v", vni=7, remote="239.1.1.1")  # here',
        ["Vxlan 'v': remote must be a unicast IP address, not 239.1.1.1; a group is mcast_group="],
    ),
    "IPv6 group as remote": (
        'Vxlan("v", vni=7, remote="FF05::100")  # here',
        ["Vxlan 'v': remote must be a unicast IP address, not ff05::100; a group is mcast_group="],
    ),
    "remote as group": (
        'Vxlan("v", vni=7, mcast_group="192.0.2.1")  # here',
        ["Vxlan 'v': mcast_group must be a multicast IP address, not 192.0.2.1; a single vtep is remote="],
    ),
    "group without dev": (
        'Vxlan("v", vni=7, mcast_group="239.1.1.1")  # here',
        ["Vxlan 'v': mcast_group 239.1.1.1 needs dev=, the link to join it on"],
    ),
    "remote and group": (
        'Vxlan("v", vni=7, dev=Bridge("br0"), remote="192.0.2.1", mcast_group="239.1.1.1")  # here',
        ["Vxlan 'v': remote 192.0.2.1 and mcast_group 239.1.1.1 exclude each other"],
    ),
    "two families": (
        'Vxlan("v", vni=7, dev=Bridge("br0"), local="192.0.2.1", mcast_group="ff05::1")  # here',
        ["Vxlan 'v': local 192.0.2.1 and mcast_group ff05::1 are of different address families"],
    ),
    "two TTLs": ('Vxlan("v", vni=7, ttl=5, ttl_inherit=True)  # here', ["ttl 5 and ttl_inherit exclude each other"]),
    "label over IPv4": (
        'Vxlan("v", vni=7, label=5, local="192.0.2.1")  # here',
        ["Vxlan 'v': label 5 is for IPv6: it needs an IPv6 local, remote or mcast_group"],
    ),
    "label too big": ('Vxlan("v", vni=7, label=2**20)  # here', ["label must be between 0 and 1048575, not 1048576"]),
    "ports the wrong way": (
        'Vxlan("v", vni=7, port_range="2000-1000")  # here',
        ["Vxlan 'v': port_range must go from a lower port to a higher one within 1..65535, not 2000-1000"],
    ),
    "no range of ports": (
        'Vxlan("v", vni=7, port_range=2000)  # here',
        ["Vxlan 'v': port_range must be a range of ports like \"32768-60999\", not 2000"],
    ),
    "VNI too high": (
        FILTER + "VxlanVni(2**24, dev=v)  # here",
        ["VxlanVni: a VNI must be between 1 and 16777215, not 16777216"],
    ),
    "no VNI": (
        'Vxlan("v", external=True, vnifilter=True, vnis=["a"])  # here',
        ["Vxlan 'v': vnis: a VNI must be a whole number, not 'a'"],
    ),
    "VNIs without a filter": (
        'Vxlan("v", external=True, vnis=[7])  # here',
        ["VxlanVni '7': Vxlan 'v' has no filter of VNIs", "Give it external=True, vnifilter=True"],
    ),
    "VNI with a group and no dev": (
        FILTER + 'VxlanVni(7, dev=v, mcast_group="239.1.1.1")  # here',
        ["VxlanVni '7': mcast_group 239.1.1.1 needs dev= at Vxlan 'v'"],
    ),
    "VNI with two destinations": (
        FILTER + 'VxlanVni(7, dev=v, remote="192.0.2.1", mcast_group="239.1.1.1")  # here',
        ["VxlanVni '7': remote 192.0.2.1 and mcast_group 239.1.1.1 exclude each other"],
    ),
    "VNI on a bridge": ('VxlanVni(7, dev=Bridge("br0"))  # here', ["VxlanVni '7': dev must be a Vxlan"]),
    "no such df": ('Vxlan("v", vni=7, df="on")  # here', ["df must be one of unset, set, inherit, not 'on'"]),
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
