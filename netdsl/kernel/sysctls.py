"""Files below /proc/sys/net, as the calling thread's netns shows them."""

from __future__ import annotations

import os
from types import TracebackType

_TOP = "net/"


class Sysctls:
    """The sysctls of one netns; paths begin with net/, and OSError says what does not go.

    The kernel finds /proc/sys/net of a netns by comparing those of all netns with it (proc_sys_compare), so that each
    look-up takes the longer the more there are: it is done once for all files.
    """

    def __enter__(self) -> Sysctls:
        self._top = os.open(f"/proc/sys/{_TOP}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._top)

    def _open(self, path: str, how: int) -> int:
        return os.open(path.removeprefix(_TOP), how | os.O_CLOEXEC, dir_fd=self._top)

    def read(self, path: str) -> str:
        """What a file says."""
        fd = self._open(path, os.O_RDONLY)
        try:
            return _content(fd)
        finally:
            os.close(fd)

    def write(self, path: str, value: str) -> str:
        """Write a file; returns what it said before."""
        fd = self._open(path, os.O_RDWR)
        try:
            before = _content(fd)
            os.pwrite(fd, value.encode() + b"\n", 0)  # elsewhere it would be ignored (sysctl_writes_strict)
            return before
        finally:
            os.close(fd)


def _content(fd: int) -> str:
    return os.read(fd, 4096).decode().strip()
