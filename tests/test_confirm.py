"""`up --confirm-within` and `netdsl confirm`: a change that undoes itself unless somebody can still say yes."""

from __future__ import annotations

import os
import re
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from labfile import Lab
from netdsl.errors import LockedError
from netdsl.state.confirm import ask, require_none
from sandbox import Sandbox


@pytest.fixture
def lab(sandbox: Sandbox, tmp_path: Path) -> Lab:
    """A stack that is up, and a changed program of it."""
    lab = Lab(sandbox, tmp_path)
    lab.write(BODY, PARAMS)
    lab.up("-p", "mtu=1400")
    return lab


BODY = 'Bridge("br0", mtu=mtu, addresses=["10.0.0.1/24"])\nreturn {"mtu": mtu}'
PARAMS = "mtu: int = 1500"
SOON, LATE = "300ms", "10m"


def commands(lab: Lab) -> list[str]:
    """What was run, by the history."""
    return [run["command"] for run in lab.runs()]


def undone(lab: Lab) -> None:
    """Wait until a run is undone, and nobody waits any more."""
    lab.sandbox.wait_until(lambda: lab.runs()[-1]["command"] == "rollback, not confirmed")
    lab.sandbox.wait_until(lambda: not waiting(lab))


def waiting(lab: Lab) -> bool:
    """Whether a run waits to be confirmed."""
    return Path(lab.state_dir, "lab.confirm").exists()


def test_what_nobody_confirms_is_undone(lab: Lab) -> None:
    """After the time kernel, records, parameters and outputs are what they were; nothing is left to plan, confirm comes
    too late, and the next `up` goes on as ever."""
    before, state = lab.dump(), lab.recorded()
    done = lab.up("-p", "mtu=1300", "--confirm-within", SOON)
    assert "undone in 0.3 s unless you run: netdsl confirm lab\n" in done.stdout
    undone(lab)
    assert lab.dump() == before
    assert lab.recorded() == state
    assert lab.outputs() == {"mtu": 1400}
    assert lab.pending() == []
    assert lab.runs()[-1]["values"] == {"mtu": 1400}
    said = lab.refused(1, "confirm", "lab")
    assert "error: no run of stack lab waits to be confirmed" in said
    assert "`netdsl history` shows whether it was undone." in said
    lab.up("-p", "mtu=1300")
    assert lab.links()["br0"]["mtu"] == 1300


def test_what_is_confirmed_stays(lab: Lab) -> None:
    """After `netdsl confirm` the guard is gone and nothing is undone; a second confirm is an error."""
    lab.up("-p", "mtu=1300", "--confirm-within", LATE)
    assert waiting(lab)
    assert lab.sandbox.netdsl("confirm").stdout == "stack lab: confirmed\n"
    lab.sandbox.wait_until(lambda: not waiting(lab))
    assert "error: no run of stack lab waits to be confirmed" in lab.refused(1, "confirm", "lab")
    assert commands(lab) == ["up", "up"]
    assert lab.links()["br0"]["mtu"] == 1300


def test_nothing_else_runs_while_one_waits(lab: Lab) -> None:
    """While a run waits, others of the stack are refused with the reason, and reading is not."""
    lab.up("-p", "mtu=1300", "--confirm-within", LATE)
    before = lab.dump()
    for command in ("up", "destroy", "rollback"):
        said = lab.refused(2, command, "lab", "--yes")
        assert "error: the last run of stack lab waits to be confirmed" in said
        assert "Confirm it with `netdsl confirm lab`, or wait until it is undone." in said
    assert lab.dump() == before
    assert lab.pending() == []
    lab.sandbox.netdsl("confirm", "lab")
    lab.sandbox.wait_until(lambda: not waiting(lab))
    lab.sandbox.netdsl("destroy", "lab", "--yes")


def test_a_first_up_is_undone_to_nothing(lab: Lab) -> None:
    """Undone, a stack that was not there before has no resources; its history tells why."""
    lab.sandbox.netdsl("destroy", "--yes")
    before = lab.dump()
    lab.up("--confirm-within", SOON)
    undone(lab)
    assert lab.dump() == before
    assert lab.recorded() == {}
    assert commands(lab) == ["up", "rollback, not confirmed"]
    lab.up()


def test_nothing_to_do_needs_no_confirmation(lab: Lab) -> None:
    """An `up` that writes nothing to the kernel does not wait."""
    assert "undone in" not in lab.up("--confirm-within", LATE).stdout
    assert not waiting(lab)


NO_TIMES = {
    "0": "'0' leaves no time",
    "0.0s": "'0.0s' leaves no time",
    "-1s": "'-1s' is no time: write it like 30s, 500ms or 2m",
    "abc": "'abc' is no time: write it like 30s, 500ms or 2m",
    "": "'' is no time: write it like 30s, 500ms or 2m",
    "1e9": "'1e9' is no time: write it like 30s, 500ms or 2m",
    "99999h": "'99999h' is too long: at most 30 days",
    "9" * 400: "is too long: at most 30 days",
}


def test_a_time_that_is_none(lab: Lab) -> None:
    """What is no time, no time at all, or too long to wait for is wrong usage."""
    for value, words in NO_TIMES.items():
        said = lab.refused(2, "up", "lab", "--yes", "-p", "mtu=1300", "--confirm-within", value)
        assert "Invalid value for '--confirm-within'" in said
        assert words in said
    assert "is no time" in lab.refused(2, "up", "lab", "--lock-timeout", "soon")
    assert lab.links()["br0"]["mtu"] == 1400


def test_a_relative_state_directory(lab: Lab) -> None:
    """The guard finds a state directory that was named relative to where `up` was called."""
    where = {"cwd": lab.folder, "env": {"NETDSL_STATE_DIR": "states"}}
    lab.write('Bridge("br5")')
    lab.sandbox.netdsl("up", "lab.py", "--yes", "--confirm-within", SOON, **where)
    lab.sandbox.wait_until(lambda: set(lab.links()) == {"br0"})


def test_the_stacks_directory_is_not_searched_for_modules(lab: Lab) -> None:
    """A file beside the program that is called like a module of Python does not keep the guard from starting."""
    (lab.folder / "selectors.py").write_text("raise SystemExit('not this one')\n")
    lab.up("-p", "mtu=1300", "--confirm-within", SOON)
    undone(lab)
    assert lab.links()["br0"]["mtu"] == 1400


# Who started it is gone


def test_the_session_is_gone(lab: Lab) -> None:
    """It is undone although the shell that called `up`, its whole session, was ended and its terminal hung up."""
    script = 'echo $$; "$@"; echo done; read -r _'
    up = lab.argv("up", "lab", "--yes", "-p", "mtu=1300", "--confirm-within", "1s")
    shell = lab.sandbox.popen(["setsid", "--wait", "sh", "-c", script, "sh", *up])
    assert shell.stdout
    leader = int(shell.stdout.readline())
    while shell.stdout.readline() != "done\n":
        pass
    assert lab.links()["br0"]["mtu"] == 1300
    members = session(leader)
    assert members
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGKILL):
        for pid in members:
            if pid in session(leader):
                with suppress(ProcessLookupError):  # its end was under way
                    os.kill(pid, number)
    shell.wait()
    undone(lab)
    assert lab.links()["br0"]["mtu"] == 1400


def session(leader: int) -> list[int]:
    """The processes of a session."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdecimal():
            try:
                fields = Path("/proc", name, "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == leader and fields[0] != "Z":
                found.append(int(name))
    return found


def test_an_up_that_is_killed_midway_is_undone(lab: Lab) -> None:
    """Killed with signal 9 while it writes, what it did is undone in time as well."""
    before = lab.dump()
    body = 'Bridge("br0", mtu=1300, addresses=["10.0.0.1/24"])\n' + "\n".join(
        f'Bridge("n{number}", netns=Netns("n{number}"))' for number in range(3)
    )
    lab.write(body)
    lab.killed("up", "lab", "--yes", "--confirm-within", SOON)
    lab.sandbox.wait_until(lambda: not waiting(lab))
    assert lab.dump() == before
    lab.write(BODY, PARAMS)
    assert lab.pending() == []


def test_a_guard_that_was_killed_is_none(lab: Lab) -> None:
    """When the guard itself is killed, its socket is no guard: the run stands, and the next one goes on."""
    lab.up("-p", "mtu=1300", "--confirm-within", LATE)
    (guard,) = guards(lab)
    os.kill(guard, signal.SIGKILL)
    lab.sandbox.wait_until(lambda: not guards(lab))
    assert "error: no run of stack lab waits to be confirmed" in lab.refused(1, "confirm", "lab")
    lab.up("-p", "mtu=1200")
    assert lab.links()["br0"]["mtu"] == 1200


def guards(lab: Lab) -> list[int]:
    """The processes that guard a run of the stack."""
    found = []
    for name in os.listdir("/proc"):
        try:
            words = Path("/proc", name, "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"netdsl.cli.guardian" in words and str(lab.state_dir).encode() in words:
            found.append(int(name))
    return found


# At the deadline


def test_who_comes_while_it_is_undone_is_turned_away(lab: Lab) -> None:
    """When the time is over, confirm is too late; another `up`, even one that has the lock already, is refused with the
    reason instead of being undone as well."""
    lab.up("-p", "mtu=1300", "--confirm-within", "1s")
    with lab.holding():  # so the guard waits for the lock
        lab.sandbox.wait_until(lambda: ask(lab.state_dir, "lab", "status") == "undoing")
        said = lab.refused(1, "confirm", "lab")
        assert "error: too late: the last run of stack lab is being undone" in said
        with pytest.raises(LockedError, match="was not confirmed, and is about to be undone"):
            require_none(lab.state_dir, "lab")
    undone(lab)
    assert lab.links()["br0"]["mtu"] == 1400


# With failures

REFUSED = (
    'Bridge("br0", mtu=1300, addresses=["10.0.0.1/24"])\nRoute("no", dst="10.8.0.0/24", dev=Bridge("d", up=False))'
)


def test_what_failed_is_undone_too(lab: Lab) -> None:
    """When the kernel refused a part, the rest is undone in time, and the error says so."""
    before = lab.dump()
    lab.write(REFUSED)
    done = lab.up("--confirm-within", SOON, check=False)
    assert done.returncode == 4
    assert "error: what was done is undone in 0.3 s unless you run: netdsl confirm lab" in done.stderr
    undone(lab)
    assert lab.dump() == before


def test_what_was_rolled_back_needs_no_guard(lab: Lab) -> None:
    """With --rollback-on-failure nothing is left to be undone: the guard goes at once."""
    before = lab.dump()
    lab.write(REFUSED)
    done = lab.up("--confirm-within", LATE, "--rollback-on-failure", check=False)
    assert done.returncode == 1
    assert lab.dump() == before
    lab.sandbox.wait_until(lambda: not waiting(lab))
    assert commands(lab) == ["up", "up", "rollback"]


def test_an_undoing_that_fails_is_logged(lab: Lab) -> None:
    """When something foreign bars the way back, the reason is in a log beside the state that only its owner reads."""
    lab.write('Bridge("br1", addresses=["10.0.0.1/24"])')
    lab.up("--confirm-within", "1s")
    lab.sandbox.ip("link", "add", "br0", "type", "bridge")
    lab.sandbox.wait_until(lambda: not waiting(lab))
    log = lab.state_dir / "lab.guardian.log"
    assert re.search("Bridge 'br0' exists already and is not this stack's", log.read_text())
    assert log.stat().st_mode & 0o777 == 0o600
    assert set(lab.links()) == {"br0", "br1"}


# What it is for


def test_an_operator_who_cuts_off_himself_comes_back(lab: Lab) -> None:
    """An operator reaches the node only through the link that the stack changes. An `up` that cuts it off undoes
    itself: the node answers no longer, and then it does again."""
    run = lab.sandbox.run
    run(["sh", "-c", "ip netns add operator; ip netns add node"])
    body = """
    wire = Veth("eth0", netns=Netns.get("operator"), addresses=["10.1.0.1/24"],
                peer=VethEnd("eth0", netns=Netns.get("node"), addresses=[address]))
    """
    lab.write(body, 'address: str = "10.1.0.2/24"')
    lab.up()

    def answers() -> bool:
        return lab.sandbox.ping("operator", "10.1.0.2").received == 1

    lab.sandbox.wait_until(answers)
    lab.up("-p", "address=10.2.0.2/24", "--confirm-within", "3s")
    assert not answers()
    lab.sandbox.wait_until(answers)
    undone(lab)
    assert lab.pending() == []
