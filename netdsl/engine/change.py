"""What a plan consists of. Pure."""

from __future__ import annotations

from enum import Enum
from typing import Any

import attrs

from netdsl.lang.item import Have, Item


class Action(Enum):
    """What happens to an object. FORGET: the record goes, the kernel's object (if any) stays."""

    CREATE = "create"
    UPDATE = "update"
    REPLACE = "replace"
    DELETE = "delete"
    FORGET = "forget"
    SAME = "same"


@attrs.define(slots=True, eq=False, repr=False)
class Change:
    """One resource in a plan.

    item        as wanted; as recorded where it is not wanted any more
    record      as the state has it, if it does
    have        as the kernel shows it, if it does
    diffs       property -> (have, want), of those that differ
    reason      why, in words; "" where the action says it all
    falls       what takes the object along, so that it needs no delete of its own
    resent      the kernel may have dropped it: it is sent again whether it did or not
    adopts      it exists and becomes ours
    unmarked    it is ours, but the kernel has no mark of that: a run ended before it was written
    releases    it was taken over and is given back as it was found
    moved_from  the logical name that it had in the state
    cause       the change that made this one necessary
    """

    action: Action
    item: Item
    record: Item | None = None
    have: Have | None = None
    diffs: dict[str, tuple[Any, Any]] = attrs.field(factory=dict)
    reason: str = ""
    falls: str = ""
    resent: bool = False
    adopts: bool = False
    unmarked: bool = False
    releases: bool = False
    moved_from: str = ""
    cause: Change | None = None

    @property
    def verb(self) -> str:
        """What it does, in a sentence."""
        if self.action is Action.SAME:
            return "take over" if self.adopts else "give back"
        return str(self.action.value)

    @property
    def writes(self) -> bool:
        """Whether the kernel is touched."""
        return self.action not in (Action.SAME, Action.FORGET) or self.adopts or self.releases

    @property
    def pending(self) -> bool:
        """Whether anything at all is to be done: the kernel, the state, or both."""
        if self.action is not Action.SAME:
            return True
        return bool(
            self.adopts or self.releases or self.moved_from or self.settles or self.reoptioned or self.redeclared
        )

    @property
    def redeclared(self) -> bool:
        """Whether other properties are managed than the state has, though none has another value. Where it would be
        taken over (--adopt) the program manages less of it than of what it made."""
        if self.record is None or self.item.opts.adopt:
            return False
        return self.record.props.keys() != self.item.props.keys()

    @property
    def returned(self) -> dict[str, Any]:
        """Properties that are not wanted any more and are set to their former values in place, with these."""
        if self.action is not Action.UPDATE or self.item.kind.whole:
            return {}
        props = self.item.props
        return {name: back for name, (_, back) in self.diffs.items() if name not in props and back is not None}

    @property
    def reoptioned(self) -> bool:
        """Whether the options that outlive the program are others than the state has."""
        old, new = (self.record or self.item).opts, self.item.opts
        return old is not new and (old.protect, old.retain_on_delete) != (new.protect, new.retain_on_delete)

    @property
    def settles(self) -> str:
        """What an interrupted run was about to do with it: "create", ...; "" when nothing is open."""
        return str(self.record.extra.get("unsettled", "")) if self.record is not None else ""


@attrs.define(eq=False, repr=False)
class Plan:
    """All resources in dependency order, those to be deleted at the end.

    held  netns that processes live in: they outlast their names, so what is ours in them is deleted one by one
    """

    stack: str
    changes: list[Change]
    held: frozenset[str] = frozenset()
    notes: list[str] = attrs.field(factory=list)

    @property
    def pending(self) -> list[Change]:
        """Changes other than SAME."""
        return [change for change in self.changes if change.pending]

    @property
    def writes(self) -> bool:
        """Whether applying it touches the kernel."""
        return any(change.writes for change in self.changes)

    def counts(self) -> dict[str, int]:
        """How many of each action."""
        found = dict.fromkeys((action.value for action in Action), 0)
        for change in self.changes:
            found[change.action.value] += 1
        return found

    def fingerprint(self) -> list[tuple[str, str, str]]:
        """What the plan would do, comparable with that of another plan."""
        return sorted((c.item.urn, c.action.value, repr(sorted(c.diffs.items()))) for c in self.pending)
