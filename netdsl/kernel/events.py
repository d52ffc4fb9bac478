"""Being told that something changed: netlink's multicast groups, the mount table, and a stack's lock file.

Nothing that is told is taken at its word: it only says where to look again. So nothing is lost when the kernel drops
notifications because nobody reads them in time (ENOBUFS); that too only says where to look.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import socket
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from struct import Struct

import attrs

from netdsl.errors import KernelError
from netdsl.kernel import namespaces
from netdsl.lang.ops import NETLINK_NETFILTER

_SOL_NETLINK, _ADD_MEMBERSHIP = 270, 1
_IN_CLOSE_WRITE = 0x8
_IN_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC
_INOTIFY = Struct("=iIII")
"""struct inotify_event: watch, mask, cookie, length of the name that follows."""

GROUPS = {
    0: (
        *(1, 3, 4),  # RTNLGRP_LINK, NEIGH, TC
        *(5, 7, 8, 24),  # IPV4_IFADDR, IPV4_ROUTE, IPV4_RULE, IPV4_NETCONF
        *(9, 11, 19, 25),  # the same of IPv6
        *(26, 32, 33, 35),  # MDB, NEXTHOP, BRVLAN, TUNNEL
    ),
    NETLINK_NETFILTER: (7,),  # NFNLGRP_NFTABLES
}
"""Multicast groups by netlink protocol (linux/rtnetlink.h, linux/netfilter/nfnetlink.h); an old kernel lacks some."""


@attrs.define
class Heard:
    """What happened.

    touched   namespaces in which something changed, and those that came, went or were made anew
    lost      those of them of which notifications were lost
    released  somebody closed the lock file
    """

    touched: set[str] = attrs.field(factory=set)
    lost: set[str] = attrs.field(factory=set)
    released: bool = False


@attrs.define(eq=False, repr=False)
class _Ear:
    """The sockets in one namespace, and its inode, which tells it from one re-created under its name."""

    inode: int
    sockets: list[socket.socket] = attrs.field(factory=list)


class Listener:
    """Hears of changes in some namespaces. Nothing runs while nothing happens."""

    def __init__(self, lock: Path) -> None:
        self._ears: dict[str, _Ear] = {}
        self._wanted: Mapping[str, frozenset[int]] = {}
        self._by_fd: dict[int, tuple[str, socket.socket]] = {}
        self._lock = lock.name
        self._epoll = select.epoll()
        self._mounts = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
        self._epoll.register(self._mounts, select.EPOLLPRI)
        self._inotify = _inotify(lock.parent)
        self._epoll.register(self._inotify, select.EPOLLIN)

    def follow(self, wanted: Mapping[str, frozenset[int]]) -> set[str]:
        """Listen in these namespaces, by these netlink protocols, as far as they exist; returns those that moved."""
        self._wanted = wanted
        return self._follow()

    def _follow(self) -> set[str]:
        gone = {name for name, ear in self._ears.items() if name not in self._wanted or _inode(name) != ear.inode}
        for name in gone:
            self._close(name)
        missing = sorted(name for name in self._wanted if name not in self._ears)
        if missing:
            namespaces.in_threads([lambda: self._open(missing)])
        return gone | {name for name in missing if name in self._ears}

    def _open(self, missing: Iterable[str]) -> None:
        """On a thread of its own, which wanders; "" is the program's own namespace and comes first."""
        for name in missing:
            try:
                if name:
                    namespaces.enter(name)
            except KernelError as error:
                if error.errno not in (errno.ENOENT, errno.EINVAL):
                    raise
                continue  # there is none of that name, or none yet
            ear = self._ears[name] = _Ear(os.stat("/proc/thread-self/ns/net").st_ino)
            for protocol in self._wanted[name]:
                heard = _join(protocol)
                if heard is not None:
                    ear.sockets.append(heard)
                    self._by_fd[heard.fileno()] = (name, heard)
                    self._epoll.register(heard.fileno(), select.EPOLLIN)

    def _close(self, name: str) -> None:
        """An open socket keeps a namespace alive."""
        for heard in self._ears.pop(name).sockets:
            del self._by_fd[heard.fileno()]
            self._epoll.unregister(heard.fileno())
            heard.close()

    def close(self) -> None:
        """Close everything."""
        for name in list(self._ears):
            self._close(name)
        self._epoll.close()
        os.close(self._mounts)
        os.close(self._inotify)

    def wait(self, seconds: float | None) -> Heard:
        """Wait for something to happen, at most so long; None: for ever."""
        heard = Heard()
        mounts = False
        for fd, _ in self._epoll.poll(seconds):
            if fd == self._mounts:
                mounts = True
            elif fd == self._inotify:
                heard.released = self._lock in _names(os.read(fd, 1 << 16)) or heard.released
            else:
                name, source = self._by_fd[fd]
                heard.touched.add(name)
                if _drain(source):
                    heard.lost.add(name)
        if mounts:
            heard.touched |= self._follow()
        return heard


def _inode(name: str) -> int:
    """Of the namespace under a name; 0 where there is none."""
    try:
        return os.stat(namespaces.DIRECTORY / name if name else "/proc/self/ns/net").st_ino
    except FileNotFoundError:
        return 0


def _join(protocol: int) -> socket.socket | None:
    """A socket in the calling thread's namespace; None where that lacks the protocol, or tells nothing by it."""
    if protocol not in GROUPS:
        return None
    try:
        found = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, protocol)
        found.bind((0, 0))
    except OSError as error:
        if error.errno == errno.EPROTONOSUPPORT:
            return None
        raise
    for group in GROUPS[protocol]:
        with suppress(OSError):
            found.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)
    return found


def _drain(source: socket.socket) -> bool:
    """Read all that waits; says whether something was lost."""
    lost = False
    while True:
        try:
            source.recv(1)  # the rest of the message is dropped
        except BlockingIOError:
            return lost
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise KernelError(f"netlink receive failed: {error.strerror}", error.errno or 0) from error
            lost = True


def _inotify(folder: Path) -> int:
    """A descriptor that tells of files in a directory that are closed after they were open for writing."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = int(libc.inotify_init1(_IN_FLAGS))
    if fd < 0 or libc.inotify_add_watch(fd, os.fsencode(folder), _IN_CLOSE_WRITE) < 0:
        number = ctypes.get_errno()
        raise KernelError(f"{folder} cannot be watched: {os.strerror(number)}", number)
    return fd


def _names(buffer: bytes) -> set[str]:
    found, offset = set(), 0
    while offset < len(buffer):
        size = _INOTIFY.unpack_from(buffer, offset)[3]
        offset += _INOTIFY.size + size
        found.add(os.fsdecode(buffer[offset - size : offset].rstrip(b"\0")))
    return found
