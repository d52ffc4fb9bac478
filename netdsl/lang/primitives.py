"""From the resources of a declaration to the items that the engine works on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from netdsl.errors import Problem
from netdsl.lang.item import Item, Key
from netdsl.lang.resource import Resource


def items_of(resources: Sequence[Resource]) -> list[Item]:
    """The items of all resources in which no mistake was found, in the order of their declaration."""
    sound = [resource for resource in resources if not resource.broken]
    items = [resource.item() for resource in sound]
    for item in items:
        if item.opts.depends_on:
            item.after = tuple(urn for urn in _named(item, sound) if urn != item.urn)
    return items


def _named(item: Item, resources: Sequence[Resource]) -> Iterator[str]:
    """The urns behind depends_on; a component stands for all that is in it."""
    for other in item.opts.depends_on:
        if isinstance(other, Resource):
            yield other.urn
        else:
            inside = f"{other.path}/"
            yield from (r.urn for r in resources if f"{r.component}/".startswith(inside))


def duplicates(items: Sequence[Item]) -> Iterator[Problem]:
    """Identities and logical names that occur twice."""
    urns: dict[str, Item] = {}
    keys: dict[Key, Item] = {}
    for item in items:
        twin, namesake = keys.setdefault(item.key, item), urns.setdefault(item.urn, item)
        if twin is not item:
            identity = " ".join(str(part) for part in item.key if part != "")
            what = f"{item.title} and {twin.title} are one kernel object: {identity}"
            yield Problem(what, item.where, f"The other one is declared at {twin.where}.")
        elif namesake is not item:
            yield Problem(
                f"two resources are named {item.title}", item.where, f"The other one is declared at {namesake.where}."
            )
