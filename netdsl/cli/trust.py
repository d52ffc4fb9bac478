"""Who else could have written what root is about to run.

A stack is a program. When root runs one that others may write to, or that lies in a directory where others may put
another file in its place, those others are root. That is told, and not refused: it is the user's machine.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from netdsl.cli.render import print_problems
from netdsl.errors import Problem, joined

_told: set[str] = set()
"""Paths that a warning has named."""
_NAMED = 3
"""Paths that a warning names before it counts the rest."""


def warn(files: Iterable[str | Path]) -> None:
    """Warn on stderr, once for each path, when root runs these files."""
    if os.geteuid() != 0:
        return
    mine = _trusted()
    # By its own name and by where links lead.
    paths = {Path(os.path.abspath(file)) for file in files}
    paths |= {path.resolve() for path in paths}
    seen: set[Path] = set()
    found = [fault for path in sorted(paths) for fault in _faults(path, mine, seen)]
    new = {where: why for where, why in found if where not in _told}
    if not new:
        return
    _told.update(new)
    named = [f"{where} {why}" for where, why in list(new.items())[:_NAMED]]
    if len(new) > _NAMED:
        named.append(f"{len(new) - _NAMED} more")
    what = f"root runs what others can change: {joined(named)}"
    fix = "Whoever can change it can become root: chown it to root and take the right to write away (chmod go-w)."
    print_problems([Problem(what, fix=fix)], word="warning")


def _trusted() -> tuple[set[int], set[int]]:
    """Users and groups that may write: root, and who called sudo; where a user namespace has no number for a user,
    nobody can tell who it is."""
    users, groups = {0}, {0}
    for name, ids in (("SUDO_UID", users), ("SUDO_GID", groups)):
        if os.environ.get(name, "").isdecimal():
            ids.add(int(os.environ[name]))
    if _reading("/proc/self/uid_map").split() != ["0", "0", str(2**32 - 1)]:
        users.add(int(_reading("/proc/sys/kernel/overflowuid") or 65534))
    return users, groups


def _reading(file: str) -> str:
    try:
        return Path(file).read_text()
    except OSError:
        return ""


def _faults(file: Path, mine: tuple[set[int], set[int]], seen: set[Path]) -> Iterator[tuple[str, str]]:
    """What is wrong with a file and the directories above it."""
    users, groups = mine
    for path in (file, *file.parents):
        if path in seen:
            return
        seen.add(path)
        try:
            found = path.lstat()
        except OSError:
            continue
        if stat.S_ISLNK(found.st_mode):  # what it leads to is looked at by itself
            continue
        writers = [
            *(["others"] if found.st_mode & stat.S_IWOTH else []),
            *([f"group {found.st_gid}"] if found.st_mode & stat.S_IWGRP and found.st_gid not in groups else []),
        ]
        # In a sticky directory only the owner of a file can put another in its place. Into the one that the file is
        # in, which Python looks for modules in, anybody can put a new one.
        searched = path == file.parent and file.is_file()
        if writers and not (found.st_mode & stat.S_ISVTX and stat.S_ISDIR(found.st_mode) and not searched):
            yield str(path), f"(writable by {joined(writers)})"
        elif found.st_uid not in users:
            yield str(path), f"(owned by user {found.st_uid})"


def modules_of(before: set[str], internal: tuple[str, ...]) -> list[str]:
    """Files of the modules that were imported since, but those of the interpreter and what is installed with it."""
    files = [getattr(sys.modules[name], "__file__", None) for name in [*sys.modules] if name not in before]
    return [file for file in files if file and not file.startswith(internal)]
