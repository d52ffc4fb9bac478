"""Plans in files: carried out as shown, or refused with the reason."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from going_back import LAB, program

from labs import plan_of
from sandbox import Sandbox


@pytest.fixture
def lab(sandbox: Sandbox, tmp_path: Path) -> str:
    """A lab that is up."""
    path = program(tmp_path)
    sandbox.netdsl("up", path, "--yes")
    return path


def saved(sandbox: Sandbox, folder: Path, *words: str) -> str:
    """The file of a plan."""
    path = str(folder / "p.json")
    sandbox.netdsl("plan", "lab", "--out", path, *words)
    return path


def test_a_plan_is_carried_out(sandbox: Sandbox, lab: str, tmp_path: Path) -> None:
    """up FILE.json does what the plan showed, with its parameters; a second time it is out of date."""
    path = saved(sandbox, tmp_path, "-p", "extra=true")
    assert Path(path).stat().st_mode & 0o777 == 0o600
    assert json.loads(Path(path).read_text())["plan"]["summary"]["create"] == 3
    assert "3 created" in sandbox.netdsl("up", path, "--yes").stdout
    assert plan_of(sandbox, "lab") == []
    again = sandbox.netdsl("up", path, "--yes", check=False)
    assert again.returncode == 1
    assert "stack lab was changed by another run since" in again.stderr


def test_of_a_first_run(sandbox: Sandbox, tmp_path: Path) -> None:
    """A plan of a stack that is not there yet, from anywhere."""
    path = str(tmp_path / "p.json")
    sandbox.netdsl("plan", program(tmp_path), "--out", path, "-p", "mtu=1400")
    sandbox.netdsl("up", path, "--yes", cwd="/")
    assert sandbox.ip("link", "show", "dev", "eth0", netns="here")[0]["mtu"] == 1400


def test_part_of_a_plan(sandbox: Sandbox, lab: str, tmp_path: Path) -> None:
    """What was chosen with --target is kept in the file."""
    path = saved(sandbox, tmp_path, "-p", "extra=true", "-p", "mtu=1400", "--target", "*more*")
    sandbox.netdsl("up", path, "--yes")
    assert "more" in sandbox.netns_names()
    assert sandbox.ip("link", "show", "dev", "eth0", netns="here")[0]["mtu"] == 1500


@pytest.mark.parametrize("moved", ["program", "module", "state", "kernel"])
def test_what_moved_since(sandbox: Sandbox, tmp_path: Path, moved: str) -> None:
    """A plan is refused with the reason when the program, a module of it, state or kernel moved; exit code 1."""
    (tmp_path / "sizes.py").write_text("MORE = 0\n")
    text = LAB.replace("mtu=mtu", "mtu=mtu + sizes.MORE").replace("from netdsl", "import sizes\nfrom netdsl")
    path = program(tmp_path, text)
    sandbox.netdsl("up", path, "--yes")
    plan = saved(sandbox, tmp_path, "-p", "extra=true")
    expected = "the program"
    if moved == "program":
        program(tmp_path, text.replace('"10.7.0.1/24"', '"10.8.0.1/24"'))
    elif moved == "module":
        (tmp_path / "sizes.py").write_text("MORE = -1\n")
    elif moved == "state":
        sandbox.netdsl("up", path, "--yes", "-p", "mtu=1400")
        expected = "stack lab was changed by another run since"
    else:
        sandbox.run(["ip", "-n", "here", "link", "set", "eth0", "mtu", "1300"])
        expected = "the kernel has changed at"
    before = sandbox.dump()
    done = sandbox.netdsl("up", plan, "--yes", check=False)
    assert done.returncode == 1
    assert done.stderr.count("error: ") == 1
    assert "p.json is out of date: " in done.stderr and expected in done.stderr
    assert "Make a new plan" in done.stderr
    assert sandbox.dump() == before


BROKEN = {
    "no JSON": ("{", "is no JSON"),
    "something else": ('{"format": "x"}', "is no plan of netdsl's"),
    "a list": ("[]", "is no plan of netdsl's"),
    "too new": ('{"format": "netdsl plan", "version": 99}', "is a plan of another version of netdsl: 99"),
    "cut": ('{"format": "netdsl plan", "version": 1, "stack": "lab"}', "is no plan of netdsl's"),
}


@pytest.mark.parametrize(("text", "message"), BROKEN.values(), ids=list(BROKEN))
def test_no_plan(sandbox: Sandbox, tmp_path: Path, text: str, message: str) -> None:
    """A file that is no plan is one error, exit code 2."""
    path = tmp_path / "p.json"
    path.write_text(text)
    done = sandbox.netdsl("up", str(path), "--yes", check=False)
    assert done.returncode == 2
    assert done.stderr.count("error: ") == 1 and message in done.stderr


def test_no_file(sandbox: Sandbox, lab: str, tmp_path: Path) -> None:
    """A file that cannot be read, one that cannot be written, and options beside a plan are usage errors."""
    done = sandbox.netdsl("up", str(tmp_path / "none.json"), "--yes", check=False)
    assert done.returncode == 2 and "cannot be read: No such file" in done.stderr
    done = sandbox.netdsl("plan", "lab", "--out", str(tmp_path / "none" / "p.json"), check=False)
    assert done.returncode == 2 and "cannot be written: No such file" in done.stderr
    path = saved(sandbox, tmp_path, "-p", "extra=true")
    done = sandbox.netdsl("up", path, "--yes", "-p", "mtu=1400", check=False)
    assert done.returncode == 2 and "a saved plan has its parameters and options in it" in done.stderr


def test_a_plan_replaces_a_readable_file(sandbox: Sandbox, lab: str, tmp_path: Path) -> None:
    """A file that is there already, readable by all, is nobody else's to read afterwards."""
    path = tmp_path / "p.json"
    path.write_text("old")
    path.chmod(0o644)
    saved(sandbox, tmp_path)
    assert path.stat().st_mode & 0o777 == 0o600
