"""netdsl commands that need not start Python and import everything: a process that has done so forks one for each.

The file run as a program is that process. What it forks enters the namespaces of a sandbox as nsenter(1) does, and is
then what `python -m netdsl` is after its imports. Kinds are not among these: each command imports those that it needs.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import selectors
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

NAMESPACES = ("user", "mnt", "net", "uts")
LONGEST = 1 << 18
"""Bytes of a request at most."""
COMMANDS = ("plan", "up", "destroy")
"""Those that are imported before they are asked for."""


class Warm:
    """The process that forks; it ends with this one."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LONGEST)
        subprocess.Popen(
            [sys.executable, os.path.abspath(__file__), str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            env=env,
            pass_fds=[theirs.fileno()],
            start_new_session=True,  # Ctrl-C is for the test process
        )
        theirs.close()

    def run(
        self, pid: int, args: Sequence[str], env: Mapping[str, str], cwd: str, input: str, timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """Run netdsl in the namespaces of a process to its end. TimeoutExpired after the seconds."""
        files = [os.memfd_create(name) for name in ("stdin", "stdout", "stderr")]
        status, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)  # a message at a time
        try:
            os.pwrite(files[0], input.encode(), 0)
            request = json.dumps([pid, list(args), dict(env), cwd]).encode()
            socket.send_fds(self._socket, [request], [*files, theirs.fileno()])
            theirs.close()
            child = int(status.recv(99))
            try:
                if not select.select([status], [], [], timeout)[0]:
                    raise subprocess.TimeoutExpired(["netdsl", *args], timeout)
            except BaseException:
                os.killpg(child, signal.SIGKILL)
                raise
            code = int(status.recv(99))
            out, err = (os.pread(file, os.fstat(file).st_size, 0).decode() for file in files[1:])
            return subprocess.CompletedProcess(["netdsl", *args], code, out, err)
        finally:
            for file in files:
                os.close(file)
            status.close()


# The process that forks


def enter(pid: int) -> None:
    """Move into the namespaces of a process; the user namespace first, which gives the right to the others."""
    libc = ctypes.CDLL(None, use_errno=True)
    opened = [os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY) for name in NAMESPACES]
    for namespace in opened:
        if libc.setns(namespace, 0) < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), "setns")


def become(request: Any, files: Sequence[int]) -> None:
    """Be the command that was asked for."""
    try:
        os.setpgid(0, 0)
        pid, args, env, cwd = request
        for number, file in enumerate(files):
            os.dup2(file, number)
        os.lseek(0, 0, os.SEEK_SET)
        enter(pid)
        os.closerange(3, 64)
        os.chdir(cwd)
        os.environ.clear()
        os.environ.update(env)
        sys.argv = ["netdsl", *args]
        from netdsl.cli import main

        main()
    except BaseException:
        os.write(2, traceback.format_exc().encode())
    os._exit(1)


def serve(asked: socket.socket) -> None:
    """Fork a command for each request until nobody can ask any more; say each one's number, and how it ended."""
    from importlib import import_module

    from netdsl.cli import COMMANDS as MODULES

    for command in COMMANDS:
        import_module(f"netdsl.cli.{MODULES[command][0]}")
    with selectors.DefaultSelector() as selector:
        selector.register(asked, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is asked:
                    request, files, _, _ = socket.recv_fds(asked, LONGEST, 4)
                    if not request:
                        return
                    *files, status = files
                    pid = os.fork()
                    if not pid:
                        os.close(status)
                        become(json.loads(request), files)
                    for file in files:
                        os.close(file)
                    os.write(status, b"%d" % pid)
                    selector.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, status))
                else:
                    pid, status = key.data
                    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                    os.write(status, b"%d" % code)
                    os.close(status)
                    selector.unregister(key.fileobj)
                    os.close(key.fd)


if __name__ == "__main__":
    import gc

    gc.disable()  # as netdsl/__main__.py does
    sys.path[:] = [path for path in sys.path if os.path.realpath(path) != os.path.dirname(os.path.realpath(__file__))]
    serve(socket.socket(fileno=int(sys.argv[1])))
