"""Times the ring lab built by netdsl, by raw netlink in C, and by `ip -batch`.

    python benchmarks/run.py --nodes 100 500 --runs 5

Prints a Markdown table of medians and their ratios; see README.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import ring_batch
import timing
from timing import Step

HERE = Path(__file__).resolve().parent
STACKS = HERE.parent / "stacks"
SETTLE_SECONDS = 3  # new links detect duplicate addresses for so long: not the load of a plan
STARTUP_ROUNDS = 4  # measurements of a start for each run: they are short and scatter
PLAN_IMPORTS = "import networkx, attrs, click, sqlite3"

RAW, BATCH, PARALLEL, UP, PLAN = "raw", "ip -batch", "ip -batch, 2 jobs", "netdsl up", "empty plan"
RATIOS = ((UP, RAW), (UP, BATCH), (UP, PARALLEL), (RAW, BATCH), (RAW, PARALLEL), (PLAN, UP))


@dataclass
class Samples:
    """What was measured: seconds by what was timed, the notes on what went wrong."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, name: str, seconds: float) -> None:
        self.seconds.setdefault(name, []).append(seconds)

    def note(self, text: str) -> None:
        self.notes.append(text)
        print(f"note: {text}", file=sys.stderr)

    def median(self, name: str) -> float | None:
        return statistics.median(self.seconds[name]) if name in self.seconds else None

    def ratio(self, over: str, under: str) -> float | None:
        first, second = self.median(over), self.median(under)
        return first / second if first and second else None

    def as_json(self) -> dict[str, object]:
        medians = {name: self.median(name) for name in self.seconds}
        return {"seconds": self.seconds, "medians": medians, "notes": self.notes}


@dataclass(frozen=True)
class Tools:
    """The programs to compare; None where one is missing."""

    raw: Path | None
    netdsl: Path | None
    python: Path  # the interpreter that netdsl runs on
    bytecode: Path  # where it keeps compiled modules, as an installed program does beside its source

    def python_env(self) -> dict[str, str]:
        return {"PYTHONPYCACHEPREFIX": str(self.bytecode), "PYTHONDONTWRITEBYTECODE": ""}

    def sides(self) -> list[str]:
        sides = [RAW] if self.raw else []
        sides += [BATCH, PARALLEL]
        return [*sides, UP] if self.netdsl else sides


def find_tools(scratch: Path, netdsl: Path | None) -> Tools:
    """Compiles the C program and looks for the netdsl command, saying what is missing."""
    raw: Path | None = scratch / "raw_ring"
    compiler = shutil.which("cc")
    if compiler:
        subprocess.run([compiler, "-O2", "-o", str(raw), str(HERE / "raw_ring.c")], check=True)
    else:
        raw = None
        print("note: no C compiler `cc`: columns of raw netlink are left out", file=sys.stderr)
    command = netdsl or Path(sys.executable).with_name("netdsl")
    works = command.exists() and subprocess.run(
        [command, "--help"], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    if not works or works.returncode:
        reason = works.stderr.strip().splitlines()[-1:] if works else ["no such file"]
        print(f"note: {command}: {' '.join(reason)}: columns of netdsl are left out", file=sys.stderr)
        return Tools(raw, None, Path(sys.executable), scratch / "bytecode")
    sibling = command.with_name("python")
    python = sibling if sibling.exists() else Path(sys.executable)
    return Tools(raw, command, python, scratch / "bytecode")


def netdsl_step(tools: Tools, name: str, state: Path, *words: str) -> Step:
    return Step(name, [str(tools.netdsl), *words], env=tools.python_env() | {"NETDSL_STATE_DIR": str(state)})


def steps_of(side: str, nodes: int, tools: Tools, folder: Path) -> list[Step]:
    """The timed steps of one side; each has the name of its column."""
    if side == RAW:
        return [Step(RAW, [str(tools.raw), str(nodes), str(folder / "raw.state")])]
    if side in (BATCH, PARALLEL):
        script = ring_batch.write(nodes, folder / "batch", jobs=1 if side == BATCH else 2)
        return [Step(side, ["sh", str(script)])]
    stack = str(STACKS / "ring.py")
    return [
        netdsl_step(tools, UP, folder, "up", stack, "-p", f"nodes={nodes}", "--yes"),
        Step("settle", ["sleep", str(SETTLE_SECONDS)]),
        # An exit code of 3 would say that the plan is not empty.
        netdsl_step(tools, PLAN, folder, "plan", stack, "--detailed-exitcode"),
    ]


def build_once(side: str, nodes: int, tools: Tools, scratch: Path, samples: Samples, check: bool) -> str | None:
    """Builds the lab in a sandbox and adds its times; gives the facts of the lab if asked to check."""
    with tempfile.TemporaryDirectory(dir=scratch) as name:
        steps = steps_of(side, nodes, tools, Path(name))
        columns = [step.name for step in steps]
        if check:
            steps.append(Step("check", [sys.executable, str(HERE / "ring_check.py"), str(nodes)], keep=True))
        results = timing.run(steps)
    for result in results:
        if result.code:
            samples.note(f"{side}, {nodes} nodes: {result.name} exited with {result.code}: {result.err.strip()}")
        elif result.name in columns and result.name != "settle":
            samples.add(result.name, result.seconds)
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
    if not timing.drain():
        print("note: the kernel still removes namespaces: the next run may be slow", file=sys.stderr)


def measure(nodes: int, runs: int, tools: Tools, scratch: Path) -> Samples:
    """Builds the lab by every side, in turn, so many times; the labs of the first turn are compared."""
    samples, facts = Samples(), {}
    for turn in range(runs):
        for side in tools.sides():
            drain()
            print(f"{nodes} nodes, run {turn + 1} of {runs}: {side}", file=sys.stderr)
            seen = build_once(side, nodes, tools, scratch, samples, check=turn == 0)
            if seen is not None:
                facts[side] = seen
    compare_facts(nodes, facts, samples)
    return samples


def measure_startup(runs: int, tools: Tools, scratch: Path) -> Samples:
    """Times `netdsl --help` and an empty plan of a small stack against bare imports."""
    samples, python, stack = Samples(), str(tools.python), str(STACKS / "two_node_vxlan.py")
    drain()
    with tempfile.TemporaryDirectory(dir=scratch) as name:
        state = Path(name)
        steps = [netdsl_step(tools, "two_node_vxlan up", state, "up", stack, "--yes")]
        steps.append(Step("settle", ["sleep", str(SETTLE_SECONDS)]))
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
            elif result.name != "settle":
                samples.add(result.name, result.seconds)
    return samples


def warm_up(tools: Tools, scratch: Path) -> None:
    """Runs every command once, untimed, so that all modules are compiled and in the page cache."""
    with tempfile.TemporaryDirectory(dir=scratch) as name:
        steps = steps_of(UP, 3, tools, Path(name))
        steps.append(netdsl_step(tools, "help", Path(name), "--help"))
        for imports in (PLAN_IMPORTS, "import click"):
            steps.append(Step(imports, [str(tools.python), "-c", imports], tools.python_env()))
        timing.run(steps)


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(value: float | None, unit: str = "") -> str:
    return "–" if value is None else f"{value:.3g}{unit}"  # noqa: RUF001  (an en dash marks an empty cell)


def lab_table(measured: dict[int, Samples]) -> str:
    """Median seconds, then ratios, one row a lab size."""
    columns = [RAW, BATCH, PARALLEL, UP, PLAN]
    head = ["nodes", *(f"{name} (s)" for name in columns), *(f"{over} / {under}" for over, under in RATIOS)]
    rows = []
    for nodes, samples in measured.items():
        row = [cell(samples.median(name)) for name in columns]
        rows.append([str(nodes), *row, *(cell(samples.ratio(*pair)) for pair in RATIOS)])
    return table(head, rows)


def startup_table(samples: Samples) -> str:
    rows = []
    for over, under in (("netdsl --help", "import click"), ("two_node_vxlan plan", PLAN_IMPORTS)):
        values = [samples.median(over), samples.median(under)]
        times = [cell(value and value * 1000) for value in values]
        rows.append([over, times[0], f"`{under}`", times[1], cell(samples.ratio(over, under))])
    return table(["command", "ms", "compared with", "ms", "ratio"], rows)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--nodes", type=int, nargs="+", default=[100], help="sizes of the lab (default 100)")
    parser.add_argument("--runs", type=int, default=5, help="how often each side builds each lab (default 5)")
    parser.add_argument("--startup", action="store_true", help="time the start of the command too")
    parser.add_argument("--no-lab", action="store_true", help="with --startup: build no ring labs")
    parser.add_argument("--netdsl", type=Path, metavar="PATH", help="the command (default: beside this Python)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every single time there")
    return parser.parse_args()


def main() -> int:
    asked = arguments()
    measured: dict[int, Samples] = {}
    startup = None
    with tempfile.TemporaryDirectory(prefix="netdsl-benchmark-") as name:
        scratch = Path(name)
        tools = find_tools(scratch, asked.netdsl.absolute() if asked.netdsl else None)
        if tools.netdsl:
            warm_up(tools, scratch)
        for nodes in [] if asked.no_lab else asked.nodes:
            measured[nodes] = measure(nodes, asked.runs, tools, scratch)
        if asked.startup and tools.netdsl:
            startup = measure_startup(asked.runs, tools, scratch)
    if measured:
        print(lab_table(measured))
    if startup:
        print("\n" + startup_table(startup))
    if asked.json:
        record = {
            "machine": {"kernel": platform.release(), "cpus": os.cpu_count(), "load": os.getloadavg()},
            "runs": asked.runs,
            "nodes": {nodes: samples.as_json() for nodes, samples in measured.items()},
            "startup": startup.as_json() if startup else None,
        }
        asked.json.write_text(json.dumps(record, indent=1) + "\n")
    everything = [*measured.values(), *([startup] if startup else [])]
    return 1 if any(samples.notes for samples in everything) else 0


if __name__ == "__main__":
    sys.exit(main())
