"""Neighbor: a permanent entry of the ARP or ND table (net/core/neighbour.c)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from struct import Struct
from typing import Any

from netdsl import wire
from netdsl.kinds.link import Link
from netdsl.kinds.shell import ip, quote
from netdsl.lang.dump import Dump, Scope
from netdsl.lang.item import Have, Item, Key
from netdsl.lang.naming import BY_PROTOCOL
from netdsl.lang.ops import Env, Op, Send
from netdsl.lang.property import kind, prop
from netdsl.lang.resource import Resource
from netdsl.lang.values import MAC, check_ip, is_v6, pack_ip, pack_mac, reference, unpack_ip, unpack_mac

RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH = 28, 29, 30
NDA_DST, NDA_LLADDR, NDA_PROTOCOL = 1, 2, 12
NUD_PERMANENT = 0x80
NTF_PROXY = 0x08
AF_UNSPEC, AF_INET, AF_INET6 = 0, 2, 10
PROTOCOL = 78
"""Our mark on neighbours (NDA_PROTOCOL), the same number as on routes."""
NDMSG = Struct("=BxxxiHBB")
"""struct ndmsg: family, ifindex, state, flags, type."""


@kind
class Neighbor(Resource):
    """A permanent neighbour entry: which MAC address an IP address has on a link. Its name is the IP address."""

    word = "neighbor"
    family = "neighbor"
    phase = 60
    check_name = staticmethod(check_ip)

    dev: Link = prop(reference("a link"), word="dev", doc="the link")
    lladdr: str = prop(MAC, word="lladdr", doc="the neighbour's MAC address")

    @property
    def logical_name(self) -> str:
        """One address may be known on several links."""
        return f"{self.name} dev {self.dev.name}"

    @classmethod
    def identity(cls, netns: str, name: str, props: Mapping[str, Any]) -> Key:
        """Link and IP address."""
        return ("neighbor", netns, props["dev"], name.partition(" ")[0])

    @classmethod
    def falls_with(cls, item: Item, lost: Item, staying: Sequence[Item]) -> bool:
        """IPv4 entries go with the last IPv4 address of their link (fib_disable_ip, arp_ifdown)."""
        dev = item.props["dev"]
        return (
            lost.key[0] == "address"
            and lost.props["dev"] == dev
            and not is_v6(item.key[3])
            and not is_v6(lost.props["address"])
            and not any(other.props["dev"] == dev and not is_v6(other.props["address"]) for other in staying)
        )

    @classmethod
    def create(cls, item: Item, env: Env) -> Sequence[Op]:
        """RTM_NEWNEIGH; an entry that the kernel learned or failed to learn gives way."""
        body = cls._body(item, env) + wire.attr(NDA_LLADDR, pack_mac(item.props["lladdr"]))
        return [Send(RTM_NEWNEIGH, wire.F_CREATE | wire.F_REPLACE, body + wire.attr(NDA_PROTOCOL, bytes([PROTOCOL])))]

    @classmethod
    def update(cls, item: Item, changed: Mapping[str, Any], env: Env) -> Sequence[Op]:
        """The same message."""
        return cls.create(item, env)

    @classmethod
    def delete(cls, item: Item, env: Env) -> Sequence[Op]:
        """RTM_DELNEIGH."""
        return [Send(RTM_DELNEIGH, 0, cls._body(item, env))]

    @classmethod
    def _body(cls, item: Item, env: Env) -> bytes:
        packed = pack_ip(item.key[3])
        family = AF_INET if len(packed) == 4 else AF_INET6
        header = NDMSG.pack(family, env.ifindex(item.netns, item.props["dev"]), NUD_PERMANENT, 0, 0)
        return header + wire.attr(NDA_DST, packed)

    @classmethod
    def commands(cls, action: str, item: Item, changed: Mapping[str, Any], env: Env) -> Sequence[str]:
        """`ip neigh`."""
        if action == "finish":
            return []
        address, dev = item.key[3], quote(item.props["dev"])
        if action == "delete":
            return [ip(item.netns, f"neigh del {address} dev {dev}")]
        words = f"neigh replace {address} lladdr {item.props['lladdr']} dev {dev} nud permanent protocol {PROTOCOL}"
        return [ip(item.netns, words)]


def _body(scope: Scope) -> bytes | None:
    keys = scope.wanted("neighbor")
    if not keys:
        return None
    return NDMSG.pack(AF_UNSPEC if any(is_v6(key[3]) for key in keys) else AF_INET, 0, 0, 0, 0)


def _read(buffer: bytes, start: int, end: int, scope: Scope) -> None:
    _, ifindex, state, flags, _ = NDMSG.unpack_from(buffer, start)
    if not state & NUD_PERMANENT or flags & NTF_PROXY:
        return
    found = wire.attrs(buffer, start + 12, end)
    if NDA_DST not in found or NDA_LLADDR not in found:
        return
    dev = scope.links.get(ifindex, "")
    props = {"dev": dev, "lladdr": unpack_mac(found[NDA_LLADDR])}
    marks = BY_PROTOCOL if found.get(NDA_PROTOCOL, b"")[:1] == bytes((PROTOCOL,)) else ()
    scope.found[("neighbor", scope.netns, dev, unpack_ip(found[NDA_DST]))] = Have("neighbor", props, marks=marks)


NEIGHBORS = Dump("neighbours", RTM_GETNEIGH, _body, _read)
Neighbor.dumps = (NEIGHBORS,)
