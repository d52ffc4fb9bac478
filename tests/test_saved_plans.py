"""`plan --out FILE` and `up FILE`: a plan that is carried out as it was shown, or not at all."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from labfile import Lab
from sandbox import Sandbox

BODY = """
br0 = Bridge("br0", mtu=mtu, addresses=["10.0.0.1/24"])
Bridge("br1", alias=words.ALIAS)
return {"mtu": mtu}
"""


@pytest.fixture
def lab(sandbox: Sandbox, tmp_path: Path) -> Lab:
    """A stack with a module of its own, not up."""
    lab = Lab(sandbox, tmp_path)
    (tmp_path / "words.py").write_text("ALIAS = 'one'\n")
    lab.write(BODY, "mtu: int = 1500", imports="import words\nfrom netdsl import *")
    return lab


def save(lab: Lab, *args: str, name: str = "p.json") -> Path:
    """Save the plan of the stack."""
    path = lab.folder / name
    lab.sandbox.netdsl("plan", str(lab.path), "--out", str(path), *args)
    return path


def test_a_plan_is_carried_out_as_saved(lab: Lab) -> None:
    """`up FILE` does what `plan --out FILE` showed, with its parameters, and asks first; afterwards the file is stale.
    It is data, and only its owner may read it."""
    shown = lab.sandbox.netdsl("plan", str(lab.path), "-p", "mtu=1400").stdout
    path = save(lab, "-p", "mtu=1400")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    saved = json.loads(path.read_text())
    assert (saved["format"], saved["version"], saved["stack"]) == ("netdsl plan", 1, "lab")
    assert saved["program"] == f"{lab.path}:lab"
    assert [change["name"] for change in saved["plan"]["changes"]] == ["br0", "br1", "10.0.0.1/24 dev br0"]
    assert "error: up needs a confirmation" in lab.refused(2, "up", str(path))
    assert lab.links() == {}
    done = lab.sandbox.netdsl("up", str(path), "--yes").stdout
    assert done.startswith(shown)
    assert "done: 3 created" in done
    assert lab.links()["br0"]["mtu"] == 1400
    assert lab.pending() == []  # the parameters are recorded
    said = lab.refused(1, "up", str(path), "--yes")
    assert f"error: {path} is out of date: stack lab was changed by another run since" in said
    assert "Make a new plan with `netdsl plan --out`. Nothing was touched." in said


def test_an_empty_plan_can_be_carried_out(lab: Lab) -> None:
    """Where there was nothing to do there is still nothing to do, as often as one likes."""
    lab.up()
    path = save(lab)
    for _ in range(2):
        assert "no changes" in lab.sandbox.netdsl("up", str(path), "--yes").stdout


def edit_program(lab: Lab) -> None:
    """The program wants something else."""
    lab.write(BODY.replace("10.0.0.1", "10.0.0.9"), "mtu: int = 1500", imports="import words\nfrom netdsl import *")


def edit_module(lab: Lab) -> None:
    """A module that the program imports says something else."""
    (lab.folder / "words.py").write_text("ALIAS = 'another'\n")


def edit_defaults(lab: Lab) -> None:
    """A parameter has another default."""
    lab.write(BODY, "mtu: int = 1300", imports="import words\nfrom netdsl import *")


def another_run(lab: Lab) -> None:
    """Somebody brings the stack up with another parameter."""
    lab.up("-p", "mtu=1300")


def taken_away(lab: Lab) -> None:
    """Somebody destroys the stack."""
    lab.sandbox.netdsl("destroy", "--yes")


def drift(lab: Lab) -> None:
    """Something of the stack's changes in the kernel."""
    lab.sandbox.ip("link", "set", "br1", "mtu", "1200", "alias", "drifted")


def loss(lab: Lab) -> None:
    """Something of the stack's is gone from the kernel."""
    lab.sandbox.ip("addr", "flush", "dev", "br0")


PROGRAM = "declares something else now"
STATE = "stack lab was changed by another run since"
KERNEL = "the kernel has changed at "
MOVES: dict[Callable[[Lab], None], str] = {
    edit_program: PROGRAM,
    edit_module: PROGRAM,
    edit_defaults: PROGRAM,
    another_run: STATE,
    taken_away: STATE,
    drift: f"{KERNEL}::::bridge::br1",
    loss: f"{KERNEL}::::address::10.0.0.1/24 dev br0",
}


@pytest.mark.parametrize("move", MOVES, ids=lambda move: move.__name__)
def test_what_moved_is_told(lab: Lab, move: Callable[[Lab], None]) -> None:
    """When the program, what it imports, parameters, the state or the kernel are others than they were, the plan is
    refused with what has moved, and nothing is touched."""
    lab.up("-p", "mtu=1400")
    path = save(lab, "--reset-params")
    move(lab)
    before = lab.dump()
    said = lab.refused(1, "up", str(path), "--yes")
    assert f"error: {path} is out of date: " in said
    assert MOVES[move] in said
    assert lab.dump() == before


def test_what_moved_and_does_not_matter(lab: Lab) -> None:
    """A comment in the program, and another stack, keep no plan from being carried out."""
    path = save(lab)
    lab.path.write_text(f"# changed\n{lab.path.read_text()}")
    lab.sandbox.ip("link", "add", "foreign", "type", "bridge")
    other = lab.folder / "other.py"
    other.write_text("from netdsl import *\n\n@stack\ndef other():\n    Bridge('br7')\n")
    lab.sandbox.netdsl("up", str(other), "--yes")
    lab.sandbox.netdsl("up", str(path), "--yes")
    assert set(lab.links()) == {"foreign", "br0", "br1", "br7"}


def test_what_came_in_the_way_is_a_conflict(lab: Lab) -> None:
    """A foreign object where the plan wants to create one is told as ever."""
    path = save(lab)
    lab.sandbox.ip("link", "add", "br0", "type", "bridge")
    before = lab.dump()
    assert "Bridge 'br0' exists already and is not this stack's" in lab.refused(1, "up", str(path), "--yes")
    assert lab.dump() == before


def test_the_program_is_gone(lab: Lab) -> None:
    """Without the program the plan cannot be made again, so not be compared."""
    path = save(lab)
    lab.path.unlink()
    assert f"error: there is no file {lab.path}" in lab.refused(2, "up", str(path), "--yes")


def broken(path: Path, **changed: object) -> None:
    """Write other values into a plan; None takes one out."""
    saved = json.loads(path.read_text()) | changed
    path.write_text(json.dumps({word: value for word, value in saved.items() if value is not None}))


def test_files_that_are_no_plans(lab: Lab) -> None:
    """A file that is missing, corrupt, not ours or of another version is told apart; nothing is touched."""
    path = save(lab)
    good = path.read_text()
    for text, words in {
        "": "is no JSON: Expecting value",
        good[:100]: "is no JSON: ",
        "[" * 100_000: "is no JSON: ",
        "\udcff": "is no JSON: ",
        "[]": "is no plan of netdsl's",
        "null": "is no plan of netdsl's",
        '{"version": 1, "stack": "lab", "meta": {}, "resources": []}': "is no plan of netdsl's",
        good.replace('"netdsl plan"', '"another plan"'): "is no plan of netdsl's",
        good.replace('"version": 1', '"version": 2'): "is a plan of another version of netdsl: 2",
        good.replace('"fingerprint": [', '"fingerprint": [1,'): "is no plan of netdsl's",
        good.replace('"selection": {', '"selection": [], "x": {'): "is no plan of netdsl's",
        good.replace('"values": {', '"values": 7, "x": {'): "is no plan of netdsl's",
        good.replace('"stack": "lab"', '"stack": "../lab"'): "'../lab' is no stack name",
    }.items():
        assert text != good
        path.write_text(text, errors="surrogateescape")
        assert words in lab.refused(2, "up", str(path), "--yes"), text[:100]
    path.unlink()
    assert f"error: {path} cannot be read: No such file or directory" in lab.refused(2, "up", str(path), "--yes")
    path.mkdir()
    assert f"error: {path} cannot be read: Is a directory" in lab.refused(2, "up", str(path), "--yes")
    assert lab.links() == {}


def test_a_plan_of_another_stack(lab: Lab) -> None:
    """A plan belongs to its stack: it takes no other name, and a stack of another program is none of it."""
    path = save(lab)
    said = lab.refused(2, "up", str(path), "--yes", "--name", "other")
    assert "error: a saved plan has its parameters and options in it" in said
    for option in (["-p", "mtu=1300"], ["--reset-params"], ["--adopt"], ["--target", "br0"]):
        assert "a saved plan has its parameters and options in it" in lab.refused(2, "up", str(path), "--yes", *option)
    saved = json.loads(path.read_text())
    other = lab.folder / "other.py"
    other.write_text("from netdsl import *\n\n@stack\ndef other():\n    Bridge('br7')\n")
    lab.sandbox.netdsl("up", str(other), "--yes")
    path.write_text(json.dumps(saved | {"stack": "other"}))
    said = lab.refused(1, "up", str(path), "--yes")
    assert f"error: stack other is recorded as the program {other}:other; this one is {lab.path}:lab" in said
    assert set(lab.links()) == {"br7"}


def test_where_a_plan_can_be_written(lab: Lab) -> None:
    """An older file is replaced, not written into; a symbolic link is replaced, not followed; what cannot be written is
    an error."""
    path = lab.folder / "p.json"
    path.write_text("old")
    path.chmod(0o644)
    with path.open() as reader:
        save(lab)
        assert reader.read() == "old"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.unlink()
    precious = lab.folder / "precious"
    precious.write_text("precious")
    path.symlink_to(precious)
    save(lab)
    assert precious.read_text() == "precious"
    assert not path.is_symlink()
    assert [name for name in os.listdir(lab.folder) if name.startswith(".")] == []
    plan = ["plan", str(lab.path), "--out"]
    missing = lab.folder / "missing" / "p.json"
    assert f"error: {missing} cannot be written: No such file or directory" in lab.refused(2, *plan, str(missing))
    assert "error: --out takes a file that ends in .json" in lab.refused(2, *plan, str(lab.folder / "plan"))
    assert "and a plan made against the kernel" in lab.refused(2, *plan, str(path), "--offline")


def test_a_part_of_a_plan(lab: Lab) -> None:
    """The choice of --target is in the plan, and so is what is to be adopted."""
    lab.sandbox.ip("link", "add", "br1", "type", "bridge")
    path = save(lab, "--target", "br1", "--adopt")
    done = lab.sandbox.netdsl("up", str(path), "--yes")
    assert "done: 1 updated" in done.stdout
    assert set(lab.links()) == {"br1"}
    assert lab.brief() == {"br0": "create", "10.0.0.1/24 dev br0": "create"}


def test_a_plan_with_the_other_options(lab: Lab) -> None:
    """A saved plan can be carried out with a way back, and in JSON."""
    path = save(lab)
    done = lab.sandbox.netdsl("up", str(path), "--yes", "--json", "--rollback-on-failure", "--confirm-within", "10m")
    assert [json.loads(line)["event"] for line in done.stdout.splitlines()] == ["plan", "result"]
    lab.sandbox.netdsl("confirm")
