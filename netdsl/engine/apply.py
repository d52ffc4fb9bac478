"""Carrying a plan out: waves of batches, errors attributed, results kept, the kernel read back."""

from __future__ import annotations

import errno
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Protocol, TypeAlias

from netdsl.engine.cascade import lost_keys, present_needs
from netdsl.engine.change import Action, Change, Plan
from netdsl.engine.compile import MACHINE, Encoding, Step, Wave, creations, deletions
from netdsl.engine.observe import Observation
from netdsl.engine.observe import Target as Observed
from netdsl.engine.outcome import Outcome
from netdsl.engine.read_back import ReadBack
from netdsl.engine.sender import Batch, Sender, patient, sender
from netdsl.lang.item import Gone
from netdsl.lang.ops import Call, DropNetns, Failure, MakeNetns, Probe, Send, WriteSysctl

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


class Run:
    """One plan on its way into the kernel."""

    def __init__(
        self,
        target: Target,
        plan: Plan,
        seen: Observation,
        read_back: ReadBack,
        *,
        intend: Callable[[Sequence[Change]], None],
        progress: Callable[[int], None] = lambda done: None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        """`read_back` looks at netns in which nothing is left to do, while the kernel works on others."""
        self.target = target
        self.plan = plan
        self.outcome = Outcome()
        self.encoding = Encoding(plan, seen, target.netns_fd)
        self.intend = intend
        self.progress = progress
        self.stopped = stopped
        self.read_back = read_back
        self._done: set[int] = set()
        self._finished: list[str] = []

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
        last = {place.removesuffix("/files"): wave for wave in waves for place in wave.steps}
        for wave in waves:
            self._wave(wave, last)
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
        if self.outcome.clean:
            return
        lost = lost_keys(self.plan.changes)
        found = True
        while found:
            found = False
            for change in lost.values():
                for need in present_needs(change.record or change.item, change.have):
                    other = lost.get(need.key) if need.gone is not Gone.BLOCK else None
                    if other is not None and self.outcome.bad(other) and not self.outcome.bad(change):
                        found = True
                        if id(other) in self.outcome.undone:
                            self.outcome.undone[id(change)] = change
                        else:
                            self.outcome.skipped[id(change)] = (change, other.item.title)

    # -- makes

    def _wave(self, wave: Wave, last: Mapping[str, Wave]) -> None:
        make = [step for step in wave.steps.get(MACHINE, ()) if not self._blocked(step)]
        if make and not self._hold(make):
            self._make_netns(make)
        files = [step for place, steps in wave.steps.items() if place.endswith("/files") for step in steps]
        files = [step for step in files if not self._blocked(step)]
        if files and self._hold(files):
            files = []
        # Those with little to do first, so that they can be looked at while the kernel is busy with the others.
        by_size = sorted(wave.steps.items(), key=lambda place: len(place[1]))
        places = {p: steps for p, steps in by_size if p != MACHINE and not p.endswith("/files")}
        self._files(files)
        self._netlink(places, {place for place in places if last[place] is wave})

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
        # Not beside a sender: a file that needs the lock that other threads then hold (rtnl) is written over and over
        # until it is free (restart_syscall in devinet_sysctl_forward).
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

    def _netlink(self, places: Mapping[str, list[Step]], final: Collection[str] = ()) -> None:
        """Send what is to be done in each place, encoding one while the kernel works on another.

        `final` are places where nothing is left to do afterwards.
        """
        under_way: list[tuple[str, list[Step], list[Owners]]] = []
        with sender(self.stopped) as out:
            for place, steps in places.items():
                ready = [step for step in steps if not self._blocked(step)]
                if ready and not self._hold(ready):
                    batches = self._encode(place, ready)
                    for batch, _ in batches:
                        out.put(batch)
                    under_way.append((place, ready, [owners for _, owners in batches]))
            for left, (place, ready, parts) in zip(range(len(under_way), 0, -1), under_way, strict=True):
                self._collect(ready, parts, [self._result(out, left == 1) for _ in parts])
                if place in final:
                    self._finished.append(place)

    def _result(self, out: Sender, last: bool) -> dict[int, Failure] | None:
        """What came of the next batch; while the kernel works on it there is time to look."""
        while self._finished and out.busy:
            self.read_back.look_at(self._finished.pop())
        if last and out.busy:
            self.read_back.spare()
        return out.result()

    def _encode(self, place: str, steps: Sequence[Step]) -> list[tuple[Batch, Owners]]:
        """Batches in the order in which they are to be sent: one, unless some go elsewhere or are no messages."""
        target, encoding = self.target, self.encoding
        where, messages, calls, owners = place, list[tuple[int, bytes]](), list[tuple[int, Call]](), Owners()
        passing: dict[int, tuple[int, ...]] = {}
        batches: list[tuple[Batch, Owners]] = [
            (partial(patient, partial(target.submit, where), messages, passing), owners)
        ]
        calling = False
        seq = 0
        for step in steps:
            first = True
            for op in step.ops(encoding):
                if isinstance(op, Send):
                    if calling or (place if op.netns is None else op.netns) != where:
                        where, messages, owners = place if op.netns is None else op.netns, [], {}
                        batches.append((partial(patient, partial(target.submit, where), messages, passing), owners))
                        calling = False
                    seq += 1
                    messages.append((seq, op.message(seq)))
                    if step.item.kind.passing:
                        passing[seq] = step.item.kind.passing
                elif isinstance(op, Call):
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
        self._done.update(id(step.change) for step in unfinished if id(step.change) in begun and step.verb != "delete")
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
        self._done.update(id(step.change) for step in steps if step.verb != "delete")
        self.progress(len(steps))

    def _fail(self, step: Step, failure: Failure) -> None:
        if not self.outcome.bad(step.change):
            commands = step.commands(self.encoding)
            self.outcome.failed[id(step.change)] = (step.change, str(failure), commands[0] if commands else "")
