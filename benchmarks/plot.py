"""The figures of `run.py --json` as a picture: how time grows with the lab.

    pip install matplotlib
    python benchmarks/plot.py figures.json docs/scale.svg

On the left what each side takes, on the right the phases of `up` for each object: flat there is what grows as the lab
does.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "netdsl"  # the same figures give the same file

from matplotlib import pyplot  # noqa: E402
from phases import PHASES  # noqa: E402
from sides import BATCH, LEAN, PLAN, RAW, UP  # noqa: E402

SIDES = (RAW, UP, BATCH, PLAN, LEAN)


def of_sides(axes: Any, labs: dict[int, dict[str, Any]]) -> None:
    """Median seconds of each side by the number of nodes."""
    for side in SIDES:
        known = {nodes: lab["measured"][side]["seconds"] for nodes, lab in labs.items() if side in lab["measured"]}
        axes.plot(known.keys(), [statistics.median(seconds) for seconds in known.values()], marker="o", label=side)
    axes.set(xscale="log", yscale="log", xlabel="nodes", ylabel="seconds", title="whole commands")
    axes.legend()


def of_phases(axes: Any, labs: dict[int, dict[str, Any]]) -> None:
    """Median microseconds of each phase of `up` for each object."""
    for phase in PHASES:
        each = [
            statistics.median(run["phases"].get(phase, 0) for run in lab["phases"][UP]) / lab["objects"] * 1e6
            for lab in labs.values()
        ]
        axes.plot(labs.keys(), each, marker="o", label=phase)
    axes.set(xscale="log", yscale="log", xlabel="nodes", ylabel="µs an object", title="phases of up")
    axes.legend(fontsize="small", ncols=2)


def main() -> None:
    """Draw."""
    figures, picture = map(Path, sys.argv[1:])
    record = json.loads(figures.read_text())
    labs = {int(nodes): lab for nodes, lab in record["nodes"].items() if UP in lab["phases"]}
    canvas, (left, right) = pyplot.subplots(1, 2, figsize=(12, 5), layout="constrained")
    of_sides(left, labs)
    of_phases(right, labs)
    canvas.savefig(picture, metadata={"Date": None})


if __name__ == "__main__":
    main()
