"""Knowing when the kernel has let go of a namespace (net/core/net_namespace.c).

A name that is taken away says nothing about the namespace: a process, a socket or another mount may hold it, and even a
free one is cleaned up later by a worker. But the worker's first act is to withdraw the ids by which other namespaces
know it, and that is announced (RTM_DELNSID): the announcement proves that nobody holds the namespace any more.
"""

from __future__ import annotations

import _socket as socket  # see netlink.py
import os
from collections.abc import Iterable
from contextlib import suppress
from time import monotonic

from netdsl import wire
from netdsl.errors import KernelError
from netdsl.kernel import namespaces
from netdsl.kernel.netlink import Netlink

_RTM_NEWNSID, _RTM_DELNSID, _RTM_GETNSID = 88, 89, 90
_NETNSA_NSID, _NETNSA_FD = 1, 3
_RTNLGRP_NSID = 28
_SOL_NETLINK, _ADD_MEMBERSHIP = 270, 1
_SOON = 0.2
"""Seconds in which the rest of a batch is announced, and one that began at the same time on another CPU."""


def nsid(own: Netlink, fd: int) -> int:
    """The id by which a socket's namespace knows another, or -1."""
    answer = own.ask(_RTM_GETNSID, b"\0\0\0\0" + wire.attr_u32(_NETNSA_FD, fd))
    payload = wire.attrs(answer, 4, len(answer)).get(_NETNSA_NSID)
    return int.from_bytes(payload, "little", signed=True) if payload else -1


class Watch:
    """Watches some named namespaces while their names are dropped: `with Watch(...) as watch`, drop, `watch.wait()`.

    The kernel's worker takes what nobody holds any more in batches, and announces a batch when it begins with it. So an
    empty namespace of ours goes first: it keeps the worker busy for a moment, in which the others gather to one batch.
    Another goes last, as late as they do: a socket closed in them holds them until an RCU grace period is over.
    Soon after that one is announced, what is not announced is held by somebody.
    """

    def __init__(self, own: Netlink, names: Iterable[str]) -> None:
        self._events = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        self._events.bind((0, 0))
        self._events.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _RTNLGRP_NSID)
        with suppress(OSError):
            self._events.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._left: dict[int, str] = {}
        for name in names:
            with suppress(KernelError):
                fd = namespaces.open_fd(name)
                number = _give_id(own, fd)
                os.close(fd)
                if number >= 0:
                    self._left[number] = name
        self._last, self._socket = namespaces.unnamed(Netlink)
        self._end = _give_id(own, self._last)

    def __enter__(self) -> Watch:
        first, socket_there = namespaces.unnamed(Netlink)
        socket_there.close()
        os.close(first)
        return self

    def __exit__(self, *_: object) -> None:
        self._events.close()

    def wait(self, patience: float) -> list[str]:
        """Those that are held, or none if the kernel is so busy that it does not show within so many seconds."""
        self._socket.close()
        os.close(self._last)
        deadline, shown = monotonic() + patience, False
        while self._left:
            self._events.settimeout(max(0.001, deadline - monotonic()))
            try:
                buffer = self._events.recv(1 << 16)
            except TimeoutError:
                break
            except OSError:  # announcements were lost: nothing can be said about the rest
                return []
            size, kind, _, _, _ = wire.HEADER.unpack_from(buffer, 0)
            payload = wire.attrs(buffer, 20, size).get(_NETNSA_NSID) if kind == _RTM_DELNSID else None
            if payload:
                number = int.from_bytes(payload, "little", signed=True)
                self._left.pop(number, None)
                shown |= number == self._end
                if shown:
                    deadline = monotonic() + _SOON
        return sorted(self._left.values()) if shown else []


def _give_id(own: Netlink, fd: int) -> int:
    """The id by which the socket's namespace knows another, which it now has; -1 if it was refused."""
    body = b"\0\0\0\0" + wire.attr_u32(_NETNSA_FD, fd) + wire.attr_u32(_NETNSA_NSID, 2**32 - 1)
    own.submit([(1, wire.message(_RTM_NEWNSID, wire.F_REQUEST, 1, body))])  # refused when it has one already
    return nsid(own, fd)
