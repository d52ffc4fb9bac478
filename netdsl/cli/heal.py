"""Repairing drift: the way from what the kernel shows back to what is recorded, planned and applied as `up` does it."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic
from typing import Any

from netdsl.cli.deployment import Deployment
from netdsl.cli.session import Session
from netdsl.cli.telling import Teller
from netdsl.engine.backoff import Backoff
from netdsl.engine.change import Plan
from netdsl.engine.deploy import preview
from netdsl.engine.drift import Drift, as_wanted
from netdsl.engine.outcome import Outcome
from netdsl.engine.select import Selection
from netdsl.errors import Interrupted, LockedError, NetdslError
from netdsl.lang.item import Item
from netdsl.state.confirm import require_none
from netdsl.state.lock import locked

VERB = "watch --heal"
"""How the state's history and the lock name it."""


class _Run(Deployment):
    """One repair; what it says goes to the teller."""

    def __init__(self, session: Session, teller: Teller) -> None:
        super().__init__(session, VERB, yes=True, as_json=False, details=False)
        self.teller = teller

    def report(self, plan: Plan, outcome: Outcome, outputs: dict[str, Any], *, clean: bool = True) -> None:
        """What failed is told by the error."""
        self.teller.repaired(outcome.counts(plan), clean=clean)


class Healer:
    """Repairs what drifted, and what comes back again and again less and less often.

    When one thing is due, all that drifted is repaired with it: what rests may be what the other stands on.
    """

    def __init__(self, session: Session, teller: Teller) -> None:
        self.session = session
        self.teller = teller
        self.backoff = Backoff()
        self.mended: set[str] = set()
        self._complaints: list[str] = []
        """Of repairs on end that failed; the first is not told, since the kernel may have moved under it."""

    def due(self, drifts: dict[str, Drift]) -> float | None:
        """When there is something to repair; None when there is not."""
        return min((self.backoff.due(urn) for urn in self._curable(drifts)), default=None)

    @staticmethod
    def _curable(drifts: dict[str, Drift]) -> list[str]:
        return [urn for urn, drift in drifts.items() if drift.what != "foreign"]

    def heal(self, drifts: dict[str, Drift], stamp: bytes) -> None:
        """Repair all that is not in a foreign object's hands, unless the state is not the one with that stamp.

        Raises LockedError when another run is under way.
        """
        now = monotonic()
        curable = self._curable(drifts)
        session = self.session
        self.mended = set()
        try:
            with locked(session.folder, session.name, VERB):
                if session.store.stamp() != stamp:
                    return
                self._repair([urn for urn in drifts if urn not in curable])
                self._complaints = []
        except (LockedError, Interrupted):
            raise
        except NetdslError as error:
            self.mended = set()
            if self._complaints and str(error) not in self._complaints[1:]:
                self.teller.failed(error)
            self._complaints.append(str(error))
        often = [urn for urn in self.backoff.tried(curable, now) if urn in self.mended]
        if often:
            self.teller.often(drifts[often[0]], len(often) - 1, self.backoff.due(often[0]) - now)

    def _repair(self, foreign: Sequence[str]) -> None:
        session = self.session
        require_none(session.folder, session.name)
        recorded = session.recorded.items
        selection = Selection(exclude=foreign)
        found = preview(session.machine, session.name, as_wanted(recorded), recorded, selection=selection)
        pending = found.plan.pending
        run = _Run(session, self.teller)
        if pending:
            self.mended = {change.item.urn for change in pending}
            run.carry_out(found, session.recorded.meta.get("outputs", {}))
        if run.stopped:
            raise KeyboardInterrupt


def home(item: Item) -> str:
    """The netns whose notifications tell of an item."""
    return str(item.key[2]) if item.key[0] == "netns" else item.netns


def protocols(recorded: Sequence[Item]) -> dict[str, frozenset[int]]:
    """By which netlink protocols each netns that the records are about tells of them."""
    found: dict[str, set[int]] = {}
    for item in recorded:
        mine = found.setdefault(home(item), {0})
        mine.update(getattr(dump, "protocol", 0) for dump in item.kind.dumps)
    return {netns: frozenset(numbers) for netns, numbers in found.items()}
