"""The lower device of a tunnel, and what it leaves of its MTU."""

from __future__ import annotations

from netdsl.kinds.link import Link
from netdsl.lang.declaration import Declaration


def lower_mtu(declaration: Declaration, netns: str, dev: Link | None, local: str | None, overhead: int) -> int | None:
    """The MTU that is left when outer headers of `overhead` bytes are taken off the lower device's.

    The lower device is `dev`, else the declared link of the netns that has the address `local`. None: it is not known.
    """
    lower = dev if dev is not None else _holder(declaration, netns, local)
    if lower is None:
        return None
    mtu = lower.mtu if lower.mtu is not None else type(lower).properties["mtu"].kernel
    return mtu - overhead if mtu is not None else None


def _holder(declaration: Declaration, netns: str, address: str | None) -> Link | None:
    links = (r for r in declaration.resources if isinstance(r, Link) and r.netns_name == netns) if address else ()
    return next((link for link in links if address in {cidr.partition("/")[0] for cidr in link.addresses}), None)
