"""Stacks that build on each other: outputs that are read, links that are shared."""

from __future__ import annotations

import json
import subprocess
import textwrap
from pathlib import Path
from typing import Any

from sandbox import Sandbox

Done = subprocess.CompletedProcess[str]

UNDERLAY = """
ns = Netns("a")
br0 = Bridge("br0", netns=ns, mtu=1400, addresses=["10.0.0.1/24"])
return {"mtu": br0.mtu, "mac": br0.mac, "inner": {"hosts": ["10.0.0.2", "10.0.0.3"]}}
"""


def stack_file(folder: Path, body: str, name: str) -> Path:
    """A file with one stack."""
    path = folder / f"{name}.py"
    body = textwrap.indent(textwrap.dedent(body).strip(), "    ")
    path.write_text(f"from netdsl import *\n\n@stack\ndef {name}():\n{body}\n")
    return path


def changes(sandbox: Sandbox, *args: str | Path) -> list[dict[str, Any]]:
    """The changes that a plan shows."""
    found: list[dict[str, Any]] = json.loads(sandbox.netdsl("plan", *map(str, args), "--json").stdout)["changes"]
    return found


def failed(done: Done, code: int = 1) -> str:
    """What a command that ended with this exit code has to say."""
    assert done.returncode == code, done
    assert "Traceback" not in done.stderr
    return done.stderr


def test_outputs_of_one_stack_are_read_by_another(sandbox: Sandbox, tmp_path: Path) -> None:
    """StackReference gives what the other's last up returned, nested values too; when that changes, the plan of the one
    that reads it shows what follows."""
    underlay = stack_file(tmp_path, UNDERLAY, "underlay")
    body = """
    found = StackReference("underlay").outputs
    Bridge("br1", mtu=found["mtu"] - 50, addresses=[f"{host}/32" for host in found["inner"]["hosts"]])
    return {"mac": found["mac"]}
    """
    overlay = stack_file(tmp_path, body, "overlay")
    sandbox.netdsl("up", str(underlay), "--yes")
    sandbox.netdsl("up", str(overlay), "--yes")
    assert sandbox.netdsl("outputs", "overlay", "mac").stdout == sandbox.netdsl("outputs", "underlay", "mac").stdout
    assert changes(sandbox, overlay) == []
    underlay.write_text(underlay.read_text().replace("1400", "1300").replace(', "10.0.0.3"', ""))
    assert changes(sandbox, overlay) == []
    sandbox.netdsl("up", str(underlay), "--yes")
    found = {change["name"]: (change["action"], change["diff"]) for change in changes(sandbox, overlay)}
    assert found == {
        "br1": ("update", {"mtu": {"have": 1350, "want": 1250}}),
        "10.0.0.3/32 dev br1": ("delete", {}),
    }


def test_outputs_that_are_not_there_are_told(sandbox: Sandbox, tmp_path: Path) -> None:
    """A stack that is not recorded, an output that it does not have, what is no name, and the stack itself are errors
    at the user's line."""
    sandbox.netdsl("up", str(stack_file(tmp_path, UNDERLAY, "underlay")), "--yes")
    for reference, words in {
        'StackReference("nothing")': "there is no stack 'nothing' in the state directory",
        'StackReference("../underlay")': "there is no stack '../underlay'",
        'StackReference("")': "a stack's name must be a string, not ''",
        "StackReference(7)": "a stack's name must be a string, not 7",
        'StackReference("overlay")': "stack 'overlay' cannot read its own outputs",
        'StackReference("underlay").outputs["size"]': "stack 'underlay' has no output 'size'; it has: inner, mac, mtu",
        'StackReference("nothing").outputs["size"]["of"]': "there is no stack 'nothing'",
    }.items():
        path = stack_file(tmp_path, reference, "overlay")
        said = failed(sandbox.netdsl("plan", path.name, cwd=tmp_path, check=False))
        assert said.startswith("error: overlay.py:5: ") and words in said
        assert said.count("error: ") == 1


def test_each_state_directory_has_stacks_of_its_own(sandbox: Sandbox, tmp_path: Path) -> None:
    """Of two stacks of one name in two state directories that of one's own is meant."""
    elsewhere = {"NETDSL_STATE_DIR": str(tmp_path / "elsewhere")}
    (tmp_path / "two").mkdir()
    one = stack_file(tmp_path, 'return {"word": "one"}', "other")
    two = stack_file(tmp_path / "two", 'return {"word": "two"}', "other")
    reader = stack_file(tmp_path, 'return StackReference("other").outputs["word"]', "reader")
    sandbox.netdsl("up", str(two), "--yes", env=elsewhere)
    assert "there is no stack 'other'" in failed(sandbox.netdsl("up", str(reader), "--yes", check=False))
    sandbox.netdsl("up", str(one), "--yes")
    sandbox.netdsl("up", str(reader), "--yes")
    sandbox.netdsl("up", str(reader), "--yes", env=elsewhere)
    assert sandbox.netdsl("outputs", "reader", "result").stdout == "one\n"
    assert sandbox.netdsl("outputs", "reader", "result", env=elsewhere).stdout == "two\n"


GUEST = """
br0 = Link.get("br0", netns=Netns.get("a"))
Address("10.1.0.1/24", dev=br0)
Route("far", dst="10.9.0.0/16", via="10.1.0.2", dev=br0)
"""


def test_a_link_with_guests_is_not_destroyed_unsaid(sandbox: Sandbox, tmp_path: Path) -> None:
    """destroy names what another stack has on what would go, and refuses; with --force it says it and goes on, and the
    other stack finds its own gone and nothing else amiss. Destroyed in the other order there is nothing to say."""
    before = sandbox.dump()
    underlay, guest = stack_file(tmp_path, UNDERLAY, "underlay"), stack_file(tmp_path, GUEST, "guest")
    for path in (underlay, guest):
        sandbox.netdsl("up", str(path), "--yes")
    there = sandbox.dump()
    said = failed(sandbox.netdsl("destroy", "underlay", "--yes", check=False))
    lost = "Address '10.1.0.1/24 dev br0' in netns a and Route 'far' in netns a"
    assert f"error: Netns 'a' goes, and stack guest has on it {lost}" in said
    assert "Destroy stack guest first" in said
    assert sandbox.dump() == there
    done = sandbox.netdsl("destroy", "underlay", "--yes", "--force").stdout
    assert f"note: Netns 'a' goes, and stack guest has on it {lost}" in done
    assert sandbox.dump() == before
    sandbox.netdsl("up", str(underlay), "--yes")
    assert {(change["name"], change["action"]) for change in changes(sandbox, guest)} == {
        ("10.1.0.1/24 dev br0", "create"),
        ("far", "create"),
    }
    sandbox.netdsl("up", str(guest), "--yes")
    for name in ("guest", "underlay"):
        assert "has on it" not in sandbox.netdsl("destroy", name, "--yes").stdout
    assert sandbox.dump() == before


def test_a_plan_says_what_other_stacks_lose(sandbox: Sandbox, tmp_path: Path) -> None:
    """A plan that deletes or makes anew a link says what other stacks have on it: addresses, and ports."""
    underlay = stack_file(tmp_path, 'Bridge("br0")\nVxlan("vtep", vni=1, port=4789)', "underlay")
    body = """
    Veth("v0", master=Link.get("br0"), peer=VethEnd("p0"))
    Address("10.2.0.1/24", dev=Link.get("vtep"))
    """
    guest = stack_file(tmp_path, body, "guest")
    for path in (underlay, guest):
        sandbox.netdsl("up", str(path), "--yes")
    stack_file(tmp_path, 'Vxlan("vtep", vni=2, port=4789)', "underlay")
    plan = sandbox.netdsl("plan", str(underlay)).stdout
    assert "note: Bridge 'br0' goes, and stack guest has on it Veth 'v0'" in plan
    again = "Vxlan 'vtep' goes and is made again, and stack guest has on it Address '10.2.0.1/24 dev vtep'"
    assert again in plan
    assert sandbox.netdsl("plan", str(guest)).stdout.count("note:") == 0
