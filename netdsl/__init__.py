"""netdsl: the Linux network stack, declared in Python. These are the names that the author of a stack imports."""

from netdsl.components.vxlan_peer import VxlanPeer
from netdsl.kinds.address import Address
from netdsl.kinds.bridge import Bridge
from netdsl.kinds.fdb_entry import FdbEntry
from netdsl.kinds.link import Link
from netdsl.kinds.neighbor import Neighbor
from netdsl.kinds.netns import Netns
from netdsl.kinds.route import Route
from netdsl.kinds.sysctl import Sysctl
from netdsl.kinds.veth import Veth, VethEnd
from netdsl.kinds.vxlan import Vxlan
from netdsl.lang.component import Component
from netdsl.lang.item import Opts
from netdsl.lang.stack import stack

__all__ = [
    "Address",
    "Bridge",
    "Component",
    "FdbEntry",
    "Link",
    "Neighbor",
    "Netns",
    "Opts",
    "Route",
    "Sysctl",
    "Veth",
    "VethEnd",
    "Vxlan",
    "VxlanPeer",
    "stack",
]
