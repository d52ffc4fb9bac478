"""The documentation says what is true: its programs run, its outputs are what is printed, its links lead somewhere."""

from __future__ import annotations

import doctest
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from netdsl.cli import COMMANDS
from netdsl.cli.manual import manual
from netdsl.kinds import KINDS
from netdsl.lang.stack import declare, stack
from sandbox import Sandbox

ROOT = Path(__file__).parent.parent
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "benchmarks" / "README.md"]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)
ELLIPSIS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of one language."""
    return [text for kind, text in FENCE.findall(page.read_text()) if kind == language]


def examples(block: str) -> Iterator[tuple[str, str]]:
    """The commands of a console block, each with what it should print."""
    for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
        command, _, output = part.partition("\n")
        yield command, output.replace("<BLANKLINE>\n", "\n")


@pytest.fixture
def shell(sandbox: Sandbox, tmp_path: Path) -> Sandbox:
    """A sandbox in which `netdsl` is a command."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "netdsl"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m netdsl "$@"\n')
    program.chmod(0o755)
    sandbox.env["PATH"] = f"{folder}:{sandbox.env['PATH']}"
    sandbox.env["PYTHONPATH"] = str(ROOT)
    return sandbox


def test_the_tutorial_tells_what_happens(shell: Sandbox, tmp_path: Path) -> None:
    """Each program of the tutorial is written to its file and each command run; the output is the one that is shown."""
    checker = doctest.OutputChecker()
    for kind, text in FENCE.findall((ROOT / "docs" / "tutorial.md").read_text()):
        if kind == "python":
            name = re.match(r"# (\w+\.py)\n", text)
            assert name, text
            (tmp_path / name[1]).write_text(text)
        elif kind == "console":
            for command, wanted in examples(text):
                ping = "received, 0% packet loss" in wanted or "ttl=" in wanted

                def run(command: str = command) -> str:
                    done = shell.run(["sh", "-c", command], cwd=tmp_path, check=False)
                    return done.stdout + done.stderr

                def right(command: str = command, wanted: str = wanted) -> bool:
                    return checker.check_output(wanted, run(command), ELLIPSIS)

                if ping:  # the first packets after a link came up may be lost
                    shell.wait_until(right)
                else:
                    got = run()
                    assert checker.check_output(wanted, got, ELLIPSIS), f"$ {command}\n{got}\n--- wanted\n{wanted}"


def test_the_first_stack_works(shell: Sandbox, tmp_path: Path) -> None:
    """The README's first stack comes up as it stands, plans nothing then, and one container more is only that."""
    (program,) = blocks(ROOT / "README.md", "python")
    (tmp_path / "first.py").write_text(program)
    shell.run(["netdsl", "up", "first.py", "--yes"], cwd=tmp_path)
    assert shell.run(["netdsl", "plan", "--detailed-exitcode"], cwd=tmp_path).returncode == 0
    more = shell.run(["netdsl", "plan", "-p", "containers=3"], cwd=tmp_path).stdout
    assert "to create (" in more and "update" not in more and "c2" in more
    shell.run(["netdsl", "destroy", "--yes"], cwd=tmp_path)


def test_the_commands_to_try_work(shell: Sandbox) -> None:
    """What the README says to type first brings the lab up, and what it says to type next works on it."""
    _, _, rest = (ROOT / "README.md").read_text().partition("<!-- command: try -->\n")
    first, following = [text for kind, text in FENCE.findall(rest) if kind == "sh"][:2]
    for line in [first.split("&&")[1], *following.splitlines()]:
        command = line.replace(".venv/bin/netdsl", "netdsl").partition("#")[0]
        if "ping" in command:
            shell.wait_until(lambda command=command: "ttl=62" in shell.run(["sh", "-c", command], check=False).stdout)  # type: ignore[misc]
        else:
            shell.run(["sh", "-c", command], cwd=ROOT)
    assert shell.netns_names() == []


def test_the_manual_is_fresh() -> None:
    """docs/kinds.md is what `netdsl kinds --markdown` prints."""
    assert (ROOT / "docs" / "kinds.md").read_text() == manual(list(KINDS.values()))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Every link to a file of the repository leads to one."""
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_everything_is_mentioned() -> None:
    """Every command and every kind is spoken of in the README."""
    text = (ROOT / "README.md").read_text()
    for word in [*COMMANDS, *(cls.__name__ for cls in KINDS.values())]:
        assert re.search(rf"\b{word}\b", text), word


def test_the_worked_kind_works() -> None:
    """The kind of the guide is a whole file: declared, it gives the message and the command that it should."""
    (source,) = blocks(ROOT / "docs" / "add-a-kind.md", "python")
    module = ModuleType("dummy")
    sys.modules["dummy"] = module
    exec(source, module.__dict__)

    @stack
    def lab() -> None:
        module.Dummy("dum0", mtu=1400, mac="02:00:00:00:00:01")

    (item,) = declare(lab, "lab", {}).items

    class Env:
        stack = "lab"

        def ifindex(self, netns: str, name: str) -> int:
            return 7

    message = item.kind.create(item, Env())[0]  # type: ignore[arg-type]
    assert b"\x0a\x00\x01\x00dummy" in message.body or b"\x09\x00\x01\x00dummy" in message.body  # type: ignore[union-attr]
    command = item.kind.commands("create", item, item.props, Env())[0]  # type: ignore[arg-type]
    assert command == "ip link add name dum0 mtu 1400 address 02:00:00:00:00:01 type dummy"
