"""FdbEntry: a permanent forwarding database entry of a vxlan or a bridge port (bridge-fdb(8); net/core/rtnetlink.c)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from netdsl import wire
from netdsl.kinds.link import Link
from netdsl.kinds.neighbor import NDA_DST, NDA_LLADDR, NDMSG, NUD_PERMANENT, RTM_DELNEIGH, RTM_GETNEIGH, RTM_NEWNEIGH
from netdsl.kinds.shell import netns_option, quote
from netdsl.lang.declaration import Declaration
from netdsl.lang.dump import Dump, Scope
from netdsl.lang.item import Have, Item, Key, Props
from netdsl.lang.ops import Env, Op, Send
from netdsl.lang.property import kind, prop
from netdsl.lang.resource import Resource
from netdsl.lang.values import IP, MAC, be16, choice, pack_ip, pack_mac, reference, u32, unpack_ip, unpack_mac

AF_BRIDGE = 7
NTF_SELF, NTF_MASTER = 0x02, 0x04
NUD_NOARP = 0x40
NDA_PORT, NDA_VNI, NDA_MASTER = 6, 7, 9
FLOOD = "00:00:00:00:00:00"
"""The entry for all unknown and multicast destinations; there can be several, one a remote."""

_PORT, _VNI = be16(1), u32(0, 2**24 - 1)


@kind
class FdbEntry(Resource):
    """Where frames to a MAC address go. Its name is the MAC address; all zeroes is for unknown destinations."""

    word = "fdb"
    family = "fdb"
    phase = 61
    whole = True
    check_name = staticmethod(MAC.check)

    dev: Link = prop(reference("a link"), word="dev", doc="the vxlan, or the bridge port")
    dst: str | None = prop(IP, default=None, word="dst", doc="vxlan: the remote vtep's address")
    port: int | None = prop(
        _PORT, default=None, word="port", kernel="", doc="vxlan: the remote vtep's UDP port, if another"
    )
    vni: int | None = prop(_VNI, default=None, word="vni", kernel="", doc="vxlan: the remote VNI, if another")
    on: str = prop(
        choice("self", "master"), default="self", replace=True, doc="whose fdb: the link's own, or its bridge's"
    )

    def complete(self, declaration: Declaration) -> None:
        """A flood entry is told from others by its remote."""
        if self.dst is None and (self.name == FLOOD or (self.dev.word == "vxlan" and self.on == "self")):
            what = "the entry for unknown destinations" if self.name == FLOOD else "an entry of a vxlan"
            self.fault(f"{self.title}: {what} needs dst")
        for word in ("port", "vni"):
            if self.dev.word == "vxlan" and self.__dict__[word] == (getattr(self.dev, word) or self.dev.initial(word)):
                self.__dict__[word] = None  # the kernel does not show what the vxlan itself says (vxlan_fdb_info)

    @property
    def logical_name(self) -> str:
        """One address may be on several links, the flood entry several times on one."""
        return f"{self.name} dev {self.dev.name}" + (f" dst {self.dst}" if self.name == FLOOD else "")

    @classmethod
    def identity(cls, netns: str, name: str, props: Mapping[str, Any]) -> Key:
        """Link, MAC, whose fdb, and for flood entries the remote."""
        mac = name.partition(" ")[0]
        return ("fdb", netns, props["dev"], mac, props["on"], props["dst"] if mac == FLOOD else "")

    @classmethod
    def create(cls, item: Item, env: Env) -> Sequence[Op]:
        """RTM_NEWNEIGH in AF_BRIDGE; a flood entry is appended, a learned one gives way."""
        flags = wire.F_APPEND if item.key[3] == FLOOD else wire.F_REPLACE
        return [Send(RTM_NEWNEIGH, wire.F_CREATE | flags, cls._body(item, env))]

    @classmethod
    def update(cls, item: Item, changed: Mapping[str, Any], env: Env) -> Sequence[Op]:
        """The same message."""
        return cls.create(item, env)

    @classmethod
    def standing(cls, item: Item, have: Have) -> Props:
        """With the remote that it has now: a link has one entry for a MAC address."""
        return {**item.props, **{word: have.props[word] for word in ("dst", "port", "vni") if word in have.props}}

    @classmethod
    def delete(cls, item: Item, env: Env) -> Sequence[Op]:
        """RTM_DELNEIGH with every key."""
        return [Send(RTM_DELNEIGH, 0, cls._body(item, env))]

    @classmethod
    def _body(cls, item: Item, env: Env) -> bytes:
        props = item.props
        flags = NTF_SELF if props["on"] == "self" else NTF_MASTER
        ifindex = env.ifindex(item.netns, props["dev"])
        body = NDMSG.pack(AF_BRIDGE, ifindex, NUD_NOARP | NUD_PERMANENT, flags, 0)
        body += wire.attr(NDA_LLADDR, pack_mac(item.key[3]))
        if props.get("dst"):
            body += wire.attr(NDA_DST, pack_ip(props["dst"]))
        if props.get("port"):
            body += wire.attr(NDA_PORT, _PORT.pack(props["port"]))
        if props.get("vni") not in (None, ""):
            body += wire.attr(NDA_VNI, _VNI.pack(props["vni"]))
        return body

    @classmethod
    def commands(cls, action: str, item: Item, changed: Mapping[str, Any], env: Env) -> Sequence[str]:
        """`bridge fdb`."""
        if action == "finish":
            return []
        mac, props = item.key[3], item.props
        verb = "del" if action == "delete" else "append" if mac == FLOOD else "replace"
        words = f"fdb {verb} {mac} dev {quote(props['dev'])}"
        for word in ("dst", "port", "vni"):
            if props.get(word) not in (None, ""):
                words += f" {word} {props[word]}"
        return [f"bridge {netns_option(item.netns)}{words} {props['on']} permanent"]


def _body(scope: Scope) -> bytes | None:
    devices = {key[2] for key in scope.wanted("fdb")}
    here = devices and [ifindex for ifindex, name in scope.links.items() if name in devices]
    if not here:
        return None
    # Of one link only its own entries (rtnl_fdb_dump): each bridge and port has a score that nobody asked for.
    return NDMSG.pack(AF_BRIDGE, here[0] if len(here) == 1 else 0, 0, 0, 0)


def _read(buffer: bytes, start: int, end: int, scope: Scope) -> None:
    family, ifindex, state, _, _ = NDMSG.unpack_from(buffer, start)
    if family != AF_BRIDGE or not state & NUD_PERMANENT:
        return
    found = wire.attrs(buffer, start + 12, end)
    if NDA_LLADDR not in found:
        return
    dev, mac = scope.links.get(ifindex, ""), unpack_mac(found[NDA_LLADDR])
    on = "master" if NDA_MASTER in found else "self"
    dst = unpack_ip(found[NDA_DST]) if NDA_DST in found else ""
    props = {
        "dev": dev,
        "dst": dst,
        "port": _PORT.unpack(found[NDA_PORT]) if NDA_PORT in found else "",
        "vni": _VNI.unpack(found[NDA_VNI]) if NDA_VNI in found else "",
        "on": on,
    }
    scope.found[("fdb", scope.netns, dev, mac, on, dst if mac == FLOOD else "")] = Have("fdb", props)


FDB = Dump("fdb", RTM_GETNEIGH, _body, _read)
FdbEntry.dumps = (FDB,)
