"""The command line: what is printed where, for people on a terminal and for programs."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import stat
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from netdsl.cli import COMMANDS
from netdsl.kinds import KINDS
from sandbox import Sandbox

STACKS = Path(__file__).parent.parent / "stacks"
NETDSL = [sys.executable, "-m", "netdsl"]
ESCAPE = "\x1b"


def stack_file(folder: Path, body: str, params: str = "") -> Path:
    """A file with one stack, `lab`."""
    path = folder / "lab.py"
    body = textwrap.indent(textwrap.dedent(body).strip(), "    ")
    path.write_text(f"from netdsl import *\n\n@stack\ndef lab({params}):\n{body}\n")
    return path


def mtu(sandbox: Sandbox) -> int:
    """The MTU of br0."""
    return int(sandbox.ip("link", "show", "br0")[0]["mtu"])


# Help


@pytest.mark.parametrize("command", ["", *COMMANDS, "state list", "state show", "state export"])
def test_every_command_explains_itself(sandbox: Sandbox, command: str) -> None:
    """--help of every command says how it is used and what it does, on stdout."""
    done = sandbox.netdsl(*command.split(), "--help")
    assert done.stdout.startswith("Usage: ")
    assert "--help" in done.stdout
    assert (done.stderr, "Traceback" in done.stdout) == ("", False)
    line = COMMANDS.get(command, ("", ""))[1]
    assert len(done.stdout.splitlines()) > 4 or line in done.stdout


def test_help_lists_every_command(sandbox: Sandbox) -> None:
    """netdsl --help has a line for each command."""
    listed = sandbox.netdsl("--help").stdout.partition("Commands:\n")[2].splitlines()
    assert {line.split()[0]: " ".join(line.split()[1:]) for line in listed} == {
        name: line for name, (_, line) in COMMANDS.items()
    }


def test_the_version_is_printed(sandbox: Sandbox) -> None:
    """--version prints name and version."""
    assert re.fullmatch(r"netdsl \d+\.\d+\S*\n", sandbox.netdsl("--version").stdout)


# JSON

BRIDGE = 'br0 = Bridge("br0", mtu=1400, alias="mine")\nreturn {"mac": br0.mac}'
CHANGE_WORDS = {
    *("urn", "action", "kind", "name", "netns", "component", "props", "diff", "reason", "falls_with", "adopts"),
    *("moved_from", "where"),
}


def events(text: str) -> list[dict[str, Any]]:
    """JSON lines, each a value of its own."""
    return [json.loads(line) for line in text.splitlines()]


def test_plan_json_is_one_versioned_value(sandbox: Sandbox, tmp_path: Path) -> None:
    """plan --json prints one object and nothing else: stack, parameters, notes, changes with their differences."""
    path = stack_file(tmp_path, BRIDGE, "size: int = 3")
    done = sandbox.netdsl("plan", str(path), "--json")
    plan = json.loads(done.stdout)
    assert done.stderr == ""
    assert set(plan) == {"version", "stack", "params", "notes", "changes", "summary"}
    assert (plan["version"], plan["stack"], plan["params"], plan["notes"]) == (1, "lab", {"size": 3}, [])
    assert plan["summary"] == {"create": 1, "update": 0, "replace": 0, "delete": 0, "forget": 0, "same": 0}
    (change,) = plan["changes"]
    assert set(change) == CHANGE_WORDS
    assert (change["urn"], change["action"], change["where"]) == ("::::bridge::br0", "create", f"{path}:5")
    assert (change["props"]["mtu"], change["diff"]) == (1400, {})
    sandbox.netdsl("up", str(path), "--yes")
    sandbox.ip("link", "set", "br0", "mtu", "1300")
    (change,) = json.loads(sandbox.netdsl("plan", str(path), "--json").stdout)["changes"]
    assert (change["action"], change["diff"]) == ("update", {"mtu": {"have": 1300, "want": 1400}})


def test_up_json_is_a_line_for_each_event(sandbox: Sandbox, tmp_path: Path) -> None:
    """up and destroy --json print the plan and the result, a line each, also when there is nothing to do."""
    path = str(stack_file(tmp_path, BRIDGE))
    for command, action in (("up", "create"), ("up", ""), ("destroy", "delete")):
        done = sandbox.netdsl(command, path, "--yes", "--json")
        plan, result = events(done.stdout)
        assert done.stderr == ""
        assert (plan["event"], result["event"], plan["version"], result["version"]) == ("plan", "result", 1, 1)
        assert [change["action"] for change in plan["changes"]] == ([action] if action else [])
        assert result["summary"] == plan["summary"]
        assert (result["status"], result["failed"], result["skipped"], result["held"]) == ("done", [], [], [])
        assert set(result["outputs"]) == ({"mac"} if command == "up" else set())


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("list", {"version", "state_dir", "stacks"}),
        ("show", {"version", "stack", "resources"}),
        ("state export", {"version", "stack", "meta", "resources"}),
        ("kinds", {"version", "kinds", "components"}),
        ("kinds vxlan", {"version", "kind", "properties"}),
        ("outputs", {"version", "stack", "outputs"}),
    ],
)
def test_what_is_asked_for_in_json_is_json(sandbox: Sandbox, tmp_path: Path, command: str, words: set[str]) -> None:
    """Every command with --json prints one JSON value on stdout and nothing else."""
    sandbox.netdsl("up", str(stack_file(tmp_path, BRIDGE)), "--yes")
    done = sandbox.netdsl(*command.split(), *([] if command == "state export" else ["--json"]))
    assert set(json.loads(done.stdout)) == words
    assert done.stderr == ""


def test_what_a_program_prints_is_kept_out_of_the_output(sandbox: Sandbox, tmp_path: Path) -> None:
    """What a program prints, or another that it runs, is on stderr: stdout is JSON, or a script, and nothing else."""
    path = stack_file(tmp_path, f'print("one")\nimport os\nos.system("echo two")\n{BRIDGE}')
    path.write_text(f'print("zero")\n{path.read_text()}')
    for option in ("--json", "--commands"):
        done = sandbox.netdsl("plan", str(path), option)
        assert done.stderr.splitlines() == ["zero", "one", "two"]
        assert done.stdout.startswith({"--json": "{", "--commands": "#!/bin/sh"}[option])
        assert not {"zero", "one", "two"} & set(done.stdout.splitlines())


def test_an_error_leaves_stdout_to_json(sandbox: Sandbox, tmp_path: Path) -> None:
    """With --json an error is on stderr and stdout stays empty."""
    path = stack_file(tmp_path, 'Bridge("br0", mtu=1)')
    for command in (["plan"], ["up", "--yes"]):
        done = sandbox.netdsl(*command, str(path), "--json", check=False)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("error: ")


def test_pending_changes_can_be_told_by_the_exit_code(sandbox: Sandbox, tmp_path: Path) -> None:
    """plan --detailed-exitcode ends with 3 when something is pending and with 0 when not."""
    path = str(stack_file(tmp_path, BRIDGE))
    plan = ["plan", path, "--detailed-exitcode"]
    assert sandbox.netdsl(*plan, check=False).returncode == 3
    sandbox.netdsl("up", path, "--yes")
    assert sandbox.netdsl(*plan, check=False).returncode == 0
    sandbox.ip("link", "set", "br0", "mtu", "1300")
    assert sandbox.netdsl(*plan, "--json", check=False).returncode == 3


# exec


def test_exec_runs_inside(sandbox: Sandbox) -> None:
    """exec runs a command in a netns, with a /sys that shows its links, and passes on exit status and streams."""
    sandbox.ip("netns", "add", "n")
    sandbox.ip("link", "add", "inside", "type", "bridge", netns="n")
    shown = sandbox.netdsl("exec", "n", "--", "ls", "/sys/class/net").stdout.split()
    assert shown == ["inside", "lo"]
    assert "inside" in sandbox.netdsl("exec", "n", "ip", "-o", "link").stdout
    done = sandbox.netdsl("exec", "n", "--", "sh", "-c", "cat; echo err >&2; exit 7", check=False, input="in")
    assert (done.returncode, done.stdout, done.stderr) == (7, "in", "err\n")
    assert {link["ifname"] for link in sandbox.ip("link", "show")} == {"lo"}


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["m", "--", "true"], ["there is no netns 'm'", "There are n"]),
        (["n", "--", "no-such-command"], ["no-such-command: No such file or directory"]),
        (["n", "--"], ["which command?"]),
    ],
)
def test_exec_of_what_is_not_there(sandbox: Sandbox, argv: list[str], words: list[str]) -> None:
    """exec of an unknown netns or command ends with exit code 2 and says what is missing."""
    sandbox.ip("netns", "add", "n")
    done = sandbox.netdsl("exec", *argv, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert [word for word in words if word not in done.stderr] == []


# graph, kinds, completion

FORMS = {
    "dot": (r'^    (n\d+) \[label="(.*)"\];$', r"^  (n\d+) -> (n\d+);$"),
    "mermaid": (r'^    (n\d+)\["(.*)"\]$', r"^  (n\d+) --> (n\d+)$"),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_graph_has_every_resource(sandbox: Sandbox, form: str) -> None:
    """graph has each resource of the stack as a node, and arrows from what needs to what is needed, without a cycle."""
    overlay = str(STACKS / "two_node_vxlan.py")
    text = sandbox.netdsl("graph", overlay, "--format", form).stdout
    nodes = re.findall(FORMS[form][0], text, re.MULTILINE)
    edges = re.findall(FORMS[form][1], text, re.MULTILINE)
    changes = json.loads(sandbox.netdsl("plan", overlay, "--json").stdout)["changes"]
    assert sorted(label for _, label in nodes) == sorted(f"{change['kind']} {change['name']}" for change in changes)
    label = dict(nodes)
    assert len(label) == len(nodes)
    assert {end for edge in edges for end in edge} <= set(label)
    named = {(label[one], label[other]) for one, other in edges}
    assert ("bridge br245", "netns vm1") in named
    assert ("vxlan vtep245", "veth eth0") in named
    assert ("route default", "address 172.245.0.2/24 dev eth0") in named
    assert all((other, one) not in named for one, other in named)


def test_the_graph_quotes_names(sandbox: Sandbox, tmp_path: Path) -> None:
    """A name with quotes stays inside its label."""
    path = stack_file(tmp_path, """Route('a "b" \\\\ c', dst="10.0.0.0/8", type="blackhole")""")
    text = sandbox.netdsl("graph", str(path)).stdout
    assert r'[label="route a \"b\" \\ c"];' in text


def test_kinds_is_a_manual(sandbox: Sandbox) -> None:
    """kinds lists every kind with a sentence; kinds KIND has each of its properties, in whatever case it is written."""
    kinds, _, components = sandbox.netdsl("kinds").stdout.partition("\n\n")
    lines = [re.sub(r"  \(not in this kernel: .*\)$", "", line) for line in kinds.splitlines()]
    assert [line.split()[0] for line in lines] == [cls.__name__ for cls in KINDS.values()]
    assert [line.split()[0] for line in components.splitlines()[1:]] == ["VxlanPeer", "Overlay"]
    assert all(line.endswith((".", '").', "`.")) and len(line.split()) > 3 for line in lines), lines
    vxlan = sandbox.netdsl("kinds", "vxlan").stdout
    assert vxlan == sandbox.netdsl("kinds", "Vxlan").stdout
    assert set(re.findall(r"^  (\w+)(?:  .*)?$", vxlan, re.MULTILINE)) >= {*KINDS["vxlan"].properties}
    assert "VXLAN network identifier" in vxlan
    overlay = sandbox.netdsl("kinds", "overlay").stdout
    assert "direct_routing" in overlay and "- [" not in overlay
    done = sandbox.netdsl("kinds", "nonsense", check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no kind 'nonsense'" in done.stderr
    assert "Vxlan" in done.stderr


COMPLETE = """
eval "$(netdsl completion bash)"
complete -p netdsl
words() { COMP_WORDS=(netdsl "$@"); COMP_CWORD=$#; COMPREPLY=(); _netdsl_completion netdsl; echo "${COMPREPLY[@]}"; }
compopt() { :; }
words pl
words up --det
words destroy l
words kinds vx
words exec n
"""


def test_completion_works_in_bash(sandbox: Sandbox, tmp_path: Path) -> None:
    """bash takes the completion script, which then completes commands, options, stacks, kinds and netns, but not names
    of these that would be more than a word in the command line."""
    script = tmp_path / "netdsl"  # as pip would install it
    script.write_text(f"#!{sys.executable}\nimport sys\nfrom netdsl.cli import main\nsys.exit(main())\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    sandbox.netdsl("up", str(stack_file(tmp_path, 'Netns("n1")\nNetns("n2")')), "--yes")
    sandbox.run(["ip", "netns", "add", "n;$(reboot)"])
    done = sandbox.run(["bash", "-c", COMPLETE], env={"PATH": f"{tmp_path}:{sandbox.env['PATH']}"})
    script_line, *found = done.stdout.splitlines()
    assert script_line.startswith("complete ")
    assert script_line.endswith(" netdsl")
    assert found == ["plan", "--details", "lab", "Vxlan VxlanPeer VxlanVni", "n1 n2"]


# Pipes


@pytest.mark.parametrize("env", [{}, {"TERM": "xterm-256color", "CLICOLOR": "1"}], ids=["plain", "wanting colours"])
def test_no_escape_codes_without_a_terminal(sandbox: Sandbox, tmp_path: Path, env: dict[str, str]) -> None:
    """What goes into a pipe or a file has no colours, neither plans nor errors."""
    path = str(stack_file(tmp_path, BRIDGE))
    for command in (["plan", path], ["up", path, "--yes"], ["show"], ["destroy", "--yes"], ["plan", "none.py"]):
        done = sandbox.netdsl(*command, check=False, env=env)
        assert ESCAPE not in done.stdout + done.stderr
        assert done.stdout + done.stderr


@pytest.mark.parametrize(
    "command",
    ["plan {ring}", "plan {ring} --json", "plan {ring} --commands", "graph {ring}", "kinds --markdown", "--help"],
)
def test_a_reader_may_stop_reading(sandbox: Sandbox, command: str) -> None:
    """When whoever reads stdout has had enough, the command ends without a word on stderr."""
    argv = command.format(ring=f"{STACKS / 'ring.py'} -p nodes=20").split()
    done = sandbox.run(["sh", "-c", '"$@" | head -n 1', "sh", *NETDSL, *argv])
    assert (len(done.stdout.splitlines()), done.stderr) == (1, "")


def test_up_and_destroy_finish_although_nobody_reads(sandbox: Sandbox, tmp_path: Path) -> None:
    """When the reader goes away after the plan, what up and destroy have begun is finished and recorded."""
    names = [f"br{number}" for number in range(150)]  # more text than a pipe holds would need a patient reader
    path = stack_file(tmp_path, "for number in range(150):\n    Bridge(f'br{number}')")
    for command, left in ((["up", str(path)], {*names, "lo"}), (["destroy", "lab"], {"lo"})):
        done = sandbox.run(["sh", "-c", '"$@" | head -n 1', "sh", *NETDSL, *command, "--yes", "--json"])
        assert (len(events(done.stdout)), done.stderr) == (1, "")
        assert {link["ifname"] for link in sandbox.ip("link", "show")} == left
        recorded = json.loads(sandbox.netdsl("list", "--json").stdout)["stacks"]
        assert [row["resources"] for row in recorded] == ([150] if len(left) > 1 else [])


# On a terminal


class Terminal:
    """A command on a terminal of its own, and somebody who reads and types there."""

    def __init__(self, sandbox: Sandbox, argv: list[str], env: dict[str, str] | None = None) -> None:
        self._master, slave = pty.openpty()
        # Tests that run in the background of a shell ignore Ctrl-C, and so would their children.
        argv = ["env", "--default-signal=INT", "setsid", "--ctty", "--wait", *argv]
        try:
            self.process = sandbox.popen(argv, stdin=slave, stdout=slave, stderr=slave, env=env)
        finally:
            os.close(slave)
        self.seen = ""

    def close(self) -> None:
        """Hang up."""
        os.close(self._master)

    def _read(self, seconds: float) -> bool:
        """Read what comes within the seconds; False when the command has closed its end."""
        if select.select([self._master], [], [], seconds)[0]:
            try:
                self.seen += os.read(self._master, 1 << 16).decode(errors="replace")
            except OSError:  # EIO: nobody has the terminal open any more
                return False
        return True

    def expect(self, words: str, seconds: float = 60) -> str:
        """Read until these words come; what came up to them."""
        end = time.monotonic() + seconds
        while words not in self.seen:
            assert self._read(1), f"ended without {words!r}: {self.seen}"
            assert time.monotonic() < end, f"no {words!r} in {self.seen!r}"
        before, _, self.seen = self.seen.partition(words)
        return before + words

    def type(self, text: str) -> None:
        """Type."""
        os.write(self._master, text.encode())

    def waits(self) -> bool:
        """Whether the command sleeps: it waits for somebody to type (Python loses a Ctrl-C that comes just before)."""
        status = Path(f"/proc/{os.tcgetpgrp(self._master)}/stat").read_text()
        return status.rpartition(")")[2].split()[0] == "S"

    def end(self, seconds: float = 60) -> tuple[int, str]:
        """Read until the command ends; its exit code and what came."""
        end = time.monotonic() + seconds
        while self._read(1):
            assert time.monotonic() < end, f"it does not end: {self.seen!r}"
        return self.process.wait(seconds), self.seen


Open = Callable[..., Terminal]
PROMPT = "(yes, no, details): "
CTRL_C, CTRL_D = "\x03", "\x04"


@pytest.fixture
def terminal(sandbox: Sandbox) -> Iterator[Open]:
    """Run netdsl on a terminal: arguments, what is put in front of it, and environment."""
    opened = []

    def run(*args: str, prefix: list[str] | None = None, env: dict[str, str] | None = None) -> Terminal:
        opened.append(Terminal(sandbox, [*(prefix or []), *NETDSL, *args], env))
        return opened[-1]

    yield run
    for one in opened:
        one.close()


def test_up_asks(sandbox: Sandbox, tmp_path: Path, terminal: Open) -> None:
    """On a terminal up shows the plan in colour and asks: details shows it again, other words are refused, yes does
    it."""
    path = str(stack_file(tmp_path, BRIDGE))
    screen = terminal("up", path)
    plan = screen.expect(PROMPT)
    assert "bridge br0  mtu=1400" in plan
    assert ESCAPE in plan
    screen.type("details\n")
    assert "bridge br0  mtu=1400" in screen.expect(PROMPT)
    screen.type("perhaps\n")
    assert "'perhaps' is not one of" in screen.expect(PROMPT)
    screen.type("yes\n")
    code, text = screen.end()
    assert (code, "done: 1 created" in text) == (0, True)
    assert mtu(sandbox) == 1400
    screen = terminal("destroy", path)
    assert "bridge br0" in screen.expect(PROMPT)
    screen.type("yes\n")
    assert screen.end()[0] == 0
    assert len(sandbox.ip("link", "show")) == 1


@pytest.mark.parametrize(
    ("answer", "code"), [("no\n", 2), ("\n", 2), (CTRL_D, 130), (CTRL_C, 130)], ids=["no", "enter", "ctrl-d", "ctrl-c"]
)
def test_anything_but_yes_touches_nothing(
    sandbox: Sandbox, tmp_path: Path, terminal: Open, answer: str, code: int
) -> None:
    """no, an empty line, the end of the input and Ctrl-C at the question leave everything as it is."""
    before = sandbox.dump()
    screen = terminal("up", str(stack_file(tmp_path, BRIDGE)))
    screen.expect(PROMPT)
    sandbox.wait_until(screen.waits)
    screen.type(answer)
    ended, text = screen.end()
    assert (ended, "Traceback" in text) == (code, False)
    assert sandbox.dump() == before
    assert sandbox.netdsl("list").stdout.startswith("no stacks")


def test_many_changes_are_counted_and_shown_on_demand(tmp_path: Path, terminal: Open) -> None:
    """A plan of more changes than fit on a screen is a line of counts; details shows them all."""
    screen = terminal("up", str(stack_file(tmp_path, "for n in range(300):\n    Bridge(f'br{n}')")))
    plan = screen.expect(PROMPT)
    assert ("300 to create" in plan, "br299" in plan) == (True, False)
    screen.type("details\n")
    assert "br299" in screen.expect(PROMPT)
    screen.type("no\n")
    assert screen.end()[0] == 2


def test_a_kernel_that_moves_while_the_question_waits(sandbox: Sandbox, tmp_path: Path, terminal: Open) -> None:
    """When the kernel changed before the answer, the new plan is shown and asked about: what is done was shown."""
    path = str(stack_file(tmp_path, BRIDGE))
    sandbox.netdsl("up", path, "--yes")
    sandbox.ip("link", "set", "br0", "mtu", "1300")
    screen = terminal("up", path)
    assert "mtu: 1300 -> 1400" in screen.expect(PROMPT)
    sandbox.ip("link", "set", "br0", "mtu", "1200")
    screen.type("yes\n")
    again = screen.expect(PROMPT)
    assert "The kernel has changed meanwhile" in again
    assert "mtu: 1200 -> 1400" in again
    assert mtu(sandbox) == 1200
    screen.type("yes\n")
    assert screen.end()[0] == 0
    assert mtu(sandbox) == 1400


def test_a_plan_that_has_come_true_is_not_asked_about(sandbox: Sandbox, tmp_path: Path, terminal: Open) -> None:
    """When nothing is left to do at the time of the answer, up is done."""
    path = str(stack_file(tmp_path, BRIDGE))
    sandbox.netdsl("up", path, "--yes")
    sandbox.ip("link", "set", "br0", "mtu", "1300")
    screen = terminal("up", path)
    screen.expect(PROMPT)
    sandbox.ip("link", "set", "br0", "mtu", "1400")
    screen.type("yes\n")
    code, text = screen.end()
    assert (code, PROMPT in text, "nothing to do" in text) == (0, False, True)


def test_a_conflict_that_comes_while_the_question_waits(sandbox: Sandbox, tmp_path: Path, terminal: Open) -> None:
    """When somebody made an object of the same name before the answer, it is a conflict and stays as it is."""
    screen = terminal("up", str(stack_file(tmp_path, BRIDGE)))
    screen.expect(PROMPT)
    sandbox.ip("link", "add", "br0", "mtu", "1300", "type", "bridge")
    screen.type("yes\n")
    code, text = screen.end()
    assert (code, "exists already and is not this stack's" in text) == (1, True)
    assert mtu(sandbox) == 1300


@pytest.mark.parametrize("command", [["up", "{path}"], ["plan", "{path}"], ["plan", "none.py"]], ids=" ".join)
def test_no_color_is_obeyed(tmp_path: Path, terminal: Open, command: list[str]) -> None:
    """With NO_COLOR neither plans nor errors have colours on a terminal, which they have without."""
    argv = [word.format(path=stack_file(tmp_path, BRIDGE)) for word in command]
    for env, coloured in (({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True)):
        screen = terminal(*argv, env=env)
        text = screen.expect(PROMPT) if command[0] == "up" else screen.end()[1]
        assert (ESCAPE in text) is coloured
        if command[0] == "up":
            screen.type("no\n")
            screen.end()


def test_escape_sequences_are_shown_harmlessly(sandbox: Sandbox, tmp_path: Path, terminal: Open) -> None:
    """Control characters that somebody put into an alias or a link's name reach no terminal."""
    evil = f"{ESCAPE}[31mred\a"
    name = f"{ESCAPE}[7mx"
    body = BRIDGE.replace("br0.mac", "br0.mac, 'seen': Link.get('up0').alias") + "\n"
    path = str(stack_file(tmp_path, 'Netns("n")\n' + body))
    sandbox.ip("link", "add", "up0", "type", "bridge")
    sandbox.ip("link", "set", "up0", "alias", evil)
    texts = [sandbox.netdsl("up", path, "--yes").stdout]
    sandbox.ip("link", "set", "br0", "alias", evil)
    sandbox.ip("link", "add", name, "type", "bridge", netns="n")
    texts += [terminal(*argv).end()[1] for argv in (["plan", path], ["outputs"], ["destroy", "--yes"])]
    assert [r"\x1b[31mred\x07" in text for text in texts] == [True, True, True, False]
    assert r"\x1b[7mx (bridge)" in texts[-1]
    assert [text for text in texts if evil in text or name in text or "\a" in text] == []
    (change,) = json.loads(sandbox.netdsl("plan", path, "--json").stdout)["changes"]
    assert change["diff"]["alias"]["have"] == evil


def slow(milliseconds: int) -> list[str]:
    """Makes each new netns take that much longer, so that there is time to press a key."""
    inject = f"inject=unshare:delay_enter={milliseconds * 1000}"
    return ["strace", "-f", "-qq", "-o", os.devnull, "-e", "trace=unshare", "-e", inject]


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_loses_nothing(sandbox: Sandbox, terminal: Open, times: int) -> None:
    """Ctrl-C during up finishes what is under way, a second one ends at once: exit code 130; the next up goes on."""
    before = sandbox.dump()
    screen = terminal("up", str(STACKS / "ring.py"), "-p", "nodes=20", "--yes", prefix=slow(1000 if times == 2 else 50))
    sandbox.wait_until(sandbox.netns_names)
    screen.type(CTRL_C)
    screen.expect("finishing what is under way")
    if times == 2:
        screen.type(CTRL_C)
    code, text = screen.end()
    assert code == 130
    assert len(sandbox.netns_names()) < 41 if times == 2 else len(sandbox.netns_names()) == 41
    if times == 1:
        assert "done: 41 created" in text
        assert "interrupted: 501 changes were not made; what was done is recorded" in text
        assert "Run `netdsl up` again" in text
    assert text.rfind(f"{ESCAPE}[?25h") >= text.rfind(f"{ESCAPE}[?25l"), "the cursor stays hidden"
    sandbox.netdsl("up", "ring", "--yes")
    assert "no changes (542 unchanged)" in sandbox.netdsl("plan").stdout
    assert sandbox.ping("c0", "172.16.2.2").received == 1
    sandbox.netdsl("destroy", "--yes")
    assert sandbox.dump() == before


@pytest.mark.parametrize("command", ["kinds", "kinds --markdown", "--help"])
def test_a_full_disk_is_told(sandbox: Sandbox, command: str) -> None:
    """Output that cannot be written is one error and exit code 1, not a traceback."""
    done = sandbox.run(["sh", "-c", f"{sys.executable} -m netdsl {command} >/dev/full"], check=False)
    assert done.returncode == 1
    assert done.stderr == "error: the output cannot be written: No space left on device\n"
