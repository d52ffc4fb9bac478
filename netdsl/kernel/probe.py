"""Checks tried out: ICMP echoes and TCP connects from inside network namespaces, side by side.

An echo is sent again, at growing intervals, until one is answered: the first may be lost while a neighbour is looked
up or an address is still being checked. What routers say to it comes by the socket's error queue (ip(7), IP_RECVERR),
and is told apart from what others are told by its identifier.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import time
from collections import deque
from collections.abc import Iterator, Sequence
from struct import Struct
from typing import NamedTuple

from netdsl.errors import KernelError
from netdsl.kernel import namespaces
from netdsl.lang.check import ICMP_LEAST, Check, Result
from netdsl.lang.values import is_v6, unpack_ip

MOST = 128
"""Checks that are tried at the same time, each by a thread."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5
"""Seconds between tries: the first, then doubled up to the longest."""
_USUAL_SIZE = 84
"""Bytes of an IPv4 packet with an echo request where no size is given: what ping(8) sends."""
_BUFFER = 1 << 17
"""Bytes: more than the largest packet."""

_ECHO = Struct("!BBHHH")
"""struct icmphdr of an echo: type, code, checksum, identifier, sequence number."""
_EXTENDED_ERR = Struct("=IBBBxII")
"""struct sock_extended_err: errno, origin, type, code, info, data; then the address of who says it."""
_LOCAL = 1
"""SO_EE_ORIGIN_LOCAL: the sending socket itself says it."""
_IP_TTL_AT = 8
_NUMBER = Struct("=i")

_IP_MTU_DISCOVER, _IP_RECVERR = 10, 11
_IPV6_MTU_DISCOVER, _IPV6_RECVERR, _IPV6_DONTFRAG = 23, 25, 62
_PROBE = 3
"""IP_PMTUDISC_PROBE: set DF, and go by the device's MTU instead of what was learned about the path before."""
_SOL_RAW, _ICMP_FILTER, _ICMPV6_FILTER = 255, 1, 1
_ONLY_REPLIES6 = bytes(0xFF ^ (1 << 129 % 8 if at == 129 // 8 else 0) for at in range(32))
"""struct icmp6_filter that blocks all types but 129."""


class _Family(NamedTuple):
    """What is different about ICMP and ICMPv6.

    request, reply, exceeded  message types
    least       bytes of the smallest request with its IP header
    errors      level and type of what the error queue holds
    speaker     where in it the address is of who says it
    options     of every socket
    whole       of one whose packets must not be fragmented
    """

    number: int
    protocol: int
    request: int
    reply: int
    exceeded: int
    least: int
    errors: tuple[int, int]
    speaker: slice
    options: Sequence[tuple[int, int, int | bytes]]
    whole: Sequence[tuple[int, int, int]]


_V4 = _Family(
    *(socket.AF_INET, socket.IPPROTO_ICMP, 8, 0, 11, ICMP_LEAST[4]),
    errors=(socket.IPPROTO_IP, _IP_RECVERR),
    speaker=slice(20, 24),
    options=[(socket.IPPROTO_IP, _IP_RECVERR, 1), (_SOL_RAW, _ICMP_FILTER, ~1)],
    whole=[(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PROBE)],
)
_V6 = _Family(
    *(socket.AF_INET6, socket.IPPROTO_ICMPV6, 128, 129, 3, ICMP_LEAST[6]),
    errors=(socket.IPPROTO_IPV6, _IPV6_RECVERR),
    speaker=slice(24, 40),
    options=[
        (socket.IPPROTO_IPV6, _IPV6_RECVERR, 1),
        (socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1),
        (socket.IPPROTO_ICMPV6, _ICMPV6_FILTER, _ONLY_REPLIES6),
    ],
    whole=[(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PROBE), (socket.IPPROTO_IPV6, _IPV6_DONTFRAG, 1)],
)


def run(checks: Sequence[Check]) -> list[Result]:
    """Try all of them, and say what came of each, in the same order. Raises KernelError where the right is missing."""
    known = namespaces.names() | {""}
    up = "`netdsl up` makes what the stack declares."
    results = [Result(check, None, f"there is no netns {check.netns}", fix=up) for check in checks]
    # A thread that has entered a namespace cannot come back to netdsl's own, so checks from there go first.
    todo = deque(sorted((i for i, c in enumerate(checks) if c.netns in known), key=lambda i: checks[i].netns != ""))
    first = int.from_bytes(os.urandom(2))

    def work() -> None:
        while todo:
            try:
                index = todo.popleft()
            except IndexError:  # another thread has taken the last one
                return
            try:
                results[index] = _try(checks[index], first + index & 0xFFFF)
            except BaseException:
                todo.clear()
                raise

    namespaces.in_threads([work] * min(len(todo), MOST))
    return results


def _try(check: Check, identifier: int) -> Result:
    """Try one in this thread. Raises KernelError where the right is missing: it is missing for the others too."""
    try:
        if check.netns:
            namespaces.enter(check.netns)
        return _echo(check, identifier) if check.port is None else _connect(check)
    except KernelError as error:
        if error.errno in (errno.EPERM, errno.EACCES):
            raise
        return Result(check, None, error.problems[0].what)
    except OSError as error:  # no IPv6 in this kernel, no descriptor left
        return Result(check, None, f"it cannot be tried: {error.strerror}")


def resolve(host: str) -> str:
    """The first address of a host. Raises OSError."""
    address: str = str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])
    return address


def _pauses() -> Iterator[float]:
    pause = _FIRST_PAUSE
    while True:
        yield pause
        pause = min(2 * pause, _LONGEST_PAUSE)


def _ms(since: float) -> float:
    return (time.monotonic() - since) * 1000


def _gave_up(check: Check, began: float, what: str, last: str) -> Result:
    return Result(check, False, f"no {what} within {check.within:g} s{f': {last}' if last else ''}", _ms(began))


def _connect(check: Check) -> Result:
    began, last = time.monotonic(), ""
    end = began + check.within
    family = socket.AF_INET6 if is_v6(check.to) else socket.AF_INET
    for pause in _pauses():
        with socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as tcp:
            tried = time.monotonic()
            refused = tcp.connect_ex((check.to, check.port))
            if refused == errno.EINPROGRESS:
                if not _await(tcp, select.POLLOUT, end):
                    return _gave_up(check, began, "connection", last)
                refused = tcp.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if not refused and tcp.getsockname() == tcp.getpeername():
                refused = errno.ECONNREFUSED  # our own port by chance: TCP connects a socket to itself
            if not refused:
                return Result(check, True, f"connected in {_ms(tried):.2f} ms", _ms(tried))
        last = os.strerror(refused)
        if time.monotonic() + pause >= end:
            return _gave_up(check, began, "connection", last)
        time.sleep(pause)
    raise AssertionError


def _await(sock: socket.socket, events: int, end: float) -> bool:
    poll = select.poll()
    poll.register(sock, events)
    return bool(poll.poll(max(0.0, end - time.monotonic()) * 1000))


class _Echoes:
    """One check's echo requests: all have its identifier and payload, each has its number."""

    def __init__(self, check: Check, identifier: int) -> None:
        self.check, self.identifier = check, identifier
        self.family = _V6 if is_v6(check.to) else _V4
        length = (check.size or _USUAL_SIZE) - self.family.least
        self.payload = (os.urandom(8) * (length // 8 + 1))[:length]
        self.sent: list[float] = []
        self.last = ""
        """What was said last against a request."""
        self.too_large = ""
        """What was said against its size."""

    def open(self) -> socket.socket:
        """A raw socket (raw(7), CAP_NET_RAW) that takes echo replies only, and what is said against requests."""
        family = self.family
        try:
            sock = socket.socket(family.number, socket.SOCK_RAW | socket.SOCK_NONBLOCK, family.protocol)
        except PermissionError as error:
            fix = "Run as root, or inside `unshare --user --map-root-user --net --mount`."
            raise KernelError("no permission to send ICMP echoes", error.errno or 0, fix=fix) from error
        for option in (*family.options, *(family.whole if self.check.size is not None else ())):
            sock.setsockopt(*option)
        return sock

    def send(self, sock: socket.socket) -> None:
        """Send the next request; what the kernel has against it is kept."""
        number = len(self.sent) & 0xFFFF
        self.sent.append(time.monotonic())
        packet = _ECHO.pack(self.family.request, 0, 0, self.identifier, number) + self.payload
        if self.family is _V4:
            packet = packet[:2] + _checksum(packet).to_bytes(2) + packet[4:]
        sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)  # whatever was said against others' requests meanwhile
        try:
            sock.sendto(packet, (self.check.to, 0))
        except OSError as error:
            if error.errno == errno.ENOBUFS:  # how a device says that it dropped it (net_xmit_errno)
                self.last = "the link dropped it"
            elif error.errno != errno.EMSGSIZE:
                self.last = os.strerror(error.errno or 0)
            self.hear(sock)

    def answer(self, sock: socket.socket) -> Result | None:
        """Read what has come; the answer if there is one."""
        self.hear(sock)
        while True:
            try:
                packet, ancillary, _, source = sock.recvmsg(_BUFFER, 64)
            except BlockingIOError:
                return None
            except OSError:  # said against somebody else's request, or heard already
                continue
            ttl = packet[_IP_TTL_AT] if self.family is _V4 else _number(ancillary)
            icmp = packet[(packet[0] & 0xF) * 4 :] if self.family is _V4 else packet
            if len(icmp) < _ECHO.size or source[0] != self.check.to:
                continue
            kind, _, _, identifier, number = _ECHO.unpack_from(icmp)
            ours = kind == self.family.reply and identifier == self.identifier and icmp[_ECHO.size :] == self.payload
            if ours and number < len(self.sent):
                ms = _ms(self.sent[number])
                return Result(self.check, True, f"answered in {ms:.2f} ms, ttl {ttl}", ms)

    def hear(self, sock: socket.socket) -> None:
        """Read the error queue: what this machine and routers say against the requests."""
        while True:
            try:
                quoted, ancillary, _, _ = sock.recvmsg(_BUFFER, 512, socket.MSG_ERRQUEUE)
            except OSError:
                return
            for level, kind, data in ancillary:
                if (level, kind) != self.family.errors or len(data) < _EXTENDED_ERR.size:
                    continue
                number, origin, icmp, _, info, _ = _EXTENDED_ERR.unpack_from(data)
                if origin != _LOCAL and not self._quotes(quoted):
                    continue
                speaker = data[self.family.speaker]
                says = f", says {unpack_ip(speaker)}" if origin != _LOCAL and any(speaker) else ""
                if number == errno.EMSGSIZE:
                    self.too_large = f"too large for the path: MTU {info}{says}"
                elif origin != _LOCAL and icmp == self.family.exceeded:
                    self.last = f"too many hops{says}"
                else:
                    self.last = f"{os.strerror(number)}{says}"

    def _quotes(self, quoted: bytes) -> bool:
        """Whether a request of ours is quoted."""
        if len(quoted) < _ECHO.size:
            return False
        kind, _, _, identifier, _ = _ECHO.unpack_from(quoted)
        return bool(kind == self.family.request and identifier == self.identifier)


def _number(ancillary: Sequence[tuple[int, int, bytes]]) -> int:
    """The hop limit (IPV6_HOPLIMIT is the only thing asked for)."""
    return next((_NUMBER.unpack_from(data)[0] for _, _, data in ancillary), 0)


def _echo(check: Check, identifier: int) -> Result:
    began = time.monotonic()
    end = began + check.within
    echoes = _Echoes(check, identifier)
    with echoes.open() as sock:
        for pause in _pauses():
            echoes.send(sock)
            until = min(time.monotonic() + pause, end)
            while _await(sock, select.POLLIN, until):
                found = echoes.answer(sock)
                if found is not None:
                    return found
                if echoes.too_large:
                    break
            if echoes.too_large:  # a path does not become wider by waiting
                return Result(check, False, echoes.too_large, _ms(began))
            if time.monotonic() >= end:
                return _gave_up(check, began, "answer", echoes.last)
    raise AssertionError


def _checksum(packet: bytes) -> int:
    """RFC 1071."""
    padded = packet + b"\0" * (len(packet) % 2)
    total = sum(int.from_bytes(padded[i : i + 2]) for i in range(0, len(padded), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
