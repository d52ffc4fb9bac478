"""Files that hold a key: read when it is needed, and told apart by what may be known of the key (lang/keys.py)."""

from __future__ import annotations

import os
import stat

from netdsl.lang import keys
from netdsl.lang.ops import KeyFile

_MOST = 1024
"""Bytes: more than a key with the space around it."""
_FORBIDDEN = 0o037
"""Rights that others may not have, nor a file's group beyond reading it."""


def read(path: str, command: str = "wg genkey") -> bytes:
    """The key in a file. Raises ValueError: what is wrong with the file, and what to do about it.

    command  what makes such a key
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        fix = f"Make a key there: (umask 077; {command} >{path})" if isinstance(error, FileNotFoundError) else ""
        raise ValueError(f"{path} cannot be read: {os.strerror(error.errno or 0)}", fix) from None
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise ValueError(f"{path} is no file", "")
        if found.st_mode & _FORBIDDEN:
            mode = f"{stat.S_IMODE(found.st_mode):04o}"
            raise ValueError(f"{path} has mode {mode}: others have access to the key", f"chmod 600 {path}")
        content = os.read(fd, _MOST)
    finally:
        os.close(fd)
    try:
        return keys.parse(content.decode("ascii", "replace").strip())
    except ValueError as wrong:
        raise ValueError(f"{path} holds no key: it {wrong}", f"`{command}` makes one.") from None


def proof(path: str, peer: str) -> str:
    """What may be told of the key in a file. Raises ValueError as `read` does."""
    return keys.proof(read(path, "wg genpsk" if peer else "wg genkey"), peer)


def expected(wanted: KeyFile) -> bytes:
    """The key in a file, if it is the one that was planned. Raises ValueError."""
    key = read(wanted.path)
    if keys.proof(key, wanted.peer) != wanted.proof:
        raise ValueError(f"{wanted.path} holds another key than the one that was planned", "")
    return key
