"""Nexthop and NexthopGroup: nexthops that routes refer to by number (linux/nexthop.h; net/ipv4/nexthop.c)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from errno import ENETDOWN
from struct import Struct
from typing import Any, TypeAlias, Union

from netdsl import wire
from netdsl.kinds.gateway import on_link
from netdsl.kinds.hop import check_weight
from netdsl.kinds.link import Link
from netdsl.kinds.link_wire import IFF_UP, RTM_NEWLINK
from netdsl.kinds.netns import LOOPBACK
from netdsl.kinds.shell import ip
from netdsl.lang import naming
from netdsl.lang.declaration import Declaration
from netdsl.lang.dump import Dump, Scope
from netdsl.lang.item import Gone, Have, Item, Key, Need, Relation, World
from netdsl.lang.ops import Env, Op, Send
from netdsl.lang.property import DERIVED, kind, prop
from netdsl.lang.resource import Resource
from netdsl.lang.values import BOOL, IP, ValueType, choice, is_v6, pack_ip, reference, u32, unpack_ip

RTM_NEWNEXTHOP, RTM_DELNEXTHOP, RTM_GETNEXTHOP = 104, 105, 106
NHA_ID, NHA_GROUP, NHA_BLACKHOLE, NHA_OIF, NHA_GATEWAY = 1, 2, 4, 5, 6
RTNH_F_ONLINK = 4
PROTOCOL = 78
"""Our mark on nexthops (nh_protocol), the same number as on routes."""
FAMILIES = {"inet": 2, "inet6": 10}
_FAMILY_NAMES = {number: name for name, number in FAMILIES.items()}
_NHMSG = Struct("=BBBBI")
"""struct nhmsg: family, scope, protocol, reserved, flags."""
_MEMBER = Struct("=IBBH")
"""struct nexthop_grp: id, weight less one, its high byte (from Linux 6.12), reserved."""
WEIGHT_MOST = 255
"""What every kernel takes (nh_check_attr_group), one less than in a route's own paths."""
_FIRST_ID, _IDS = 1 << 30, 1 << 30
"""Where derived numbers begin and how many there are: beyond those that the kernel and people choose."""

Member: TypeAlias = Union["Nexthop", "tuple[Nexthop, int]"]
"""A member of a group: a nexthop, or one with its weight."""


def _no_bytes(_value: Any) -> Any:
    raise TypeError("this property is encoded by its kind")


def _check_members(value: Any) -> list[tuple[Nexthop, int]]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ValueError(f"must be a list of Nexthops or (Nexthop, weight) pairs, not {value!r}")
    if not value:
        raise ValueError("must not be empty: a group has at least one Nexthop")
    found: list[tuple[Nexthop, int]] = []
    for part in value:
        hop, weight = part if isinstance(part, tuple) and len(part) == 2 else (part, 1)
        if not isinstance(hop, Nexthop):
            raise ValueError(f"must hold Nexthops or (Nexthop, weight) pairs, not {part!r}")
        check_weight(weight, repr(hop.name), WEIGHT_MOST)
        if any(other is hop for other, _ in found):
            raise ValueError(f"must differ; {hop.name!r} is there twice: give it a weight instead")
        found.append((hop, weight))
    return found


def _check_nexthop(value: Any) -> NexthopBase:
    if isinstance(value, NexthopBase):
        return value
    raise ValueError(f"must be a Nexthop or a NexthopGroup, not {value!r}")


_ID = u32(1)


def _check_recorded(value: Any) -> list[dict[str, int]]:
    if not isinstance(value, list) or not all(
        isinstance(part, dict) and set(part) == {"id", "weight"} for part in value
    ):
        raise ValueError(f"must be a list of mappings of id and weight, not {value!r}")
    for part in value:
        _ID.check(part["id"])
        check_weight(part["weight"], str(part["id"]), WEIGHT_MOST)
    return value


MEMBERS = ValueType(
    "list of Nexthop or (Nexthop, weight)", _check_members, _no_bytes, _no_bytes, recorded=_check_recorded
)
"""Its normal form is a list of mappings of id and weight, sorted by id."""
NEXTHOP = ValueType("Nexthop or NexthopGroup", _check_nexthop, _no_bytes, _no_bytes, recorded=_ID.check)
"""Its normal form is the number of the nexthop."""


@kind
class NexthopBase(Resource):
    """What a nexthop and a group of them have in common: the number, and the messages."""

    family = "nexthop"
    phase = 65
    whole = True
    passing = (ENETDOWN,)  # the carrier of a bridge comes some time after that of its first port (linkwatch_event)

    id: int = prop(
        u32(1),
        default=DERIVED,
        word="id",
        doc="its number in the netns; derived from stack, netns and name unless given",
    )

    def complete(self, declaration: Declaration) -> None:
        """Derive the number."""
        if self.id is None:
            names = (declaration.stack, self.netns_name, self.component, self.word, self.name)
            number = int.from_bytes(naming.digest("\0".join(names), 4), "big")
            self.__dict__["id"] = _FIRST_ID + number % _IDS

    @property
    def families(self) -> set[str]:
        """The address families of its packets' way."""
        raise NotImplementedError

    @classmethod
    def identity(cls, netns: str, name: str, props: Mapping[str, Any]) -> Key:
        """Its number."""
        return ("nexthop", netns, props["id"])

    @classmethod
    def create(cls, item: Item, env: Env) -> Sequence[Op]:
        """RTM_NEWNEXTHOP."""
        return [Send(RTM_NEWNEXTHOP, wire.F_CREATE | wire.F_EXCL, cls.body(item, env))]

    @classmethod
    def update(cls, item: Item, changed: Mapping[str, Any], env: Env) -> Sequence[Op]:
        """RTM_NEWNEXTHOP that replaces the one of the same number; routes and groups go on using it."""
        return [Send(RTM_NEWNEXTHOP, wire.F_CREATE | wire.F_REPLACE, cls.body(item, env))]

    @classmethod
    def delete(cls, item: Item, env: Env) -> Sequence[Op]:
        """RTM_DELNEXTHOP by number."""
        return [Send(RTM_DELNEXTHOP, 0, _NHMSG.pack(0, 0, 0, 0, 0) + wire.attr_u32(NHA_ID, item.props["id"]))]

    @classmethod
    def body(cls, item: Item, env: Env) -> bytes:
        """The message without its header."""
        raise NotImplementedError

    @classmethod
    def commands(cls, action: str, item: Item, changed: Mapping[str, Any], env: Env) -> Sequence[str]:
        """`ip nexthop`."""
        if action == "finish":
            return []
        props = item.props
        if action == "delete":
            return [ip(item.netns, f"nexthop del id {props['id']}")]
        words = f"{'-6 ' if props.get('inet') == 'inet6' else ''}nexthop {'add' if action == 'create' else 'replace'}"
        words += f" id {props['id']}"
        words += "".join(f" {word} {props[word]}" for word in ("via", "dev") if props.get(word) is not None)
        if "members" in props:
            words += " group " + "/".join(f"{member['id']},{member['weight']}" for member in props["members"])
        words += "".join(f" {word}" for word in ("onlink", "blackhole") if props.get(word))
        return [ip(item.netns, words + f" proto {PROTOCOL}")]


@kind
class Nexthop(NexthopBase):
    """A nexthop that any number of routes share (`Route(..., nexthop=)`); a change of it changes them all at once.

    Its name is free text. The kernel takes a nexthop only on a link that has a carrier, drops it when the carrier is
    lost, and drops its routes with it. A blackhole stands on lo, which is brought up for it.
    """

    word = "nexthop"

    via: str | None = prop(IP, default=None, word="via", kernel="", doc="gateway; on-link, or `onlink` must be set")
    dev: Link | None = prop(reference("a link"), default=None, word="dev", doc="outgoing link; a blackhole has none")
    onlink: bool | None = prop(
        BOOL, default=None, kernel=False, doc="take the gateway to be reachable on `dev` without looking"
    )
    blackhole: bool | None = prop(
        BOOL, default=None, word="blackhole", kernel=False, replace=True, doc="drop the packets"
    )
    inet: str = prop(
        choice(*FAMILIES), default=DERIVED, replace=True,
        doc='address family, "inet" or "inet6"; absent: that of via, else "inet"',
    )  # fmt: skip

    def complete(self, declaration: Declaration) -> None:
        """Check that the parts fit together, and settle the address family and the number."""
        super().complete(declaration)
        given = [word for word in ("via", "dev", "onlink") if self.__dict__[word]]
        if self.blackhole and given:
            self.fault(f"{self.title}: a blackhole has no {given[0]}")
        elif not self.blackhole and self.dev is None:
            self.fault(f"{self.title}: dev or blackhole=True is required")
        elif self.onlink and self.via is None:
            self.fault(f"{self.title}: onlink needs via")
        family = "inet6" if self.via is not None and is_v6(self.via) else "inet"
        if self.via is not None and self.inet not in (None, family):
            self.fault(f"{self.title}: via {self.via} is not of the address family {self.inet}")
        self.__dict__["inet"] = self.inet or family

    @property
    def families(self) -> set[str]:
        """Its one address family."""
        return {self.inet}

    @classmethod
    def relate(cls, item: Item, world: World) -> Relation:
        """The gateway must be on-link, and its link must have a carrier before the kernel takes it."""
        dev, via = item.props.get("dev"), item.props.get("via")
        if dev is None:
            return
        for key in dict.fromkeys(_carriers(("link", item.netns, dev), world, set())):
            yield Need(key, Gone.STAY)
        if via is not None and not item.props.get("onlink"):
            yield from on_link(item, via, dev, world)

    @classmethod
    def create(cls, item: Item, env: Env) -> Sequence[Op]:
        """For a blackhole with lo up, without which the kernel refuses it."""
        lo = [Send(RTM_NEWLINK, 0, wire.IFINFO.pack(0, 0, LOOPBACK, IFF_UP, IFF_UP))]
        return [*(lo if item.props.get("blackhole") else ()), *super().create(item, env)]

    @classmethod
    def commands(cls, action: str, item: Item, changed: Mapping[str, Any], env: Env) -> Sequence[str]:
        """`ip nexthop`, for a blackhole after `ip link set lo up`."""
        lo = [ip(item.netns, "link set lo up")] if action == "create" and item.props.get("blackhole") else []
        return [*lo, *super().commands(action, item, changed, env)]

    @classmethod
    def body(cls, item: Item, env: Env) -> bytes:
        """Gateway and link, or a blackhole."""
        props = item.props
        flags = RTNH_F_ONLINK if props.get("onlink") else 0
        packed = _NHMSG.pack(FAMILIES[props["inet"]], 0, PROTOCOL, 0, flags) + wire.attr_u32(NHA_ID, props["id"])
        if props.get("blackhole"):
            packed += wire.attr(NHA_BLACKHOLE, b"")
        if props.get("dev") is not None:
            packed += wire.attr_u32(NHA_OIF, env.ifindex(item.netns, props["dev"]))
        if props.get("via") is not None:
            packed += wire.attr(NHA_GATEWAY, pack_ip(props["via"]))
        return packed


@kind
class NexthopGroup(NexthopBase):
    """Nexthops that the flows of its routes are spread over by weight (`Route(..., nexthop=)`).

    Changing its members changes all its routes at once, and interrupts none. A member that the kernel drops leaves the
    group; with the last one the group goes, and its routes with it.
    """

    word = "nexthop-group"

    members: Sequence[Member] = prop(
        MEMBERS, doc="the nexthops, with weights of 1..255 where they are not alike: `[a, b]`, `[a, (b, 3)]`"
    )

    def complete(self, declaration: Declaration) -> None:
        """A blackhole leaves nothing to spread."""
        super().complete(declaration)
        lost = [hop.name for hop, _ in self.pairs if hop.blackhole]
        if lost and len(self.pairs) > 1:
            self.fault(f"{self.title}: the blackhole {lost[0]!r} can only be the single member of a group")

    @property
    def pairs(self) -> Sequence[tuple[Nexthop, int]]:
        """The members with their weights."""
        return self.__dict__["members"] or ()

    @property
    def families(self) -> set[str]:
        """Those of its members."""
        return {hop.inet for hop, _ in self.pairs}

    def linked(self) -> Iterator[tuple[str, Resource]]:
        """The members."""
        yield from (("members", hop) for hop, _ in self.pairs)

    def props(self) -> dict[str, Any]:
        """With the members' numbers."""
        members = sorted((hop.id, weight) for hop, weight in self.pairs)
        return {**super().props(), "members": [{"id": number, "weight": weight} for number, weight in members]}

    @classmethod
    def needs(cls, netns: str, name: str, props: Mapping[str, Any]) -> tuple[Need, ...]:
        """The members, each of which leaves it when it goes (remove_nexthop_from_groups)."""
        members = (Need(("nexthop", netns, member["id"]), Gone.RESET, "members") for member in props["members"])
        return (*super().needs(netns, name, props), *members)

    @classmethod
    def falls_with(cls, item: Item, lost: Item, staying: Sequence[Item]) -> bool:
        """It goes with the last member."""
        members = {("nexthop", item.netns, member["id"]) for member in item.props["members"]}
        return lost.key in members and not any(other.key in members for other in staying)

    @classmethod
    def body(cls, item: Item, env: Env) -> bytes:
        """The members."""
        members = [_MEMBER.pack(member["id"], member["weight"] - 1, 0, 0) for member in item.props["members"]]
        header = _NHMSG.pack(0, 0, PROTOCOL, 0, 0) + wire.attr_u32(NHA_ID, item.props["id"])
        return header + wire.attr(NHA_GROUP, b"".join(members))


def _carriers(key: Key, world: World, seen: set[Key]) -> Iterator[Key]:
    """The links that have to be up for a link to have a carrier: a veth's other end, ports, and what it is on."""
    seen.add(key)
    links = dict(world.inside(key[1], "link"))
    props = links.get(key, {})
    others = [name for name in (props.get("peer"), props.get("dev")) if name]
    found = [_key(name, key[1]) for name in others]
    found += [other for other, port in links.items() if port.get("master") == key[2]]
    for other in found:
        if other not in seen:
            yield other
            yield from _carriers(other, world, seen)


def _key(name: str, netns: str) -> Key:
    """Of a link of the same netns, or of "NETNS/NAME"."""
    other, slash, ifname = name.rpartition("/")
    return ("link", other if slash else netns, ifname)


def _body(scope: Scope) -> bytes | None:
    if not scope.wanted("nexthop"):
        return None
    return _NHMSG.pack(0, 0, 0, 0, 0)


def _read(buffer: bytes, start: int, end: int, scope: Scope) -> None:
    family, _, protocol, _, flags = _NHMSG.unpack_from(buffer, start)
    found = wire.attrs(buffer, start + _NHMSG.size, end)
    number = wire.U32.unpack(found[NHA_ID])[0]
    props: dict[str, Any] = {"id": number, "protocol": protocol}
    if NHA_GROUP in found:
        members = sorted(_MEMBER.iter_unpack(found[NHA_GROUP]))
        props["members"] = [{"id": member, "weight": 1 + less + 256 * high} for member, less, high, _ in members]
    else:
        via, dev = found.get(NHA_GATEWAY), found.get(NHA_OIF)
        props |= {
            "via": unpack_ip(via) if via is not None else "",
            "dev": scope.links.get(wire.U32.unpack(dev)[0], "") if dev is not None else None,
            "onlink": bool(flags & RTNH_F_ONLINK),
            "blackhole": NHA_BLACKHOLE in found,
            "inet": _FAMILY_NAMES.get(family, str(family)),
        }
    word = NexthopGroup.word if NHA_GROUP in found else Nexthop.word
    scope.found[("nexthop", scope.netns, number)] = Have(word, props)


NEXTHOPS = Dump("nexthops", RTM_GETNEXTHOP, _body, _read)
Nexthop.dumps = NexthopGroup.dumps = (NEXTHOPS,)
