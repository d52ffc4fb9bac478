"""A stack's way through the engine: declared, observed, planned, applied, read back, recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

import attrs

from netdsl.engine.apply import Run, Target
from netdsl.engine.change import Action, Change, Plan
from netdsl.engine.compile import assign_ifindexes
from netdsl.engine.graph import recorded_order, sorted_items
from netdsl.engine.observe import Observation, observe, remembered
from netdsl.engine.outcome import Outcome
from netdsl.engine.plan import EVERYTHING, make_plan
from netdsl.engine.read_back import ReadBack
from netdsl.engine.select import Selection
from netdsl.engine.world import Surroundings
from netdsl.errors import ConflictError, Problem, StackError, UnsupportedError, joined
from netdsl.kinds import FALLBACK_LINKS
from netdsl.lang.item import Item, Need
from netdsl.lang.ops import Probe
from netdsl.lang.resource import Resource

_DELETING = (Action.DELETE, Action.REPLACE)

NAMED = 5
"""Resources that a message names before it counts the rest."""

Holders: TypeAlias = Mapping[str, list[int]]
"""Pids of processes by the netns that they live in."""


@attrs.define(eq=False, repr=False)
class Preview:
    """A plan with what it was made from."""

    plan: Plan
    seen: Observation
    items: list[Item]


def preview(
    target: Target,
    stack: str,
    items: list[Item],
    recorded: Sequence[Item],
    *,
    offline: bool = False,
    selection: Selection = EVERYTHING,
) -> Preview:
    """Look at the kernel and plan; `offline`: take the state's word for what the kernel has.

    Raises StackError for what only the whole stack shows (a gateway out of reach, too many ports, a cycle),
    ConflictError for what stands in the way, and UnsupportedError for what the kernel lacks.
    """
    seen = remembered(stack, recorded) if offline else observe(target, [*items, *recorded])
    _relate(items, seen)
    plan = make_plan(stack, sorted_items(items), recorded, seen, selection)
    problems = _foreign_links(plan, _going(plan), seen)
    if problems:
        raise ConflictError(problems)
    if not offline:
        preflight(target, plan.changes)
    assign_ifindexes(plan, seen, recorded)
    return Preview(plan, seen, items)


def relate_offline(items: list[Item]) -> list[Item]:
    """Items in dependency order, related to each other without looking at the kernel."""
    _relate(items, Observation())
    return sorted_items(items)


def _relate(items: list[Item], seen: Observation) -> None:
    surroundings = Surroundings(items, seen)
    plain = Resource.relate.__func__  # type: ignore[attr-defined]  # a classmethod's function
    problems: list[Problem] = []
    for item in items:
        if item.kind.relate.__func__ is not plain:  # type: ignore[attr-defined]
            needs: list[Need] = []
            for found in item.kind.relate(item, surroundings):
                if isinstance(found, Problem):
                    problems.append(found)
                else:
                    needs.append(found)
            if needs:
                item.needs += tuple(needs)
    if problems:
        raise StackError(problems)


def apply(
    target: Target,
    preview: Preview,
    *,
    intend: Callable[[Sequence[Change]], None],
    progress: Callable[[int], None] = lambda done: None,
    stopped: Callable[[], bool] = lambda: False,
) -> tuple[Outcome, ReadBack]:
    """Carry a plan out. `intend` writes down what is about to be done, before it is."""
    plan = preview.plan
    read_back = ReadBack(target, plan.changes)
    run = Run(target, plan, preview.seen, read_back, intend=intend, progress=progress, stopped=stopped)
    return run.go(), read_back


def preflight(target: Target, changes: Iterable[Change]) -> None:
    """Raise UnsupportedError when the kernel lacks something that the changes need: one problem for each lack."""
    users: dict[Probe, list[Item]] = {}
    for change in changes:
        if change.action in (Action.CREATE, Action.REPLACE, Action.UPDATE):
            for probe in change.item.kind.probes(change.item.props):
                users.setdefault(probe, []).append(change.item)
    missing = target.lacks(list(users)) if users else set()
    if missing:
        kernel = target.kernel_release()
        lacks: dict[tuple[str, str], list[Item]] = {}
        for probe, items in users.items():
            if probe in missing:
                lacks.setdefault((probe.what, probe.option), []).extend(items)
        raise UnsupportedError(_lack(kernel, *lack, items) for lack, items in lacks.items())


def _lack(kernel: str, what: str, option: str, items: Sequence[Item]) -> Problem:
    named = [item.title for item in items[:NAMED]]
    if len(items) > NAMED:
        named.append(f"{len(items) - NAMED} more")
    return Problem(
        f"kernel {kernel} offers no {what} ({option}), which {joined(named)} need{'s' * (len(items) == 1)}",
        items[0].where,
        "Install or load the module, or use a kernel that has it; `netdsl kinds` lists what this one offers.",
    )


def plan_destroy(
    target: Target, stack: str, recorded: list[Item], *, force: bool = False, selection: Selection = EVERYTHING
) -> tuple[Preview, Holders]:
    """A plan that deletes everything recorded (that is selected), and the pids that hold netns of it.

    Raises ConflictError when links that are not the stack's stand in its netns, unless `force` is given.
    """
    seen = observe(target, recorded)
    plan = make_plan(stack, [], recorded_order(recorded), seen, selection)
    going = _going(plan)
    if not force:
        problems = _foreign_links(plan, going, seen)
        if problems:
            raise ConflictError(problems)
    held = target.holders(going)
    plan.held = frozenset(held)
    return Preview(plan, seen, []), held


def _going(plan: Plan) -> list[str]:
    """Netns that the plan deletes."""
    return [item.name for c in plan.changes if (item := c.record or c.item).key[0] == "netns" and c.action in _DELETING]


def _foreign_links(plan: Plan, going: list[str], seen: Observation) -> list[Problem]:
    ours = {(change.item.netns, change.item.name) for change in plan.changes if change.item.kind.is_link}
    problems = []
    for netns in sorted(going):
        scope = seen.scopes.get(netns)
        for index, name in sorted(scope.links.items()) if scope is not None else ():
            kind = seen.found[("link", netns, name)].kind
            if index != 1 and (netns, name) not in ours and name not in FALLBACK_LINKS:
                problems.append(
                    Problem(
                        f"netns {netns} holds a link that is not this stack's: {name} ({kind})",
                        fix="Take it away first: it would go with the netns (`netdsl destroy --force` accepts that).",
                    )
                )
    return problems
