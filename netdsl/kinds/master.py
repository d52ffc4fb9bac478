"""What a link can be a port of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netdsl.lang.values import reference

if TYPE_CHECKING:
    from netdsl.kinds.link import Link

MASTER = reference("a Bridge, a Bond or a Vrf", "bridge", "bond", "vrf")


def check_master(link: Link) -> None:
    """Its master takes such links, and is a bridge where it has options of a bridge's port."""
    master = link.master
    word = getattr(master, "word", None)
    if master is not None and word in link.shunned:
        link.fault(f"{link.title}: {master.title} takes no {link.sort} as a port")
    port = [p.name for p in link.places()["port"] if link.__dict__[p.name] is not None]
    if port and word not in ("bridge", ""):
        link.fault(f"{link.title}: {port[0]} needs a Bridge as its master")
