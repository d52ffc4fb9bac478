"""All kinds, in one explicit list."""

from __future__ import annotations

from netdsl.kinds.address import Address
from netdsl.kinds.bridge import Bridge
from netdsl.kinds.fdb_entry import FdbEntry
from netdsl.kinds.link import FALLBACK_LINKS, LINK_KINDS
from netdsl.kinds.link_dump import LINKS
from netdsl.kinds.neighbor import Neighbor
from netdsl.kinds.netns import Netns
from netdsl.kinds.route import Route
from netdsl.kinds.sysctl import Sysctl
from netdsl.kinds.veth import Veth, VethEnd
from netdsl.kinds.vxlan import Vxlan
from netdsl.lang.resource import Resource

KINDS: dict[str, type[Resource]] = {
    cls.word: cls for cls in (Netns, Sysctl, Bridge, Veth, VethEnd, Vxlan, Address, Neighbor, FdbEntry, Route)
}
"""The kernel's word -> class."""

LINK_KINDS.update({cls.kernel or cls.word: cls for cls in (Bridge, VethEnd, Veth, Vxlan)})

__all__ = ["FALLBACK_LINKS", "KINDS", "LINKS"]
