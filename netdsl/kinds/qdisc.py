"""What queueing disciplines and classes share: places and handles, messages, how they are read (tc(8), sch_api.c).

A handle is written as `tc` does it, two hexadecimal numbers: "1:" is a discipline, "1:10" a class of it. Each place
of a link, its "root" and each class, has one discipline. All handles are chosen here, so that nothing has to be read
back; those of one link differ.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from struct import Struct
from typing import Any, ClassVar

from netdsl import wire
from netdsl.kinds.link import Link
from netdsl.kinds.shell import netns_option, quote
from netdsl.lang.declaration import Declaration
from netdsl.lang.dump import Dump, Nsid, Scope
from netdsl.lang.item import Gone, Have, Item, Key, Need, Props
from netdsl.lang.ops import Env, Op, Probe, Send
from netdsl.lang.property import DERIVED, kind, prop
from netdsl.lang.resource import Namespace, Resource
from netdsl.lang.values import ValueType, reference, text

RTM_NEWQDISC, RTM_DELQDISC, RTM_GETQDISC = 36, 37, 38
TCA_KIND, TCA_OPTIONS = 1, 2
TC_H_ROOT = 0xFFFFFFFF
TCMSG = Struct("=BxxxiIII")
"""struct tcmsg: family, ifindex, handle, parent, info."""
ENOENT = 2
ROOT, FIRST = "root", "1:"
LARGEST = 0xFFFE
"""Half a handle at most: 0xFFFF belongs to the kernel."""
CLASSES = "qdisc-class"
"""The family of classes."""

_HALF = "[0-9a-fA-F]{1,4}"
_HANDLE, _CLASSID = f"({_HALF}):0?", f"({_HALF}):({_HALF})"


def number_of(place: str) -> int:
    """A place, a handle or a class as the kernel has it.

    >>> hex(number_of("1:10")), hex(number_of("1:")), hex(number_of("root"))
    ('0x10010', '0x10000', '0xffffffff')
    """
    if place == ROOT:
        return TC_H_ROOT
    major, _, minor = place.partition(":")
    return int(major, 16) << 16 | int(minor or "0", 16)


def place_of(number: int) -> str:
    """The other way round.

    >>> place_of(0x10010), place_of(0x10000), place_of(0xFFFFFFFF)
    ('1:10', '1:', 'root')
    """
    if number == TC_H_ROOT:
        return ROOT
    minor = number & 0xFFFF
    return f"{number >> 16:x}:{f'{minor:x}' if minor else ''}"


def handle_of(place: str) -> str:
    """The handle of the discipline that a class belongs to."""
    return f"{place.partition(':')[0]}:"


def _halves(pattern: str, example: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        found = re.fullmatch(pattern, value, re.ASCII) if isinstance(value, str) else None
        if found is None or not all(0 < int(half, 16) <= LARGEST for half in found.groups()):
            raise ValueError(f"must be hexadecimal numbers of 1 to {LARGEST:x} like {example!r}, not {value!r}")
        return place_of(number_of(value))

    return check


def _none(_value: Any) -> Any:
    raise TypeError("this property is encoded by its kind")


HANDLE = ValueType('handle ("10:")', _halves(_HANDLE, "10:"), _none, _none)
CLASSID = ValueType('class ("1:10")', _halves(_CLASSID, "1:10"), _none, _none)


def _check_parent(value: Any) -> Resource:
    if getattr(value, "carries", False):
        found: Resource = value
        return found
    hint = "; its classes carry others" if getattr(value, "word", "") == "htb" else ""
    raise ValueError(f"must be an HtbClass, a Netem or a Tbf, not {value!r}{hint}")


def _check_place(value: Any) -> str:
    return value if value == "root" else str(CLASSID.check(value))


PARENT = ValueType("HtbClass, Netem or Tbf", _check_parent, _none, _none, recorded=_check_place)
"""Its normal form is the place: "root", or the class."""


class Occupied(Exception):
    """A handle or class that another resource of the same link has; `args[0]` is that one."""


def claim(resource: Resource, dev: Link, wanted: str) -> None:
    """Take a handle or class of a link."""
    taken = dev.__dict__.setdefault("tc_handles", {})
    other = taken.setdefault(wanted, resource)
    if other is not resource:
        resource.fault(
            f"{resource.title}: {other.title} on {dev.title} has {wanted} already",
            f"Give one of them another; the other one is declared at {other.where}.",
        )


def free(dev: Link, candidates: Iterator[str]) -> str:
    """The first of these that no other resource of the link has."""
    taken = dev.__dict__.setdefault("tc_handles", {})
    return next(candidate for candidate in candidates if candidate not in taken)


def header(item: Item, env: Env, handle: str) -> bytes:
    """struct tcmsg of a qdisc or a class."""
    parent = item.props.get("parent", ROOT)
    return TCMSG.pack(0, env.ifindex(item.netns, item.props["dev"]), number_of(handle), number_of(parent), 0)


def typed(word: str, options: bytes) -> bytes:
    """TCA_KIND and TCA_OPTIONS."""
    return wire.attr(TCA_KIND, word.encode() + b"\0") + wire.attr(TCA_OPTIONS, options)


def said(cls: type[Resource], props: Mapping[str, Any], words: Mapping[str, str] | None = None) -> str:
    """The options of a command: each property that has a word and a value."""
    parts = ""
    for name, word in (words or {p.name: p.word for p in cls.properties.values()}).items():
        value = props.get(name)
        if word and value is not None:
            parts += f" {word} {cls.properties[name].type.spoken(value)}"
    return parts


@kind
class Qdisc(Resource):
    """The base of queueing disciplines."""

    family = "qdisc"
    phase = 80
    carries: ClassVar[bool] = False
    """Whether one other discipline can be put under it."""
    own: ClassVar[dict[str, type[Qdisc]]] = {}
    """Kinds of disciplines that were imported, by their word."""

    dev: Link = prop(
        reference("a link"), default=None, word="dev",
        doc="the link; it counts for what leaves there, not what comes in; absent: the parent's",
    )  # fmt: skip
    parent: Any = prop(
        PARENT, default=None, doc="what it is put under, instead of the root of the link: it gets the packets of that"
    )
    handle: str = prop(
        HANDLE, default=DERIVED, replace=True, doc='its number on the link, hexadecimal; absent: "1:" at the root'
    )
    above: str | None = prop(text(16), default=None, init=False, doc="where a parent that is no class itself is")

    def __init_subclass__(cls) -> None:
        Qdisc.own[cls.word] = cls

    def linked(self) -> Iterator[tuple[str, Resource]]:
        """Link and parent."""
        yield from super().linked()
        if self.parent is not None:
            yield "parent", self.parent

    def inherited_netns(self) -> Namespace | None:
        """The link's or the parent's."""
        return next((other.netns for _, other in self.linked()), None)

    def refer(self) -> None:
        """The link is the parent's."""
        if self.parent is not None and self.dev is None:
            self.__dict__["dev"] = self.parent.dev

    def complete(self, declaration: Declaration) -> None:
        """Check the place, and settle the handle."""
        parent, mine = self.parent, self.__dict__
        if self.dev is None:
            return None if parent is not None else self.fault(f"{self.title}: dev= or parent= is required")
        if parent is not None:
            if parent.dev is not self.dev:
                return self.fault(f"{self.title}: {parent.title} is on {parent.dev.title}, not on {self.dev.title}")
            parent.carry(self)
            mine["above"] = None if parent.family == CLASSES else parent.place
        if self.handle is None:
            first = FIRST if parent is None else parent.follower
            mine["handle"] = free(self.dev, _onward(first))
        claim(self, self.dev, self.handle)
        return None

    def carry(self, other: Resource) -> None:
        """Take a discipline under it; two of them are one kernel object, which is told elsewhere."""

    @property
    def logical_name(self) -> str:
        """Each link of a netns may have one of that name."""
        return f"{self.name} dev {self.dev.name}" if self.dev is not None else str(self.name)

    @property
    def place(self) -> str:
        """Where it is put: "root", or a class."""
        return ROOT if self.parent is None else str(self.parent.within)

    @property
    def within(self) -> str:
        """The class that stands for what is put under it."""
        return f"{self.handle}1"

    @property
    def follower(self) -> str:
        """The handle of what is put under it, if it is free."""
        return place_of(number_of(self.handle) + (1 << 16))

    def props(self) -> Props:
        """With its place."""
        return {**super().props(), "parent": self.place}

    @classmethod
    def identity(cls, netns: str, name: str, props: Mapping[str, Any]) -> Key:
        """Link and place: each has one discipline."""
        return (cls.family, netns, props["dev"], props.get("parent", ROOT))

    @classmethod
    def needs(cls, netns: str, name: str, props: Mapping[str, Any]) -> tuple[Need, ...]:
        """What it is put under as well, which takes it along."""
        found, parent = super().needs(netns, name, props), props.get("parent", ROOT)
        if parent == ROOT:
            return found
        above = props.get("above")
        key = (cls.family, netns, props["dev"], above) if above else (CLASSES, netns, props["dev"], parent)
        return (*found, Need(key, Gone.VANISH, "parent"))

    @classmethod
    def is_ours(cls, item: Item, have: Have, stack: str) -> bool:
        """The handle tells: one that somebody else puts there has another."""
        return bool(have.props["handle"] == item.props.get("handle", FIRST))

    @classmethod
    def standing(cls, item: Item, have: Have) -> Props:
        """With the handle of one that is taken over."""
        return {**item.props, "handle": have.props["handle"]}

    # -- what a kind of discipline says

    @classmethod
    def options(cls, props: Mapping[str, Any]) -> bytes:
        """TCA_OPTIONS."""
        raise NotImplementedError

    @classmethod
    def read(cls, options: bytes, handle: str) -> Props:
        """The properties that TCA_OPTIONS show."""
        raise NotImplementedError

    @classmethod
    def words(cls, props: Mapping[str, Any]) -> str:
        """The options of a command."""
        return said(cls, props, {p.name: p.word for p in cls.properties.values() if p.name != "dev"})

    # -- messages

    @classmethod
    def probes(cls, props: Mapping[str, Any] | None) -> Sequence[Probe]:
        """Asked for on lo of a new netns."""
        body = TCMSG.pack(0, 1, number_of(FIRST), TC_H_ROOT, 0) + typed(cls.word, b"")
        return (Probe(cls.word, cls.requires, Send(RTM_NEWQDISC, wire.F_CREATE | wire.F_EXCL, body), (ENOENT,)),)

    @classmethod
    def create(cls, item: Item, env: Env) -> Sequence[Op]:
        """RTM_NEWQDISC in place of the one that is there from the start."""
        return [cls._new(wire.F_CREATE | wire.F_EXCL, item, item.props, env)]

    @classmethod
    def update(cls, item: Item, changed: Mapping[str, Any], env: Env) -> Sequence[Op]:
        """The same with all values."""
        return [cls._new(0, item, {**item.props, **changed}, env)]

    @classmethod
    def _new(cls, flags: int, item: Item, props: Mapping[str, Any], env: Env) -> Send:
        head = header(item, env, item.props.get("handle", FIRST))
        return Send(RTM_NEWQDISC, flags, head + typed(cls.word, cls.options(props)))

    @classmethod
    def delete(cls, item: Item, env: Env) -> Sequence[Op]:
        """RTM_DELQDISC; the place then has again what it had from the start."""
        return [Send(RTM_DELQDISC, 0, header(item, env, item.props.get("handle", FIRST)))]

    @classmethod
    def commands(cls, action: str, item: Item, changed: Mapping[str, Any], env: Env) -> Sequence[str]:
        """`tc qdisc`."""
        if action == "finish":
            return []
        props = item.props
        verb = {"create": "add", "update": "change", "delete": "del"}[action]
        words = f"{at(props)} handle {props.get('handle', FIRST)}"
        if action != "delete":
            words += f" {cls.word}{cls.words({**props, **changed})}"
        return [f"tc {netns_option(item.netns)}qdisc {verb} dev {quote(props['dev'])} {words}"]


def at(props: Mapping[str, Any]) -> str:
    """The place in words."""
    place = props.get("parent", ROOT)
    return ROOT if place == ROOT else f"parent {place}"


def _onward(handle: str) -> Iterator[str]:
    number = number_of(handle) >> 16
    while True:
        yield f"{number:x}:"
        number = number % LARGEST + 1


# Reading


def _body(scope: Scope) -> bytes | None:
    return TCMSG.pack(0, 0, 0, 0, 0) if scope.wanted(Qdisc.family) or scope.wanted(CLASSES) else None


def _read(buffer: bytes, start: int, end: int, scope: Scope) -> None:
    _, ifindex, handle, parent, _ = TCMSG.unpack_from(buffer, start)
    if not handle:  # what the kernel gave the link by itself
        return
    found = wire.attrs(buffer, start + TCMSG.size, end)
    word, dev, place = wire.text(found[TCA_KIND]), scope.links.get(ifindex, ""), place_of(parent)
    props = {"dev": dev, "parent": place, "handle": place_of(handle)}
    cls = Qdisc.own.get(word)
    if cls is not None:
        props |= cls.read(found[TCA_OPTIONS], props["handle"])
    scope.found[(Qdisc.family, scope.netns, dev, place)] = Have(word, props)


def _settle(scopes: Sequence[Scope], nsid: Nsid) -> None:
    """Say of what is put under a discipline, and of classes, where that discipline is."""
    for scope in scopes:
        if _body(scope) is None:
            continue
        shown = [(key[2], have) for key, have in scope.found.items() if key[0] in (Qdisc.family, CLASSES)]
        places = {(dev, have.props["handle"]): have for dev, have in shown if "handle" in have.props}
        for dev, have in shown:
            of_class = "classid" in have.props
            holder = places.get((dev, handle_of(have.props["classid" if of_class else "parent"])))
            if holder is not None and holder is not have and (of_class or holder.kind != "htb"):
                have.props["above"] = holder.props["parent"]


QDISCS = Dump("qdiscs", RTM_GETQDISC, _body, _read, _settle)
Qdisc.dumps = (QDISCS,)
