"""Vxlan: a VXLAN tunnel end point (RFC 7348; drivers/net/vxlan/vxlan_core.c)."""

from __future__ import annotations

from netdsl.kinds.link import Link
from netdsl.lang.declaration import Declaration
from netdsl.lang.property import kind, prop
from netdsl.lang.values import FLAG, IP, be16, is_v6, reference, u8, u32
from netdsl.lang.values import tos as tos_byte

VNI_MOST = 2**24 - 1


@kind
class Vxlan(Link):
    """A VXLAN tunnel end point.

    With `dev` the kernel derives the MTU from the lower device (less 50 bytes, 70 over IPv6) unless `mtu` is given.
    """

    word = "vxlan"
    phase = 21

    mtu: int | None = prop(
        u32(68, 65535), default=None, at="link", number=4, word="mtu", unit="bytes",
        doc="largest packet that the link takes; absent: what the lower device leaves",
    )  # fmt: skip
    vni: int = prop(u32(0, VNI_MOST), at="info", number=1, word="id", replace=True, doc="VXLAN network identifier")
    remote: str | None = prop(
        IP, default=None, at="info", number=2, number6=16, word="remote",
        doc="where frames to unknown addresses go; a unicast address",
    )  # fmt: skip
    dev: Link | None = prop(
        reference("a link"), default=None, at="info", number=3, word="dev",
        doc="lower device; it decides the MTU and takes the vtep along when it is deleted",
    )  # fmt: skip
    local: str | None = prop(
        IP, default=None, at="info", number=4, number6=17, word="local", doc="source address of the outer packets"
    )
    ttl: int | None = prop(
        u8(), default=None, at="info", number=5, word="ttl", unit="hops", kernel=0,
        doc="TTL of the outer packets; 0: default",
    )  # fmt: skip
    tos: int | None = prop(
        tos_byte(), default=None, at="info", number=6, word="tos", kernel=0, doc="TOS of the outer packets; 1: inherit"
    )
    learning: bool | None = prop(
        FLAG, default=None, at="info", number=7, word="[no]learning", kernel=True,
        doc="learn from which vtep addresses come",
    )  # fmt: skip
    ageing: int | None = prop(
        u32(), default=None, at="info", number=8, word="ageing", unit="seconds", kernel=300,
        doc="how long a learned entry is kept",
    )  # fmt: skip
    limit: int | None = prop(
        u32(), default=None, at="info", number=9, word="maxaddress", unit="entries", kernel=0, replace=True,
        doc="most entries in the fdb; 0: no limit",
    )  # fmt: skip
    port: int | None = prop(
        be16(1), default=None, at="info", number=15, word="dstport", kernel=8472, replace=True,
        doc="UDP destination port; without it the kernel takes 8472 (IANA's is 4789)",
    )  # fmt: skip
    udp_csum: bool | None = prop(
        FLAG, default=None, at="info", number=18, word="[no]udpcsum", kernel=True, replace=True,
        doc="checksum in the outer UDP header over IPv4",
    )  # fmt: skip

    def complete(self, declaration: Declaration) -> None:
        """Both end points are of one address family."""
        super().complete(declaration)
        if self.local and self.remote and is_v6(self.local) != is_v6(self.remote):
            self.fault(f"{self.title}: local {self.local} and remote {self.remote} are of different address families")
