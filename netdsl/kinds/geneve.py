"""Geneve: a Geneve tunnel end point (RFC 8926; drivers/net/geneve.c)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from netdsl.kinds.lower import ETHERNET, WrappingLink
from netdsl.lang.declaration import Declaration
from netdsl.lang.item import Item
from netdsl.lang.ops import Env
from netdsl.lang.property import kind, prop
from netdsl.lang.values import FLAG, IP, be16, be32, is_v6, named, u8, u32
from netdsl.lang.values import tos as tos_byte

VNI_MOST = 2**24 - 1
LABEL_MOST = 2**20 - 1
OVERHEAD = {False: 50, True: 70}
"""Bytes of outer IP, UDP and Geneve header and inner Ethernet header, by whether the outer IP is IPv6."""
DF = {"unset": 0, "set": 1, "inherit": 2}
_V4_ONLY, _V6_ONLY = ("udp_csum",), ("label", "udp6_zero_csum_tx", "udp6_zero_csum_rx")


@kind
class Geneve(WrappingLink):
    """A Geneve tunnel to one other end point.

    Without `mtu` it is that of the declared link in whose network `remote` is, less the outer headers (50 bytes, 70
    over IPv6). Where none is, the kernel takes the route to `remote` as it is on creation, or 1500.
    """

    word = "geneve"
    phase = 21
    requires = "CONFIG_GENEVE"

    mtu: int | None = prop(
        u32(68, 65485), default=None, at="link", number=4, word="mtu", unit="bytes", flushes=("ipvlan",),
        doc="largest packet that the link takes; absent: what the lower device leaves",
    )  # fmt: skip
    id: int = prop(u32(0, VNI_MOST), at="info", number=1, word="id", replace=True, doc="virtual network identifier")
    remote: str = prop(
        IP, at="info", number=2, number6=7, word="remote",
        anew=lambda have, want: not have.get("remote") or is_v6(have["remote"]) != is_v6(want["remote"]),
        doc="the other end point; a unicast address",
    )  # fmt: skip
    ttl: int | None = prop(
        u8(), default=None, at="info", number=3, word="ttl", unit="hops", kernel=0,
        doc="TTL of the outer packets; 0: default",
    )  # fmt: skip
    tos: int | None = prop(
        tos_byte(), default=None, at="info", number=4, word="tos", kernel=0, doc="TOS of the outer packets; 1: inherit"
    )
    port: int | None = prop(
        be16(1), default=None, at="info", number=5, word="dstport", kernel=6081, replace=True,
        doc="UDP destination port",
    )  # fmt: skip
    df: str | None = prop(
        named("=B", DF), default=None, at="info", number=13, word="df", kernel="unset",
        doc="the don't-fragment bit of outer IPv4 packets; inherit: that of the inner ones",
    )  # fmt: skip
    udp_csum: bool | None = prop(
        FLAG, default=None, at="info", number=8, word="[no]udpcsum", kernel=False, replace=True,
        doc="checksum in the outer UDP header; IPv4 only",
    )  # fmt: skip
    udp6_zero_csum_tx: bool | None = prop(
        FLAG, default=None, at="info", number=9, word="[no]udp6zerocsumtx", kernel=False, replace=True,
        doc="send without a checksum in the outer UDP header; IPv6 only",
    )  # fmt: skip
    udp6_zero_csum_rx: bool | None = prop(
        FLAG, default=None, at="info", number=10, word="[no]udp6zerocsumrx", kernel=False, replace=True,
        doc="accept packets without a checksum in the outer UDP header; IPv6 only",
    )  # fmt: skip
    label: int | None = prop(
        be32(0, LABEL_MOST), default=None, at="info", number=11, word="flowlabel", kernel=0,
        doc="flow label of the outer packets; IPv6 only",
    )  # fmt: skip

    def complete(self, declaration: Declaration) -> None:
        """Check that everything given is for the address family of the tunnel."""
        super().complete(declaration)
        v6 = is_v6(self.remote)
        self.derive_mtu(declaration, OVERHEAD[v6], ETHERNET)
        first = self.remote.partition(":" if v6 else ".")[0]
        if first.startswith("ff") if v6 else 224 <= int(first) < 240:
            self.fault(f"{self.title}: remote must be a unicast address, not {self.remote}")
        for word in _V4_ONLY if v6 else _V6_ONLY:
            if self.__dict__[word] is not None:
                family, other = ("IPv4", "IPv6") if v6 else ("IPv6", "IPv4")
                self.fault(f"{self.title}: {word} is for {family}, and remote {self.remote} is {other}")

    @classmethod
    def commands(cls, action: str, item: Item, changed: Mapping[str, Any], env: Env) -> Sequence[str]:
        """`ip link` commands; `ip` wants the identifier each time."""
        if action == "update" and any(name in changed for name in (p.name for p in cls.places()["info"])):
            changed = {"id": item.props["id"], **changed}
        return super().commands(action, item, changed, env)
