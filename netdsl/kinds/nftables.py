"""What the kinds of address translation share: a table of nf_tables with one chain and one rule (linux/nf_tables.h).

Each resource is a table of its own, named by it, so that it can be told apart, changed and taken away as a whole, in
one transaction. The table's comment holds the mark of ownership. Numbers in these messages are in network order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from struct import Struct
from typing import Any, ClassVar, NamedTuple, TypeAlias

from netdsl import wire
from netdsl.kinds.nft_rule import Rule, encoded, is_said, parsed, said
from netdsl.kinds.shell import inside
from netdsl.lang.dump import Dump, Nsid, Scope
from netdsl.lang.item import Have, Item, Key
from netdsl.lang.naming import altname
from netdsl.lang.ops import NETLINK_NETFILTER, Env, Op, Probe, Transaction
from netdsl.lang.property import kind
from netdsl.lang.resource import Resource
from netdsl.lang.values import is_v6

NEWTABLE, GETTABLE, DELTABLE, NEWCHAIN, GETCHAIN, NEWRULE, GETRULE = 0, 1, 2, 3, 4, 6, 7
_SUBSYSTEM = 10 << 8
TABLE_NAME, TABLE_USERDATA = 1, 6
CHAIN_TABLE, CHAIN_NAME, CHAIN_HOOK, CHAIN_POLICY, CHAIN_TYPE = 1, 3, 4, 5, 7
HOOK_NUMBER, HOOK_PRIORITY = 1, 2
RULE_TABLE, RULE_CHAIN, RULE_EXPRESSIONS = 1, 2, 4
ACCEPT = 1
FAMILIES = {"inet": 1, "ip": 2, "ip6": 10}
_FAMILY_NAMES = {number: name for name, number in FAMILIES.items()}
ABSENT = (2, 95, 97)
"""ENOENT, EOPNOTSUPP, EAFNOSUPPORT: no such expression or type of chain, no nf_tables, no such family."""
_COMMENT = 0
"""NFTNL_UDATA_TABLE_COMMENT."""
_BE32 = Struct(">I")
_GENMSG = Struct(">BBH")


class Hook(NamedTuple):
    """Where a chain hangs: netfilter's number of the hook, its word, and the priority."""

    number: int
    word: str
    priority: int


PREROUTING, POSTROUTING = Hook(0, "prerouting", -100), Hook(4, "postrouting", 100)

Raw: TypeAlias = dict[str, list[tuple[str, bytes, bytes]]]
"""What stands in a table: chains as (name, hook, type), rules as (chain, expressions, "")."""


def _check_table(name: Any) -> str:
    """What `nft` takes as a name without quotes."""
    first, rest = (name[:1], name[1:]) if isinstance(name, str) else ("", "")
    good = first.isascii() and first.isalpha() and len(name) < 128
    if not good or not all(c.isascii() and (c.isalnum() or c in "_./-") for c in rest):
        raise ValueError(f"a table's name starts with a letter, then letters, digits, and any of _ . / -, not {name!r}")
    return str(name)


@kind
class Translation(Resource):
    """The base of kinds that translate addresses; the name is that of the nf_tables table which holds the rule."""

    family = "nft"
    phase = 85
    whole = True
    requires = "CONFIG_NF_TABLES, CONFIG_NFT_NAT"
    check_name = staticmethod(_check_table)
    kernel: ClassVar[str] = "nft"
    marked = True
    hook: ClassVar[Hook] = POSTROUTING

    matches: ClassVar[Mapping[str, tuple[str, str]]] = {}
    """Property -> the match that it stands for."""

    @classmethod
    def verdict(cls, props: Mapping[str, Any]) -> tuple[Any, ...]:
        """What the rule does."""
        raise NotImplementedError

    @classmethod
    def read_verdict(cls, verdict: tuple[Any, ...]) -> dict[str, Any]:
        """The properties that a verdict stands for; ValueError when it is not this kind's."""
        raise NotImplementedError

    @classmethod
    def rule(cls, props: Mapping[str, Any]) -> Rule:
        """What the rule says."""
        found = [(*cls.matches[word], props[word]) for word in cls.matches if props.get(word)]
        return (*found, cls.verdict(props))

    @classmethod
    def understood(cls, rule: Rule) -> dict[str, Any] | None:
        """The properties that a rule stands for, if it is one of this kind."""
        words = {match: word for word, match in cls.matches.items()}
        try:
            *matches, verdict = rule
            absent = {name: "" for name, declared in cls.properties.items() if not declared.required}
            return absent | {words[op[:2]]: op[2] for op in matches} | cls.read_verdict(verdict)
        except (KeyError, ValueError):
            return None

    @classmethod
    def addresses(cls, props: Mapping[str, Any]) -> list[str]:
        """Those that say which family it is about."""
        return [props[word] for word in ("to", "src", "dst", "except_dst") if props.get(word)]

    @classmethod
    def table_family(cls, props: Mapping[str, Any]) -> str:
        """The nf_tables family: that of the addresses; without any, both."""
        found = cls.addresses(props)
        return "inet" if not found else "ip6" if is_v6(found[0]) else "ip"

    def check_families(self) -> None:
        """Name addresses of different families."""
        found = type(self).addresses(self.__dict__)
        other = next((address for address in found if is_v6(address) != is_v6(found[0])), None)
        if other is not None:
            self.fault(f"{self.title}: {other} is not of the address family of {found[0]}")

    @classmethod
    def identity(cls, netns: str, name: str, props: Mapping[str, Any]) -> Key:
        """Family and name of the table."""
        return (cls.family, netns, cls.table_family(props), name)

    @classmethod
    def is_ours(cls, item: Item, have: Have, stack: str) -> bool:
        """The mark in the table's comment."""
        return altname(stack, item.name) in have.marks

    @classmethod
    def probes(cls, props: Mapping[str, Any] | None) -> Sequence[Probe]:
        """The table itself, in a netns that is gone afterwards."""
        given = dict(cls.example) if props is None else props
        return (Probe(f"nf_tables {cls.word}", cls.requires, cls._made("probe", given, ""), ABSENT),)

    example: ClassVar[Mapping[str, Any]] = {}
    """Properties of one, to ask the kernel whether it has the kind."""

    @classmethod
    def create(cls, item: Item, env: Env) -> Sequence[Op]:
        """Table, chain and rule in one transaction."""
        return [cls._made(item.name, item.props, altname(env.stack, item.name))]

    @classmethod
    def _made(cls, name: str, props: Mapping[str, Any], comment: str) -> Transaction:
        family = cls.table_family(props)
        start, table = _GENMSG.pack(FAMILIES[family], 0, 0), name.encode() + b"\0"
        text = comment.encode() + b"\0"
        marked = wire.attr(TABLE_USERDATA, bytes((_COMMENT, len(text))) + text) if comment else b""
        hook = wire.attr(HOOK_NUMBER, _BE32.pack(cls.hook.number))
        hook += wire.attr(HOOK_PRIORITY, _BE32.pack(cls.hook.priority & 0xFFFFFFFF))
        chain = wire.attr(CHAIN_TABLE, table) + wire.attr(CHAIN_NAME, b"nat\0") + wire.nest(CHAIN_HOOK, hook)
        chain += wire.attr(CHAIN_POLICY, _BE32.pack(ACCEPT)) + wire.attr(CHAIN_TYPE, b"nat\0")
        rule = wire.attr(RULE_TABLE, table) + wire.attr(RULE_CHAIN, b"nat\0")
        rule += wire.nest(RULE_EXPRESSIONS, encoded(cls.rule(props), family))
        return Transaction(
            (
                (NEWTABLE, wire.F_CREATE | wire.F_EXCL, start + wire.attr(TABLE_NAME, table) + marked),
                (NEWCHAIN, wire.F_CREATE, start + chain),
                (NEWRULE, wire.F_CREATE | wire.F_APPEND, start + rule),
            )
        )

    @classmethod
    def _gone(cls, item: Item) -> tuple[int, int, bytes]:
        start = _GENMSG.pack(FAMILIES[cls.table_family(item.props)], 0, 0)
        return (DELTABLE, 0, start + wire.attr(TABLE_NAME, item.name.encode() + b"\0"))

    @classmethod
    def update(cls, item: Item, changed: Mapping[str, Any], env: Env) -> Sequence[Op]:
        """The table anew, in the transaction that takes the old one away: no packet passes in between."""
        return cls.adopt(item, env)

    @classmethod
    def adopt(cls, item: Item, env: Env) -> Sequence[Op]:
        """A table's comment cannot change: the table anew."""
        made = cls._made(item.name, item.props, altname(env.stack, item.name))
        return [Transaction((cls._gone(item), *made.messages))]

    @classmethod
    def release(cls, item: Item, env: Env) -> Sequence[Op]:
        """The same without the mark, as it was found."""
        before = {word: value for word, value in item.extra.get("found", {}).items() if value}
        return [Transaction((cls._gone(item), *cls._made(item.name, before or item.props, "").messages))]

    @classmethod
    def delete(cls, item: Item, env: Env) -> Sequence[Op]:
        """The whole table."""
        return [Transaction((cls._gone(item),))]

    @classmethod
    def commands(cls, action: str, item: Item, changed: Mapping[str, Any], env: Env) -> Sequence[str]:
        """`nft`."""
        family = cls.table_family(item.props)

        def nft(words: str) -> str:
            return inside(item.netns, f"nft {words}")

        if action == "finish":
            return []
        gone = [nft(f"delete table {family} {item.name}")] if action in ("delete", "update") else []
        if action == "delete":
            return gone
        hook = f"type nat hook {cls.hook.word} priority {cls.hook.priority} ;"
        return [
            *gone,
            nft(f"add table {family} {item.name}"),
            nft(f"add chain {family} {item.name} nat '{{ {hook} }}'"),
            nft(f"add rule {family} {item.name} nat {said(cls.rule(item.props), family)}"),
        ]


def _table(buffer: bytes, start: int, end: int, scope: Scope, number: int) -> tuple[Have | None, dict[int, bytes]]:
    """The table that a message is about, if anybody asked for it, and the message's attributes."""
    found = wire.attrs(buffer, start + 4, end)
    key = ("nft", scope.netns, _FAMILY_NAMES.get(buffer[start], ""), wire.text(found[number]))
    if key not in scope.interest:
        return None, found
    if key not in scope.found:
        scope.found[key] = Have("nft", {"raw": {"chains": [], "rules": []}})
    return scope.found[key], found


def _read_table(buffer: bytes, start: int, end: int, scope: Scope) -> None:
    have, found = _table(buffer, start, end, scope, TABLE_NAME)
    text = found.get(TABLE_USERDATA, b"")
    if have is not None and text[:1] == bytes((_COMMENT,)):
        have.marks = (wire.text(text[2 : 2 + text[1]]),)


def _read_chain(buffer: bytes, start: int, end: int, scope: Scope) -> None:
    have, found = _table(buffer, start, end, scope, CHAIN_TABLE)
    if have is not None:
        hook = wire.attrs(found.get(CHAIN_HOOK, b""), 0, len(found.get(CHAIN_HOOK, b"")))
        where = hook.get(HOOK_NUMBER, b"") + hook.get(HOOK_PRIORITY, b"")
        raw: Raw = have.props["raw"]
        raw["chains"].append((wire.text(found[CHAIN_NAME]), where, found.get(CHAIN_TYPE, b"")))


def _read_rule(buffer: bytes, start: int, end: int, scope: Scope) -> None:
    have, found = _table(buffer, start, end, scope, RULE_TABLE)
    if have is not None:
        raw: Raw = have.props["raw"]
        raw["rules"].append((wire.text(found[RULE_CHAIN]), found.get(RULE_EXPRESSIONS, b""), b""))


def _settle(scopes: Sequence[Scope], nsid: Nsid) -> None:
    """Understand what the tables hold; one that somebody changed has no properties, and is made anew."""
    for scope in scopes:
        for key, have in scope.found.items():
            if key[0] == "nft":
                raw: Raw = have.props.pop("raw")
                have.props = _understood(raw)


KINDS_OF_TABLE: list[type[Translation]] = []
"""Filled as they are declared."""


def _understood(raw: Raw) -> dict[str, Any]:
    if len(raw["chains"]) == 1 and len(raw["rules"]) == 1:
        (chain, where, chain_type), (_, expressions, _) = raw["chains"][0], raw["rules"][0]
        rule = parsed(expressions)
        for cls in KINDS_OF_TABLE:
            hung = _BE32.pack(cls.hook.number) + _BE32.pack(cls.hook.priority & 0xFFFFFFFF)
            if rule is not None and (chain, where, wire.text(chain_type)) == ("nat", hung, "nat"):
                props = cls.understood(rule)
                if props is not None and is_said(rule, cls.rule(props)):
                    return props
    return {}


def _body(scope: Scope) -> bytes | None:
    return _GENMSG.pack(0, 0, 0) if scope.wanted("nft") else None


def _dump(name: str, request: int, read: Callable[[bytes, int, int, Scope], None]) -> Dump:
    settle = _settle if request == GETRULE else None
    return Dump(name, _SUBSYSTEM | request, _body, read, settle, NETLINK_NETFILTER)


Translation.dumps = (
    _dump("nft tables", GETTABLE, _read_table),
    _dump("nft chains", GETCHAIN, _read_chain),
    _dump("nft rules", GETRULE, _read_rule),
)
