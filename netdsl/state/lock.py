"""One writer at a time: a lock that dies with its process."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep

from netdsl.errors import LockedError, StateError

_TICK = 0.05
"""Seconds between two tries."""
_GRACE = 0.1
"""Seconds of waiting at the least: it may only be somebody who asks (`is_locked`)."""


@contextmanager
def locked(folder: Path, stack: str, what: str, timeout: float = 0.0) -> Iterator[None]:
    """Hold the stack's lock, waiting up to `timeout` seconds. Raises LockedError that names the holder."""
    path = folder / f"{stack}.lock"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise StateError(
            f"the state directory {folder} cannot be written: {error.strerror}",
            fix="Choose another one with --state-dir or NETDSL_STATE_DIR.",
        ) from error
    try:
        ends = monotonic() + max(timeout, _GRACE)
        while not _taken(fd):
            left = ends - monotonic()
            if left <= 0:
                holder = os.pread(fd, 200, 0).decode(errors="replace").strip() or "another process"
                waited = f" (waited {timeout:g} s)" if timeout else ""
                raise LockedError(
                    f"stack {stack} is locked by {holder}{waited}",
                    fix="Wait for it with --lock-timeout, or stop it; nothing was touched.",
                )
            sleep(min(left, _TICK))
        os.ftruncate(fd, 0)
        with suppress(OSError):  # a full disk: whoever waits learns no name, and the state itself says what is wrong
            os.pwrite(fd, f"pid {os.getpid()} ({what})\n".encode(), 0)
        yield
        os.ftruncate(fd, 0)
    finally:
        os.close(fd)


def is_locked(folder: Path, stack: str) -> bool:
    """Whether somebody holds the stack's lock. Asking takes it for an instant, together with others who ask."""
    try:
        fd = os.open(folder / f"{stack}.lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _taken(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
