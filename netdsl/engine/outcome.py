"""What came of a plan: what was refused, skipped or left undone, and why."""

from __future__ import annotations

import attrs

from netdsl.engine.change import Action, Change, Plan
from netdsl.errors import Problem


@attrs.define(eq=False, repr=False)
class Outcome:
    """What came of a plan.

    failed   change -> why (the kernel's words and errno)
    skipped  change -> the title of what it needs and that failed
    partly   changes whose object exists though some of their operations failed
    undone   changes that were never sent: the run was interrupted
    gone     changes that were not carried out, and whose object is not there: what had to go before they were is gone
    held     netns whose names are gone and that the kernel has not let go of
    """

    failed: dict[int, tuple[Change, str, str]] = attrs.field(factory=dict)
    skipped: dict[int, tuple[Change, str]] = attrs.field(factory=dict)
    partly: set[int] = attrs.field(factory=set)
    undone: dict[int, Change] = attrs.field(factory=dict)
    gone: set[int] = attrs.field(factory=set)
    held: list[str] = attrs.field(factory=list)

    @property
    def clean(self) -> bool:
        """Whether everything was done."""
        return not (self.failed or self.skipped or self.undone)

    @property
    def status(self) -> str:
        """In a word."""
        return "done" if self.clean else "interrupted" if self.undone else "partly"

    def counts(self, plan: Plan) -> dict[str, int]:
        """How many of each action were carried out."""
        counts = plan.counts()
        for change in (
            *[c for c, *_ in self.failed.values()],
            *[c for c, _ in self.skipped.values()],
            *self.undone.values(),
        ):
            counts[change.action.value] -= 1
        return counts

    def bad(self, change: Change) -> bool:
        """Whether a change was not carried out in full."""
        if not (self.failed or self.skipped or self.undone):
            return False
        return id(change) in self.failed or id(change) in self.skipped or id(change) in self.undone

    def records(self) -> dict[str, str]:
        """urn -> "absent", "gone" or "kept", for the state."""
        found = {}
        changes = [change for change, *_ in self.failed.values()]
        changes += [change for change, _ in self.skipped.values()] + list(self.undone.values())
        for change in changes:
            new = change.action is Action.CREATE or (change.record is None and not change.adopts)
            kept = "gone" if id(change) in self.gone else "kept"
            found[change.item.urn] = "absent" if new and id(change) not in self.partly else kept
        return found

    def problems(self) -> list[Problem]:
        """One for each failure, with the equivalent command."""
        found = [
            Problem(
                f"{change.item.title}: the kernel refused to {change.verb} it: {why}",
                change.item.where,
                f"The same by hand: {command}" if command else "",
            )
            for change, why, command in self.failed.values()
        ]
        found += [
            Problem(f"{change.item.title}: skipped, because it needs {title}", change.item.where)
            for change, title in self.skipped.values()
        ]
        return found
