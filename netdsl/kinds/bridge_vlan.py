"""BridgeVlan: a VLAN on a bridge port or on a bridge itself (bridge-vlan(8); net/bridge/br_vlan.c)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from struct import Struct
from typing import Any

from netdsl import wire
from netdsl.kinds.link import Link
from netdsl.kinds.link_dump import IFLA_EXT_MASK
from netdsl.kinds.ranges import expand, numeral
from netdsl.kinds.shell import netns_option, quote
from netdsl.lang.declaration import Declaration
from netdsl.lang.dump import Dump, Scope
from netdsl.lang.item import Have, Item, Key
from netdsl.lang.ops import Env, Op, Send
from netdsl.lang.property import DERIVED, kind, prop
from netdsl.lang.resource import Resource
from netdsl.lang.values import FLAG, choice, reference

RTM_DELLINK, RTM_GETLINK, RTM_SETLINK = 17, 18, 19
AF_BRIDGE = 7
IFLA_MASTER, IFLA_AF_SPEC = 10, 26
RTEXT_FILTER_BRVLAN_COMPRESSED = 4
BRIDGE_FLAGS, VLAN_INFO = 0, 2
FLAGS_SELF = 2
PVID, UNTAGGED, RANGE_BEGIN, RANGE_END = 2, 4, 8, 16
FIRST_VID, LAST_VID = 1, 4094
KERNEL_DEFAULT_PVID = 1

_FLAGS = Struct("=H")
_VLAN = Struct("=HH")
"""struct bridge_vlan_info: flags, vid."""


def _check_vid(name: Any) -> str:
    """A VLAN ID as a number, or as a string of digits."""
    return numeral(name, "a VLAN ID", FIRST_VID, LAST_VID)


@kind
class BridgeVlan(Resource):
    """A VLAN that a bridge port, or the bridge itself, is a member of. Its name is the VLAN ID, 1 to 4094.

    Links have short forms for it: `vlans=[10, "20-29"]`, tagged, and `pvid=10`, the VLAN of untagged frames. The bridge
    needs `vlan_filtering=True`. By itself the kernel makes each port a member of VLAN 1, untagged, and leaves it
    there when the port gets another pvid: `vlan_default_pvid=0` on the bridge turns that off.
    """

    word = "bridge-vlan"
    family = "bridge-vlan"
    phase = 30
    requires = "CONFIG_BRIDGE_VLAN_FILTERING"
    check_name = staticmethod(_check_vid)

    dev: Link = prop(reference("a link"), word="dev", doc="the bridge port, or the bridge")
    pvid: bool = prop(FLAG, default=False, doc="untagged frames that come in belong to this VLAN; one VLAN a port")
    untagged: bool = prop(FLAG, default=False, doc="frames of this VLAN go out without a tag")
    on: str = prop(
        choice("self", "master"), default=DERIVED, replace=True,
        doc="whose VLAN: the bridge's own, or its port's; to be given only for the bridge of a Link.get",
    )  # fmt: skip
    bridge: Link | None = prop(
        reference("a Bridge", "bridge"), default=None, init=False, doc="the bridge; dev's master"
    )

    def complete(self, declaration: Declaration) -> None:
        """Find the bridge, and check that it tells VLANs apart and that no other one claims the same."""
        mine, dev = self.__dict__, self.dev
        itself = dev.word == "bridge"
        right = "self" if itself else "master"
        if dev.word and self.on not in (None, right):
            return self.fault(f"{self.title}: on is {right!r} for {dev.title}, not {self.on!r}")
        mine["on"] = self.on or right
        bridge = dev if itself else dev.master
        if getattr(bridge, "word", None) not in ("bridge", ""):
            if dev.word:
                self.fault(f"{self.title}: {dev.title} is neither a Bridge nor has it one as its master")
            return None
        mine["bridge"] = bridge
        self._check_bridge(bridge)
        if self.pvid:
            first = dev.__dict__.setdefault("access_vlan", self)
            if first is not self:
                self.fault(
                    f"{self.title}: {dev.title} has VLAN {first.name} as its pvid already; a port takes one",
                    f"The other one is declared at {first.where}.",
                )
        return None

    def _check_bridge(self, bridge: Any) -> None:
        if bridge.word and not bridge.broken:
            if bridge.vlan_filtering is None:
                self.fault(f"{self.title}: {bridge.title} does not tell VLANs apart", "Give it vlan_filtering=True.")
            default = KERNEL_DEFAULT_PVID if bridge.vlan_default_pvid is None else bridge.vlan_default_pvid
            if int(self.name) == default:
                self.fault(
                    f"{self.title}: the kernel itself makes all ports of {bridge.title} members of VLAN {default}",
                    "Give the bridge vlan_default_pvid=0, and each port the VLANs that it is to have.",
                )

    @property
    def logical_name(self) -> str:
        """One VLAN is on several ports."""
        return f"{self.name} dev {self.dev.name}"

    @classmethod
    def identity(cls, netns: str, name: str, props: Mapping[str, Any]) -> Key:
        """Link and VLAN ID."""
        return (cls.family, netns, props["dev"], name.partition(" ")[0])

    @classmethod
    def create(cls, item: Item, env: Env) -> Sequence[Op]:
        """RTM_SETLINK; a VLAN that is there takes the new flags."""
        flags = (PVID if item.props["pvid"] else 0) | (UNTAGGED if item.props["untagged"] else 0)
        return [Send(RTM_SETLINK, 0, cls._body(item, env, flags))]

    @classmethod
    def update(cls, item: Item, changed: Mapping[str, Any], env: Env) -> Sequence[Op]:
        """The same message."""
        return cls.create(item, env)

    @classmethod
    def delete(cls, item: Item, env: Env) -> Sequence[Op]:
        """RTM_DELLINK of the VLAN alone."""
        return [Send(RTM_DELLINK, 0, cls._body(item, env, 0))]

    @classmethod
    def _body(cls, item: Item, env: Env, flags: int) -> bytes:
        owner = wire.attr(BRIDGE_FLAGS, _FLAGS.pack(FLAGS_SELF)) if item.props["on"] == "self" else b""
        vlan = wire.attr(VLAN_INFO, _VLAN.pack(flags, int(item.key[3])))
        header = wire.IFINFO.pack(AF_BRIDGE, 0, env.ifindex(item.netns, item.props["dev"]), 0, 0)
        return header + wire.nest(IFLA_AF_SPEC, owner + vlan)

    @classmethod
    def commands(cls, action: str, item: Item, changed: Mapping[str, Any], env: Env) -> Sequence[str]:
        """`bridge vlan`."""
        if action == "finish":
            return []
        words = f"vlan {'del' if action == 'delete' else 'add'} vid {item.key[3]} dev {quote(item.props['dev'])}"
        if action != "delete":
            words += "".join(f" {word}" for word in ("pvid", "untagged") if item.props[word])
        return [f"bridge {netns_option(item.netns)}{words}{' self' if item.props['on'] == 'self' else ''}"]


def declare_vlans(link: Link, vlans: Any, pvid: Any) -> None:
    """What the short forms on a link stand for: `vlans` tagged, `pvid` untagged whether it is among them or not."""
    opts, word = link.opts.inherited(), "vlans"
    try:
        vids = dict.fromkeys(expand(vlans, _check_vid, "VLAN IDs"))
        word = "pvid"
        access = None if pvid is None else _check_vid(pvid)
    except ValueError as wrong:
        return link.fault(f"{link.title}: {word}: {wrong}")
    if access is not None:
        vids[access] = None
    for vid in vids:
        BridgeVlan(vid, dev=link, pvid=vid == access, untagged=vid == access, netns=link.netns, opts=opts)
    return None


def _body(scope: Scope) -> bytes | None:
    if not scope.wanted(BridgeVlan.family):
        return None
    header = wire.IFINFO.pack(AF_BRIDGE, 0, 0, 0, 0)
    return header + wire.attr_u32(IFLA_EXT_MASK, RTEXT_FILTER_BRVLAN_COMPRESSED)


def _read(buffer: bytes, start: int, end: int, scope: Scope) -> None:
    ifindex = wire.IFINFO.unpack_from(buffer, start)[2]
    found = wire.attrs(buffer, start + 16, end)
    if IFLA_MASTER not in found or IFLA_AF_SPEC not in found:
        return
    master = wire.U32.unpack(found[IFLA_MASTER])[0]
    dev, bridge = scope.links.get(ifindex, ""), scope.links.get(master, "")
    on = "self" if master == ifindex else "master"
    above = scope.found.get(("link", scope.netns, bridge))
    default = above.props.get("vlan_default_pvid") if above is not None else None
    first = 0
    for number, payload in wire.attr_list(found[IFLA_AF_SPEC]):
        if number != VLAN_INFO:
            continue
        flags, vid = _VLAN.unpack(payload)
        if flags & RANGE_BEGIN:
            first = vid
            continue
        if vid == default and flags & PVID and flags & UNTAGGED:
            continue  # the bridge's doing: it goes when vlan_default_pvid is set to what the program says
        props = {"dev": dev, "pvid": bool(flags & PVID), "untagged": bool(flags & UNTAGGED), "on": on, "bridge": bridge}
        for each in range(first if flags & RANGE_END else vid, vid + 1):
            scope.found[(BridgeVlan.family, scope.netns, dev, str(each))] = Have(BridgeVlan.word, dict(props))


BRIDGE_VLANS = Dump("VLANs of bridges", RTM_GETLINK, _body, _read)
BridgeVlan.dumps = (BRIDGE_VLANS,)
