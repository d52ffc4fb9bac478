"""What would change, and why: the three-way comparison of program, state and kernel. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from netdsl.engine.cascade import cascade, explain, hold, present_needs
from netdsl.engine.change import Action, Change, Plan
from netdsl.engine.observe import Observation
from netdsl.engine.select import Selection, chosen, force, narrowed
from netdsl.errors import ConflictError, Problem
from netdsl.lang import naming
from netdsl.lang.item import Gone, Have, Item, Key
from netdsl.lang.property import Property

EVERYTHING = Selection()


def make_plan(
    stack: str,
    wanted: Sequence[Item],
    recorded: Iterable[Item],
    seen: Observation,
    selection: Selection = EVERYTHING,
) -> Plan:
    """Compare. `wanted` is in dependency order.

    Raises ConflictError when foreign objects are in the way or protected ones would go, of those that are selected.
    """
    changes, found = compare(stack, wanted, recorded, seen)
    if found and not selection:
        raise ConflictError(found.values())
    notes: list[str] = []
    if selection:
        force(changes, chosen(selection.replace, [change.item for change in changes]))
    hold(changes)
    cascade(changes, seen.found)
    if selection:
        changes, notes = narrowed(changes, selection)
        left = {change.item.urn for change in changes}
        problems = [problem for urn, problem in found.items() if urn in left]
        if problems:
            raise ConflictError(problems)
    explain(changes)
    guarded = [c for c in changes if c.action in (Action.DELETE, Action.REPLACE) and c.item.opts.protect]
    if guarded:
        raise ConflictError(
            Problem(
                f"{c.item.title} is protected; the plan would {c.action.value} it: {c.reason or 'unwanted'}",
                c.item.where,
                "Take protect away first if that is wanted.",
            )
            for c in guarded
        )
    return Plan(stack, changes, notes=notes)


def compare(
    stack: str, wanted: Sequence[Item], recorded: Iterable[Item], seen: Observation
) -> tuple[list[Change], dict[str, Problem]]:
    """What is to be done with each item by itself, and the foreign objects that are in the way, by logical name.

    Where one is, the change creates what exists already, and cannot be carried out.
    """
    records = {record.urn: record for record in recorded}
    matched = _match(wanted, records, by_key(stack, records.values(), seen))
    look = _Look(stack, seen, _estranged(stack, records.values(), seen), {item.key for item in wanted})
    changes = [_compare(look, item, matched.get(item.urn)) for item in wanted]
    taken = {record.urn for record in matched.values()}
    leftover = [record for record in records.values() if record.urn not in taken]
    names = {item.urn for item in wanted}
    for record in reversed(leftover):
        dropped = _drop(look, record)
        changes.append(_set_aside(dropped, records) if record.urn in names else dropped)
    for item in wanted:  # its identity changed: what was there under the old one goes
        before = matched.get(item.urn)
        if before is not None and before.key != item.key and before.key not in look.kept and before.key in seen.found:
            changes.append(_set_aside(_drop(look, before), records))
    return changes, look.problems


def _set_aside(dropped: Change, records: Mapping[str, Item]) -> Change:
    """Give a record that goes another name: a wanted resource has its own."""
    urn = before = dropped.item.urn
    while urn in records:
        urn += naming.OLD
    dropped.item = attrs.evolve(dropped.item, urn=urn)
    dropped.moved_from = before
    return dropped


def by_key(stack: str, records: Iterable[Item], seen: Observation) -> dict[Key, Item]:
    """Records by identity. A run that was killed while it made an object of another name anew leaves two with the same:
    the one whose object is there counts, else the one that the run was about to make."""
    found: dict[Key, Item] = {}
    for record in records:
        other = found.setdefault(record.key, record)
        if other is not record:
            have = seen.found.get(record.key)
            fits = [
                have is not None and _kernel_word(r) == have.kind and r.kind.is_ours(r, have, stack)
                for r in (other, record)
            ]
            if fits[1] > fits[0] or (fits[0] == fits[1] and record.extra.get("unsettled") == "create"):
                found[record.key] = record
    return found


def _match(wanted: Sequence[Item], records: Mapping[str, Item], by_key: Mapping[Key, Item]) -> dict[str, Item]:
    """Wanted urn -> record: by kernel identity (a move, where the name is another one), by logical name, by alias."""
    matched = {item.urn: by_key[item.key] for item in wanted if item.key in by_key}
    taken = {record.urn for record in matched.values()}
    for item in wanted:
        if item.urn in matched:
            continue
        names = [item.urn, *(naming.aliased(item.urn, alias) for alias in item.opts.aliases)]
        for name in names:
            if name in records and name not in taken:
                matched[item.urn] = records[name]
                taken.add(name)
                break
    return matched


def _estranged(stack: str, records: Iterable[Item], seen: Observation) -> set[Key]:
    """Identities under which another object stands now than the recorded one, and all that stands on those."""
    there = [(record, seen.found[record.key]) for record in records if record.key in seen.found]
    ours = {record.key for record, have in there if record.kind.is_ours(record, have, stack)}
    found = {record.key for record, _ in there} - ours
    grows = bool(found)
    while grows:
        more = {
            record.key
            for record, have in there
            if record.key not in found
            and any(n.key in found and n.gone is Gone.VANISH for n in present_needs(record, have))
        }
        found |= more
        grows = bool(more)
    return found


@attrs.define(eq=False, repr=False)
class _Look:
    """What comparing one item needs to know of the rest.

    estranged  see `_estranged`
    kept       identities that are wanted
    told       foreign objects that were named as conflicts: what stands on them need not be
    """

    stack: str
    seen: Observation
    estranged: set[Key]
    kept: set[Key]
    problems: dict[str, Problem] = attrs.field(factory=dict)
    told: set[Key] = attrs.field(factory=set)


def _compare(look: _Look, item: Item, record: Item | None) -> Change:
    """What happens to one wanted item."""
    have = look.seen.found.get(item.key)
    if record is not None:
        item.extra = {word: value for word, value in record.extra.items() if word not in ("unsettled", "unsure")}
    moved = record.urn if record is not None and record.urn != item.urn else ""
    change = Change(Action.SAME, item, record, have, moved_from=moved)
    if have is None:
        change.action = Action.CREATE
        if record is not None and record.key == item.key and change.settles != "create":
            change.reason = "it is gone from the kernel"
        elif record is not None and record.key != item.key:
            change.reason = "its identity changed"
        return change
    foreign = _foreign(look, item, record, have)
    unfit = _unfit(item, have) if foreign and item.opts.adopt else ""
    if foreign and (unfit or not item.opts.adopt):
        below = [n.key for n in present_needs(item, have) if n.prop and n.gone is Gone.VANISH]
        if not look.told.intersection([*below, ("netns", "", item.netns)]):
            fix = "Remove it, choose another name, or take it over with opts=Opts(adopt=True) (all there is: --adopt)."
            if unfit:
                fix = "Remove it, or choose another name."
            look.problems[item.urn] = Problem(unfit or foreign, item.where, fix)
        look.told.add(item.key)
        change.action = Action.CREATE  # which is not carried out
        return change
    change.adopts = bool(foreign)
    if change.adopts:
        item.extra["adopted"] = True
        item.extra["found"] = {name: have.props.get(name) for name in item.props}
    if "cookie" in have.props:
        item.extra["cookie"] = have.props["cookie"]
    if record is not None and record.kind is not item.kind and not foreign:
        change.action, change.reason = Action.REPLACE, f"it was a {record.kind.__name__}"
        return change
    if record is not None and item.kind.is_link and have.kind != _kernel_word(item) and not foreign:
        change.action, change.reason = Action.REPLACE, f"it is still a {have.kind}"  # whose deletion failed
        return change
    _diff(change)
    _claim(change)
    if item.kind.is_link and record is not None and naming.altname(look.stack, item.name) not in have.marks:
        change.unmarked = change.action in (Action.SAME, Action.UPDATE)
        if change.action is Action.SAME:
            change.action, change.reason = Action.UPDATE, "the mark that makes it this stack's is missing"
    if change.settles and change.action is Action.SAME:
        change.reason = "an interrupted run did it"
    elif change.reoptioned and change.action is Action.SAME:
        change.reason = "its options changed"
    elif change.redeclared and change.action is Action.SAME:
        change.reason = "other properties are managed than before"
    if item.kind.preexisting and record is None:
        item.extra["found"] = dict(have.props)
        change.adopts = change.action is Action.SAME
    return change


def _foreign(look: _Look, item: Item, record: Item | None, have: Have) -> str:
    """Why an existing object is not the one that we made; "" when it is, or when nobody makes its like."""
    if item.kind.preexisting:
        return ""
    ours = record is not None and record.key == item.key
    if record is None or not ours:
        return f"{item.title} exists already and is not this stack's"
    if record.key in look.estranged:
        return f"{item.title} is not the one that this stack made: another has taken its place"
    words = (_kernel_word(record), _kernel_word(item))
    if have.kind not in words and naming.altname(look.stack, item.name) not in have.marks:
        return f"{item.title} is a {have.kind} now: another has taken its place"
    if have.twins:
        return f"{item.title} has a foreign twin: a second object of the same identity"
    return ""


def _unfit(item: Item, have: Have) -> str:
    """Why an object cannot be taken over; "" when it can."""
    if have.kind != _kernel_word(item):
        return f"{item.title} cannot be taken over: it is a {have.kind}"
    if item.props and not have.props:
        return f"{item.title} cannot be taken over: it holds other things than netdsl would put there"
    return ""


def _kernel_word(item: Item) -> str:
    """What the kernel calls its kind."""
    return str(getattr(item.kind, "kernel", "") or item.kind.word)


def _diff(change: Change) -> None:
    """Fill in what differs, and decide between update and replace."""
    item, record, have = change.item, change.record, change.have
    assert have is not None
    properties, ignored = item.kind.properties, item.opts.ignore_changes
    if have.props != item.props:
        for name, want in item.props.items():
            now = have.props.get(name)
            if now != want and name not in ignored:
                change.diffs[name] = (now, want)
    if record is not None and record.props.keys() != item.props.keys():
        before = record.extra.get("found", {})
        fresh = {name: have.props.get(name) for name in item.props if name not in record.props and name not in before}
        if fresh:
            item.extra["found"] = {**before, **fresh}
        for name in record.props:
            if name not in item.props and name in properties and name not in ignored:
                now, back = have.props.get(name), _former(properties[name], record, item)
                if now != back and (back is not None or _unsettable(properties[name], now, item, record)):
                    change.diffs[name] = (now, back)
    if change.diffs:
        change.action = Action.UPDATE
        forcing = [name for name in change.diffs if name in properties and _anew(properties[name], have, item)]
        unset = [name for name, (_, want) in change.diffs.items() if want is None and not item.kind.whole]
        if unset:
            change.action = Action.REPLACE
            change.reason = f"{unset[0]} is not given any more, and only a new object is without it"
        elif forcing and not change.adopts:
            change.action, change.reason = Action.REPLACE, f"{forcing[0]} cannot change in place"
        elif forcing:
            change.action, change.reason = Action.REPLACE, f"adopted, but {forcing[0]} cannot change in place"


def _former(taken_out: Property, record: Item, item: Item) -> Any:
    """The value that a property which the program no longer names goes back to; None: it is the kernel's to choose.

    Of an object that was taken over that is the one from before us. Of one that we made it is what a new one would have
    now; what was found on it when the property became managed may not fit any more (an MTU from before another `dev`).
    """
    before = record.extra.get("found", {}).get(taken_out.name)
    initial = item.initial(taken_out.name) if item.initial is not None else taken_out.kernel
    first, second = (before, initial) if record.extra.get("adopted") else (initial, before)
    return first if first is not None else second


def _unsettable(taken_out: Property, now: Any, item: Item, record: Item) -> bool:
    """Whether the kernel is to choose again: it shows a value that is no choice of netdsl's, nothing else is given in
    its place, and the object may be written as a whole or made anew, as one that was taken over may not."""
    if now in ("", []) or taken_out.derived or not taken_out.seen:
        return False
    if record.extra.get("adopted") and not item.kind.whole:
        return False
    place = (taken_out.at, taken_out.number)
    given = (item.kind.properties[name] for name in item.props if name in item.kind.properties)
    return not (taken_out.at and any((other.at, other.number) == place for other in given))


def _claim(change: Change) -> None:
    """Set what the kernel would else adjust by itself, where it becomes managed (`Resource.claimed`)."""
    item, known = change.item, change.record.props if change.record is not None else {}
    for name in () if change.adopts else item.kind.claimed:  # `adopt` sees to it
        if (
            name in item.props
            and name not in known
            and name not in change.diffs
            and change.action is not Action.REPLACE
        ):
            change.action = Action.UPDATE
            change.diffs[name] = (item.props[name], item.props[name])
            change.reason = change.reason or f"{name} is set: else the kernel adjusts it"


def _anew(changed: Property, have: Have, item: Item) -> bool:
    """Whether the kernel cannot bring a property to its new value in place."""
    return changed.replace or (changed.anew is not None and changed.anew(have.props, item.props))


def _drop(look: _Look, record: Item) -> Change:
    """A record that the program no longer names."""
    have = look.seen.found.get(record.key)
    if have is None:
        found = Change(Action.FORGET, record, record, None, reason="it is gone from the kernel already")
        if found.settles:
            found.reason = "an interrupted run got no further"
        return found
    if record.key in look.kept:
        return Change(Action.FORGET, record, record, have, reason="another resource has its identity now")
    if record.opts.retain_on_delete:
        return Change(Action.FORGET, record, record, have, reason="retain_on_delete")
    if record.key in look.estranged:
        return Change(Action.FORGET, record, record, have, reason="another object has taken its place")
    if record.extra.get("adopted"):
        return _give_back(record, have)
    return Change(Action.DELETE, record, record, have)


def _give_back(record: Item, have: Have) -> Change:
    """What was taken over stays, with the values that it had then."""
    found = record.extra.get("found", {})
    change = Change(Action.SAME, record, record, have, reason="it was taken over, not made: it stays", releases=True)
    for name in record.props:
        back = found.get(name)
        if back is not None and have.props.get(name) != back:
            change.action = Action.UPDATE
            change.diffs[name] = (have.props.get(name), back)
    return change
