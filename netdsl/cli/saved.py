"""Plans in files: what `plan --out` writes and `up FILE.json` carries out, if nothing has moved since.

A plan file is data. It says which program, parameters and options the plan was made from, and what it would do; `up`
makes the plan again from these, and compares.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from netdsl.cli import render
from netdsl.cli.session import Session, open_session
from netdsl.engine.deploy import Preview
from netdsl.engine.select import Selection
from netdsl.errors import Problem, StalePlanError, UsageError
from netdsl.lang.item import Item
from netdsl.lang.naming import digest

FORMAT = "netdsl plan"
NAMED = 10
"""Resources that a message names before it counts the rest."""


def is_saved(argument: str | None) -> bool:
    """Whether an argument of `up` means a saved plan."""
    return argument is not None and argument.endswith(".json")


def write(path: str, session: Session, preview: Preview) -> None:
    """Write a plan, for its owner's eyes only."""
    assert session.declared is not None
    document = {
        "format": FORMAT,
        "version": render.JSON_VERSION,
        "stack": session.name,
        "program": session.program,
        "values": session.values,
        "adopts": session.adopts,
        "selection": {
            "target": list(session.selection.target),
            "exclude": list(session.selection.exclude),
            "replace": list(session.selection.replace),
        },
        "items": _digest(preview.items),
        "recorded": _digest(session.recorded.items),
        "fingerprint": preview.plan.fingerprint(),
        "plan": render.plan_json(preview.plan, session.declared.params),
    }
    write_private(path, document)


def write_private(path: str, document: object) -> None:
    """Write JSON to a file that only its owner can read, whatever it was before."""
    target = Path(path)
    special = target.exists() and not target.is_file()  # /dev/stdout, a pipe
    new = target if special else target.with_name(f".{target.name}.{os.getpid()}")
    flags = os.O_WRONLY | os.O_CLOEXEC | (0 if special else os.O_CREAT | os.O_EXCL)
    try:
        with os.fdopen(os.open(new, flags, 0o600), "w") as file:
            json.dump(document, file, indent=2, default=str)
            file.write("\n")
        if not special:
            new.replace(target)  # not written over: whoever had the old one open, or owns it, does not see this one
    except OSError as error:
        if not special:
            new.unlink(missing_ok=True)
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None


class Saved:
    """A plan read from a file."""

    def __init__(self, path: str) -> None:
        """Raises UsageError for a file that is none."""
        self.path = path
        try:
            document = json.loads(Path(path).read_text())
        except OSError as error:
            raise UsageError(f"{path} cannot be read: {error.strerror}") from None
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{path} is no JSON: {error}") from None
        try:
            if document["format"] != FORMAT:
                raise KeyError("format")
            if document["version"] != render.JSON_VERSION:
                raise UsageError(f"{path} is a plan of another version of netdsl: {document['version']}")
            self.stack, self.program = str(document["stack"]), str(document["program"])
            self.values, self.adopts = dict(document["values"]), bool(document["adopts"])
            chosen = document["selection"]
            self.selection = Selection(*(tuple(map(str, chosen[w])) for w in ("target", "exclude", "replace")))
            self.items, self.recorded = str(document["items"]), str(document["recorded"])
            self.fingerprint = [(str(urn), str(action), str(diffs)) for urn, action, diffs in document["fingerprint"]]
        except (KeyError, TypeError, ValueError):
            raise UsageError(f"{path} is no plan of netdsl's", fix="`netdsl plan --out FILE` writes one.") from None

    def open(self, state_dir: str | None) -> Session:
        """The session that it was made in."""
        return open_session(
            self.program,
            state_dir=state_dir,
            name=self.stack,
            given=self.values,
            reset_params=True,
            adopts=self.adopts,
            selection=self.selection,
        )

    def check(self, session: Session, preview: Preview) -> None:
        """Raise StalePlanError when program, state or kernel have moved since."""
        fix = "Make a new plan with `netdsl plan --out`. Nothing was touched."
        if _digest(preview.items) != self.items:
            what = f"{self.path} is out of date: the program {session.program} declares something else now"
            raise StalePlanError([Problem(what, fix=fix)])
        if _digest(session.recorded.items) != self.recorded:
            what = f"{self.path} is out of date: stack {session.name} was changed by another run since"
            raise StalePlanError([Problem(what, fix=fix)])
        now = preview.plan.fingerprint()
        if now != self.fingerprint:
            old, new = set(self.fingerprint), set(now)
            names = sorted({urn for urn, *_ in old ^ new})
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            what = f"{self.path} is out of date: the kernel has changed at {', '.join(names[:NAMED])}{more}"
            raise StalePlanError([Problem(what, fix=fix)])


def _digest(items: Iterable[Item]) -> str:
    """Of what is wanted or owned, wherever it is declared and whatever only we know of it."""
    told: list[list[Any]] = [
        [i.urn, i.kind.word, i.netns, i.props, list(i.after), i.opts.protect, list(i.opts.ignore_changes)]
        for i in items
    ]
    told.sort(key=lambda item: str(item[0]))
    return digest(json.dumps(told, sort_keys=True, default=str), 16).hex()
