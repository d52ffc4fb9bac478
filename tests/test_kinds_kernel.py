"""Every kind against a real kernel, as data: set, changed, read back, taken out, healed, put in words, destroyed.

A file in kernel_cases/ holds those of one kind:

    machine  the kernels of all machines offer it; else it is tried on the full kernel only (dev/fullkernel.py)
    cloud    the full kernel does not either; it is tried on the cloud kernel (dev/cloudkernel.py)
    keys     the statements may use `text(name)`, a key of 32 bytes in base64, and `key(name)`, a file that holds it
    around   statements inside the netns `every`, with `far` another netns, that all objects stand on
    make     defines `make(i, **given)`, which declares the i-th object of the kind with the properties given
    values   property -> two expressions: its value, and the one that it changes to; each on an object of its own
    fixed    properties that `make` gives itself when they are not given, so that taking them out changes nothing
    drift    commands that each damage what stands; the next `up` must heal it
    wide     statements after all objects: further forms that commands must give the same state for

`link` tells what every link has; tests/test_properties_kernel.py tries those on the first kinds.
"""

from __future__ import annotations

import textwrap
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from keyfiles import MAKE_KEYS
from labs import plan_of, unowned
from netdsl.kinds import KINDS
from netdsl.kinds.link import Link
from sandbox import Sandbox

FOLDER = Path(__file__).parent / "kernel_cases"
CASES: dict[str, dict[str, Any]] = {p.stem: tomllib.loads(p.read_text()) for p in sorted(FOLDER.glob("*.toml"))}
FIRST = {"netns", "sysctl", "bridge", "veth", "veth-end", "vxlan", "address", "neighbor", "fdb", "route"}
"""Kinds that tests/test_properties_kernel.py tries in full; files here may add to them."""


def lane(case: dict[str, Any]) -> pytest.MarkDecorator | tuple[()]:
    """Where a kind is tried."""
    return pytest.mark.cloudkernel if case.get("cloud") else () if case.get("machine") else pytest.mark.fullkernel


each = pytest.mark.parametrize("word", [pytest.param(word, marks=lane(case)) for word, case in CASES.items()])


def program(word: str, folder: Path) -> str:
    """A stack with an object for each property, whose parameters say which values they have."""
    case = CASES[word]
    lines = ["from netdsl import *", "", "", "@stack", "def every(step: int = 0, without: bool = False):"]
    lines += ['    "One object for each property."', '    every, far = Netns("every"), Netns("far")', "    with every:"]
    body = [MAKE_KEYS if case.get("keys") else "", case.get("around", ""), case["make"]]
    for index, (name, pair) in enumerate(case.get("values", {"": None}).items()):
        given = f"{name}=({pair[0]}) if step == 0 else ({pair[1]})" if name else ""
        body += ["if without:", f"    make({index})", "else:", f"    make({index}, {given})"]
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
            have, want = ({name: d.get(side) for name, d in change["diff"].items()} for side in ("have", "want"))
            forced = any(
                p.replace or (p.anew is not None and p.anew(have, want)) for p in map(properties.get, change["diff"])
            )
            assert change["action"] == ("replace" if forced else "update"), change
    for arguments in (["-p", "step=1"], ["-p", "without=true"]):
        sandbox.netdsl("up", path, "--yes", *arguments)
        assert plan_of(sandbox, "every") == []
    never.netdsl("up", path, "--yes", "-p", "step=1", "-p", "without=true")
    assert unowned(sandbox.dump()) == unowned(never.dump())
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


def test_every_kind_and_property_is_tried() -> None:
    """Every property that a user can set is changed on a real kernel by one of the two tables, links' own by either."""
    for word, cls in KINDS.items():
        if word in FIRST:
            continue
        assert word in CASES, f"tests/kernel_cases/{word}.toml is missing"
        common = Link.properties if cls.is_link else {}
        own = {p.name for p in cls.properties.values() if p.init and p != common.get(p.name)}
        case = CASES[word]
        assert own <= set(case.get("values", {})) | set(case.get("fixed", ())), word
        assert case["drift"], word
