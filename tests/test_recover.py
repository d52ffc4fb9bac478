"""A state that is lost altogether, made again from what the kernel shows."""

from __future__ import annotations

import json
import shutil
import subprocess
import textwrap
from pathlib import Path
from typing import Any

from sandbox import Sandbox

Done = subprocess.CompletedProcess[str]

STACKS = Path(__file__).parent.parent / "stacks"


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


def recorded(sandbox: Sandbox, *args: str) -> list[dict[str, Any]]:
    """What is recorded, without what only the run that made it knows."""
    items = json.loads(sandbox.netdsl("state", "export", *args).stdout)["resources"]
    return [{**item, "extra": item["extra"].get("ifindex")} for item in items]


def error(done: Done, code: int) -> str:
    """The one error of a command, which ended with this exit code."""
    assert (done.returncode, done.stderr.count("error: ")) == (code, 1), done
    assert "Traceback" not in done.stderr
    return done.stderr


def lose(sandbox: Sandbox) -> None:
    """Lose the state directory."""
    shutil.rmtree(sandbox.env["NETDSL_STATE_DIR"])


HOST = """
a, b = Netns("a", forwarding=True), Netns("b")
br0 = Bridge("br0", netns=a, addresses=["10.0.0.1/24", "fd00::1/64"])
Veth("v0", netns=a, master=br0, peer=VethEnd("p0", netns=b, addresses=["10.0.0.2/24"]))
vtep = Vxlan("vtep", vni=7, netns=a, local="10.0.0.1", port=4789)
FdbEntry("02:00:00:00:00:77", dev=vtep, dst="10.0.0.2")
Neighbor("10.0.0.9", dev=br0, lladdr="02:00:00:00:00:99")
Route("far", dst="10.9.0.0/16", via="10.0.0.2", dev=br0)
outer = Bridge("outer", addresses=["10.8.0.1/24"])
Bridge("a-name-of-15-by")
"""


def test_a_lost_state_is_made_again(sandbox: Sandbox, tmp_path: Path) -> None:
    """With the program everything that bears a mark, or stands on what does, is found: the same records, an empty plan,
    and a destroy that leaves what was there before."""
    before = sandbox.dump()
    path = stack_file(tmp_path, HOST)
    sandbox.netdsl("up", str(path), "--yes")
    owned = recorded(sandbox)
    lose(sandbox)
    assert "exists already" in sandbox.netdsl("plan", str(path), check=False).stderr
    assert sandbox.netdsl("state", "recover", str(path)).stdout == f"stack lab: {len(owned)} resources recovered\n"
    assert recorded(sandbox) == owned
    assert pending(sandbox, path) == []
    sandbox.netdsl("destroy", "--yes")
    assert sandbox.dump() == before


def test_drift_does_not_keep_a_stack_from_its_own(sandbox: Sandbox, tmp_path: Path) -> None:
    """What was changed or is gone when the state is recovered is drift afterwards, as it would have been before."""
    path = stack_file(tmp_path, HOST)
    sandbox.netdsl("up", str(path), "--yes")
    sandbox.run(["ip", "-n", "a", "link", "set", "vtep", "down"])
    sandbox.run(["ip", "-n", "a", "route", "del", "10.9.0.0/16"])
    lose(sandbox)
    sandbox.netdsl("state", "recover", str(path))
    assert {(c["name"], c["action"]) for c in pending(sandbox, path)} == {("vtep", "update"), ("far", "create")}


def test_foreign_things_are_not_taken(sandbox: Sandbox, tmp_path: Path) -> None:
    """What stands beside and bears no mark stays foreign: links, addresses and routes that the program does not name,
    and those that it names where nothing shows whose they are, which is said."""
    sandbox.run(["ip", "link", "add", "eth9", "up", "type", "bridge"])
    sandbox.run(["ip", "addr", "add", "10.7.0.1/24", "dev", "eth9"])
    before = sandbox.dump()
    body = """
    eth9 = Link.get("eth9")
    a = Netns("a")
    br0 = Bridge("br0", netns=a, addresses=["10.0.0.1/24"])
    Address("10.7.0.8/24", dev=eth9)
    Route("far", dst="10.6.0.0/16", dev=eth9)
    Sysctl("net.ipv4.conf.all.rp_filter", value=2)
    """
    path = stack_file(tmp_path, body)
    sandbox.netdsl("up", str(path), "--yes")
    sandbox.run(["ip", "-n", "a", "link", "add", "other", "type", "bridge"])
    sandbox.run(["ip", "-n", "a", "route", "add", "10.5.0.0/16", "dev", "br0"])
    lose(sandbox)
    said = sandbox.netdsl("state", "recover", str(path)).stdout
    assert said.splitlines() == [
        "stack lab: 4 resources recovered",
        "  left alone, nothing says whose it is: Address '10.7.0.8/24 dev eth9'",
        "  left alone, nothing says whose it is: Sysctl 'net/ipv4/conf/all/rp_filter'",
        f"  take over what is the stack's: netdsl up {path} --adopt",
    ]
    assert {item["name"] for item in recorded(sandbox)} == {"far", "br0", "a", "10.0.0.1/24 dev br0"}
    assert "netns a holds a link that is not this stack's: other" in error(
        sandbox.netdsl("destroy", "--yes", check=False), 1
    )
    sandbox.run(["ip", "-n", "a", "link", "del", "other"])
    sandbox.netdsl("up", str(path), "--adopt", "--yes")
    assert pending(sandbox, path) == []
    sandbox.netdsl("destroy", "--yes")
    sandbox.run(["ip", "addr", "del", "10.7.0.8/24", "dev", "eth9"])
    sandbox.run(["sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0"])
    assert sandbox.dump() == before


def test_what_was_taken_over_is_still_given_back(sandbox: Sandbox, tmp_path: Path) -> None:
    """A link that the stack had taken over is told from one that it made: it is said, and destroy leaves it, with what
    was on it."""
    sandbox.run(["ip", "link", "add", "br9", "up", "type", "bridge"])
    sandbox.run(["ip", "addr", "add", "10.7.0.1/24", "dev", "br9"])
    before = sandbox.dump()
    path = stack_file(tmp_path, 'Bridge("br9", addresses=["10.7.0.1/24"], opts=Opts(adopt=True))\nBridge("br1")')
    sandbox.netdsl("up", str(path), "--yes")
    lose(sandbox)
    assert sandbox.netdsl("state", "recover", str(path)).stdout.splitlines() == [
        "stack lab: 2 resources recovered",
        "  kept when it is destroyed, since it seems to have been taken over: Bridge 'br9'",
        "  left alone, nothing says whose it is: Address '10.7.0.1/24 dev br9'",
        f"  take over what is the stack's: netdsl up {path} --adopt",
    ]
    assert [(c["name"], c["adopts"]) for c in pending(sandbox, path)] == [("10.7.0.1/24 dev br9", True)]
    sandbox.netdsl("up", str(path), "--yes")
    sandbox.netdsl("destroy", "--yes")
    assert sandbox.dump() == before


def test_stacks_in_one_netns_are_told_apart(sandbox: Sandbox, tmp_path: Path) -> None:
    """Of two stacks in one netns each gets its own links back, and a route that the other has on record stays that
    one's."""
    sandbox.run(["ip", "netns", "add", "a"])
    sandbox.run(["ip", "-n", "a", "link", "set", "lo", "up"])
    before = sandbox.dump()
    route = 'Route("{0}", dst="10.{1}.0.0/16", dev=Link.get("lo"))'
    body = 'with Netns.get("a"):\n    Bridge("br-{0}", addresses=["10.{1}.1.1/24"])\n    ' + route
    one, two = (stack_file(tmp_path, body.format(name, n), name) for name, n in (("one", 1), ("two", 2)))
    for path in (one, two):
        sandbox.netdsl("up", str(path), "--yes")
    owned = {name: recorded(sandbox, name) for name in ("one", "two")}
    lose(sandbox)
    assert sandbox.netdsl("state", "recover", str(two)).stdout == "stack two: 3 resources recovered\n"
    both = one.read_text() + '\n    with Netns.get("a"):\n        ' + route.format("stolen", 2) + "\n"
    own = one.read_text()
    one.write_text(both)
    assert sandbox.netdsl("state", "recover", str(one)).stdout.splitlines() == [
        "stack one: 3 resources recovered",
        "  left alone, another stack has it on record: Route 'stolen' in netns a",
    ]
    one.write_text(own)
    assert {name: recorded(sandbox, name) for name in ("one", "two")} == owned
    for path in (one, two):
        assert pending(sandbox, path) == []
        sandbox.netdsl("destroy", str(path), "--yes")
    assert sandbox.dump() == before


def test_without_the_program_links_and_namespaces_are_found(sandbox: Sandbox, tmp_path: Path) -> None:
    """By its name alone a stack gets its namespaces and links back, veth pairs across namespaces among them; destroy
    then leaves nothing, and a plan asks for the file."""
    before = sandbox.dump()
    path = stack_file(tmp_path, HOST)
    sandbox.netdsl("up", str(path), "--yes")
    lose(sandbox)
    path.unlink()
    said = sandbox.netdsl("state", "recover", "lab").stdout.splitlines()
    assert said[0] == "stack lab: 8 resources recovered"
    assert "without the program only namespaces and links are found" in said[1]
    assert "no program is recorded for stack lab" in error(sandbox.netdsl("plan", "lab", check=False), 2)
    sandbox.netdsl("destroy", "lab", "--yes")
    assert sandbox.dump() == before


def test_there_has_to_be_something_to_recover(sandbox: Sandbox, tmp_path: Path) -> None:
    """A name that nothing bears the mark of, one that is none, and a stack that has a state are errors that change
    nothing."""
    path = stack_file(tmp_path, HOST)
    for argument in ("lab", str(path)):
        said = error(sandbox.netdsl("state", "recover", argument, check=False), 1)
        assert "nothing in the kernel is marked as stack lab's" in said
    assert "is no stack name" in error(sandbox.netdsl("state", "recover", "lab", "--name", "../x", check=False), 2)
    assert sandbox.netdsl("list").stdout.startswith("no stacks are recorded")
    sandbox.netdsl("up", str(path), "--yes")
    owned = recorded(sandbox)
    for argument in ("lab", str(path)):
        assert "stack lab has a state" in error(sandbox.netdsl("state", "recover", argument, check=False), 2)
    assert recorded(sandbox) == owned


def test_nat_is_found_by_the_comment_of_its_table(sandbox: Sandbox, tmp_path: Path) -> None:
    """A table of nf_tables bears its mark in its comment."""
    gateway = str(STACKS / "nat_gateway.py")
    before = sandbox.dump()
    sandbox.netdsl("up", gateway, "--yes")
    owned = recorded(sandbox)
    lose(sandbox)
    assert f"{len(owned)} resources recovered" in sandbox.netdsl("state", "recover", gateway).stdout
    assert pending(sandbox, gateway) == []
    sandbox.netdsl("destroy", "--yes")
    assert sandbox.dump() == before
