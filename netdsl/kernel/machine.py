"""This machine as a target: what the engine asks of a kernel, in terms of netns names."""

from __future__ import annotations

import os
import resource
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from threading import Lock

from netdsl.kernel import call, keys, namespaces
from netdsl.kernel.netlink import Netlink
from netdsl.kernel.release import Watch, nsid
from netdsl.kernel.sysctls import Sysctls
from netdsl.lang.dump import Dump, Scope
from netdsl.lang.naming import digest
from netdsl.lang.ops import Call, Failure, MakeNetns, Probe, Send

_SPARE_FDS = 128
_PATIENCE = 0.5
"""Seconds that the kernel may take to let go of netns; when it is so busy, nothing is said about who holds them."""


class Machine:
    """The kernel that netdsl runs on. "" names the network namespace that netdsl runs in."""

    def __init__(self) -> None:
        namespaces.sharpen_timers()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < hard:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self._most = max(16, (min(hard, 1 << 16) - _SPARE_FDS) // 2)
        self._sockets: OrderedDict[str, Netlink] = OrderedDict()
        self._fds: dict[str, int] = {}
        self._lock = Lock()

    # -- identity

    def boot_id(self) -> str:
        """Changes with every boot."""
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()

    def netns_names(self) -> set[str]:
        """All named namespaces."""
        return namespaces.names()

    def cookie(self, netns: str) -> int:
        """A namespace's cookie, which tells it from one re-created under its name."""
        return self._socket(netns).cookie()

    def require_rights(self, *, netns: bool) -> None:
        """Raise KernelError unless the network may be changed; with `netns`, unless netns can be created."""
        namespaces.require_rights()
        if netns:
            namespaces.prepare()

    def host_id(self) -> str:
        """Tells this machine from others, as far as it has an identity."""
        for path in (Path("/etc/machine-id"), Path("/proc/sys/kernel/random/boot_id")):
            with suppress(OSError):
                text = path.read_text().strip()
                if text:
                    return digest(text, 8).hex()
        return ""

    # -- sockets

    def open(self, wanted: Iterable[str]) -> None:
        """Open the sockets of several namespaces in one go."""
        missing = sorted({name for name in wanted if name not in self._sockets})[: self._most]
        if missing:
            namespaces.visit(missing, self._keep)

    def _keep(self, netns: str) -> None:
        while len(self._sockets) >= self._most:
            self._sockets.popitem(last=False)[1].close()
        self._sockets[netns] = Netlink()

    def _socket(self, netns: str) -> Netlink:
        # One thread sends while another looks: of so many sockets, the two that they use are never the oldest.
        with self._lock:
            if netns not in self._sockets:
                if netns:
                    namespaces.visit([netns], self._keep)
                else:
                    self._keep(netns)
            self._sockets.move_to_end(netns)
            return self._sockets[netns]

    def forget(self, netns: str) -> None:
        """Close what is open of a namespace: an open socket keeps it alive."""
        if netns in self._sockets:
            self._sockets.pop(netns).close()
        if netns in self._fds:
            os.close(self._fds.pop(netns))

    def close(self) -> None:
        """Close everything."""
        for netns in [*self._sockets, *self._fds]:
            self.forget(netns)

    # -- looking

    def read(self, dump: Dump, scope: Scope) -> None:
        """Run one dump in a namespace and let it fill the scope."""
        body = dump.body(scope)
        if body is None:
            return
        read, bodies = dump.read, [body] if isinstance(body, bytes) else body
        if dump.protocol:
            namespaces.visit([scope.netns], lambda _: call.dump(dump, bodies, scope))
            return
        for one in bodies:
            self._socket(scope.netns).dump(dump.request, one, lambda buffer, a, b: read(buffer, a, b, scope))

    def read_files(self, wanted: Sequence[tuple[str, str]], meanwhile: Callable[[], None]) -> list[str | None]:
        """Contents of files below /proc/sys, each (netns, path); None where there is no such file.

        `meanwhile` is called while they are read.
        """
        contents: list[str | None] = [None] * len(wanted)
        by_netns: dict[str, list[int]] = {}
        for index, (netns, _) in enumerate(wanted):
            by_netns.setdefault(netns, []).append(index)

        def work(netns: str) -> None:
            with Sysctls() as sysctls:
                for index in by_netns[netns]:
                    with suppress(OSError):
                        contents[index] = sysctls.read(wanted[index][1])

        if by_netns:
            namespaces.visit(sorted(by_netns), work, meanwhile)
        else:
            meanwhile()
        return contents

    def nsid(self, netns: str, other: str) -> int:
        """The id by which one namespace knows another, or -1."""
        return nsid(self._socket(netns), self.netns_fd(other))

    def key_proof(self, path: str, peer: str) -> str:
        """What may be told of the key in a file. Raises ValueError: what is wrong with it, and what to do."""
        return keys.proof(path, peer)

    def holders(self, wanted: Iterable[str]) -> dict[str, list[int]]:
        """Pids of processes inside the named namespaces."""
        return namespaces.holders(wanted)

    def kernel_release(self) -> str:
        """Of the running kernel, as `uname -r` says it."""
        return os.uname().release

    def lacks(self, probes: Sequence[Probe]) -> set[Probe]:
        """Those that the kernel does not have, tried out in netns that are gone afterwards.

        A netns serves until something was made in it: the next probe may be refused for being there already, which says
        nothing. Without the right to make one nothing is known, and none is lacking.
        """
        missing: set[Probe] = set()
        left = list(reversed(probes))

        def ask() -> bool:
            with closing(Netlink()) as netlink:
                refused = True
                while refused and left:
                    probe = left.pop()
                    op = probe.op
                    for needed in probe.before:
                        netlink.submit([(1, needed.message(1))])
                    told = netlink.submit([(1, op.message(1))]) if isinstance(op, Send) else call.perform([(1, op)])
                    refused = bool(told) and not probe.before
                    if told and told[1].errno in probe.absent:
                        missing.add(probe)
            return True

        allowed = True
        while left and allowed:
            allowed = namespaces.in_new(ask, False)
        return missing

    # -- changing

    def netns_fd(self, netns: str) -> int:
        """A descriptor of a namespace, open until `forget` or `release_fds`."""
        fd = self._fds.get(netns)
        if fd is None:
            fd = namespaces.open_fd(netns) if netns else os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            self._fds[netns] = fd
        return fd

    def release_fds(self) -> None:
        """Close the descriptors of namespaces."""
        for fd in self._fds.values():
            os.close(fd)
        self._fds.clear()

    def submit(self, netns: str, messages: Sequence[tuple[int, bytes]]) -> dict[int, Failure]:
        """Send a batch; returns the refused ones by sequence number."""
        return self._socket(netns).submit(messages)

    def perform(self, netns: str, calls: Sequence[tuple[int, Call]]) -> dict[int, Failure]:
        """Do what is no rtnetlink message; returns what was refused, by number."""
        failed: dict[int, Failure] = {}
        namespaces.visit([netns], lambda _: failed.update(call.perform(calls)))
        return failed

    def make_netns(
        self, wanted: Sequence[MakeNetns], mark: Sequence[bytes], meanwhile: Callable[[], None]
    ) -> dict[str, Failure]:
        """Create namespaces whose lo is marked (one message each) before their names appear; keeps their sockets.

        `meanwhile` is called while the kernel makes them.
        """
        marks = {op.name: message for op, message in zip(wanted, mark, strict=True)}

        def inside(name: str) -> None:
            self._keep(name)
            refused = self._sockets[name].submit([(1, marks[name])])
            if refused:
                raise OSError(refused[1].errno, str(refused[1]))

        failed = namespaces.make([op.name for op in wanted], inside, meanwhile)
        for name in failed:
            self.forget(name)
        return {name: Failure(error.errno or 0) for name, error in failed.items()}

    def drop_netns(self, wanted: Sequence[str], held: Collection[str]) -> tuple[dict[str, Failure], list[str]]:
        """Take names away, all in one go so that the kernel cleans up in bulk.

        `held` are known to outlast their names. Returns those that failed, and others that somebody holds.
        """
        failed: dict[str, Failure] = {}
        with Watch(self._socket(""), [name for name in wanted if name not in held]) as watch:
            for name in wanted:
                try:
                    namespaces.drop(name)
                except OSError as error:
                    failed[name] = Failure(error.errno or 0)
            # Our sockets hold them until all names are gone: cleaning up, which the kernel begins with the first that
            # nobody holds, slows each further unmount down (namespace_unlock waits for an RCU grace period).
            for name in wanted:
                self.forget(name)
            return failed, watch.wait(_PATIENCE)

    def sweep(self, wanted: Iterable[str]) -> None:
        """Remove what a killed run left of these names."""
        namespaces.sweep(wanted)

    def write_files(self, wanted: Sequence[tuple[str, str, str]]) -> list[str | Failure]:
        """Write files below /proc/sys, each (netns, path, value); gives what stood there before, or why it failed."""
        before: list[str | Failure] = [""] * len(wanted)
        by_netns: dict[str, list[int]] = {}
        for index, (netns, _, _) in enumerate(wanted):
            by_netns.setdefault(netns, []).append(index)

        def work(netns: str) -> None:
            with Sysctls() as sysctls:
                for index in by_netns[netns]:
                    _, path, value = wanted[index]
                    try:
                        before[index] = sysctls.write(path, value)
                    except OSError as error:
                        before[index] = Failure(error.errno or 0)

        namespaces.visit(sorted(by_netns), work)
        return before
