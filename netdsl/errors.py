"""One tree of errors. Each says what happened, where, why, and what to do; each knows its exit code."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Problem(NamedTuple):
    """One thing that is wrong.

    what   the fault in one sentence, naming resource and property
    where  `file:line` of the user's program, or "" where there is none
    fix    what to do about it, or ""
    """

    what: str
    where: str = ""
    fix: str = ""

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}\n    {self.fix}" if self.fix else text


class NetdslError(Exception):
    """The root. `exit_code` is what the command line exits with (1: error)."""

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        self.problems: tuple[Problem, ...] = (Problem(what, where, fix),)
        super().__init__(what)

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


class Problems(NetdslError):
    """Several problems found in one go."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        super().__init__("")
        self.problems = tuple(problems)


class StackError(Problems):
    """The program is wrong: every fault that one run could find. Nothing was touched."""


class ConflictError(Problems):
    """Objects that are not ours stand where ours should be. Nothing was written."""


class StalePlanError(Problems):
    """A saved plan does not fit any more. Nothing was written."""


class UnsupportedError(Problems):
    """The running kernel lacks what the stack needs. Nothing was written."""


class UsageError(NetdslError):
    """The command was used wrongly, or a confirmation is missing."""

    exit_code = 2


class StateError(NetdslError):
    """The state cannot be used: corrupt, from a newer version, from another namespace, owned by another program."""


class LockedError(NetdslError):
    """Another process is writing this stack's state."""

    exit_code = 5


class GuardError(NetdslError):
    """There is no guardian where one should be, or it is not the time to confirm."""


class KernelError(NetdslError):
    """The kernel refused an operation outside a plan's messages (a dump, a namespace, a socket)."""

    def __init__(self, what: str, errno: int = 0, *, where: str = "", fix: str = "") -> None:
        self.errno = errno
        super().__init__(what, where=where, fix=fix)


class ApplyError(Problems):
    """Some operations of a plan failed; the rest was done and recorded."""

    exit_code = 4


class ReadBackError(Problems):
    """The kernel acknowledged everything but shows something else."""

    exit_code = 4


class RolledBack(Problems):
    """Some operations of a plan failed, and what was done before them was undone as it had been asked for."""


class RollbackError(Problems):
    """A plan failed, and so did the return to what was there before."""

    exit_code = 4


class VerifyError(Problems):
    """Checks failed: the network does not do what the stack says that it does."""


class Interrupted(NetdslError):
    """Stopped by the user; what was done is recorded."""

    exit_code = 130


def joined(words: Sequence[str], last: str = "and") -> str:
    """'a', 'a and b', 'a, b and c'."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {last} {words[-1]}"
