"""Rule: which routing table a packet is looked up in (ip-rule(8); net/core/fib_rules.c, linux/fib_rules.h)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from struct import Struct
from typing import Any

from netdsl import wire
from netdsl.kinds.link import Link
from netdsl.kinds.route import AF_INET, AF_INET6, AF_UNSPEC, PROTOCOL, RT_TABLE_MAIN
from netdsl.kinds.shell import ip, quote
from netdsl.lang.declaration import Declaration
from netdsl.lang.dump import Dump, Scope
from netdsl.lang.item import Gone, Have, Item, Key
from netdsl.lang.naming import BY_PROTOCOL
from netdsl.lang.ops import Env, Op, Send
from netdsl.lang.property import DERIVED, kind, prop
from netdsl.lang.resource import Resource
from netdsl.lang.values import BOOL, NETWORK, choice, is_v6, pack_ip, reference, u8, u16, u32, unpack_ip

RTM_NEWRULE, RTM_DELRULE, RTM_GETRULE = 32, 33, 34
FRA_DST, FRA_SRC, FRA_IIFNAME, FRA_PRIORITY, FRA_FWMARK = 1, 2, 3, 6, 10
FRA_SUPPRESS_PREFIXLEN, FRA_TABLE, FRA_FWMASK, FRA_OIFNAME, FRA_L3MDEV, FRA_PROTOCOL = 14, 15, 16, 17, 19, 21
FRA_IP_PROTO, FRA_SPORT_RANGE, FRA_DPORT_RANGE = 22, 23, 24
FIB_RULE_INVERT = 2
_HEADER = Struct("=BBBBBBBBI")
"""struct fib_rule_hdr: family, dst_len, src_len, tos, table, two reserved, action, flags."""
_PORTS = Struct("=HH")
_NONE = 0xFFFFFFFF

ACTIONS = {"lookup": 1, "blackhole": 6, "unreachable": 7, "prohibit": 8}
_ACTION_NAMES = {number: name for name, number in ACTIONS.items()}
FAMILIES = {"inet": AF_INET, "inet6": AF_INET6}
_FAMILY_NAMES = {number: name for name, number in FAMILIES.items()}


@kind
class Rule(Resource):
    """A rule of policy routing; its name is free text. The kernel works rules off by priority, lowest first.

    The rules of priority 0, 32766 and 32767 are the kernel's own, and so is 1000 where there are VRFs. A rule is known
    by all that it says: with another value it is another rule, and the old one is deleted.
    """

    word = "rule"
    family = "rule"
    phase = 75

    priority: int = prop(u32(1), word="priority", doc="place among the rules, lowest first")
    inet: str = prop(
        choice(*FAMILIES), default=DERIVED,
        doc='address family, "inet" or "inet6"; absent: that of src or dst, else "inet"',
    )  # fmt: skip
    src: str | None = prop(NETWORK, default=None, word="from", doc="packets from this network")
    dst: str | None = prop(NETWORK, default=None, word="to", doc="packets to this network")
    iif: Link | None = prop(
        reference("a link"), default=None, word="iif", gone=Gone.STAY,
        doc="packets that came in by this link; lo: those that the netns itself sends",
    )  # fmt: skip
    oif: Link | None = prop(
        reference("a link"), default=None, word="oif", gone=Gone.STAY,
        doc="packets of sockets that are bound to this link",
    )  # fmt: skip
    fwmark: int | None = prop(u32(1), default=None, word="fwmark", doc="packets with this mark")
    fwmask: int | None = prop(u32(1), default=None, doc="bits of the mark that count; absent: all")
    tos: int | None = prop(u8(0, 28), default=None, word="tos", doc="packets with this TOS")
    ipproto: int | None = prop(u8(1), default=None, word="ipproto", doc="packets of this IP protocol")
    sport: int | None = prop(u16(1), default=None, word="sport", doc="packets from this port")
    dport: int | None = prop(u16(1), default=None, word="dport", doc="packets to this port")
    invert: bool | None = prop(
        BOOL, default=None, kernel=False, doc="all packets but those that the other properties name"
    )
    action: str = prop(choice(*ACTIONS), default="lookup", doc="what happens to these packets")
    table: int | None = prop(
        u32(1), default=None, word="table", doc="routing table that they are looked up in; 254 is main"
    )
    suppress_prefixlength: int | None = prop(
        u8(0, 128), default=None, word="suppress_prefixlength",
        doc="pass over routes that are found with a prefix of this length or less; 0: the default route",
    )  # fmt: skip

    def complete(self, declaration: Declaration) -> None:
        """Settle the family and check that the parts fit together."""
        mine = self.__dict__
        given = [(word, mine[word]) for word in ("src", "dst") if mine[word] is not None]
        families = {word: "inet6" if is_v6(network) else "inet" for word, network in given}
        mine["inet"] = self.inet or next(iter(families.values()), "inet")
        for word, network in given:
            if families[word] != self.inet:
                self.fault(f"{self.title}: {word} {network} is not of the address family {self.inet}")
            if network.endswith("/0"):  # all packets: the kernel keeps nothing of it
                mine[word] = None
        if self.action == "lookup" and self.table is None:
            mine["table"] = RT_TABLE_MAIN
        elif self.action != "lookup":
            for word in ("table", "suppress_prefixlength"):
                if mine[word] is not None:
                    self.fault(f"{self.title}: {word} is for lookup; the action is {self.action}")
        for word, nothing in (("invert", False), ("fwmask", _NONE)):
            mine[word] = None if mine[word] == nothing else mine[word]
        if self.fwmask is not None and self.fwmark is None:
            self.fault(f"{self.title}: fwmask needs fwmark")
        for word in ("sport", "dport"):
            if mine[word] is not None and self.ipproto is None:
                self.fault(f"{self.title}: {word} needs ipproto", "6 is TCP, 17 is UDP.")

    @classmethod
    def identity(cls, netns: str, name: str, props: Mapping[str, Any]) -> Key:
        """All that it says."""
        return ("rule", netns, *(props.get(word) for word in cls.properties))

    @classmethod
    def create(cls, item: Item, env: Env) -> Sequence[Op]:
        """RTM_NEWRULE."""
        return [Send(RTM_NEWRULE, wire.F_CREATE | wire.F_EXCL, cls._body(item))]

    @classmethod
    def delete(cls, item: Item, env: Env) -> Sequence[Op]:
        """RTM_DELRULE with everything that the rule was made of, so that no other of its priority goes."""
        return [Send(RTM_DELRULE, 0, cls._body(item))]

    @classmethod
    def _body(cls, item: Item) -> bytes:
        props = item.props
        body, lengths = b"", {"src": 0, "dst": 0}
        for number, word in ((FRA_SRC, "src"), (FRA_DST, "dst")):
            if props.get(word) is not None:
                address, _, length = props[word].partition("/")
                lengths[word] = int(length)
                body += wire.attr(number, pack_ip(address)) if int(length) else b""
        for number, word in ((FRA_IIFNAME, "iif"), (FRA_OIFNAME, "oif")):
            if props.get(word):
                body += wire.attr(number, props[word].encode() + b"\0")
        numbers = {FRA_PRIORITY: "priority", FRA_FWMARK: "fwmark", FRA_FWMASK: "fwmask", FRA_TABLE: "table"}
        numbers[FRA_SUPPRESS_PREFIXLEN] = "suppress_prefixlength"
        for number, word in numbers.items():
            if props.get(word) is not None:
                body += wire.attr_u32(number, props[word])
        if props.get("ipproto") is not None:
            body += wire.attr(FRA_IP_PROTO, bytes((props["ipproto"],)))
        for number, word in ((FRA_SPORT_RANGE, "sport"), (FRA_DPORT_RANGE, "dport")):
            if props.get(word) is not None:
                body += wire.attr(number, _PORTS.pack(props[word], props[word]))
        table = props.get("table") or 0
        header = _HEADER.pack(
            FAMILIES[props["inet"]],
            lengths["dst"],
            lengths["src"],
            props.get("tos") or 0,
            table if table < 256 else 0,
            0,
            0,
            ACTIONS[props["action"]],
            FIB_RULE_INVERT if props.get("invert") else 0,
        )
        return header + body + wire.attr(FRA_PROTOCOL, bytes((PROTOCOL,)))

    @classmethod
    def commands(cls, action: str, item: Item, changed: Mapping[str, Any], env: Env) -> Sequence[str]:
        """`ip rule`."""
        if action == "finish":
            return []
        props = item.props
        words = f"{'-6 ' if props['inet'] == 'inet6' else ''}rule {'del' if action == 'delete' else 'add'}"
        words += " not" if props.get("invert") else ""
        for declared in cls.properties.values():
            value = props.get(declared.name)
            if value is not None and declared.word and declared.name not in ("table", "suppress_prefixlength"):
                text = hex(value) if declared.name == "tos" else str(value)
                text += f"/{props['fwmask']:#x}" if declared.name == "fwmark" and "fwmask" in props else ""
                words += f" {declared.word} {quote(text)}"
        words += f" table {props['table']}" if props["action"] == "lookup" else f" {props['action']}"
        if props.get("suppress_prefixlength") is not None:
            words += f" suppress_prefixlength {props['suppress_prefixlength']}"
        return [ip(item.netns, f"{words} protocol {PROTOCOL}")]


def _body(scope: Scope) -> bytes | None:
    wanted = {key[_FAMILY_PLACE] for key in scope.wanted("rule")}
    if not wanted:
        return None
    return _HEADER.pack(FAMILIES[wanted.pop()] if len(wanted) == 1 else AF_UNSPEC, 0, 0, 0, 0, 0, 0, 0, 0)


def _read(buffer: bytes, start: int, end: int, scope: Scope) -> None:
    family, dst_len, src_len, tos, table, _, _, action, flags = _HEADER.unpack_from(buffer, start)
    if family not in _FAMILY_NAMES:
        return
    found = wire.attrs(buffer, start + 12, end)

    def number(attribute: int) -> int | None:
        return wire.U32.unpack(found[attribute])[0] if attribute in found else None

    def network(attribute: int, length: int) -> str | None:
        return f"{unpack_ip(found[attribute])}/{length}" if attribute in found else None

    def port(attribute: int) -> int | str | None:
        if attribute not in found:
            return None
        first, last = _PORTS.unpack(found[attribute])
        return first if first == last else f"{first}-{last}"

    suppressed, mark, mask = number(FRA_SUPPRESS_PREFIXLEN), number(FRA_FWMARK) or None, number(FRA_FWMASK)
    props = {
        "priority": number(FRA_PRIORITY) or 0,
        "inet": _FAMILY_NAMES[family],
        "src": network(FRA_SRC, src_len),
        "dst": network(FRA_DST, dst_len),
        "iif": wire.text(found[FRA_IIFNAME]) if FRA_IIFNAME in found else None,
        "oif": wire.text(found[FRA_OIFNAME]) if FRA_OIFNAME in found else None,
        "fwmark": mark,
        "fwmask": mask if mark is not None and mask != _NONE else None,
        "tos": tos or None,
        "ipproto": found[FRA_IP_PROTO][0] if FRA_IP_PROTO in found else None,
        "sport": port(FRA_SPORT_RANGE),
        "dport": port(FRA_DPORT_RANGE),
        "invert": True if flags & FIB_RULE_INVERT else None,
        "action": _ACTION_NAMES.get(action, str(action)),
        "table": (number(FRA_TABLE) or table) if action == ACTIONS["lookup"] else None,
        "suppress_prefixlength": None if suppressed == _NONE else suppressed,
    }
    marks = BY_PROTOCOL if found.get(FRA_PROTOCOL, b"")[:1] == bytes((PROTOCOL,)) else ()
    scope.found[Rule.identity(scope.netns, "", props)] = Have("rule", props, marks=marks)


_FAMILY_PLACE = 2 + list(Rule.properties).index("inet")
RULES = Dump("rules", RTM_GETRULE, _body, _read)
Rule.dumps = (RULES,)
