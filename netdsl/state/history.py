"""What a stack was: its past runs, and what it owned after each."""

from __future__ import annotations

import json
import os
import pwd
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from netdsl.lang.item import Item
from netdsl.lang.naming import OLD
from netdsl.state import rows

KEPT = 100
"""Runs whose outcome can be gone back to; what only older ones know is dropped."""


class Past(NamedTuple):
    """One run.

    number    counts the runs of the stack, from 1
    command   what was called
    started   seconds since 1970
    finished  the same; None: it was killed, or is still running
    status    done, partly, interrupted, or running
    summary   how many of each action were carried out
    meta      program, values (parameters) and outputs, as far as they were recorded then, and the user who called
    """

    number: int
    command: str
    started: float
    finished: float | None
    status: str
    summary: Mapping[str, int]
    meta: Mapping[str, Any]


def runs(connection: sqlite3.Connection) -> list[Past]:
    """Those that are kept, oldest first."""
    found = connection.execute("SELECT id, command, started, finished, status, summary, meta FROM applies ORDER BY id")
    return [Past._make((*row[:5], json.loads(row[5]), json.loads(row[6]))) for row in found]


def told(meta: Mapping[str, Any]) -> str:
    """What a run's record says of the meta data, and who runs it."""
    return rows.dumps(
        {word: meta[word] for word in ("program", "values", "outputs") if word in meta} | {"user": user()}
    )


def user() -> str:
    """Who called: the one behind sudo(8) where there is one."""
    if os.getuid() == 0 and os.environ.get("SUDO_USER"):
        return os.environ["SUDO_USER"]
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def tell(connection: sqlite3.Connection, meta: Mapping[str, Any]) -> None:
    """Have the record of the last run that has finished say this of program, parameters and outputs."""
    found = connection.execute("SELECT meta FROM applies WHERE id=?", (settled(connection),)).fetchone()
    if found is not None:
        who = {"user": json.loads(found[0]).get("user", "")}
        after = rows.dumps(json.loads(told(meta)) | who)
        connection.execute("UPDATE applies SET meta=? WHERE id=?", (after, settled(connection)))


def settled(connection: sqlite3.Connection) -> int:
    """The last run that has finished, 0 before the first."""
    (found,) = connection.execute("SELECT max(id) FROM applies WHERE finished IS NOT NULL").fetchone()
    return int(found or 0)


def snapshot(connection: sqlite3.Connection, number: int) -> list[Item]:
    """What the stack owned after a run, as something to want again."""
    columns = rows.COLUMNS
    found = connection.execute(
        f"SELECT {columns} FROM resources WHERE born <= ? AND intent IS NOT 'open create'"
        f" UNION ALL SELECT {columns} FROM past WHERE born <= ? AND died > ?",
        (number, number, number),
    )
    return [rows.wanted_again(row) for row in found]


def bury(connection: sqlite3.Connection, urns: Sequence[str], run: int) -> None:
    """Keep versions of rows that are about to end; those that this very run made never were."""
    columns = f"{rows.COLUMNS}, born".removeprefix("urn, ")
    connection.executemany(
        f"INSERT INTO past (urn, {columns}, died) SELECT ?, {columns}, ? FROM resources WHERE urn=? AND born<?",
        [(urn.partition(OLD)[0], run, urn, run) for urn in urns],
    )


def prune(connection: sqlite3.Connection, run: int) -> None:
    """Forget what only runs know that are too old."""
    connection.execute("DELETE FROM applies WHERE id <= ?", (run - KEPT,))
    connection.execute("DELETE FROM past WHERE died <= ?", (run - KEPT,))
