"""Vrf: a routing domain of its own, made of the links that are its ports (drivers/net/vrf.c)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from netdsl.kinds.link import Link
from netdsl.lang.property import kind, prop
from netdsl.lang.values import u32

MTU_LEAST, MTU_MOST = 1280, 65575
"""VRF's own range; the upper end is a full IPv6 packet with its header (IP6_MAX_MTU)."""


@kind
class Vrf(Link):
    """A VRF: links that have it as their `master` route by its table alone, and so does what is bound to it.

    The kernel adds the rule that leads to the tables (priority 1000, l3mdev) to each netns with the first VRF in it.
    Addresses of loopback services go on the VRF itself. A route of the VRF says `table=` its table.
    """

    word = "vrf"
    phase = 20
    requires = "CONFIG_NET_VRF"
    joining_flushes = ("address", "route", "neighbor", "nexthop")

    mtu: int | None = prop(
        u32(MTU_LEAST, MTU_MOST), default=None, at="link", number=4, word="mtu", unit="bytes", kernel=MTU_MOST,
        doc="largest packet that the link takes",
    )  # fmt: skip
    table: int = prop(
        u32(1), at="info", number=1, word="table", replace=True, doc="the routing table of the links in the VRF"
    )

    @property
    def shunned(self) -> Collection[str]:
        """A VRF is nobody's port (vrf_setup: IFF_NO_RX_HANDLER)."""
        return ("bridge", "bond", "vrf")

    def initial(self, name: str) -> Any:
        """It comes without ARP and multicast (vrf_setup)."""
        return False if name in ("arp", "multicast") else super().initial(name)
