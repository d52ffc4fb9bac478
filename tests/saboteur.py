"""netdsl that is struck at a chosen point of its work, and a process in the sandbox that forks one for each command.

A *point* is a moment at which a run that changes something may be struck. They are counted from the moment when the run
begins to write; a prefix like "message:" before the strike counts and strikes only those of one sort:

    state    before and after each commit of the state
    message  before each rtnetlink message
    sent     after each batch of messages
    call     before each transaction of nf_tables and each ioctl that makes a device
    netns    before and after each system call that makes or drops the name of a netns
    file     before and after each write of a sysctl

A strike is one of

    kill       SIGKILL; of a batch the messages before the point have reached the kernel, the others have not
    interrupt  one Ctrl-C
    insist     a Ctrl-C at this point and at every later one
    EINVAL     (or another errno) what is asked of the kernel or of the disk is refused with it; what comes after it is
               sent as ever
    broken     the socket does not take the message, nor those after it in its batch
    deaf       the kernel does what the batch says, and its answer is lost
    blind      the next dump is refused; dumps are counted from the start of the command
    run X      somebody else runs the command X (its words, without quotes) just then

The product knows nothing of it: its methods are wrapped before its `main` is called. The file run as a program is the
process that forks: starting Python and importing all anew would take most of the time.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from sandbox import Sandbox

DUMP_OF_NOTHING = 0x7FF2
"""A message type beyond RTM_MAX, of the kind "get" as a dump is: the kernel says EOPNOTSUPP (rtnetlink_rcv_msg)."""


STRUCK = b"STRUCK\n"
"""What a command says on stderr when it was struck."""


SIGNAL_SECONDS = 5
"""A thread that sent a Ctrl-C goes on when the main thread has noticed it, or after this time."""


class Done(NamedTuple):
    """How a command ended: exit code (negative: the signal that killed it), output, and how many points it passed."""

    code: int
    out: str
    err: str
    points: int

    @property
    def struck(self) -> bool:
        """Whether the strike came before the command's end."""
        return STRUCK.decode() in self.err


class Saboteur:
    """Runs netdsl in a sandbox. Close it, or let the sandbox do it."""

    def __init__(self, sandbox: Sandbox) -> None:
        # What it prints goes to files: a pipe that nobody reads would stop it.
        self._child = sandbox.popen([sys.executable, os.path.abspath(__file__)], stderr=subprocess.DEVNULL)

    def run(
        self,
        *argv: str,
        strike: str = "",
        at: int = 0,
        then: tuple[str, int] | None = None,
        check: bool | None = None,
    ) -> Done:
        """Run a command, struck at a point, and `then` at another one. It has to succeed unless it is struck or `check`
        is False."""
        strikes = [(strike, at), *([then] if then else [])]
        stdin, stdout = self._child.stdin, self._child.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps([strikes, list(argv)]) + "\n")
        stdin.flush()
        done = Done(*json.loads(stdout.readline()))
        assert "Traceback" not in done.err, done.err
        if check or (check is None and not strike):
            assert done.code == 0, f"netdsl {' '.join(argv)}: exit code {done.code}\n{done.out}\n{done.err}"
        return done

    def plan(self, *argv: str) -> list[dict[str, Any]]:
        """The changes that a plan shows."""
        changes: list[dict[str, Any]] = json.loads(self.run("plan", "--json", *argv).out)["changes"]
        return changes


# In the sandbox


class Strike:
    """The points of one sort that the run has passed, and what happens at one of them."""

    def __init__(self, how: str, at: int) -> None:
        self.only, _, self.how = how.rpartition(":")
        self.at = at
        self.passed = 0

    def hits(self, sort: str) -> bool:
        """Pass a point; whether this is the one."""
        if self.only not in ("", sort):
            return False
        number, self.passed = self.passed, self.passed + 1
        return number == self.at or (number > self.at and self.how == "insist")


class Strikes:
    """All that a command is struck with."""

    def __init__(self, strikes: Sequence[tuple[str, int]]) -> None:
        self.all = [Strike(how, at) for how, at in strikes]
        self.dumps = 0
        self.counting = False
        self.heard = threading.Event()
        self._lock = threading.Lock()

    @property
    def points(self) -> int:
        """As many as have passed, of the sort of the first strike."""
        first = self.all[0]
        return self.dumps if first.how == "blind" else first.passed

    def passed(self, sort: str) -> None:
        """Pass a point after which nothing follows that could fail."""
        self.point(sort, last=True)

    def point(self, sort: str, before: Callable[[], object] = lambda: None, *, last: bool = False) -> str:
        """Pass a point; "" or in what way that which follows is to fail. `before` is called ahead of SIGKILL."""
        if not self.counting:
            return ""
        with self._lock:
            hits = [strike.how for strike in self.all if strike.hits(sort)]
        for how in hits:
            if how == "kill":
                before()
                self.say()
                os.kill(os.getpid(), signal.SIGKILL)
                signal.pause()
            elif how.startswith("run "):
                self.say()
                subprocess.run(how.split()[1:], check=True)
            elif how in ("interrupt", "insist"):
                self.say()
                self.heard.clear()
                os.kill(os.getpid(), signal.SIGINT)
                if threading.current_thread() is not threading.main_thread():
                    self.heard.wait(SIGNAL_SECONDS)
            elif not last and (how.startswith("E") or (how in ("broken", "deaf") and sort == "message")):
                self.say()
                return how
        return ""

    def dump(self) -> bool:
        """Pass a dump; whether it is to be refused."""
        number, self.dumps = self.dumps, self.dumps + 1
        return any(strike.how == "blind" and strike.at == number for strike in self.all)

    def say(self) -> None:
        """That it struck."""
        os.write(2, STRUCK)


class Libc:
    """The C library with points before and after what makes and drops names of netns."""

    def __init__(self, libc: Any, strikes: Strikes) -> None:
        self._libc = libc
        self._strikes = strikes

    def __getattr__(self, name: str) -> Any:
        function = getattr(self._libc, name)
        if name not in ("unshare", "mount", "umount2"):
            return function

        def call(*args: Any) -> int:
            refused = self._strikes.point("netns")
            if refused:
                ctypes.set_errno(getattr(errno, refused))
                return -1
            result: int = function(*args)
            number = ctypes.get_errno()
            self._strikes.passed("netns")
            ctypes.set_errno(number)
            return result

        return call


def undermine(strikes: Strikes) -> None:
    """Wrap what writes to the state and to the kernel."""
    from netdsl.errors import KernelError, StateError
    from netdsl.kernel import call, namespaces
    from netdsl.kernel.netlink import Netlink
    from netdsl.kernel.sysctls import Sysctls
    from netdsl.lang.ops import Failure
    from netdsl.state.store import Store

    def around(owner: Any, name: str, sort: str, refusal: Any) -> None:
        plain = getattr(owner, name)

        def wrapped(*args: Any, **named: Any) -> Any:
            strikes.counting = strikes.counting or sort == "state"
            refused = strikes.point(sort)
            if refused:
                number = getattr(errno, refused)
                raise refusal(number, os.strerror(number))
            result = plain(*args, **named)
            strikes.passed(sort)
            return result

        setattr(owner, name, wrapped)

    for name in ("begin", "intend", "finish", "put_meta", "remove"):
        around(Store, name, "state", lambda number, words: StateError(f"the state cannot be used: {words}"))
    around(Sysctls, "write", "file", OSError)
    around(call, "_transact", "call", OSError)
    around(call, "_make_tun", "call", OSError)
    namespaces._libc = Libc(namespaces._libc, strikes)  # type: ignore[assignment]

    submit, dump, handle = Netlink.submit, Netlink.dump, signal.signal

    def heard_signal(number: int, handler: Any) -> Any:
        def heard(*args: Any) -> None:
            strikes.heard.set()
            handler(*args)

        return handle(number, heard if callable(handler) else handler)

    def striking_submit(self: Netlink, messages: Any) -> Any:
        sent, refused = [], {}
        for seq, message in messages:
            how = strikes.point("message", lambda: submit(self, sent))
            if how == "broken":
                submit(self, sent)
                raise KernelError(f"netlink send failed: {os.strerror(errno.ENOBUFS)}", errno.ENOBUFS)
            if how == "deaf":
                submit(self, messages)
                raise KernelError(f"netlink receive failed: {os.strerror(errno.ENOBUFS)}", errno.ENOBUFS)
            if how:
                refused[seq] = Failure(getattr(errno, how))
            else:
                sent.append((seq, message))
        found = submit(self, sent)
        strikes.passed("sent")
        return found | refused

    def striking_dump(self: Netlink, request: int, body: bytes, read: Any) -> None:
        if strikes.dump():
            strikes.say()
            if request >> 8:  # nfnetlink: what it does not know is what a kernel without nf_tables does not know
                raise KernelError(f"dump {request} failed: {os.strerror(errno.ENOBUFS)}", errno.ENOBUFS)
            request = DUMP_OF_NOTHING
        dump(self, request, body, read)

    signal.signal = heard_signal  # type: ignore[assignment]
    Netlink.submit = striking_submit  # type: ignore[method-assign]
    Netlink.dump = striking_dump  # type: ignore[method-assign]


def command(struck: Sequence[tuple[str, int]], argv: list[str], files: list[Any], report: int) -> None:
    """The forked process: it becomes the command."""
    try:
        for number, file in enumerate(files, 1):
            os.dup2(file.fileno(), number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        strikes = Strikes(struck)
        undermine(strikes)
        ending = os._exit

        def end(code: int) -> None:
            os.write(report, b"%d" % strikes.points)
            ending(code)

        os._exit = end  # type: ignore[assignment]  # netdsl's own way to end
        sys.argv = ["netdsl", *argv]
        from netdsl.cli import main

        main()
    except BaseException:
        os.write(2, traceback.format_exc().encode())
    os._exit(70)


def serve() -> None:
    """Fork a netdsl for each line of JSON, and answer with how it ended."""
    import tempfile
    from importlib import import_module

    from netdsl.cli import COMMANDS

    for module, _ in COMMANDS.values():
        import_module(f"netdsl.cli.{module}")
    for line in sys.stdin:
        struck, argv = json.loads(line)
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            reading, writing = os.pipe()
            pid = os.fork()
            if not pid:
                command(struck, argv, [out, err], writing)
            os.close(writing)
            with os.fdopen(reading, "rb") as reported:
                points = int(reported.read() or b"0")
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            texts = []
            for file in (out, err):
                file.seek(0)
                texts.append(file.read().decode(errors="replace"))
        print(json.dumps([code, *texts, points]), flush=True)


if __name__ == "__main__":
    sys.path[:] = [path for path in sys.path if Path(path).resolve() != Path(__file__).resolve().parent]
    serve()
