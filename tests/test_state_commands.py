"""State that is moved about: renamed, forgotten, taken away and brought back."""

from __future__ import annotations

import json
import stat
import subprocess
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from saboteur import Saboteur

from sandbox import Sandbox

Done = subprocess.CompletedProcess[str]

LAB = """
lab_ns = Netns("a")
br0 = Bridge("br0", netns=lab_ns, mtu=1400, addresses=["10.0.0.1/24"], opts=Opts(ignore_changes=["mtu"]))
port = Veth("v0", netns=lab_ns, master=br0, peer=VethEnd("p0", netns=Netns("b")))
Route("far", dst="10.9.0.0/16", via="10.0.0.2", dev=br0)
return {"mac": br0.mac}
"""


def stack_file(folder: Path, body: str, name: str = "lab") -> Path:
    """A file with one stack."""
    path = folder / f"{name}.py"
    body = textwrap.indent(textwrap.dedent(body).strip(), "    ")
    path.write_text(f"from netdsl import *\n\n@stack\ndef {name}():\n{body}\n")
    return path


def pending(sandbox: Sandbox, *args: str | Path) -> list[dict[str, Any]]:
    """The changes that a plan shows."""
    changes: list[dict[str, Any]] = json.loads(sandbox.netdsl("plan", *map(str, args), "--json").stdout)["changes"]
    return changes


def names(sandbox: Sandbox) -> list[str]:
    """Logical names of all that is recorded."""
    return sandbox.netdsl("state", "list").stdout.splitlines()


def error(done: Done, code: int) -> str:
    """The one error of a command, which ended with this exit code."""
    assert (done.returncode, done.stderr.count("error: ")) == (code, 1), done
    assert "Traceback" not in done.stderr
    return done.stderr


def links(sandbox: Sandbox, netns: str | None = None) -> dict[str, dict[str, Any]]:
    """The links beside lo, by name."""
    return {link["ifname"]: link for link in sandbox.ip("link", "show", netns=netns) if link["ifname"] != "lo"}


# mv


def test_a_renamed_resource_is_moved(sandbox: Sandbox, tmp_path: Path) -> None:
    """After state mv the program with the new names plans nothing, and destroy still knows the order."""
    body = """
    br0 = Bridge("br0", addresses=["10.0.0.1/24"])
    far = Route("{far}", dst="10.9.0.0/16", via="10.0.0.2", dev=br0)
    Route("near", dst="10.8.0.0/16", via="10.0.0.2", dev=br0, opts=Opts(depends_on=[far]))
    """
    before = sandbox.dump()
    path = stack_file(tmp_path, body.replace("{far}", "far"))
    sandbox.netdsl("up", str(path), "--yes")
    stack_file(tmp_path, body.replace("{far}", "away"))
    assert [(c["action"], c["moved_from"]) for c in pending(sandbox, path)] == [("same", "::::route::far")]
    said = sandbox.netdsl("state", "mv", "far", "away").stdout
    assert said == "::::route::far is ::::route::away now\n"
    assert pending(sandbox, path) == []
    assert json.loads(sandbox.netdsl("state", "show", "near").stdout)["after"] == ["::::route::away"]
    sandbox.netdsl("state", "mv", "away", "inner::::route::away")
    stack_file(tmp_path, body.replace("{far}", "away").replace("far = Route", "with Component('inner'): far = Route"))
    assert pending(sandbox, path) == []
    sandbox.netdsl("destroy", "--yes")
    assert sandbox.dump() == before


MOVES = {
    "unknown": (("nothing", "far2"), "has no resource 'nothing'"),
    "several": (("0", "x"), "has 3 resources '0'"),
    "taken": (("far", "near"), "has a resource '::::route::near' already"),
    "the same": (("far", "far"), "has a resource '::::route::far' already"),
    "another kind": (("far", "::::bridge::far"), "stays a route in netns ''"),
    "another netns": (("far", "::x::route::far"), "stays a route in netns ''"),
    "a link": (("br0", "br1"), "its name is its kernel identity"),
    "no name": (("far", "a\x1b[31mb"), "is no name"),
    "no component": (("far", "a b::::route::far"), "is no component"),
}


def test_a_move_that_cannot_be_is_refused(sandbox: Sandbox, tmp_path: Path) -> None:
    """state mv to a name that is taken, impossible or of something else, or of nothing known, changes nothing."""
    body = """
    br0 = Bridge("br0", addresses=["10.0.0.1/24"])
    Veth("v0", master=br0, peer=VethEnd("p1"))
    for name, dst in (("far", "10.9.0.0/16"), ("near", "10.8.0.0/16")):
        Route(name, dst=dst, via="10.0.0.2", dev=br0)
    """
    sandbox.netdsl("up", str(stack_file(tmp_path, body)), "--yes")
    before = names(sandbox)
    for arguments, words in MOVES.values():
        assert words in error(sandbox.netdsl("state", "mv", *arguments, check=False), 2)
    assert names(sandbox) == before


# rm


def test_what_is_forgotten_stays(sandbox: Sandbox, tmp_path: Path) -> None:
    """state rm takes a resource off the record and leaves the kernel alone; up --adopt takes it back, and then it
    outlives the stack, because it was found."""
    path = stack_file(tmp_path, LAB)
    sandbox.netdsl("up", str(path), "--yes")
    before = sandbox.dump()
    assert sandbox.netdsl("state", "rm", "far", "--yes").stdout == "forgotten: ::a::route::far\n"
    assert sandbox.dump() == before
    assert "Route 'far' in netns a exists already" in error(sandbox.netdsl("plan", str(path), check=False), 1)
    (change,) = pending(sandbox, path, "--adopt")
    assert (change["name"], change["action"], change["adopts"]) == ("far", "same", True)
    sandbox.netdsl("up", str(path), "--adopt", "--yes")
    assert pending(sandbox, path) == []
    assert sandbox.dump() == before


def test_what_others_stand_on_is_not_forgotten_alone(sandbox: Sandbox, tmp_path: Path) -> None:
    """state rm of a link names what stands on it and changes nothing, unless that is named too, or --force is given."""
    sandbox.netdsl("up", str(stack_file(tmp_path, LAB)), "--yes")
    before = names(sandbox)
    said = error(sandbox.netdsl("state", "rm", "br0", "--yes", check=False), 2)
    assert (
        "Address '10.0.0.1/24 dev br0' in netns a, Route 'far' in netns a and Veth 'v0' in netns a stand on it" in said
    )
    assert "has no resource 'nothing'" in error(sandbox.netdsl("state", "rm", "nothing", "--yes", check=False), 2)
    assert "needs a confirmation" in error(sandbox.netdsl("state", "rm", "far", check=False), 2)
    assert names(sandbox) == before
    sandbox.netdsl("state", "rm", "br0", "far", "v0", "p0", "10.0.0.1/24 dev br0", "--yes")
    assert names(sandbox) == ["::::netns::a", "::::netns::b"]
    sandbox.netdsl("state", "rm", "::::netns::a", "--force", "--yes")
    said = error(sandbox.netdsl("destroy", "--yes", check=False), 1)
    assert "netns b holds a link that is not this stack's: p0 (veth)" in said
    sandbox.netdsl("destroy", "--yes", "--force")
    assert sandbox.netns_names() == ["a"]
    sandbox.wait_until(lambda: set(links(sandbox, "a")) == {"br0"})  # the pair goes in the kernel's own time


def test_a_route_that_cannot_be_given_back_is_told(sandbox: Sandbox, tmp_path: Path) -> None:
    """Of two routes that were taken over and that the kernel drops with the stack's address, the one through a gateway
    that only this address reached cannot be put back: destroy says so, and nothing of it is left on record."""
    body = """
    br0 = Bridge("br0", addresses=["10.0.0.1/24"], opts=Opts(adopt=True))
    Route("far", dst="10.9.0.0/16", via="10.0.0.2", dev=br0)
    Route("near", dst="10.8.0.0/16", dev=br0)
    """
    sandbox.run(["ip", "link", "add", "br0", "up", "type", "bridge"])
    sandbox.netdsl("up", str(stack_file(tmp_path, body)), "--yes")
    sandbox.netdsl("state", "rm", "far", "near", "--yes")
    sandbox.netdsl("up", "lab", "--adopt", "--yes")
    assert "Route 'far': the kernel refused to update it" in error(sandbox.netdsl("destroy", "--yes", check=False), 4)
    assert sandbox.netdsl("list").stdout.startswith("no stacks")
    assert [route["dst"] for route in sandbox.ip("route", "show")] == ["10.8.0.0/16"]


def test_what_falls_with_ours_is_not_given_back(sandbox: Sandbox, tmp_path: Path) -> None:
    """What was taken over and stands on what is deleted goes with it, and the plan says so."""
    before = sandbox.dump()
    sandbox.netdsl("up", str(stack_file(tmp_path, LAB)), "--yes")
    sandbox.netdsl("state", "rm", "10.0.0.1/24 dev br0", "--yes")
    sandbox.netdsl("up", "lab", "--adopt", "--yes")
    plan = sandbox.netdsl("destroy", "--yes").stdout
    assert "-  address 10.0.0.1/24 dev br0  (goes with Netns 'a')" in plan
    assert sandbox.dump() == before


# export and import


def test_an_export_is_a_state(sandbox: Sandbox, tmp_path: Path) -> None:
    """A state that was exported and lost is imported, into an empty directory too: outputs, parameters and options are
    there, the plan is empty, and destroy leaves nothing."""
    before = sandbox.dump()
    path = stack_file(tmp_path, LAB)
    sandbox.netdsl("up", str(path), "--yes")
    sandbox.netdsl("state", "export", "-o", "lab.json", cwd=tmp_path)
    whole = json.loads((tmp_path / "lab.json").read_text())
    elsewhere = {"NETDSL_STATE_DIR": str(tmp_path / "new" / "state")}
    done = sandbox.netdsl("state", "import", str(tmp_path / "lab.json"), env=elsewhere)
    assert done.stdout == "stack lab: 7 resources\n"
    assert json.loads(sandbox.netdsl("state", "export", env=elsewhere).stdout) == whole
    assert json.loads(sandbox.netdsl("plan", "--json", env=elsewhere).stdout)["changes"] == []
    files = (tmp_path / "new" / "state").iterdir()
    modes = {file.name: oct(stat.S_IMODE(file.stat().st_mode)) for file in (tmp_path / "new" / "state", *files)}
    assert modes == {"state": "0o700", "lab.db": "0o600", "lab.lock": "0o600"}
    sandbox.netdsl("destroy", "--yes", env=elsewhere)
    assert sandbox.dump() == before
    assert {c["action"] for c in pending(sandbox, path)} == {"create"}


def test_an_import_replaces_a_state_only_with_a_yes(sandbox: Sandbox, tmp_path: Path) -> None:
    """A state that has something in it is replaced with --yes alone, and then nothing of it is left."""
    body = 'Bridge("br0")\nreturn {"old": 1}'
    sandbox.netdsl("up", str(stack_file(tmp_path, body)), "--yes")
    sandbox.netdsl("state", "export", "-o", str(tmp_path / "old.json"))
    document = json.loads((tmp_path / "old.json").read_text())
    del document["meta"]["outputs"]
    (tmp_path / "new.json").write_text(json.dumps(document))
    said = error(sandbox.netdsl("state", "import", str(tmp_path / "new.json"), check=False), 2)
    assert "needs a confirmation" in said
    assert sandbox.netdsl("outputs").stdout == "old = 1\n"
    sandbox.netdsl("state", "import", str(tmp_path / "new.json"), "--yes")
    assert sandbox.netdsl("outputs").stdout == ""
    assert pending(sandbox) == [] and names(sandbox) == ["::::bridge::br0"]
    assert "It has none." in sandbox.netdsl("outputs", "lab", "old", check=False).stderr


def test_a_state_of_another_namespace_is_not_imported(sandbox: Sandbox, tmp_path: Path) -> None:
    """An export from another namespace is refused with the reason; after a restart it is taken, and that is said."""
    sandbox.netdsl("up", str(stack_file(tmp_path, 'Bridge("br0")')), "--yes")
    file = tmp_path / "lab.json"
    sandbox.netdsl("state", "export", "-o", str(file))
    sandbox.run(["ip", "netns", "add", "away"])
    elsewhere = {"NETDSL_STATE_DIR": str(tmp_path / "new")}
    done = sandbox.netdsl("state", "import", str(file), env=elsewhere, netns="away", check=False)
    assert "belongs to another network namespace" in error(done, 1)
    assert not (tmp_path / "new").exists()
    document = json.loads(file.read_text())
    document["meta"]["boot_id"] = "another boot"
    file.write_text(json.dumps(document))
    assert "The machine was restarted" in sandbox.netdsl("state", "import", str(file), env=elsewhere).stdout


def spoilt(change: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, Any]], str]:
    """An export with something changed."""

    def spoil(document: dict[str, Any]) -> str:
        change(document)
        return json.dumps(document)

    return spoil


BAD = {
    "no JSON": (lambda _: "{", "is no JSON", 2),
    "no export": (lambda _: "[]", "is no export of netdsl's", 2),
    "empty": (lambda _: "{}", "is no export of netdsl's", 2),
    "newer": (spoilt(lambda d: d.update(version=2)), "is an export of another version of netdsl: 2", 2),
    "stack": (spoilt(lambda d: d.update(stack="../x")), "'../x' is no stack name", 2),
    "kind": (spoilt(lambda d: d["resources"][0].update(kind="router")), "a kind 'router'", 1),
    "twice": (spoilt(lambda d: d["resources"].append(d["resources"][0])), "has one resource twice", 2),
    "no netns": (spoilt(lambda d: d["resources"][0].update(netns="../../x")), "is no export of netdsl's", 2),
    "no link": (spoilt(lambda d: d["resources"][0].update(name="a/b")), "is no export of netdsl's", 2),
    "no properties": (spoilt(lambda d: d["resources"][0].pop("props")), "is no export of netdsl's", 2),
    "deep": (lambda _: "[" * 100_000, "is no JSON: maximum recursion depth exceeded", 2),
    "another property": (spoilt(lambda d: d["resources"][0]["props"].update(colour=1)), "is no export of netdsl's", 2),
    "name": (spoilt(lambda d: d["resources"][0].update(urn="::::bridge::br1")), "is no export of netdsl's", 2),
    "component": (spoilt(lambda d: d["resources"][0].update(component="..")), "is no export of netdsl's", 2),
    "order": (spoilt(lambda d: d["resources"][0].update(after=[1])), "is no export of netdsl's", 2),
    "ifindex": (spoilt(lambda d: d["resources"][0]["extra"].update(ifindex=10**30)), "is no export of netdsl's", 2),
    "mark": (spoilt(lambda d: d["resources"][0]["extra"].update(adopted="no")), "is no export of netdsl's", 2),
    "options": (spoilt(lambda d: d["resources"][0]["opts"].update(protect=[])), "is no export of netdsl's", 2),
    "program": (spoilt(lambda d: d["meta"].update(program=1)), "is no export of netdsl's", 2),
    "values": (spoilt(lambda d: d["meta"].update(values=[])), "is no export of netdsl's", 2),
    "outputs": (spoilt(lambda d: d["meta"].update(outputs=None)), "is no export of netdsl's", 2),
    "half a place": (spoilt(lambda d: d["meta"].pop("cookie")), "is no export of netdsl's", 2),
    "value": (spoilt(lambda d: d["resources"][0]["props"].update(mtu="1; reboot")), "mtu must be a whole number", 2),
    "large": (spoilt(lambda d: d["resources"][0]["props"].update(mtu=10**30)), "mtu must be between", 2),
    "mac": (spoilt(lambda d: d["resources"][0]["extra"].update(found={"mac": "x"})), "mac must be a MAC address", 2),
}


def test_what_is_no_export_is_refused(sandbox: Sandbox, tmp_path: Path) -> None:
    """A file that is corrupt, of another version or names what cannot be is one error, and makes no state."""
    saboteur = Saboteur(sandbox)
    saboteur.run("up", str(stack_file(tmp_path, 'Bridge("br0")')), "--yes")
    whole = saboteur.run("state", "export").out
    file, elsewhere = tmp_path / "bad.json", ("--state-dir", str(tmp_path / "new"))
    for name, (spoil, words, code) in BAD.items():
        file.write_text(spoil(json.loads(whole)))
        done = saboteur.run("state", "import", str(file), *elsewhere, check=False)
        assert (done.code, done.out) == (code, ""), name
        assert words in done.err, name
    done = saboteur.run("state", "import", str(tmp_path), *elsewhere, check=False)
    assert done.code == 2
    assert "cannot be read: Is a directory" in done.err
    assert not (tmp_path / "new").exists()


# Two stacks


@pytest.mark.parametrize("replaced", [False, True], ids=["gone", "made by another"])
def test_a_stack_knows_its_own_from_another_stacks(sandbox: Sandbox, tmp_path: Path, replaced: bool) -> None:
    """A link or netns that went, and that another stack made anew, is that stack's: not changed and not deleted by the
    first, although its ifindex is the same."""
    one = stack_file(tmp_path, 'Bridge("br0", netns=Netns("a"))\nBridge("br1")', "one")
    two = stack_file(tmp_path, 'Bridge("br0", netns=Netns("a"))\nBridge("br1")', "two")
    sandbox.netdsl("up", str(one), "--yes")
    sandbox.run(["ip", "netns", "del", "a"])
    sandbox.run(["ip", "link", "del", "br1"])
    if replaced:
        sandbox.netdsl("up", str(two), "--yes")
        before = sandbox.dump()
        assert "another has taken its place" in sandbox.netdsl("plan", str(one), check=False).stderr
        assert "another object has taken its place" in sandbox.netdsl("destroy", "one", "--yes").stdout
        assert sandbox.dump() == before
        assert pending(sandbox, two) == []
    else:
        assert {c["action"] for c in pending(sandbox, one)} == {"create"}


def test_a_netns_from_before_a_restart_is_not_known_by_its_cookie(sandbox: Sandbox, tmp_path: Path) -> None:
    """Each boot counts cookies anew: a namespace without the mark is a stranger's, although its cookie is the same."""
    sandbox.netdsl("up", str(stack_file(tmp_path, 'Netns("a")')), "--yes")
    sandbox.run(["ip", "-n", "a", "link", "property", "del", "dev", "lo", "altname", "netdsl:lab:lo"])
    assert pending(sandbox) == []
    file = tmp_path / "lab.json"
    document = json.loads(sandbox.netdsl("state", "export").stdout)
    document["meta"]["boot_id"] = "another boot"
    file.write_text(json.dumps(document))
    sandbox.netdsl("state", "import", str(file), "--yes")
    assert "Netns 'a' is not the one that this stack made" in sandbox.netdsl("plan", check=False).stderr
    sandbox.netdsl("destroy", "--yes")
    assert sandbox.netns_names() == ["a"]
