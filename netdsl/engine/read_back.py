"""Comparing what was written with what the kernel shows: a success that it does not show is an error."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from netdsl.engine.change import Action, Change
from netdsl.engine.observe import Look, Target
from netdsl.engine.outcome import Outcome
from netdsl.errors import KernelError, Problem
from netdsl.kinds import KINDS
from netdsl.lang.item import Item


class ReadBack:
    """The second look at what a plan writes. It may begin while other netns are still being written."""

    def __init__(self, target: Target, changes: Iterable[Change]) -> None:
        self._target = target
        self._changes = list(changes)
        self._written = [c for c in self._changes if c.writes and c.action is not Action.DELETE and not c.releases]
        self._look: Look | None = None
        self._error: KernelError | None = None

    def _started(self) -> Look:
        if self._look is None:
            items = [_shown(change) for change in self._changes]
            if len(self._written) < len(items):
                # Around them: only both ends of a pair show who the peer is.
                around = {need.key for change in self._written for need in change.item.needs}
                written = {change.item.key for change in self._written}
                items = [item for item in items if item.key in written or item.key in around]
            self._look = Look(self._target, items, KINDS)
        return self._look

    def look_at(self, netns: str) -> None:
        """Look at a netns in which nothing is left to do. What cannot be read is told at the end: more than looking is
        under way."""
        if self._error is None:
            try:
                self._started().read(netns)
            except KernelError as error:
                self._error = error

    def problems(self, outcome: Outcome) -> list[Problem]:
        """Look at the rest, and name each property that is not as it was written, of what was carried out in full."""
        done = [change for change in self._written if not outcome.bad(change)]
        if not done:
            return []
        if self._error is not None:
            raise self._error
        seen = self._started().finish()
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
