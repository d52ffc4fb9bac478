"""What cannot be done is told: the message, the exit code, and nothing touched."""

from __future__ import annotations

import json
import os
import re
import socket
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest
from saboteur import Saboteur

from labfile import Lab
from labs import RING, plan_of
from netdsl.state.confirm import Listener
from sandbox import Sandbox


@pytest.fixture
def lab(sandbox: Sandbox, tmp_path: Path) -> Lab:
    """A stack that is up, with a check."""
    lab = Lab(sandbox, tmp_path)
    lab.write(BODY, PARAMS)
    lab.up()
    return lab


BODY = 'n = Netns("n")\nBridge("br0", netns=n, mtu=mtu, addresses=["10.0.0.1/24"])\nReachable(n, "10.0.0.1")'
PARAMS = "mtu: int = 1500"


@contextmanager
def guardian(lab: Lab, answer: str) -> Iterator[None]:
    """One that says this to whoever calls."""
    listener = Listener(lab.state_dir, "lab")
    thread = Thread(target=listener.answer, args=(lambda word: answer,))
    thread.start()
    try:
        yield
    finally:
        thread.join()
        listener.close()


ANSWERS = {
    "applying": "error: the run of stack lab is still under way\n       Confirm it when it is done.",
    "undoing": "error: too late: the last run of stack lab is being undone",
    "": "error: no run of stack lab waits to be confirmed\n       `netdsl history` shows whether it was undone.",
}


def test_it_is_not_the_time_to_confirm(lab: Lab) -> None:
    """`confirm` before the run is done, when its time is over, and to one who does not know."""
    for answer, words in ANSWERS.items():
        with guardian(lab, answer):
            assert words in lab.refused(1, "confirm", "lab")


def test_who_guards_says_nothing(lab: Lab) -> None:
    """A guardian that takes the call and does not answer is not waited for without end."""
    listener = Listener(lab.state_dir, "lab")
    said = lab.refused(1, "confirm", "lab")
    listener.close()
    assert "error: who guards the last run of stack lab does not answer\n       Try again." in said


def test_who_guards_survives_nonsense(lab: Lab) -> None:
    """Bytes that are no text do not keep a guardian from confirming."""
    lab.up("-p", "mtu=1300", "--confirm-within", "10m")
    with socket.socket(socket.AF_UNIX) as talk:
        here = os.open(lab.state_dir, os.O_RDONLY)
        talk.connect(f"/proc/self/fd/{here}/lab.confirm")
        os.close(here)
        talk.sendall(b"\xff\xfe\n")
        assert talk.recv(1) == b""
    assert lab.sandbox.netdsl("confirm", "lab").stdout == "stack lab: confirmed\n"


def test_without_a_guardian_nothing_is_done(lab: Lab) -> None:
    """When who would undo the run cannot be started, the run does not begin."""
    before = lab.sandbox.dump()
    (lab.state_dir / "lab.confirm").mkdir()
    said = lab.refused(1, "up", str(lab.path), "--yes", "-p", "mtu=1300", "--confirm-within", "1m")
    assert "the guardian that would undo the run cannot be started\n       Run without --confirm-within." in said
    assert lab.sandbox.dump() == before
    assert len(lab.runs()) == 1


def test_a_netns_that_cannot_be_opened(sandbox: Sandbox) -> None:
    """When no descriptors are left for the netns that a link's other end is to be in, it is said which and why; with
    enough of them the next `up` goes on."""
    up = [sys.executable, "-m", "netdsl", "up", RING, "--yes", "-p", "nodes=40"]
    done = sandbox.run(["sh", "-c", 'ulimit -n 60; exec "$@"', "sh", *up], check=False)
    assert done.returncode == 1
    assert re.search(r"error: netns \w+ cannot be opened: Too many open files", done.stderr), done
    sandbox.netdsl("up", "ring", "--yes")
    assert plan_of(sandbox, RING) == []


def test_what_the_kernel_took_is_gone_again(sandbox: Sandbox, tmp_path: Path) -> None:
    """An object that somebody takes away between its making and the look at it is named, with exit code 4; the next
    `up` makes it again."""
    lab = Lab(sandbox, tmp_path)
    lab.write(BODY, PARAMS)
    thief = "sent:run ip -n n link del br0"  # the first batch marks the netns
    done = Saboteur(sandbox).run("up", str(lab.path), "--yes", strike=thief, at=1)
    assert done.struck
    assert done.code == 4
    assert "lab.py:6: Bridge 'br0' in netns n: the kernel took it, but does not show it" in done.err
    lab.up()
    assert lab.pending() == []


def test_a_sysctl_that_is_set_back(sandbox: Sandbox, tmp_path: Path) -> None:
    """A sysctl that somebody sets back while the rest is written is named, with exit code 4: also where it is looked at
    before all is written."""
    lab = Lab(sandbox, tmp_path)
    lab.write('Veth("v", netns=Netns("n", forwarding=True), peer=VethEnd("w", netns=Netns("m")))')
    zero = tmp_path / "zero"
    zero.write_text("0")
    thief = f"sent:run nsenter --net=/run/netns/n cp {zero} /proc/sys/net/ipv4/ip_forward"
    done = Saboteur(sandbox).run("up", str(lab.path), "--yes", strike=thief, at=2)
    assert done.struck
    assert done.code == 4
    assert "value is '0' after it was set to '1'" in done.err
    lab.up()
    assert lab.pending() == []


def test_a_run_to_go_back_to_that_is_gone(lab: Lab) -> None:
    """A guardian that does not find what it is to go back to leaves a word of that."""
    lab.up("-p", "mtu=1300", "--confirm-within", "1s")
    with sqlite3.connect(lab.state_dir / "lab.db") as state:
        state.execute("DELETE FROM applies WHERE id=1")
    log = lab.state_dir / "lab.guardian.log"
    lab.sandbox.wait_until(lambda: log.exists() and log.read_text())
    assert json.loads(log.read_text()) == "run 1 is not known any more"


NEVER_UP = {
    "history": "stack lab is not recorded: it has no history",
    "refresh": "stack lab is not recorded: there is nothing to compare",
    "rollback": "stack lab is not recorded: there is nothing to go back to",
    "watch": "stack lab is not up: there is nothing to watch",
}


def test_a_stack_that_was_never_up(sandbox: Sandbox, tmp_path: Path) -> None:
    """What needs records says that there are none."""
    lab = Lab(sandbox, tmp_path)
    lab.write(BODY, PARAMS)
    for command, words in NEVER_UP.items():
        assert words in lab.refused(2, command, str(lab.path))
        assert lab.states() == []


def test_refresh_without_a_yes(lab: Lab) -> None:
    """`refresh` that is not asked for on a terminal needs --yes, also with --json."""
    lab.sandbox.run(["ip", "-n", "n", "link", "set", "br0", "mtu", "1300"])
    before = lab.sandbox.netdsl("state", "export").stdout
    assert "refresh needs a confirmation\n       Give --yes, or --preview-only." in lab.refused(2, "refresh", "--json")
    assert "this needs a confirmation\n       Run it on a terminal, or give --yes." in lab.refused(2, "refresh")
    assert lab.sandbox.netdsl("state", "export").stdout == before


def test_checks_without_the_right_to_send(lab: Lab) -> None:
    """`verify` without CAP_NET_RAW says what it lacks."""
    bound = ["setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw"]
    done = lab.sandbox.run([*bound, *lab.argv("verify", str(lab.path))], check=False)
    assert done.returncode == 1
    assert "no permission to send ICMP echoes" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_watch_without_inotify(lab: Lab) -> None:
    """Where no more inotify instances are allowed `watch` says so."""
    lab.sandbox.run(["sh", "-c", "echo 0 > /proc/sys/user/max_inotify_instances"])
    assert f"{lab.state_dir} cannot be watched: Too many open files" in lab.refused(1, "watch", "lab")
