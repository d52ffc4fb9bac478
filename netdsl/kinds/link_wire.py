"""Numbers and messages of links (linux/rtnetlink.h, linux/if_link.h) that several kinds need."""

from __future__ import annotations

from netdsl import wire
from netdsl.lang.ops import Probe, Send

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_NEWLINKPROP, RTM_DELLINKPROP = 16, 17, 18, 108, 109
IFLA_IFNAME, IFLA_LINKINFO, IFLA_NET_NS_FD = 3, 18, 28
IFLA_PROP_LIST, IFLA_ALT_IFNAME = 52, 53
INFO_KIND, INFO_DATA, INFO_SLAVE_KIND, INFO_SLAVE_DATA = 1, 2, 4, 5
IFF_UP = 1
ETHERTYPES = {"802.1Q": 0x8100, "802.1ad": 0x88A8}
"""VLAN protocols as `ip` calls them (linux/if_ether.h)."""


def mark_op(
    ifindex: int, altname: str, kind: int = RTM_NEWLINKPROP, flags: int = wire.F_CREATE | wire.F_EXCL | wire.F_APPEND
) -> Send:
    """The message that adds an altname, or with RTM_DELLINKPROP takes it away."""
    names = wire.nest(IFLA_PROP_LIST, wire.attr(IFLA_ALT_IFNAME, altname.encode() + b"\0"))
    return Send(kind, flags, wire.IFINFO.pack(0, 0, ifindex, 0, 0) + names)


def link_probe(kernel: str, option: str, packed: bytes = b"", what: str = "") -> Probe:
    """Whether there is a kind of link, or (`what`) one with such data: the unknown is refused before anything else.

    Without a name, which another probe's link could have: that it is taken would be said first.
    """
    info = wire.attr(INFO_KIND, kernel.encode()) + (wire.nest(INFO_DATA, packed) if packed else b"")
    body = wire.IFINFO.pack(0, 0, 0, 0, 0) + wire.nest(IFLA_LINKINFO, info)
    return Probe(what or kernel, option, Send(RTM_NEWLINK, wire.F_CREATE | wire.F_EXCL, body))


def port_info(packed: bytes) -> bytes:
    """IFLA_LINKINFO with a bridge port's options."""
    return wire.nest(IFLA_LINKINFO, wire.attr(INFO_SLAVE_KIND, b"bridge") + wire.nest(INFO_SLAVE_DATA, packed))
