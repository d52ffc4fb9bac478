"""Netlink's message and attribute layout (linux/netlink.h), pure: bytes in, bytes out.

A message is a 16-byte header {u32 length, u16 type, u16 flags, u32 seq, u32 port}, a fixed family header and
attributes {u16 length, u16 type, payload} padded to four bytes. Integers are in host order unless an attribute says
otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from struct import Struct

HEADER = Struct("=IHHII")
ATTR = Struct("=HH")
U32 = Struct("=I")

NLMSG_ERROR, NLMSG_DONE = 2, 3

F_REQUEST, F_MULTI, F_ACK, F_DUMP_INTR = 0x01, 0x02, 0x04, 0x10
F_DUMP = 0x300
F_REPLACE, F_EXCL, F_CREATE, F_APPEND = 0x100, 0x200, 0x400, 0x800
F_CAPPED, F_ACK_TLVS = 0x100, 0x200

NESTED = 0x8000
_TYPE_MASK = 0x3FFF
_PAD = (b"", b"\0\0\0", b"\0\0", b"\0")

IFINFO = Struct("=BxHiII")
"""struct ifinfomsg: family, device type, ifindex, flags, change mask."""


GENERIC = Struct("=BBxx")
"""struct genlmsghdr: command, version."""


def attr(number: int, payload: bytes) -> bytes:
    """One attribute, padded.

    >>> attr(3, b"eth0").hex()
    '0800030065746830'
    """
    size = len(payload)
    return ATTR.pack(size + 4, number) + payload + _PAD[size & 3]


def attr_u32(number: int, value: int) -> bytes:
    """One attribute that holds a u32 in host order."""
    return ATTR.pack(8, number) + U32.pack(value)


def nest(number: int, payload: bytes) -> bytes:
    """An attribute that holds attributes (NLA_F_NESTED set; the payload is already padded)."""
    return ATTR.pack(len(payload) + 4, number | NESTED) + payload


def message(kind: int, flags: int, seq: int, body: bytes) -> bytes:
    """A whole message; every body that we build is a multiple of four bytes long."""
    return HEADER.pack(16 + len(body), kind, flags, seq, 0) + body


def attrs(buffer: bytes, start: int, end: int) -> dict[int, bytes]:
    """Attributes between two offsets, by number (flag bits removed; of repeated ones the last)."""
    found: dict[int, bytes] = {}
    unpack = ATTR.unpack_from
    while start + 4 <= end:
        size, number = unpack(buffer, start)
        if size < 4:
            break
        found[number & _TYPE_MASK] = buffer[start + 4 : start + size]
        start += (size + 3) & ~3
    return found


def attr_list(buffer: bytes) -> list[tuple[int, bytes]]:
    """Attributes in order, repeats included."""
    found: list[tuple[int, bytes]] = []
    start, end = 0, len(buffer)
    while start + 4 <= end:
        size, number = ATTR.unpack_from(buffer, start)
        if size < 4:
            break
        found.append((number & _TYPE_MASK, buffer[start + 4 : start + size]))
        start += (size + 3) & ~3
    return found


def text(payload: bytes) -> str:
    """A NUL-terminated string."""
    return payload.split(b"\0", 1)[0].decode("utf-8", "replace")


def kernel_message(extended_ack: Mapping[int, bytes]) -> str:
    """The kernel's own words in an extended acknowledgement (NLMSGERR_ATTR_MSG), or ""."""
    return text(extended_ack.get(1, b""))
