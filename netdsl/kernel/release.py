"""Knowing when the kernel has let go of a namespace (net/core/net_namespace.c).

A name that is taken away says nothing about the namespace: a process, a socket or another mount may hold it, and even a
free one is cleaned up later by a worker. But the worker's first act is to withdraw the ids by which other namespaces
know it, and that is announced (RTM_DELNSID): the announcement proves that nobody holds the namespace any more.
"""

from __future__ import annotations

import os
import socket
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


def nsid(own: Netlink, fd: int) -> int:
    """The id by which a socket's namespace knows another, or -1."""
    answer = own.ask(_RTM_GETNSID, b"\0\0\0\0" + wire.attr_u32(_NETNSA_FD, fd))
    payload = wire.attrs(answer, 4, len(answer)).get(_NETNSA_NSID)
    return int.from_bytes(payload, "little", signed=True) if payload else -1


class Watch:
    """Watches some named namespaces from before their names are dropped."""

    def __init__(self, own: Netlink, names: Iterable[str]) -> None:
        self._left: dict[int, str] = {}
        self._events = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        self._events.bind((0, 0))
        self._events.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _RTNLGRP_NSID)
        with suppress(OSError):
            self._events.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        for name in names:
            with suppress(KernelError):
                self._give_id(own, name)

    def _give_id(self, own: Netlink, name: str) -> None:
        fd = namespaces.open_fd(name)
        try:
            body = b"\0\0\0\0" + wire.attr_u32(_NETNSA_FD, fd) + wire.attr_u32(_NETNSA_NSID, 2**32 - 1)
            own.submit([(1, wire.message(_RTM_NEWNSID, wire.F_REQUEST, 1, body))])  # refused when it has one already
            number = nsid(own, fd)
            if number >= 0:
                self._left[number] = name
        finally:
            os.close(fd)

    def wait(self, patience: float) -> list[str]:
        """Wait for the kernel to let go of all; returns those that it held on to for `patience` seconds on end."""
        deadline = monotonic() + patience
        while self._left and monotonic() < deadline:
            self._events.settimeout(max(0.001, deadline - monotonic()))
            try:
                buffer = self._events.recv(1 << 16)
            except TimeoutError:
                break
            except OSError:  # announcements were lost: nothing can be said about the rest
                break
            size, kind, _, _, _ = wire.HEADER.unpack_from(buffer, 0)
            payload = wire.attrs(buffer, 20, size).get(_NETNSA_NSID) if kind == _RTM_DELNSID else None
            if payload and self._left.pop(int.from_bytes(payload, "little", signed=True), None) is not None:
                deadline = monotonic() + patience
        self._events.close()
        return sorted(self._left.values())
