"""A rtnetlink socket: batches of requests with attributed errors, and consistent dumps (netlink(7))."""

from __future__ import annotations

import _socket as socket  # what the module around it adds is not needed here, and a hundredth of a start
import errno
from collections.abc import Callable, Sequence
from threading import Lock

from netdsl import wire
from netdsl.errors import KernelError
from netdsl.lang.ops import Failure

_SOL_NETLINK = 270
_CAP_ACK, _EXT_ACK, _STRICT_CHK = 10, 11, 12
_SO_RCVBUFFORCE = 33
_SO_NETNS_COOKIE = 71
_RCVBUF = 4 << 20
_CHUNK = 60_000
"""Bytes in one send(); less than the default send buffer."""
_ACK_SPACE = 1024
"""Receive buffer that one error message can take (struct sk_buff and its data)."""
_TRIES = 20
"""How often a dump is repeated that changed under our hands."""


class Netlink:
    """One socket, in the namespace of the thread that makes it."""

    def __init__(self, protocol: int = 0) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        setsockopt = self._socket.setsockopt
        for option in (_CAP_ACK, _EXT_ACK, _STRICT_CHK):
            setsockopt(_SOL_NETLINK, option, 1)
        try:
            setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RCVBUF)
        except PermissionError:  # in a user namespace
            setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RCVBUF)
        self._window = max(16, min(512, self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // _ACK_SPACE))
        self._seq = 1 << 24
        self._lock = Lock()  # one thread may look where another sends: each is to get its own answers

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def cookie(self) -> int:
        """The namespace's SO_NETNS_COOKIE: never used twice while the machine runs."""
        return int.from_bytes(self._socket.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8), "little")

    def submit(self, messages: Sequence[tuple[int, bytes]]) -> dict[int, Failure]:
        """Send messages (sequence number, whole message) in order; returns those that the kernel refused.

        Only the last message of each send asks for an acknowledgement: the kernel works a send off in order and
        reports every error, so silence about a message before an acknowledged one is its success.
        """
        failures: dict[int, Failure] = {}
        start, total = 0, len(messages)
        while start < total:
            size, end = 0, start
            while end < total and end - start < self._window and (size < _CHUNK or end == start):
                size += len(messages[end][1])
                end += 1
            buffer = bytearray(b"".join([body for _, body in messages[start:end]]))
            last, body = messages[end - 1]
            buffer[len(buffer) - len(body) + 6] |= wire.F_ACK
            failures |= self.exchange(buffer, last)
            start = end
        return failures

    def exchange(self, buffer: bytes | bytearray, last: int) -> dict[int, Failure]:
        """One send; returns what was refused. `last` is the number of the message that asks for an acknowledgement.

        Number 0 is that of a batch as a whole (nfnetlink_rcv_batch).
        """
        failures: dict[int, Failure] = {}
        with self._lock:
            self._send(buffer)
            self._collect(last, failures)
        return failures

    def _send(self, buffer: bytes | bytearray) -> None:
        try:
            self._socket.send(buffer)
        except OSError as error:
            raise KernelError(f"netlink send failed: {error.strerror}", error.errno or 0) from error

    def _receive(self) -> bytes:
        try:
            return self._socket.recv(1 << 17)
        except OSError as error:
            lost = " (answers were lost; run the command again)" if error.errno == errno.ENOBUFS else ""
            raise KernelError(f"netlink receive failed: {error.strerror}{lost}", error.errno or 0) from error

    def _collect(self, last: int, failures: dict[int, Failure]) -> None:
        while True:
            buffer = self._receive()
            offset = 0
            while offset < len(buffer):
                size, kind, flags, seq, _ = wire.HEADER.unpack_from(buffer, offset)
                if kind == wire.NLMSG_ERROR:
                    failure = _failure(buffer, offset, size, flags)
                    if failure is not None:
                        failures[seq] = failure
                    if seq in (last, 0):
                        return
                offset += (size + 3) & ~3

    def dump(self, request: int, body: bytes, read: Callable[[bytes, int, int], None]) -> None:
        """Call `read(buffer, start, end)` with the body of each object; a dump that was interrupted is repeated."""
        for _ in range(_TRIES):
            with self._lock:
                parts = self._dump_once(request, body)
            if parts is not None:
                for buffer, start, end in parts:
                    read(buffer, start, end)
                return
        raise KernelError("the kernel's tables change faster than they can be read", errno.EAGAIN)

    def _dump_once(self, request: int, body: bytes) -> list[tuple[bytes, int, int]] | None:
        self._seq += 1
        self._send(wire.message(request, wire.F_REQUEST | wire.F_DUMP, self._seq, body))
        parts: list[tuple[bytes, int, int]] = []
        interrupted = False
        unpack = wire.HEADER.unpack_from
        while True:
            buffer = self._receive()
            offset, whole = 0, len(buffer)
            while offset < whole:
                size, kind, flags, seq, _ = unpack(buffer, offset)
                if seq == self._seq:
                    if flags & wire.F_DUMP_INTR:
                        interrupted = True
                    if kind == wire.NLMSG_DONE:
                        return None if interrupted else parts
                    if kind == wire.NLMSG_ERROR:
                        failure = _failure(buffer, offset, size, flags)
                        if failure is not None:
                            raise KernelError(f"dump {request} failed: {failure}", failure.errno)
                    else:
                        parts.append((buffer, offset + 16, offset + size))
                offset += (size + 3) & ~3

    def ask(self, request: int, body: bytes) -> bytes:
        """One request with one answer: the body of it."""
        with self._lock:
            self._seq += 1
            self._send(wire.message(request, wire.F_REQUEST, self._seq, body))
            while True:
                buffer = self._receive()
                size, kind, flags, seq, _ = wire.HEADER.unpack_from(buffer, 0)
                if seq == self._seq:
                    if kind == wire.NLMSG_ERROR:
                        failure = _failure(buffer, 0, size, flags)
                        if failure is not None:
                            raise KernelError(f"request {request} failed: {failure}", failure.errno)
                    return buffer[16:size]


def _failure(buffer: bytes, offset: int, size: int, flags: int) -> Failure | None:
    """What an NLMSG_ERROR says; None for an acknowledgement."""
    number = -int.from_bytes(buffer[offset + 16 : offset + 20], "little", signed=True)
    if not number:
        return None
    words = ""
    if flags & wire.F_ACK_TLVS:
        start = offset + 20 + 16
        if not flags & wire.F_CAPPED:
            start = offset + 20 + wire.HEADER.unpack_from(buffer, offset + 20)[0]
        words = wire.kernel_message(wire.attrs(buffer, start, offset + size))
    return Failure(number, words)
