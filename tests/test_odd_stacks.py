"""Links upon links in ways that nobody thought of: made, healed, moved and taken away like any other."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from labs import differences, plan_of, unowned
from sandbox import Sandbox

pytestmark = pytest.mark.fullkernel

STACKS: dict[str, tuple[str, list[str]]] = {
    "a VLAN of a bond of veths in a VRF": (
        """
        red, blue = Vrf("red", table=10), Vrf("blue", table=20)
        bond = Bond("bond0", mode="active-backup")
        for i in range(2):
            Veth(f"wire{i}", master=bond, peer=VethEnd(f"far{i}", netns=far))
        vrf = red if step == 0 else blue
        tagged = Vlan("tagged", dev=bond, id=7, master=vrf, addresses=["10.0.0.1/24", "fd00::1/64"])
        Route("away", dst="10.9.0.0/16", via="10.0.0.2", dev=tagged, table=vrf.table)
        Route("away6", dst="fd09::/16", via="fd00::2", dev=tagged, table=vrf.table)
        """,
        [
            "ip -n n link del bond0",
            "ip -n n link set tagged nomaster",
            "ip -n n link del red",
            "ip -n n link set wire1 nomaster",
        ],
    ),
    "a bridge with gretap, VXLAN, Geneve and tap ports in a VRF": (
        """
        red = Vrf("red", table=10)
        br = Bridge("br", master=red if step == 0 else None, addresses=["10.0.0.1/24", "fd00::1/64"])
        under = Dummy("under", addresses=["10.5.0.1/24"])
        Tunnel("tap1", mode="gretap", local="10.5.0.1", remote="10.5.0.2", key=3, master=br)
        Vxlan("vx", vni=3, local="10.5.0.1", remote="10.5.0.3", master=br, learning=False)
        Geneve("gnv", id=3, remote="10.5.0.4", master=br, port_isolated=True)
        Tap("guest", master=br)
        Bond("pair", master=br)
        """,
        ["ip -n n link del red", "ip -n n link del dev br", "ip -n n link del under", "ip -n n link set gnv nomaster"],
    ),
    "tunnels in tunnels": (
        """
        under = Dummy("under", addresses=["10.5.0.1/24", "fd05::1/64"], mtu=9000 if step == 0 else 8000)
        outer = Tunnel("outer", mode="gre", local="10.5.0.1", remote="10.5.0.2", key=7, addresses=["10.6.0.1/30"])
        inner = Tunnel("inner", mode="ipip", local="10.6.0.1", remote="10.6.0.2", dev=outer, addresses=["10.7.0.1/30"])
        six = Tunnel("six", mode="ip6tnl", local="fd05::1", remote="fd05::2", dev=under, addresses=["fd06::1/64"])
        Tunnel("sixer", mode="ip6gretap", local="fd06::1", remote="fd06::2", dev=six, addresses=["10.8.0.1/24"])
        Route("through", dst="10.9.0.0/16", via="10.7.0.2", dev=inner)
        """,
        [
            "ip -n n link del outer",
            "ip -n n link set under mtu 1500",
            "ip -n n link del under",
            "ip -n n link set six down",
        ],
    ),
    "what moves from one netns to another": (
        """
        home, away = (n, far) if step == 0 else (far, n)
        lower = Bridge("lower", netns=home, addresses=["10.0.0.1/24"])
        Vlan("tagged", netns=away, dev=lower, id=9, addresses=["10.1.0.1/24"])
        Ipvlan("shared", netns=away, dev=Dummy("below", netns=home), mode="l2", addresses=["10.2.0.1/24"])
        Veth("plug", netns=home, master=lower, peer=VethEnd("eth0", netns=away, addresses=["10.0.0.2/24"]))
        Route("away", netns=home, dst="10.9.0.0/16", via="10.0.0.9", dev=lower)
        """,
        ["ip -n far link del tagged", "ip -n n link del lower", "ip -n n link del below"],
    ),
}


@pytest.mark.parametrize(("body", "drift"), STACKS.values(), ids=STACKS)
def test_odd_stack(sandbox: Sandbox, tmp_path: Path, body: str, drift: list[str]) -> None:
    """It comes up and is in order, is healed after each damage, can be changed there and back, and leaves nothing."""
    before = sandbox.dump()
    path = tmp_path / "odd.py"
    head = "from netdsl import *\n\n@stack\ndef odd(step: int = 0):\n"
    head += "    n, far = Netns('n', forwarding=True), Netns('far')\n"
    inside = textwrap.indent(textwrap.dedent(body).strip(), " " * 8)
    path.write_text(f"{head}    with n:\n{inside}\n")
    sandbox.netdsl("up", str(path), "--yes")
    assert plan_of(sandbox, "odd") == []
    whole = unowned(sandbox.dump())
    for command in drift:
        sandbox.run(["sh", "-ec", command])
        assert plan_of(sandbox, "odd"), command
        sandbox.netdsl("up", "odd", "--yes")
        assert plan_of(sandbox, "odd") == [], command
        assert differences(whole, unowned(sandbox.dump())) == [], command
    for step in (1, 0):
        sandbox.netdsl("up", "odd", "--yes", "-p", f"step={step}")
        assert plan_of(sandbox, "odd") == []
    assert differences(whole, unowned(sandbox.dump())) == []
    sandbox.netdsl("destroy", "odd", "--yes")
    sandbox.wait_until(lambda: sandbox.dump() == before)


JOINING = """
from netdsl import *

@stack
def joining(joined: bool = False):
    ns = Netns("n")
    red = Link.get("red", netns=ns) if joined else None
    eth0 = Dummy("eth0", netns=ns, master=red, addresses=["10.0.0.1/24", "fd00::1/64"])
    Route("away6", dst="fd09::/16", via="fd00::2", dev=eth0, table=10)
    Neighbor("fd00::2", dev=eth0, lladdr="02:00:00:00:00:02")
"""


def test_a_vrf_of_somebody_else(sandbox: Sandbox, tmp_path: Path) -> None:
    """What the kernel drops when a link joins or leaves a VRF that is not the stack's is in the plan and made again:
    the plan after it is empty."""
    path = tmp_path / "joining.py"
    path.write_text(JOINING)
    sandbox.netdsl("up", str(path), "--yes")
    sandbox.run(["ip", "-n", "n", "link", "add", "red", "up", "type", "vrf", "table", "10"])
    for joined in ("true", "false"):
        actions = {(c["kind"], c["action"]) for c in plan_of(sandbox, "joining", "-p", f"joined={joined}")}
        assert actions == {(kind, "update") for kind in ("dummy", "address", "route", "neighbor")}
        sandbox.netdsl("up", str(path), "--yes", "-p", f"joined={joined}")
        assert plan_of(sandbox, "joining") == []
    assert "red" in {link["ifname"] for link in sandbox.ip("link", "show", netns="n")}
