"""What was measured, as Markdown tables."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from phases import PHASES
from sides import (
    BATCH,
    CLEAN,
    DROP,
    LEAN,
    MORE,
    PARALLEL,
    PLAN,
    PLAN_IMPORTS,
    RAW,
    RAW_CLEAN,
    RAW_DROP,
    SETTLE,
    UP,
    say,
)
from timing import Result

RATIOS = ((UP, RAW), (UP, BATCH), (UP, PARALLEL), (RAW, BATCH), (RAW, PARALLEL), (PLAN, UP))
AIMS = (
    ("up / raw, wall", UP, RAW, "seconds"),
    ("up / raw, kernel CPU", UP, RAW, "kernel"),
    ("up / ip -batch, wall", UP, BATCH, "seconds"),
    ("raw / ip -batch, wall", RAW, BATCH, "seconds"),
    ("empty plan / lean dump, wall", PLAN, LEAN, "seconds"),
    ("empty plan / up, wall", PLAN, UP, "seconds"),
    ("one node more / empty plan, wall", MORE, PLAN, "seconds"),
)


@dataclass
class Samples:
    """What was measured of a lab size: results by what was timed, the notes on what went wrong."""

    results: dict[str, list[Result]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    objects: int = 0
    phases: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def add(self, result: Result) -> None:
        """Keep a result."""
        if result.name != SETTLE:
            self.results.setdefault(result.name, []).append(result)

    def note(self, text: str) -> None:
        """Keep what went wrong, and say it."""
        self.notes.append(text)
        say(f"note: {text}")

    def median(self, name: str, what: str = "seconds") -> float | None:
        """Of what was timed: its seconds, user, kernel (CPU seconds) or peak (MiB)."""
        return statistics.median([getattr(r, what) for r in self.results[name]]) if name in self.results else None

    def ratio(self, over: str, under: str, what: str = "seconds") -> float | None:
        """Of two medians."""
        first, second = self.median(over, what), self.median(under, what)
        return first / second if first and second else None

    def as_json(self) -> dict[str, object]:
        """Every single figure."""
        figures = ("seconds", "user", "kernel", "peak")
        found = {
            name: {figure: [getattr(result, figure) for result in results] for figure in figures}
            for name, results in self.results.items()
        }
        return {"objects": self.objects, "measured": found, "phases": self.phases, "notes": self.notes}


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are numbers."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(value: float | None) -> str:
    """Three figures."""
    return "–" if value is None else f"{value:.3g}" if value < 1000 else f"{value:.0f}"  # noqa: RUF001  (an empty cell)


def lab_table(measured: Mapping[int, Samples]) -> str:
    """Median seconds, then ratios, one row a lab size."""
    columns = [RAW, BATCH, PARALLEL, UP, PLAN]
    head = ["nodes", *(f"{name} (s)" for name in columns), *(f"{over} / {under}" for over, under in RATIOS)]
    rows = []
    for nodes, samples in measured.items():
        row = [cell(samples.median(name)) for name in columns]
        rows.append([str(nodes), *row, *(cell(samples.ratio(*pair)) for pair in RATIOS)])
    return table(head, rows)


def everything_table(measured: Mapping[int, Samples]) -> str:
    """Wall seconds, CPU seconds and memory of all that was timed, a table for each lab size."""
    parts = []
    for nodes, samples in measured.items():
        rows = []
        for name in samples.results:
            row = [cell(samples.median(name, figure)) for figure in ("seconds", "user", "kernel", "peak")]
            rows.append([name, *row, cell(samples.ratio(name, RAW))])
        head = ["", "wall (s)", "own CPU (s)", "kernel CPU (s)", "peak (MiB)", "wall / raw"]
        parts.append(f"**{nodes} nodes, {samples.objects} objects**\n\n{table(head, rows)}")
    return "\n\n".join(parts)


def aims_table(measured: Mapping[int, Samples]) -> str:
    """The ratios that there are aims for, a column for each lab size."""
    rows = [
        [title, *(cell(s.ratio(over, under, what)) for s in measured.values())] for title, over, under, what in AIMS
    ]
    rows.append(["own CPU of up, µs an object", *(cell(_each_object(samples)) for samples in measured.values())])
    rows.append(["peak of up, MiB", *(cell(samples.median(UP, "peak")) for samples in measured.values())])
    rows.append(["peak of the empty plan, MiB", *(cell(samples.median(PLAN, "peak")) for samples in measured.values())])
    rows.append(["destroy: released, s", *(cell(samples.median(DROP)) for samples in measured.values())])
    until = [(_sum(s, DROP, CLEAN), _sum(s, RAW_DROP, RAW_CLEAN)) for s in measured.values()]
    rows.append(["destroy: until the kernel is clean, s", *(cell(ours) for ours, _ in until)])
    rows.append(["the same / raw", *(cell(ours / raw if ours and raw else None) for ours, raw in until)])
    return table(["", *(f"{nodes} nodes" for nodes in measured)], rows)


def _each_object(samples: Samples) -> float | None:
    user = samples.median(UP, "user")
    return user / samples.objects * 1e6 if user and samples.objects else None


def _sum(samples: Samples, *names: str) -> float | None:
    values = [samples.median(name) for name in names]
    return sum(value for value in values if value is not None) if None not in values else None


def phases_table(measured: Mapping[int, Samples], command: str) -> str:
    """Milliseconds of each phase of a command and what it sent, a column for each lab size."""
    sizes = {nodes: samples.phases[command] for nodes, samples in measured.items() if command in samples.phases}
    rows = []
    for phase in PHASES:
        times = [[run["phases"].get(phase) for run in runs] for runs in sizes.values()]
        if any(value for values in times for value in values):
            rows.append([phase, *(cell(statistics.median([v or 0.0 for v in values]) * 1e3) for values in times)])
    for count in ("netns", "messages", "sends", "dumps"):
        counts = [runs[0]["counts"].get(count, 0) for runs in sizes.values()]
        if any(counts):
            rows.append([f"{count} (number)", *(str(number) for number in counts)])
    return table([f"{command}, ms", *(f"{nodes} nodes" for nodes in sizes)], rows)


def startup_table(samples: Samples) -> str:
    """The start of the command against bare imports."""
    rows = []
    for over, under in (("netdsl --help", "import click"), ("two_node_vxlan plan", PLAN_IMPORTS)):
        values = [samples.median(over), samples.median(under)]
        times = [cell(value and value * 1000) for value in values]
        rows.append([over, times[0], f"`{under}`", times[1], cell(samples.ratio(over, under))])
    return table(["command", "ms", "compared with", "ms", "ratio"], rows)
