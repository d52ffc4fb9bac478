"""Resources: how a kind declares its properties, and what a constructor does with what the user wrote."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Self

import attrs

from netdsl.errors import joined
from netdsl.lang import naming
from netdsl.lang.declaration import Declaration, current, user_frame
from netdsl.lang.item import DEFAULT_OPTS, Gone, Have, Item, Key, Need, Opts, Props, Relation, World
from netdsl.lang.property import REQUIRED, Property, argument, kind

if TYPE_CHECKING:
    from netdsl.lang.dump import Dump, Files
    from netdsl.lang.ops import Env, Op, Probe


@kind
class Resource:
    """The base of all kinds: name, netns and options, and the interface through which the engine knows a kind.

    name   the kernel's name, unless the kind says otherwise
    netns  the network namespace; absent: the one of the enclosing `with`, else the one that netdsl runs in
    """

    name: str = argument(kw_only=False)
    netns: Namespace | None = argument(default=None)
    opts: Opts = argument(default=DEFAULT_OPTS)

    word: ClassVar[str] = ""
    """The kernel's word for the kind, as state and plans write it."""
    family: ClassVar[str] = ""
    """First part of the kernel identity; kinds of one family cannot share an identity."""
    phase: ClassVar[int] = 0
    """Kinds of a lower phase are sent first where nothing else decides: links before addresses before routes."""
    requires: ClassVar[str] = ""
    """The kernel option that offers the kind ("CONFIG_NET_IPIP"); "" is one that every kernel has."""
    is_link: ClassVar[bool] = False
    marked: ClassVar[bool] = False
    """The kernel keeps the stack's mark with the object."""
    fields: ClassVar[Mapping[str, Any]] = {}
    """All that the constructor may take besides the name: properties and arguments, those of base kinds first."""
    properties: ClassVar[Mapping[str, Property]] = {}
    arguments: ClassVar[frozenset[str]] = frozenset()
    defaults: ClassVar[Mapping[str, Any]] = {}
    managed: ClassVar[tuple[tuple[str, bool], ...]] = ()
    required: ClassVar[tuple[str, ...]] = ()
    unseen: ClassVar[tuple[str, ...]] = ()
    """Properties that the kernel does not show."""
    references: ClassVar[tuple[tuple[str, Gone], ...]] = ()
    dumps: ClassVar[tuple[Dump | Files, ...]] = ()
    """The dumps that show objects of this kind."""
    passing: ClassVar[tuple[int, ...]] = ()
    """Errors of the kernel that pass by themselves: what it makes in its own time is not there yet."""
    whole: ClassVar[bool] = False
    """An update writes the whole object: of a property that is left out the kernel takes its own value again."""
    preexisting: ClassVar[bool] = False
    """The kernel always has the object: creating sets it, deleting restores it, and finding it is no conflict."""
    joining_flushes: ClassVar[tuple[str, ...]] = ()
    """Kinds whose objects on a link the kernel drops when the link becomes, or stops being, a port of this one."""
    held: ClassVar[tuple[str, ...]] = ()
    """Properties that the kernel changes when ports join and leave, until somebody has set them: those of an object
    that was taken over are set to what they are before the stack's first port joins."""
    claimed: ClassVar[tuple[str, ...]] = ()
    """Properties that the kernel adjusts by itself until somebody has changed them: when they become managed they are
    set, although the value is right already; `adopt` does so on what is taken over."""
    finishing: ClassVar[frozenset[str]] = frozenset()
    """Properties that `finish` sets, also on an object that is there already."""
    check_name: ClassVar[Any] = staticmethod(naming.check_text)

    if not TYPE_CHECKING:

        def __init__(self, name: Any = REQUIRED, /, **given: Any) -> None:
            self._declare(current(), name, given)

        def __setattr__(self, word: str, value: Any) -> None:
            """A resource is what its constructor was given: what is set later would not be checked."""
            cls = type(self).__name__
            what = f"{self.title}: {word} cannot be set any more"
            current().fault(what, user_frame(), f"Give it to the constructor: {cls}(..., {word}=...).")

    def _declare(self, declaration: Declaration, name: Any, given: dict[str, Any]) -> None:
        """Check everything that the user wrote, record what is wrong, and take part in the declaration."""
        cls = type(self)
        mine = self.__dict__
        mine.update(cls.defaults)
        mine["_where"] = user_frame()
        mine["_component"] = declaration.component
        mine["_broken"] = False
        if not cls.word:
            mine["name"], fix = "", "Declare a kind such as Bridge"
            fix += f", or refer to one that exists with {cls.__name__}.get(...)." if hasattr(cls, "get") else "."
            return self.fault(f"{cls.__name__} is the base of several kinds and declares nothing", fix)
        if name is REQUIRED:
            name = given.pop("name", REQUIRED)
        if name is REQUIRED:
            mine["name"] = ""
            return self.fault(f"{cls.__name__} needs a name as its first argument")
        mine["name"] = name
        try:
            mine["name"] = cls.check_name(name)
        except ValueError as wrong:
            self.fault(f"{cls.__name__}: {wrong}")
        properties = cls.properties
        for word, value in given.items():
            declared = properties.get(word)
            if declared is not None and declared.init:
                if value is not None:
                    try:
                        value = declared.type.check(value)
                    except ValueError as wrong:
                        self.fault(f"{self.title}: {word} {wrong}")
                        continue
                mine[word] = value if value is not None or declared.optional else declared.default
            elif word in cls.arguments:
                mine[word] = value
            else:
                self._unknown(word)
        for word in cls.required:
            if mine[word] is None and (word not in given or given[word] is None):
                self.fault(f"{self.title}: {word}= is required: {properties[word].doc}")
        self._place(declaration)
        declaration.add(self)
        self.refer()
        if not mine["_broken"]:
            self.complete(declaration)

    def _place(self, declaration: Declaration) -> None:
        """Settle the netns and check that references stay inside it."""
        mine = self.__dict__
        if mine["netns"] is None:
            mine["netns"] = declaration.netns or self.inherited_netns()
        elif not isinstance(mine["netns"], Namespace):
            self.fault(f"{self.title}: netns must be a Netns, not {mine['netns']!r}")
            mine["netns"] = None
        if not isinstance(mine["opts"], Opts):
            self.fault(f"{self.title}: opts must be Opts(...), not {mine['opts']!r}")
            mine["opts"] = DEFAULT_OPTS
        if mine["opts"] is not DEFAULT_OPTS:
            for what in mine["opts"].faults(type(self).properties):
                self.fault(f"{self.title}: {what}")
                mine["opts"] = DEFAULT_OPTS
        if declaration.adopts:
            mine["opts"] = attrs.evolve(mine["opts"], adopt=True)
        for word, other in self.linked():
            if other.netns is not mine["netns"] and other.netns_name != self.netns_name:
                self.fault(
                    f"{self.title}: {word} {other.name!r} is in {inside(other.netns_name)}, "
                    f"not in {inside(self.netns_name)}"
                )

    def linked(self) -> Iterator[tuple[str, Resource]]:
        """The resources that its properties refer to, all of them in its own netns."""
        for word, _ in type(self).references:
            other = self.__dict__[word]
            if other is not None:
                yield word, other

    def inherited_netns(self) -> Namespace | None:
        """The netns of the link that the object sits on, so that `dev=` alone is enough."""
        return next((other.netns for _, other in self.linked()), None)

    def _unknown(self, word: str) -> None:
        known = sorted([*(p.name for p in type(self).properties.values() if p.init), *type(self).arguments])
        self.fault(f"{self.title} has no property {word!r}", fix=f"It has {joined(known)}.")

    def refer(self) -> None:
        """Called whether or not there were mistakes: tie to others, check what can be checked by itself."""

    def complete(self, declaration: Declaration) -> None:
        """Check properties against each other, derive values, and declare what short forms stand for."""

    def finished(self) -> None:
        """Called when the stack function has returned: check what only its end shows."""

    def fault(self, what: str, fix: str = "") -> None:
        """Record a mistake of the user's at this resource (outside a stack: raise it)."""
        self.__dict__["_broken"] = True
        current().fault(what, self.__dict__["_where"], fix)

    # -- what others ask of a declared resource

    @property
    def where(self) -> str:
        """file:line of the program."""
        return str(self.__dict__["_where"])

    @property
    def component(self) -> str:
        """The path of the component around it, "" at the top."""
        return str(self.__dict__["_component"])

    @property
    def broken(self) -> bool:
        """Whether a mistake was found in it."""
        return bool(self.__dict__["_broken"])

    @property
    def title(self) -> str:
        """How messages name it."""
        return f"{type(self).__name__} {self.name!r}"

    @property
    def netns_name(self) -> str:
        """The kernel's name of the netns; "" is the one that netdsl runs in."""
        return self.netns.name if self.netns is not None else ""

    @property
    def logical_name(self) -> str:
        """Unique per component, netns and kind."""
        return str(self.name)

    @property
    def urn(self) -> str:
        """The logical name in the stack."""
        return naming.urn(self.__dict__["_component"], self.netns_name, self.word, self.logical_name)

    def props(self) -> Props:
        """Managed properties in normal form."""
        mine = self.__dict__
        return {
            word: mine[word].name if is_link else mine[word]
            for word, is_link in type(self).managed
            if mine[word] is not None
        }

    def item(self) -> Item:
        """This resource for the engine."""
        cls, mine = type(self), self.__dict__
        netns = self.netns_name
        props = self.props()
        name = self.logical_name
        return Item(
            urn=naming.urn(mine["_component"], netns, cls.word, name),
            kind=cls,
            name=name,
            netns=netns,
            component=mine["_component"],
            key=cls.identity(netns, name, props),
            props=props,
            needs=cls.needs(netns, name, props),
            where=mine["_where"],
            opts=mine["opts"],
            initial=self.initial,
        )

    def initial(self, name: str) -> Any:
        """The value of a property that nobody gives: the kernel's on creation. None: it is not known."""
        return type(self).properties[name].kernel

    def __repr__(self) -> str:
        return f"<{self.title}{' in ' + inside(self.netns_name) if self.netns_name else ''}>"

    # -- the common interface of kinds: pure, and all that the engine knows

    @classmethod
    def identity(cls, netns: str, name: str, props: Mapping[str, Any]) -> Key:
        """The kernel identity."""
        return (cls.family, netns, name)

    @classmethod
    def needs(cls, netns: str, name: str, props: Mapping[str, Any]) -> tuple[Need, ...]:
        """The kernel objects that it stands on: its netns and the links that its properties name."""
        found = [_on_link(netns, props[word], gone, word) for word, gone in cls.references if word in props]
        if netns:
            found.append(_in_netns(netns))
        return tuple(found)

    @classmethod
    def relate(cls, item: Item, world: World) -> Relation:
        """Needs and faults that only the whole stack shows."""
        return iter(())

    @classmethod
    def falls_with(cls, item: Item, lost: Item, staying: Sequence[Item]) -> bool:
        """Whether deleting `lost`, which the item does not need, makes the kernel drop the item all the same.

        `staying` are the objects of the lost one's family in the same netns that exist and stay.
        """
        return False

    @classmethod
    def keeps(cls, item: Item, names: Iterable[str]) -> bool:
        """Whether the item outlives a change of these properties of its link, though they flush its kind."""
        return False

    @classmethod
    def is_ours(cls, item: Item, have: Have, stack: str) -> bool:
        """Whether what the kernel shows is the recorded object, and not another one that took its place."""
        return True

    @classmethod
    def announced(cls, item: Item) -> bool:
        """Whether the kernel tells of all that may happen to it (netlink's multicast groups)."""
        return True

    @classmethod
    def standing(cls, item: Item, have: Have) -> Props:
        """What a delete names: as it is recorded, unless the kind knows that the kernel's object is ours."""
        return item.props

    @classmethod
    def probes(cls, props: Mapping[str, Any] | None) -> Sequence[Probe]:
        """What shows whether the kernel offers an object with such properties; None: the kind with all its forms."""
        return ()

    @classmethod
    def create(cls, item: Item, env: Env) -> Sequence[Op]:
        """Operations that make it."""
        raise NotImplementedError

    @classmethod
    def adopt(cls, item: Item, env: Env) -> Sequence[Op]:
        """Operations that mark an existing object as ours; most kinds have none."""
        return ()

    @classmethod
    def release(cls, item: Item, env: Env) -> Sequence[Op]:
        """Operations that take the mark off an object that was adopted."""
        return ()

    @classmethod
    def finishes(cls, item: Item) -> bool:
        """Whether creation leaves something for `finish`."""
        return False

    @classmethod
    def finish(cls, item: Item, env: Env) -> Sequence[Op]:
        """Operations that follow when everything that is attached to it has been made."""
        return ()

    @classmethod
    def update(cls, item: Item, changed: Mapping[str, Any], env: Env) -> Sequence[Op]:
        """Operations that bring properties to new values in place."""
        raise NotImplementedError

    @classmethod
    def delete(cls, item: Item, env: Env) -> Sequence[Op]:
        """Operations that take it away; the item carries every key."""
        raise NotImplementedError

    @classmethod
    def commands(cls, action: str, item: Item, changed: Mapping[str, Any], env: Env) -> Sequence[str]:
        """The equivalent shell commands of an action (create, finish, update, delete)."""
        raise NotImplementedError


@kind
class Namespace(Resource):
    """A network namespace, ours or not; `with` makes it the default netns of a block."""

    def __enter__(self) -> Self:
        current().netns_stack.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        current().netns_stack.pop()


# Most objects of a lab stand on a few links: their needs are the same, and so are found and compared faster.


@cache
def _on_link(netns: str, link: str, gone: Gone, prop: str) -> Need:
    return Need(("link", netns, link), gone, prop)


@cache
def _in_netns(netns: str) -> Need:
    return Need(("netns", "", netns), Gone.VANISH)


def inside(netns: str) -> str:
    """How messages name a netns."""
    return f"netns {netns}" if netns else "the namespace that netdsl runs in"
