"""Route: an entry of a routing table (net/ipv4/fib_frontend.c, net/ipv6/route.c; rtnetlink(7))."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from struct import Struct
from typing import Any

from netdsl import wire
from netdsl.kinds.gateway import on_link
from netdsl.kinds.hop import PATHS, RTA_MULTIPATH, Hop, lone, mixed, normal, pack_paths, spoken, unpack_paths
from netdsl.kinds.hop import words as path_words
from netdsl.kinds.link import Link
from netdsl.kinds.nexthop import NEXTHOP, NexthopBase
from netdsl.kinds.shell import ip, quote
from netdsl.lang.declaration import Declaration
from netdsl.lang.dump import Dump, Scope
from netdsl.lang.item import Gone, Have, Item, Key, Need, Props, Relation, World
from netdsl.lang.naming import BY_PROTOCOL
from netdsl.lang.ops import Env, Op, Send
from netdsl.lang.property import kind, prop
from netdsl.lang.resource import Resource
from netdsl.lang.values import BOOL, IP, NETWORK, choice, is_v6, network_of, pack_ip, reference, u32, unpack_ip

RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY, RTA_PREFSRC, RTA_TABLE, RTA_VIA, RTA_NH_ID = 1, 4, 5, 6, 7, 15, 18, 30
RTNH_F_ONLINK = 4
RTM_F_CLONED = 0x200
RT_TABLE_MAIN = 254
AF_UNSPEC, AF_INET, AF_INET6 = 0, 2, 10
PROTOCOL = 78
"""Our mark on routes: the number in rtm_protocol, which nothing in rt_protos uses."""

TYPES = {"unicast": 1, "blackhole": 6, "unreachable": 7, "prohibit": 8}
_TYPE_NAMES = {number: name for name, number in TYPES.items()}
SCOPES = {"global": 0, "site": 200, "link": 253, "host": 254}
_SCOPE_NAMES = {number: name for name, number in SCOPES.items()}
_RTMSG = Struct("=BBBBBBBBI")


_STANDING = ("via", "dev", "onlink", "paths", "nexthop", "src", "type", "scope")
"""What a delete takes as the kernel has it."""


def in_its_own_way(have: Mapping[str, Any], want: Mapping[str, Any]) -> bool:
    """Whether the route as it is would lead to its own next gateway by the old link, which IPv6 takes for a mismatch
    (ip6_route_check_nh_onlink)."""
    via, dst = want.get("via"), want["dst"]
    return bool(via and want.get("onlink") and is_v6(dst) and network_of(dst).holds(via))


@kind
class Route(Resource):
    """A route; its name is free text. The kernel knows it by table, destination and metric."""

    word = "route"
    family = "route"
    phase = 70
    whole = True

    dst: str = prop(NETWORK, word="to", doc='destination network in CIDR form; "default" is 0.0.0.0/0')
    via: str | None = prop(IP, default=None, word="via", kernel="", doc="gateway; on-link, or `onlink` must be set")
    dev: Link | None = prop(reference("a link"), default=None, word="dev", anew=in_its_own_way, doc="outgoing link")
    onlink: bool | None = prop(
        BOOL, default=None, kernel=False, doc="take the gateway to be reachable on `dev` without looking"
    )
    paths: Sequence[Hop] | None = prop(
        PATHS, default=None,
        doc="paths that flows are spread over, in place of via and dev: `[Hop(via=..., dev=..., weight=...), ...]`",
    )  # fmt: skip
    nexthop: NexthopBase | None = prop(
        NEXTHOP, default=None, word="nhid", doc="a Nexthop or NexthopGroup, in place of via and dev"
    )
    src: str | None = prop(IP, default=None, word="src", kernel="", doc="source address of packets that have none yet")
    metric: int | None = prop(
        u32(), default=None, word="metric", doc="preference, lower first; absent: 0 in IPv4, 1024 in IPv6"
    )
    table: int = prop(u32(1), default=RT_TABLE_MAIN, word="table", doc="routing table; 254 is main")
    type: str = prop(choice(*TYPES), default="unicast", doc="what happens to packets")
    scope: str | None = prop(
        choice(*SCOPES), default=None, word="scope", doc="IPv4: distance; absent: link without gateway, else global"
    )

    def complete(self, declaration: Declaration) -> None:
        """Check that the parts fit together."""
        extra = [word for word in ("via", "dev", "onlink", "paths", "nexthop") if self.__dict__[word]]
        if self.type != "unicast" and extra:
            self.fault(f"{self.title}: a {self.type} route has no {extra[0]}")
        elif self.paths is not None or self.nexthop is not None:
            self._complete_paths(extra)
        elif self.type == "unicast" and self.via is None and self.dev is None:
            self.fault(f"{self.title}: via, dev, paths or nexthop is required")
        for word, address in (("via", self.via), ("src", self.src)):
            if address is not None and is_v6(address) != is_v6(self.dst):
                self.fault(f"{self.title}: {word} {address} is not of the address family of {self.dst}")
        if self.onlink and self.dev is None and self.paths is None and self.nexthop is None:
            self.fault(f"{self.title}: onlink needs dev")
        if self.scope is not None and is_v6(self.dst):
            self.fault(f"{self.title}: scope is for IPv4 only")
        if self.__dict__["metric"] is None:
            self.__dict__["metric"] = 1024 if is_v6(self.dst) else 0
        elif self.metric == 0 and is_v6(self.dst):
            self.__dict__["metric"] = 1024

    def _complete_paths(self, given: Sequence[str]) -> None:
        """Check what stands in place of via and dev."""
        v6, paths = is_v6(self.dst), self.paths or ()
        odd = mixed(paths, v6)
        bare = next((hop.dev.name for hop in paths if hop.dev and hop.via is None), None)
        if len(given) > 1:
            hint = "onlink belongs to each Hop." if given[0] == "onlink" and "paths" in given else ""
            self.fault(f"{self.title}: {given[-1]} stands in place of {given[0]}: give one of them", hint)
        elif odd is not None:
            self.fault(f"{self.title}: path via {odd.via} is not of the address family of {self.dst}")
        elif v6 and bare is not None:
            self.fault(f"{self.title}: path dev {bare} has no via, which each path of an IPv6 route needs")
        elif v6 and self.nexthop is not None and "inet" in self.nexthop.families:
            self.fault(f"{self.title}: {self.nexthop.title} is of IPv4, which a route of IPv6 cannot use")

    def linked(self) -> Iterator[tuple[str, Resource]]:
        """Its link, those of its paths, and its nexthop."""
        mine = self.__dict__
        if mine["dev"] is not None:
            yield "dev", mine["dev"]
        for hop in mine["paths"] or ():
            if hop.dev is not None:
                yield "paths", hop.dev
        if mine["nexthop"] is not None:
            yield "nexthop", mine["nexthop"]

    def props(self) -> dict[str, Any]:
        """With its paths in normal form, and its nexthop's number."""
        found = super().props()
        if self.paths is not None:
            found["paths"] = normal(self.paths)
        if self.nexthop is not None:
            found["nexthop"] = self.nexthop.id
        return found

    @classmethod
    def needs(cls, netns: str, name: str, props: Mapping[str, Any]) -> tuple[Need, ...]:
        """Its link, or its nexthop; the links of its paths, each of which takes an IPv4 route along as a whole
        (fib_sync_down_dev), and of an IPv6 route only its own path (`falls_with`)."""
        found = super().needs(netns, name, props)
        if props.get("paths"):
            gone = Gone.STAY if is_v6(props["dst"]) else Gone.VANISH
            devs = dict.fromkeys(path["dev"] for path in props["paths"])
            found += tuple(Need(("link", netns, dev), gone) for dev in devs)
        return (*found, Need(("nexthop", netns, props["nexthop"]), Gone.VANISH)) if "nexthop" in props else found

    @classmethod
    def identity(cls, netns: str, name: str, props: Mapping[str, Any]) -> Key:
        """Table, destination, metric."""
        return ("route", netns, props["table"], props["dst"], props["metric"])

    @classmethod
    def relate(cls, item: Item, world: World) -> Relation:
        """The gateway must be on-link: what makes it so has to be there first, and its link takes the route along."""
        src, via = item.props.get("src"), item.props.get("via")
        if src is not None:
            for key, props in world.inside(item.netns, "address"):
                if props["address"].partition("/")[0] == src:
                    yield Need(key, Gone.STAY)
        if via is not None and not item.props.get("onlink"):
            yield from on_link(item, via, item.props.get("dev"), world)
        for path in item.props.get("paths") or ():
            if "via" in path and not path.get("onlink"):
                yield from on_link(item, path["via"], path["dev"], world, spoken(path["via"], path["dev"]))

    @classmethod
    def falls_with(cls, item: Item, lost: Item, staying: Sequence[Item]) -> bool:
        """Routes go with their source address, and with the last IPv4 address of their links (fib_sync_down_addr,
        fib_disable_ip); those of IPv6 lose the paths of a link that goes (fib6_ifdown)."""
        v6, props = is_v6(item.props["dst"]), item.props
        devs = {path["dev"] for path in props.get("paths") or ()} or {props.get("dev")}
        if lost.key[0] == "link":
            return v6 and "paths" in props and lost.key[2] in devs
        if lost.key[0] != "address" or is_v6(lost.props["address"]) != v6:
            return False
        if props.get("src") == lost.props["address"].partition("/")[0]:
            return True
        dev = lost.props["dev"]
        if v6 or "nexthop" in props or (dev not in devs and None not in devs):
            return False
        left = {other.props["dev"] for other in staying if not is_v6(other.props["address"])}
        return dev not in left and not devs & left

    @classmethod
    def create(cls, item: Item, env: Env) -> Sequence[Op]:
        """RTM_NEWROUTE."""
        return [Send(RTM_NEWROUTE, wire.F_CREATE | wire.F_EXCL, cls._body(item, env))]

    @classmethod
    def update(cls, item: Item, changed: Mapping[str, Any], env: Env) -> Sequence[Op]:
        """RTM_NEWROUTE that replaces the one of the same identity."""
        return [Send(RTM_NEWROUTE, wire.F_CREATE | wire.F_REPLACE, cls._body(item, env))]

    @classmethod
    def is_ours(cls, item: Item, have: Have, stack: str) -> bool:
        """What stands under its identity, drifted or not; but where an interrupted run left open whether it is still
        there, our protocol number decides: somebody else may have made another since."""
        return "unsettled" not in item.extra or bool(have.marks)

    @classmethod
    def standing(cls, item: Item, have: Have) -> Props:
        """With the next hop that it has now, if the kernel's route bears our number and has no twin."""
        if not have.marks or have.twins:
            return item.props
        now = have.props
        form = ("nexthop",) if now["nexthop"] else ("paths",) if len(now["paths"]) > 1 else ("via", "dev", "onlink")
        kept = {word: value for word, value in item.props.items() if word not in _STANDING}
        return kept | {word: now[word] for word in (*form, "src", "type", "scope") if now[word]}

    @classmethod
    def delete(cls, item: Item, env: Env) -> Sequence[Op]:
        """RTM_DELROUTE with every key, so that a twin with another next hop stays."""
        return [Send(RTM_DELROUTE, 0, cls._body(item, env))]

    @classmethod
    def _body(cls, item: Item, env: Env) -> bytes:
        props = item.props
        address, _, length = props["dst"].partition("/")
        packed = pack_ip(address)
        v4 = len(packed) == 4
        via, dev, table, metric = props.get("via"), props.get("dev"), props["table"], props["metric"]
        kind_of = props["type"]
        near = v4 and via is None and kind_of == "unicast" and "paths" not in props and "nexthop" not in props
        scope = SCOPES[props.get("scope") or ("link" if near else "global")]
        header = _RTMSG.pack(
            AF_INET if v4 else AF_INET6,
            int(length),
            0,
            0,
            table if table < 256 else 0,
            PROTOCOL,
            scope,
            TYPES[kind_of],
            RTNH_F_ONLINK if props.get("onlink") else 0,
        )
        body = header + (wire.attr(RTA_DST, packed) if length != "0" else b"")
        if table >= 256:
            body += wire.attr_u32(RTA_TABLE, table)
        if via is not None:
            body += wire.attr(RTA_GATEWAY, pack_ip(via))
        if dev is not None:
            body += wire.attr_u32(RTA_OIF, env.ifindex(item.netns, dev))
        if "paths" in props:
            body += pack_paths(props["paths"], lambda name: env.ifindex(item.netns, name))
        if "nexthop" in props:
            body += wire.attr_u32(RTA_NH_ID, props["nexthop"])
        if props.get("src") is not None:
            body += wire.attr(RTA_PREFSRC, pack_ip(props["src"]))
        if metric != (0 if v4 else 1024):
            body += wire.attr_u32(RTA_PRIORITY, metric)
        return body

    @classmethod
    def commands(cls, action: str, item: Item, changed: Mapping[str, Any], env: Env) -> Sequence[str]:
        """`ip route`."""
        if action == "finish":
            return []
        props = item.props
        verb = {"create": "add", "update": "replace", "delete": "del"}[action]
        words = f"{'-6 ' if is_v6(props['dst']) else ''}route {verb} "
        words += f"{props['type']} " if props["type"] != "unicast" else ""
        words += props["dst"]
        for word in ("via", "dev", "src", "metric", "table", "scope"):
            if props.get(word) and not (word == "table" and props[word] == RT_TABLE_MAIN):
                words += f" {word} {quote(str(props[word]))}"
        words += " onlink" if props.get("onlink") else ""
        words += f" proto {PROTOCOL}"
        words += f" nhid {props['nexthop']}" if "nexthop" in props else ""
        return [ip(item.netns, words + path_words(props.get("paths") or ()))]


def _body(scope: Scope) -> bytes | None:
    keys = scope.wanted("route")
    if not keys:
        return None
    family = AF_UNSPEC if any(is_v6(key[3]) for key in keys) else AF_INET
    table = RT_TABLE_MAIN if all(key[2] == RT_TABLE_MAIN for key in keys) else 0
    return _RTMSG.pack(family, 0, 0, 0, table, 0, 0, 0, 0)


def _read(buffer: bytes, start: int, end: int, scope: Scope) -> None:
    family, length, _, tos, table, protocol, number, type_number, flags = _RTMSG.unpack_from(buffer, start)
    if type_number not in _TYPE_NAMES or flags & RTM_F_CLONED or tos or family not in (AF_INET, AF_INET6):
        return
    found = wire.attrs(buffer, start + 12, end)
    if RTA_TABLE in found:
        table = wire.U32.unpack(found[RTA_TABLE])[0]
    address = unpack_ip(found[RTA_DST]) if RTA_DST in found else "0.0.0.0" if family == AF_INET else "::"
    via = found.get(RTA_GATEWAY)
    if via is None and RTA_VIA in found:
        via = found[RTA_VIA][2:]
    metric = wire.U32.unpack(found[RTA_PRIORITY])[0] if RTA_PRIORITY in found else 0
    dev = scope.links.get(wire.U32.unpack(found[RTA_OIF])[0], "") if RTA_OIF in found else None
    if RTA_NH_ID in found:  # the rest says what the nexthop is just now
        type_number, via, dev, flags, paths = 1, None, None, 0, []
    elif RTA_MULTIPATH in found:
        paths = unpack_paths(found[RTA_MULTIPATH], scope.links)
    else:
        dev = None if type_number != 1 else dev
        paths = lone(unpack_ip(via) if via is not None else None, dev, bool(flags & RTNH_F_ONLINK))
    dst = f"{address}/{length}"
    props = {
        "dst": dst,
        "via": unpack_ip(via) if via is not None else "",
        "dev": dev,
        "onlink": bool(flags & RTNH_F_ONLINK),
        "paths": paths,
        "nexthop": wire.U32.unpack(found[RTA_NH_ID])[0] if RTA_NH_ID in found else None,
        "src": unpack_ip(found[RTA_PREFSRC]) if RTA_PREFSRC in found else "",
        "metric": metric,
        "table": table,
        "type": _TYPE_NAMES[type_number],
        "scope": _SCOPE_NAMES.get(number, str(number)),
    }
    key = ("route", scope.netns, table, dst, metric)
    first = scope.found.get(key)
    if first is not None:
        first.twins += (props,)
    else:
        scope.found[key] = Have("route", props, marks=BY_PROTOCOL if protocol == PROTOCOL else ())


ROUTES = Dump("routes", RTM_GETROUTE, _body, _read)
Route.dumps = (ROUTES,)
