"""A thread that sends batches while the next ones are encoded: the kernel works without holding the interpreter."""

from __future__ import annotations

import sys
from _queue import SimpleQueue  # see kernel/netlink.py on modules around others
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Thread
from time import monotonic, sleep
from typing import TypeAlias

from netdsl.lang.ops import Failure

Messages: TypeAlias = Sequence[tuple[int, bytes]]
"""By number."""
Batch: TypeAlias = Callable[[], dict[int, Failure]]
"""Sends messages and gives those that were refused, by their numbers."""

_SWITCH = 0.00002
"""Seconds until a thread that computes lets the sender have its turn; Python's own 0.005 is a batch's whole time."""


PATIENCE = 2.0
"""Seconds for what passes by itself: the kernel hands a carrier on from link to link when it gets to it."""
_FIRST, _LONGEST = 0.001, 0.05
"""Seconds between two attempts, doubled each time."""


def patient(
    submit: Callable[[Messages], dict[int, Failure]], messages: Messages, passing: Mapping[int, Collection[int]]
) -> dict[int, Failure]:
    """Send messages; what was refused is sent again, in its order, while some of it may pass by itself: `passing` has
    the errors that do, by message."""
    refused = submit(messages)
    end, pause = monotonic() + PATIENCE, _FIRST
    while any(refused[n].errno in passing.get(n, ()) for n in refused) and monotonic() < end:
        sleep(pause)
        pause = min(2 * pause, _LONGEST)
        refused = submit([message for message in messages if message[0] in refused])
    return refused


class Sender:
    """Sends batches in the order in which they were put, in a thread of its own."""

    def __init__(self, stopped: Callable[[], bool]) -> None:
        self._stopped = stopped
        self._batches: SimpleQueue[Batch | None] = SimpleQueue()
        self._results: SimpleQueue[dict[int, Failure] | BaseException | None] = SimpleQueue()
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def put(self, batch: Batch) -> None:
        """Hand a batch over."""
        self._batches.put(batch)

    @property
    def busy(self) -> bool:
        """Whether the result of the next batch is not there yet."""
        return self._results.empty()

    def result(self) -> dict[int, Failure] | None:
        """The refused messages of the next batch in order; None when it was not sent, because the run is to stop."""
        found = self._results.get()
        if isinstance(found, BaseException):
            raise found
        return found

    def end(self) -> None:
        """Let the thread finish what it has."""
        self._batches.put(None)
        self._thread.join()

    def _run(self) -> None:
        broken = False
        while (batch := self._batches.get()) is not None:
            try:
                self._results.put(None if broken or self._stopped() else batch())
            except BaseException as error:  # raised where the result is asked for; nothing is sent after it
                broken = True
                self._results.put(error)


@contextmanager
def sender(stopped: Callable[[], bool]) -> Iterator[Sender]:
    """A sender for the length of a block."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH)
    made = Sender(stopped)
    try:
        yield made
    finally:
        made.end()
        sys.setswitchinterval(before)
