"""What else the kernel drops when an object goes: found before it happens, shown in the plan, made again. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from netdsl.engine.change import Action, Change
from netdsl.kinds import KINDS
from netdsl.lang.item import Gone, Have, Item, Key, Need
from netdsl.lang.resource import Resource


def cascade(changes: list[Change], found: Mapping[Key, Have]) -> None:
    """Turn changes whose objects fall with others into replacements, or set right what they would lose; `found` is all
    that was seen in the kernel."""
    gone = [c for c in changes if c.have is not None and c.action in (Action.DELETE, Action.REPLACE)]
    updates = [c for c in changes if c.action is Action.UPDATE]
    same, update = Action.SAME, Action.UPDATE
    if not (gone or updates) or not any(c.action is same or c.action is update for c in changes):
        return  # nothing goes, or nothing is left to fall
    index = _Index(changes, found)
    flushing = [c for c in updates if index.flushed(c)]
    dropped = [user for change in flushing for user in index.flush(change)]
    index.spread([*gone, *dropped])


def hold(changes: Iterable[Change]) -> None:
    """Set what joining ports would change of a link that was taken over (`Resource.held`) to what it is, once."""
    able = [c for c in changes if c.item.kind.held and c.item.extra.get("adopted") and not c.item.extra.get("held")]
    if not able:
        return
    joined = {
        ("link", c.item.netns, c.item.props.get(prop))
        for c in changes
        for prop, gone in c.item.kind.references
        if gone is Gone.RESET and (c.action in (Action.CREATE, Action.REPLACE) or prop in c.diffs)
    }
    for change in able:
        if change.item.key in joined and change.action in (Action.SAME, Action.UPDATE) and not change.releases:
            change.item.extra["held"] = True
            for name in change.item.kind.held:
                if name in change.item.props and name not in change.diffs:
                    change.action = Action.UPDATE
                    change.diffs[name] = (change.item.props[name], change.item.props[name])
                    change.reason = change.reason or f"{name} is held: a port that joins would change it"


def lost_keys(changes: Iterable[Change]) -> dict[Key, Change]:
    """Objects that exist and will be deleted, in whatever way."""
    return {
        (c.record or c.item).key: c
        for c in changes
        if c.have is not None and c.action in (Action.DELETE, Action.REPLACE) and not c.resent
    }


def present_needs(item: Item, have: Have | None) -> list[Need]:
    """What an object stands on in the kernel as it is: links that it refers to now, not those that it will."""
    if have is None:
        return list(item.needs)
    properties = item.kind.properties
    needs = [need for need in item.needs if need.prop not in have.props or not properties[need.prop].type.link]
    for prop, gone in item.kind.references:
        if have.props.get(prop):
            needs.append(Need(("link", item.netns, have.props[prop]), gone, prop))
    return needs


def falls_silently(change: Change, lost: dict[Key, Change]) -> bool:
    """Whether the kernel deletes the object by itself as soon as what it stands on is deleted.

    A netns goes in the kernel's own time: what stands in it needs no delete, but the far end of a veth pair does.
    """
    item = change.record or change.item
    if item.netns and ("netns", "", item.netns) in lost:
        return True
    for need in present_needs(item, change.have):
        other = lost.get(need.key)
        if need.gone is Gone.VANISH and other is not None and need.key[0] != "netns":
            netns = need.key[1]
            if not (netns and ("netns", "", netns) in lost):
                return True
    return False


class _Index:
    """Who needs whom, backwards."""

    def __init__(self, changes: list[Change], found: Mapping[Key, Have]) -> None:
        self._found = found
        self._siblings: dict[tuple[str, str], list[Change]] = {}
        self.users: dict[Key, list[tuple[Change, Gone, str]]] = {}
        self.watchers: dict[str, list[Change]] = {}
        self._masters = {(c.record or c.item).key: c.item.kind for c in changes if c.item.kind.joining_flushes}
        plain = Resource.falls_with.__func__  # type: ignore[attr-defined]  # a classmethod's function
        for change in changes:
            item = change.item
            siblings = self._siblings.setdefault((item.key[0], item.netns), [])
            if change.have is not None:
                siblings.append(change)
            for key, effect, prop in present_needs(change.record or item, change.have):
                if effect is not Gone.STAY:
                    self.users.setdefault(key, []).append((change, effect, prop))
            if item.kind.falls_with.__func__ is not plain:  # type: ignore[attr-defined]
                self.watchers.setdefault(item.netns, []).append(change)

    def flushed(self, change: Change) -> set[str]:
        """Kinds whose objects on a link the kernel drops with a change of its properties, its master among them."""
        item, properties = change.item, change.item.kind.properties
        words = {word for name in change.diffs if name in properties for word in properties[name].flushes}
        for prop, gone in item.kind.references:
            if gone is Gone.RESET and prop in change.diffs:
                for name in change.diffs[prop]:
                    words.update(self._joining_flushes(("link", item.netns, name)))
        return words

    def _joining_flushes(self, master: Key) -> tuple[str, ...]:
        """What a port loses that joins a link, which may be somebody else's."""
        kind = self._masters.get(master)
        if kind is None and master in self._found:
            kind = KINDS.get(self._found[master].kind)
        return kind.joining_flushes if kind is not None else ()

    def flush(self, change: Change) -> list[Change]:
        """Objects on a link that a change of one of its properties drops; links themselves stay and are only set."""
        words, dropped = self.flushed(change), []
        for user, _, _ in self.users.get(change.item.key, ()):
            if user.item.kind.word not in words or user.item.kind.keeps(user.item, change.diffs):
                continue
            if user.have is not None and user.action in (Action.SAME, Action.UPDATE):
                user.action, user.resent, user.cause = Action.UPDATE, True, change
                user.reason = f"the kernel drops it when {change.item.title} changes {', '.join(change.diffs)}"
                if not user.item.kind.is_link:
                    dropped.append(user)
        return dropped

    def spread(self, gone: list[Change]) -> None:
        """Everything that falls with objects that go, and with those, ..."""
        queue = list(gone)
        while queue:
            change = queue.pop()
            item = change.record or change.item
            for user, effect, prop in self.users.get(item.key, ()):
                if user.have is None:
                    continue
                if effect is Gone.RESET:
                    if user.action in (Action.SAME, Action.UPDATE) and user.item.props.keys() - user.diffs >= {prop}:
                        user.action, user.cause = Action.UPDATE, change
                        user.diffs[prop] = ("", user.item.props[prop])
                        user.reason = f"{item.title} is replaced"
                        queue.extend(self.flush(user))
                elif user.releases and change.action is Action.DELETE:  # it cannot be given back
                    user.action, user.releases, user.falls, user.cause = Action.DELETE, False, item.title, change
                    user.reason, user.diffs = "", {}
                    queue.append(user)
                elif user.action in (Action.SAME, Action.UPDATE):
                    user.action, user.falls, user.cause = Action.REPLACE, item.title, change
                    user.reason = f"it goes with {item.title}"
                    queue.append(user)
            for watcher in self.watchers.get(item.netns, ()):
                if watcher.have is None or watcher.action not in (Action.SAME, Action.UPDATE) or watcher.resent:
                    continue
                if watcher.item.kind.falls_with(watcher.record or watcher.item, item, self._staying(item)):
                    watcher.action, watcher.resent, watcher.cause = Action.UPDATE, True, change
                    watcher.reason = f"the kernel may drop it with {item.title}"
                    queue.append(watcher)

    def _staying(self, lost: Item) -> list[Item]:
        """Objects of the same family and netns that exist and stay."""
        siblings = self._siblings[(lost.key[0], lost.netns)]
        standing = (change for change in siblings if change.action in (Action.SAME, Action.UPDATE))
        return [change.item for change in standing if not change.resent]


def explain(changes: list[Change]) -> None:
    """A deletion that comes with another one says so."""
    lost = lost_keys(changes)
    for change in lost.values():
        if change.action is Action.DELETE and not change.falls and falls_silently(change, lost):
            for need in present_needs(change.record or change.item, change.have):
                if need.key in lost and need.gone is Gone.VANISH:
                    change.falls = lost[need.key].item.title
                    break
