"""What netdsl remembers: the state, what survives in it, and how a run that was killed is settled."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from sandbox import Sandbox

Done = subprocess.CompletedProcess[str]

STACKS = Path(__file__).parent.parent / "stacks"
NETDSL = [sys.executable, "-m", "netdsl"]


def stack_file(folder: Path, body: str, params: str = "") -> Path:
    """A file with one stack, `lab`."""
    path = folder / "lab.py"
    body = textwrap.indent(textwrap.dedent(body).strip(), "    ")
    path.write_text(f"from netdsl import *\n\n@stack\ndef lab({params}):\n{body}\n")
    return path


def state_dir(sandbox: Sandbox) -> Path:
    """Where the sandbox's netdsl keeps its states."""
    return Path(sandbox.env["NETDSL_STATE_DIR"])


def pending(sandbox: Sandbox, *args: str) -> list[dict[str, Any]]:
    """The changes that a plan shows."""
    changes: list[dict[str, Any]] = json.loads(sandbox.netdsl("plan", *args, "--json").stdout)["changes"]
    return changes


def recorded(sandbox: Sandbox, *args: str) -> dict[str, dict[str, Any]]:
    """The resources in a state, by their logical names."""
    resources = json.loads(sandbox.netdsl("state", "export", *args).stdout)["resources"]
    return {resource["urn"]: resource for resource in resources}


def links(sandbox: Sandbox) -> dict[str, dict[str, Any]]:
    """The links beside lo, by name."""
    return {link["ifname"]: link for link in sandbox.ip("link", "show") if link["ifname"] != "lo"}


# The files

TWO_LINKS = """
br0 = Bridge("br0", mtu=1400, addresses=["10.0.0.1/24"])
Vxlan("vtep", vni=7, dev=br0)
return {"mac": br0.mac, "ports": [1, 2], "fast": True, "none": None, "inner": {"bridge": br0}}
"""


def test_files_are_private(sandbox: Sandbox, tmp_path: Path) -> None:
    """Only their owner may look into the state directory and its files, whatever the umask says."""
    path = stack_file(tmp_path, TWO_LINKS)
    sandbox.run(["sh", "-c", 'umask 0; exec "$@"', "sh", *NETDSL, "up", str(path), "--yes"])
    sandbox.run(["sh", "-c", 'umask 0; exec "$@"', "sh", *NETDSL, "state", "export", "-o", str(tmp_path / "copy")])
    folder = state_dir(sandbox)
    modes = {file.name: oct(stat.S_IMODE(file.stat().st_mode)) for file in (folder, *folder.iterdir())}
    assert modes == {folder.name: "0o700", "lab.db": "0o600", "lab.lock": "0o600"}
    assert stat.S_IMODE((tmp_path / "copy").stat().st_mode) == 0o600


def test_the_state_can_be_read(sandbox: Sandbox, tmp_path: Path) -> None:
    """list names every resource, show prints one of them, and export everything, as versioned JSON."""
    path = stack_file(tmp_path, TWO_LINKS)
    sandbox.netdsl("up", str(path), "--yes")
    urns = ["::::address::10.0.0.1/24 dev br0", "::::bridge::br0", "::::vxlan::vtep"]
    assert sandbox.netdsl("state", "list").stdout.splitlines() == urns
    whole = json.loads(sandbox.netdsl("state", "export", "lab").stdout)
    assert (whole["version"], whole["stack"], whole["meta"]["program"]) == (1, "lab", f"{path}:lab")
    assert [resource["urn"] for resource in whole["resources"]] == urns
    bridge = json.loads(sandbox.netdsl("state", "show", "bridge::br0", "lab").stdout)
    assert bridge == whole["resources"][1]
    assert (bridge["kind"], bridge["props"]["mtu"], bridge["where"]) == ("bridge", 1400, f"{path}:5")
    sandbox.netdsl("state", "export", "--output", str(tmp_path / "copy"))
    assert json.loads((tmp_path / "copy").read_text()) == whole


def test_one_resource_is_found_by_its_name(sandbox: Sandbox, tmp_path: Path) -> None:
    """state show takes a resource's own name, also where others end with it; to mean several is an error."""
    path = stack_file(tmp_path, TWO_LINKS)
    sandbox.netdsl("up", str(path), "--yes")
    assert json.loads(sandbox.netdsl("state", "show", "br0").stdout)["urn"] == "::::bridge::br0"
    done = sandbox.netdsl("state", "show", "0", check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "has 2 resources '0'" in done.stderr


def test_recorded_stacks_are_listed(sandbox: Sandbox, tmp_path: Path) -> None:
    """list shows each stack with its number of resources and its program, also as JSON."""
    path = stack_file(tmp_path, 'Bridge(link, addresses=["10.0.0.1/24"])', "link: str")
    for name in ("one", "two"):
        sandbox.netdsl("up", str(path), "--yes", "--name", name, "-p", f"link={name}")
    lines = sandbox.netdsl("list").stdout.splitlines()
    assert [line.split() for line in lines] == [[name, "2", "resources", f"{path}:lab"] for name in ("one", "two")]
    listed = json.loads(sandbox.netdsl("list", "--json").stdout)
    assert (listed["version"], listed["state_dir"]) == (1, str(state_dir(sandbox)))
    assert [(row["stack"], row["resources"], row["program"]) for row in listed["stacks"]] == [
        ("one", 2, f"{path}:lab"),
        ("two", 2, f"{path}:lab"),
    ]


def test_two_instances_of_one_program(sandbox: Sandbox, tmp_path: Path) -> None:
    """--name makes instances of one program that have parameters and fates of their own."""
    path = stack_file(tmp_path, "Bridge(link)", "link: str")
    for name in ("one", "two"):
        sandbox.netdsl("up", str(path), "--yes", "--name", name, "-p", f"link={name}-br")
    assert set(links(sandbox)) == {"one-br", "two-br"}
    assert pending(sandbox, "one") == pending(sandbox, str(path), "--name", "two") == []
    sandbox.netdsl("destroy", str(path), "--name", "one", "--yes")
    assert set(links(sandbox)) == {"two-br"}
    assert sandbox.netdsl("list").stdout.split()[0] == "two"


@pytest.mark.parametrize(
    "command", ["plan", "up --yes", "outputs", "show", "graph", "state list", "state export", "destroy --yes"]
)
def test_without_an_argument_the_only_stack_is_meant(sandbox: Sandbox, tmp_path: Path, command: str) -> None:
    """Without an argument the only recorded stack is meant; where there are two, exit code 2 and their names."""
    path = stack_file(tmp_path, "Bridge(link)\nreturn link", "link: str")
    sandbox.netdsl("up", str(path), "--yes", "--name", "one", "-p", "link=br0")
    sandbox.netdsl("up", str(path), "--yes", "--name", "two", "-p", "link=br1")
    done = sandbox.netdsl(*command.split(), check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "which stack?" in done.stderr
    assert "one and two" in done.stderr
    sandbox.netdsl("destroy", "two", "--yes")
    done = sandbox.netdsl(*command.split())
    assert "br0" in done.stdout
    assert "br1" not in done.stdout


# Parameters and outputs


def test_parameters_persist(sandbox: Sandbox, tmp_path: Path) -> None:
    """A parameter once given holds until another value is given or --reset-params, and every plan shows it."""
    body = 'for number in range(count):\n    Bridge(f"{prefix}{number}", up=up)'
    path = stack_file(tmp_path, body, 'count: int = 1, prefix: str = "br", up: bool = True')
    sandbox.netdsl("up", str(path), "--yes", "-p", "count=3", "-p", "up=no")
    assert {name: link["flags"].count("UP") for name, link in links(sandbox).items()} == {"br0": 0, "br1": 0, "br2": 0}
    for argument in ([], ["lab"], [str(path)]):
        plan = sandbox.netdsl("plan", *argument).stdout
        assert plan.splitlines()[0].split() == ["lab", "count=3", "prefix=br", "up=false"]
        assert "no changes" in plan
    assert json.loads(sandbox.netdsl("plan", "--json").stdout)["params"] == {"count": 3, "prefix": "br", "up": False}
    sandbox.netdsl("up", "--yes", "-p", "count=2")
    assert set(links(sandbox)) == {"br0", "br1"}
    assert "no changes" in sandbox.netdsl("plan").stdout
    reset = sandbox.netdsl("up", "--yes", "--reset-params").stdout
    assert reset.splitlines()[0].split() == ["lab", "count=1", "prefix=br", "up=true"]
    assert {name: link["flags"].count("UP") for name, link in links(sandbox).items()} == {"br0": 1}
    assert "no changes" in sandbox.netdsl("plan").stdout


def test_parameters_come_from_a_file_and_the_command_line(sandbox: Sandbox, tmp_path: Path) -> None:
    """--params reads typed values from TOML; -p goes over them."""
    path = stack_file(tmp_path, "for name in names:\n    Bridge(name, mtu=mtu)", "names: list[str], mtu: int = 1500")
    (tmp_path / "lab.toml").write_text('names = ["a", "b"]\nmtu = 1300\n')
    sandbox.netdsl("up", str(path), "--yes", "--params", str(tmp_path / "lab.toml"), "-p", "mtu=1400")
    assert {name: link["mtu"] for name, link in links(sandbox).items()} == {"a": 1400, "b": 1400}
    assert pending(sandbox) == []


def test_a_parameter_that_is_gone_is_dropped_with_a_note(sandbox: Sandbox, tmp_path: Path) -> None:
    """A recorded parameter that the program no longer has is said to be dropped."""
    sandbox.netdsl("up", str(stack_file(tmp_path, 'Bridge("br0")', "size: int = 1")), "--yes", "-p", "size=2")
    stack_file(tmp_path, 'Bridge("br0")')
    plan = sandbox.netdsl("plan").stdout
    assert "note: Parameter size is no longer one of the stack's" in plan
    assert "no changes" in plan


def test_outputs_persist(sandbox: Sandbox, tmp_path: Path) -> None:
    """outputs prints what the last up returned, all of it, one output bare, or JSON; without the program too."""
    path = stack_file(tmp_path, TWO_LINKS)
    up = sandbox.netdsl("up", str(path), "--yes").stdout
    path.unlink()
    mac = links(sandbox)["br0"]["address"]
    bare = {"mac": mac, "ports": "1,2", "fast": "true", "none": "(none)"}
    lines = [*(f"{name} = {value}" for name, value in bare.items()), "inner.bridge = ::::bridge::br0"]
    assert sandbox.netdsl("outputs").stdout.splitlines() == lines
    assert [line.strip() for line in up.splitlines()[-len(lines) :]] == lines
    for name, value in bare.items():
        assert sandbox.netdsl("outputs", "lab", name).stdout == f"{value}\n"
    assert sandbox.netdsl("outputs", "lab", "inner").stdout == "bridge = ::::bridge::br0\n"
    whole = {"mac": mac, "ports": [1, 2], "fast": True, "none": None, "inner": {"bridge": "::::bridge::br0"}}
    as_json = {"version": 1, "stack": "lab", "outputs": whole}
    assert json.loads(sandbox.netdsl("outputs", "--json").stdout) == as_json
    assert json.loads(sandbox.netdsl("outputs", "lab", "ports", "--json").stdout) == [1, 2]
    done = sandbox.netdsl("outputs", "lab", "size", check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "no output 'size'" in done.stderr
    assert "mac, ports, fast, none and inner" in done.stderr


def test_outputs_alone_can_change(sandbox: Sandbox, tmp_path: Path) -> None:
    """up records new outputs although there is nothing to do in the kernel."""
    for word in ("first", "second"):
        sandbox.netdsl("up", str(stack_file(tmp_path, f'Bridge("br0")\nreturn {{"word": "{word}"}}')), "--yes")
        assert sandbox.netdsl("outputs", "lab", "word").stdout == f"{word}\n"


# Killed


def traced(call: str, follow: bool, *options: str) -> list[str]:
    """strace of one system call, in the main thread or (`follow`) in all."""
    return ["strace", *(["-f"] if follow else []), "-qq", "-e", f"trace={call}", *options, *NETDSL]


def times(sandbox: Sandbox, tmp_path: Path, call: str, follow: bool, *argv: str) -> int:
    """How often a netdsl command makes a system call, in the thread that does it most often."""
    log = tmp_path / "log"
    sandbox.run([*traced(call, follow, "-o", str(log)), *argv])
    calls = [line for line in log.read_text().splitlines() if "resumed>" not in line]
    threads = Counter(line.split()[0] if follow else "" for line in calls)
    return max(threads.values(), default=0)


def killed(sandbox: Sandbox, call: str, follow: bool, number: int, *argv: str) -> None:
    """Run a netdsl command that is killed when it makes a system call for the `number`th time."""
    inject = f"inject={call}:signal=KILL:when={number}"
    done = sandbox.run([*traced(call, follow, "-e", inject, "-o", os.devnull), *argv], check=False)
    assert done.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL), done


def spread(first: int, last: int, most: int) -> range:
    """Some of the numbers from first to last."""
    return range(first, last + 1, -(-(last - first + 1) // most))


def works(sandbox: Sandbox) -> bool:
    """Whether the containers of the two-node lab reach each other."""
    return sandbox.ping("ns245", "172.246.0.2").received == 1


OVERLAY = str(STACKS / "two_node_vxlan.py")
MAKING = {
    "sending": ("sendto", False),
    "making a netns": ("unshare", True),
    "naming a netns": ("mount", True),
    "writing the state": ("fdatasync", False),
    "committing the state": ("unlink", False),
}
TAKING = {
    "sending": ("sendto", False),
    "dropping a netns": ("umount2", False),
    "writing the state": ("fdatasync", False),
    "committing the state": ("unlink", False),
}


@pytest.mark.slow
@pytest.mark.parametrize(("call", "follow"), MAKING.values(), ids=MAKING)
def test_up_that_was_killed_is_settled(sandbox: Sandbox, tmp_path: Path, call: str, follow: bool) -> None:
    """Killed at any point of up: the next up finishes it and then there is nothing left to do; or destroy, which leaves
    nothing."""
    before = sandbox.dump()
    for _ in range(2):  # the first also makes /run/netns what it has to be, once
        total = times(sandbox, tmp_path, call, follow, "up", OVERLAY, "--yes")
        sandbox.netdsl("destroy", OVERLAY, "--yes")
    for turn, number in enumerate(spread(1, total, 5)):
        killed(sandbox, call, follow, number, "up", OVERLAY, "--yes")
        if turn % 2 == 0:
            sandbox.netdsl("up", OVERLAY, "--yes")
            assert pending(sandbox, OVERLAY) == [], f"after {call} {number}"
            sandbox.wait_until(lambda: works(sandbox))
        sandbox.netdsl("destroy", OVERLAY, "--yes")
        assert sandbox.dump() == before, f"after {call} {number}"
        assert list(state_dir(sandbox).glob("*.db*")) == []


@pytest.mark.slow
@pytest.mark.parametrize(("call", "follow"), TAKING.values(), ids=TAKING)
def test_destroy_that_was_killed_is_settled(sandbox: Sandbox, tmp_path: Path, call: str, follow: bool) -> None:
    """Killed at any point of destroy: the next destroy leaves nothing; or up, after which all is there again."""
    before = sandbox.dump()
    sandbox.netdsl("up", OVERLAY, "--yes")
    total = times(sandbox, tmp_path, call, follow, "destroy", OVERLAY, "--yes")
    for turn, number in enumerate(spread(1, total, 5)):
        sandbox.netdsl("up", OVERLAY, "--yes")
        killed(sandbox, call, follow, number, "destroy", OVERLAY, "--yes")
        if turn % 2 == 1:
            sandbox.netdsl("up", OVERLAY, "--yes")
            assert pending(sandbox, OVERLAY) == [], f"after {call} {number}"
            sandbox.wait_until(lambda: works(sandbox))
        sandbox.netdsl("destroy", OVERLAY, "--yes")
        assert sandbox.dump() == before, f"after {call} {number}"
        assert list(state_dir(sandbox).glob("*.db*")) == []


@pytest.mark.slow
def test_a_replacement_that_was_killed_is_settled(sandbox: Sandbox, tmp_path: Path) -> None:
    """Killed while tunnels are replaced with all that falls with them: the next up finishes it."""
    up = ["up", OVERLAY, "--yes"]
    sandbox.netdsl(*up)
    observing = times(sandbox, tmp_path, "sendto", False, "plan", OVERLAY, "-p", "vni=2")
    total = times(sandbox, tmp_path, "sendto", False, *up, "-p", "vni=2")
    vni = 2
    for number in spread(observing + 1, total, 8):
        vni += 1
        killed(sandbox, "sendto", False, number, *up, "-p", f"vni={vni}")
        sandbox.netdsl(*up, "-p", f"vni={vni}")
        assert pending(sandbox, OVERLAY) == [], f"after {number} sends"
        assert sandbox.ip("link", "show", "vtep245", netns="vm1")[0]["linkinfo"]["info_data"]["id"] == vni
        sandbox.wait_until(lambda: works(sandbox))


def test_a_restart_is_announced(sandbox: Sandbox, tmp_path: Path, make_sandbox: Callable[[], Sandbox]) -> None:
    """After a restart plan and up say so in a note; up makes everything again, and then the note is gone."""
    path = stack_file(tmp_path, 'Bridge("br0", netns=Netns("n"))\nBridge("br1")')
    sandbox.netdsl("up", str(path), "--yes")
    assert "note:" not in sandbox.netdsl("plan").stdout
    restarted = make_sandbox()  # another network, as the same machine has after a boot
    shutil.copytree(state_dir(sandbox), state_dir(restarted))
    with closing(sqlite3.connect(state_dir(restarted) / "lab.db")) as connection:
        connection.execute("""UPDATE meta SET value = '"another boot"' WHERE key = 'boot_id'""")
        connection.commit()
    for done in (restarted.netdsl("plan"), restarted.netdsl("up", "--yes")):
        assert done.stdout.count("note: The machine was restarted") == 1
        assert "3 to create" in done.stdout
    again = restarted.netdsl("plan").stdout
    assert "note:" not in again
    assert "no changes" in again


# What the program says of names and options


class Monitor:
    """What the kernel announces of changes in the first namespace."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        child = sandbox.popen(["ip", "-o", "monitor", "link", "address", "route", "neigh"])
        assert child.stdout
        self._fd = child.stdout.fileno()
        os.set_blocking(self._fd, False)
        self._text = ""
        self._marks = 0
        sandbox.wait_until(lambda: self._set_mark() in self._read())  # it listens now

    def _set_mark(self) -> str:
        """Change something that nobody else changes; what the kernel says of it."""
        self._marks += 1
        self._sandbox.ip("link", "set", "lo", "group", str(self._marks))
        return f" group {self._marks} "

    def _read(self) -> str:
        with suppress(BlockingIOError):
            self._text += os.read(self._fd, 1 << 20).decode()
        return self._text

    def lines(self) -> list[str]:
        """What was announced since the last call."""
        mark = self._set_mark()
        self._sandbox.wait_until(lambda: mark in self._read())
        found = [line for line in self._text.splitlines() if ": lo: " not in line]
        self._text = ""
        return found


@pytest.fixture
def monitor(sandbox: Sandbox) -> Monitor:
    """A monitor of the sandbox, running."""
    return Monitor(sandbox)


BEFORE = """
br0 = Bridge("br0", addresses=["10.0.0.1/24"])
Route("old", dst="10.8.0.0/24", via="10.0.0.2", dev=br0)
"""
AFTER = """
class Switch(Component):
    def __init__(self, name):
        super().__init__(name)
        with self:
            self.bridge = Bridge("br0", addresses=["10.0.0.1/24"])
br0 = Switch("switch").bridge
Route("new", dst="10.8.0.0/24", via="10.0.0.2", dev=br0)
"""


def test_a_new_name_is_a_move(sandbox: Sandbox, tmp_path: Path, monitor: Monitor) -> None:
    """Resources that get other names in the program, but are the same to the kernel, are recorded anew; nothing is
    written to the kernel."""
    path = stack_file(tmp_path, BEFORE)
    sandbox.netdsl("up", str(path), "--yes")
    assert any("br0" in line for line in monitor.lines())
    stack_file(tmp_path, AFTER)
    moves = {change["urn"]: (change["action"], change["moved_from"]) for change in pending(sandbox)}
    assert moves == {
        "switch::::bridge::br0": ("same", "::::bridge::br0"),
        "switch::::address::10.0.0.1/24 dev br0": ("same", "::::address::10.0.0.1/24 dev br0"),
        "::::route::new": ("same", "::::route::old"),
    }
    up = sandbox.netdsl("up", "--yes").stdout
    assert "3 to record anew" in up
    assert "route new  (was ::::route::old)" in up
    assert monitor.lines() == []
    assert set(recorded(sandbox)) == set(moves)
    assert pending(sandbox) == []


def test_a_new_name_of_what_is_gone(sandbox: Sandbox, tmp_path: Path) -> None:
    """A resource that gets another name while its object is missing in the kernel has one record afterwards."""
    path = stack_file(tmp_path, BEFORE)
    sandbox.netdsl("up", str(path), "--yes")
    sandbox.ip("link", "del", "br0")
    stack_file(tmp_path, AFTER)
    sandbox.netdsl("up", "--yes")
    assert pending(sandbox) == []
    assert {urn.rpartition("::")[2] for urn in recorded(sandbox)} == {"br0", "10.0.0.1/24 dev br0", "new"}
    assert len(recorded(sandbox)) == 3


def test_a_lost_mark_is_written_again(sandbox: Sandbox, tmp_path: Path) -> None:
    """A link that is the stack's by its ifindex, but has lost the mark that says so, is given it again."""
    sandbox.netdsl("up", str(stack_file(tmp_path, 'Bridge("br0")')), "--yes")
    sandbox.ip("link", "property", "del", "dev", "br0", "altname", "netdsl:lab:br0")
    (change,) = pending(sandbox)
    assert (change["action"], change["reason"]) == ("update", "the mark that makes it this stack's is missing")
    sandbox.netdsl("up", "--yes")
    assert links(sandbox)["br0"]["altnames"] == ["netdsl:lab:br0"]
    assert pending(sandbox) == []


def test_an_alias_keeps_the_record(sandbox: Sandbox, tmp_path: Path) -> None:
    """A resource that changes both name and identity is followed by its alias: the new one comes, the old one goes."""
    path = stack_file(tmp_path, 'Bridge("br0")\nBridge("other")')
    sandbox.netdsl("up", str(path), "--yes")
    stack_file(tmp_path, 'Bridge("br1", opts=Opts(aliases=["br0"]))\nBridge("other", opts=Opts(aliases=["none"]))')
    (made,) = [change for change in pending(sandbox) if change["action"] == "create"]
    assert (made["urn"], made["moved_from"]) == ("::::bridge::br1", "::::bridge::br0")
    sandbox.netdsl("up", "--yes")
    assert set(links(sandbox)) == {"br1", "other"}
    assert set(recorded(sandbox)) == {"::::bridge::br1", "::::bridge::other"}
    assert pending(sandbox) == []


def test_a_property_taken_out_goes_back(sandbox: Sandbox, tmp_path: Path) -> None:
    """A property that the program no longer names goes back to what the kernel gave it, a sysctl to what was found; the
    plan shows it, and the state forgets it."""
    sandbox.run(["sysctl", "-qw", "net.ipv4.tcp_syn_retries=3"])
    options = 'mtu=1400, alias="mine", ageing_time=100'
    full = 'Bridge("br0", {options})\nSysctl("net.ipv4.tcp_syn_retries", value=5)'
    sandbox.netdsl("up", str(stack_file(tmp_path, full.format(options=options))), "--yes")
    assert sandbox.run(["sysctl", "-n", "net.ipv4.tcp_syn_retries"]).stdout == "5\n"
    stack_file(tmp_path, 'Bridge("br0")')
    diffs = {change["urn"]: change["diff"] for change in pending(sandbox)}
    assert diffs["::::bridge::br0"] == {
        "mtu": {"have": 1400, "want": 1500},
        "alias": {"have": "mine", "want": ""},
        "ageing_time": {"have": 100, "want": 300},
    }
    sandbox.netdsl("up", "--yes")
    link = links(sandbox)["br0"]
    assert (link["mtu"], link.get("ifalias"), link["linkinfo"]["info_data"]["ageing_time"]) == (1500, None, 30000)
    assert sandbox.run(["sysctl", "-n", "net.ipv4.tcp_syn_retries"]).stdout == "3\n"
    assert set(recorded(sandbox)["::::bridge::br0"]["props"]) == {"mac", "up"}
    assert pending(sandbox) == []


def test_ignored_changes_are_left_alone(sandbox: Sandbox, tmp_path: Path) -> None:
    """An ignored property is set on creation; neither drift nor a new value in the program is a change."""
    body = 'Bridge("br0", mtu={mtu}, group=5, opts=Opts(ignore_changes=["mtu"]))'
    path = stack_file(tmp_path, body.format(mtu=1400))
    sandbox.netdsl("up", str(path), "--yes")
    assert links(sandbox)["br0"]["mtu"] == 1400
    sandbox.ip("link", "set", "br0", "mtu", "1300", "group", "6")
    stack_file(tmp_path, body.format(mtu=1200))
    assert [change["diff"] for change in pending(sandbox)] == [{"group": {"have": 6, "want": 5}}]
    sandbox.netdsl("up", "--yes")
    assert (links(sandbox)["br0"]["mtu"], links(sandbox)["br0"]["group"]) == (1300, "5")
    assert pending(sandbox) == []


@pytest.mark.parametrize("how", ["destroy", "taken out"])
@pytest.mark.parametrize("later", [False, True], ids=["from the start", "added later"])
def test_what_is_to_be_retained_stays(sandbox: Sandbox, tmp_path: Path, how: str, later: bool) -> None:
    """A resource with retain_on_delete is forgotten, not deleted, whether by destroy or by taking it out."""
    retained = 'Bridge("kept", opts=Opts(retain_on_delete=True))\nBridge("gone")'
    if later:
        sandbox.netdsl("up", str(stack_file(tmp_path, 'Bridge("kept")\nBridge("gone")')), "--yes")
    path = stack_file(tmp_path, retained)
    sandbox.netdsl("up", str(path), "--yes")
    if how == "destroy":
        done = sandbox.netdsl("destroy", "--yes")
    else:
        stack_file(tmp_path, "...")
        done = sandbox.netdsl("up", "--yes")
        assert recorded(sandbox) == {}
    assert "bridge kept  (retain_on_delete)" in done.stdout
    assert "1 to delete, 1 to forget" in done.stdout
    assert set(links(sandbox)) == {"kept"}


CHAIN = """
d = Bridge("d")
a = Bridge("a", opts=Opts(depends_on=[d]))
wanted = []
c = Bridge("c", opts=Opts(depends_on=wanted))
b = Vxlan("b", vni=1, opts=Opts(depends_on=[a]))
wanted.append(b)
"""


def order(lines: Sequence[str]) -> Iterator[str]:
    """The names of links in the order in which they are first announced."""
    names = [line.removeprefix("Deleted ").split(": ")[1] for line in lines if ": " in line and "link/ether" in line]
    return iter(dict.fromkeys(names))


def test_depends_on_decides_the_order(sandbox: Sandbox, tmp_path: Path, monitor: Monitor) -> None:
    """What depends on another is made after it and taken away before it."""
    sandbox.netdsl("up", str(stack_file(tmp_path, CHAIN)), "--yes")
    assert list(order(monitor.lines())) == ["d", "a", "b", "c"]
    sandbox.netdsl("destroy", "--yes")
    gone = [line for line in monitor.lines() if line.startswith("Deleted")]
    assert list(order(gone)) == ["c", "b", "a", "d"]


def test_a_bridge_keeps_its_mtu(sandbox: Sandbox, tmp_path: Path) -> None:
    """The MTU that a bridge was given holds, whatever MTU its ports have and in whatever order they come."""
    path = tmp_path / "lab.py"
    path.write_text("""
from netdsl import *

@stack
def lab():
    first = Bridge("first", mtu=1400)
    port = Veth("port", master=first, mtu=1350, peer=VethEnd("far"))
    second = Bridge("second", mtu=1500, opts=Opts(depends_on=[port]))
    Veth("low", master=second, mtu=1300, peer=VethEnd("end", master=first))
""")
    sandbox.netdsl("up", str(path), "--yes")
    assert [sandbox.ip("link", "show", name)[0]["mtu"] for name in ("first", "second")] == [1400, 1500]


def test_neighbours_outlast_a_change_of_address(sandbox: Sandbox, tmp_path: Path) -> None:
    """When the last IPv4 address of a link is changed the kernel drops the neighbours there; they are made again."""
    body = 'br = Bridge("br", addresses=["10.0.{}.1/24"])\nNeighbor("10.9.0.1", dev=br, lladdr="02:00:00:00:00:01")'
    for number in (1, 2):
        sandbox.netdsl("up", str(stack_file(tmp_path, body.format(number))), "--yes")
        assert pending(sandbox) == []


def test_a_bridge_keeps_an_mtu_that_it_had_by_chance(sandbox: Sandbox, tmp_path: Path) -> None:
    """A bridge that follows its port's MTU, and is then given just that one, keeps it when the port goes; so does one
    that is taken over with the MTU that it has."""
    sandbox.run(["ip", "link", "add", "found", "type", "bridge"])
    path = tmp_path / "lab.py"
    path.write_text("""
from netdsl import *

@stack
def lab(step: int = 0):
    first = Bridge("first", mtu=[None, 1400, 1400][step])
    found = Bridge("found", mtu=[None, 1500, 1500][step], opts=Opts(adopt=True))
    if step == 0:
        Veth("port", master=first, mtu=1400, peer=VethEnd("far"))
    if step == 2:
        Veth("port", master=found, mtu=1400, peer=VethEnd("far"))
""")
    for step, mtus in enumerate(([1400, 1500], [1400, 1500], [1400, 1500])):
        sandbox.netdsl("up", str(path), "--yes", "-p", f"step={step}")
        assert [sandbox.ip("link", "show", name)[0]["mtu"] for name in ("first", "found")] == mtus
        assert sandbox.netdsl("plan", "lab", "--detailed-exitcode", check=False).returncode == 0
