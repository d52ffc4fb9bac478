"""Comparing what was written with what the kernel shows: a success that it does not show is an error."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import attrs

from netdsl.engine.change import Action, Change
from netdsl.engine.observe import Look, Target
from netdsl.engine.outcome import Outcome
from netdsl.errors import KernelError, Problem
from netdsl.lang.item import Item


class ReadBack:
    """The second look at what a plan writes. It may begin while other netns are still being written."""

    def __init__(self, target: Target, changes: Iterable[Change]) -> None:
        self._target = target
        self._changes = list(changes)
        self._found_written: list[Change] | None = None
        self._look: Look | None = None
        self._error: KernelError | None = None

    def _written(self) -> list[Change]:
        """Those that are to be found as they were written."""
        if self._found_written is None:
            deleted = Action.DELETE
            self._found_written = [c for c in self._changes if c.writes and not (c.action is deleted or c.releases)]
        return self._found_written

    def _started(self) -> Look:
        if self._look is None:
            items = [_shown(change) for change in self._changes]
            pending = [change for change in self._changes if change.pending]
            if len(pending) < len(items):
                # Around them: only both ends of a pair show who the peer is.
                around = {need.key for change in pending for need in change.item.needs}
                touched = {change.item.key for change in pending}
                items = [item for item in items if item.key in touched or item.key in around]
            self._look = Look(self._target, items)
        return self._look

    def look_at(self, netns: str) -> None:
        """Look at a netns in which nothing is left to do."""
        self._try(lambda: self._started().read(netns))

    def spare(self) -> None:
        """Use time in which there is nothing to dump, but the kernel is still busy: read what it does not keep waiting
        for."""
        if self._look is not None:
            self._try(self._look.read_files)
            self._written()

    def _try(self, looking: Callable[[], None]) -> None:
        """What cannot be read is told at the end: more than looking is under way."""
        if self._error is None:
            try:
                looking()
            except KernelError as error:
                self._error = error

    def problems(self, outcome: Outcome) -> list[Problem]:
        """Look at the rest, and name each property that is not as it was written, of what was carried out in full; of
        the others tell the outcome which objects are gone."""
        bad, done = list[Change](), self._written()
        if not outcome.clean:
            bad = [change for change in self._changes if outcome.bad(change)]
            done = [change for change in done if not outcome.bad(change)]
        if not done and not bad:
            return []
        if self._error is not None:
            raise self._error
        seen = self._started().finish()
        outcome.gone = {id(change) for change in bad if change.item.key not in seen.found}
        problems: list[Problem] = []
        for change in done:
            item, have = change.item, seen.found.get(change.item.key)
            if have is None:
                problems.append(Problem(f"{item.title}: the kernel took it, but does not show it", item.where))
                continue
            if have.props == item.props:
                continue
            returned = {name: back for name, back in change.returned.items() if have.props.get(name) is not None}
            for name, want in {**item.props, **returned}.items():
                if have.props.get(name) != want and name not in item.opts.ignore_changes:
                    is_now = f"{name} is {have.props.get(name)!r} after it was set to {want!r}"
                    problems.append(Problem(f"{item.title}: {is_now}", item.where))
        return problems


def _shown(change: Change) -> Item:
    """What to look at of a change: also what goes back to a former value."""
    returned = change.returned
    return attrs.evolve(change.item, props={**change.item.props, **returned}) if returned else change.item
