"""Other stacks of the same state directory: what they own, and what they would lose by a plan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from netdsl.cli.session import Session
from netdsl.engine.change import Action, Change, Plan
from netdsl.errors import Problem, StateError, joined
from netdsl.lang.item import Gone, Item, Key
from netdsl.state.store import Store, stacks

NAMED = 5
"""Resources that a message names before it counts the rest."""


def records(session: Session) -> Mapping[str, Sequence[Item]]:
    """What the other stacks that live in this namespace have on record; states that cannot be read are left out."""
    here = (session.machine.boot_id(), session.machine.cookie(""))
    found = {}
    for name in stacks(session.folder):
        if name == session.name:
            continue
        store = Store(session.folder, name)
        try:
            recorded = store.load()
        except StateError:
            continue
        finally:
            store.close()
        if (recorded.meta.get("boot_id"), recorded.meta.get("cookie")) == here:
            found[name] = recorded.items
    return found


def losses(session: Session, plan: Plan) -> list[Problem]:
    """What of other stacks goes with links and namespaces that a plan deletes: one problem for each of those."""
    going = {(c.record or c.item).key: c for c in plan.changes if c.have is not None and _goes(c)}
    if not any(key[0] in ("link", "netns") for key in going):
        return []
    return [problem for name, items in records(session).items() for problem in _lost(name, items, going)]


def _goes(change: Change) -> bool:
    return change.action in (Action.DELETE, Action.REPLACE)


def _lost(stack: str, items: Sequence[Item], going: Mapping[Key, Change]) -> Iterator[Problem]:
    under: dict[Key, Key] = {}
    more = True
    while more:  # what stands on what is lost is lost as well
        found = {item.key: root for item in items if item.key not in under and (root := _root(item, going, under))}
        under |= found
        more = bool(found)
    for key, change in going.items():
        ports = {item.key for item in items if any(n.key == key and n.gone is Gone.RESET for n in item.needs)}
        titles = [item.title for item in items if under.get(item.key) == key or item.key in ports]
        if titles:
            rest = [f"{len(titles) - NAMED} more"] if len(titles) > NAMED else []
            again = " and is made again" if change.action is Action.REPLACE else ""
            yield Problem(
                f"{change.item.title} goes{again}, and stack {stack} has on it {joined([*titles[:NAMED], *rest])}",
                fix=f"Destroy stack {stack} first (`netdsl destroy --force` accepts the loss).",
            )


def _root(item: Item, going: Mapping[Key, Change], under: Mapping[Key, Key]) -> Key:
    """Which of the objects that go takes it along; () for none."""
    needs = [
        ("netns", "", item.netns),
        *(need.key for need in item.needs if need.gone in (Gone.VANISH, Gone.BLOCK, Gone.TWIN)),
    ]
    return next((under.get(key, key) for key in needs if key in going or key in under), ())
