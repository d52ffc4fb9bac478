"""The least that a plan has to read: dump and decode every named netns, with `struct` alone. `python lean_dump.py`

Links, addresses, IPv4 routes, neighbours and forwarding entries of each namespace become a list of
(header, {attribute: bytes}); nested attributes of links are decoded too. Nothing is compared. Prints how many objects
there were.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

LINK, ADDRESS, ROUTE, NEIGHBOUR = 18, 22, 26, 30
AF_INET, AF_BRIDGE = 2, 7
REQUESTS = (
    (LINK, struct.pack("=BBHiII", 0, 0, 0, 0, 0, 0) + struct.pack("=HHI", 8, 29, 8), 16),  # without statistics
    (ADDRESS, struct.pack("=BBBBI", AF_INET, 0, 0, 0, 0), 8),
    (ROUTE, struct.pack("=BBBBBBBBI", AF_INET, 0, 0, 0, 0, 0, 0, 0, 0), 12),
    (NEIGHBOUR, struct.pack("=BxxxiHBB", AF_INET, 0, 0, 0, 0), 12),
    (NEIGHBOUR, struct.pack("=BxxxiHBB", AF_BRIDGE, 0, 0, 0, 0), 12),
)
NESTED = {LINK: (18, 26)}  # IFLA_LINKINFO, IFLA_AF_SPEC
HEADER = struct.Struct("=IHHII")
SHORTS = struct.Struct("=HH")
DONE, ERROR = 3, 2
ROOT, REQUEST = 0x300, 1

Entry = tuple[bytes, dict[int, bytes]]


def attributes(buffer: bytes, start: int, end: int) -> dict[int, bytes]:
    """What follows a header."""
    found = {}
    unpack = SHORTS.unpack_from
    while start + 4 <= end:
        size, kind = unpack(buffer, start)
        found[kind & 0x3FFF] = buffer[start + 4 : start + size]
        start += (size + 3) & ~3
    return found


def dump(sock: socket.socket, kind: int, body: bytes, header: int) -> Iterator[Entry]:
    """All objects of a kind."""
    sock.send(HEADER.pack(16 + len(body), kind, REQUEST | ROOT, 1, 0) + body)
    while True:
        buffer = sock.recv(1 << 17)
        offset = 0
        while offset < len(buffer):
            size, answer, *_ = HEADER.unpack_from(buffer, offset)
            if answer == DONE:
                return
            if answer == ERROR:
                raise OSError(-struct.unpack_from("=i", buffer, offset + 16)[0], "dump refused")
            first = offset + 16
            found = attributes(buffer, first + header, offset + size)
            for nested in NESTED.get(kind, ()):
                if nested in found:
                    attributes(found[nested], 0, len(found[nested]))
            yield buffer[first : first + header], found
            offset += (size + 3) & ~3


def main() -> None:
    """Read everything."""
    libc = ctypes.CDLL(None, use_errno=True)
    lab: dict[str, list[list[Entry]]] = {}
    for name in os.listdir("/run/netns"):
        with Path("/run/netns", name).open("rb") as handle:
            if libc.setns(handle.fileno(), 0):
                raise OSError(ctypes.get_errno(), "setns")
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as sock:
            sock.setsockopt(270, 12, 1)  # NETLINK_GET_STRICT_CHK
            lab[name] = [list(dump(sock, *request)) for request in REQUESTS]
    print(sum(len(entries) for tables in lab.values() for entries in tables))


if __name__ == "__main__":
    main()
