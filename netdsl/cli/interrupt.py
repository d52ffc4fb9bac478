"""Ctrl-C: the first lets the batch in flight finish, the second exits at once; intents are on disk either way."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import click


@contextmanager
def gently() -> Iterator[Callable[[], bool]]:
    """Gives a function that says whether to stop."""
    stopped = False

    def handler(number: int, frame: FrameType | None) -> None:
        nonlocal stopped
        if stopped:
            if sys.stderr.isatty():
                os.write(2, b"\x1b[?25h\r\n")  # the progress bar has hidden the cursor
            os._exit(130)
        stopped = True
        click.echo("finishing what is under way; once more to exit at once", err=True)

    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: stopped
    finally:
        for number, old in before.items():
            signal.signal(number, old)
