"""Going back: to what a stack was after an earlier run."""

from __future__ import annotations

from typing import Any

from netdsl.cli.deployment import Deployment
from netdsl.cli.session import Session
from netdsl.errors import NetdslError, Problem, RollbackError, RolledBack
from netdsl.lang.item import Item
from netdsl.state.history import Past


class Before:
    """What a stack was at one moment: what it owned, its parameters and its outputs."""

    def __init__(self, number: int, items: list[Item], meta: dict[str, Any]) -> None:
        self.number = number
        self.items = items
        self.values: dict[str, Any] = meta.get("values", {})
        self.outputs: dict[str, Any] = meta.get("outputs", {})

    @classmethod
    def of_run(cls, session: Session, past: Past | None) -> Before:
        """After a past run; None is before the first."""
        if past is None:
            return cls(0, [], {})
        return cls(past.number, session.store.snapshot(past.number), dict(past.meta))

    @classmethod
    def now(cls, session: Session) -> Before:
        """As it is recorded, to be gone back to later."""
        store = session.store
        number = store.serial() if store.exists() else 0
        return cls(number, store.snapshot(number) if number else [], dict(session.recorded.meta))


def go_back(run: Deployment, before: Before) -> None:
    """Plan and apply the return to it, without asking."""
    session = run.session
    session.reload()
    session.program = session.program or session.recorded.meta.get("program", "")
    session.values, session.declared = before.values, None
    preview = session.preview_of(before.items)
    run.show(preview.plan)
    if preview.plan.pending:
        try:
            run.carry_out(preview, before.outputs)
        finally:
            run.tidy()


def roll_back(session: Session, before: Before, error: NetdslError, *, as_json: bool) -> NetdslError:
    """Go back after a failure; returns the error to end with."""
    run = Deployment(session, "rollback", yes=True, as_json=as_json, details=False)
    try:
        go_back(run, before)
    except NetdslError as another:
        return RollbackError([*error.problems, *another.problems])
    return RolledBack([*error.problems, Problem("rolled back: the stack is what it was before this run")])
