"""What is no rtnetlink message: transactions of nf_tables, and the ioctls that make a tun device.

All of it acts on the namespace of the calling thread.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Sequence
from contextlib import closing
from struct import Struct

from netdsl import wire
from netdsl.errors import KernelError
from netdsl.kernel.netlink import Netlink
from netdsl.lang.dump import Dump, Scope
from netdsl.lang.ops import NETLINK_NETFILTER, Call, Failure, MakeTun

_BATCH_BEGIN, _BATCH_END, _SUBSYS_NFTABLES = 16, 17, 10
_NFGENMSG = Struct(">BBH")
"""struct nfgenmsg: family, version, resource (of a batch: the subsystem)."""
_TUN = "/dev/net/tun"
_TUNSETIFF, _TUNSETPERSIST, _TUNSETOWNER, _TUNSETGROUP, _TUNSETIFINDEX = (
    0x400454CA, 0x400454CB, 0x400454CC, 0x400454CE, 0x400454DA,
)  # fmt: skip
_IFREQ = Struct("16sH22x")
_S32 = Struct("=i")


def perform(calls: Sequence[tuple[int, Call]]) -> dict[int, Failure]:
    """Do them in order; returns those that were refused, by number."""
    failed: dict[int, Failure] = {}
    for number, call in calls:
        try:
            if isinstance(call, MakeTun):
                _make_tun(call)
            else:
                _transact(call.messages, number, failed)
        except OSError as error:
            failed[number] = Failure(error.errno or 0, str(error.filename or ""))
    return failed


def dump(wanted: Dump, body: bytes, scope: Scope) -> None:
    """A dump by another netlink protocol than rtnetlink; a kernel without it has nothing to show."""
    try:
        with closing(Netlink(wanted.protocol)) as netlink:
            netlink.dump(wanted.request, body, lambda buffer, start, end: wanted.read(buffer, start, end, scope))
    except OSError as error:
        if error.errno != errno.EPROTONOSUPPORT:
            raise
    except KernelError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
            raise


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
