"""The tables of a state, and how an older one becomes one of today.

meta       what there is one of: the stack's program, its parameters, the boot it was made in, ...
applies    every run that changed something; `finished` is empty while it runs, and stays so when it is killed
resources  what the stack owns. `born` is the run that this version of a row is of; `intent` and `next` are what a run
           is about to do with it. A row that a run creates keeps its intent "create", which counts only until the run
           has finished: so a run that makes thousands of rows need not write them twice. What a run that was killed
           was about to do is "open ..." as soon as another one has begun, until one settles it.
past       former versions of rows, with the runs that made and ended them
"""

from __future__ import annotations

import sqlite3

from netdsl.errors import StateError

SCHEMA = 2
PAGE = 16384
"""Bytes; a lab's rows are written in one go, in as few pages as possible."""

_ROW = """kind TEXT NOT NULL, name TEXT NOT NULL, netns TEXT NOT NULL, component TEXT NOT NULL,
    props TEXT NOT NULL, extra TEXT NOT NULL, after TEXT NOT NULL, program TEXT NOT NULL, opts TEXT NOT NULL"""
_HISTORY = f"""
CREATE TABLE applies (
    id INTEGER PRIMARY KEY, command TEXT NOT NULL, started REAL NOT NULL, finished REAL, status TEXT NOT NULL,
    summary TEXT NOT NULL, meta TEXT NOT NULL
);
CREATE TABLE past (urn TEXT NOT NULL, {_ROW}, born INTEGER NOT NULL, died INTEGER NOT NULL);
"""
TABLES = f"""
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE resources (
    urn TEXT PRIMARY KEY, {_ROW}, next TEXT, intent TEXT, born INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
{_HISTORY}
"""

_MIGRATIONS = {
    1: f"""
ALTER TABLE resources ADD COLUMN born INTEGER NOT NULL DEFAULT 0;
UPDATE resources SET born=1 WHERE intent='create';
{_HISTORY}
""",
}
"""By the schema that is left behind."""


def create(connection: sqlite3.Connection) -> None:
    """Make the tables in an empty file, in a transaction that is left open: they are committed with what is first put
    into them."""
    connection.execute(f"PRAGMA page_size={PAGE}")
    connection.executescript(f"BEGIN IMMEDIATE;{TABLES}INSERT INTO meta VALUES ('schema', '{SCHEMA}');")


def migrate(connection: sqlite3.Connection, path: str) -> None:
    """Bring the tables up to date. Raises StateError when a newer netdsl wrote them."""
    (value,) = connection.execute("SELECT value FROM meta WHERE key='schema'").fetchone()
    schema = int(value)
    if schema > SCHEMA:
        raise StateError(
            f"the state {path} has schema {schema}; this netdsl knows schemas up to {SCHEMA}",
            fix="Use the newer netdsl that wrote it.",
        )
    if schema < SCHEMA:
        steps = "".join(_MIGRATIONS[step] for step in range(schema, SCHEMA))
        connection.executescript(f"BEGIN;{steps}UPDATE meta SET value='{SCHEMA}' WHERE key='schema';COMMIT;")
