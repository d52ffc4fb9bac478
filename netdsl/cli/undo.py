"""Going back: to what a stack was after an earlier run."""

from __future__ import annotations

from typing import Any

import attrs

from netdsl.cli.deployment import Deployment
from netdsl.cli.session import Session
from netdsl.engine.outcome import Outcome
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

    def fresh(self) -> list[Item]:
        """The items for another plan, which writes into them."""
        return [attrs.evolve(item, props=dict(item.props), extra=dict(item.extra)) for item in self.items]

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
    """Show, ask (as the run is told to), and apply the return to it."""
    session = run.session
    session.reload()
    session.program = session.program or session.recorded.meta.get("program", "")
    session.values, session.declared = before.values, None
    preview = session.preview_of(before.fresh())
    run.show(preview.plan, details=run.details)
    if preview.plan.pending:
        preview = run.confirm(preview, lambda: session.preview_of(before.fresh()))
        run.carry_out(preview, before.outputs)
    elif session.store.exists():  # parameters and outputs may be others, although nothing in the kernel is
        if run.as_json:
            run.report(preview.plan, Outcome(), before.outputs)
        session.store.put_meta({**session.meta(), "outputs": before.outputs})


def roll_back(session: Session, before: Before, error: NetdslError, *, as_json: bool) -> NetdslError:
    """Go back after a failure; returns the error to end with."""
    run = Deployment(session, "rollback", yes=True, as_json=as_json, details=False)
    try:
        go_back(run, before)
        if before.number == 0:  # the stack was not there
            run.tidy()
    except NetdslError as another:
        told = [problem._replace(what=f"the rollback failed too: {problem.what}") for problem in another.problems]
        return RollbackError([*error.problems, *told])
    return RolledBack([*error.problems, Problem("rolled back: the stack is what it was before this run")])
