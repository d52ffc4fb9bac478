"""One netdsl command, and where its time goes.

    python phases.py FILE up stacks/ring.py -p nodes=100 --yes

runs the command in this process as `netdsl` would and writes into FILE as JSON: seconds of each phase, what went to the
kernel and came from it, CPU seconds and the peak of memory. A phase's seconds are its own: what a phase does inside
another (the record is written while the kernel makes netns) counts for the inner one. Threads run beside: `send` is how
long the command waited for the kernel and encoded for it.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, NoReturn

gc.disable()  # as netdsl/__main__.py does
BEGIN = time.perf_counter()
BEFORE = time.clock_gettime(time.CLOCK_PROCESS_CPUTIME_ID)

PHASES = (
    "start", "import", "declare", "graph", "observe", "diff", "compile", "send", "read back", "record", "rest",
)  # fmt: skip
"""In the order of an `up`; `start` is the interpreter's own start, in CPU seconds."""


class Clock:
    """Seconds by phase; phases nest."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self._open = ["import"]
        self._since = BEGIN

    def turn(self) -> None:
        """Book the time since the last turn on the innermost phase."""
        now = time.perf_counter()
        self.seconds[self._open[-1]] += now - self._since
        self._since = now

    def close(self) -> None:
        """End the innermost phase."""
        self.turn()
        self._open.pop()

    def open(self, phase: str) -> None:
        """Begin a phase."""
        self.turn()
        self._open.append(phase)

    def phase(self, owner: Any, name: str, phase: str, *, outermost: bool = False) -> None:
        """Book the calls of a function on a phase; `outermost`: unless another phase is under way."""
        function = getattr(owner, name)

        @wraps(function)
        def timed(*words: Any, **named: Any) -> Any:
            if outermost and self._open[-1] not in ("rest", "import"):
                return function(*words, **named)
            self.open(phase)
            try:
                return function(*words, **named)
            finally:
                self.close()

        setattr(owner, name, timed)

    def count(self, owner: Any, name: str, measure: Callable[..., dict[str, int]]) -> None:
        """Count the calls of a function, and what `measure` makes of its arguments."""
        function = getattr(owner, name)

        @wraps(function)
        def counted(*words: Any, **named: Any) -> Any:
            self.counts.update(measure(*words, **named))
            return function(*words, **named)

        setattr(owner, name, counted)


def watch(clock: Clock) -> None:
    """Book what the command's parts do."""
    from netdsl.cli.session import Session
    from netdsl.engine import apply, deploy
    from netdsl.engine.read_back import ReadBack
    from netdsl.kernel.machine import Machine
    from netdsl.kernel.netlink import Netlink
    from netdsl.state.store import Store

    clock.phase(Session, "declare", "declare")
    clock.phase(deploy, "sorted_items", "graph")
    clock.phase(deploy, "_relate", "graph")
    clock.phase(deploy, "observe", "observe", outermost=True)
    clock.phase(deploy, "make_plan", "diff")
    clock.phase(apply, "creations", "compile")
    clock.phase(apply, "deletions", "compile")
    clock.phase(deploy, "apply", "send")
    clock.phase(ReadBack, "look_at", "read back")
    clock.phase(ReadBack, "problems", "read back")
    for name in ("begin", "intend", "finish", "load"):
        clock.phase(Store, name, "record")
    clock.count(Netlink, "submit", lambda _, messages: {"messages": len(messages)})
    clock.count(Netlink, "exchange", lambda *_: {"sends": 1})
    clock.count(Netlink, "dump", lambda *_: {"dumps": 1})
    clock.count(Machine, "make_netns", lambda _, wanted, *__: {"netns": len(wanted)})
    clock.count(Machine, "drop_netns", lambda _, wanted, *__: {"netns": len(wanted)})


def main() -> NoReturn:
    """Run the command; its exit code is ours."""
    target, *words = sys.argv[1:]
    sys.argv = ["netdsl", *words]
    import netdsl.cli as cli

    clock = Clock()

    def end(code: int) -> NoReturn:
        clock.turn()
        own, kernel = os.times()[:2]
        record = {
            "phases": {"start": BEFORE, **clock.seconds},
            "counts": dict(clock.counts),
            "user": own,
            "system": kernel,
            "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        }
        Path(target).write_text(json.dumps(record))
        cli.os._exit = leave
        leave(code)

    leave = os._exit
    cli.os._exit = end
    cli.Lazy.get_command = watched(clock, cli.Lazy.get_command)
    cli.main()


def watched(clock: Clock, function: Callable[..., Any]) -> Callable[..., Any]:
    """Import the command and the rest of netdsl, then start to watch: what was before is `import`."""

    def wrapper(*words: Any) -> Any:
        found = function(*words)
        watch(clock)
        clock.open("rest")
        return found

    return wrapper


if __name__ == "__main__":
    main()
