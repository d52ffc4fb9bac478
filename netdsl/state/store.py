"""The state of one stack: what it owns, with which values, what it was about to do, and what it was before.

Intents are committed before anything is sent, results after. A run that is killed leaves at worst intents, and the next
plan compares them with the kernel like everything else.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs

from netdsl.engine.change import Action, Change
from netdsl.errors import StateError
from netdsl.lang.item import Item
from netdsl.lang.naming import STACK_NAME
from netdsl.state import history, rows, schema
from netdsl.state.history import Past

_EXTRA = "json_patch(?, json_object('unsure', json_extract(extra, '$.unsure')))"
"""A new `extra` that keeps what is unsure of the properties until they are written anew."""


_OPEN = "open "
"""Before the intent of a run that was killed, once another run has begun. That takes up what it is about; what it
leaves out (--target, --exclude) stays open."""


def _open_word(intent: str | None, born: int, settled: int) -> str | None:
    """What a run that was killed was about to do with a resource. Creations bear their intent for good: that it was
    carried out shows in their run's end."""
    if intent == "create" and born <= settled:
        return None
    return intent.removeprefix(_OPEN) if intent else intent


@attrs.define(eq=False, repr=False)
class Recorded:
    """The contents of a state.

    meta    program, params, outputs, host, boot_id, cookie, ...
    items   what the stack owns; extra["unsettled"] is what an interrupted run was about to do
    stamp   of the file that they were read from (`Store.stamp`), when it was opened
    """

    meta: dict[str, Any]
    items: list[Item]
    stamp: bytes = b""


def directory(given: str | None = None) -> Path:
    """Where states are kept."""
    if given:
        return Path(given)
    system = Path("/var/lib/netdsl")
    probe = system if system.exists() else system.parent
    if os.access(probe, os.W_OK | os.X_OK):
        return system
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "netdsl"


class Store:
    """One stack's state file."""

    def __init__(self, folder: Path, stack: str) -> None:
        self.stack = stack
        self.path = folder / f"{stack}.db"
        self._connection: sqlite3.Connection | None = None
        self._run = 0

    def exists(self) -> bool:
        """Whether there is a state."""
        return self.path.exists()

    def _blank(self) -> bool:
        """Whether nothing was committed yet: a run that is killed before its first commit leaves an empty file."""
        try:
            return self.path.stat().st_size == 0
        except (FileNotFoundError, NotADirectoryError):  # the second is told by the lock, before anything is written
            return True

    def stamp(self) -> bytes:
        """Another one after each change of the state, by whomever: the file's inode and SQLite's change counter."""
        try:
            with self.path.open("rb") as file:
                return os.fstat(file.fileno()).st_ino.to_bytes(8) + file.read(28)[24:]
        except (FileNotFoundError, NotADirectoryError):
            return b""

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @property
    def begun(self) -> bool:
        """Whether a run was begun through this object."""
        return self._run > 0

    # -- reading

    def load(self) -> Recorded:
        """Everything; empty when there is no state yet."""
        with self._errors():
            stamp = self.stamp()
            if self._blank():
                return Recorded({}, [], stamp)
            connection = self._open()
            settled = history.settled(connection)
            found = connection.execute(f"SELECT {rows.COLUMNS}, next, intent, born FROM resources").fetchall()
            items = [
                rows.item(columns, _open_word(intent, born, settled), following)
                for *columns, following, intent, born in found
            ]
            return Recorded(self.meta(), items, stamp)

    def meta(self) -> dict[str, Any]:
        """Only the meta data."""
        with self._errors():
            found = [] if self._blank() else self._open().execute("SELECT key, value FROM meta")
            return {key: json.loads(value) for key, value in found}

    def history(self) -> list[Past]:
        """Past runs, oldest first."""
        with self._errors():
            return [] if self._blank() else history.runs(self._open())

    def serial(self) -> int:
        """The last run that has finished, 0 before the first."""
        with self._errors():
            return 0 if self._blank() else history.settled(self._open())

    def snapshot(self, number: int) -> list[Item]:
        """What the stack owned after a run, as something to want again; nothing after run 0."""
        with self._errors():
            return [] if self._blank() else history.snapshot(self._open(), number)

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            if self.path.is_symlink():
                raise StateError(f"{self.path} is a symbolic link; a state is a file", fix="Move it away.")
            fresh = not self.path.exists()
            if fresh:
                self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                flags = os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW
                os.close(os.open(self.path, flags, 0o600))
            connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
            self._connection = connection
            connection.execute("PRAGMA synchronous=FULL")
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name='meta'").fetchone():
                if not fresh and self.path.stat().st_size:
                    raise StateError(f"{self.path} is a database, but not a state of netdsl's")
                schema.create(connection)
            schema.migrate(connection, str(self.path))
        return self._connection

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, ValueError, KeyError, TypeError) as error:
            fix = "Restore it from a copy, or move it away to start anew."
            if isinstance(error, sqlite3.OperationalError):
                fix = "Check the disk and the permissions of the state directory."
            raise StateError(f"the state {self.path} cannot be used: {error}", fix=fix) from error
        except OSError as error:
            raise StateError(f"the state {self.path} cannot be used: {error.strerror}") from error

    def _begun(self) -> sqlite3.Connection:
        """A connection on which a transaction is open."""
        connection = self._open()
        if not connection.in_transaction:
            connection.execute("BEGIN IMMEDIATE")
        return connection

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, on disk at the end."""
        with self._errors():
            connection = self._begun()
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    # -- writing

    def begin(self, command: str, meta: Mapping[str, Any]) -> None:
        """Begin a run; it is committed with the first of what it is about to do."""
        with self._errors():
            connection = self._begun()
            self._put_meta(connection, meta)
            killed = connection.execute(
                "SELECT urn, props, next, extra FROM resources WHERE next IS NOT NULL"
            ).fetchall()
            both = [(rows.merged(was, next_), rows.unsure(was, next_, extra), urn) for urn, was, next_, extra in killed]
            connection.executemany("UPDATE resources SET props=?, extra=?, next=NULL WHERE urn=?", both)
            connection.execute(
                "UPDATE resources SET intent = ? || intent WHERE intent <> '' AND intent NOT LIKE ? || '%'"
                " AND (intent <> 'create' OR born > ?)",
                (_OPEN, _OPEN, history.settled(connection)),
            )
            self._run = (
                connection.execute(
                    "INSERT INTO applies (command, started, status, summary, meta) VALUES (?, ?, 'running', '{}', ?)",
                    (
                        command,
                        time.time(),
                        history.told({word: value for word, value in meta.items() if word != "outputs"}),
                    ),
                ).lastrowid
                or 0
            )

    def intend(self, changes: Iterable[Change]) -> None:
        """Commit what the run is about to do."""
        with self._transaction() as connection:
            self._intend(connection, changes)

    def _intend(self, connection: sqlite3.Connection, changes: Iterable[Change]) -> None:
        made: list[tuple[Any, ...]] = []
        altered, gone, moved, again, renamed = [], [], [], [], []
        for change in changes:
            item = change.item
            if change.action in (Action.DELETE, Action.FORGET) or change.releases:
                gone.append((item.urn,))
                if change.moved_from:
                    moved.append((item.urn, change.moved_from))
            elif change.action is Action.CREATE or change.record is None:
                made.append((*rows.row(item), self._run))
                if change.record is not None:
                    again.append(item.urn)
                if change.moved_from:
                    gone.append((change.moved_from,))
            elif change.moved_from:
                made.append((*rows.row(item), self._run))
                gone.append((change.moved_from,))
                if change.record.kind is item.kind and change.record.key == item.key:
                    renamed.append((rows.dumps(change.record.props), rows.dumps(item.props), item.urn))
            elif change.writes or change.settles or change.redeclared:
                altered.append((change.action.value, rows.dumps(item.props), rows.dumps(item.extra), item.urn))
        ending = {urn for (urn,) in gone}
        again += [row[0] for row in made if row[0] in ending and row[0] not in again]  # names that change hands
        connection.executemany("UPDATE resources SET urn=? WHERE urn=?", moved)
        connection.executemany("UPDATE resources SET intent='delete' WHERE urn=?", gone)
        history.bury(connection, again, self._run)
        columns = f"({rows.COLUMNS}, born, intent)"
        connection.executemany(
            f"INSERT OR REPLACE INTO resources {columns} VALUES (?,?,?,?,?,?,?,?,?,?,?,'create')", made
        )
        connection.executemany("UPDATE resources SET props=?, next=? WHERE urn=?", renamed)
        connection.executemany(f"UPDATE resources SET intent=?, next=?, extra={_EXTRA} WHERE urn=?", altered)

    def finish(
        self,
        changes: Sequence[Change],
        failed: Mapping[str, str],
        meta: Mapping[str, Any],
        *,
        status: str,
        summary: Mapping[str, int],
    ) -> None:
        """Commit what was done. `failed`: urn -> "absent" (never made), "gone" (it was there before and is not now), or
        "kept" (nothing or not all was changed)."""
        with self._transaction() as connection:
            self._put_meta(connection, meta)
            absent = [(urn, self._run) for urn, how in failed.items() if how == "absent"]
            gone = [urn for urn, how in failed.items() if how == "gone"]
            kept = [(urn,) for urn, how in failed.items() if how == "kept"]
            connection.executemany("DELETE FROM resources WHERE urn=? AND born=?", absent)
            history.bury(connection, gone, self._run)
            connection.executemany("DELETE FROM resources WHERE urn=?", [(urn,) for urn in gone])
            connection.executemany(
                "UPDATE resources SET intent=NULL, next=NULL WHERE urn=? AND intent IS NOT NULL", kept
            )
            settled = [
                (
                    rows.dumps(c.item.extra),
                    rows.dumps(list(c.item.after)),
                    c.item.where,
                    rows.opts(c.item.opts),
                    c.item.urn,
                )
                for c in changes
                if c.action not in (Action.DELETE, Action.FORGET)
                and not c.releases
                and (c.action is not Action.CREATE or "cookie" in c.item.extra or "found" in c.item.extra)
            ]
            ended = connection.execute(
                "SELECT urn FROM resources WHERE intent='delete' OR (next IS NOT NULL AND next <> props)"
            ).fetchall()
            history.bury(connection, [urn for (urn,) in ended], self._run)
            connection.execute("DELETE FROM resources WHERE intent='delete'")
            connection.executemany(
                f"UPDATE resources SET extra={_EXTRA}, after=?, program=?, opts=? WHERE urn=?", settled
            )
            connection.execute(
                "UPDATE resources SET born=CASE WHEN next <> props THEN ? ELSE born END, props=next, next=NULL,"
                " intent=NULL, extra=json_remove(extra, '$.unsure') WHERE next IS NOT NULL",
                (self._run,),
            )
            connection.execute(
                "UPDATE resources SET intent=NULL WHERE intent NOT IN ('create', '') AND intent NOT LIKE ? || '%'",
                (_OPEN,),
            )
            connection.execute(
                "UPDATE applies SET finished=?, status=?, summary=?, meta=? WHERE id=?",
                (time.time(), status, rows.dumps(dict(summary)), history.told(meta), self._run),
            )
            history.prune(connection, self._run)

    def rename(self, old: str, new: Item) -> None:
        """Give a resource another logical name."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE resources SET urn=?, name=?, component=? WHERE urn=?", (new.urn, new.name, new.component, old)
            )
            for urn, after in connection.execute("SELECT urn, after FROM resources WHERE after <> '[]'").fetchall():
                named = [new.urn if other == old else other for other in json.loads(after)]
                connection.execute("UPDATE resources SET after=? WHERE urn=?", (rows.dumps(named), urn))

    def forget(self, urns: Iterable[str]) -> None:
        """Take resources off the record; the kernel keeps them."""
        with self._transaction() as connection:
            connection.executemany("DELETE FROM resources WHERE urn=?", [(urn,) for urn in urns])

    def replace_all(self, items: Iterable[Item], meta: Mapping[str, Any], command: str) -> None:
        """Make these the whole contents, as one run that has finished."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM resources")
            connection.execute("DELETE FROM past")
            connection.execute("DELETE FROM applies")
            connection.execute("DELETE FROM meta WHERE key <> 'schema'")
            self._put_meta(connection, meta)
            now = time.time()
            connection.execute(
                "INSERT INTO applies (id, command, started, finished, status, summary, meta)"
                " VALUES (1, ?, ?, ?, 'done', '{}', ?)",
                (command, now, now, history.told(meta)),
            )
            columns = f"({rows.COLUMNS}, born)"
            made = [(*rows.row(item), 1) for item in items]
            connection.executemany(f"INSERT INTO resources {columns} VALUES (?,?,?,?,?,?,?,?,?,?,?)", made)

    def put_meta(self, meta: Mapping[str, Any]) -> None:
        """Commit meta data alone; the last run's record says the same then, so that one can go back to it."""
        with self._transaction() as connection:
            self._put_meta(connection, meta)
            history.tell(connection, meta)

    def _put_meta(self, connection: sqlite3.Connection, meta: Mapping[str, Any]) -> None:
        pairs = [(key, json.dumps(value)) for key, value in meta.items()]
        connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", pairs)

    def remove(self) -> None:
        """Delete the file: nothing is owned any more."""
        self.close()
        self.path.unlink(missing_ok=True)


def stacks(folder: Path) -> list[str]:
    """Names of recorded stacks."""
    try:
        return sorted(path.stem for path in folder.glob("*.db") if STACK_NAME.fullmatch(path.stem))
    except OSError:
        return []
