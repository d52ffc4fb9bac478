"""Network namespaces by name (ip-netns(8)'s way: a bind mount under /run/netns).

setns() and unshare() work on a thread: all that has to happen in another namespace is done in bulk by a thread made for
it, so that the program's own threads never leave theirs.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Thread
from typing import TypeVar

from netdsl.errors import KernelError

DIRECTORY = Path("/run/netns")
_CLONE_NEWNET, _CLONE_NEWNS = 0x40000000, 0x20000
_CAP_NET_ADMIN, _CAP_SYS_ADMIN = 12, 21
_MS_BIND, _MS_REC, _MS_SLAVE, _MS_SHARED = 4096, 16384, 1 << 19, 1 << 20
_MNT_DETACH = 2
_PR_SET_TIMERSLACK = 29
_GLANCE = 0.1
"""Seconds until a wait for threads begins anew: without an end it misses a signal that came just before it."""

_libc = ctypes.CDLL(None, use_errno=True)

T = TypeVar("T")


def _check(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


def names() -> set[str]:
    """Names of all network namespaces; a file that nothing is mounted on, left by a run that was killed, is none."""
    nsfs, found = os.stat("/proc/self/ns/net").st_dev, set()
    with suppress(FileNotFoundError):
        for name in os.listdir(DIRECTORY):
            with suppress(FileNotFoundError):  # somebody took it away just now
                if os.stat(DIRECTORY / name).st_dev == nsfs:
                    found.add(name)
    return found


def sharpen_timers() -> None:
    """Let timed waits of this thread, and of those that it will start, end on time rather than 50 us late (prctl(2)).

    The interpreter hands itself from thread to thread by such waits, twice for each batch that is sent.
    """
    _libc.prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)


def in_threads(works: Sequence[Callable[[], None]], meanwhile: Callable[[], None] = lambda: None) -> None:
    """Do each piece of work in a thread of its own, which may change namespaces as it likes, and `meanwhile` here."""
    errors: list[BaseException] = []

    def body(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # handed to the caller below
            errors.append(error)

    threads = [Thread(target=body, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    try:
        meanwhile()
    finally:
        for thread in threads:
            while thread.is_alive():
                thread.join(_GLANCE)
    if errors:
        raise errors[0]


def in_new(work: Callable[[], T], otherwise: T) -> T:
    """What `work` gives in a new namespace without a name; `otherwise` where none may be made."""
    results: list[T] = []

    def body() -> None:
        try:
            _check(_libc.unshare(_CLONE_NEWNET), "unshare")
        except PermissionError:
            results.append(otherwise)
        else:
            results.append(work())

    in_threads([body])
    return results[0]


def unnamed(inside: Callable[[], T]) -> tuple[int, T]:
    """A descriptor of a new namespace, which goes when that is closed, and what `inside` gives there."""
    made: list[tuple[int, T]] = []

    def body() -> None:
        try:
            _check(_libc.unshare(_CLONE_NEWNET), "unshare")
        except OSError as error:
            raise _no_permission("netns cannot be created", error) from error
        made.append((os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC), inside()))

    in_threads([body])
    return made[0]


def open_fd(name: str) -> int:
    """A descriptor of a named namespace."""
    try:
        return os.open(DIRECTORY / name, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise KernelError(f"netns {name} cannot be opened: {error.strerror}", error.errno or 0) from error


def enter(name: str) -> None:
    """Move the calling thread into a named namespace."""
    fd = open_fd(name)
    try:
        _check(_libc.setns(fd, _CLONE_NEWNET), "setns")
    except OSError as error:
        why = error.strerror
        fix = ""
        if error.errno == errno.EINVAL:
            why = f"{DIRECTORY / name} is a file that no namespace is mounted on"
            fix = f"Remove it with: ip netns del {name}"
        elif error.errno == errno.EPERM:
            fix = "Run as root, or inside `unshare --user --map-root-user --net --mount`."
        raise KernelError(f"netns {name} cannot be entered: {why}", error.errno or 0, fix=fix) from error
    finally:
        os.close(fd)


def visit(wanted: Iterable[str], work: Callable[[str], None], meanwhile: Callable[[], None] = lambda: None) -> None:
    """Call `work(name)` inside each of the named namespaces, and `meanwhile` in this one; "" is the program's own and
    must come first."""

    def body() -> None:
        for name in wanted:
            if name:
                enter(name)
            work(name)

    in_threads([body], meanwhile)


def prepare() -> None:
    """Make /run/netns a shared mount, as `ip netns add` does, so that names reach other mount namespaces."""
    try:
        DIRECTORY.mkdir(mode=0o755, parents=True, exist_ok=True)
        target = str(DIRECTORY).encode()
        if _libc.mount(b"", target, b"none", _MS_SHARED | _MS_REC, None) < 0:
            if ctypes.get_errno() != errno.EINVAL:
                _check(-1, "mount")
            _check(_libc.mount(target, target, b"none", _MS_BIND | _MS_REC, None), "mount")
            _check(_libc.mount(b"", target, b"none", _MS_SHARED | _MS_REC, None), "mount")
    except OSError as error:
        raise _no_permission("netns cannot be created", error) from error


_MAKERS = 2
"""Threads that create namespaces side by side; a third gains nothing, since most of it is done under one lock."""
_SWITCH = 0.0005
"""Seconds until a thread that computes lets one have its turn whose system call has returned."""


def make(
    wanted: Sequence[str], inside: Callable[[str], None], meanwhile: Callable[[], None] = lambda: None
) -> dict[str, OSError]:
    """Create named namespaces; `inside(name)` runs in each before its name appears. Returns those that failed.

    `meanwhile` is what the program can do while the kernel is busy.
    """
    failed: dict[str, OSError] = {}

    def body(mine: Sequence[str]) -> None:
        mount = _libc.mount
        for name in mine:
            try:
                _check(_libc.unshare(_CLONE_NEWNET), "unshare")
                inside(name)
                path = f"{DIRECTORY}/{name}"
                _make_file(path)
                if mount(b"/proc/thread-self/ns/net", path.encode(), b"none", _MS_BIND, None) < 0:
                    number = ctypes.get_errno()
                    os.unlink(path)
                    raise OSError(number, os.strerror(number), "mount")
            except OSError as error:
                failed[name] = error

    before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH)
    try:
        in_threads([partial(body, wanted[first::_MAKERS]) for first in range(_MAKERS)], meanwhile)
    finally:
        sys.setswitchinterval(before)
    return failed


def _make_file(path: str) -> None:
    """The file to mount on; one that a killed run left is as good as a new one."""
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0))
    except FileExistsError:
        status = os.stat(path)
        if status.st_size or status.st_dev != DIRECTORY.stat().st_dev:
            raise


def drop(name: str) -> None:
    """Take a name away; a namespace that nobody holds then goes, in the kernel's own time."""
    path = DIRECTORY / name
    result = _libc.umount2(str(path).encode(), _MNT_DETACH)
    if result < 0 and ctypes.get_errno() not in (errno.EINVAL, errno.ENOENT):
        _check(result, "umount2")
    with suppress(FileNotFoundError):
        path.unlink()


def sweep(wanted: Iterable[str]) -> None:
    """Remove the files of these names that nothing is mounted on: a run that was killed in between left them."""
    for name in wanted:
        with suppress(OSError):
            status = (DIRECTORY / name).stat()
            if not status.st_size and status.st_dev == DIRECTORY.stat().st_dev:
                (DIRECTORY / name).unlink()


def holders(wanted: Iterable[str]) -> dict[str, list[int]]:
    """Processes that live in the named namespaces, by pid: they keep them alive when the name is gone."""
    inodes: dict[tuple[int, int], str] = {}
    for name in wanted:
        with suppress(OSError):
            status = (DIRECTORY / name).stat()
            inodes[(status.st_dev, status.st_ino)] = name
    found: dict[str, list[int]] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with suppress(OSError):
                status = os.stat(f"/proc/{entry.name}/ns/net")
                held = inodes.get((status.st_dev, status.st_ino))
                if held is not None:
                    found.setdefault(held, []).append(int(entry.name))
    return found


def become(name: str) -> None:
    """Move this process into a namespace for good, with a /sys that shows it (what `ip netns exec` does)."""
    enter(name)
    try:
        _check(_libc.unshare(_CLONE_NEWNS), "unshare")
        _check(_libc.mount(b"", b"/", b"none", _MS_SLAVE | _MS_REC, None), "mount")
        _libc.umount2(b"/sys", _MNT_DETACH)
        _libc.mount(name.encode(), b"/sys", b"sysfs", 0, None)  # refused in some sandboxes; only /sys/class/net suffers
    except OSError as error:
        raise _no_permission(f"netns {name} cannot be entered", error) from error


def require_rights() -> None:
    """Raise KernelError unless the process may administer networks here (CAP_NET_ADMIN and CAP_SYS_ADMIN)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            held = int(line.split()[1], 16)
            if not (held >> _CAP_NET_ADMIN & 1 and held >> _CAP_SYS_ADMIN & 1):
                denied = PermissionError(errno.EPERM, "root is needed")
                raise _no_permission("no permission to change the network", denied)


def _no_permission(what: str, error: OSError) -> KernelError:
    fix = "Run as root, or inside `unshare --user --map-root-user --net --mount`." if error.errno in (1, 13) else ""
    return KernelError(f"{what}: {error.strerror}", error.errno or 0, fix=fix)
