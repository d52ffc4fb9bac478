"""Times the ring lab built by netdsl, by raw netlink in C, and by `ip -batch`.

    python benchmarks/run.py --nodes 100 500 --runs 5
    python benchmarks/run.py --all --nodes 10 100 500 1000 2000 --json figures.json --markdown figures.md

Prints Markdown tables of medians and their ratios; see README.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import report
import timing
from report import Samples
from sides import (
    PLAN,
    PLAN_IMPORTS,
    STACKS,
    UP,
    Tools,
    find_tools,
    machine,
    netdsl_step,
    objects,
    profiled,
    say,
    settle,
    steps_of,
)
from timing import Step

HERE = Path(__file__).resolve().parent
STARTUP_ROUNDS = 4  # measurements of a start for each run: they are short and scatter
PROFILED_RUNS = 3  # at most: where the time goes scatters less than how much it is


def build_once(
    side: str, nodes: int, tools: Tools, scratch: Path, samples: Samples, *, check: bool, every: bool
) -> str | None:
    """Builds the lab in a sandbox and adds its times; gives the facts of the lab if asked to check."""
    with tempfile.TemporaryDirectory(dir=scratch) as name:
        steps = steps_of(side, nodes, tools, Path(name), every=every and not check)
        if check:
            steps.append(Step("check", [sys.executable, str(HERE / "ring_check.py"), str(nodes)], keep=True))
        results = timing.run(steps)
    for result in results:
        if result.code:
            samples.note(f"{side}, {nodes} nodes: {result.name} exited with {result.code}: {result.err.strip()}")
        elif result.name == PLAN:
            samples.objects = objects(result.out)
        if not result.code and result.name != "check":
            samples.add(result)
    return results[-1].out if check and results[-1].name == "check" else None


def compare_facts(nodes: int, facts: dict[str, str], samples: Samples) -> None:
    """Notes every object in which the labs of two sides differ."""
    labs = {side: json.loads(text) for side, text in facts.items() if text}
    if not labs:
        return
    first, *others = labs
    for other in others:
        for netns, lines in labs[first].items():
            ours = labs[other].get(netns, [])
            for line in sorted(set(lines) ^ set(ours)):
                owner = first if line in lines else other
                samples.note(f"{nodes} nodes: in {netns} only {owner} has: {line}")


def drain() -> None:
    """Wait for the kernel."""
    if not timing.drain():
        say("note: the kernel still removes namespaces: the next run may be slow")


def measure(nodes: int, runs: int, tools: Tools, scratch: Path, *, every: bool) -> Samples:
    """Builds the lab by every side, in turn, so many times; the labs of the first turn are compared."""
    samples, facts = Samples(), {}
    for turn in range(runs):
        for side in tools.sides(nodes, every=every):
            drain()
            say(f"{nodes} nodes, run {turn + 1} of {runs}: {side}")
            check = turn == 0 and side != "mininet"  # its namespaces have no names to look into
            seen = build_once(side, nodes, tools, scratch, samples, check=check, every=every)
            if seen is not None:
                facts[side] = seen
        if every and tools.netdsl and turn < PROFILED_RUNS:
            drain()
            say(f"{nodes} nodes, run {turn + 1} of {min(runs, PROFILED_RUNS)}: phases")
            profile(nodes, tools, scratch, samples)
    compare_facts(nodes, facts, samples)
    return samples


def profile(nodes: int, tools: Tools, scratch: Path, samples: Samples) -> None:
    """Adds where the time of netdsl's commands goes."""
    with tempfile.TemporaryDirectory(dir=scratch) as name:
        steps, files = profiled(nodes, tools, Path(name))
        for result in timing.run(steps):
            if result.code:
                samples.note(f"phases, {nodes} nodes: {result.name} exited with {result.code}: {result.err.strip()}")
        for command, path in files.items():
            if path.exists():
                samples.phases.setdefault(command, []).append(json.loads(path.read_text()))


def measure_startup(runs: int, tools: Tools, scratch: Path) -> Samples:
    """Times `netdsl --help` and an empty plan of a small stack against bare imports."""
    samples, python, stack = Samples(), str(tools.python), str(STACKS / "two_node_vxlan.py")
    drain()
    with tempfile.TemporaryDirectory(dir=scratch) as name:
        state = Path(name)
        steps = [netdsl_step(tools, "two_node_vxlan up", state, "up", stack, "--yes"), settle()]
        for _ in range(runs * STARTUP_ROUNDS):
            steps += [
                netdsl_step(tools, "netdsl --help", state, "--help"),
                Step("import click", [python, "-c", "import click"], tools.python_env()),
                netdsl_step(tools, "two_node_vxlan plan", state, "plan", stack, "--detailed-exitcode"),
                Step(PLAN_IMPORTS, [python, "-c", PLAN_IMPORTS], tools.python_env()),
            ]
        for result in timing.run(steps):
            if result.code:
                samples.note(f"{result.name} exited with {result.code}: {result.err.strip()}")
            else:
                samples.add(result)
    return samples


def warm_up(tools: Tools, scratch: Path) -> None:
    """Runs every command once, untimed, so that all modules are compiled and in the page cache."""
    with tempfile.TemporaryDirectory(dir=scratch) as name:
        steps = steps_of(UP, 3, tools, Path(name), every=True)
        steps.append(netdsl_step(tools, "help", Path(name), "--help"))
        for imports in (PLAN_IMPORTS, "import click"):
            steps.append(Step(imports, [str(tools.python), "-c", imports], tools.python_env()))
        timing.run(steps)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--nodes", type=int, nargs="+", default=[100], help="sizes of the lab (default 100)")
    parser.add_argument("--runs", type=int, default=5, help="how often each side builds each lab (default 5)")
    parser.add_argument("--all", action="store_true", help="everything: also phases, changes, destroy, other tools")
    parser.add_argument("--startup", action="store_true", help="time the start of the command too")
    parser.add_argument("--no-lab", action="store_true", help="with --startup: build no ring labs")
    parser.add_argument("--netdsl", type=Path, metavar="PATH", help="the command (default: beside this Python)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every single time there")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables there too")
    return parser.parse_args()


def tables(measured: dict[int, Samples], startup: Samples | None, *, every: bool) -> str:
    """All that is to be shown."""
    parts = []
    if measured and every:
        parts = [report.aims_table(measured), report.everything_table(measured)]
        parts += [report.phases_table(measured, command) for command in next(iter(measured.values())).phases]
    elif measured:
        parts = [report.lab_table(measured)]
    if startup:
        parts.append(report.startup_table(startup))
    return "\n\n".join(parts) + "\n"


def main() -> int:
    asked = arguments()
    measured: dict[int, Samples] = {}
    startup = None
    with tempfile.TemporaryDirectory(prefix="netdsl-benchmark-") as name:
        scratch = Path(name)
        tools = find_tools(scratch, asked.netdsl.absolute() if asked.netdsl else None)
        if tools.netdsl:
            warm_up(tools, scratch)
        if (asked.startup or asked.all) and tools.netdsl:
            startup = measure_startup(asked.runs, tools, scratch)
        for nodes in [] if asked.no_lab else asked.nodes:
            measured[nodes] = measure(nodes, asked.runs, tools, scratch, every=asked.all)
            shown = tables(measured, startup, every=asked.all)
            if asked.json:  # after each size: the large ones take long
                record = {
                    "machine": machine(),
                    "runs": asked.runs,
                    "nodes": {nodes: samples.as_json() for nodes, samples in measured.items()},
                    "startup": startup.as_json() if startup else None,
                }
                asked.json.write_text(json.dumps(record, indent=1) + "\n")
            if asked.markdown:
                asked.markdown.write_text(shown)
    print(tables(measured, startup, every=asked.all), end="")
    everything = [*measured.values(), *([startup] if startup else [])]
    return 1 if any(samples.notes for samples in everything) else 0


if __name__ == "__main__":
    sys.exit(main())
