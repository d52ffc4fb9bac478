"""`netdsl history`: what is remembered of past runs."""

from __future__ import annotations

import json
import re
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from labfile import Lab
from sandbox import Sandbox

BODY = """
br0 = Bridge("br0", mtu=mtu, addresses=["10.0.0.1/24"])
return {"mtu": mtu}
"""


@pytest.fixture
def lab(sandbox: Sandbox, tmp_path: Path) -> Lab:
    """A stack without a program yet."""
    return Lab(sandbox, tmp_path)


def test_every_run_is_listed(lab: Lab) -> None:
    """Number, time, user, command, how it ended, counts and parameters of each run; `up` without changes is none."""
    lab.write(BODY, "mtu: int = 1400")
    before = time.time()
    lab.sandbox.netdsl("up", str(lab.path), "--yes", "-p", "mtu=1400", env={"SUDO_USER": "alice"})
    lab.up()
    lab.up("-p", "mtu=1300")
    lab.sandbox.netdsl("rollback", "lab", "1", "--yes")
    lines = lab.sandbox.netdsl("history").stdout.splitlines()
    when = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d\d:\d\d"
    for line, words in zip(
        lines,
        (
            rf"1  {when}  alice  up          done  2 created  mtu=1400",
            rf"2  {when}  root   up          done  1 updated  mtu=1300",
            rf"3  {when}  root   rollback 1  done  1 updated  mtu=1400",
        ),
        strict=True,
    ):
        assert re.fullmatch(words, line), line
    whole = json.loads(lab.sandbox.netdsl("history", "--json").stdout)
    assert (whole["version"], whole["stack"]) == (1, "lab")
    first, second, third = whole["runs"]
    assert before <= first["started"] <= first["finished"] <= second["started"] <= time.time()
    for word in ("started", "finished"):
        del first[word]
    nothing = dict.fromkeys(("update", "replace", "delete", "forget", "same"), 0)
    assert first == {
        "number": 1,
        "user": "alice",
        "command": "up",
        "status": "done",
        "summary": {"create": 2, **nothing},
        "values": {"mtu": 1400},
    }
    assert third["values"] == {"mtu": 1400}


def test_how_a_run_ended(lab: Lab) -> None:
    """A run that the kernel refused a part of is "partly", one that was killed "unfinished"."""
    lab.write('Bridge("br0")\nRoute("r", dst="10.8.0.0/24", dev=Bridge("br1", up=False))')
    assert lab.up(check=False).returncode == 4
    lab.write('Bridge("br0")\nBridge("br2")')
    lab.killed("up", "lab", "--yes")
    assert [run["status"] for run in lab.runs()] == ["partly", "unfinished"]
    assert lab.runs()[1]["finished"] is None
    assert re.search(r"up  unfinished  nothing$", lab.sandbox.netdsl("history").stdout)
    lab.up()
    assert [run["status"] for run in lab.runs()] == ["partly", "unfinished", "done"]


def test_outputs_alone_belong_to_the_last_run(lab: Lab) -> None:
    """A change of parameters and outputs that nothing in the kernel follows from is no run; the last one tells it."""
    lab.write('Bridge("br0")\nreturn {"word": word}', "word: str = 'one'")
    lab.up()
    lab.up("-p", "word=two")
    (run,) = lab.runs()
    assert run["values"] == {"word": "two"}


def test_what_others_wrote_prints_harmlessly(lab: Lab) -> None:
    """Control characters in a parameter or a user's name cannot reach the terminal."""
    lab.write('Bridge("br0", alias=word)', "word: str = 'x'")
    lab.sandbox.netdsl("up", str(lab.path), "--yes", "-p", "word=\x1b[31mred", env={"SUDO_USER": "a\x1b[2Jb"})
    shown = lab.sandbox.netdsl("history").stdout
    assert "\x1b" not in shown
    assert r"a\x1b[2Jb" in shown
    assert r"word=\x1b[31mred" in shown
    assert lab.runs()[0]["user"] == "a\x1b[2Jb"


@pytest.mark.parametrize("command", [["history"], ["rollback", "--yes"], ["confirm"]], ids=lambda words: words[0])
def test_of_a_stack_that_is_not_recorded(lab: Lab, command: list[str]) -> None:
    """An unknown name is an error that lists the known ones, a file whose stack is not up another; no state is made."""
    lab.write('Bridge("br0")')
    lab.up()
    lab.sandbox.netdsl("destroy", "--yes")
    lab.up("--name", "other")
    before = lab.states()
    said = lab.refused(2, *command, "nosuch")
    assert "error: there is no stack 'nosuch'" in said
    assert re.search(r"Recorded in .*: other\.", said)
    said = lab.refused(1 if command == ["confirm"] else 2, *command, str(lab.path))
    assert re.search(r"stack lab (is not recorded|waits to be confirmed)", said)
    assert lab.states() == before


def test_old_runs_are_dropped(lab: Lab) -> None:
    """A hundred runs are kept, with what only they know."""
    for number in range(3):
        lab.write(f'Bridge("br{number}")')
        lab.up()
    with closing(sqlite3.connect(lab.state_dir / "lab.db")) as state:  # as if there had been a hundred in between
        for table, column in (("applies", "id"), ("resources", "born"), ("past", "died")):
            state.execute(f"UPDATE {table} SET {column} = 102 WHERE {column} = 3")
        state.commit()
    lab.write('Bridge("br3")')
    lab.up()
    assert [run["number"] for run in lab.runs()] == [102, 103]
    said = lab.refused(2, "rollback", "lab", "2", "--yes")
    assert "error: stack lab has no run 2 to go back to" in said
    assert "It keeps runs 102 to 103; `netdsl history` shows them." in said
    assert "has no run 0 to go back to" in lab.refused(2, "rollback", "lab", "0", "--yes")
    lab.sandbox.netdsl("rollback", "lab", "--yes")
    assert set(lab.links()) == {"br2"}
    with closing(sqlite3.connect(lab.state_dir / "lab.db")) as state:
        assert state.execute("SELECT name FROM past").fetchall() == [("br1",), ("br2",), ("br3",)]
