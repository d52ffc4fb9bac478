"""Plans and errors as text and as JSON. Everything that comes from the kernel or the user is escaped."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import click

from netdsl.engine.change import Action, Change, Plan
from netdsl.errors import NetdslError, Problem

JSON_VERSION = 1
MARKS = {
    Action.CREATE: ("+ ", "green"),
    Action.UPDATE: ("~ ", "yellow"),
    Action.REPLACE: ("+-", "magenta"),
    Action.DELETE: ("- ", "red"),
    Action.FORGET: ("x ", "cyan"),
    Action.SAME: ("= ", "cyan"),
}
TOLD = 20
"""Problems that are printed before the rest is counted."""
_WORDS = {"create": "to create", "update": "to update", "replace": "to replace", "delete": "to delete"}
_HIDDEN = frozenset(("dev", "address", "peer", "above"))
"""Said by the resource's name, or by another property."""
_USUAL = (("table", 254), ("type", "unicast"), ("metric", 0), ("metric", 1024))
"""Of interest only when it is something else."""


def escaped(text: str) -> str:
    """Text that cannot move the cursor or change colours."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def shown(value: Any) -> str:
    """A property's value."""
    if value is None:
        return "(none)"
    if isinstance(value, bool):
        return str(value).lower()
    if value == "":
        return "(none)"
    if isinstance(value, Mapping):
        return " ".join(f"{escaped(str(word))} {shown(part)}" for word, part in value.items())
    if isinstance(value, list | tuple):
        return ",".join(shown(part) for part in value) or "(none)"
    return escaped(str(value))


def here(where: str) -> str:
    """A place in a file, relative to the current directory when it is below it."""
    current = os.getcwd() + "/"
    return where.removeprefix(current)


def print_error(error: NetdslError, *, color: bool | None = None) -> None:
    """All problems of an error, on stderr."""
    print_problems(error.problems, color=color)


def print_problems(problems: Iterable[Problem], *, word: str = "error", color: bool | None = None) -> None:
    """Problems with their places and what to do; of very many the first."""
    problems = list(problems)
    for problem in problems[:TOLD]:
        place = f"{escaped(here(problem.where))}: " if problem.where else ""
        head = click.style(f"{word}:", fg="red" if word == "error" else "yellow", bold=True)
        click.echo(f"{head} {place}{escaped(problem.what)}", err=True, color=color)
        if problem.fix:
            click.echo(f"       {escaped(here(problem.fix))}", err=True)
    if len(problems) > TOLD:
        click.echo(f"       and {len(problems) - TOLD} more", err=True, color=color)


def note(text: str) -> str:
    """A note before or after a plan."""
    return click.style(f"note: {escaped(text)}", fg="yellow")


def line_of(change: Change) -> str:
    """One resource: its mark, kind and name, what matters of its properties, and why."""
    mark, colour = MARKS[change.action]
    item = change.item
    name = escaped(item.name)
    text = f"{mark} {item.kind.word} {name}"
    if change.action in (Action.CREATE, Action.REPLACE) and not (change.action is Action.REPLACE and change.diffs):
        words = []
        for prop, value in item.props.items():
            if prop == "peer":
                words.append(f"peer={shown(value.lstrip('/'))}")
            elif (prop, value) in _USUAL:
                continue
            elif prop not in _HIDDEN or (prop == "dev" and " dev " not in name):
                words.append(f"{escaped(prop)}={shown(value)}")
        text += f"  {' '.join(words)}" if words else ""
    notes = [escaped(change.reason)] if change.reason else []
    if change.adopts:
        notes.append("taken over")
    if change.moved_from and change.action is not Action.DELETE:
        notes.append(f"was {escaped(change.moved_from)}")
    if change.falls and change.falls not in change.reason:
        notes.append(f"goes with {escaped(change.falls)}")
    styled = click.style(text, fg=colour)
    return styled + (click.style(f"  ({'; '.join(notes)})", dim=True) if notes else "")


def plan_lines(plan: Plan) -> Iterator[str]:
    """The whole plan, grouped by component and netns."""
    groups: dict[tuple[str, str], list[Change]] = {}
    for change in plan.pending:
        item = change.item
        netns = item.key[2] if item.key[0] == "netns" else item.netns
        groups.setdefault((item.component, netns), []).append(change)
    component = ""
    for (path, netns), changes in sorted(groups.items()):
        if path != component:
            yield click.style(f"{escaped(path)}", bold=True)
            component = path
        indent = "  " if path else ""
        yield f"{indent}{click.style(f'netns {escaped(netns)}' if netns else 'this namespace', underline=True)}"
        for change in changes:
            yield f"{indent}  {line_of(change)}"
            for prop, (have, want) in change.diffs.items():
                if have == want:
                    continue
                yield f"{indent}       {escaped(prop)}: {shown(have)} -> {shown(want)}"
    if groups:
        yield ""


def summary(plan: Plan) -> str:
    """One line with the counts."""
    counts = plan.counts()
    parts = [f"{counts[action]} {words}" for action, words in _WORDS.items() if counts[action]]
    if counts["forget"]:
        parts.append(f"{counts['forget']} to forget")
    others = Counter(
        change.verb if change.writes else "record anew"
        for change in plan.changes
        if change.pending and change.action is Action.SAME
    )
    parts += [f"{number} to {verb}" for verb, number in others.items()]
    return f"{', '.join(parts) or 'no changes'} ({counts['same'] - others.total()} unchanged)"


def params_line(values: Mapping[str, Any]) -> str:
    """Parameters as they would be given."""
    return " ".join(f"{escaped(name)}={shown(value)}" for name, value in values.items())


def output_lines(outputs: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Outputs, one a line; those of nested stacks with a dotted name."""
    for name, value in outputs.items():
        if isinstance(value, Mapping):
            yield from output_lines(value, f"{prefix}{escaped(name)}.")
        else:
            yield f"{prefix}{escaped(name)} = {shown(value)}"


def plan_json(plan: Plan, params: Mapping[str, Any]) -> dict[str, Any]:
    """A plan as plain data."""
    return {
        "version": JSON_VERSION,
        "stack": plan.stack,
        "params": dict(params),
        "notes": plan.notes,
        "changes": [change_json(change) for change in plan.pending],
        "summary": plan.counts(),
    }


def change_json(change: Change) -> dict[str, Any]:
    """One change as plain data."""
    item = change.item
    return {
        "urn": item.urn,
        "action": change.action.value,
        "kind": item.kind.word,
        "name": item.name,
        "netns": item.netns,
        "component": item.component,
        "props": item.props,
        "diff": {name: {"have": have, "want": want} for name, (have, want) in change.diffs.items()},
        "reason": change.reason,
        "falls_with": change.falls,
        "adopts": change.adopts,
        "moved_from": change.moved_from,
        "where": here(item.where),
    }


def print_json(value: Any, *, indent: int | None = 2) -> None:
    """JSON on stdout."""
    json.dump(value, sys.stdout, indent=indent, default=str)
    sys.stdout.write("\n")
    sys.stdout.flush()


def print_event(event: str, **more: Any) -> None:
    """One thing that happened, as a line of JSON on stdout."""
    print_json({"event": event, "version": JSON_VERSION, **more}, indent=None)
