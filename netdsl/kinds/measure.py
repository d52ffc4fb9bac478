"""Rates, sizes and times as `tc` takes them, and the ticks in which the kernel keeps bursts (tc(8), sch_generic.c)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from struct import Struct
from typing import Any

from netdsl import wire
from netdsl.lang.values import ValueType

TICK = 64
"""Nanoseconds in a tick (PSCHED_SHIFT); /proc/net/psched says so of every kernel since 2009."""
SECOND = 10**9
TICKS_MOST = 2**32 - 1
ETHERNET = 1
"""TC_LINKLAYER_ETHERNET. With it the kernel computes by itself, without it it wants tables of times to read it from."""
SMALL_RATE = 2**32
"""Bytes a second from which on a rate does not fit where it used to be, and is an attribute of its own."""
_SPEC = Struct("=BBHhHI")
"""struct tc_ratespec: cell size, link layer, packet overhead, cell alignment, least packet, bytes a second."""
_U64 = Struct("=Q")
_WHOLE = 2**32 - 1
_TIMES = {"us": 1, "ms": 1_000, "s": 1_000_000}
_RATES = {"bit": 1, "kbit": 10**3, "mbit": 10**6, "gbit": 10**9, "tbit": 10**12}
_SIZES = {"b": 1, "kb": 2**10, "mb": 2**20, "k": 2**10, "m": 2**20}
RATE_MOST = 10**15
"""Bits a second."""


def _measure(name: str, units: Mapping[str, int], example: str, low: int, high: int, step: int = 1) -> ValueType:
    """A whole number, or a string of a number and its unit; the normal form is the number in the smallest unit."""
    pattern = rf"([0-9]+(?:\.[0-9]+)?) ?({'|'.join(units)})"  # compiled, and then kept, when it is first needed
    unit = next(iter(units))

    def check(value: Any) -> int:
        found = re.fullmatch(pattern, value, re.ASCII) if isinstance(value, str) else None
        number = round(float(found[1]) * units[found[2]]) if found is not None else value
        if isinstance(number, bool) or not isinstance(number, int):
            raise ValueError(f"must be a whole number of {name}, or a string like {example!r}, not {value!r}")
        if not low <= number <= high:
            raise ValueError(f"must be between {low} and {high} {name}, not {value!r}")
        return number - number % step

    return ValueType(name, check, wire.U32.pack, lambda p: wire.U32.unpack(p)[0], spoken=lambda v: f"{v}{unit}")


def microseconds(low: int = 0, high: int = 2**32 - 1) -> ValueType:
    """A time."""
    return _measure("microseconds", _TIMES, "10ms", low, high)


def size(low: int = 1, high: int = 2**32 - 1) -> ValueType:
    """A number of bytes; `tc` means 1024 of them by "kb"."""
    return _measure("bytes", _SIZES, "32kb", low, high)


def bits(low: int = 8) -> ValueType:
    """A rate in bits a second; the kernel counts bytes."""
    return _measure("bits a second", _RATES, "10mbit", low, RATE_MOST, step=8)


def percent() -> ValueType:
    """A share of packets."""

    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 100:
            raise ValueError(f"must be a percentage between 0 and 100, not {value!r}")
        return round(float(value), 3)

    return ValueType("percent", check, lambda v: wire.U32.pack(round(v / 100 * _WHOLE)), _percentage,
                     spoken=lambda v: f"{v:g}%")  # fmt: skip


def _percentage(payload: bytes) -> float:
    return round(float(wire.U32.unpack(payload)[0]) / _WHOLE * 100, 3)


# Rates


def ratespec(rate: int) -> bytes:
    """A rate in bits a second as struct tc_ratespec; no rate is all zeros."""
    return _SPEC.pack(0, ETHERNET if rate else 0, 0, 0, 0, min(rate // 8, SMALL_RATE - 1))


def rate64(number: int, rate: int) -> bytes:
    """The attribute of a rate that is too large for a ratespec, else nothing."""
    return wire.attr(number, _U64.pack(rate // 8)) if rate // 8 >= SMALL_RATE else b""


def read_rate(spec: bytes, large: bytes | None) -> int:
    """Bits a second, of a ratespec and the attribute beside it."""
    return 8 * int(_U64.unpack(large)[0] if large is not None else _SPEC.unpack(spec)[5])


# Bursts: a number of bytes that the kernel keeps as the time which they take at some rate


def ticks_of(burst: int, rate: int) -> int:
    """Ticks that so many bytes take at so many bits a second, rounded up (`tc` from 6.15 on)."""
    return -(-burst * SECOND // (rate // 8 * TICK))


def bytes_in(ticks: int, rate: int) -> int:
    """Bytes that go out in so many ticks."""
    return ticks * TICK * (rate // 8) // SECOND


def _factor(rate: int) -> tuple[int, int]:
    """By what the kernel multiplies and shifts a number of bytes for nanoseconds (psched_ratecfg_precompute__)."""
    rate, factor, shift = rate // 8, SECOND, 0
    while not (factor // rate & 1 << 31 or factor & 1 << 63):
        factor, shift = factor << 1, shift + 1
    return factor // rate, shift


def kernel_ticks(burst: int, rate: int) -> int:
    """Ticks that the kernel itself finds for a burst that it is told in bytes (psched_l2t_ns)."""
    factor, shift = _factor(rate)
    return (burst * factor >> shift) // TICK


def kernel_bytes(ticks: int, rate: int) -> int:
    """The most bytes for which it finds so many."""
    factor, shift = _factor(rate)
    return (((ticks + 1) * TICK << shift) - 1) // factor
