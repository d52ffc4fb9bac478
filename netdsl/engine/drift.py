"""Drift: what the kernel shows of a stack's records, whatever its program says. Pure, but for `look`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from netdsl.engine.change import Action, Change, Plan
from netdsl.engine.graph import sorted_items
from netdsl.engine.observe import Observation, Target, observe
from netdsl.engine.plan import by_key, compare
from netdsl.errors import Problem
from netdsl.lang.item import Item, Key, Props


@attrs.frozen
class Drift:
    """One record that the kernel does not agree with.

    what   "gone", "differs", or "foreign": another object stands under its identity
    diffs  property -> (recorded, there)
    """

    item: Item = attrs.field(eq=False)
    what: str
    diffs: Mapping[str, tuple[Any, Any]] = attrs.field(factory=dict)

    @property
    def words(self) -> str:
        """What became of it, to follow its title."""
        if self.what == "gone":
            return "is gone from the kernel"
        return "differs" if self.what == "differs" else "is another object now, not the one that was made"


def as_wanted(recorded: Iterable[Item]) -> list[Item]:
    """Records as a program would declare them, in dependency order."""
    return sorted_items([attrs.evolve(record, extra={}) for record in recorded])


def look(target: Target, stack: str, recorded: Mapping[Key, Item], items: Sequence[Item]) -> dict[str, Drift]:
    """Which of these items, of all that are recorded, drifted, by logical name.

    What an interrupted run left open is no drift.
    """
    mine = {item.key for item in items}
    beyond = {need.key for item in items for need in item.needs if item.kind.is_link and need.key not in mine}
    around = [recorded[key] for key in beyond if key in recorded]  # only both ends of a pair show that it is one
    seen = observe(target, [*items, *around])
    changes, problems = compare(stack, as_wanted(by_key(stack, items, seen).values()), items, seen)
    found = {change.item.urn: _drift(change, problems) for change in changes if not change.settles}
    return {urn: drift for urn, drift in found.items() if drift is not None}


def _drift(change: Change, problems: Mapping[str, Problem]) -> Drift | None:
    if change.have is None:
        return Drift(change.item, "gone")
    if change.item.urn in problems or change.action is Action.CREATE:
        return Drift(change.item, "foreign")
    return Drift(change.item, "differs", _turned(change)) if change.diffs else None


def _turned(change: Change) -> dict[str, tuple[Any, Any]]:
    """Property -> (recorded, there)."""
    return {name: (want, have) for name, (have, want) in change.diffs.items()}


def taking_in(stack: str, recorded: Sequence[Item], seen: Observation) -> Plan:
    """What makes the records say what is there: each change's `diffs` are from what is recorded to what is there.

    What an interrupted run left open is settled by the same rule; of two records of one identity that it left, what is
    there says which is right.
    """
    changes, problems = compare(stack, as_wanted(by_key(stack, recorded, seen).values()), recorded, seen)
    return Plan(stack, [_taken_in(change, _drift(change, problems)) for change in changes])


def _taken_in(change: Change, drift: Drift | None) -> Change:
    record, have = change.record, change.have
    assert record is not None
    if change.action is Action.FORGET:
        return change
    if drift is None or drift.what == "differs":
        assert have is not None
        names = record.props if change.settles else change.diffs
        props = _found(record, {name: have.props.get(name) for name in names})
        taken = Change(Action.UPDATE if drift else Action.SAME, attrs.evolve(change.item, props=props), record, have)
        taken.diffs = _turned(change)
        if drift and props == record.props:
            taken.reason = f"what is there is no {record.kind.__name__} any more: its record stays"
        elif change.settles:
            taken.reason = "an interrupted run left it open"
        return taken
    gone = Change(Action.FORGET, record, record, have, reason=f"it {drift.words}")
    if change.settles:
        gone.reason = "an interrupted run got no further"
    return gone


def _found(record: Item, there: Props) -> Props:
    """The properties of a record with what is there; those of the record where those cannot say it."""
    props = {name: value for name, value in {**record.props, **there}.items() if value not in (None, "")}
    kind = record.kind
    try:
        kind.needs(record.netns, record.name, props)
        same = kind.identity(record.netns, record.name, props) == record.key
    except KeyError:
        return record.props
    return props if same and all(name in props for name in kind.required) else record.props
