"""Address: an IP address on a link (net/ipv4/devinet.c, net/ipv6/addrconf.c)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from struct import Struct
from typing import Any

from netdsl import wire
from netdsl.kinds.link import Link
from netdsl.kinds.shell import ip, quote
from netdsl.lang.declaration import Declaration
from netdsl.lang.dump import Dump, Scope
from netdsl.lang.item import Have, Item, Key
from netdsl.lang.ops import Env, Op, Send
from netdsl.lang.property import kind, prop
from netdsl.lang.resource import Resource
from netdsl.lang.values import BOOL, CIDR, check_cidr, choice, is_v6, network_of, pack_ip, reference, unpack_ip

RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
IFA_ADDRESS, IFA_LOCAL = 1, 2
IFA_F_NODAD = 2
AF_UNSPEC, AF_INET, AF_INET6 = 0, 2, 10
SCOPES = {"global": 0, "site": 200, "link": 253, "host": 254}
_SCOPE_NAMES = {number: name for name, number in SCOPES.items()}
_IFADDRMSG = Struct("=BBBBI")


@kind
class Address(Resource):
    """An IP address with its prefix length on a link; its name is the address ("10.0.0.1/24")."""

    word = "address"
    family = "address"
    phase = 50
    check_name = staticmethod(check_cidr)

    dev: Link = prop(reference("a link"), word="dev", doc="the link")
    address: str = prop(CIDR, init=False, replace=True, doc="the address with its prefix length")
    scope: str | None = prop(
        choice(*SCOPES), default=None, word="scope", kernel="global", replace=True, doc="where the address is valid"
    )
    nodad: bool | None = prop(
        BOOL, default=None, word="nodad", kernel=False, replace=True,
        doc="IPv6: usable at once, without duplicate address detection; the default in netns of the stack's own",
    )  # fmt: skip

    def complete(self, declaration: Declaration) -> None:
        """Addresses in netns that the stack made need no duplicate address detection."""
        self.__dict__["address"] = self.name
        if is_v6(self.name) and self.nodad is None and self.netns is not None and self.netns.word:
            self.__dict__["nodad"] = True

    @property
    def logical_name(self) -> str:
        """One address may be on several links."""
        return f"{self.name} dev {self.dev.name}"

    @classmethod
    def identity(cls, netns: str, name: str, props: Mapping[str, Any]) -> Key:
        """Link and address; IPv4 tells the same address with two prefix lengths apart, IPv6 does not."""
        return address_key(netns, props["dev"], props["address"])

    @classmethod
    def falls_with(cls, item: Item, lost: Item, staying: Sequence[Item]) -> bool:
        """A primary IPv4 address takes the others of its subnet along (__inet_del_ifa)."""
        return (
            lost.key[0] == "address"
            and lost.netns == item.netns
            and lost.props["dev"] == item.props["dev"]
            and not is_v6(item.props["address"])
            and lost.key != item.key
            and network_of(item.props["address"]) == network_of(lost.props["address"])
        )

    @classmethod
    def create(cls, item: Item, env: Env) -> Sequence[Op]:
        """RTM_NEWADDR."""
        return [Send(RTM_NEWADDR, wire.F_CREATE | wire.F_EXCL, cls._body(item, env))]

    @classmethod
    def update(cls, item: Item, changed: Mapping[str, Any], env: Env) -> Sequence[Op]:
        """RTM_NEWADDR that takes an address which is there already."""
        return [Send(RTM_NEWADDR, wire.F_CREATE | wire.F_REPLACE, cls._body(item, env))]

    @classmethod
    def delete(cls, item: Item, env: Env) -> Sequence[Op]:
        """RTM_DELADDR with address, prefix length and link."""
        return [Send(RTM_DELADDR, 0, cls._body(item, env))]

    @classmethod
    def _body(cls, item: Item, env: Env) -> bytes:
        address, _, length = item.props["address"].partition("/")
        packed = pack_ip(address)
        flags = IFA_F_NODAD if item.props.get("nodad") else 0
        scope = SCOPES[item.props.get("scope") or ("host" if address.startswith("127.") else "global")]
        family = AF_INET if len(packed) == 4 else AF_INET6
        header = _IFADDRMSG.pack(family, int(length), flags, scope, env.ifindex(item.netns, item.props["dev"]))
        return header + wire.attr(IFA_LOCAL, packed) + wire.attr(IFA_ADDRESS, packed)

    @classmethod
    def commands(cls, action: str, item: Item, changed: Mapping[str, Any], env: Env) -> Sequence[str]:
        """`ip addr`."""
        if action == "finish":
            return []
        verb = {"create": "add", "update": "replace", "delete": "del"}[action]
        words = f"addr {verb} {item.props['address']} dev {quote(item.props['dev'])}"
        if action != "delete":
            words += f" scope {item.props['scope']}" if item.props.get("scope") else ""
            words += " nodad" if item.props.get("nodad") else ""
        return [ip(item.netns, words)]


def address_key(netns: str, dev: str, cidr: str) -> Key:
    """The identity of an address."""
    return ("address", netns, dev, cidr.partition("/")[0] if is_v6(cidr) else cidr)


def _body(scope: Scope) -> bytes | None:
    keys, nexthops = [*scope.wanted("address"), *scope.wanted("route")], scope.wanted("nexthop")
    if not keys and not nexthops:
        return None
    family = AF_UNSPEC if nexthops or any(is_v6(key[3]) for key in keys) else AF_INET
    return _IFADDRMSG.pack(family, 0, 0, 0, 0)


def _read(buffer: bytes, start: int, end: int, scope: Scope) -> None:
    _, length, flags, number, ifindex = _IFADDRMSG.unpack_from(buffer, start)
    found = wire.attrs(buffer, start + 8, end)
    address = unpack_ip(found.get(IFA_LOCAL) or found[IFA_ADDRESS])
    dev = scope.links.get(ifindex, "")
    cidr = f"{address}/{length}"
    props = {
        "dev": dev,
        "address": cidr,
        "scope": _SCOPE_NAMES.get(number, str(number)),
        "nodad": bool(flags & IFA_F_NODAD),
    }
    scope.found[address_key(scope.netns, dev, cidr)] = Have("address", props)


ADDRESSES = Dump("addresses", RTM_GETADDR, _body, _read)
Address.dumps = (ADDRESSES,)
