"""What is no rtnetlink message: transactions of nf_tables, generic netlink, and the ioctls that make a tun device.

All of it acts on the namespace of the calling thread.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Sequence
from contextlib import closing
from itertools import groupby
from struct import Struct

from netdsl import wire
from netdsl.errors import KernelError
from netdsl.kernel import keys
from netdsl.kernel.netlink import Netlink
from netdsl.lang.dump import Dump, Scope
from netdsl.lang.ops import NETLINK_GENERIC, NETLINK_NETFILTER, Call, Failure, Generic, MakeTun, Transaction

_BATCH_BEGIN, _BATCH_END, _SUBSYS_NFTABLES = 16, 17, 10
_NFGENMSG = Struct(">BBH")
"""struct nfgenmsg: family, version, resource (of a batch: the subsystem)."""
_GENL_ID_CTRL, _GETFAMILY, _FAMILY_ID, _FAMILY_NAME = 16, 3, 1, 2
_TUN = "/dev/net/tun"
_TUNSETIFF, _TUNSETPERSIST, _TUNSETOWNER, _TUNSETGROUP, _TUNSETIFINDEX = (
    0x400454CA, 0x400454CB, 0x400454CC, 0x400454CE, 0x400454DA,
)  # fmt: skip
_IFREQ = Struct("16sH22x")
_S32 = Struct("=i")
_NOTHING = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENODEV, errno.ENOENT)
"""What a dump is refused with where there is nothing to show: no such feature, or no such object any more."""


def perform(calls: Sequence[tuple[int, Call]]) -> dict[int, Failure]:
    """Do them in order; returns those that were refused, by number."""
    failed: dict[int, Failure] = {}
    for kind, group in groupby(calls, key=lambda numbered: type(numbered[1])):
        if kind is Generic:
            _send([(number, call) for number, call in group if isinstance(call, Generic)], failed)
            continue
        for number, call in group:
            try:
                if isinstance(call, MakeTun):
                    _make_tun(call)
                elif isinstance(call, Transaction):
                    _transact(call.messages, number, failed)
            except OSError as error:
                failed[number] = Failure(error.errno or 0, str(error.filename or ""))
    return failed


def dump(wanted: Dump, bodies: Sequence[bytes], scope: Scope) -> None:
    """A dump by another netlink protocol than rtnetlink; a kernel without it has nothing to show."""
    try:
        with closing(Netlink(wanted.protocol)) as netlink:
            request = _family(netlink, wanted.generic) if wanted.generic else wanted.request
            for body in bodies:
                try:
                    netlink.dump(request, body, lambda buffer, start, end: wanted.read(buffer, start, end, scope))
                except KernelError as error:
                    if error.errno not in _NOTHING:
                        raise
    except OSError as error:
        if error.errno != errno.EPROTONOSUPPORT:
            raise
    except KernelError as error:
        if error.errno not in _NOTHING:
            raise


def _family(netlink: Netlink, name: str) -> int:
    """The number of a generic netlink family, whose module the kernel loads. Raises KernelError (ENOENT)."""
    asked = wire.GENERIC.pack(_GETFAMILY, 1) + wire.attr(_FAMILY_NAME, name.encode() + b"\0")
    found = netlink.ask(_GENL_ID_CTRL, asked)
    return int.from_bytes(wire.attrs(found, wire.GENERIC.size, len(found))[_FAMILY_ID][:2], "little")


def _send(calls: Sequence[tuple[int, Generic]], failed: dict[int, Failure]) -> None:
    """Messages of generic netlink, with the keys that they are to have; what has none is not sent."""
    numbers: dict[str, int] = {}
    messages: list[tuple[int, bytes]] = []
    with closing(Netlink(NETLINK_GENERIC)) as netlink:
        for number, call in calls:
            try:
                if call.family not in numbers:
                    numbers[call.family] = _family(netlink, call.family)
                body = b"".join(part if isinstance(part, bytes) else keys.expected(part) for part in call.body)
            except ValueError as wrong:
                failed[number] = Failure(errno.EKEYREJECTED, wrong.args[0])
            except KernelError as error:
                failed[number] = Failure(error.errno, error.problems[0].what)
            else:
                header = wire.GENERIC.pack(call.command, call.version)
                messages.append((number, wire.message(numbers[call.family], wire.F_REQUEST, number, header + body)))
        failed |= netlink.submit(messages)


def _make_tun(wanted: MakeTun) -> None:
    """tuntap(7): the device is named by an ioctl and stays when the file is closed."""
    fd = os.open(_TUN, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, _TUNSETIFINDEX, _S32.pack(wanted.ifindex))
        fcntl.ioctl(fd, _TUNSETIFF, _IFREQ.pack(wanted.name.encode(), wanted.flags))
        if wanted.owner != -1:
            fcntl.ioctl(fd, _TUNSETOWNER, wanted.owner)
        if wanted.group != -1:
            fcntl.ioctl(fd, _TUNSETGROUP, wanted.group)
        fcntl.ioctl(fd, _TUNSETPERSIST, 1)
    finally:
        os.close(fd)


def _transact(messages: Sequence[tuple[int, int, bytes]], number: int, failed: dict[int, Failure]) -> None:
    """One batch in one send (nfnetlink_rcv_batch)."""
    header = _NFGENMSG.pack(0, 0, _SUBSYS_NFTABLES)
    parts = [wire.message(_BATCH_BEGIN, wire.F_REQUEST, 0, header)]
    for seq, (kind, flags, body) in enumerate(messages, 1):
        last = wire.F_ACK if seq == len(messages) else 0
        parts.append(wire.message(_SUBSYS_NFTABLES << 8 | kind, wire.F_REQUEST | flags | last, seq, body))
    parts.append(wire.message(_BATCH_END, wire.F_REQUEST, len(messages) + 1, header))
    with closing(Netlink(NETLINK_NETFILTER)) as netlink:
        refused = netlink.exchange(b"".join(parts), len(messages))
    if refused:
        failed[number] = refused[min(refused)]
