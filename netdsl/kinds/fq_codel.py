"""FqCodel: fair queues that are kept short (tc-fq_codel(8), RFC 8290; net/sched/sch_fq_codel.c)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from netdsl import wire
from netdsl.kinds.measure import microseconds, size
from netdsl.kinds.qdisc import Qdisc
from netdsl.lang.item import Item, Props
from netdsl.lang.ops import Env, Op
from netdsl.lang.property import kind, prop
from netdsl.lang.values import FLAG32, ValueType, u32

FLOWS_MOST = 65536
QUANTUM_LEAST, QUANTUM_MOST = 256, 1 << 20
_SHIFT = 10
"""CoDel counts in units of 1024 nanoseconds (CODEL_SHIFT)."""


def _codel_time() -> ValueType:
    """Microseconds; of two that CoDel does not tell apart the later one."""
    base = microseconds(2)

    def whole(units: int) -> int:
        return ((units + 1 << _SHIFT) - 1) // 1000

    def unpack(payload: bytes) -> int:
        shown: int = base.unpack(payload)
        return whole(-(-shown * 1000 >> _SHIFT))

    return attrs.evolve(base, check=lambda value: whole(base.check(value) * 1000 >> _SHIFT), unpack=unpack)


@kind
class FqCodel(Qdisc):
    """Each flow that leaves a link has a queue of its own, and none gets long. Its name is free text.

    It is the root of a link (`dev=`), or sits under an HtbClass, a Netem or a Tbf (`parent=`).
    """

    word = "fq_codel"
    requires = "CONFIG_NET_SCH_FQ_CODEL"

    target: int | str | None = prop(
        _codel_time(), default=None, kernel=5000, at="options", number=1, word="target", unit="microseconds",
        doc='how long a packet may wait all the time, also as "5ms"',
    )  # fmt: skip
    interval: int | str | None = prop(
        _codel_time(), default=None, kernel=100000, at="options", number=3, word="interval", unit="microseconds",
        doc='how long it may wait longer, before packets are dropped; about a round trip, also as "100ms"',
    )  # fmt: skip
    limit: int | None = prop(
        u32(1), default=None, kernel=10240, at="options", number=2, word="limit", unit="packets",
        doc="most packets that wait; more are dropped",
    )  # fmt: skip
    memory_limit: int | str | None = prop(
        size(1, 1 << 31), default=None, at="options", number=9, word="memory_limit", unit="bytes",
        doc='most memory that they take, also as "4mb"; absent: 32mb, on small machines 4mb',
    )  # fmt: skip
    flows: int | None = prop(
        u32(1, FLOWS_MOST), default=None, kernel=1024, at="options", number=5, word="flows", replace=True,
        doc="how many queues there are",
    )  # fmt: skip
    quantum: int | None = prop(
        u32(QUANTUM_LEAST, QUANTUM_MOST), default=None, at="options", number=6, word="quantum", unit="bytes",
        doc="what each queue may send in turn; absent: a packet of the link's MTU",
    )  # fmt: skip
    ecn: bool | None = prop(
        attrs.evolve(FLAG32, spoken=lambda on: "ecn" if on else "noecn"), default=None, kernel=True,
        at="options", number=4, doc="mark packets of flows that understand it, instead of dropping them",
    )  # fmt: skip
    drop_batch: int | None = prop(
        u32(1), default=None, kernel=64, at="options", number=8, word="drop_batch", unit="packets",
        doc="most packets that are dropped at once when there are too many",
    )  # fmt: skip

    @classmethod
    def update(cls, item: Item, changed: Mapping[str, Any], env: Env) -> Sequence[Op]:
        """What changes: the kernel keeps the rest, and takes the number of queues only once."""
        said = changed or {name: value for name, value in item.props.items() if name != "flows"}
        return [cls._new(0, item, said, env)]

    @classmethod
    def options(cls, props: Mapping[str, Any]) -> bytes:
        """What is given."""
        own = (p for p in cls.properties.values() if p.at == "options" and props.get(p.name) is not None)
        return b"".join([wire.attr(p.number, p.type.pack(props[p.name])) for p in own])

    @classmethod
    def read(cls, options: bytes, handle: str) -> Props:
        """All of them."""
        found = wire.attrs(options, 0, len(options))
        own = (p for p in cls.properties.values() if p.at == "options" and p.number in found)
        return {p.name: p.type.unpack(found[p.number]) for p in own}

    @classmethod
    def commands(cls, action: str, item: Item, changed: Mapping[str, Any], env: Env) -> Sequence[str]:
        """A change says only what changes."""
        if action == "update" and changed:
            kept: Props = {word: item.props[word] for word in ("dev", "parent", "handle") if word in item.props}
            item = attrs.evolve(item, props=kept)
        return super().commands(action, item, changed, env)

    @classmethod
    def words(cls, props: Mapping[str, Any]) -> str:
        """`ecn` and `noecn` are their own words."""
        flag = props.get("ecn")
        return super().words(props) + ("" if flag is None else f" {cls.properties['ecn'].type.spoken(flag)}")
