"""HtbClass: a share of what a link sends (tc-htb(8); net/sched/sch_htb.c, linux/pkt_sched.h)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from struct import Struct
from typing import Any, ClassVar, Union

from netdsl import wire
from netdsl.kinds.htb import Htb
from netdsl.kinds.link import Link
from netdsl.kinds.measure import TICKS_MOST, bits, bytes_in, rate64, ratespec, read_rate, size, ticks_of
from netdsl.kinds.qdisc import (
    CLASSES,
    CLASSID,
    HANDLE,
    TCA_KIND,
    TCA_OPTIONS,
    TCMSG,
    Qdisc,
    claim,
    free,
    handle_of,
    header,
    number_of,
    place_of,
    said,
    typed,
)
from netdsl.kinds.shell import netns_option, quote
from netdsl.lang import naming
from netdsl.lang.declaration import Declaration
from netdsl.lang.dump import Dump, Scope
from netdsl.lang.item import Gone, Have, Item, Key, Need, Props
from netdsl.lang.ops import Env, Op, Probe, Send
from netdsl.lang.property import DERIVED, kind, prop
from netdsl.lang.resource import Namespace, Resource
from netdsl.lang.values import ValueType, reference, text, u32

RTM_NEWTCLASS, RTM_DELTCLASS, RTM_GETTCLASS = 40, 41, 42
TCA_HTB_PARMS, TCA_HTB_RATE64, TCA_HTB_CEIL64 = 1, 6, 7
_OPT = Struct("=12s12sIIIII")
"""struct tc_htb_opt: rate, ceiling, ticks of the burst, ticks of that at the ceiling, quantum, level, priority."""
PRIO_MOST = 7
DEEPEST = 8
"""TC_HTB_MAXDEPTH: so many classes stand on one another at most."""
BURST = 1600
"""Bytes, as `tc` has it: the kernel needs one that holds a packet."""
_FIRST, _NUMBERS = 0x1000, 0x7000
"""Where derived numbers of classes begin and how many there are: beyond those that people choose."""

Parent = Union[Htb, "HtbClass"]


def _check_parent(value: Any) -> Resource:
    if isinstance(value, Htb | HtbClass):
        return value
    raise ValueError(f"must be an Htb or an HtbClass, not {value!r}")


def _none(_value: Any) -> Any:
    raise TypeError("this property is encoded by its kind")


def _check_place(value: Any) -> str:
    return str((HANDLE if str(value).endswith(":") else CLASSID).check(value))


PARENT = ValueType("Htb or HtbClass", _check_parent, _none, _none, recorded=_check_place)
"""Its normal form is the handle or the class."""


@kind
class HtbClass(Resource):
    """A class of an Htb: what it may send, at least and at most. Its name is free text.

    It has its rate in any case; up to its ceiling it borrows what the others of its parent leave over. It carries one
    other discipline, or classes of its own, which share what it has. `classid` is its number, for what puts packets
    into it.
    """

    word = "htb-class"
    family = CLASSES
    phase = 81
    carries: ClassVar[bool] = True

    parent: Parent = prop(
        PARENT, replace=True, doc="the Htb, or the class whose share it divides with the others there"
    )
    dev: Link = prop(reference("a link"), default=None, init=False, word="dev", doc="the parent's link")
    above: str | None = prop(text(16), default=None, init=False, doc="where the Htb is")
    classid: str = prop(
        CLASSID, default=DERIVED, word="classid",
        doc='its number on the link, hexadecimal like "1:10"; derived from component and name unless given',
    )  # fmt: skip
    rate: int | str = prop(
        bits(), word="rate", unit="bits a second", doc='what it may send in any case, also as "10mbit"'
    )
    ceil: int | str | None = prop(
        bits(), default=None, word="ceil", unit="bits a second",
        doc="what it may send when others leave it over; absent: its rate",
    )  # fmt: skip
    burst: int | str | None = prop(
        size(), default=None, kernel=BURST, word="burst", unit="bytes",
        doc='how much it may send at once at the ceiling, also as "32kb"',
    )  # fmt: skip
    cburst: int | str | None = prop(
        size(), default=None, kernel=BURST, word="cburst", unit="bytes",
        doc="how much it may send at once as fast as the link goes",
    )  # fmt: skip
    prio: int | None = prop(
        u32(0, PRIO_MOST), default=None, kernel=0, word="prio", doc="which class is offered first what is left over: 0"
    )
    quantum: int | None = prop(
        u32(1, 2**31 - 1), default=None, word="quantum", unit="bytes",
        doc="what it sends in turn with others of its prio; absent: its rate divided by the Htb's r2q",
    )  # fmt: skip

    def linked(self) -> Iterator[tuple[str, Resource]]:
        """The parent; its link is there too."""
        if self.__dict__["parent"] is not None:
            yield "parent", self.parent

    def inherited_netns(self) -> Namespace | None:
        """The parent's."""
        return next((other.netns for _, other in self.linked()), None)

    def refer(self) -> None:
        """The link is the parent's."""
        if self.__dict__["parent"] is not None:
            self.__dict__["dev"] = self.parent.dev

    @property
    def classes(self) -> dict[str, Resource]:
        """Its own classes by name, as far as they are declared."""
        found: dict[str, Resource] = self.__dict__.setdefault("_classes", {})
        return found

    @property
    def htb(self) -> Htb:
        """The discipline that it is a class of."""
        return self.parent if isinstance(self.parent, Htb) else self.parent.htb

    @property
    def within(self) -> str:
        """What stands for it as a place."""
        return self.classid

    @property
    def follower(self) -> str:
        """The handle of what is put into it, if it is free: the same number."""
        return f"{self.classid.partition(':')[2]}:"

    def complete(self, declaration: Declaration) -> None:
        """Check place and rates, choose the number, and bring bursts into the form that the kernel shows."""
        mine, parent, htb = self.__dict__, self.parent, self.htb
        if self.dev is None or htb.broken:
            return None
        mine["above"] = htb.place
        if self.classid is None:
            mine["classid"] = free(self.dev, _numbers(htb.handle, f"{self.component}\0{self.name}"))
        elif handle_of(self.classid) != htb.handle:
            return self.fault(f"{self.title}: classid {self.classid} is no class of {htb.title}, which is {htb.handle}")
        claim(self, self.dev, self.classid)
        parent.classes[self.name] = self
        if parent is not htb:
            htb.classes.setdefault(self.name, self)
            self._check_above(parent)
        rate, ceil = mine["rate"], mine["ceil"] or mine["rate"]
        if ceil < rate:
            self.fault(f"{self.title}: ceil {ceil} is less than the rate, {rate} bits a second")
        for word, speed in (("burst", rate), ("cburst", ceil)):
            if mine[word] is not None:
                ticks = ticks_of(mine[word], speed)
                if ticks > TICKS_MOST:
                    self.fault(f"{self.title}: {word} {mine[word]} takes over 274 s at {speed} bits a second")
                mine[word] = bytes_in(ticks, speed)
        return None

    def _check_above(self, parent: Any) -> None:
        sought = parent.__dict__.get("_sought")
        if sought is not None:
            self.fault(
                f"{self.title}: packets go to {parent.title} by {sought.title}, so it can have no classes",
                f"Let {sought.title} name one of the classes; it is declared at {sought.where}.",
            )
        leaf = parent.__dict__.get("_carried")
        if leaf is not None:
            self.fault(
                f"{self.title}: {parent.title} carries {leaf.title}, so it can have no classes",
                f"Put {leaf.title} under one of the classes; it is declared at {leaf.where}.",
            )
        for word in ("prio", "quantum"):
            if parent.__dict__[word] is not None:
                self.fault(
                    f"{self.title}: {parent.title} has {word}, which means nothing for a class that has others",
                    f"Take it away at {parent.where}.",
                )
        depth, above = 1, self
        while isinstance(above.parent, HtbClass):
            depth, above = depth + 1, above.parent
        if depth > DEEPEST:
            self.fault(f"{self.title}: at most {DEEPEST} classes stand on one another; it would be the {depth}th")

    def carry(self, other: Resource) -> None:
        """Take a discipline under it."""
        if self.classes:
            first = next(iter(self.classes.values()))
            other.fault(
                f"{other.title}: {self.title} has classes of its own, so it carries nothing else",
                f"Put it under one of those, such as {first.title}.",
            )
        self.__dict__["_carried"] = other

    @property
    def logical_name(self) -> str:
        """Each link of a netns may have one of that name."""
        return f"{self.name} dev {self.dev.name}" if self.dev is not None else str(self.name)

    def props(self) -> Props:
        """With what it is a class of."""
        parent = self.parent.handle if isinstance(self.parent, Htb) else self.parent.classid
        return {**super().props(), "parent": parent}

    @classmethod
    def identity(cls, netns: str, name: str, props: Mapping[str, Any]) -> Key:
        """Link and number."""
        return (cls.family, netns, props["dev"], props["classid"])

    @classmethod
    def needs(cls, netns: str, name: str, props: Mapping[str, Any]) -> tuple[Need, ...]:
        """The discipline, and the class that it divides, which cannot go before it (htb_delete)."""
        found = (*super().needs(netns, name, props), _need(Qdisc.family, netns, props, "above", Gone.VANISH))
        inner = not props["parent"].endswith(":")
        return (*found, _need(CLASSES, netns, props, "parent", Gone.BLOCK)) if inner else found

    @classmethod
    def probes(cls, props: Mapping[str, Any] | None) -> Sequence[Probe]:
        """Where there is htb, there are classes."""
        return Htb.probes(props)

    @classmethod
    def create(cls, item: Item, env: Env) -> Sequence[Op]:
        """RTM_NEWTCLASS."""
        return [cls._new(wire.F_CREATE | wire.F_EXCL, item, item.props, env)]

    @classmethod
    def update(cls, item: Item, changed: Mapping[str, Any], env: Env) -> Sequence[Op]:
        """The same with all values: the kernel takes what is not said for zero."""
        return [cls._new(0, item, {**item.props, **changed}, env)]

    @classmethod
    def delete(cls, item: Item, env: Env) -> Sequence[Op]:
        """RTM_DELTCLASS."""
        return [Send(RTM_DELTCLASS, 0, header(item, env, item.props["classid"]))]

    @classmethod
    def _new(cls, flags: int, item: Item, props: Mapping[str, Any], env: Env) -> Send:
        rate, ceil = props["rate"], props.get("ceil") or props["rate"]
        packed = _OPT.pack(
            ratespec(rate),
            ratespec(ceil),
            ticks_of(props.get("burst") or BURST, rate),
            ticks_of(props.get("cburst") or BURST, ceil),
            props.get("quantum") or 0,
            0,
            props.get("prio") or 0,
        )
        options = rate64(TCA_HTB_RATE64, rate) + rate64(TCA_HTB_CEIL64, ceil) + wire.attr(TCA_HTB_PARMS, packed)
        return Send(RTM_NEWTCLASS, flags, header(item, env, item.props["classid"]) + typed(Htb.word, options))

    @classmethod
    def commands(cls, action: str, item: Item, changed: Mapping[str, Any], env: Env) -> Sequence[str]:
        """`tc class`."""
        if action == "finish":
            return []
        props = item.props if action == "delete" else {**item.props, **changed}
        verb = {"create": "add", "update": "change", "delete": "del"}[action]
        words = f"class {verb} dev {quote(props['dev'])} parent {props['parent']} classid {props['classid']}"
        if action != "delete":
            own = {p.name: p.word for p in cls.properties.values() if p.name not in ("dev", "classid")}
            words += f" {Htb.word}{said(cls, props, own)}"
        return [f"tc {netns_option(item.netns)}{words}"]


def _need(family: str, netns: str, props: Mapping[str, Any], prop: str, gone: Gone) -> Need:
    return Need((family, netns, props["dev"], props[prop]), gone, "parent")


def _numbers(handle: str, name: str) -> Iterator[str]:
    """Numbers for a class of that name, the first one unless it is taken."""
    number = int.from_bytes(naming.digest(name, 4), "big")
    while True:
        yield place_of(number_of(handle) | _FIRST + number % _NUMBERS)
        number += 1


def _body(scope: Scope) -> tuple[bytes, ...]:
    """The kernel shows the classes of one link at a time (tc_dump_tclass)."""
    devs = {key[2] for key in scope.wanted(CLASSES)}
    return tuple(TCMSG.pack(0, index, 0, 0, 0) for index, name in scope.links.items() if name in devs)


def _read(buffer: bytes, start: int, end: int, scope: Scope) -> None:
    _, ifindex, handle, parent, _ = TCMSG.unpack_from(buffer, start)
    found = wire.attrs(buffer, start + TCMSG.size, end)
    if wire.text(found[TCA_KIND]) != Htb.word:
        return
    options = wire.attrs(found[TCA_OPTIONS], 0, len(found[TCA_OPTIONS]))
    spec, ceilspec, burst, cburst, quantum, _, prio = _OPT.unpack(options[TCA_HTB_PARMS])
    rate = read_rate(spec, options.get(TCA_HTB_RATE64))
    ceil = read_rate(ceilspec, options.get(TCA_HTB_CEIL64))
    dev, classid, inside = scope.links.get(ifindex, ""), place_of(handle), place_of(parent)
    props = {
        "dev": dev,
        "classid": classid,
        "parent": handle_of(classid) if inside == "root" else inside,
        "rate": rate,
        "ceil": ceil,
        "burst": bytes_in(burst, rate),
        "cburst": bytes_in(cburst, ceil),
        "prio": prio,
        "quantum": quantum,
    }
    scope.found[(CLASSES, scope.netns, dev, classid)] = Have(HtbClass.word, props)


HtbClass.dumps = (*Qdisc.dumps, Dump("classes", RTM_GETTCLASS, _body, _read))
