"""One rule of nf_tables as its expressions, both ways, and in the words of `nft` (net/netfilter/nft_*.c).

A rule is a tuple of matches and one verdict: ("oifname", "==", "eth0"), ("saddr", "!=", "10.0.0.0/8"), ("masquerade",).
"""

from __future__ import annotations

import re
from struct import Struct
from typing import Any, TypeAlias

from netdsl import wire
from netdsl.kinds.shell import quote
from netdsl.lang.values import ValueType, check_ip, check_network, is_v6, pack_ip, unpack_ip

Rule: TypeAlias = tuple[tuple[Any, ...], ...]

EXPR_NAME, EXPR_DATA, LIST_ELEM, DATA_VALUE = 1, 2, 1, 1
META_DREG, META_KEY = 1, 2
CMP_SREG, CMP_OP, CMP_DATA = 1, 2, 3
PAYLOAD_DREG, PAYLOAD_BASE, PAYLOAD_OFFSET, PAYLOAD_LEN = 1, 2, 3, 4
BITWISE_SREG, BITWISE_DREG, BITWISE_LEN, BITWISE_MASK, BITWISE_XOR = 1, 2, 3, 4, 5
IMMEDIATE_DREG, IMMEDIATE_DATA = 1, 2
NAT_TYPE, NAT_FAMILY, NAT_ADDR, NAT_ADDR_MAX, NAT_PORT, NAT_PORT_MAX, NAT_FLAGS = 1, 2, 3, 4, 5, 6, 7
MASQ_FLAGS, MASQ_PORT = 1, 2
NETWORK_HEADER, TRANSPORT_HEADER = 1, 2
_REG1, _REG2 = 1, 2
_NAMES = {"iifname": 6, "oifname": 7}
_L4PROTO = 16
_FAMILY = {"ip": 2, "ip6": 10}
_ADDRESS = {"ip": {"saddr": 12, "daddr": 16}, "ip6": {"saddr": 8, "daddr": 24}}
_WIDTH = {"ip": 4, "ip6": 16}
_DPORT = 2
_OPS = {"==": 0, "!=": 1}
_NATS = {"snat": 0, "dnat": 1}
_PLAIN_FLAGS = 1 | 2
"""NF_NAT_RANGE_MAP_IPS, _PROTO_SPECIFIED: what the kernel sets by itself."""
PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "dccp": 33, "icmpv6": 58, "sctp": 132, "udplite": 136}
_BE32, _BE16 = Struct(">I"), Struct(">H")


def _check_subnet(value: Any) -> str:
    if isinstance(value, str) and "/" not in value:
        value = f"{check_ip(value)}/{128 if ':' in value else 32}"
    found = check_network(value)
    if found.endswith("/0"):
        raise ValueError(f"matches every address; leave it out instead of {found}")
    return found


SUBNET = ValueType("network/prefix or address", _check_subnet, lambda v: b"", lambda p: None)
"""Its normal form has a prefix length."""


def _number(number: int, value: int) -> bytes:
    return wire.attr(number, _BE32.pack(value))


def _value(number: int, value: bytes) -> bytes:
    return wire.nest(number, wire.attr(DATA_VALUE, value))


def _expression(name: str, packed: bytes) -> bytes:
    body = wire.attr(EXPR_NAME, name.encode() + b"\0") + wire.nest(EXPR_DATA, packed)
    return wire.nest(LIST_ELEM, body)


def _compare(op: str, value: bytes) -> bytes:
    packed = _number(CMP_SREG, _REG1) + _number(CMP_OP, _OPS[op]) + _value(CMP_DATA, value)
    return _expression("cmp", packed)


def _load_meta(key: int) -> bytes:
    return _expression("meta", _number(META_DREG, _REG1) + _number(META_KEY, key))


def _load_payload(base: int, offset: int, length: int) -> bytes:
    packed = _number(PAYLOAD_DREG, _REG1) + _number(PAYLOAD_BASE, base)
    return _expression("payload", packed + _number(PAYLOAD_OFFSET, offset) + _number(PAYLOAD_LEN, length))


def _mask(width: int, length: int) -> bytes:
    return ((1 << width * 8) - (1 << width * 8 - length)).to_bytes(width, "big")


def _network(word: str, op: str, network: str) -> bytes:
    """A prefix of whole bytes compares only those, as `nft` has it; another is masked first."""
    address, _, bits = network.partition("/")
    inet = "ip6" if is_v6(network) else "ip"
    width, length = _WIDTH[inet], int(bits or _WIDTH[inet] * 8)
    offset, packed = _ADDRESS[inet][word], pack_ip(address)
    if not length % 8:
        return _load_payload(NETWORK_HEADER, offset, length // 8) + _compare(op, packed[: length // 8])
    masked = _number(BITWISE_SREG, _REG1) + _number(BITWISE_DREG, _REG1) + _number(BITWISE_LEN, width)
    masked += _value(BITWISE_MASK, _mask(width, length)) + _value(BITWISE_XOR, bytes(width))
    return _load_payload(NETWORK_HEADER, offset, width) + _expression("bitwise", masked) + _compare(op, packed)


def _load(register: int, value: bytes) -> bytes:
    return _expression("immediate", _number(IMMEDIATE_DREG, register) + _value(IMMEDIATE_DATA, value))


def encoded(rule: Rule, family: str) -> bytes:
    """The list of expressions."""
    packed = b""
    for word, *rest in rule:
        if word in _NAMES:
            packed += _load_meta(_NAMES[word]) + _compare(rest[0], rest[1].encode().ljust(16, b"\0"))
        elif word in ("saddr", "daddr"):
            packed += _network(word, *rest)
        elif word == "l4proto":
            packed += _load_meta(_L4PROTO) + _compare(rest[0], bytes((PROTOCOLS[rest[1]],)))
        elif word == "dport":
            packed += _load_payload(TRANSPORT_HEADER, _DPORT, 2) + _compare(rest[0], _BE16.pack(rest[1]))
        elif word == "masquerade":
            packed += _expression("masq", b"")
        else:
            packed += _translation(word, rest[0], rest[1])
    return packed


def _translation(word: str, address: str, port: int | None) -> bytes:
    family = _FAMILY["ip6" if is_v6(address) else "ip"]
    nat = _number(NAT_TYPE, _NATS[word]) + _number(NAT_FAMILY, family) + _number(NAT_ADDR, _REG1)
    packed = _load(_REG1, pack_ip(address))
    if port is not None:
        packed += _load(_REG2, _BE16.pack(port))
        nat += _number(NAT_PORT, _REG2)
    return packed + _expression("nat", nat)


def said(rule: Rule, family: str) -> str:
    """In the words of `nft add rule`."""
    words = []
    for word, *rest in rule:
        if word in _NAMES:
            words.append(f"{word} {'' if rest[0] == '==' else '!= '}{_spoken(rest[1])}")
        elif word in ("saddr", "daddr"):
            words.append(f"{family} {word} {'' if rest[0] == '==' else '!= '}{rest[1]}")
        elif word == "l4proto":
            words.append(f"meta l4proto {rest[1]}")
        elif word == "dport":
            words.append(f"th dport {rest[1]}")
        elif word == "masquerade":
            words.append("masquerade")
        else:
            address = f"[{rest[0]}]" if is_v6(rest[0]) and rest[1] is not None else rest[0]
            words.append(f"{word} to {address}" + (f":{rest[1]}" if rest[1] is not None else ""))
    return " ".join(words)


def _spoken(name: str) -> str:
    """The name of a link, in the quotes of `nft` (and of the shell around them) where it needs any."""
    return name if re.fullmatch(r"[A-Za-z][\w.-]*", name, re.ASCII) else quote(f'"{name}"')


def is_said(found: Rule, wanted: Rule) -> bool:
    """Whether a rule says the same, whatever the order of its matches."""
    return sorted(map(repr, found)) == sorted(map(repr, wanted))


def parsed(expressions: bytes) -> Rule | None:
    """The rule of a list of expressions; None for one with anything in it that we would not write."""
    try:
        return _parsed(expressions)
    except (KeyError, ValueError, IndexError, OSError):
        return None


def _parsed(expressions: bytes) -> Rule:
    rule: list[tuple[Any, ...]] = []
    loaded: tuple[Any, ...] = ()
    mask: bytes | None = None
    registers: dict[int, bytes] = {}
    for _, element in wire.attr_list(expressions):
        parts = wire.attrs(element, 0, len(element))
        found = wire.attrs(parts.get(EXPR_DATA, b""), 0, len(parts.get(EXPR_DATA, b"")))
        match wire.text(parts[EXPR_NAME]):
            case "meta":
                loaded, mask = ("meta", _u32(found[META_KEY])), None
            case "payload":
                loaded = ("payload", *(_u32(found[n]) for n in (PAYLOAD_BASE, PAYLOAD_OFFSET, PAYLOAD_LEN)))
                mask = None
            case "bitwise":
                mask = _inner(found[BITWISE_MASK])
                if any(_inner(found[BITWISE_XOR])):
                    raise ValueError
            case "cmp":
                op = {number: op for op, number in _OPS.items()}[_u32(found[CMP_OP])]
                rule.append(_match(loaded, mask, op, _inner(found[CMP_DATA])))
            case "immediate":
                registers[_u32(found[IMMEDIATE_DREG])] = _inner(found[IMMEDIATE_DATA])
            case "masq":
                if found.get(MASQ_PORT) or _u32(found.get(MASQ_FLAGS, bytes(4))):
                    raise ValueError
                rule.append(("masquerade",))
            case "nat":
                rule.append(_nat(found, registers))
            case other:
                raise ValueError(other)
    return tuple(rule)


def _u32(payload: bytes) -> int:
    return int(_BE32.unpack(payload)[0])


def _inner(payload: bytes) -> bytes:
    return wire.attrs(payload, 0, len(payload))[DATA_VALUE]


def _match(loaded: tuple[Any, ...], mask: bytes | None, op: str, value: bytes) -> tuple[Any, ...]:
    if loaded[0] == "meta":
        if loaded[1] == _L4PROTO:
            return ("l4proto", op, {number: name for name, number in PROTOCOLS.items()}[value[0]])
        return ({number: word for word, number in _NAMES.items()}[loaded[1]], op, wire.text(value))
    _, base, offset, length = loaded
    if base == TRANSPORT_HEADER and (offset, length) == (_DPORT, 2):
        return ("dport", op, _BE16.unpack(value)[0])
    inet = "ip" if offset in (12, 16) else "ip6"
    word = {at: word for word, at in _ADDRESS[inet].items()}[offset]
    width = _WIDTH[inet]
    bits = length * 8 if mask is None else int.from_bytes(mask, "big").bit_count()
    if base != NETWORK_HEADER or (mask is not None and mask != _mask(width, bits)):
        raise ValueError
    return (word, op, f"{unpack_ip(value.ljust(width, bytes(1)))}/{bits}")


def _nat(found: dict[int, bytes], registers: dict[int, bytes]) -> tuple[Any, ...]:
    address, port = found[NAT_ADDR], found.get(NAT_PORT)
    flags = _u32(found.get(NAT_FLAGS, bytes(4)))
    odd = found.get(NAT_ADDR_MAX, address) != address or found.get(NAT_PORT_MAX, port) != port
    if odd or flags & ~_PLAIN_FLAGS:
        raise ValueError
    word = {number: word for word, number in _NATS.items()}[_u32(found[NAT_TYPE])]
    to_port = _BE16.unpack(registers[_u32(port)][:2])[0] if port is not None else None
    return (word, unpack_ip(registers[_u32(address)]), to_port)
