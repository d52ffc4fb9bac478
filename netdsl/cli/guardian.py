"""Commit-confirmed: a process of its own that undoes a run unless somebody confirms it in time.

It is started before the first write, in its own session and without a terminal, and listens on a socket beside the
state. So it does its work when the shell, the ssh session or the run itself are gone, even if the run cut them off.

What it says to the run that started it, and what that says to it, are lines:

    run       the probes, as JSON
    guardian  "ready"
    run       "applied" when the time begins to run, "whole" when all went well, "abandoned" when there is nothing to
              undo; a pipe that closes without a word means that the run was killed
    guardian  "passed" when the probes confirmed the run, "confirmed" when somebody did, "undone" when nobody did, and
              "stuck" when it cannot undo it; the last two with the reasons as JSON

Probes confirm only a run of which all went well. A part of it stands only if somebody says so.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Sequence
from contextlib import redirect_stdout, suppress
from pathlib import Path
from time import monotonic

import netdsl
from netdsl.cli.probes import SECONDS, try_out
from netdsl.errors import GuardError
from netdsl.lang.check import Check, from_data
from netdsl.state.confirm import Listener

_GRACE = 600.0
"""Seconds to wait for the lock of a run that hangs, before giving up on undoing it."""
_START = 30.0
"""Seconds until a guardian has to be ready."""
_BETWEEN = 0.2
"""Seconds between rounds of probes."""
_LEAST = 0.05
"""Seconds that a probe has at least, however near the deadline is."""


class Guard:
    """A guardian as the run sees it that started it."""

    def __init__(self, folder: Path, stack: str, number: int, within: float, probes: Sequence[Check] = ()) -> None:
        """Start it; it is ready when this returns. Raises GuardError when it is not."""
        self.within, self.probes = within, probes
        arguments = [os.path.abspath(folder), stack, str(number), str(within)]
        # Its path of modules is not this process's: there the stack's directory comes first.
        home = str(Path(netdsl.__file__).parent.parent)
        paths = [os.environ.get("PYTHONPATH", ""), "" if home == sysconfig.get_path("purelib") else home]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "netdsl.cli.guardian", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            text=True,
            cwd="/",
            env=environment,
        )
        self.say(json.dumps([check.as_data() for check in probes]))
        if self._hear(_START) != "ready":
            self._process.kill()
            raise GuardError(
                "the guardian that would undo the run cannot be started", fix="Run without --confirm-within."
            )

    def _hear(self, seconds: float) -> str:
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            return self._process.stdout.readline().strip() if selector.select(seconds) else ""

    def say(self, word: str) -> None:
        """Tell it how far the run is: "applied", "whole", or "abandoned" when there is nothing to undo."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(f"{word}\n")
            self._process.stdin.flush()

    def verdict(self) -> tuple[str, list[str]]:
        """Wait for its end: "passed", "confirmed", "undone" or "stuck", or "" if it died; and the reasons."""
        word, _, reasons = self._hear(self.within + _GRACE).partition(" ")
        return word, json.loads(reasons) if reasons else []


class _Guardian:
    """The process itself."""

    def __init__(self, folder: Path, stack: str, number: int, within: float, probes: Sequence[Check]) -> None:
        self.folder, self.stack, self.number, self.within, self.probes = folder, stack, number, within, probes
        self.deadline: float | None = None
        self.undoing = self.trying = False
        self.verdict = ""
        self.reasons: list[str] = []
        self.listener = Listener(folder, stack)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.selector.register(sys.stdin, selectors.EVENT_READ)

    def run(self) -> None:
        """Wait for what comes first: a confirmation, probes that pass, or the deadline."""
        _say("ready")
        try:
            while not self.verdict:
                left = None if self.deadline is None else max(0.0, self.deadline - monotonic())
                for key, _ in self.selector.select(min(_BETWEEN, left) if self.trying and left else left):
                    if key.fileobj is self.listener:
                        self.listener.answer(self._reply)
                    elif not self._hear():
                        return
                if left == 0 and not self.verdict:
                    self._undo()
                    self.verdict = "undone"
                elif self.trying and not self.verdict:
                    self._try()
        finally:
            self.listener.close()
        _say(f"{self.verdict} {json.dumps(self.reasons)}" if self.verdict == "undone" else self.verdict)

    def _hear(self) -> bool:
        """What the run says; False when there is nothing to guard any more."""
        words = os.read(sys.stdin.fileno(), 4096).decode().split()
        if not words:  # it has ended
            self.selector.unregister(sys.stdin)
        if self.deadline is None:
            self.deadline = monotonic() + self.within
        self.trying |= "whole" in words and bool(self.probes)
        return "abandoned" not in words

    def _try(self) -> None:
        assert self.deadline is not None
        try:
            self.reasons = try_out(self.probes, max(_LEAST, min(SECONDS, self.deadline - monotonic())))
        except Exception as error:  # whatever it is, it must not keep the run from being undone
            self.reasons = [str(error)]
        if not self.reasons:
            self.verdict = "passed"

    def _reply(self, word: str) -> str:
        if self.undoing:
            return "undoing"
        if self.deadline is None:
            return "applying"
        if word == "confirm":
            self.verdict = "confirmed"
        return "confirmed" if self.verdict else "waiting"

    def _turn_away(self) -> None:
        """Answer those who call too late: an `up` that waited would be undone as well."""
        with suppress(OSError):
            while True:
                self.listener.answer(self._reply)

    def _undo(self) -> None:
        from netdsl.cli.deployment import Deployment
        from netdsl.cli.session import open_session
        from netdsl.cli.undo import Before, go_back
        from netdsl.state.lock import locked
        from netdsl.state.store import Store

        self.undoing = True
        threading.Thread(target=self._turn_away, daemon=True).start()
        with (
            open(os.devnull, "w") as nowhere,
            redirect_stdout(nowhere),
            locked(self.folder, self.stack, "undo what was not confirmed", _GRACE),
        ):
            if not Store(self.folder, self.stack).exists():  # the run has undone itself
                return
            session = open_session(self.stack, state_dir=str(self.folder), needs_program=False)
            past = next((run for run in session.store.history() if run.number == self.number), None)
            if self.number and past is None:
                raise GuardError(f"run {self.number} is not known any more")
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
    probes = sys.stdin.readline()
    if not probes:  # the run was killed before it did anything
        return
    try:
        checks = [from_data(check) for check in json.loads(probes)]
        _Guardian(Path(folder), stack, int(number), float(within), checks).run()
    except Exception as error:  # nobody is there to read it; `netdsl history` shows how far it came
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        log = os.open(Path(folder, f"{stack}.guardian.log"), flags, 0o600)
        os.write(log, f"{json.dumps(str(error))}\n".encode())
        _say(f"stuck {json.dumps([str(error)])}")
        raise


if __name__ == "__main__":
    main(sys.argv[1:])
