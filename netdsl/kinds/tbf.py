"""Tbf: a link, or a part of what it sends, held to a rate (tc-tbf(8); net/sched/sch_tbf.c, linux/pkt_sched.h)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from struct import Struct
from typing import Any

from netdsl import wire
from netdsl.kinds import measure
from netdsl.kinds.measure import bits, kernel_bytes, kernel_ticks, microseconds, rate64, ratespec, read_rate, size
from netdsl.kinds.qdisc import Qdisc
from netdsl.lang.declaration import Declaration
from netdsl.lang.item import Item, Props
from netdsl.lang.property import argument, kind, prop

TCA_TBF_PARMS, TCA_TBF_RATE64, TCA_TBF_PRATE64, TCA_TBF_BURST, TCA_TBF_PBURST = 1, 4, 5, 6, 7
_QOPT = Struct("=12s12sIII")
"""struct tc_tbf_qopt: rate, peak rate, limit, ticks of the burst, ticks of that of the peak."""
ETHERNET_HEADER = 14


@kind
class Tbf(Qdisc):
    """What a link sends is held to a rate; what is too much waits, and then is dropped. Its name is free text.

    It is the root of a link (`dev=`), or sits under an HtbClass or a Netem (`parent=`), and carries one other.

    latency   instead of limit: how long a packet waits at most, in microseconds or as "50ms"
    """

    word = "tbf"
    requires = "CONFIG_NET_SCH_TBF"
    carries = True

    rate: int | str = prop(bits(), word="rate", unit="bits a second", doc='how much leaves, also as "10mbit"')
    burst: int | str = prop(
        size(), word="burst", unit="bytes", doc='how much may leave at once, at least a packet, also as "32kb"'
    )
    limit: int | str | None = prop(
        size(), default=None, word="limit", unit="bytes", doc="how much may wait; more is dropped"
    )
    peakrate: int | str | None = prop(
        bits(), default=None, kernel=0, word="peakrate", unit="bits a second", doc="how fast a burst leaves"
    )
    mtu: int | str | None = prop(
        size(), default=None, kernel=0, word="mtu", unit="bytes",
        doc="how much may leave at once at the peak rate, at least a packet",
    )  # fmt: skip
    latency: int | str | None = argument(default=None)

    def complete(self, declaration: Declaration) -> None:
        """Check the parts against each other, and settle what they are in the kernel."""
        super().complete(declaration)
        mine = self.__dict__
        if (self.peakrate is None) != (self.mtu is None):
            given, other = ("peakrate", "mtu") if self.mtu is None else ("mtu", "peakrate")
            return self.fault(f"{self.title}: {given} needs {other}")
        if self.peakrate is not None and mine["peakrate"] <= mine["rate"]:
            return self.fault(f"{self.title}: peakrate {self.peakrate} must be more than the rate, {self.rate}")
        if self.dev is not None:
            least = self._packet()
            for word in ("burst", "mtu"):
                if mine[word] is not None and mine[word] < least:
                    self.fault(
                        f"{self.title}: {word} {mine[word]} is too small for a packet of {self.dev.title}",
                        f"Its packets have up to {least} bytes, and larger ones than {word} are dropped.",
                    )
        self._settle_limit()
        for word, rate in (("burst", mine["rate"]), ("mtu", mine["peakrate"])):
            if mine[word] is not None:
                ticks = kernel_ticks(mine[word], rate)
                if ticks > measure.TICKS_MOST:
                    return self.fault(f"{self.title}: {word} {mine[word]} takes over 274 s at {rate} bits a second")
                mine[word] = kernel_bytes(ticks, rate)
        return None

    def _packet(self) -> int:
        """Bytes of the link's largest packet."""
        mtu = self.dev.mtu if self.dev.mtu is not None else type(self.dev).properties["mtu"].kernel
        return 0 if mtu is None else mtu + (ETHERNET_HEADER if self.dev.mac is not None else 0)

    def _settle_limit(self) -> None:
        mine, latency = self.__dict__, self.latency
        if (self.limit is None) == (latency is None):
            return self.fault(f"{self.title}: one of limit and latency is required, and only one")
        if latency is None:
            return None
        try:
            wait = microseconds(1).check(latency)
        except ValueError as wrong:
            return self.fault(f"{self.title}: latency {wrong}")
        limits = [
            mine[rate] // 8 * wait // 10**6 + mine[burst]
            for rate, burst in (("rate", "burst"), ("peakrate", "mtu"))
            if mine[rate] is not None
        ]
        mine["limit"] = min(*limits, 2**32 - 1)
        return None

    @classmethod
    def falls_with(cls, item: Item, lost: Item, staying: Sequence[Item]) -> bool:
        """What is put under it leaves no queue behind when it goes: its own has to be made again (tbf_graft)."""
        inside = f"{item.props['handle']}1"
        return lost.key == (cls.family, item.netns, item.props["dev"], inside)

    @classmethod
    def options(cls, props: Mapping[str, Any]) -> bytes:
        """All of them; bursts both in ticks and in bytes, as `tc` has it: the kernel goes by the latter."""
        rate, peak = props["rate"], props.get("peakrate") or 0
        burst, mtu = props["burst"], (props.get("mtu") or 0) if peak else 0
        ticks = (kernel_ticks(burst, rate), kernel_ticks(mtu, peak) if peak else 0)
        packed = wire.attr(TCA_TBF_PARMS, _QOPT.pack(ratespec(rate), ratespec(peak), props["limit"], *ticks))
        packed += wire.attr_u32(TCA_TBF_BURST, burst) + rate64(TCA_TBF_RATE64, rate)
        if peak:
            packed += wire.attr_u32(TCA_TBF_PBURST, mtu) + rate64(TCA_TBF_PRATE64, peak)
        return packed

    @classmethod
    def read(cls, options: bytes, handle: str) -> Props:
        """All of them."""
        found = wire.attrs(options, 0, len(options))
        spec, peakspec, limit, burst, mtu = _QOPT.unpack_from(found[TCA_TBF_PARMS])
        rate = read_rate(spec, found.get(TCA_TBF_RATE64))
        peak = read_rate(peakspec, found.get(TCA_TBF_PRATE64))
        return {
            "rate": rate,
            "burst": kernel_bytes(burst, rate) if rate else 0,
            "limit": limit,
            "peakrate": peak,
            "mtu": kernel_bytes(mtu, peak) if peak else 0,
        }

    @classmethod
    def words(cls, props: Mapping[str, Any]) -> str:
        """Without what is zero."""
        return super().words({name: value for name, value in props.items() if value != 0})
