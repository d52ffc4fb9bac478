"""One writer at a time: a lock that dies with its process."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from netdsl.errors import LockedError, StateError


@contextmanager
def locked(folder: Path, stack: str, what: str) -> Iterator[None]:
    """Hold the stack's lock. Raises LockedError that names the holder."""
    path = folder / f"{stack}.lock"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StateError(
            f"the state directory {folder} cannot be written: {error.strerror}",
            fix="Choose another one with --state-dir or NETDSL_STATE_DIR.",
        ) from error
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(fd, 200, 0).decode(errors="replace").strip() or "another process"
            raise LockedError(
                f"stack {stack} is locked by {holder}", fix="Wait until it is done, or stop it; nothing was touched."
            ) from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"pid {os.getpid()} ({what})\n".encode(), 0)
        yield
        os.ftruncate(fd, 0)
    finally:
        os.close(fd)
