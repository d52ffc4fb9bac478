"""VxlanVni: a VNI that a vxlan with a filter accepts (bridge-vni(8); drivers/net/vxlan/vxlan_vnifilter.c)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from struct import Struct
from typing import Any

from netdsl import wire
from netdsl.kinds.ranges import expand, numeral
from netdsl.kinds.shell import netns_option, option, quote
from netdsl.kinds.vxlan import VNI_MOST, Vxlan
from netdsl.lang.declaration import Declaration
from netdsl.lang.dump import Dump, Scope
from netdsl.lang.item import Have, Item, Key
from netdsl.lang.ops import Env, Op, Send
from netdsl.lang.property import kind, prop
from netdsl.lang.resource import Resource
from netdsl.lang.values import is_multicast, multicast_ip, pack_ip, reference, unicast_ip, unpack_ip

RTM_NEWTUNNEL, RTM_DELTUNNEL, RTM_GETTUNNEL = 120, 121, 122
AF_BRIDGE = 7
VNIFILTER_ENTRY = 1
ENTRY_START, ENTRY_END, ENTRY_GROUP, ENTRY_GROUP6 = 1, 2, 3, 4
FIRST_VNI = 1

_TUNNEL = Struct("=BBHI")
"""struct tunnel_msg: family, flags, reserved, ifindex."""


def _check_vni(name: Any) -> str:
    """A VNI as a number, or as a string of digits."""
    return numeral(name, "a VNI", FIRST_VNI, VNI_MOST)


@kind
class VxlanVni(Resource):
    """A VNI that a vxlan with `external` and `vnifilter` accepts. Its name is the VNI.

    Vxlan has a short form for it: `vnis=[10, "20-29"]`.
    """

    word = "vxlan-vni"
    family = "vxlan-vni"
    phase = 31
    requires = "CONFIG_VXLAN"
    check_name = staticmethod(_check_vni)

    dev: Vxlan = prop(reference("a Vxlan", "vxlan"), word="dev", doc="the vxlan")
    remote: str | None = prop(
        unicast_ip("; a group is mcast_group="), default=None, word="remote", kernel="",
        doc="where frames to unknown addresses go: to one vtep",
    )  # fmt: skip
    mcast_group: str | None = prop(
        multicast_ip("; a single vtep is remote="), default=None, word="group", kernel="",
        doc="where frames to unknown addresses go: to a multicast group, on the vxlan's dev",
    )  # fmt: skip

    def complete(self, declaration: Declaration) -> None:
        """The vxlan has a filter, and at most one destination is given."""
        if self.dev.word and not self.dev.broken and not self.dev.vnifilter:
            self.fault(
                f"{self.title}: {self.dev.title} has no filter of VNIs", "Give it external=True, vnifilter=True."
            )
        if self.remote and self.mcast_group:
            self.fault(f"{self.title}: remote {self.remote} and mcast_group {self.mcast_group} exclude each other")
        elif self.mcast_group and self.dev.word and self.dev.dev is None:
            self.fault(f"{self.title}: mcast_group {self.mcast_group} needs dev= at {self.dev.title}")

    @property
    def logical_name(self) -> str:
        """One VNI may be on several vxlans."""
        return f"{self.name} dev {self.dev.name}"

    @classmethod
    def identity(cls, netns: str, name: str, props: Mapping[str, Any]) -> Key:
        """Link and VNI."""
        return (cls.family, netns, props["dev"], name.partition(" ")[0])

    @classmethod
    def create(cls, item: Item, env: Env) -> Sequence[Op]:
        """RTM_NEWTUNNEL."""
        address = item.props.get("remote") or item.props.get("mcast_group")
        return [Send(RTM_NEWTUNNEL, 0, cls._body(item, env, address))]

    @classmethod
    def update(cls, item: Item, changed: Mapping[str, Any], env: Env) -> Sequence[Op]:
        """First without destination: a new one alone would leave the old one's flood entry in the fdb."""
        return [Send(RTM_NEWTUNNEL, 0, cls._body(item, env, None)), *cls.create(item, env)]

    @classmethod
    def delete(cls, item: Item, env: Env) -> Sequence[Op]:
        """RTM_DELTUNNEL."""
        return [Send(RTM_DELTUNNEL, 0, cls._body(item, env, None))]

    @classmethod
    def _body(cls, item: Item, env: Env, address: str | None) -> bytes:
        entry = wire.attr_u32(ENTRY_START, int(item.key[3]))
        if address:
            entry += wire.attr(ENTRY_GROUP6 if ":" in address else ENTRY_GROUP, pack_ip(address))
        header = _TUNNEL.pack(AF_BRIDGE, 0, 0, env.ifindex(item.netns, item.props["dev"]))
        return header + wire.nest(VNIFILTER_ENTRY, entry)

    @classmethod
    def commands(cls, action: str, item: Item, changed: Mapping[str, Any], env: Env) -> Sequence[str]:
        """`bridge vni`."""
        if action == "finish":
            return []
        words = f"vni {'delete' if action == 'delete' else 'add'} vni {item.key[3]}"
        to = "".join(
            option(cls.properties[n].word, item.props[n]) for n in ("remote", "mcast_group") if n in item.props
        )
        ends = {"delete": [""], "create": [to], "update": dict.fromkeys(["", to])}[action]
        return [f"bridge {netns_option(item.netns)}{words}{end} dev {quote(item.props['dev'])}" for end in ends]


def declare_vnis(link: Vxlan, vnis: Any) -> None:
    """What the short form on a vxlan stands for."""
    try:
        for vni in dict.fromkeys(expand(vnis, _check_vni, "VNIs")):
            VxlanVni(vni, dev=link, netns=link.netns, opts=link.opts.inherited())
    except ValueError as wrong:
        link.fault(f"{link.title}: vnis: {wrong}")


def _body(scope: Scope) -> bytes | None:
    wanted = {("link", scope.netns, key[2]) for key in scope.wanted(VxlanVni.family)}
    # A kernel that has not loaded the module yet does not know the request.
    if not any(key in scope.found and scope.found[key].kind == "vxlan" for key in wanted):
        return None
    return _TUNNEL.pack(AF_BRIDGE, 0, 0, 0)


def _read(buffer: bytes, start: int, end: int, scope: Scope) -> None:
    dev = scope.links.get(_TUNNEL.unpack_from(buffer, start)[3], "")
    for number, payload in wire.attr_list(buffer[start + _TUNNEL.size : end]):
        if number != VNIFILTER_ENTRY:
            continue
        entry = wire.attrs(payload, 0, len(payload))
        first = wire.U32.unpack(entry[ENTRY_START])[0]
        last = wire.U32.unpack(entry[ENTRY_END])[0] if ENTRY_END in entry else first
        packed = entry.get(ENTRY_GROUP) or entry.get(ENTRY_GROUP6)
        address = unpack_ip(packed) if packed else ""
        group = bool(address) and is_multicast(address)
        for vni in range(first, last + 1):
            props = {"dev": dev, "remote": "" if group else address, "mcast_group": address if group else ""}
            scope.found[(VxlanVni.family, scope.netns, dev, str(vni))] = Have(VxlanVni.word, props)


VNIS = Dump("VNIs of vxlans", RTM_GETTUNNEL, _body, _read)
VxlanVni.dumps = (VNIS,)
