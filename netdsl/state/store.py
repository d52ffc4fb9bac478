"""The state of one stack: what it owns, with which values, and what it was about to do.

Intents are committed before anything is sent, results after. A run that is killed leaves at worst intents, and the next
plan compares them with the kernel like everything else.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs

from netdsl.engine.change import Action, Change
from netdsl.errors import StateError
from netdsl.kinds import KINDS
from netdsl.lang.item import DEFAULT_OPTS, Item, Opts

SCHEMA = 1
_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE resources (
    urn TEXT PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, netns TEXT NOT NULL, component TEXT NOT NULL,
    props TEXT NOT NULL, next TEXT, extra TEXT NOT NULL, after TEXT NOT NULL, program TEXT NOT NULL,
    opts TEXT NOT NULL, intent TEXT
) WITHOUT ROWID;
"""
_dumps = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


@attrs.define(eq=False)
class Recorded:
    """The contents of a state.

    meta    program, params, outputs, host, boot_id, cookie, ...
    items   what the stack owns; extra["unsettled"] is what an interrupted run was about to do
    """

    meta: dict[str, Any]
    items: list[Item]


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

    def exists(self) -> bool:
        """Whether there is a state."""
        return self.path.exists()

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    # -- reading

    def load(self) -> Recorded:
        """Everything; empty when there is no state yet."""
        if not self.exists():
            return Recorded({}, [])
        with self._errors():
            connection = self._open()
            meta = {key: json.loads(value) for key, value in connection.execute("SELECT key, value FROM meta")}
            rows = connection.execute(
                "SELECT urn, kind, name, netns, component, props, extra, after, program, opts, intent FROM resources"
            ).fetchall()
            return Recorded(meta, [_item(row) for row in rows])

    def meta(self) -> dict[str, Any]:
        """Only the meta data."""
        with self._errors():
            return {key: json.loads(value) for key, value in self._open().execute("SELECT key, value FROM meta")}

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            fresh = not self.path.exists()
            if fresh:
                self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                os.close(os.open(self.path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
            connection = sqlite3.connect(self.path, isolation_level=None)
            self._connection = connection
            connection.execute("PRAGMA synchronous=FULL")
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name='meta'").fetchone():
                if not fresh and self.path.stat().st_size:
                    raise StateError(f"{self.path} is a database, but not a state of netdsl's")
                connection.executescript(f"BEGIN;{_TABLES}INSERT INTO meta VALUES ('schema', '{SCHEMA}');COMMIT;")
            (schema,) = connection.execute("SELECT value FROM meta WHERE key='schema'").fetchone()
            if int(schema) > SCHEMA:
                raise StateError(
                    f"the state {self.path} has schema {schema}; this netdsl knows schemas up to {SCHEMA}",
                    fix="Use the newer netdsl that wrote it.",
                )
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

    # -- writing

    def begin(self, changes: Iterable[Change], meta: Mapping[str, Any]) -> None:
        """Commit what is about to be done."""
        with self._errors():
            connection = self._open()
            made, altered, gone, moved = [], [], [], []
            for change in changes:
                item = change.item
                if change.action in (Action.DELETE, Action.FORGET) or change.releases:
                    gone.append((item.urn,))
                    if change.moved_from:
                        moved.append((item.urn, change.moved_from))
                elif change.action is Action.CREATE or change.record is None or change.settles == "create":
                    made.append(_row(item))
                elif change.moved_from:
                    made.append(_row(item))
                    gone.append((change.moved_from,))
                elif change.writes or change.settles:
                    altered.append((change.action.value, _dumps(item.props), item.urn))
            connection.execute("BEGIN IMMEDIATE")
            self._put_meta(connection, meta)
            connection.execute("UPDATE resources SET intent=NULL, next=NULL WHERE intent <> 'create'")
            connection.executemany("UPDATE resources SET urn=? WHERE urn=?", moved)
            connection.executemany("UPDATE resources SET intent='delete' WHERE urn=?", gone)
            connection.executemany("INSERT OR REPLACE INTO resources VALUES (?,?,?,?,?,?,NULL,?,?,?,?,'create')", made)
            connection.executemany("UPDATE resources SET intent=?, next=? WHERE urn=?", altered)
            connection.execute("COMMIT")

    def finish(self, changes: Iterable[Change], failed: Mapping[str, str], meta: Mapping[str, Any]) -> None:
        """Commit what was done. `failed`: urn -> "absent" (never made), or "kept" (nothing or not all was changed)."""
        with self._errors():
            connection = self._open()
            connection.execute("BEGIN IMMEDIATE")
            self._put_meta(connection, meta)
            absent = [(urn,) for urn, how in failed.items() if how == "absent"]
            kept = [(urn,) for urn, how in failed.items() if how == "kept"]
            connection.executemany("DELETE FROM resources WHERE urn=? AND intent='create'", absent)
            connection.executemany(
                "UPDATE resources SET intent=NULL, next=NULL WHERE urn=? AND intent IS NOT NULL", kept
            )
            connection.execute("DELETE FROM resources WHERE intent='delete'")
            rows = [
                (_dumps(c.item.extra), _dumps(list(c.item.after)), c.item.where, _opts(c.item.opts), c.item.urn)
                for c in changes
                if c.action not in (Action.DELETE, Action.FORGET)
                and not c.releases
                and (c.action is not Action.CREATE or "cookie" in c.item.extra or "found" in c.item.extra)
            ]
            connection.executemany("UPDATE resources SET extra=?, after=?, program=?, opts=? WHERE urn=?", rows)
            connection.execute(
                "UPDATE resources SET props=COALESCE(next, props), next=NULL, intent=NULL WHERE intent IS NOT NULL"
            )
            connection.execute("COMMIT")

    def put_meta(self, meta: Mapping[str, Any]) -> None:
        """Commit meta data alone."""
        with self._errors():
            connection = self._open()
            connection.execute("BEGIN IMMEDIATE")
            self._put_meta(connection, meta)
            connection.execute("COMMIT")

    def _put_meta(self, connection: sqlite3.Connection, meta: Mapping[str, Any]) -> None:
        rows = [(key, json.dumps(value)) for key, value in meta.items()]
        connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", rows)

    def remove(self) -> None:
        """Delete the file: nothing is owned any more."""
        self.close()
        self.path.unlink(missing_ok=True)


def stacks(folder: Path) -> list[str]:
    """Names of recorded stacks."""
    try:
        return sorted(path.stem for path in folder.glob("*.db"))
    except OSError:
        return []


def _row(item: Item) -> tuple[str, ...]:
    return (
        item.urn,
        item.kind.word,
        item.name,
        item.netns,
        item.component,
        _dumps(item.props),
        _dumps(item.extra) if item.extra else "{}",
        _dumps(list(item.after)) if item.after else "[]",
        item.where,
        _opts(item.opts),
    )


def _opts(opts: Opts) -> str:
    """What has to be known of the options when the program is gone."""
    if opts is DEFAULT_OPTS:
        return "{}"
    return _dumps({"protect": opts.protect, "retain_on_delete": opts.retain_on_delete})


def _item(row: tuple[Any, ...]) -> Item:
    urn, word, name, netns, component, props, extra, after, program, opts, intent = row
    kind = KINDS.get(word)
    if kind is None:
        raise StateError(f"the state holds {urn}, of a kind {word!r} that this netdsl does not know")
    properties = json.loads(props)
    known = json.loads(extra) if extra != "{}" else {}
    if intent is not None:
        known["unsettled"] = intent
    return Item(
        urn=urn,
        kind=kind,
        name=name,
        netns=netns,
        component=component,
        key=kind.identity(netns, name, properties),
        props=properties,
        needs=kind.needs(netns, name, properties),
        after=tuple(json.loads(after)) if after != "[]" else (),
        where=program,
        opts=DEFAULT_OPTS if opts == "{}" else Opts(**json.loads(opts)),
        extra=known,
    )
