"""The lower device of a tunnel, and what it leaves of its MTU."""

from __future__ import annotations

from typing import Any

from netdsl.kinds.link import Link
from netdsl.lang.declaration import Declaration
from netdsl.lang.property import kind
from netdsl.lang.values import network_of

ETHERNET = 1500
"""The MTU that the kernel reckons with where it knows of no lower device (ETH_DATA_LEN)."""


@kind
class WrappingLink(Link):
    """A link that wraps packets in others; base of Tunnel, Vxlan and Geneve."""

    def derive_mtu(self, declaration: Declaration, overhead: int, otherwise: int, *, known: bool = False) -> None:
        """Unless it is given, the MTU is what outer headers of so many bytes leave of the lower device's.

        otherwise  what the kernel takes where no lower device is known
        known      only where the lower device's own MTU is given; else the kernel sees better what becomes of it
        """
        mine, lower = self.__dict__, lower_device(declaration, self)
        left = rest(lower, overhead) if lower is not None else None
        mine["left"] = otherwise if left is None else left
        if mine["mtu"] is None and not (known and lower is not None and lower.mtu is None):
            mine["mtu"] = left

    def initial(self, name: str) -> Any:
        """The MTU is what is left."""
        return self.__dict__["left"] if name == "mtu" else super().initial(name)


def rest(lower: Link, overhead: int) -> int | None:
    """What a lower device leaves."""
    mtu = lower.mtu if lower.mtu is not None else lower.initial("mtu")
    return mtu - overhead if mtu is not None else None


def lower_device(declaration: Declaration, upper: Link) -> Link | None:
    """The lower device of a tunnel: its `dev`, else the declared link of the netns that has the address `local`, else
    the one in whose network `remote` is."""
    mine = upper.__dict__
    if mine.get("dev") is not None:
        found: Link = mine["dev"]
        return found
    local, remote = mine.get("local"), mine.get("remote")
    if not local and not remote:
        return None
    where = upper.netns_name
    near: list[tuple[int, Link]] = []
    for link in declaration.resources:
        if not isinstance(link, Link) or link is upper or link.broken or link.netns_name != where:
            continue
        for cidr in link.addresses:
            if local and cidr.partition("/")[0] == local:
                return link
            if remote and network_of(cidr).holds(remote):
                near.append((int(cidr.partition("/")[2]), link))
    return max(near, key=lambda found: found[0])[1] if near else None
