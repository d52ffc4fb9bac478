"""What the running kernel lacks is found before anything is written, and said in one message for each lack."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from labs import OVERLAY
from sandbox import Sandbox

LAB = """
from netdsl import *

@stack
def lab():
    n = Netns("n")
    eth0 = Bridge("eth0", netns=n, addresses=["10.0.0.1/24"])
    Tunnel("a", mode="gre", netns=n, local="10.0.0.1", remote="10.0.0.2")
    Tunnel("b", mode="gretap", netns=n, local="10.0.0.1", remote="10.0.0.3")
    Tunnel("c", mode="ipip", netns=n, local="10.0.0.1", remote="10.0.0.4")
"""


TRANSLATING = {"Masquerade", "Snat", "Dnat"}
ENCRYPTING = {"WireGuard", "WireGuardPeer"}


@pytest.fixture
def lacking(sandbox: Sandbox) -> list[str]:
    """Modes of tunnels that the kernel which the tests run on does not have; the tests below need some."""
    kinds = json.loads(sandbox.netdsl("kinds", "--json").stdout)["kinds"]
    found: list[str] = next(kind["lacks"] for kind in kinds if kind["kind"] == "Tunnel")
    return found


@pytest.mark.parametrize("command", ["plan", "up"])
def test_everything_that_is_lacking_is_told_at_once(
    sandbox: Sandbox, tmp_path: Path, lacking: list[str], command: str
) -> None:
    """plan and up name each missing kind, its option, the resources and the line, write nothing, and exit with 1."""
    if not lacking:
        pytest.skip("this kernel has every kind of tunnel")
    program = tmp_path / "lab.py"
    program.write_text(LAB)
    before = sandbox.dump()
    done = sandbox.netdsl(command, str(program), *(["--yes"] if command == "up" else []), check=False)
    assert done.returncode == 1
    errors = done.stderr.split("error: ")[1:]
    assert len(errors) == 3
    for kind, option, name in (("gre", "NET_IPGRE", "a"), ("gretap", "NET_IPGRE", "b"), ("ipip", "NET_IPIP", "c")):
        (error,) = [e for e in errors if f"offers no {kind} (CONFIG_{option})" in e]
        line = next(n for n, text in enumerate(LAB.split("\n"), 1) if f'Tunnel("{name}"' in text)
        assert f"which Tunnel '{name}' in netns n needs" in error and f"lab.py:{line}: " in error
    assert sandbox.dump() == before
    assert "no stacks" in sandbox.netdsl("list").stdout


def test_what_the_kernel_offers_hides_nothing(sandbox: Sandbox, tmp_path: Path) -> None:
    """A kind that is lacking is told also beside others that are offered, in whatever order they are declared."""
    if sandbox.run(["ip", "link", "add", "bond", "type", "bond"], check=False).returncode == 0:
        pytest.skip("this kernel has bond")
    assert lacks(sandbox)["Bond"] == ["bond"]
    program = tmp_path / "lab.py"
    lines = ['Tap("t")', 'Bond("b")', 'VxlanVni("7", dev=Vxlan("v", external=True, vnifilter=True))']
    for order in (lines, lines[::-1]):
        program.write_text("from netdsl import *\n@stack\ndef lab():\n    " + "\n    ".join(order) + "\n")
        done = sandbox.netdsl("plan", str(program), check=False)
        assert done.stderr.count("error: ") == 1
        assert "offers no bond (CONFIG_BONDING), which Bond 'b' needs" in done.stderr


def test_many_that_need_it_are_counted(sandbox: Sandbox, lacking: list[str]) -> None:
    """Of many resources that need the same the first are named and the others counted."""
    if "ipip" not in lacking:
        pytest.skip("this kernel has ipip")
    done = sandbox.netdsl("plan", OVERLAY, "-p", "backend=ipip", "-p", "nodes=9", check=False)
    assert done.stderr.count("error: ") == 1
    assert "Tunnel 'pods' in netns n4 and 4 more need" in done.stderr


def test_offline_nothing_is_asked(sandbox: Sandbox) -> None:
    """`plan --offline` shows the plan whatever the kernel has."""
    done = sandbox.netdsl("plan", "--offline", OVERLAY, "-p", "backend=ipip")
    assert "tunnel pods" in done.stdout


def lacks(sandbox: Sandbox) -> dict[str, list[str]]:
    """What `netdsl kinds` says that the running kernel does not offer, by kind."""
    kinds = json.loads(sandbox.netdsl("kinds", "--json").stdout)["kinds"]
    return {kind["kind"]: kind["lacks"] for kind in kinds if kind["lacks"]}


ALONE = """
import json
from netdsl.kernel.machine import Machine
from netdsl.kinds import KINDS
probes = list(dict.fromkeys(probe for kind in KINDS.values() for probe in kind.probes(None)))
together = Machine().lacks(probes)
print(json.dumps([probe.what for probe in probes if (probe in together) != bool(Machine().lacks([probe]))]))
"""


@pytest.mark.parametrize("lane", [pytest.param("machine"), pytest.param("full", marks=pytest.mark.fullkernel)])
def test_what_is_lacking_does_not_depend_on_what_else_is_asked(sandbox: Sandbox, lane: str) -> None:
    """Of each kind the same is found when all are asked for together, some of which make a link, as of it alone."""
    assert json.loads(sandbox.run([sys.executable, "-c", ALONE]).stdout) == []


@pytest.mark.fullkernel
def test_a_full_kernel_lacks_only_address_translation_and_wireguard(sandbox: Sandbox) -> None:
    """On Debian's User Mode Linux, built without NF_TABLES_IPV4, NF_TABLES_IPV6 and WIREGUARD, all else is offered."""
    assert lacks(sandbox).keys() == TRANSLATING | ENCRYPTING
    assert sandbox.netdsl("kinds").stdout.count("not in this kernel") == len(TRANSLATING | ENCRYPTING)


@pytest.mark.cloudkernel
def test_the_cloud_kernel_has_what_the_full_one_lacks(sandbox: Sandbox) -> None:
    """Debian's cloud kernel offers address translation and WireGuard."""
    assert not (TRANSLATING | ENCRYPTING) & lacks(sandbox).keys()


def test_what_the_full_kernel_lacks_is_tested_on_this_one(sandbox: Sandbox) -> None:
    """The kernel of the ordinary tests offers address translation, so no kind is left without a test."""
    assert not TRANSLATING & lacks(sandbox).keys()
