"""Part of a plan: what the user chose, and what cannot be had without it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase

import attrs

from netdsl.engine.cascade import lost_keys, present_needs
from netdsl.engine.change import Action, Change
from netdsl.errors import UsageError
from netdsl.lang.item import Gone, Item, Key
from netdsl.lang.resource import Resource

_DELETING = (Action.DELETE, Action.REPLACE)


@attrs.frozen
class Selection:
    """What the user chose, each a logical name, the end of one, a name, or a pattern with * and ?.

    target    only these, with what they need and what falls with them
    exclude   all but these, and what needs them
    replace   these are made anew
    """

    target: Sequence[str] = ()
    exclude: Sequence[str] = ()
    replace: Sequence[str] = ()

    def __bool__(self) -> bool:
        return bool(self.target or self.exclude or self.replace)


def chosen(patterns: Iterable[str], items: Iterable[Item]) -> set[str]:
    """The logical names that patterns mean. Raises UsageError when one means nothing."""
    urns = {item.urn: item.name for item in items}
    found: set[str] = set()
    for pattern in patterns:
        hits = {urn for urn in urns if urn == pattern or fnmatchcase(urn, pattern)}
        hits = hits or {urn for urn, name in urns.items() if urn.endswith(f"::{pattern}") or fnmatchcase(name, pattern)}
        if not hits:
            raise UsageError(
                f"no resource of the stack is called {pattern!r}",
                fix="`netdsl state list` and `netdsl plan --json` show logical names; * and ? stand for characters.",
            )
        found |= hits
    return found


def force(changes: Iterable[Change], urns: set[str]) -> None:
    """Turn changes into replacements because the user asked for it."""
    for change in changes:
        if change.item.urn in urns and change.have is not None and change.action in (Action.SAME, Action.UPDATE):
            change.action, change.reason = Action.REPLACE, "asked for with --replace"


def narrowed(changes: list[Change], selection: Selection) -> tuple[list[Change], list[str]]:
    """The changes that stay, and notes on what the choice pulled in or left out beyond what was named."""
    pending = [change for change in changes if change.pending]
    links = _Links(pending)
    items = [change.item for change in changes]
    notes = []
    kept = {id(change) for change in pending}
    if selection.target:
        named = chosen(selection.target, items)
        start = [change for change in pending if change.item.urn in named]
        kept = links.closure(start, links.forward)
        while dropped := [user for _, user in _dropped(changes, kept)]:
            kept |= links.closure(dropped, links.forward)
        notes += _note("--target pulls in", kept - set(map(id, start)), pending)
    if selection.exclude:
        named = chosen(selection.exclude, items)
        start = [change for change in pending if change.item.urn in named]
        out = links.closure(start, links.backward)
        while dropping := [lost for lost, _ in _dropped(changes, kept - out)]:
            out |= links.closure(dropping, links.backward)
        notes += _note("--exclude leaves out too", (out & kept) - set(map(id, start)), pending)
        kept -= out
    forced = {id(change) for change in pending if change.item.urn in chosen(selection.replace, items)}
    notes += _note("left out although --replace names it", forced - kept, pending)
    return [change for change in changes if not change.pending or id(change) in kept], notes


class _Links:
    """Which pending changes cannot do without which others."""

    def __init__(self, pending: Sequence[Change]) -> None:
        self.forward: dict[int, list[Change]] = {}
        self.backward: dict[int, list[Change]] = {}
        by_key: dict[Key, Change] = {change.item.key: change for change in pending}
        lost = lost_keys(pending)
        by_urn = {change.item.urn: change for change in pending}
        present = set(map(id, pending))
        for change in pending:
            if change.action is not Action.DELETE:
                for need in change.item.needs:  # what it stands on has to be there, and as it should be
                    self._tie(change, by_key.get(need.key))
                for urn in change.item.after:
                    self._tie(change, by_urn.get(urn))
            else:
                for urn in change.item.after:  # it does not stay without what it was to have
                    below = by_urn.get(urn)
                    self._tie(below if below is not None and below.action is Action.DELETE else None, change)
            if change.have is not None:
                for need in present_needs(change.record or change.item, change.have):
                    if need.gone in (Gone.VANISH, Gone.TWIN, Gone.BLOCK):
                        self._tie(lost.get(need.key), change)  # what goes takes it along, or goes after it
                    if need.gone is Gone.TWIN and change is lost.get(change.item.key):
                        self._tie(change, lost.get(need.key))
            if change.cause is not None and id(change.cause) in present:
                self._tie(change.cause, change)
                self._tie(change, change.cause)

    def _tie(self, change: Change | None, needed: Change | None) -> None:
        if change is not None and needed is not None and change is not needed:
            self.forward.setdefault(id(change), []).append(needed)
            self.backward.setdefault(id(needed), []).append(change)

    def closure(self, start: Sequence[Change], ways: dict[int, list[Change]]) -> set[int]:
        """These changes and all that follow from them."""
        found = set(map(id, start))
        queue = list(start)
        while queue:
            for other in ways.get(id(queue.pop()), ()):
                if id(other) not in found:
                    found.add(id(other))
                    queue.append(other)
        return found


def _dropped(changes: Sequence[Change], kept: set[int]) -> Iterator[tuple[Change, Change]]:
    """Deletions that stay in the plan, each with what the kernel would drop with it although that is left out."""
    plain = Resource.falls_with.__func__  # type: ignore[attr-defined]  # a classmethod's function
    going = [c for c in changes if id(c) in kept and c.have is not None and c.action in _DELETING]
    left = [
        c
        for c in changes
        if c.action in _DELETING
        and c.have is not None
        and id(c) not in kept
        and c.item.kind.falls_with.__func__ is not plain  # type: ignore[attr-defined]
    ]
    if not left:
        return
    lost = set(map(id, going))
    for change in going:
        item = change.record or change.item
        staying = [
            other.item
            for other in changes
            if other.have is not None
            and id(other) not in lost
            and (other.item.key[0], other.item.netns) == (item.key[0], item.netns)
        ]
        for user in left:
            if user.item.netns == item.netns and user.item.kind.falls_with(user.record or user.item, item, staying):
                yield change, user


def _note(what: str, ids: set[int], pending: Sequence[Change]) -> list[str]:
    titles = [change.item.title for change in pending if id(change) in ids]
    return [f"{what}: {', '.join(titles)}"] if titles else []
