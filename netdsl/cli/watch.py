"""`netdsl watch`."""

from __future__ import annotations

import gc
import signal
from contextlib import closing
from time import monotonic

import attrs
import click

from netdsl.cli import options
from netdsl.cli.heal import VERB, Healer, home, protocols
from netdsl.cli.session import Session, open_session
from netdsl.cli.telling import Teller
from netdsl.engine.drift import Drift, look
from netdsl.engine.graph import sorted_items
from netdsl.errors import Interrupted, KernelError, LockedError, UsageError
from netdsl.kernel.events import Heard, Listener
from netdsl.lang.item import Item, Key
from netdsl.state.lock import is_locked

QUIET, LONGEST = 0.02, 0.2
"""Seconds of silence after which a burst is over, and that it may last until it is looked at all the same."""
SHARE = 10
"""After each look it rests this many times as long as that took, so that a busy netns cannot take a core..."""
REST = 0.25
"""... but at most these seconds."""
ASKING = 0.02
"""Seconds between two questions whether a lock is free, right after its file was closed."""
TRIES = 6
"""How often looking may fail on end, since what is looked at goes away meanwhile."""


class _Ended(Exception):
    """There is nothing left to watch."""


@click.command("watch")
@options.stack_argument
@click.option("--name", metavar="NAME", help="The stack's name, where it is not the function's.")
@options.state_dir
@options.as_json
@click.option("--heal", is_flag=True, help="Repair what drifts.")
@click.option(
    "--every",
    callback=options.seconds,
    default="60s",
    metavar="TIME",
    help="How often to look at what the kernel does not tell of, most sysctls among it; 0s: never. [60s]",
)
def command(stack: str | None, name: str | None, state_dir: str | None, as_json: bool, heal: bool, every: float) -> int:
    """Stay, and report what drifts from the record as it happens, and when it is as recorded again.

    With --heal it is repaired as `up` would do it; what comes back again and again is repaired less and less often.
    Other runs of the stack go first: what they record is what is watched from then on. Ctrl-C ends it.
    """
    session = open_session(stack, state_dir=state_dir, name=name, needs_program=False)
    if not session.recorded.items:
        raise UsageError(f"stack {session.name} is not up: there is nothing to watch")
    if heal:
        session.machine.require_rights(netns=False)
    session.program = session.recorded.meta.get("program", "")
    gc.enable()  # this one stays
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    teller = Teller(session.name, as_json=as_json)
    healer = Healer(session, teller) if heal else None
    try:
        with closing(Listener(session.folder / f"{session.name}.lock")) as listener:
            Watch(session, listener, teller, healer, every).run()
    except (KeyboardInterrupt, Interrupted):
        pass
    except _Ended:
        teller.ended()
    return 0


@attrs.define(eq=False, repr=False)
class Watch:
    """The loop.

    items     what is recorded, by the netns that tells of it
    by_key    the same, by kernel identity
    stamp     that of the state which was read
    dirty     netns to look at, and since when
    due       when to look
    rested    when the rest after the last look is over
    silent    netns with something that the kernel does not tell of, and when to look there again
    drifts    what is known not to be as recorded, by logical name
    held      another run is under way: nothing is looked at until it has ended
    asking    until when to ask whether it has: its lock goes right after the file is closed
    blocked   an interrupted run left something open: repairs are not for us to decide
    failures  looks on end that failed
    """

    session: Session
    listener: Listener
    teller: Teller
    healer: Healer | None
    every: float
    items: dict[str, list[Item]] = attrs.field(factory=dict)
    by_key: dict[Key, Item] = attrs.field(factory=dict)
    stamp: bytes = b""
    dirty: set[str] = attrs.field(factory=set)
    since: float = 0.0
    due: float = 0.0
    rested: float = 0.0
    again: float = 0.0
    silent: set[str] = attrs.field(factory=set)
    drifts: dict[str, Drift] = attrs.field(factory=dict)
    held: bool = False
    asking: float = 0.0
    blocked: bool = False
    failures: int = 0

    def run(self) -> None:
        """Until there is nothing left to watch."""
        self._load()
        while True:
            self._hear(self.listener.wait(self._patience()))
            if self.held and not self._released():
                continue
            now = monotonic()
            if self.silent and now >= self.again:
                self.dirty |= self.silent
                self.again = now + self.every
            if self.dirty and now >= self.due:
                self._look()
            elif self.healer is not None and not self.dirty and not self.blocked:
                self._heal(self.healer, now)

    def _patience(self) -> float | None:
        """Seconds until there is something to do; None: only what is heard gives something to do."""
        if self.held:
            return ASKING if monotonic() < self.asking else None
        times = []
        if self.dirty:
            times.append(self.due)
        elif self.healer is not None and not self.blocked:
            ripe = self.healer.due(self.drifts)
            times += [ripe] if ripe is not None else []
        if self.silent:
            times.append(self.again)
        return None if not times else max(0.0, min(times) - monotonic())

    def _hear(self, heard: Heard) -> None:
        now = monotonic()
        if heard.lost:
            self.teller.lost(heard.lost)
        if heard.touched:
            self.since = self.since if self.dirty else now
            self.dirty |= heard.touched
            self.due = max(self.rested, min(now + QUIET, self.since + LONGEST))
        if heard.released:
            self.asking = now + 1.0
            if not self.held and self.session.store.stamp() != self.stamp:
                self.held = True

    def _released(self) -> bool:
        """Whether the other run has ended; if so, what it recorded counts."""
        if is_locked(self.session.folder, self.session.name):
            return False
        self.held = False
        if self.session.store.stamp() != self.stamp:
            self._load()
        return True

    def _load(self, *, told: bool = True) -> None:
        """Take what is recorded for what is to be watched, and look at all of it."""
        session = self.session
        self.stamp = session.store.stamp()
        session.reload()
        known = sorted_items(session.recorded.items)
        if not known:
            raise _Ended
        unsettled = [item for item in known if "unsettled" in item.extra]
        self.blocked = False
        if unsettled:
            command = session.store.history()[-1].command
            if command == VERB:  # a repair can just be repeated
                for item in unsettled:
                    del item.extra["unsettled"]
            else:
                self.blocked = True
                if not is_locked(session.folder, session.name):
                    self.teller.unfinished(command)
        session.store.close()
        session.values = session.recorded.meta.get("values", {})
        self.items, self.by_key = {}, {item.key: item for item in known}
        for item in known:
            self.items.setdefault(home(item), []).append(item)
        self.drifts = {item.urn: self.drifts[item.urn] for item in known if item.urn in self.drifts}
        self.silent = {home(item) for item in known if self.every and not item.kind.announced(item)}
        self.again = monotonic() + self.every
        self.listener.follow(protocols(known))
        if told:
            self.teller.watching(len(known), self.items, heal=self.healer is not None)
        self.dirty, self.due = set(self.items), 0.0

    def _look(self) -> None:
        session = self.session
        if is_locked(session.folder, session.name):
            self.held = True
            return
        if session.store.stamp() != self.stamp:
            self._load()
        begun = monotonic()
        items = [item for netns in sorted(self.dirty) for item in self.items.get(netns, ())]
        try:
            found = look(session.machine, session.name, self.by_key, items)
        except KernelError:  # it went away while it was looked at
            self.failures += 1
            if self.failures == TRIES:
                raise
            self.due = begun + QUIET * 2**self.failures
            return
        finally:
            session.machine.close()  # what is open of a namespace keeps it alive
        self.failures = 0
        if session.store.stamp() != self.stamp or is_locked(session.folder, session.name):
            return  # another run began meanwhile: what was seen may be its doing
        self.dirty = set()
        now = monotonic()
        self.rested = now + min(REST, SHARE * (now - begun))
        for item in items:
            self._compare(item.urn, found.get(item.urn))

    def _compare(self, urn: str, drift: Drift | None) -> None:
        before = self.drifts.get(urn)
        if drift is not None and drift != before:
            self.drifts[urn] = drift
            self.teller.drift(drift)
        elif drift is None and before is not None:
            del self.drifts[urn]
            self.teller.healed(before, by_us=self.healer is not None and urn in self.healer.mended)

    def _heal(self, healer: Healer, now: float) -> None:
        ripe = healer.due(self.drifts)
        if ripe is None or ripe > now:
            return
        try:
            healer.heal(self.drifts, self.stamp)
            self._load(told=False)
        except LockedError:
            self.held = True
        finally:
            self.session.store.close()
            self.session.machine.close()
