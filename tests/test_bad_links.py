"""Mistakes in declarations of links that stand on others or carry them: one clear error, and nothing touched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from test_bad_input import Quiet, marked, stack_file, the_error

from sandbox import Sandbox

pytestmark = pytest.mark.kernel  # the quiet sandbox is not found by name

MISTAKES = {
    "vlan 4095": (
        'Vlan("v", dev=Bridge("br0"), id=4095)  # here',
        ["Vlan 'v': id must be between 1 and 4094, not 4095"],
    ),
    "vlan 0": ('Vlan("v", dev=Bridge("br0"), id=0)  # here', ["Vlan 'v': id must be between 1 and 4094, not 0"]),
    "vlan on nothing": ('Vlan("v", id=5)  # here', ["Vlan 'v': dev= is required: lower device"]),
    "vlan protocol": (
        'Vlan("v", dev=Bridge("br0"), id=5, protocol="802.1q")  # here',
        ["Vlan 'v': protocol must be one of 802.1Q, 802.1ad, not '802.1q'"],
    ),
    "vlan mtu": (
        'Vlan("v", dev=Bridge("br0", mtu=1400), id=5, mtu=1500)  # here',
        ["Vlan 'v': mtu 1500 is more than the 1400 of its lower device 'br0'"],
    ),
    "vlan on a link that is down": (
        'Vlan("v", dev=Bridge("br0", up=False), id=5)  # here',
        ["Vlan 'v' is to be up, but goes up and down with 'br0'", "loose_binding=True"],
    ),
    "vlan that is to stay down": (
        'Vlan("v", dev=Bridge("br0"), id=5, up=False)  # here',
        ["Vlan 'v' is to be down, but goes up and down with 'br0'"],
    ),
    "bridge_binding without a bridge": (
        'Vlan("v", dev=Vxlan("x", vni=1), id=5, bridge_binding=True)  # here',
        ["Vlan 'v': bridge_binding needs a Bridge as its dev"],
    ),
    "mtu above the lower device's": (
        'Macvlan("m", dev=Bridge("br0", mtu=1400), mtu=1500)  # here',
        ["Macvlan 'm': mtu 1500 is more than the 1400 of its lower device 'br0'"],
    ),
    "macvlan mode": (
        'Macvlan("m", dev=Bridge("br0"), mode="switch")  # here',
        ["Macvlan 'm': mode must be one of private, vepa, bridge, passthru, source, not 'switch'"],
    ),
    "mac of a passthru macvlan": (
        'Macvlan("m", dev=Bridge("br0"), mode="passthru", mac="02:00:00:00:00:01")  # here',
        ["Macvlan 'm': in the mode passthru it has the MAC address of 'br0': mac cannot be set"],
    ),
    "sources in another mode": (
        'Macvlan("m", dev=Bridge("br0"), sources=["02:00:00:00:00:01"])  # here',
        ["Macvlan 'm': sources is for the mode source only"],
    ),
    "macvlan on a macvlan": (
        'm = Macvlan("m", dev=Bridge("br0"))\nMacvlan("n", dev=m)  # here',
        ["Macvlan 'n': dev 'm' is a Macvlan itself: name the device below that one"],
    ),
    "mac of an ipvlan": (
        'Ipvlan("i", dev=Bridge("br0"), mac="02:00:00:00:00:01")  # here',
        ["Ipvlan 'i' has no property 'mac'"],
    ),
    "two modes on one device": (
        'br0 = Bridge("br0")\nIpvlan("i", dev=br0, mode="l2")\nIpvlan("j", dev=br0)  # here',
        ["Ipvlan 'j': mode l3 differs from the l2 of Ipvlan 'i' on one device"],
    ),
    "geneve identifier": (
        'Geneve("g", id=2**24, remote="10.0.0.1")  # here',
        ["Geneve 'g': id must be between 0 and 16777215, not 16777216"],
    ),
    "geneve to a group": (
        'Geneve("g", id=1, remote="239.0.0.1")  # here',
        ["Geneve 'g': remote must be a unicast address, not 239.0.0.1"],
    ),
    "geneve option of the other family": (
        'Geneve("g", id=1, remote="10.0.0.1", label=5)  # here',
        ["Geneve 'g': label is for IPv6, and remote 10.0.0.1 is IPv4"],
    ),
    "mac of a link in a bond": (
        'b = Bond("b")\nDummy("p", master=b, mac="02:00:00:00:00:01")  # here',
        ["Dummy 'p': mac cannot be given to a link in a bond: it has that of Bond 'b'"],
    ),
    "mtu of a link in a bond": (
        'b = Bond("b", mtu=1400)\nDummy("p", master=b, mtu=1400)  # here',
        ["Dummy 'p': mtu cannot be given to a link in a bond: it has that of Bond 'b'"],
    ),
    "primary that is no port": (
        'Dummy("p")\nBond("b", mode="active-backup", primary="p")  # here',
        ["Bond 'b': primary 'p' is no port of it", "Give that link the bond as master=."],
    ),
    "primary in another mode": (
        'b = Bond("b", primary="p")  # here\nDummy("p", master=b)',
        ["Bond 'b': primary is for the modes active-backup, balance-tlb, balance-alb, not for balance-rr"],
    ),
    "bond delay": (
        'Bond("b", updelay=150)  # here',
        ["Bond 'b': updelay 150 is no multiple of miimon 100"],
    ),
    "lacp option in another mode": (
        'Bond("b", lacp_rate="fast")  # here',
        ["Bond 'b': lacp_rate is for the mode 802.3ad, not for balance-rr"],
    ),
    "a bridge in a bridge": (
        'Bridge("b", master=Bridge("br0"))  # here',
        ["Bridge 'b': Bridge 'br0' takes no Bridge as a port"],
    ),
    "an ipvlan in a bridge": (
        'br0, below = Bridge("br0"), Bridge("below")\nIpvlan("i", dev=below, master=br0)  # here',
        ["Ipvlan 'i': Bridge 'br0' takes no Ipvlan as a port"],
    ),
    "a tun in a bond": (
        'Tap("t", mode="tun", master=Bond("b"))  # here',
        ["Tap 't': Bond 'b' takes no tun, which carries bare IP packets, as a port"],
    ),
    "a vrf in a vrf": (
        'Vrf("red", table=1, master=Vrf("blue", table=2))  # here',
        ["Vrf 'red': Vrf 'blue' takes no Vrf as a port"],
    ),
    "a class instead of a link": (
        'Vlan("v", dev=Bridge, id=5)  # here',
        ["Vlan 'v': dev must be a link, not <class 'netdsl.kinds.bridge.Bridge'>"],
    ),
    "the netns of a link that is there": (
        'Link.get("eth0", netns="n")  # here',
        ["Link.get: netns must be a Netns, not 'n'"],
    ),
    "an entry of a vxlan without a remote": (
        'FdbEntry("02:00:00:00:00:01", dev=Vxlan("v", vni=1))  # here',
        ["FdbEntry '02:00:00:00:00:01': an entry of a vxlan needs dst"],
    ),
    "vrf table": ('Vrf("red", table=0)  # here', ["Vrf 'red': table must be between 1 and 4294967295, not 0"]),
    "vrf mtu": ('Vrf("red", table=1, mtu=68)  # here', ["Vrf 'red': mtu must be between 1280 and 65575, not 68"]),
    "master that has no ports": (
        'Bridge("br0", master=Vxlan("v", vni=1))  # here',
        ["Bridge 'br0': master must be a Bridge, a Bond or a Vrf, not <Vxlan 'v'>"],
    ),
}


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Quiet]:
    """One sandbox for all tests; it must stay as it was before."""
    with Sandbox(tmp_path_factory.mktemp("quiet") / "state") as sandbox:
        yield Quiet(sandbox, sandbox.dump())


@pytest.mark.parametrize(("body", "words"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_at_its_line(quiet: Quiet, tmp_path: Path, body: str, words: Sequence[str]) -> None:
    """plan and up end with exit code 1 and one error at the user's line that says why, and touch nothing."""
    path = stack_file(tmp_path, body)
    for command in (["plan", path.name], ["up", path.name, "--yes"]):
        said = the_error(quiet.sandbox.netdsl(*command, check=False, cwd=tmp_path))
        assert said.removeprefix("error: ").partition(": ")[0] in marked(path)
        assert [word for word in words if word not in said] == []
    assert quiet.untouched()
