"""Taking over what exists: single objects with `netdsl import`, all there is with --adopt."""

from __future__ import annotations

import json
import subprocess
import textwrap
from pathlib import Path
from typing import Any

import pytest

from sandbox import Sandbox

Done = subprocess.CompletedProcess[str]


def stack_file(folder: Path, body: str, name: str = "lab") -> Path:
    """A file with one stack."""
    path = folder / f"{name}.py"
    body = textwrap.indent(textwrap.dedent(body).strip(), "    ")
    path.write_text(f"from netdsl import *\n\n@stack\ndef {name}():\n{body}\n")
    return path


def pending(sandbox: Sandbox, *args: str | Path) -> list[tuple[str, str]]:
    """Names and actions of the changes that a plan shows."""
    changes: list[dict[str, Any]] = json.loads(sandbox.netdsl("plan", *map(str, args), "--json").stdout)["changes"]
    return [(change["name"], change["action"]) for change in changes]


def error(done: Done, code: int) -> str:
    """The one error of a command, which ended with this exit code."""
    assert (done.returncode, done.stderr.count("error: ")) == (code, 1), done
    assert "Traceback" not in done.stderr
    return done.stderr


def link(sandbox: Sandbox, name: str) -> dict[str, Any]:
    """A link as `ip` shows it."""
    (found,) = sandbox.ip("link", "show", "dev", name)
    return dict(found)


def test_what_equals_is_taken_over_as_it_is(sandbox: Sandbox, tmp_path: Path) -> None:
    """import marks an object, records it and changes nothing else; the rest of the program stays to be done, and
    destroy takes the mark off again."""
    sandbox.run(["ip", "link", "add", "br0", "up", "type", "bridge"])
    sandbox.run(["ip", "addr", "add", "10.0.0.1/24", "dev", "br0"])
    sandbox.run(["ip", "neigh", "add", "10.0.0.9", "lladdr", "02:00:00:00:00:09", "dev", "br0"])
    before = sandbox.dump()
    path = stack_file(tmp_path, 'Bridge("br0", addresses=["10.0.0.1/24"])\nBridge("br1")')
    said = sandbox.netdsl("import", str(path), "br0", "10.0.0.1/24*", "--yes").stdout
    assert "=  bridge br0  (taken over)" in said and "=  address 10.0.0.1/24 dev br0  (taken over)" in said
    assert link(sandbox, "br0")["altnames"] == ["netdsl:lab:br0"]
    assert pending(sandbox, path) == [("br1", "create")]
    sandbox.netdsl("up", "--yes")
    assert pending(sandbox, path) == []
    sandbox.netdsl("destroy", "--yes")
    assert sandbox.dump() == before


def test_what_differs_is_brought_in_line_by_up(sandbox: Sandbox, tmp_path: Path) -> None:
    """import says in what an object differs and leaves it; up changes it, and destroy gives it back as it was found."""
    sandbox.run(["ip", "link", "add", "br0", "up", "mtu", "1300", "type", "bridge", "ageing_time", "10000"])
    before = sandbox.dump()
    path = stack_file(tmp_path, 'Bridge("br0", mtu=1400, ageing_time=200)')
    said = sandbox.netdsl("import", str(path), "br0", "--yes").stdout
    differs = "mtu from 1300 to 1400 and ageing_time from 100 to 200"
    assert f"note: Bridge 'br0' is taken over as it is; `netdsl up` then changes {differs}" in said
    assert link(sandbox, "br0")["mtu"] == 1300
    assert pending(sandbox, path) == [("br0", "update")]
    sandbox.netdsl("up", "--yes")
    assert (link(sandbox, "br0")["mtu"], pending(sandbox, path)) == (1400, [])
    sandbox.netdsl("destroy", "--yes")
    assert sandbox.dump() == before


def test_what_cannot_be_imported_is_told(sandbox: Sandbox, tmp_path: Path) -> None:
    """What does not exist, is not declared, is the stack's already, or is of another kind is one error, and nothing is
    recorded; without a yes neither."""
    sandbox.run(["ip", "link", "add", "br0", "type", "bridge"])
    sandbox.run(["ip", "link", "add", "x0", "type", "veth", "peer", "name", "x1"])
    path = stack_file(tmp_path, 'Bridge("br0")\nBridge("br1")')
    before = sandbox.dump()

    def importing(*names: str) -> Done:
        return sandbox.netdsl("import", str(path), *names, check=False)

    assert "Bridge 'br1' does not exist: there is nothing to import" in error(importing("br1", "--yes"), 2)
    assert "no resource of the stack is called 'br2'" in error(importing("br0", "br2", "--yes"), 2)
    assert "needs a confirmation" in error(importing("br0"), 2)
    assert sandbox.dump() == before
    assert sandbox.netdsl("list").stdout.startswith("no stacks")
    sandbox.netdsl("import", str(path), "br0", "--yes")
    assert "Bridge 'br0' is this stack's already" in error(importing("br0", "--yes"), 2)
    stack_file(tmp_path, 'Bridge("br0")\nBridge("x1")')
    assert "Bridge 'x1' cannot be taken over: it is a veth" in error(importing("x1", "--yes"), 1)


@pytest.mark.parametrize("command", [["plan"], ["up", "--yes"]])
def test_adopt_takes_only_what_fits(sandbox: Sandbox, tmp_path: Path, command: list[str]) -> None:
    """--adopt takes no veth for a bridge, and no table of somebody else's rules for a Masquerade."""
    sandbox.run(["ip", "link", "add", "x0", "type", "veth", "peer", "name", "x1"])
    sandbox.run(["nft", "add table inet m; add chain inet m c; add rule inet m c counter accept"])
    before = sandbox.dump()
    path = stack_file(tmp_path, 'Bridge("x1")\nMasquerade("m", dev=Link.get("x0"))')
    done = sandbox.netdsl(*command, str(path), "--adopt", check=False)
    assert (done.returncode, done.stderr.count("error: ")) == (1, 2)
    assert "Bridge 'x1' cannot be taken over: it is a veth" in done.stderr
    assert "Masquerade 'm' cannot be taken over: it holds other things" in done.stderr
    assert sandbox.dump() == before


@pytest.mark.parametrize("way", ["import", "adopt", "--adopt"])
def test_an_adopted_bridge_keeps_its_mac(sandbox: Sandbox, tmp_path: Path, way: str) -> None:
    """A port with a lower MAC joins and leaves an adopted bridge, which without that would take the port's, and lose it
    to zeros with the last port."""
    sandbox.run(["ip", "link", "add", "br0", "up", "type", "bridge"])  # without a MAC given
    mac = link(sandbox, "br0")["address"]
    opts = ", opts=Opts(adopt=True)" if way == "adopt" else ""
    port = 'Veth("v0", mac="00:00:00:00:00:01", master=br0, peer=VethEnd("p0"))\n'
    path = stack_file(tmp_path, f'br0 = Bridge("br0"{opts})\n{port}return br0.mac')
    if way == "import":
        sandbox.netdsl("import", str(path), "br0", "--yes")
    sandbox.netdsl("up", str(path), "--yes", *(["--adopt"] if way == "--adopt" else []))
    assert link(sandbox, "br0")["address"] == mac == sandbox.netdsl("outputs", "lab", "result").stdout.strip()
    assert pending(sandbox, path) == []
    stack_file(tmp_path, f'br0 = Bridge("br0"{opts})\nreturn br0.mac')
    sandbox.netdsl("up", "--yes")
    assert link(sandbox, "br0")["address"] == mac
    sandbox.netdsl("destroy", "--yes")
    assert link(sandbox, "br0")["address"] == mac
    assert "altnames" not in link(sandbox, "br0")
