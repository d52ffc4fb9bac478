"""Types of property values: what a user may write, its normal form, and its form in a netlink attribute.

The normal form is what the kernel would show: integers, booleans, and strings for addresses ("fe80::1",
"aa:bb:cc:dd:ee:ff", "10.0.0.1/24"). It is JSON as it stands, so plans and state hold it unchanged.
"""

from __future__ import annotations

import re
from _socket import AF_INET, AF_INET6, inet_ntop, inet_pton  # see kernel/netlink.py
from collections.abc import Callable, Mapping
from functools import lru_cache
from struct import Struct
from typing import Any

import attrs

from netdsl import wire
from netdsl.lang.naming import check_ifname

Value = Any
"""A normal form: bool, int or str (a reference to a resource until it is turned into an item)."""


@attrs.frozen
class ValueType:
    """A type of property values.

    name    what messages and the manual call it
    check   the user's value -> normal form; ValueError says what would be right
    pack    normal form -> attribute payload
    unpack  attribute payload -> normal form
    link    the value names a link of the same netns: packed as its ifindex
    absent  what it means that the kernel shows no such attribute
    spoken  what `ip` wants to read, where that is not the value itself; several words are a tuple
    presence  the attribute stands for True by being there (NLA_FLAG)
    recorded  the normal form -> itself, where `check` takes something else; ValueError as there
    """

    name: str
    check: Callable[[Any], Value]
    pack: Callable[[Any], bytes]
    unpack: Callable[[bytes], Value]
    link: bool = False
    spoken: Callable[[Any], Any] = lambda value: value
    absent: Value = None
    presence: bool = False
    recorded: Callable[[Any], Value] | None = None

    def check_recorded(self, value: Any) -> Value:
        """A normal form that comes from outside. Raises ValueError for what is none."""
        return (self.recorded or self.check)(value)


def _no_pack(_value: Any) -> bytes:
    raise TypeError("this property has no netlink attribute")


def _no_unpack(_payload: bytes) -> Value:
    raise TypeError("this property has no netlink attribute")


def _integer(layout: str, low: int, high: int, name: str) -> ValueType:
    packer = Struct(layout)

    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"must be a whole number, not {_shown(value)}")
        if not low <= value <= high:
            raise ValueError(f"must be between {low} and {high}, not {value}")
        return value

    return ValueType(name, check, packer.pack, lambda payload: packer.unpack_from(payload)[0])


def u8(low: int = 0, high: int = 255) -> ValueType:
    """One byte."""
    return _integer("=B", low, high, f"integer {low}..{high}")


def u16(low: int = 0, high: int = 65535) -> ValueType:
    """Two bytes in host order."""
    return _integer("=H", low, high, f"integer {low}..{high}")


def be16(low: int = 0, high: int = 65535) -> ValueType:
    """Two bytes in network order."""
    return _integer(">H", low, high, f"integer {low}..{high}")


def be32(low: int = 0, high: int = 2**32 - 1) -> ValueType:
    """Four bytes in network order."""
    return _integer(">I", low, high, f"integer {low}..{high}")


def u32(low: int = 0, high: int = 2**32 - 1) -> ValueType:
    """Four bytes in host order."""
    return _integer("=I", low, high, f"integer {low}..{high}")


def bit16(mask: int) -> ValueType:
    """A boolean in a bit of two bytes in network order, which a kind packs together with the others."""
    return ValueType("boolean", _check_bool, _no_pack, lambda p: bool(int.from_bytes(p[:2], "big") & mask))


def clock(low: int = 0, high: int = 2**32 - 1) -> ValueType:
    """Seconds, which the kernel keeps in USER_HZ (a hundredth of a second)."""
    base = _integer("=I", low, high, f"seconds {low}..{high}")
    return ValueType(
        base.name,
        base.check,
        lambda v: base.pack(v * 100),
        lambda p: int(base.unpack(p)) // 100,
        spoken=lambda v: v * 100,
    )


def tos() -> ValueType:
    """A TOS or traffic class byte, which `ip` reads as hexadecimal."""
    return attrs.evolve(u8(), spoken=hex)


def _check_bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise ValueError(f"must be True or False, not {_shown(value)}")


FLAG = ValueType("boolean", _check_bool, lambda v: b"\1" if v else b"\0", lambda p: p[0] != 0)
"""A boolean in one byte."""

FLAG32 = ValueType("boolean", _check_bool, lambda v: wire.U32.pack(bool(v)), lambda p: wire.U32.unpack(p)[0] != 0)
"""A boolean in four bytes."""

PRESENCE = ValueType("boolean", _check_bool, lambda v: b"", lambda p: not p or p[0] != 0, absent=False, presence=True)
"""A boolean that is True when its attribute is there; some drivers show it as a byte all the same."""

BOOL = ValueType("boolean", _check_bool, _no_pack, _no_unpack)
"""A boolean that a kind encodes by itself (a bit in a header)."""


def text(longest: int) -> ValueType:
    """A string of at most `longest` bytes; sent without a NUL, so that "" empties what the kernel keeps."""

    def check(value: Any) -> str:
        if not isinstance(value, str):
            raise ValueError(f"must be a string, not {_shown(value)}")
        if "\0" in value or len(value.encode()) > longest:
            raise ValueError(f"must be at most {longest} bytes without NUL, not {_shown(value)}")
        return value

    return ValueType(f"string of at most {longest} bytes", check, lambda v: str(v).encode(), wire.text)


def choice(*words: str, packed: Callable[[Any], bytes] = _no_pack) -> ValueType:
    """One of a few words; the word's position is its number in a u32 unless packed otherwise."""
    known = frozenset(words)

    def check(value: Any) -> str:
        if isinstance(value, str) and value in known:
            return value
        raise ValueError(f"must be one of {', '.join(words)}, not {_shown(value)}")

    return ValueType(" | ".join(words), check, packed, _no_unpack)


def named(layout: str, numbers: Mapping[str, int]) -> ValueType:
    """One of a few words, each with its number in the kernel; a number without a word is shown as it is."""
    packer = Struct(layout)
    words = {number: word for word, number in numbers.items()}

    def unpack(payload: bytes) -> str:
        number = packer.unpack_from(payload)[0]
        return words.get(number, str(number))

    return attrs.evolve(choice(*numbers, packed=lambda word: packer.pack(numbers[word])), unpack=unpack)


def numbered(*words: str) -> ValueType:
    """One of a few words, whose position is its number in one byte."""

    def unpack(payload: bytes) -> str:
        return words[payload[0]] if payload[0] < len(words) else str(payload[0])

    return attrs.evolve(choice(*words), pack=lambda v: bytes([words.index(v)]), unpack=unpack)


_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


@lru_cache(maxsize=65536)
def _check_mac_text(value: str) -> str:
    lowered = value.lower().replace("-", ":")
    if not _MAC.fullmatch(lowered):
        raise ValueError(f"must be a MAC address like 02:00:00:00:00:01, not {_shown(value)}")
    return lowered


def _check_mac(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"must be a MAC address as a string, not {_shown(value)}")
    return _check_mac_text(value)


def _check_link_mac(value: Any) -> str:
    mac = _check_mac(value)
    if int(mac[:2], 16) & 1 or mac == "00:00:00:00:00:00":
        raise ValueError(f"must be a unicast address other than all zeroes, not {mac}")
    return mac


def pack_mac(value: str) -> bytes:
    """Six bytes."""
    return bytes.fromhex(value.replace(":", ""))


def unpack_mac(payload: bytes) -> str:
    """The kernel's way to write it: lower case, colons."""
    return payload.hex(":")


MAC = ValueType("MAC address", _check_mac, pack_mac, unpack_mac)
LINK_MAC = ValueType("unicast MAC address", _check_link_mac, pack_mac, unpack_mac)


@lru_cache(maxsize=65536)
def _check_ip_text(value: str) -> str:
    family = AF_INET6 if ":" in value else AF_INET
    try:
        return inet_ntop(family, inet_pton(family, value))
    except (OSError, ValueError):
        raise ValueError(f"must be an IP address like 192.0.2.1 or 2001:db8::1, not {_shown(value)}") from None


def check_ip(value: Any) -> str:
    """An IP address as a string (or an `ipaddress` object) in its normal form."""
    return _check_ip_text(value if isinstance(value, str) else _from_ipaddress(value))


def pack_ip(value: str) -> bytes:
    """4 or 16 bytes."""
    return inet_pton(AF_INET6 if ":" in value else AF_INET, value)


def unpack_ip(payload: bytes) -> str:
    """From 4 or 16 bytes."""
    return inet_ntop(AF_INET if len(payload) == 4 else AF_INET6, payload)


IP = ValueType("IP address", check_ip, pack_ip, unpack_ip)


def is_multicast(address: str) -> bool:
    """Whether an IP address in normal form stands for a group."""
    packed = pack_ip(address)
    return packed[0] == 0xFF if len(packed) == 16 else packed[0] >> 4 == 0xE


def _some_ip(name: str, multicast: bool, instead: str) -> ValueType:
    def check(value: Any) -> str:
        address = check_ip(value)
        if is_multicast(address) != multicast:
            raise ValueError(f"must be a {name}, not {address}{instead}")
        return address

    def unpack(payload: bytes) -> str:
        address = unpack_ip(payload)
        return address if is_multicast(address) == multicast else ""

    return ValueType(name, check, pack_ip, unpack, absent="")


def unicast_ip(instead: str = "") -> ValueType:
    """An IP address of one host; `instead` says in an error where a group belongs. A group is read as none: ""."""
    return _some_ip("unicast IP address", False, instead)


def multicast_ip(instead: str = "") -> ValueType:
    """An IP address of a group; `instead` says in an error where a host belongs. A host is read as none: ""."""
    return _some_ip("multicast IP address", True, instead)


@lru_cache(maxsize=65536)
def _check_cidr_text(value: str, network: bool) -> str:
    what = "a network" if network else "an address"
    address, slash, length = value.partition("/")
    normal = _check_ip_text(address)
    bits = 128 if ":" in normal else 32
    example = "2001:db8::1/64" if bits == 128 else "192.0.2.0/24" if network else "192.0.2.1/24"
    if not slash or not length.isascii() or not length.isdigit():
        raise ValueError(f"must be {what} in CIDR form like {example}, not {_shown(value)}")
    if int(length) > bits:
        raise ValueError(f"must have a prefix length of 0..{bits}, not {_shown(value)}")
    if network and _host_bits(normal, int(length)):
        raise ValueError(f"has bits set beyond its prefix: the network of {value} is {network_of(value).text}")
    return f"{normal}/{int(length)}"


def check_cidr(value: Any) -> str:
    """An address with its prefix length ("10.0.0.1/24")."""
    return _check_cidr_text(value if isinstance(value, str) else _from_ipaddress(value), False)


def check_network(value: Any) -> str:
    """A network without host bits ("10.0.0.0/24"); "default" is 0.0.0.0/0."""
    if value == "default":
        return "0.0.0.0/0"
    return _check_cidr_text(value if isinstance(value, str) else _from_ipaddress(value), True)


CIDR = ValueType("address/prefix", check_cidr, _no_pack, _no_unpack)
NETWORK = ValueType("network/prefix", check_network, _no_pack, _no_unpack)


@attrs.frozen
class Network:
    """A prefix as numbers, for containment tests.

    bits is 32 or 128; value and mask are integers of that many bits.
    """

    bits: int
    value: int
    mask: int

    @property
    def text(self) -> str:
        """In CIDR form."""
        payload = self.value.to_bytes(self.bits // 8, "big")
        return f"{unpack_ip(payload)}/{self.mask.bit_count()}"

    def overlaps(self, other: Network) -> bool:
        """Whether one of the two prefixes lies in the other."""
        mask = self.mask & other.mask
        return self.bits == other.bits and self.value & mask == other.value & mask

    def holds(self, address: str) -> bool:
        """Whether the address lies in the prefix."""
        payload = pack_ip(address)
        return len(payload) * 8 == self.bits and int.from_bytes(payload, "big") & self.mask == self.value


@lru_cache(maxsize=65536)
def network_of(cidr: str) -> Network:
    """The network of an address in CIDR form."""
    address, _, length = cidr.partition("/")
    payload = pack_ip(address)
    bits = len(payload) * 8
    mask = ((1 << int(length)) - 1) << (bits - int(length)) if length else (1 << bits) - 1
    return Network(bits, int.from_bytes(payload, "big") & mask, mask)


def is_v6(address: str) -> bool:
    """Whether an address or prefix in normal form is IPv6."""
    return ":" in address


def _host_bits(address: str, length: int) -> bool:
    payload = pack_ip(address)
    return bool(int.from_bytes(payload, "big") & ((1 << (len(payload) * 8 - length)) - 1))


def _from_ipaddress(value: Any) -> str:
    if type(value).__module__ == "ipaddress":
        return str(value)
    raise ValueError(f"must be an address as a string, not {_shown(value)}")


def _shown(value: Any) -> str:
    """A value in an error message: short, and of a resource its name."""
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."


def reference(what: str, *words: str) -> ValueType:
    """A property that holds another link of the same netns (of certain kinds: `words`); an item keeps its name."""

    def check(value: Any) -> Value:
        if getattr(type(value), "is_link", False) and (not words or value.word in (*words, "")):
            return value
        raise ValueError(f"must be {what}, not {_shown(value)}")

    return ValueType(
        what, check, wire.U32.pack, lambda payload: wire.U32.unpack(payload)[0], link=True, recorded=check_ifname
    )
