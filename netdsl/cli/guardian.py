"""Commit-confirmed: a process of its own that undoes a run unless somebody confirms it in time.

It is started before the first write, in its own session and without a terminal, and listens on a socket beside the
state. So it does its work when the shell, the ssh session or the run itself are gone, even if the run cut them off.

What it says to the run that started it, and what that says to it, are lines: "ready", then "applied" (or "abandoned"; a
pipe that closes without a word means that the run was killed), then "confirmed" or "undone".
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing, redirect_stdout, suppress
from pathlib import Path
from time import monotonic

from netdsl.errors import GuardError, UsageError

_GRACE = 600.0
"""Seconds to wait for the lock of a run that hangs, before giving up on undoing it."""
_START = 30.0
"""Seconds until a guardian has to be ready."""


class Guard:
    """A guardian as the run sees it that started it."""

    def __init__(self, folder: Path, stack: str, number: int, within: float) -> None:
        """Start it; it is ready when this returns. Raises GuardError when it is not."""
        self.folder, self.stack = folder, stack
        arguments = [str(folder), stack, str(number), str(within)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "netdsl.cli.guardian", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            text=True,
            cwd="/",
            env=environment,
        )
        if self._hear(_START) != "ready":
            raise GuardError(
                "the guardian that would undo the run cannot be started", fix="Run without --confirm-within."
            )

    def _hear(self, seconds: float) -> str:
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            return self._process.stdout.readline().strip() if selector.select(seconds) else ""

    def say(self, word: str) -> None:
        """Tell it how far the run is: "applied" or "abandoned"."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(f"{word}\n")
            self._process.stdin.flush()


def address(folder: Path, stack: str) -> tuple[int, str]:
    """An open descriptor of the state directory, and the socket's path through it: paths of sockets must be short."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    return fd, f"/proc/self/fd/{fd}/{stack}.confirm"


def ask(folder: Path, stack: str, word: str) -> str:
    """Say something to the guardian of a stack; "" when it has none."""
    try:
        fd, path = address(folder, stack)
    except OSError:
        return ""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as talk:
            talk.settimeout(_START)
            talk.connect(path)
            talk.sendall(f"{word}\n".encode())
            return talk.makefile().readline().strip()
    except ConnectionRefusedError:  # it was killed
        with suppress(OSError):
            os.unlink(path)
        return ""
    except OSError:
        return ""
    finally:
        os.close(fd)


def require_none(folder: Path, stack: str) -> None:
    """Raise UsageError while a run of the stack waits for its confirmation."""
    if ask(folder, stack, "status"):
        raise UsageError(
            f"the last run of stack {stack} waits to be confirmed",
            fix=f"Confirm it with `netdsl confirm {stack}`, or wait until it is undone.",
        )


class _Guardian:
    """The process itself."""

    def __init__(self, folder: Path, stack: str, number: int, within: float) -> None:
        self.folder, self.stack, self.number, self.within = folder, stack, number, within
        self.deadline: float | None = None
        self.confirmed = False
        self.selector = selectors.DefaultSelector()
        _, self.path = address(folder, stack)
        with suppress(FileNotFoundError):
            os.unlink(self.path)
        before = os.umask(0o177)
        try:
            self.listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.listening.bind(self.path)
        finally:
            os.umask(before)
        self.listening.listen()
        self.selector.register(self.listening, selectors.EVENT_READ)
        self.selector.register(sys.stdin, selectors.EVENT_READ)

    def run(self) -> None:
        """Wait for what comes first: a confirmation or the deadline."""
        _say("ready")
        try:
            while not self.confirmed:
                left = None if self.deadline is None else self.deadline - monotonic()
                if left is not None and left <= 0:
                    break
                for key, _ in self.selector.select(left):
                    if key.fileobj is self.listening:
                        self._answer()
                    elif not self._hear():
                        return
            if not self.confirmed:
                self._undo()
        finally:
            with suppress(OSError):
                os.unlink(self.path)
        _say("confirmed" if self.confirmed else "undone")

    def _hear(self) -> bool:
        """What the run says; False when there is nothing to guard any more."""
        word = sys.stdin.readline().strip()
        if word == "abandoned":
            return False
        self.selector.unregister(sys.stdin)
        self.deadline = monotonic() + self.within
        return True

    def _answer(self) -> None:
        talk, _ = self.listening.accept()
        with closing(talk), suppress(OSError):
            talk.settimeout(1)
            word = talk.makefile().readline().strip()
            if word == "confirm" and self.deadline is not None:
                self.confirmed = True
                talk.sendall(b"confirmed\n")
            else:
                talk.sendall(b"applying\n" if self.deadline is None else b"waiting\n")

    def _undo(self) -> None:
        from netdsl.cli.deployment import Deployment
        from netdsl.cli.session import open_session
        from netdsl.cli.undo import Before, go_back
        from netdsl.state.lock import locked

        with (
            open(os.devnull, "w") as nowhere,
            redirect_stdout(nowhere),
            locked(self.folder, self.stack, "undo what was not confirmed", _GRACE),
        ):
            session = open_session(self.stack, state_dir=str(self.folder), needs_program=False)
            past = next((run for run in session.store.history() if run.number == self.number), None)
            run = Deployment(session, "rollback, not confirmed", yes=True, as_json=False, details=False)
            go_back(run, Before.of_run(session, past))


def _say(word: str) -> None:
    with suppress(OSError):
        sys.stdout.write(f"{word}\n")
        sys.stdout.flush()


def main(arguments: Sequence[str]) -> None:
    """Guard one run: the state directory, the stack, the run to go back to, and seconds to wait."""
    for ignored in (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE):
        signal.signal(ignored, signal.SIG_IGN)
    folder, stack, number, within = arguments
    try:
        _Guardian(Path(folder), stack, int(number), float(within)).run()
    except Exception as error:  # nobody is there to read it; `netdsl history` shows how far it came
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        log = os.open(Path(folder, f"{stack}.guardian.log"), flags, 0o600)
        os.write(log, f"{json.dumps(str(error))}\n".encode())
        raise


if __name__ == "__main__":
    main(sys.argv[1:])
