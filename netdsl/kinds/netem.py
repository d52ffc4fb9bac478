"""Netem: delay, loss and the like on what a link sends (tc-netem(8); net/sched/sch_netem.c, linux/pkt_sched.h)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from struct import Struct
from typing import Any

from netdsl import wire
from netdsl.kinds.link import Link
from netdsl.kinds.shell import netns_option, quote
from netdsl.lang.declaration import Declaration
from netdsl.lang.dump import Dump, Scope
from netdsl.lang.item import Have, Item, Key
from netdsl.lang.ops import Env, Op, Probe, Send
from netdsl.lang.property import kind, prop
from netdsl.lang.resource import Resource
from netdsl.lang.values import ValueType, reference, u32

RTM_NEWQDISC, RTM_DELQDISC, RTM_GETQDISC = 36, 37, 38
TCA_KIND, TCA_OPTIONS = 1, 2
TCA_NETEM_RATE, TCA_NETEM_LATENCY64, TCA_NETEM_JITTER64 = 6, 10, 11
TC_H_ROOT, HANDLE = 0xFFFFFFFF, 0x10000
ENOENT = 2
_TCMSG = Struct("=BxxxiIII")
"""struct tcmsg: family, ifindex, handle, parent, info."""
_QOPT = Struct("=IIIIII")
"""struct tc_netem_qopt: latency, limit, loss, gap, duplicate, jitter; the times are given by attributes instead."""
_RATE = Struct("=IiIi")
"""struct tc_netem_rate: bytes a second, packet overhead, cell size and overhead."""
_S64 = Struct("=q")
_WHOLE = 2**32 - 1
_TIMES = {"us": 1, "ms": 1_000, "s": 1_000_000}
_RATES = {"bit": 1, "kbit": 10**3, "mbit": 10**6, "gbit": 10**9}


def _measure(name: str, units: Mapping[str, int], example: str, step: int = 1) -> ValueType:
    """A whole number, or a string of a number and its unit; the normal form is the number in the smallest unit."""
    pattern = re.compile(rf"([0-9]+(?:\\.[0-9]+)?) ?({'|'.join(units)})", re.ASCII)

    def check(value: Any) -> int:
        found = pattern.fullmatch(value) if isinstance(value, str) else None
        if found is not None:
            value = round(float(found[1]) * units[found[2]])
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise ValueError(f"must be a whole number of {name}, or a string like {example!r}, not {value!r}")
        return value - value % step

    unit = next(iter(units))
    return ValueType(name, check, lambda v: b"", lambda p: None, spoken=lambda v: f"{v}{unit}")


def _percent() -> ValueType:
    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 100:
            raise ValueError(f"must be a percentage between 0 and 100, not {value!r}")
        return round(float(value), 3)

    return ValueType("percent", check, lambda v: b"", lambda p: None, spoken=lambda v: f"{v:g}%")


MICROSECONDS = _measure("microseconds", _TIMES, "10ms")
BITS = _measure("bits a second", _RATES, "10mbit", step=8)
PERCENT = _percent()


@kind
class Netem(Resource):
    """What a link sends is delayed, lost, doubled or slowed down. Its name is free text; a link has one."""

    word = "netem"
    family = "qdisc"
    phase = 80
    requires = "CONFIG_NET_SCH_NETEM"

    dev: Link = prop(
        reference("a link"), word="dev", doc="the link; it counts for what leaves there, not what comes in"
    )
    delay: int | str | None = prop(
        MICROSECONDS, default=None, kernel=0, unit="microseconds", doc='how much later packets leave, also as "10ms"'
    )
    jitter: int | str | None = prop(
        MICROSECONDS, default=None, kernel=0, unit="microseconds", doc="how much the delay varies, up and down"
    )
    loss: float | None = prop(PERCENT, default=None, kernel=0.0, doc="how many packets are lost")
    duplicate: float | None = prop(PERCENT, default=None, kernel=0.0, doc="how many packets are sent twice")
    rate: int | str | None = prop(
        BITS, default=None, kernel=0, unit="bits a second", doc='how fast packets leave, also as "10mbit"; 0: no limit'
    )
    limit: int | None = prop(
        u32(1), default=None, kernel=1000, unit="packets", doc="most packets that wait; more are dropped"
    )

    def complete(self, declaration: Declaration) -> None:
        """Jitter is that of a delay."""
        if self.jitter and not self.delay:
            self.fault(f"{self.title}: jitter needs delay")

    @classmethod
    def identity(cls, netns: str, name: str, props: Mapping[str, Any]) -> Key:
        """The link whose root queueing discipline it is."""
        return ("qdisc", netns, props["dev"], "root")

    @classmethod
    def probes(cls, props: Mapping[str, Any] | None) -> Sequence[Probe]:
        """Asked for on lo of a new netns."""
        body = _TCMSG.pack(0, 1, HANDLE, TC_H_ROOT, 0) + _options({})
        return (Probe("netem", cls.requires, Send(RTM_NEWQDISC, wire.F_CREATE | wire.F_EXCL, body), (ENOENT,)),)

    @classmethod
    def create(cls, item: Item, env: Env) -> Sequence[Op]:
        """RTM_NEWQDISC in place of the one that each link has from the start."""
        return [Send(RTM_NEWQDISC, wire.F_CREATE | wire.F_EXCL, cls._header(item, env) + _options(item.props))]

    @classmethod
    def update(cls, item: Item, changed: Mapping[str, Any], env: Env) -> Sequence[Op]:
        """The same with all values."""
        return [Send(RTM_NEWQDISC, 0, cls._header(item, env) + _options({**item.props, **changed}))]

    @classmethod
    def delete(cls, item: Item, env: Env) -> Sequence[Op]:
        """RTM_DELQDISC; the link then has again what it had."""
        return [Send(RTM_DELQDISC, 0, cls._header(item, env))]

    @classmethod
    def _header(cls, item: Item, env: Env) -> bytes:
        return _TCMSG.pack(0, env.ifindex(item.netns, item.props["dev"]), HANDLE, TC_H_ROOT, 0)

    @classmethod
    def commands(cls, action: str, item: Item, changed: Mapping[str, Any], env: Env) -> Sequence[str]:
        """`tc qdisc`."""
        if action == "finish":
            return []
        start = f"tc {netns_option(item.netns)}qdisc"
        dev = quote(item.props["dev"])
        if action == "delete":
            return [f"{start} del dev {dev} root handle 1:"]
        verb = "add" if action == "create" else "change"
        return [f"{start} {verb} dev {dev} root handle 1: netem{_words({**item.props, **changed})}"]


def _words(props: Mapping[str, Any]) -> str:
    def said(word: str, spoken: Callable[[Any], Any]) -> str:
        return f" {word} {spoken(props[word])}" if props.get(word) else ""

    delay = said("delay", MICROSECONDS.spoken)
    delay += f" {MICROSECONDS.spoken(props['jitter'])}" if delay and props.get("jitter") else ""
    words = said("limit", str) + delay + said("loss", PERCENT.spoken) + said("duplicate", PERCENT.spoken)
    return words + said("rate", BITS.spoken)


def _options(props: Mapping[str, Any]) -> bytes:
    """TCA_KIND and TCA_OPTIONS."""
    fixed = _QOPT.pack(
        0, props.get("limit") or 1000, _fraction(props.get("loss")), 0, _fraction(props.get("duplicate")), 0
    )
    fixed += wire.attr(TCA_NETEM_LATENCY64, _S64.pack((props.get("delay") or 0) * 1000))
    fixed += wire.attr(TCA_NETEM_JITTER64, _S64.pack((props.get("jitter") or 0) * 1000))
    fixed += wire.attr(TCA_NETEM_RATE, _RATE.pack((props.get("rate") or 0) // 8, 0, 0, 0))
    return wire.attr(TCA_KIND, b"netem\0") + wire.attr(TCA_OPTIONS, fixed)


def _fraction(percent: float | None) -> int:
    return round((percent or 0) / 100 * _WHOLE)


def _body(scope: Scope) -> bytes | None:
    return _TCMSG.pack(0, 0, 0, 0, 0) if scope.wanted("qdisc") else None


def _read(buffer: bytes, start: int, end: int, scope: Scope) -> None:
    _, ifindex, handle, parent, _ = _TCMSG.unpack_from(buffer, start)
    if parent != TC_H_ROOT or not handle:  # handle 0 is what the kernel gave the link by itself
        return
    found = wire.attrs(buffer, start + _TCMSG.size, end)
    word, dev = wire.text(found[TCA_KIND]), scope.links.get(ifindex, "")
    props: dict[str, Any] = {"dev": dev}
    if word == Netem.word:
        options = found[TCA_OPTIONS]
        _, limit, loss, _, duplicate, _ = _QOPT.unpack_from(options)
        inner = wire.attrs(options, _QOPT.size, len(options))
        props |= {
            "delay": _microseconds(inner, TCA_NETEM_LATENCY64),
            "jitter": _microseconds(inner, TCA_NETEM_JITTER64),
            "loss": round(loss / _WHOLE * 100, 3),
            "duplicate": round(duplicate / _WHOLE * 100, 3),
            "rate": _RATE.unpack(inner[TCA_NETEM_RATE])[0] * 8 if TCA_NETEM_RATE in inner else 0,
            "limit": limit,
        }
    scope.found[("qdisc", scope.netns, dev, "root")] = Have(word, props)


def _microseconds(found: Mapping[int, bytes], number: int) -> int:
    """Rounded: `tc` may be a few nanoseconds off (get_time64)."""
    return round(_S64.unpack(found[number])[0] / 1000) if number in found else 0


QDISCS = Dump("qdiscs", RTM_GETQDISC, _body, _read)
Netem.dumps = (QDISCS,)
