"""What `watch` says: a line for each thing that happens, as text or as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from time import time
from typing import Any

import click

from netdsl.cli import render
from netdsl.engine.drift import Drift
from netdsl.errors import NetdslError
from netdsl.lang.item import Item

_DONE = {"create": "created", "update": "updated", "replace": "replaced", "delete": "deleted"}


class Teller:
    """Prints lines, each at once."""

    def __init__(self, stack: str, *, as_json: bool) -> None:
        self.stack = stack
        self.as_json = as_json

    def _say(self, event: str, text: str, colour: str | None = None, **more: Any) -> None:
        if self.as_json:
            render.print_event(event, time=time(), stack=self.stack, **more)
        else:
            click.echo(f"{datetime.now():%H:%M:%S} {click.style(event, fg=colour)}: {text}")

    def watching(self, resources: int, netns: Iterable[str], *, heal: bool) -> None:
        """It begins, or goes on with another state: whatever happens from here on is told."""
        names = sorted(netns)
        where = "1 namespace" if len(names) == 1 else f"{len(names)} namespaces"
        text = f"{render.escaped(self.stack)}, {resources} resources in {where}"
        self._say("watching", text, resources=resources, netns=names, heal=heal)

    def drift(self, drift: Drift) -> None:
        """Something is not as recorded."""
        diffs = [f"{name} {render.shown(old)} -> {render.shown(now)}" for name, (old, now) in drift.diffs.items()]
        text = f"{render.escaped(drift.item.title)}: {', '.join(diffs)}" if diffs else f"{_title(drift)} {drift.words}"
        diff = {name: {"recorded": old, "there": now} for name, (old, now) in drift.diffs.items()}
        self._say("drift", text, "yellow", **_named(drift.item), what=drift.what, diff=diff)

    def healed(self, drift: Drift, *, by_us: bool) -> None:
        """It is as recorded again."""
        by = "watch" if by_us else "another"
        text = _title(drift) if by_us else f"{_title(drift)}, by somebody else"
        self._say("healed", text, "green", **_named(drift.item), by=by)

    def lost(self, netns: Iterable[str]) -> None:
        """The kernel could not deliver what it had to tell."""
        names = sorted(netns)
        where = ", ".join(f"netns {render.escaped(name)}" if name else "this namespace" for name in names)
        self._say("lost", f"notifications of {where}; looking at everything there", netns=names)

    def repaired(self, counts: Mapping[str, int], *, clean: bool) -> None:
        """A repair was carried out."""
        done = [f"{counts[action]} {word}" for action, word in _DONE.items() if counts.get(action)]
        status = "done" if clean else "partly"
        self._say("repair", ", ".join(done) or "nothing", "green", status=status, summary=dict(counts))

    def failed(self, error: NetdslError) -> None:
        """A repair could not be made."""
        problems = [{"what": what, "where": render.here(where), "fix": fix} for what, where, fix in error.problems]
        text = "; ".join(render.escaped(what) for what, _, _ in error.problems)
        self._say("failed", text, "red", problems=problems)

    def often(self, drift: Drift, others: int, seconds: float) -> None:
        """Somebody else wants it otherwise."""
        text = f"{_title(drift)}{f' and {others} more' if others else ''}: another program changes it again and again"
        text += f"; not touched for {seconds:g} s"
        self._say("fight", text, "red", **_named(drift.item), others=others, seconds=seconds)

    def unfinished(self, command: str) -> None:
        """An interrupted run left something open."""
        text = (
            f"`netdsl {render.escaped(command)}` was interrupted; what it left open is not watched until it is settled"
        )
        self._say("unfinished", text, "yellow", command=command)

    def ended(self) -> None:
        """There is nothing left to watch."""
        self._say("ended", f"stack {render.escaped(self.stack)} is not recorded any more")


def _title(drift: Drift) -> str:
    return render.escaped(drift.item.title)


def _named(item: Item) -> dict[str, Any]:
    return {"urn": item.urn, "kind": item.kind.word, "name": item.name, "netns": item.netns}
