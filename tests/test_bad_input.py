"""What happens when something is wrong: one clear error, the right exit code, and nothing touched."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from sandbox import Picture, Sandbox

pytestmark = pytest.mark.kernel  # the quiet sandbox is not found by name

Done = subprocess.CompletedProcess[str]
Spoil = Callable[[Path], None]

HEAD = "from netdsl import *\n"


class Quiet(NamedTuple):
    """A sandbox in which nothing is to happen, and its picture from before."""

    sandbox: Sandbox
    before: Picture

    def untouched(self) -> bool:
        """Whether kernel and state are as they were: empty."""
        return not states(self.sandbox) and self.sandbox.dump() == self.before


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Quiet]:
    """One sandbox for all tests after which it must be as it was before."""
    with Sandbox(tmp_path_factory.mktemp("quiet") / "state") as sandbox:
        yield Quiet(sandbox, sandbox.dump())


def states(sandbox: Sandbox) -> dict[str, bytes]:
    """The state files with their contents."""
    return {path.name: path.read_bytes() for path in Path(sandbox.env["NETDSL_STATE_DIR"]).glob("*.db")}


def stack_file(folder: Path, body: str, name: str = "lab.py") -> Path:
    """A file with one stack, `lab`."""
    path = folder / name
    path.write_text(HEAD + "\n@stack\ndef lab():\n" + textwrap.indent(textwrap.dedent(body).strip(), "    ") + "\n")
    return path


def marked(path: Path) -> list[str]:
    """`file:line` of the lines that carry a comment `# here`."""
    lines = enumerate(path.read_text().splitlines(), 1)
    return [f"{path.name}:{number}" for number, line in lines if line.endswith("# here")]


def the_error(done: Done, code: int = 1) -> str:
    """The one error of a command that ended with this exit code: what, where, and what to do."""
    assert done.returncode == code, done
    assert done.stderr.startswith("error: "), done.stderr
    assert done.stderr.count("error: ") == 1, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return done.stderr


def up(sandbox: Sandbox, *args: str | Path, cwd: Path | None = None) -> Done:
    """`netdsl up ... --yes`, whatever comes of it."""
    return sandbox.netdsl("up", *map(str, args), "--yes", check=False, cwd=cwd)


# Mistakes in a program

PORTS = """
br0 = Bridge("br0")  # here
for number in range(1024):
    Veth(f"port{number}", master=br0, peer=VethEnd(f"plug{number}"))
"""
CYCLE = """
first = []
a = Bridge("a", opts=Opts(depends_on=first))  # here
b = Bridge("b", opts=Opts(depends_on=[a]))  # here
first.append(b)
"""
OFF_LINK = """
br0 = Bridge("br0", addresses=["10.0.0.1/24"])
Route("far", dst="default", via="10.9.0.1", dev=br0)  # here
"""
MISTAKES = {
    "unknown property": ('Bridge("br0", mtuu=1400)  # here', ["Bridge 'br0' has no property 'mtuu'", "mtu,"]),
    "wrong type": ('Bridge("br0", mtu="big")  # here', ["Bridge 'br0': mtu must be a whole number, not 'big'"]),
    "prefix length": (
        'Bridge("br0", addresses=["10.0.0.1/33"])  # here',
        ["Bridge 'br0': addresses: must have a prefix length of 0..32, not '10.0.0.1/33'"],
    ),
    "no prefix": (
        'Bridge("br0", addresses=["10.0.0.1"])  # here',
        ["must be an address in CIDR form like 192.0.2.1/24, not '10.0.0.1'"],
    ),
    "16 bytes of name": ('Bridge("a123456789012345")  # here', ["at most 15 bytes", "'a123456789012345' has 16"]),
    "one identity": (
        'Bridge("br0")\nVxlan("br0", vni=1)  # here',
        ["Vxlan 'br0' and Bridge 'br0' are one kernel object: link br0", "The other one is declared at", "lab.py:5"],
    ),
    "vni": ('Vxlan("v", vni=2**24)  # here', ["Vxlan 'v': vni must be between 0 and 16777215, not 16777216"]),
    "mtu": ('Bridge("br0", mtu=10)  # here', ["Bridge 'br0': mtu must be between 68 and 65535, not 10"]),
    "cycle": (CYCLE, ["dependency cycle", "Bridge 'a' -> Bridge 'b'", "take one of the references or depends_on away"]),
    "gateway": (OFF_LINK, ["Route 'far': gateway 10.9.0.1 is in no connected network of br0", "onlink=True"]),
    "too many ports": (PORTS, ["Bridge 'br0' would have 1024 ports", "the kernel takes 1023", "another bridge"]),
    "no such link": ('Link.get("eth7")  # here', ["Link.get: there is no link 'eth7'"]),
    "no such netns": ('Netns.get("away")  # here', ["Netns.get: there is no netns 'away'"]),
    "exception": ('{}["vni"]  # here', ["the program failed: KeyError: 'vni'"]),
    "exception below": ('import json\njson.loads("{")  # here', ["the program failed: JSONDecodeError: Expecting"]),
    "exit": ("raise SystemExit(0)  # here", ["the program failed: SystemExit: 0"]),
}


@pytest.mark.parametrize(("body", "words"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_at_its_line(quiet: Quiet, tmp_path: Path, body: str, words: Sequence[str]) -> None:
    """plan and up end with exit code 1 and one error at the user's line that says why, and touch nothing."""
    path = stack_file(tmp_path, body)
    for command in (["plan", path.name], ["up", path.name, "--yes"]):
        said = the_error(quiet.sandbox.netdsl(*command, check=False, cwd=tmp_path))
        assert said.removeprefix("error: ").partition(": ")[0] in marked(path)
        assert [word for word in words if word not in said] == []
    assert quiet.untouched()


def test_mistakes_are_told_together(quiet: Quiet, tmp_path: Path) -> None:
    """One run names every mistake, each at its own line."""
    path = stack_file(tmp_path, 'Bridge("br0", mtu=10)  # here\nBridge("br1")\nVxlan("v", vni=-1)  # here')
    done = up(quiet.sandbox, path.name, cwd=tmp_path)
    assert done.returncode == 1
    assert [line.split(": ")[1] for line in done.stderr.splitlines() if line.startswith("error:")] == marked(path)
    assert quiet.untouched()


@pytest.mark.parametrize(("fails", "words"), [(False, "mtu must be between"), (True, "ZeroDivisionError")])
def test_a_mistake_in_an_imported_file_is_told_there(quiet: Quiet, tmp_path: Path, fails: bool, words: str) -> None:
    """A mistake or an exception in a file that the program imports is told at the line of that file."""
    parts = tmp_path / "parts.py"
    parts.write_text(f'{HEAD}def switch():\n    Bridge("br0", mtu=10)  # here\n\ndef fail():\n    1 / 0  # here\n')
    stack_file(tmp_path, f"import parts\nparts.{'fail' if fails else 'switch'}()")
    said = the_error(up(quiet.sandbox, "lab.py", cwd=tmp_path))
    assert said.startswith(f"error: {marked(parts)[fails]}: ")
    assert words in said
    assert quiet.untouched()


# Files, arguments and parameters

GOOD = f'{HEAD}@stack\ndef lab(vni: int = 1, names: list[str] = ()):\n    Bridge("br0")\n'
TWO = f"{HEAD}@stack\ndef one(): ...\n@stack\ndef two(): ...\n"
CALLS = {
    "does not parse": (f"{HEAD}@stack\ndef lab(:\n", "lab.py", 1, "lab.py:3: the file does not parse: "),
    "not indented": (f"{HEAD}def lab():\nBridge()\n", "lab.py", 1, "lab.py:3: the file does not parse: expected an"),
    "no text": (f"{HEAD}\0\n", "lab.py", 1, "lab.py: the file does not parse: "),
    "fails to import": (f"{HEAD}import no_such_module\n", "lab.py", 1, "lab.py:2: the program failed: ModuleNotFound"),
    "no stack": (HEAD, "lab.py", 1, "lab.py: no stack in this file", "Decorate a function with @stack"),
    "several stacks": (TWO, "lab.py", 2, "lab.py has several stacks", "Choose one: lab.py:one or lab.py:two"),
    "no such stack in it": (TWO, "lab.py:three", 2, "lab.py has no stack 'three'", "It has one and two"),
    "missing file": (TWO, "lib.py", 2, "there is no file lib.py"),
    "a folder": (TWO, "./", 2, "there is no file ./"),
    "no such record": (TWO, "lib", 2, "there is no stack 'lib'", "None is recorded in "),
    "which stack": (TWO, "", 2, "which stack?", "None is recorded in "),
    "unknown parameter": (GOOD, "lab.py -p vnii=3", 2, "lab.py:2: the stack has no parameter 'vnii'", "names and vni"),
    "type of a parameter": (GOOD, "lab.py -p vni=x", 2, "lab.py:2: parameter vni: must be a whole number, not 'x'"),
    "no value": (GOOD, "lab.py -p vni", 2, "-p takes name=value, not 'vni'"),
    "required parameter": (GOOD.replace(" = 1", ""), "lab.py", 1, "lab.py:2: parameter vni has no default", "-p vni="),
    "bad TOML": (GOOD, "lab.py --params bad.toml", 2, "bad.toml is no TOML file: ", "line 1"),
    "no TOML": (GOOD, "lab.py --params gone.toml", 2, "gone.toml cannot be read: No such file"),
    "type in TOML": (GOOD, "lab.py --params half.toml", 2, "lab.py:2: parameter vni: must be a whole number, not 0.5"),
    "name": (GOOD, "lab.py --name Lab", 2, "'Lab' is no stack name", "Lower case letters, digits, '_' and '-'"),
    "name is a path": (GOOD, "lab.py --name ../lab", 2, "'../lab' is no stack name"),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_bad_call_is_refused(quiet: Quiet, tmp_path: Path, call: tuple[str, str, int, str, *tuple[str, ...]]) -> None:
    """A file or an argument that makes no sense is refused in one error that says what would; nothing is touched."""
    text, argv, code, start, *words = call
    (tmp_path / "lab.py").write_text(text)
    (tmp_path / "bad.toml").write_text("vni = \n")
    (tmp_path / "half.toml").write_text("vni = 0.5\n")
    for command in (["plan"], ["up", "--yes"]):
        said = the_error(quiet.sandbox.netdsl(*command, *argv.split(), check=False, cwd=tmp_path), code)
        assert said.removeprefix("error: ").startswith(start)
        assert [word for word in words if word not in said] == []
    assert quiet.untouched()


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_up_without_a_terminal_needs_yes(quiet: Quiet, tmp_path: Path, more: list[str]) -> None:
    """up that can neither ask nor was told yes shows the plan and ends with exit code 2."""
    path = stack_file(tmp_path, 'Bridge("br0")')
    done = quiet.sandbox.netdsl("up", str(path), *more, check=False)
    assert "needs a confirmation" in the_error(done, 2)
    assert "give --yes" in done.stderr
    assert "br0" in done.stdout
    assert quiet.untouched()


@pytest.mark.parametrize("argv", [["upp"], ["up", "--force-it"], ["up", "a", "b"], ["graph", "--format", "png"]])
def test_an_unknown_word_on_the_command_line_is_refused(quiet: Quiet, argv: list[str]) -> None:
    """A command, option or choice that does not exist is a usage error with a way to help."""
    done = quiet.sandbox.netdsl(*argv, check=False)
    assert done.returncode == 2
    assert (done.stdout, done.stderr.count("Error: "), "--help" in done.stderr) == ("", 1, True)


# Rights

POWERLESS = {
    "user without rights": ["unshare", "--user"],
    "root without capabilities": ["setpriv", "--inh-caps=-all", "--bounding-set=-all"],
}


@pytest.mark.parametrize("powerless", POWERLESS.values(), ids=POWERLESS)
@pytest.mark.parametrize("body", ['Bridge("br0")', 'Bridge("br0", netns=Netns("n"))'])
def test_without_rights_nothing_is_tried(quiet: Quiet, tmp_path: Path, powerless: list[str], body: str) -> None:
    """Who may not change the network can plan; up says what is missing before it writes anything."""
    netdsl = [*powerless, sys.executable, "-m", "netdsl"]
    path = stack_file(tmp_path, body)
    assert "to create" in quiet.sandbox.run([*netdsl, "plan", str(path)]).stdout
    said = the_error(quiet.sandbox.run([*netdsl, "up", str(path), "--yes"], check=False))
    assert "no permission to change the network" in said
    assert "Run as root" in said
    assert quiet.untouched()


# The state


@pytest.fixture
def lab(sandbox: Sandbox, tmp_path: Path) -> Path:
    """The file of a stack that is up: a bridge."""
    path = stack_file(tmp_path, 'Bridge("br0")')
    assert up(sandbox, path).returncode == 0
    return path


def test_a_locked_stack_names_the_holder(sandbox: Sandbox, tmp_path: Path) -> None:
    """While one process works on a stack others end with exit code 5 and its pid; the lock ends with the process."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    path = stack_file(tmp_path, f'from pathlib import Path\nPath("{gate}").read_text()\nBridge("br0")')
    first = sandbox.popen([sys.executable, "-m", "netdsl", "up", str(path), "--yes"])
    with gate.open("w"):  # opened on both sides: the program is running
        before = sandbox.dump()
        for command in (["up", str(path)], ["up", str(path), "--json"]):
            said = the_error(sandbox.netdsl(*command, "--yes", check=False), 5)
            assert f"stack lab is locked by pid {first.pid} (up)" in said
        assert sandbox.dump() == before
        first.kill()
        first.wait()
    gate.unlink()
    gate.touch()
    assert up(sandbox, path).returncode == 0


def test_destroy_respects_the_lock(sandbox: Sandbox, lab: Path, tmp_path: Path) -> None:
    """destroy of a stack that is being brought up ends with exit code 5."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    stack_file(tmp_path, f'from pathlib import Path\nPath("{gate}").read_text()')
    first = sandbox.popen([sys.executable, "-m", "netdsl", "up", str(lab), "--yes"])
    with gate.open("w"):
        assert f"locked by pid {first.pid}" in the_error(sandbox.netdsl("destroy", "lab", "--yes", check=False), 5)
    assert first.wait() == 0


def sql(*statements: str) -> Spoil:
    """Alters a state with SQL."""

    def spoil(path: Path) -> None:
        connection = sqlite3.connect(path)
        for statement in statements:
            connection.execute(statement)
        connection.commit()
        connection.close()

    return spoil


def cut(path: Path) -> None:
    """The second half is lost."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def overwrite(path: Path) -> None:
    """Something else."""
    path.write_text("no database\n" * 1000)


def other_database(path: Path) -> None:
    """A database of somebody else's."""
    path.unlink()
    sql("CREATE TABLE songs (title TEXT)")(path)


SPOILT = {
    "something else": (overwrite, ["lab.db cannot be used", "Restore it from a copy"]),
    "cut off": (cut, ["lab.db cannot be used", "Restore it from a copy"]),
    "other database": (other_database, ["lab.db is a database, but not a state"]),
    "no JSON": (sql("UPDATE resources SET props = '{'"), ["lab.db cannot be used", "Restore it from a copy"]),
    "no schema": (sql("UPDATE meta SET value = 'x' WHERE key = 'schema'"), ["lab.db cannot be used"]),
    "no table": (sql("DROP TABLE resources"), ["lab.db cannot be used"]),
    "newer schema": (
        sql("UPDATE meta SET value = '99' WHERE key = 'schema'"),
        ["lab.db has schema 99", "knows schemas up to", "Use the newer netdsl"],
    ),
    "unknown kind": (sql("UPDATE resources SET kind = 'wormhole'"), ["'wormhole'", "does not know"]),
}


@pytest.mark.parametrize(("spoil", "words"), SPOILT.values(), ids=SPOILT)
def test_a_state_that_cannot_be_used_is_left_alone(
    sandbox: Sandbox, lab: Path, spoil: Spoil, words: Sequence[str]
) -> None:
    """A state that is damaged or from a newer netdsl is refused by every command and not written to."""
    spoil(Path(sandbox.env["NETDSL_STATE_DIR"], "lab.db"))
    before, spoilt = sandbox.dump(), states(sandbox)
    for command in (["plan", str(lab)], ["up", str(lab), "--yes"], ["destroy", "lab", "--yes"], ["show"]):
        said = the_error(sandbox.netdsl(*command, check=False))
        assert [word for word in words if word not in said] == []
    assert "lab" in sandbox.netdsl("list").stdout
    assert (sandbox.dump(), states(sandbox)) == (before, spoilt)


def test_a_state_from_another_namespace_is_refused(
    sandbox: Sandbox, lab: Path, make_sandbox: Callable[[], Sandbox]
) -> None:
    """A state used where its stack is not is refused with the reason; neither network is touched."""
    other = make_sandbox()
    shutil.copytree(sandbox.env["NETDSL_STATE_DIR"], other.env["NETDSL_STATE_DIR"])
    before = sandbox.dump(), other.dump(), states(other)
    for command in (["plan", str(lab)], ["up", str(lab), "--yes"], ["destroy", "lab", "--yes"]):
        said = the_error(other.netdsl(*command, check=False))
        assert "the state of stack lab belongs to another network namespace" in said
        assert "--state-dir" in said
    assert (sandbox.dump(), other.dump(), states(other)) == before


def test_a_name_belongs_to_one_program(sandbox: Sandbox, lab: Path, tmp_path: Path) -> None:
    """A stack of the same name in another file is refused, naming both files; under another name it comes up."""
    folder = tmp_path / "other"
    folder.mkdir()
    path = stack_file(folder, 'Bridge("br1")')
    before = sandbox.dump(), states(sandbox)
    said = the_error(up(sandbox, path))
    assert f"recorded as the program {lab}:lab; this one is {path}:lab" in said
    assert "--name" in said
    assert (sandbox.dump(), states(sandbox)) == before
    assert up(sandbox, path, "--name", "other").returncode == 0


def test_a_recorded_program_that_is_gone_is_named(sandbox: Sandbox, lab: Path) -> None:
    """up of a recorded stack whose file is gone names the file; destroy does without it."""
    lab.unlink()
    assert f"there is no file {lab}" in the_error(up(sandbox, "lab"), 2)
    assert sandbox.netdsl("destroy", "lab", "--yes").returncode == 0


def test_a_state_directory_that_cannot_be_written_is_refused(sandbox: Sandbox, lab: Path) -> None:
    """up and destroy say that the state cannot be written before they touch the kernel; plan still works."""
    home = sandbox.env["NETDSL_STATE_DIR"]
    sandbox.run(["mount", "--bind", home, home])
    sandbox.run(["mount", "-o", "remount,bind,ro", home])
    stack_file(lab.parent, 'Bridge("br0", mtu=1400)')
    before = sandbox.dump(), states(sandbox)
    assert "1 to update" in sandbox.netdsl("plan", str(lab)).stdout
    for command in (["up", str(lab)], ["destroy", "lab"]):
        said = the_error(sandbox.netdsl(*command, "--yes", check=False))
        assert f"the state directory {home} cannot be written: Read-only file system" in said
        assert "--state-dir" in said
    assert (sandbox.dump(), states(sandbox)) == before


@pytest.mark.parametrize("place", ["/proc/states", "{file}"])
def test_a_state_directory_that_cannot_be_made_is_refused(quiet: Quiet, tmp_path: Path, place: str) -> None:
    """A state directory that cannot be is refused before anything is touched."""
    path = stack_file(tmp_path, 'Bridge("br0")')
    place = place.format(file=path)
    assert f"the state directory {place} cannot be written" in the_error(up(quiet.sandbox, path, "--state-dir", place))
    assert quiet.untouched()


# Protection


@pytest.mark.parametrize("later", [False, True], ids=["from the start", "added later"])
def test_what_is_protected_stays(sandbox: Sandbox, tmp_path: Path, later: bool) -> None:
    """Neither destroy nor a program without it, nor a replacement, takes a protected resource away."""
    protected = 'Vxlan("v", vni={vni}, opts=Opts(protect=True))  # here'
    if later:
        assert up(sandbox, stack_file(tmp_path, 'Vxlan("v", vni=1)')).returncode == 0
    path = stack_file(tmp_path, protected.format(vni=1))
    place = f"error: {path}:{marked(path)[0].partition(':')[2]}: "
    assert up(sandbox, path).returncode == 0
    before = sandbox.dump(), states(sandbox)
    said = the_error(sandbox.netdsl("destroy", "lab", "--yes", check=False))
    assert said.startswith(f"{place}Vxlan 'v' is protected; the plan would delete it")
    for body, verb in (("...", "delete"), (protected.format(vni=2), "replace")):
        stack_file(tmp_path, body)
        said = the_error(up(sandbox, path))
        assert said.startswith(f"{place}Vxlan 'v' is protected; the plan would {verb} it")
        assert "Take protect away first" in said
    assert (sandbox.dump(), states(sandbox)) == before
    assert up(sandbox, stack_file(tmp_path, 'Vxlan("v", vni=1)')).returncode == 0
    assert sandbox.netdsl("destroy", "lab", "--yes").returncode == 0


# The kernel says no

CLASH = """
Bridge("br0", addresses=["10.0.0.1/24"])
vtep = Vxlan("vtep", vni=7, port=8472, alias="late", addresses=["10.7.0.0/32"])  # here
FdbEntry("02:00:00:00:00:01", dev=vtep, dst="10.0.0.2")
Route("behind", dst="10.8.0.0/24", via="10.8.0.0", dev=vtep, onlink=True)
"""
REFUSAL = "A VXLAN device with the specified VNI already exists"


def names(sandbox: Sandbox) -> list[str]:
    """Kind and name of every resource in the state."""
    return [
        line.rpartition("::")[0].rpartition("::")[2] + " " + line.rpartition("::")[2]
        for line in sandbox.netdsl("state", "list", "lab").stdout.splitlines()
    ]


@pytest.fixture
def clash(sandbox: Sandbox, tmp_path: Path) -> Path:
    """The file of a stack in which the kernel refuses the vxlan: somebody has another one with its VNI."""
    sandbox.ip("link", "add", "foreign", "type", "vxlan", "id", "7", "dstport", "8472", "local", "127.0.0.1")
    return stack_file(tmp_path, CLASH)


def test_a_refusal_is_told_in_the_kernels_words(sandbox: Sandbox, clash: Path) -> None:
    """Exit code 4; the error has the place, the resource, the kernel's words and a command that is refused alike;
    what depends on it is said to be skipped; the rest is there and recorded."""
    done = up(sandbox, clash.name, cwd=clash.parent)
    assert done.returncode == 4
    refused, *skipped = done.stderr.split("error: ")[1:]
    assert refused.startswith(f"{marked(clash)[0]}: Vxlan 'vtep': the kernel refused to create it: {REFUSAL}")
    by_hand = sandbox.run(["sh", "-c", refused.partition("The same by hand: ")[2]], check=False)
    assert REFUSAL in by_hand.stderr
    for title, line in zip(("Address '10.7.0.0/32 dev vtep'", "FdbEntry", "Route 'behind'"), skipped, strict=True):
        assert f": {title}" in line
        assert "skipped, because it needs Vxlan 'vtep'" in line
    assert "done: 2 created" in done.stdout
    assert names(sandbox) == ["address 10.0.0.1/24 dev br0", "bridge br0"]
    assert {link["ifname"] for link in sandbox.ip("link", "show")} == {"lo", "foreign", "br0"}


def test_the_next_up_heals_a_refusal(sandbox: Sandbox, clash: Path) -> None:
    """When the obstacle is gone up makes just what was missing, and then there is nothing left to do."""
    assert up(sandbox, clash).returncode == 4
    sandbox.ip("link", "del", "foreign")
    done = up(sandbox, clash)
    assert done.returncode == 0
    assert "done: 4 created" in done.stdout
    assert sandbox.netdsl("plan", str(clash), "--detailed-exitcode").returncode == 0
    assert sandbox.netdsl("destroy", "lab", "--yes").returncode == 0
    assert [link["ifname"] for link in sandbox.ip("link", "show")] == ["lo"]


def test_a_refusal_in_json(sandbox: Sandbox, clash: Path) -> None:
    """With --json the last event says what failed and what was skipped; the errors are on stderr all the same."""
    done = up(sandbox, clash, "--json")
    assert done.returncode == 4
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert (result["event"], result["status"], result["summary"]["create"]) == ("result", "partly", 2)
    assert [(one["urn"], one["error"].startswith(REFUSAL)) for one in result["failed"]] == [("::::vxlan::vtep", True)]
    assert {one["needs"] for one in result["skipped"]} == {"Vxlan 'vtep'"}
    assert len(result["skipped"]) == done.stderr.count("skipped, because") == 3


def test_what_was_made_to_depend_on_a_refused_one_is_skipped(sandbox: Sandbox, clash: Path) -> None:
    """depends_on holds also where the kernel would not mind."""
    stack_file(clash.parent, CLASH + 'Bridge("after", opts=Opts(depends_on=[vtep]))')
    done = up(sandbox, clash)
    assert done.returncode == 4
    assert "Bridge 'after': skipped, because it needs Vxlan 'vtep'" in done.stderr
    assert "after" not in {link["ifname"] for link in sandbox.ip("link", "show")}


def test_a_refused_port_does_not_take_its_bridge_along(sandbox: Sandbox, tmp_path: Path) -> None:
    """When a link cannot be made the bridge that it was to be a port of comes up with the others, and is recorded."""
    path = stack_file(
        tmp_path,
        """
        br0 = Bridge("br0", addresses=["10.0.0.1/24"])
        Veth("lo", netns=Netns("a"), peer=VethEnd("bad", netns=br0.netns, master=br0))  # here
        Veth("eth0", netns=Netns("b"), peer=VethEnd("good", netns=br0.netns, master=br0))
        """,
    )
    done = up(sandbox, path.name, cwd=tmp_path)
    assert done.returncode == 4
    refused, skipped = done.stderr.split("error: ")[1:]
    assert refused.startswith(f"{marked(path)[0]}: Veth 'lo' in netns a: the kernel refused to create it: File exists")
    assert skipped.startswith(f"{marked(path)[0]}: VethEnd 'bad': skipped, because it needs Veth 'lo' in netns a")
    links = {link["ifname"]: "UP" in link["flags"] for link in sandbox.ip("link", "show")}
    assert links == {"lo": True, "br0": True, "good": True}
    assert "bridge br0" in names(sandbox)
    assert sandbox.netdsl("destroy", "lab", "--yes").returncode == 0
    assert [link["ifname"] for link in sandbox.ip("link", "show")] == ["lo"]


def test_what_the_kernel_takes_and_does_not_show_is_an_error(sandbox: Sandbox, tmp_path: Path) -> None:
    """A value that the kernel acknowledges and quietly makes another one of is told by resource and property."""
    path = stack_file(tmp_path, 'Vxlan("v", vni=1, dev=Bridge("br0"), local="10.0.0.1", mtu=9000)  # here')
    done = up(sandbox, path.name, "--json", cwd=tmp_path)
    said = the_error(done, 4)
    assert said.startswith(f"error: {marked(path)[0]}: Vxlan 'v': mtu is 1450 after it was set to 9000")
    assert json.loads(done.stdout.splitlines()[-1])["status"] == "partly"
    assert "mtu: 1450 -> 9000" in sandbox.netdsl("plan", "lab").stdout


def test_a_refused_sysctl_names_the_file(sandbox: Sandbox, tmp_path: Path) -> None:
    """A value that the kernel does not take in a file below /proc/sys is told like any other refusal."""
    path = stack_file(tmp_path, 'Sysctl("net.ipv4.ip_forward", value="maybe")  # here\nBridge("br0")')
    done = up(sandbox, path.name, cwd=tmp_path)
    said = the_error(done, 4)
    assert said.startswith(f"error: {marked(path)[0]}: Sysctl 'net/ipv4/ip_forward': the kernel refused to ")
    assert "Invalid argument" in said
    assert "sysctl -qw net/ipv4/ip_forward=maybe" in said
    assert names(sandbox) == ["bridge br0"]
    assert sandbox.netdsl("destroy", "lab", "--yes").returncode == 0
