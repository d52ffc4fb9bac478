"""Every kind against a real kernel, as data: set, changed, read back, taken out, healed, put in words, destroyed.

A file in kernel_cases/ holds those of one kind:

    machine  the kernels of all machines offer it; else it is tried on the full kernel only (dev/fullkernel.py)
    cloud    the full kernel does not either; it is tried on the cloud kernel (dev/cloudkernel.py)
    keys     the statements may use `text(name)`, a key of 32 bytes in base64, and `key(name)`, a file that holds it
    around   statements inside the netns `every`, with `far` another netns, that all objects stand on
    make     defines `make(i, **given)`, which declares the i-th object of the kind with the properties given
    values   property -> two expressions: its value, and the one that it changes to; each on an object of its own
    fixed    properties that `make` gives itself when they are not given, so that taking them out changes nothing
    unlike   properties of every link that objects of the kind cannot have -> why; `ports` is all that bridge ports have
    drift    commands that each damage what stands; the next `up` must heal it
    wide     statements after all objects: further forms that commands must give the same state for

What every link has is tried on links of each kind (EVERY_LINK), with the options of a bridge's port on one object.
"""

from __future__ import annotations

import textwrap
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from keyfiles import MAKE_KEYS
from labs import differences, plan_of, unowned
from netdsl.kinds import KINDS
from sandbox import Sandbox

FOLDER = Path(__file__).parent / "kernel_cases"
CASES: dict[str, dict[str, Any]] = {p.stem: tomllib.loads(p.read_text()) for p in sorted(FOLDER.glob("*.toml"))}
FIRST = {"netns", "sysctl", "bridge", "veth", "veth-end", "vxlan", "address", "neighbor", "fdb", "route"}
"""Kinds that tests/test_properties_kernel.py tries in full; files here may add to them."""

EVERY_LINK = {
    "mtu": ("1400", "1300"),
    "mac": ("'02:00:00:00:00:01'", "'02:00:00:00:00:02'"),
    "up": ("False", "True"),
    "alias": ("'one'", "'the other'"),
    "master": ("ports0", "ports1"),
    "txqueuelen": ("500", "600"),
    "group": ("7", "8"),
    "arp": ("False", "True"),
    "multicast": ("False", "True"),
    "promisc": ("True", "False"),
    "allmulticast": ("True", "False"),
    "gso_max_size": ("30000", "40000"),
    "gro_max_size": ("30000", "40000"),
}
EVERY_PORT = {
    "port_cost": ("10", "20"),
    "port_priority": ("10", "20"),
    "port_hairpin": ("True", "False"),
    "port_guard": ("True", "False"),
    "port_root_block": ("True", "False"),
    "port_learning": ("False", "True"),
    "port_flood": ("False", "True"),
    "port_mcast_flood": ("False", "True"),
    "port_bcast_flood": ("False", "True"),
    "port_neigh_suppress": ("True", "False"),
    "port_isolated": ("True", "False"),
}
PORTS = """
ports0, ports1 = Bridge("ports0"), Bridge("ports1")
for bridge in (ports0, ports1):  # so that they have a carrier all the time
    Veth(f"{bridge.name}-0", master=bridge, peer=VethEnd(f"{bridge.name}-1", netns=far))
"""


def lane(case: dict[str, Any]) -> pytest.MarkDecorator | tuple[()]:
    """Where a kind is tried."""
    return pytest.mark.cloudkernel if case.get("cloud") else () if case.get("machine") else pytest.mark.fullkernel


each = pytest.mark.parametrize("word", [pytest.param(word, marks=lane(case)) for word, case in CASES.items()])


def objects(word: str) -> list[tuple[str, dict[str, tuple[str, str]]]]:
    """Of each object what it has at all times, and the properties that change with their values before and after."""
    tried = {**CASES[word].get("values", {}), **common(word)}
    port = {name: pair for name, pair in tried.items() if name in EVERY_PORT}
    alone = [("", {name: pair}) for name, pair in tried.items() if name not in port] or [("", {})]
    return [*alone, (", master=ports0", port)] if port else alone


def common(word: str) -> dict[str, tuple[str, str]]:
    """What every link has, unless the case has values of its own, or another test tries it."""
    cls, case = KINDS[word], CASES.get(word, {})
    if not cls.is_link:
        return {}
    unlike = {*case.get("values", ()), *case.get("unlike", ())}
    unlike |= set(EVERY_PORT) if "ports" in unlike else set()
    every = {"master": EVERY_LINK["master"], **EVERY_PORT} if word in FIRST else {**EVERY_LINK, **EVERY_PORT}
    return {name: pair for name, pair in every.items() if name not in unlike and cls.properties[name].init}


def program(word: str, folder: Path) -> str:
    """A stack with an object for each property, whose parameters say which values they have."""
    case = CASES[word]
    lines = ["from netdsl import *", "", "", "@stack", "def every(step: int = 0, without: bool = False):"]
    lines += ['    "One object for each property."', '    every, far = Netns("every"), Netns("far")', "    with every:"]
    body = [MAKE_KEYS if case.get("keys") else "", PORTS if KINDS[word].is_link else ""]
    body += [case.get("around", ""), case["make"]]
    for index, (kept, changed) in enumerate(objects(word)):
        given = ", ".join(f"{name}=({a}) if step == 0 else ({b})" for name, (a, b) in changed.items())
        body += ["if without:", f"    make({index}{kept})", "else:", f"    make({index}{kept}, {given})"]
    body.append(case.get("wide", ""))
    text = "\n".join(lines) + "\n" + textwrap.indent("\n".join(part.strip("\n") for part in body), " " * 8) + "\n"
    path = folder / "every.py"
    path.write_text(text)
    return str(path)


@each
def test_every_property(make_sandbox: Callable[[], Sandbox], tmp_path: Path, word: str) -> None:
    """Each property holds its value and its next one; once it is taken out, all is as if it had never been given; at
    the end all is gone."""
    sandbox, never = make_sandbox(), make_sandbox()
    path, before = program(word, tmp_path), sandbox.dump()
    sandbox.netdsl("up", path, "--yes")
    assert plan_of(sandbox, "every") == []
    for change in plan_of(sandbox, "every", "-p", "step=1"):
        properties = KINDS[change["kind"]].properties
        if change["diff"] and not change["falls_with"] and change["kind"] == word:
            changed = [properties[name] for name in change["diff"]]
            forced = any(p.replace for p in changed)
            if forced or not any(p.anew for p in changed):
                assert change["action"] == ("replace" if forced else "update"), change
    for arguments in (["-p", "step=1"], ["-p", "without=true"]):
        sandbox.netdsl("up", path, "--yes", *arguments)
        assert plan_of(sandbox, "every") == []
    never.netdsl("up", path, "--yes", "-p", "step=1", "-p", "without=true")
    found = differences(unowned(sandbox.dump()), unowned(never.dump()))
    assert not found, "what was taken out did not go back to what it is without:\n" + "\n".join(found)
    sandbox.netdsl("destroy", "every", "--yes")
    sandbox.wait_until(lambda: sandbox.dump() == before)


@each
def test_commands_give_the_same_state(make_sandbox: Callable[[], Sandbox], tmp_path: Path, word: str) -> None:
    """What `plan --commands` prints makes, and changes, the same objects as `up` does."""
    path = program(word, tmp_path)
    by_hand, ours = make_sandbox(), make_sandbox()
    by_hand.run(["sh", "-e"], input=by_hand.netdsl("plan", "--commands", path).stdout)
    ours.netdsl("up", path, "--yes")
    assert unowned(by_hand.dump()) == unowned(ours.dump())
    changes = plan_of(by_hand, "--adopt", path)
    assert {(c["action"], c["adopts"]) for c in changes} == {("same", True)}, changes
    made = unowned(ours.dump())
    changed = make_sandbox()
    changed.netdsl("up", path, "--yes")
    changed.run(["sh", "-e"], input=changed.netdsl("plan", "--commands", path, "-p", "step=1").stdout)
    ours.netdsl("up", path, "--yes", "-p", "step=1")
    assert unowned(changed.dump()) == unowned(ours.dump()) != made


@each
def test_drift_is_healed(sandbox: Sandbox, tmp_path: Path, word: str) -> None:
    """What somebody changes or deletes by hand is planned, put right by `up`, and then as it was."""
    path = program(word, tmp_path)
    sandbox.netdsl("up", path, "--yes")
    before = unowned(sandbox.dump())
    for command in CASES[word]["drift"]:
        sandbox.run(["sh", "-ec", command])
        assert plan_of(sandbox, "every"), command
        sandbox.netdsl("up", "every", "--yes")
        assert plan_of(sandbox, "every") == [], command
        assert unowned(sandbox.dump()) == before, command
