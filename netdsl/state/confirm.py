"""The socket beside a stack's state through which a run that waits to be confirmed is asked and told (unix(7)).

Its mode is 0600, in a directory of mode 0700: who may not read the state may not confirm either.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from netdsl.errors import LockedError, UsageError

_PATIENCE = 10.0
"""Seconds to wait for an answer."""


def _address(folder: Path, stack: str) -> tuple[int, str]:
    """An open descriptor of the state directory, and the socket's path through it: paths of sockets must be short."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    return fd, f"/proc/self/fd/{fd}/{stack}.confirm"


def ask(folder: Path, stack: str, word: str) -> str:
    """Say "status" or "confirm" to who guards a stack's run, and hear "applying", "waiting", "confirmed" or "undoing";
    "" when nobody does.
    """
    try:
        fd, path = _address(folder, stack)
    except OSError:
        return ""
    import socket  # only here and below: most runs have nobody to ask

    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as talk:
            talk.settimeout(_PATIENCE)
            talk.connect(path)
            talk.sendall(f"{word}\n".encode())
            return talk.makefile().readline().strip()
    except ConnectionRefusedError:  # it was killed
        with suppress(OSError):
            os.unlink(path)
        return ""
    except TimeoutError:
        return "silent"
    except OSError:
        return ""
    finally:
        os.close(fd)


def require_none(folder: Path, stack: str) -> None:
    """Raise UsageError while a run of the stack waits for its confirmation, LockedError when its time is over."""
    answer = ask(folder, stack, "status") if Path(folder, f"{stack}.confirm").exists() else ""
    if answer == "undoing":
        raise LockedError(
            f"the last run of stack {stack} was not confirmed, and is about to be undone",
            fix="Try again when it is done; nothing was touched.",
        )
    if answer:
        raise UsageError(
            f"the last run of stack {stack} waits to be confirmed",
            fix=f"Confirm it with `netdsl confirm {stack}`, or wait until it is undone.",
        )


class Listener:
    """The end of the one who guards."""

    def __init__(self, folder: Path, stack: str) -> None:
        import socket

        self._fd, self._path = _address(folder, stack)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with suppress(FileNotFoundError):
            os.unlink(self._path)
        before = os.umask(0o177)
        try:
            self._socket.bind(self._path)
        finally:
            os.umask(before)
        self._socket.listen()

    def fileno(self) -> int:
        """For a selector: readable when somebody calls."""
        return self._socket.fileno()

    def answer(self, reply: Callable[[str], str]) -> None:
        """Hear one caller's word and say what `reply` makes of it."""
        talk, _ = self._socket.accept()
        with closing(talk), suppress(OSError, ValueError):  # the second: what is no text
            talk.settimeout(1)
            talk.sendall(f"{reply(talk.makefile().readline().strip())}\n".encode())

    def close(self) -> None:
        """Take the socket away."""
        with suppress(OSError):
            os.unlink(self._path)
        self._socket.close()
        os.close(self._fd)
