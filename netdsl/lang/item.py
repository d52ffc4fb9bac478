"""What the engine works on: resources and records in one plain form, without the language around them."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

import attrs

from netdsl.errors import Problem

if TYPE_CHECKING:
    from netdsl.lang.resource import Resource

Key: TypeAlias = tuple[Any, ...]
"""A kernel identity: the family's name, the netns, and what the kernel tells objects apart by."""

Props: TypeAlias = dict[str, Any]
"""Managed properties in normal form."""


class Gone(Enum):
    """What happens to an object when one that it needs is deleted."""

    VANISH = "vanish"
    """The kernel deletes it too."""
    RESET = "reset"
    """The kernel empties the property that refers to the other."""
    TWIN = "twin"
    """It vanishes, and the other is created together with it: no order between them."""
    BLOCK = "block"
    """The kernel refuses to delete the other while this one is there: it goes first, by a message of its own."""
    STAY = "stay"
    """Nothing: the need is only about order."""


class Need(NamedTuple):
    """That an item needs another kernel object; `prop` is the property that refers to it (for RESET)."""

    key: Key
    gone: Gone
    prop: str = ""


@attrs.frozen
class Opts:
    """What to do with a resource beyond its properties.

    depends_on         resources or components that must be there first
    protect            refuse to delete or replace it
    retain_on_delete   forget it instead of deleting it
    ignore_changes     properties that are set on creation and never compared again
    aliases            logical names it had before (`name`, or a whole urn)
    adopt              take over the object if it exists already
    """

    depends_on: Sequence[Any] = ()
    protect: bool = False
    retain_on_delete: bool = False
    ignore_changes: Sequence[str] = ()
    aliases: Sequence[str] = ()
    adopt: bool = False

    def inherited(self) -> Opts:
        """Those that also hold for what a short form or a component stands for."""
        return attrs.evolve(self, ignore_changes=(), aliases=()) if self is not DEFAULT_OPTS else self

    def faults(self, properties: Container[str]) -> Iterator[str]:
        """What cannot mean anything, for a kind with these properties."""
        for word in ("depends_on", "ignore_changes", "aliases"):
            if isinstance(getattr(self, word), str) or not isinstance(getattr(self, word), Sequence):
                yield f"{word} must be a list, not {getattr(self, word)!r}"
                return
        for word in ("protect", "retain_on_delete", "adopt"):
            if not isinstance(getattr(self, word), bool):
                yield f"{word} must be True or False, not {getattr(self, word)!r}"
        for other in self.depends_on:
            if not hasattr(other, "urn") and not hasattr(other, "path"):
                yield f"depends_on holds resources and components, not {other!r}"
        for name in self.ignore_changes:
            if name not in properties:
                yield f"ignore_changes names {name!r}, which is no property of it"
        for alias in self.aliases:
            if not isinstance(alias, str):
                yield f"aliases are strings, not {alias!r}"


DEFAULT_OPTS = Opts()


# Methods that nobody calls are not generated, here and elsewhere: each takes a tenth of a millisecond of every start.
@attrs.define(slots=True, eq=False, repr=False)
class Item:
    """One primitive resource, wanted or recorded.

    urn        logical name (component::netns::kind::name)
    kind       the class that declares it
    netns      the kernel's name of its netns; "" is the one that netdsl runs in
    key        kernel identity
    props      managed properties in normal form
    needs      kernel objects it stands on
    after      urns that must be there first (depends_on)
    where      file:line of the program
    extra      what only we know of it: ifindex, cookie, found (values before us), adopted
    initial    of one that the program declares: `Resource.initial`
    """

    urn: str
    kind: type[Resource]
    name: str
    netns: str
    component: str
    key: Key
    props: Props
    needs: tuple[Need, ...] = ()
    after: tuple[str, ...] = ()
    where: str = ""
    opts: Opts = DEFAULT_OPTS
    extra: Props = attrs.field(factory=dict)
    initial: Callable[[str], Any] | None = None

    @property
    def title(self) -> str:
        """How messages name it: kind, name and netns."""
        inside = f" in netns {self.netns}" if self.netns and self.key[0] != "netns" else ""
        return f"{self.kind.__name__} {self.name!r}{inside}"


@attrs.define(slots=True, eq=False, repr=False)
class Have:
    """One object as the kernel shows it.

    kind     the kernel's word for it ("vxlan", "route", ...)
    props    those properties that somebody asked for, in normal form
    ifindex  of links
    marks    ownership marks of links and netns
    twins    further objects of the same identity (an IPv4 route appended beside it)
    """

    kind: str
    props: Props
    ifindex: int = 0
    marks: tuple[str, ...] = ()
    twins: tuple[Props, ...] = ()


class World(Protocol):
    """All that a kind may look at when it relates an item to the others."""

    def inside(self, netns: str, family: str) -> Sequence[tuple[Key, Mapping[str, Any]]]:
        """Wanted and existing objects of a family (Key[0]) in a netns, and their properties."""

    def users(self, key: Key, prop: str) -> int:
        """How many wanted items refer to an object through a property."""


Relation: TypeAlias = Iterator[Need | Problem]
"""What `Resource.relate` yields: further needs, and faults that only the whole stack shows."""
