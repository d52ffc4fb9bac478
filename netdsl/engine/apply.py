"""Carrying a plan out: waves of batches, errors attributed, results kept, the kernel read back."""

from __future__ import annotations

import errno
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Protocol, TypeAlias

import attrs

from netdsl.engine.cascade import lost_keys, present_needs
from netdsl.engine.change import Action, Change, Plan
from netdsl.engine.compile import MACHINE, Encoding, Step, Wave, creations, deletions
from netdsl.engine.observe import Observation
from netdsl.engine.observe import Target as Observed
from netdsl.engine.sender import Batch, sender
from netdsl.errors import Problem
from netdsl.lang.item import Gone
from netdsl.lang.ops import Call, DropNetns, Failure, MakeNetns, MakeTun, Probe, Send, Transaction, WriteSysctl

_GONE = frozenset((errno.ENOENT, errno.ESRCH, errno.ENODEV, errno.EADDRNOTAVAIL))
"""What the kernel says to a delete when there is nothing to delete any more."""


Owners: TypeAlias = dict[int, tuple[Step, bool]]
"""Sequence number -> the step that a message belongs to, and whether it is the step's first."""


class Target(Observed, Protocol):
    """What applying needs of a kernel."""

    def kernel_release(self) -> str: ...
    def lacks(self, probes: Sequence[Probe]) -> set[Probe]: ...
    def holders(self, wanted: Iterable[str]) -> dict[str, list[int]]: ...
    def netns_fd(self, netns: str) -> int: ...
    def release_fds(self) -> None: ...
    def submit(self, netns: str, messages: Sequence[tuple[int, bytes]]) -> dict[int, Failure]: ...
    def perform(self, netns: str, calls: Sequence[tuple[int, Call]]) -> dict[int, Failure]: ...
    def make_netns(
        self, wanted: Sequence[MakeNetns], mark: Sequence[bytes], meanwhile: Callable[[], None]
    ) -> dict[str, Failure]: ...
    def drop_netns(self, wanted: Sequence[str], held: Collection[str]) -> tuple[dict[str, Failure], list[str]]: ...
    def write_files(self, wanted: Sequence[tuple[str, str, str]]) -> list[str | Failure]: ...


@attrs.define(eq=False)
class Outcome:
    """What came of a plan.

    failed   change -> why (the kernel's words and errno)
    skipped  change -> the title of what it needs and that failed
    partly   changes whose object exists though some of their operations failed
    undone   changes that were never sent: the run was interrupted
    held     netns whose names are gone and that the kernel has not let go of
    """

    failed: dict[int, tuple[Change, str, str]] = attrs.field(factory=dict)
    skipped: dict[int, tuple[Change, str]] = attrs.field(factory=dict)
    partly: set[int] = attrs.field(factory=set)
    undone: dict[int, Change] = attrs.field(factory=dict)
    held: list[str] = attrs.field(factory=list)

    @property
    def clean(self) -> bool:
        """Whether everything was done."""
        return not (self.failed or self.skipped or self.undone)

    @property
    def status(self) -> str:
        """In a word."""
        return "done" if self.clean else "interrupted" if self.undone else "partly"

    def counts(self, plan: Plan) -> dict[str, int]:
        """How many of each action were carried out."""
        counts = plan.counts()
        for change in (
            *[c for c, *_ in self.failed.values()],
            *[c for c, _ in self.skipped.values()],
            *self.undone.values(),
        ):
            counts[change.action.value] -= 1
        return counts

    def bad(self, change: Change) -> bool:
        """Whether a change was not carried out in full."""
        if not (self.failed or self.skipped or self.undone):
            return False
        return id(change) in self.failed or id(change) in self.skipped or id(change) in self.undone

    def records(self) -> dict[str, str]:
        """urn -> "absent" or "kept", for the state."""
        found = {}
        changes = [change for change, *_ in self.failed.values()]
        changes += [change for change, _ in self.skipped.values()] + list(self.undone.values())
        for change in changes:
            new = change.action is Action.CREATE or (change.record is None and not change.adopts)
            found[change.item.urn] = "absent" if new and id(change) not in self.partly else "kept"
        return found

    def problems(self) -> list[Problem]:
        """One for each failure, with the equivalent command."""
        found = [
            Problem(
                f"{change.item.title}: the kernel refused to {change.verb} it: {why}",
                change.item.where,
                f"The same by hand: {command}" if command else "",
            )
            for change, why, command in self.failed.values()
        ]
        found += [
            Problem(f"{change.item.title}: skipped, because it needs {title}", change.item.where)
            for change, title in self.skipped.values()
        ]
        return found


class Run:
    """One plan on its way into the kernel."""

    def __init__(
        self,
        target: Target,
        plan: Plan,
        seen: Observation,
        *,
        intend: Callable[[Sequence[Change]], None],
        progress: Callable[[int], None] = lambda done: None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self.target = target
        self.plan = plan
        self.outcome = Outcome()
        self.encoding = Encoding(plan, seen, target.netns_fd)
        self.intend = intend
        self.progress = progress
        self.stopped = stopped
        self._done: set[int] = set()

    def go(self) -> Outcome:
        """Send everything. Deletes first, then the waves; an interruption lets the batch in flight finish.

        `intend` is called with changes before anything of them is sent: with netns to be made first, so that the rest
        can be written down and cut into waves while the kernel makes those.
        """
        waves: list[Wave] = []
        steps = deletions(self.plan)
        changes = self.plan.pending
        netns = [] if steps else [c for c in changes if self._can_be_first(c)]
        rest = [change for change in changes if not self._can_be_first(change)] if netns else changes

        def prepare() -> None:
            self.intend(rest)
            waves.extend(creations(self.plan))

        if netns:
            self.intend(netns)
            make = [Step(change, "create", MACHINE) for change in netns]
            if self._hold(make):
                prepare()
            else:
                self._make_netns(make, prepare)
            first = set(map(id, netns))
            for wave in waves:
                wave.steps[MACHINE] = [s for s in wave.steps.get(MACHINE, ()) if id(s.change) not in first]
        else:
            prepare()
        self._delete(steps)
        for wave in waves:
            self._wave(wave)
        self.target.release_fds()
        self._came_along()
        return self.outcome

    def _came_along(self) -> None:
        """What the kernel made together with a twin is there, although nothing was sent for itself."""
        if self.outcome.clean:
            return
        outcome, doubtful = self.outcome, {c.item.key: c for c in self.plan.changes if self.outcome.bad(c)}
        for change in self.plan.changes:
            made = change.action in (Action.CREATE, Action.REPLACE) and id(change) in self._done
            if made and (not outcome.bad(change) or id(change) in outcome.partly):
                for key, effect, _ in change.item.needs:
                    if effect is Gone.TWIN and key in doubtful:
                        outcome.partly.add(id(doubtful[key]))

    @staticmethod
    def _can_be_first(change: Change) -> bool:
        """Whether it is a netns to be made that nothing else has to be done before."""
        is_new = change.action is Action.CREATE and change.record is None
        return is_new and change.item.key[0] == "netns" and not change.item.after

    # -- deletes

    def _delete(self, steps: list[Step]) -> None:
        self.encoding.deleting = True
        places: dict[str, list[Step]] = {}
        for step in steps:
            places.setdefault(step.place, []).append(step)
        dropped = places.pop(MACHINE, [])
        self._netlink(places)
        self._files([step for step in steps if not self.outcome.bad(step.change)])
        names = {op.name: step for step in dropped for op in step.ops(self.encoding) if isinstance(op, DropNetns)}
        if names and not self._hold(dropped):
            failures, self.outcome.held = self.target.drop_netns(list(names), self.plan.held)
            for name, failure in failures.items():
                self._fail(names[name], failure)
            self.progress(len(names))
        self._left_standing()
        self.encoding.deleting = False

    def _left_standing(self) -> None:
        """What was to fall with an object that was not deleted stands too."""
        lost = lost_keys(self.plan.changes)
        found = True
        while found:
            found = False
            for change in lost.values():
                for need in present_needs(change.record or change.item, change.have):
                    other = lost.get(need.key)
                    if other is not None and self.outcome.bad(other) and not self.outcome.bad(change):
                        found = True
                        if id(other) in self.outcome.undone:
                            self.outcome.undone[id(change)] = change
                        else:
                            self.outcome.skipped[id(change)] = (change, other.item.title)

    # -- makes

    def _wave(self, wave: Wave) -> None:
        make = [step for step in wave.steps.get(MACHINE, ()) if not self._blocked(step)]
        if make and not self._hold(make):
            self._make_netns(make)
        files = [step for place, steps in wave.steps.items() if place.endswith("/files") for step in steps]
        files = [step for step in files if not self._blocked(step)]
        if files and not self._hold(files):
            self._files(files)
        self._netlink({p: steps for p, steps in wave.steps.items() if p != MACHINE and not p.endswith("/files")})

    def _blocked(self, step: Step) -> bool:
        """Whether something that the step needs failed; then it is skipped."""
        for need in step.needs:
            if need.change is not step.change and self.outcome.bad(need.change):
                self._skip(step, need)
                return True
        return self.outcome.bad(step.change)

    def _skip(self, step: Step, need: Step) -> None:
        if not self.outcome.bad(step.change):
            if id(need.change) in self.outcome.undone:
                self.outcome.undone[id(step.change)] = step.change
            else:
                self.outcome.skipped[id(step.change)] = (step.change, need.change.item.title)
            if id(step.change) in self._done:
                self.outcome.partly.add(id(step.change))

    def _hold(self, steps: Sequence[Step]) -> bool:
        """Whether the run was interrupted; then these steps are left undone."""
        if not self.stopped():
            return False
        self._leave(steps)
        return True

    def _leave(self, steps: Sequence[Step]) -> None:
        for step in steps:
            if not self.outcome.bad(step.change):
                self.outcome.undone[id(step.change)] = step.change
                if id(step.change) in self._done:
                    self.outcome.partly.add(id(step.change))

    def _make_netns(self, steps: list[Step], meanwhile: Callable[[], None] = lambda: None) -> None:
        ops: list[MakeNetns] = []
        by_name: dict[str, Step] = {}
        for step in steps:
            for op in step.ops(self.encoding):
                assert isinstance(op, MakeNetns)
                ops.append(op)
                by_name[op.name] = step
        marks = [op.mark.message(1) for op in ops]
        failures = self.target.make_netns(ops, marks, meanwhile)
        for name, step in by_name.items():
            if name in failures:
                self._fail(step, failures[name])
            else:
                step.item.extra = {**step.item.extra, "cookie": self.target.cookie(name)}
        self.progress(len(steps))

    def _files(self, steps: Sequence[Step]) -> None:
        wanted: list[tuple[str, str, str]] = []
        owners: list[Step] = []
        for step in steps:
            if step.item.kind.preexisting:
                for op in step.ops(self.encoding):
                    assert isinstance(op, WriteSysctl)
                    wanted.append((step.item.netns, op.path, op.value))
                    owners.append(step)
        if not wanted:
            return
        for step, before in zip(owners, self.target.write_files(wanted), strict=True):
            if not isinstance(before, str):
                self._fail(step, before)
            elif step.verb != "delete" and "found" not in step.item.extra:
                step.item.extra = {**step.item.extra, "found": {"value": " ".join(before.split())}}
        self.progress(len(owners))

    def _netlink(self, places: Mapping[str, list[Step]]) -> None:
        """Send what is to be done in each place, encoding one while the kernel works on another."""
        under_way: list[tuple[list[Step], list[Owners]]] = []
        with sender(self.stopped) as out:
            for place, steps in places.items():
                ready = [step for step in steps if not self._blocked(step)]
                if ready and not self._hold(ready):
                    batches = self._encode(place, ready)
                    for batch, _ in batches:
                        out.put(batch)
                    under_way.append((ready, [owners for _, owners in batches]))
            for ready, parts in under_way:
                self._collect(ready, parts, [out.result() for _ in parts])

    def _encode(self, place: str, steps: Sequence[Step]) -> list[tuple[Batch, Owners]]:
        """Batches in the order in which they are to be sent: one, unless some go elsewhere or are no messages."""
        target, encoding = self.target, self.encoding
        where, messages, calls, owners = place, list[tuple[int, bytes]](), list[tuple[int, Call]](), Owners()
        batches: list[tuple[Batch, Owners]] = [(partial(target.submit, where, messages), owners)]
        calling = False
        seq = 0
        for step in steps:
            first = True
            for op in step.ops(encoding):
                if isinstance(op, Send):
                    if calling or (place if op.netns is None else op.netns) != where:
                        where, messages, owners = place if op.netns is None else op.netns, [], {}
                        batches.append((partial(target.submit, where, messages), owners))
                        calling = False
                    seq += 1
                    messages.append((seq, op.message(seq)))
                elif isinstance(op, Transaction | MakeTun):
                    if not calling:
                        calls, owners = [], {}
                        batches.append((partial(target.perform, place, calls), owners))
                        calling = True
                    seq += 1
                    calls.append((seq, op))
                else:
                    continue
                owners[seq] = (step, first)
                first = False
        return [(batch, owners) for batch, owners in batches if owners]

    def _collect(self, steps: Sequence[Step], parts: list[Owners], results: list[dict[int, Failure] | None]) -> None:
        """What came of the batches of one place; when the run was stopped the later ones were not sent."""
        sent = results.index(None) if None in results else len(parts)
        cut = {id(step) for owners in parts[sent:] for step, _ in owners.values()}
        failures = {number: why for found in results[:sent] if found is not None for number, why in found.items()}
        owners = {number: owner for part in parts[:sent] for number, owner in part.items()}
        self._settle([step for step in steps if id(step) not in cut], owners, failures)
        begun = {id(step.change) for step, _ in owners.values()}
        unfinished = [step for step in steps if id(step) in cut]
        self._done.update(id(step.change) for step in unfinished if id(step.change) in begun)
        self._leave(unfinished)

    def _settle(self, steps: Sequence[Step], owners: Owners, failures: Mapping[int, Failure]) -> None:
        refused: set[int] = set()  # changes whose object was not made
        for number in sorted(failures):
            step, first = owners[number]
            if step.verb == "delete" and failures[number].errno in _GONE:
                continue
            cause = next((n for n in step.needs if n.change is not step.change and self.outcome.bad(n.change)), None)
            if cause is not None:
                self._skip(step, cause)
            else:
                self._fail(step, failures[number])
            if first and step.verb == "create":
                refused.add(id(step.change))
            elif (not first or step.verb == "finish") and id(step.change) not in refused:
                self.outcome.partly.add(id(step.change))
        self._done.update(id(step.change) for step in steps)
        self.progress(len(steps))

    def _fail(self, step: Step, failure: Failure) -> None:
        if not self.outcome.bad(step.change):
            commands = step.commands(self.encoding)
            self.outcome.failed[id(step.change)] = (step.change, str(failure), commands[0] if commands else "")
