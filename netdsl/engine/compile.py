"""From a plan to waves of operations: as few as the dependencies between namespaces force. Pure.

Each change has up to three steps: delete, make and finish. Deletes come first, in reverse order. The others are put in
waves so that whatever a step needs from another place (another netns; or a file where it is a message), or was made to
depend on by the user, was done in an earlier wave; within a wave and a place they stand in dependency order, links
before addresses before routes. The number of waves depends on the depth of the stack, not on its size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import attrs

from netdsl.engine.cascade import falls_silently, lost_keys
from netdsl.engine.change import Action, Change, Plan
from netdsl.engine.graph import CycleError, order, recorded_order
from netdsl.engine.observe import Observation
from netdsl.lang.item import Gone, Item, Key
from netdsl.lang.naming import altname
from netdsl.lang.ops import Env, Op

FIRST_IFINDEX = 1 << 20
MACHINE = "/netns"
"""The place where netns are made and dropped; no netns has a name like it."""


@attrs.define(slots=True, eq=False, repr=False)
class Step:
    """One step of a change: "delete", "create", "update" or "finish"."""

    change: Change
    verb: str
    place: str
    needs: tuple[Step, ...] = ()

    @property
    def item(self) -> Item:
        """What it is about; a delete is about what is recorded, as it stands: a run that was killed may have changed it
        since."""
        if self.verb != "delete":
            return self.change.item
        record, have = self.change.record or self.change.item, self.change.have
        props = record.kind.standing(record, have) if have is not None else record.props
        return record if props is record.props else attrs.evolve(record, props=props)

    def ops(self, env: Env) -> Sequence[Op]:
        """Its operations, encoded."""
        item, kind = self.item, self.item.kind
        if self.verb == "delete":
            return kind.delete(item, env)
        if self.verb == "create":
            return kind.create(item, env)
        if self.verb == "finish":
            return kind.finish(item, env)
        ops: Sequence[Op] = ()
        if self.change.diffs or self.change.resent:
            ops = kind.update(item, {name: want for name, (_, want) in self.change.diffs.items()}, env)
        have = self.change.have
        if (
            (self.change.adopts or self.change.unmarked)
            and have is not None
            and altname(env.stack, item.name) not in have.marks
        ):
            return [*ops, *kind.adopt(item, env)]
        return [*ops, *kind.release(item, env)] if self.change.releases else ops

    def commands(self, env: Env) -> Sequence[str]:
        """The equivalent shell commands."""
        changed = {name: want for name, (_, want) in self.change.diffs.items()}
        if self.verb == "update" and not (changed or self.change.resent):
            return ()
        return self.item.kind.commands(self.verb, self.item, changed, env)


@attrs.define(eq=False, repr=False)
class Wave:
    """Steps by place; what is in different places is independent."""

    steps: dict[str, list[Step]] = attrs.field(factory=dict)


def assign_ifindexes(plan: Plan, seen: Observation, recorded: Sequence[Item]) -> None:
    """Choose an ifindex for each link that will be made: beyond every one in use or recorded."""
    used = [index for scope in seen.scopes.values() for index in scope.links]
    used += [int(item.extra["ifindex"]) for item in recorded if "ifindex" in item.extra]
    following = max([index for index in used if index >= FIRST_IFINDEX], default=FIRST_IFINDEX - 1) + 1
    for change in plan.changes:
        if change.item.kind.is_link and change.action in (Action.CREATE, Action.REPLACE):
            change.item.extra = {**change.item.extra, "ifindex": following}
            following += 1
        elif change.adopts and change.have is not None and change.have.ifindex:
            change.item.extra = {**change.item.extra, "ifindex": change.have.ifindex}


class Encoding:
    """What kinds may ask while they encode (lang.ops.Env): planned links first, then those that were seen."""

    def __init__(self, plan: Plan, seen: Observation, netns_fd: Callable[[str], int]) -> None:
        self.stack = plan.stack
        self._indexes = seen.ifindexes()
        self._old = dict(self._indexes)
        self._items: dict[Key, Item] = {}
        for change in plan.changes:
            if change.action is not Action.DELETE:
                self._items[change.item.key] = change.item
            if change.item.kind.is_link and change.action in (Action.CREATE, Action.REPLACE):
                self._indexes[(change.item.netns, change.item.name)] = change.item.extra["ifindex"]
        self.netns_fd = netns_fd
        self.deleting = False

    def ifindex(self, netns: str, name: str) -> int:
        """Of a planned or existing link; 0 where there is none: the kernel refuses it by name of the attribute."""
        return (self._old if self.deleting else self._indexes).get((netns, name), 0)

    def item(self, key: Key) -> Item:
        """The planned item."""
        return self._items[key]


def deletions(plan: Plan) -> list[Step]:
    """Explicit deletes, what stands on something before what it stands on; netns last."""
    lost = lost_keys(plan.changes)
    going = {key: change for key, change in lost.items() if key[0] != "netns" or key[2] not in plan.held}
    steps = []
    for change in lost.values():
        if not falls_silently(change, going):
            item = change.record or change.item
            place = MACHINE if item.key[0] == "netns" else item.netns
            steps.append(Step(change, "delete", place))
    rank: dict[str, float] = {step.item.urn: step.item.kind.phase for step in steps}
    block, by_key = Gone.BLOCK, {step.item.key: step.item.urn for step in steps}
    blocking = {s.item.urn: [by_key[n.key] for n in s.item.needs if n.gone is block and n.key in by_key] for s in steps}
    ordered = any(step.item.after or blocking[step.item.urn] for step in steps)
    for item in recorded_order([step.item for step in steps]) if ordered else ():
        below = (*item.after, *blocking[item.urn])
        rank[item.urn] = max([item.kind.phase, *(rank[urn] + 1e-6 for urn in below if urn in rank)])
    steps.sort(key=lambda step: -rank[step.item.urn])
    return steps


def creations(plan: Plan) -> list[Wave]:
    """Waves of make and finish steps."""
    steps, edges, soft = _steps(plan)
    try:
        sequence = order(len(steps), edges + soft)
        edges += soft
    except CycleError:  # the user's depends_on runs against the preference, which is only one
        sequence = order(len(steps), edges)
    preferred = set(soft)
    before: list[list[int]] = [[] for _ in steps]
    for first, second in edges:
        before[second].append(first)
    items = [step.change.item for step in steps]
    wave_of, phase_of, position = [0] * len(steps), [0] * len(steps), [0] * len(steps)
    for place, index in enumerate(sequence):
        step, after = steps[index], items[index].after
        wave, phase = 0, items[index].kind.phase
        for other in before[index]:
            away = steps[other].place != step.place or (after and items[other].urn in after)
            if wave_of[other] + bool(away) > wave:
                wave = wave_of[other] + bool(away)
        for other in before[index]:
            if wave_of[other] == wave and phase_of[other] > phase:
                phase = phase_of[other]
        wave_of[index], phase_of[index], position[index] = wave, phase, place
        step.needs = tuple([steps[other] for other in before[index] if (other, index) not in preferred])
    waves = [Wave() for _ in range(max(wave_of, default=-1) + 1)]
    for index in sorted(range(len(steps)), key=lambda i: (phase_of[i], position[i])):
        waves[wave_of[index]].steps.setdefault(steps[index].place, []).append(steps[index])
    return waves


def _place(item: Item) -> str:
    """Where a step happens; a file is another place than the netlink socket of the same netns."""
    if item.key[0] == "netns":
        return MACHINE
    return f"{item.netns}/files" if item.kind.preexisting else item.netns


def _steps(plan: Plan) -> tuple[list[Step], list[tuple[int, int]], list[tuple[int, int]]]:
    """Steps, edges that must hold and edges that are preferred: what comes up after what."""
    # A bridge comes up after its ports, a VLAN after its lower device.
    steps: list[Step] = []
    made: dict[Key, int] = {}
    done: dict[Key, int] = {}
    by_urn: dict[str, int] = {}
    for change in plan.changes:
        if change.action not in (Action.CREATE, Action.UPDATE, Action.REPLACE) and not (
            (change.adopts or change.releases) and change.action is Action.SAME
        ):
            continue
        item, place = change.item, _place(change.item)
        verb = "update" if change.action in (Action.UPDATE, Action.SAME) else "create"
        made[item.key] = done[item.key] = by_urn[item.urn] = len(steps)
        steps.append(Step(change, verb, place))
        if (verb == "create" and item.kind.finishes(item)) or item.kind.finishing.intersection(change.diffs):
            done[item.key] = by_urn[item.urn] = len(steps)
            steps.append(Step(change, "finish", place))
    edges: list[tuple[int, int]] = []
    soft: list[tuple[int, int]] = []
    twin, reset, vanish = Gone.TWIN, Gone.RESET, Gone.VANISH  # looking up an enum's member takes ten times as long
    for item_key, index in made.items():
        item = steps[index].change.item
        last, is_link = done[item_key], item.kind.is_link
        if last != index:
            edges.append((index, last))
        for key, effect, _ in item.needs:
            other = made.get(key)
            if other is None or effect is twin:
                continue
            if is_link or effect is reset:
                edges.append((other, index))
                if effect is reset and done[key] != other:
                    soft.append((last, done[key]))
                elif effect is vanish and last != index:  # it cannot be up on a lower device that is down
                    soft.append((done[key], last))
            else:
                edges.append((done[key], index))
        for urn in item.after:
            if urn in by_urn:
                edges.append((by_urn[urn], index))
    return steps, edges, soft


def all_steps(plan: Plan) -> Iterator[Step]:
    """Every step in an order in which one could do them by hand."""
    yield from deletions(plan)
    for wave in creations(plan):
        for place in sorted(wave.steps, key=lambda p: (p != MACHINE, not p.endswith("/files"), p)):
            yield from wave.steps[place]
