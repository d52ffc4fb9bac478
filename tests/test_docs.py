"""The documentation is true: its programs run, its commands print what it shows, its links lead somewhere.

How a page is read, from top to bottom:

    ```python     a program; with `# NAME.py` in its first line it is written to that file
    ```diff       a change to the file that its first line names; `@@` stands between two places
    ```console    commands, each after "$ ", and what they print: "..." alone on a line stands for any lines, within
                  a line for anything. Times differ from run to run and are not compared
    ```sh         commands without their output
"""

from __future__ import annotations

import doctest
import importlib
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest

import netdsl
from labs import STACKS, captured
from netdsl import wire
from netdsl.cli import COMMANDS
from netdsl.cli.manual import COMPONENTS, manual
from netdsl.cli.state import command as state_command
from netdsl.engine.change import Plan
from netdsl.engine.compile import Encoding, all_steps, assign_ifindexes
from netdsl.engine.deploy import relate_offline
from netdsl.engine.observe import Observation
from netdsl.engine.plan import make_plan
from netdsl.kinds import KINDS
from netdsl.kinds.link import Link
from netdsl.kinds.link_wire import IFLA_IFNAME, IFLA_LINKINFO, INFO_KIND, RTM_NEWLINK
from netdsl.lang.ops import Send
from netdsl.lang.stack import declare, stack
from sandbox import Sandbox

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
DOCS = ROOT / "docs"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.glob("*.md")), ROOT / "benchmarks" / "README.md"]

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
SANDBOX = re.compile(r"^unshare .*$", re.M)
CAPTURE = re.compile(r"netdsl exec (\S+) -- tcpdump -c1 -nei (\S+) (.*) &")
PATIENCE = 20
"""Seconds for the kernel to show what is written: carriers, neighbours and first packets take their time."""


class Block(NamedTuple):
    """One fenced block: the language that it says, its text, and the line it begins at."""

    language: str
    text: str
    line: int


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page, in order."""
    text = page.read_text()
    return [Block(m[1], m[2], text[: m.start()].count("\n") + 1) for m in FENCE.finditer(text)]


def command(name: str) -> str:
    """The command that README.md marks with a name: one line in a block of its own, right below the mark."""
    found = re.findall(rf"^<!-- command: {name} -->\n```sh\n(.+)\n```$", README.read_text(), re.M)
    assert len(found) == 1, f"README.md marks {len(found)} one-line commands as {name!r}"
    return str(found[0])


def examples(text: str) -> Iterator[tuple[str, str]]:
    """The commands of a console block, each with what it prints."""
    for part in re.split(r"^\$ ", text, flags=re.M)[1:]:
        line, _, output = part.partition("\n")
        yield line, output


def pattern(shown: str) -> re.Pattern[str]:
    """What an output has to match to be the one that is shown."""
    found = ""
    for line in plain(shown).splitlines():
        found += r"(?:.*\n)*?" if line == "..." else r".*".join(map(re.escape, line.split("..."))) + r"\n"
    return re.compile(found)


def plain(output: str) -> str:
    """Output without times and without spaces at the ends of lines."""
    output = re.sub(r"\btime=[\d.]+ ms", "time=(some) ms", output)
    return "".join(f"{line.rstrip()}\n" for line in output.splitlines())


def changed(text: str, diff: str) -> str:
    """A file's text with a change made to it; every place has to be found exactly once."""
    for hunk in re.split(r"^@@\n", diff, flags=re.M):
        lines = hunk.splitlines(keepends=True)
        old = "".join(line[1:] for line in lines if line[0] in " -")
        new = "".join(line[1:] for line in lines if line[0] in " +")
        assert text.count(old) == 1, f"{text.count(old)} places for\n{hunk}"
        text = text.replace(old, new)
    return text


class Reader:
    """Somebody who does what a page says, in a directory of a sandbox."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        self.sandbox = sandbox
        self.folder = folder
        self.capture: re.Match[str] | None = None

    def follow(self, page: Path) -> None:
        """Go through a page from top to bottom."""
        for block in blocks(page):
            try:
                self.step(block)
            except AssertionError as error:
                raise AssertionError(f"{page.name}:{block.line}: {error}") from None

    def step(self, block: Block) -> None:
        """Do what one block says."""
        first, _, rest = block.text.partition("\n")
        named = re.fullmatch(r"# (\w+\.py)", first)
        if block.language == "python" and named:
            (self.folder / named[1]).write_text(block.text)
        elif block.language == "diff":
            assert named, "a change without a file"
            file = self.folder / named[1]
            file.write_text(changed(file.read_text(), rest))
        elif block.language == "console":
            for line, shown in examples(block.text):
                self.type(line, shown)

    def type(self, line: str, shown: str) -> None:
        """Run a command, and compare what it prints. Whatever changes nothing is repeated until it is right."""
        if match := CAPTURE.fullmatch(line):
            self.capture = match
            return
        once = line.startswith("netdsl ") and not line.startswith("netdsl exec ")
        wanted, end = pattern(shown), time.monotonic() + PATIENCE
        while not wanted.fullmatch(plain(got := self.output(line))):
            assert not once and time.monotonic() < end, f"$ {line}\n{got}\n--- instead of\n{shown}"
            time.sleep(0.1)
        self.capture = None

    def output(self, line: str) -> str:
        """What a command prints, stderr included; with tcpdump in the background the packet that it prints."""
        if self.capture is not None:
            netns, dev, what = self.capture.groups()
            packets = captured(self.sandbox, self.folder, netns, dev, what, lambda: self.shell(line))
            return packets.splitlines()[0]
        return self.shell(line)

    def shell(self, line: str) -> str:
        """What a shell prints."""
        done = self.sandbox.run(["sh", "-c", f"{line} 2>&1"], check=False, cwd=self.folder)
        return done.stdout


@pytest.fixture
def reader(sandbox: Sandbox, tmp_path: Path) -> Reader:
    """A reader in an empty directory of a sandbox, with `netdsl` on the path."""
    programs, folder = tmp_path / "bin", tmp_path / "work"
    programs.mkdir()
    folder.mkdir()
    program = programs / "netdsl"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m netdsl "$@"\n')
    program.chmod(0o755)
    sandbox.env["PATH"] = f"{programs}:{sandbox.env['PATH']}"
    return Reader(sandbox, folder)


def test_the_tutorial_shows_what_happens(reader: Reader) -> None:
    """Every program of the tutorial runs as it stands, and every command prints what the tutorial shows."""
    reader.follow(DOCS / "tutorial.md")
    assert reader.sandbox.netns_names() == []


def test_the_language_is_as_described(reader: Reader) -> None:
    """The programs of the page about the language run, or fail, as it shows."""
    reader.follow(DOCS / "language.md")
    assert reader.sandbox.netns_names() == []


def test_operations_are_as_described(reader: Reader) -> None:
    """The commands of the page about operations print what it shows."""
    reader.follow(DOCS / "operations.md")
    assert reader.sandbox.netns_names() == []


def run_try(reader: Reader) -> None:
    """Run README's `try` command, without the part that installs."""
    setup, _, up = command("try").partition(" && ")
    assert setup == "sh dev/setup.sh run"
    reader.sandbox.run(["sh", "-c", up.replace(".venv/bin/netdsl", "netdsl")], cwd=ROOT)


def test_the_commands_to_try_work(reader: Reader) -> None:
    """README's `try` command brings the lab up, and what it says to type next prints what stands beside it."""
    run_try(reader)
    following = next(b.text for b in blocks(README) if b.language == "sh" and ".venv/bin/netdsl exec" in b.text)
    for line in following.splitlines():
        typed, _, promised = line.partition("#")
        words = re.findall(r"ttl=62|no changes|\d+ to replace|\d+ deleted", promised)
        assert words, line
        reader.type(typed.strip().replace(".venv/bin/", ""), f"...\n...{words[0]}...\n...\n")
    assert reader.sandbox.netns_names() == []


def test_the_readme_shows_what_happens(reader: Reader) -> None:
    """README's recorded plan is what netdsl plans after that drift, and its first stack does what it shows."""
    plans, first = [block for block in blocks(README) if block.language == "console"]
    run_try(reader)
    reader.step(plans)
    reader.shell("netdsl destroy --yes")
    (program,) = [block for block in blocks(README) if block.language == "python"]
    reader.step(program)
    reader.step(first)


def test_the_sandbox_line_leaves_nothing_behind(reader: Reader) -> None:
    """In the shell that the pages open for trying, a lab comes up; outside neither a namespace nor a state is left."""
    (line,) = {match[0] for page in PAGES for match in SANDBOX.finditer(page.read_text())}
    assert all(option in line for option in (" --user ", " --net ", " --mount "))
    before = reader.sandbox.dump()
    script = f"netdsl up {STACKS}/two_node_vxlan.py --yes\nnetdsl list\nip netns\n"
    done = reader.sandbox.run(["sh", "-c", line], input=script, cwd=reader.folder)
    assert "done: 34 created\n" in done.stdout
    assert re.search(r"^two_node_vxlan +34 resources .*\n(.*\n)*vm1\b", done.stdout, re.M)
    assert reader.sandbox.dump() == before
    assert "no stacks" in reader.shell("netdsl list")


def test_the_setup_knows_the_modes_that_the_pages_name(reader: Reader) -> None:
    """Both README commands begin with a call of dev/setup.sh that it understands."""
    assert command("test") == "sh dev/setup.sh && .venv/bin/pytest -n 2"
    usage = reader.sandbox.run(["sh", str(ROOT / "dev" / "setup.sh"), "--help"], check=False).stderr
    assert "[dev|run]" in usage
    used = {mode for page in PAGES for mode in re.findall(r"sh dev/setup\.sh (\w+)", page.read_text())}
    assert used <= {"dev", "run"}


def test_an_untrue_page_is_noticed(reader: Reader) -> None:
    """Another output than the shown one, a wrong time aside, and a change that fits nowhere are errors."""
    reader.step(Block("console", "$ echo a; echo b c; echo time=1.5 ms\n...\nb ...\ntime=0.2 ms\n", 1))
    for wrong in ("b c\n", "a\nb c\n", "a\nb\ntime=1.5 ms\n", "...\nc\n...\n", ""):
        assert not pattern(wrong).fullmatch("a\nb c\ntime=1.5 ms\n"), wrong
    with pytest.raises(AssertionError, match="instead of"):
        reader.step(Block("console", "$ netdsl list\nnothing\n", 1))
    assert changed("a\nb\nc\n", " a\n-b\n+d\n") == "a\nd\nc\n"
    with pytest.raises(AssertionError, match="0 places"):
        changed("a\n", "-b\n+c\n")


def plan_for(kind: type[Link]) -> tuple[Plan, Encoding]:
    """A plan that makes one link of a kind in an empty kernel."""

    @stack
    def lab() -> None:
        kind("dummy0", mac="02:00:00:00:00:01", mtu=1400, addresses=["192.0.2.1/32"])

    plan = make_plan("lab", relate_offline(declare(lab, "lab", {}).items), [], Observation())
    assign_ifindexes(plan, Observation(), [])
    return plan, Encoding(plan, Observation(), lambda netns: -1)


@pytest.fixture
def dummy(monkeypatch: pytest.MonkeyPatch) -> type[Link]:
    """The kind that docs/add-a-kind.md writes, from the page itself."""
    (block,) = [block for block in blocks(DOCS / "add-a-kind.md") if block.language == "python"]
    module = ModuleType("netdsl.kinds.dummy")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(block.text, "dummy.py", "exec"), module.__dict__)
    found: type[Link] = module.__dict__["Dummy"]
    return found


def test_the_worked_kind_works(dummy: type[Link]) -> None:
    """The worked example declares a link: its message says what it should, and so does its `ip` command."""
    plan, encoding = plan_for(dummy)
    (link,) = [step for step in all_steps(plan) if step.item.kind is dummy]
    message, *_ = link.ops(encoding)
    assert isinstance(message, Send)
    assert (message.kind, message.flags) == (RTM_NEWLINK, wire.F_CREATE | wire.F_EXCL)
    _, _, index, flags, _ = wire.IFINFO.unpack_from(message.body)
    assert (index, flags) == (link.item.extra["ifindex"], 1)
    found = wire.attrs(message.body, wire.IFINFO.size, len(message.body))
    assert wire.text(found[IFLA_IFNAME]) == "dummy0"
    assert dummy.properties["mac"].type.unpack(found[dummy.properties["mac"].number]) == "02:00:00:00:00:01"
    assert dummy.properties["mtu"].type.unpack(found[dummy.properties["mtu"].number]) == 1400
    info = wire.attrs(found[IFLA_LINKINFO], 0, len(found[IFLA_LINKINFO]))
    assert info == {INFO_KIND: b"dummy"}
    shown = next(block.text for block in blocks(DOCS / "add-a-kind.md") if block.language == "sh")
    assert [line for step in all_steps(plan) for line in step.commands(encoding)] == shown.splitlines()


def test_the_worked_kind_is_in_the_manual(dummy: type[Link]) -> None:
    """A new kind has its chapter in the manual without a line written for it."""
    assert "## Dummy\n\nA link without a wire" in manual([*KINDS.values(), dummy])
    assert "port_isolated" in manual([dummy], title=False)


def test_the_quoted_declaration_is_real() -> None:
    """The property that docs/add-a-kind.md quotes stands like that in the kind that it names."""
    page = (DOCS / "add-a-kind.md").read_text()
    (quoted,) = re.findall(r"^    (vni: .*)$", page, re.M)
    assert quoted in (ROOT / "netdsl" / "kinds" / "vxlan.py").read_text()


def test_the_manual_is_fresh() -> None:
    """docs/kinds.md is what `netdsl kinds --markdown` prints."""
    assert (DOCS / "kinds.md").read_text() == manual(list(KINDS.values())), "netdsl kinds --markdown > docs/kinds.md"


SHOWN = [
    path for part in ("netdsl", "stacks") for path in sorted((ROOT / part).rglob("*.py")) if ">>> " in path.read_text()
]
"""Files with examples in docstrings."""


@pytest.mark.parametrize("path", SHOWN, ids=lambda path: str(path.relative_to(ROOT)))
def test_examples_in_docstrings_hold(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a docstring shows with >>> is what comes of it."""
    monkeypatch.syspath_prepend(str(STACKS))
    monkeypatch.syspath_prepend(str(ROOT))
    name = ".".join(path.relative_to(STACKS if path.is_relative_to(STACKS) else ROOT).with_suffix("").parts)
    done = doctest.testmod(importlib.import_module(name))
    assert done.attempted and not done.failed


def anchors(page: Path) -> set[str]:
    """What a link can point at within a page: its headings, in the way of GitHub."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text()), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Every link within the repository leads to a file, and to a heading of it where it names one."""
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", page.read_text())):
        if not target.startswith("https://"):
            name, _, heading = target.partition("#")
            file = page.parent / name if name else page
            assert file.exists(), target
            assert not heading or heading in anchors(file), target


def test_every_page_is_linked() -> None:
    """From the README one gets to every page."""
    reached, queue = {README}, [README]
    while queue:
        page = queue.pop()
        for name in re.findall(r"\]\(([^)#\s:]+\.md)", page.read_text()):
            target = (page.parent / name).resolve()
            if target not in reached:
                reached.add(target)
                queue.append(target)
    assert {page.resolve() for page in PAGES} <= {page.resolve() for page in reached}


def test_everything_is_spoken_of() -> None:
    """Every command, every kind, every name that a stack imports, and every stack is in the documentation."""
    text = "\n".join(page.read_text() for page in PAGES)
    _, _, table = README.read_text().partition("\n## Commands\n")
    first_cells = " ".join(re.findall(r"^\| (`.*?) \|", table.partition("\n## ")[0], re.M))
    assert set(re.findall(r"`(\w+)", first_cells)) == set(COMMANDS)
    for name in netdsl.__all__:
        assert re.search(rf"\b{name}\b", text), name
    for name in (cls.__name__ for cls in (*KINDS.values(), *COMPONENTS)):
        assert re.search(rf"\b{name}\b", README.read_text()), name
    for path in STACKS.glob("*.py"):
        if "@stack" in path.read_text():
            assert f"(stacks/{path.name})" in README.read_text(), path.name


def test_no_command_is_invented() -> None:
    """Every `netdsl COMMAND` that the documentation writes is a command, and so is every `state` command."""
    text = "\n".join(page.read_text() for page in PAGES)
    assert set(re.findall(r"(?:`|\$ |bin/)netdsl ([a-z]+)", text)) <= set(COMMANDS)
    assert set(re.findall(r"netdsl state ([a-z]+)", text)) <= set(getattr(state_command, "commands", {}))
