"""Netem: delay, loss and the like on what a link sends (tc-netem(8); net/sched/sch_netem.c, linux/pkt_sched.h)."""

from __future__ import annotations

from collections.abc import Mapping
from struct import Struct
from typing import Any

from netdsl import wire
from netdsl.kinds.measure import SMALL_RATE, bits, microseconds, percent, rate64
from netdsl.kinds.qdisc import Qdisc, said
from netdsl.lang.declaration import Declaration
from netdsl.lang.item import Props
from netdsl.lang.property import kind, prop
from netdsl.lang.values import u32

TCA_NETEM_RATE, TCA_NETEM_RATE64, TCA_NETEM_LATENCY64, TCA_NETEM_JITTER64 = 6, 8, 10, 11
_QOPT = Struct("=IIIIII")
"""struct tc_netem_qopt: latency, limit, loss, gap, duplicate, jitter; the times are given by attributes instead."""
_RATE = Struct("=IiIi")
"""struct tc_netem_rate: bytes a second, packet overhead, cell size and overhead."""
_S64 = Struct("=q")
_TIME, _BITS, _PERCENT = microseconds(), bits(0), percent()


@kind
class Netem(Qdisc):
    """What a link sends is delayed, lost, doubled or slowed down. Its name is free text.

    It is the root of a link (`dev=`), or sits under an HtbClass or a Tbf (`parent=`), and carries one other discipline.
    """

    word = "netem"
    requires = "CONFIG_NET_SCH_NETEM"
    carries = True

    delay: int | str | None = prop(
        _TIME, default=None, kernel=0, unit="microseconds", doc='how much later packets leave, also as "10ms"'
    )
    jitter: int | str | None = prop(
        _TIME, default=None, kernel=0, unit="microseconds", doc="how much the delay varies, up and down"
    )
    loss: float | None = prop(_PERCENT, default=None, kernel=0.0, doc="how many packets are lost")
    duplicate: float | None = prop(_PERCENT, default=None, kernel=0.0, doc="how many packets are sent twice")
    rate: int | str | None = prop(
        _BITS, default=None, kernel=0, unit="bits a second", doc='how fast packets leave, also as "10mbit"; 0: no limit'
    )
    limit: int | None = prop(
        u32(1), default=None, kernel=1000, unit="packets", doc="most packets that wait; more are dropped"
    )

    def complete(self, declaration: Declaration) -> None:
        """Jitter is that of a delay."""
        super().complete(declaration)
        if self.jitter and not self.delay:
            self.fault(f"{self.title}: jitter needs delay")

    @classmethod
    def words(cls, props: Mapping[str, Any]) -> str:
        """Those that are not zero; the jitter follows the delay without a word."""
        given = {name: value for name, value in props.items() if value and name not in ("delay", "jitter")}
        delay = said(cls, {"delay": props.get("delay") or None}, {"delay": "delay"})
        delay += f" {_TIME.spoken(props['jitter'])}" if delay and props.get("jitter") else ""
        first = said(cls, given, {"limit": "limit"})
        return first + delay + said(cls, given, {"loss": "loss", "duplicate": "duplicate", "rate": "rate"})

    @classmethod
    def options(cls, props: Mapping[str, Any]) -> bytes:
        """All of them: the kernel takes what is not said for zero."""
        loss, duplicate = (int.from_bytes(_PERCENT.pack(props.get(w) or 0), "little") for w in ("loss", "duplicate"))
        packed = _QOPT.pack(0, props.get("limit") or 1000, loss, 0, duplicate, 0)
        packed += wire.attr(TCA_NETEM_LATENCY64, _S64.pack((props.get("delay") or 0) * 1000))
        packed += wire.attr(TCA_NETEM_JITTER64, _S64.pack((props.get("jitter") or 0) * 1000))
        rate = props.get("rate") or 0
        packed += wire.attr(TCA_NETEM_RATE, _RATE.pack(min(rate // 8, SMALL_RATE - 1), 0, 0, 0))
        return packed + rate64(TCA_NETEM_RATE64, rate)

    @classmethod
    def read(cls, options: bytes, handle: str) -> Props:
        """All of them."""
        _, limit, loss, _, duplicate, _ = _QOPT.unpack_from(options)
        inner = wire.attrs(options, _QOPT.size, len(options))
        rate = _S64.unpack(inner[TCA_NETEM_RATE64])[0] if TCA_NETEM_RATE64 in inner else None
        if rate is None:
            rate = _RATE.unpack(inner[TCA_NETEM_RATE])[0] if TCA_NETEM_RATE in inner else 0
        return {
            "delay": _microseconds(inner, TCA_NETEM_LATENCY64),
            "jitter": _microseconds(inner, TCA_NETEM_JITTER64),
            "loss": _PERCENT.unpack(wire.U32.pack(loss)),
            "duplicate": _PERCENT.unpack(wire.U32.pack(duplicate)),
            "rate": rate * 8,
            "limit": limit,
        }


def _microseconds(found: Mapping[int, bytes], number: int) -> int:
    """Rounded: `tc` may be a few nanoseconds off (get_time64)."""
    return round(_S64.unpack(found[number])[0] / 1000) if number in found else 0
