"""What docs/security.md says is defended: names, files, terminals, shells, and programs that others can write."""

from __future__ import annotations

import ast
import json
import os
import stat
import subprocess
import textwrap
from pathlib import Path

import pytest

import netdsl
from sandbox import Sandbox

Done = subprocess.CompletedProcess[str]

ESCAPE = "\x1b[31m\x1b]0;owned\x07"
"""Turns a terminal red and renames its window."""


def stack_file(folder: Path, body: str, name: str = "lab") -> Path:
    """A file with one stack."""
    path = folder / f"{name}.py"
    body = textwrap.indent(textwrap.dedent(body).strip(), "    ")
    path.write_text(f"from netdsl import *\n\n@stack\ndef {name}():\n{body}\n")
    return path


def error(done: Done, code: int) -> str:
    """The one error of a command, which ended with this exit code."""
    assert (done.returncode, done.stderr.count("error: ")) == (code, 1), done
    assert "Traceback" not in done.stderr
    return done.stderr


# Names


@pytest.mark.parametrize(
    "name", ["../x", "/x", "x/y", "", ".", "..", "X", "a" * 65, "a" * 5000, "å", "a b", "a\n", "a\x1b[31m", "a.db"]
)
def test_a_stack_name_cannot_leave_the_state_directory(sandbox: Sandbox, tmp_path: Path, name: str) -> None:
    """A name that is more than letters, digits, '_' and '-' is an error of every command that takes one, and no file is
    made for it anywhere."""
    path = stack_file(tmp_path, 'Bridge("br0")')
    before = sorted(tmp_path.rglob("*"))
    words = "is no stack name"
    assert words in error(sandbox.netdsl("up", str(path), "--yes", "--name", name, check=False), 2)
    assert words in error(sandbox.netdsl("state", "recover", "lab", "--name", name, check=False), 2)
    if name and "/" not in name:
        assert words in error(sandbox.netdsl("destroy", name, "--yes", check=False), 2)
    document = {"version": 1, "stack": name, "meta": {}, "resources": []}
    (tmp_path / "export.json").write_text(json.dumps(document))
    assert words in error(sandbox.netdsl("state", "import", str(tmp_path / "export.json"), check=False), 2)
    (tmp_path / "export.json").unlink()
    assert [file for file in sorted(tmp_path.rglob("*")) if "__pycache__" not in file.parts] == before


# Files


def test_files_are_for_their_owner(sandbox: Sandbox, tmp_path: Path) -> None:
    """State, lock, socket, plan and export have mode 0600 and their directory 0700, whatever the umask;
    a plan or export that was readable before is replaced by one that is not."""
    path = stack_file(tmp_path, 'Bridge("br0")')
    for name in ("plan.json", "export.json"):
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(0o666)
    opened = (tmp_path / "export.json").open()
    for command in (
        ["plan", str(path), "--out", str(tmp_path / "plan.json")],
        ["up", str(path), "--yes", "--confirm-within", "1h"],
        ["state", "export", "-o", str(tmp_path / "export.json")],
    ):
        sandbox.run(["sh", "-c", 'umask 0; exec "$@"', "sh", os.sys.executable, "-m", "netdsl", *command])
    folder = Path(sandbox.env["NETDSL_STATE_DIR"])
    files = [folder, *folder.iterdir(), tmp_path / "plan.json", tmp_path / "export.json"]
    modes = {file.name: oct(stat.S_IMODE(file.stat().st_mode)) for file in files}
    assert modes == {folder.name: "0o700"} | dict.fromkeys(
        ("lab.db", "lab.lock", "lab.confirm", "plan.json", "export.json"), "0o600"
    )
    assert stat.S_ISSOCK((folder / "lab.confirm").stat().st_mode)
    assert opened.read() == ""
    sandbox.netdsl("confirm")


@pytest.mark.parametrize("name", ["lab.db", "lab.lock"])
def test_a_link_in_the_state_directory_is_not_followed(sandbox: Sandbox, tmp_path: Path, name: str) -> None:
    """A symbolic link where a state or a lock should be is an error, and what it leads to stays as it is."""
    folder = Path(sandbox.env["NETDSL_STATE_DIR"])
    folder.mkdir(mode=0o700)
    (folder / name).symlink_to(tmp_path / "victim")
    error(sandbox.netdsl("up", str(stack_file(tmp_path, 'Bridge("br0")')), "--yes", check=False), 1)
    assert not (tmp_path / "victim").exists()
    assert [link["ifname"] for link in sandbox.ip("link", "show")] == ["lo"]


# Shells


def test_nothing_is_passed_to_a_shell() -> None:
    """No module of the package asks for a shell; nor does any evaluate text as code."""
    found = []
    for file in sorted(Path(netdsl.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                if name in ("eval", "exec", "os.system", "os.popen", "pickle.loads", "pickle.load"):
                    found.append(f"{file.name}:{node.lineno}: {name}")
                if name.endswith("getoutput") or any(word.arg == "shell" for word in node.keywords):
                    found.append(f"{file.name}:{node.lineno}: {name}")
    assert found == []


HOSTILE = """
a = Netns("$(touch${IFS}$F)")
b = Netns("b;touch$IFS$F;'")
br = Bridge("`>$F`", netns=a, alias="it's $(touch $F) \\x1b[31m", addresses=["10.0.0.1/24"])
v = Veth("a;>$F;b", netns=a, master=br, peer=VethEnd("'&>$F", netns=b, addresses=["10.0.0.2/24"]))
Route("$(touch $F)", dst="10.9.0.0/16", via="10.0.0.2", dev=br)
Neighbor("10.0.0.9", dev=br, lladdr="02:00:00:00:00:99")
FdbEntry("02:00:00:00:00:77", dev=v, on="master")
Rule("$(touch $F)", priority=7, iif=br, table=7)
Vxlan("|>$F", netns=a, vni=1, dev=br, port=4789)
"""


def test_commands_are_quoted(sandbox: Sandbox, tmp_path: Path) -> None:
    """The script of plan --commands makes the objects, whatever characters are in their names, and runs nothing that
    stands in them; nothing in it moves a terminal."""
    path = stack_file(tmp_path, HOSTILE)
    script = sandbox.netdsl("plan", str(path), "--commands").stdout
    assert ESCAPE[0] not in script
    victim = tmp_path / "victim"
    sandbox.run(["sh"], input=script, env={"F": str(victim)}, cwd=tmp_path)
    assert not victim.exists()
    changes = json.loads(sandbox.netdsl("plan", str(path), "--adopt", "--json").stdout)["changes"]
    odd = [change for change in changes if (change["action"], change["adopts"]) != ("same", True)]
    assert [(change["name"], list(change["diff"])) for change in odd if set(change["diff"]) - {"mac"}] == []
    sandbox.netdsl("up", str(path), "--adopt", "--yes")
    assert not victim.exists()


# Terminals


def test_names_from_the_kernel_are_harmless(sandbox: Sandbox, tmp_path: Path) -> None:
    """Escape sequences in names and texts that somebody else gave to links, namespaces and tables are printed as text
    by whatever command shows them."""
    link, netns = "x\x1b[31m", "n\x1b[31m\x9b"
    sandbox.run(["ip", "netns", "add", netns])
    sandbox.run(["ip", "link", "add", link, "type", "bridge"])
    sandbox.run(["ip", "link", "set", link, "alias", ESCAPE])
    sandbox.run(["ip", "link", "property", "add", "dev", link, "altname", "netdsl:\x1b[31m:x"])
    sandbox.run(["ip", "link", "add", "br0", "type", "bridge"])
    sandbox.run(["ip", "link", "set", "br0", "alias", ESCAPE])
    sandbox.run(["nft", 'add table inet m { comment "\x1b[31m"; }'])
    path = stack_file(tmp_path, 'Bridge("br0", alias="mine")\nNetns("a")\nreturn {"o": Link.get("br0").alias}')
    one = str(path)
    said = []

    def run(*args: str, code: int = 0) -> str:
        done = sandbox.netdsl(*args, check=False)
        assert done.returncode == code, done
        said.append(done.stdout + done.stderr)
        return said[-1]

    run("plan", one, code=1)
    assert "\\x1b[31m" in run("plan", one, "--adopt")
    run("import", one, "br0", "--yes")
    for command in (["up", one, "--yes", "--adopt"], ["show"], ["show", "--json"], ["list"], ["graph"], ["outputs"]):
        run(*command)
    run("graph", "--format", "mermaid")
    sandbox.run(["ip", "-n", "a", "link", "add", link, "type", "bridge"])
    assert "netns a holds a link that is not this stack's: x\\x1b[31m (bridge)" in run("destroy", "--yes", code=1)
    run("exec", "nothing", "--", "true", code=2)
    sandbox.run(["ip", "-n", "a", "link", "del", link])
    stack_file(tmp_path, f'Masquerade("m")\nNetns.get("{netns}x")\nBridge("br0", alias="mine")', "lab")
    run("plan", one, code=1)
    run("destroy", "--yes")
    for text in said:
        assert not {c for c in text if not c.isprintable()} - {"\n"}, text


def test_names_in_records_are_harmless(sandbox: Sandbox, tmp_path: Path) -> None:
    """The same with names of the user's own in state, history, notes and drawings: what a state holds was written by
    some program."""
    name = "far\x7f\x9b31m"
    body = f"""
    br0 = Bridge("br0", alias={ESCAPE!r}, addresses=["10.0.0.1/24"])
    far = Route({name!r}, dst="10.9.0.0/16", dev=br0)
    Route("near", dst="10.8.0.0/16", dev=br0, opts=Opts(depends_on=[far]))
    return {{"out": {ESCAPE!r}}}
    """
    path = str(stack_file(tmp_path, body))
    for command in (
        *(["plan", path], ["plan", path, "--commands"], ["graph", path], ["graph", path, "--format", "mermaid"]),
        *(["plan", path, "--target", "near"], ["up", path, "--yes"], ["show"], ["outputs"], ["history"], ["list"]),
        *(["state", "list"], ["state", "show", "br0"], ["state", "export"], ["state", "rm", name, "--yes"]),
        *(["destroy", "--yes"],),
    ):
        done = sandbox.netdsl(*command)
        assert not {c for c in done.stdout + done.stderr if not c.isprintable()} - {"\n"}, done


def test_names_in_an_export_are_harmless(sandbox: Sandbox, tmp_path: Path) -> None:
    """The same with what a file given to `state import` says: parameters, outputs, places and the program."""
    path = str(stack_file(tmp_path, 'Bridge("br0", mtu=1400)'))
    sandbox.netdsl("up", path, "--yes")
    document = json.loads(sandbox.netdsl("state", "export").stdout)
    document["meta"].update(values={ESCAPE: ESCAPE}, outputs={ESCAPE: {ESCAPE: ESCAPE}})
    document["resources"][0].update(where=f"{ESCAPE}:1", component="c", urn="c::::bridge::br0")
    file = tmp_path / "lab.json"
    file.write_text(json.dumps(document))
    sandbox.netdsl("state", "import", str(file), "--yes")
    sandbox.run(["ip", "link", "set", "br0", "alias", ESCAPE, "mtu", "1300"])
    for command in (["plan"], ["refresh", "--preview-only"], ["verify"], ["show"], ["history"], ["outputs"], ["list"]):
        done = sandbox.netdsl(*command, check=False)
        assert done.returncode in (0, 3), done
        assert not {c for c in done.stdout + done.stderr if not c.isprintable()} - {"\n"}, done


def test_of_many_errors_the_first_are_told(sandbox: Sandbox, tmp_path: Path) -> None:
    """Twenty errors are printed and the rest counted."""
    path = stack_file(tmp_path, 'for n in range(33):\n    Bridge("br0", mtu=n)')
    done = sandbox.netdsl("plan", str(path), check=False)
    assert (done.returncode, done.stderr.count("error: ")) == (1, 20)
    assert done.stderr.endswith("       and 13 more\n")


# Programs


FREE = 0o777
WORDS = "warning: root runs what others can change: "


def plan(sandbox: Sandbox, path: Path, *args: str) -> str:
    """What a plan says on stderr; stdout is JSON as ever, and the exit code 0."""
    done = sandbox.netdsl("plan", str(path), "--json", *args)
    assert json.loads(done.stdout)["stack"] == "lab"
    return done.stderr


@pytest.mark.parametrize("mode", [0o666, 0o646])
def test_root_is_warned_of_a_program_that_others_can_write(sandbox: Sandbox, tmp_path: Path, mode: int) -> None:
    """A stack file that others may write to is named on stderr, once, with what to do; stdout and exit code are the
    same, and when it is put right there is no more to say."""
    path = stack_file(tmp_path, 'Bridge("br0")')
    assert plan(sandbox, path) == ""
    path.chmod(mode)
    said = plan(sandbox, path)
    assert said.startswith(f"{WORDS}{path} (writable by others)\n")
    assert "chmod go-w" in said and said.count("warning") == 1
    path.chmod(0o644)
    assert plan(sandbox, path) == ""


def test_root_is_warned_of_modules_and_directories(sandbox: Sandbox, tmp_path: Path) -> None:
    """The same goes for a module of the project that the program imports, also while it runs, for the directories above
    them, and for where a symbolic link leads; a sticky directory lets nobody put something else in a file's place, but
    new modules beside the program."""
    project = tmp_path / "outer" / "project"
    (project / "parts").mkdir(parents=True)
    path = stack_file(project, "import late\nfirst.make()")
    path.write_text("from parts import first\n" + path.read_text())
    (project / "parts" / "first.py").write_text('from netdsl import *\n\ndef make():\n    Bridge("br0")\n')
    (project / "late.py").write_text("")
    assert plan(sandbox, path) == ""
    for file, mode in {
        project / "parts" / "first.py": 0o666,
        project / "late.py": 0o666,
        project / "parts": 0o777,
        project: 0o1777,
        project.parent: 0o777,
    }.items():
        before = stat.S_IMODE(file.stat().st_mode)
        file.chmod(mode)
        assert plan(sandbox, path).startswith(f"{WORDS}{file} (writable by others)\n"), file
        file.chmod(before)
    project.parent.chmod(0o1777)
    assert plan(sandbox, path) == ""
    (tmp_path / "lab.py").symlink_to(path)
    path.chmod(0o666)
    assert f"{path} (writable by others)" in plan(sandbox, tmp_path / "lab.py")


def test_root_is_warned_of_a_state_directory_that_others_can_write(sandbox: Sandbox, tmp_path: Path) -> None:
    """The records name the programs that commands run: a state directory open to others is told too."""
    path = stack_file(tmp_path, 'Bridge("br0")')
    sandbox.netdsl("up", str(path), "--yes")
    folder = Path(sandbox.env["NETDSL_STATE_DIR"])
    folder.chmod(FREE)
    assert plan(sandbox, path).startswith(f"{WORDS}{folder} (writable by others)\n")
