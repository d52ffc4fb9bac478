"""Who builds the ring lab, and the steps that are timed of each."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import ring_batch
from timing import Step, drained

HERE = Path(__file__).resolve().parent
STACKS = HERE.parent / "stacks"
SETTLE_SECONDS = 3  # new links detect duplicate addresses for so long: not the load of a plan
SLOW = 100  # nodes up to which the sides are tried that take minutes beyond
PLAN_IMPORTS = "import networkx, attrs, click, sqlite3"
MININET = Path("/usr/bin/python3"), Path("/usr/lib/python3/dist-packages/mininet")

RAW, BATCH, PARALLEL, UP, PLAN = "raw", "ip -batch", "ip -batch, 2 jobs", "netdsl up", "empty plan"
EACH, PYROUTE2, MININET_SIDE = "ip, one by one", "pyroute2", "mininet"
LEAN, LESS, MORE = "lean dump", "one node less", "one node more"
DROP, CLEAN, RAW_DROP, RAW_CLEAN = "destroy", "kernel clean", "raw destroy", "raw: kernel clean"
SETTLE = "settle"


@dataclass(frozen=True)
class Tools:
    """The programs to compare; None where one is missing."""

    raw: Path | None
    drop: Path | None
    netdsl: Path | None
    python: Path  # the interpreter that netdsl runs on
    bytecode: Path  # where it keeps compiled modules, as an installed program does beside its source
    mininet: bool

    def python_env(self) -> dict[str, str]:
        """Lets Python keep its compiled modules."""
        return {"PYTHONPYCACHEPREFIX": str(self.bytecode), "PYTHONDONTWRITEBYTECODE": ""}

    def sides(self, nodes: int, *, every: bool) -> list[str]:
        """Who takes part."""
        sides = [RAW] if self.raw else []
        sides += [BATCH, PARALLEL]
        sides += [UP] if self.netdsl else []
        if every and nodes <= SLOW:
            sides += [EACH, PYROUTE2, *([MININET_SIDE] if self.mininet else [])]
        return sides


def find_tools(scratch: Path, netdsl: Path | None) -> Tools:
    """Compiles the C programs and looks for the netdsl command, saying what is missing."""
    raw: Path | None = scratch / "raw_ring"
    drop: Path | None = scratch / "raw_drop"
    if shutil.which("cc"):
        for program in (raw, drop):
            assert program is not None
            subprocess.run(["cc", "-O2", "-o", str(program), str(HERE / f"{program.name}.c")], check=True)
    else:
        raw = drop = None
        say("note: no C compiler `cc`: columns of raw netlink are left out")
    mininet = all(path.exists() for path in MININET)
    if not mininet:
        say("note: no mininet (Debian's package mininet): its column is left out")
    command = netdsl or Path(sys.executable).with_name("netdsl")
    works = command.exists() and subprocess.run(
        [command, "--help"], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    if not works or works.returncode:
        reason = works.stderr.strip().splitlines()[-1:] if works else ["no such file"]
        say(f"note: {command}: {' '.join(reason)}: columns of netdsl are left out")
        return Tools(raw, drop, None, Path(sys.executable), scratch / "bytecode", mininet)
    sibling = command.with_name("python")
    python = sibling if sibling.exists() else Path(sys.executable)
    return Tools(raw, drop, command, python, scratch / "bytecode", mininet)


def say(text: str) -> None:
    """Tell the user on the side."""
    print(text, file=sys.stderr)


def netdsl_step(tools: Tools, name: str, state: Path, *words: str, phases: Path | None = None) -> Step:
    """A command of netdsl; with `phases` it writes there where its time went."""
    program = [str(tools.python), str(HERE / "phases.py"), str(phases)] if phases else [str(tools.netdsl)]
    env = tools.python_env() | {"NETDSL_STATE_DIR": str(state)}
    return Step(name, [*program, *words], env=env, keep=name == PLAN)


def settle() -> Step:
    """Wait until a lab just built is quiet."""
    return Step(SETTLE, ["sleep", str(SETTLE_SECONDS)])


def steps_of(side: str, nodes: int, tools: Tools, folder: Path, *, every: bool = False) -> list[Step]:
    """The timed steps of one side; each has the name of what it is listed as. `every`: what follows `up` too."""
    if side == RAW:
        steps = [Step(RAW, [str(tools.raw), str(nodes), str(folder / "raw.state")])]
        if every:
            steps += [settle(), Step(RAW_DROP, [str(tools.drop)]), drained(RAW_CLEAN)]
        return steps
    if side in (BATCH, PARALLEL, EACH):
        how = "each" if side == EACH else "nsenter"
        script = ring_batch.write(nodes, folder / "batch", how, jobs=2 if side == PARALLEL else 1)
        return [Step(side, ["sh", str(script)])]
    if side == PYROUTE2:
        return [Step(side, [str(tools.python), str(HERE / "pyroute2_ring.py"), str(nodes)], tools.python_env())]
    if side == MININET_SIDE:
        ring_batch.write(nodes, folder / "batch")
        words = [str(HERE / "mininet_ring.py"), str(nodes), str(folder / "batch")]
        env = {"PYTHONPATH": str(MININET[1].parent)} | tools.python_env()
        return [Step(side, [str(MININET[0]), *words], env)]
    stack = str(STACKS / "ring.py")
    up = netdsl_step(tools, UP, folder, "up", stack, "-p", f"nodes={nodes}", "--yes")
    # An exit code of 3 would say that the plan is not empty.
    plan = netdsl_step(tools, PLAN, folder, "plan", stack, "--detailed-exitcode")
    if not every:
        return [up, settle(), plan]
    less = netdsl_step(tools, LESS, folder, "up", stack, "-p", f"nodes={nodes - 1}", "--yes")
    more = netdsl_step(tools, MORE, folder, "up", stack, "-p", f"nodes={nodes}", "--yes")
    lean = Step(LEAN, [str(tools.python), str(HERE / "lean_dump.py")], tools.python_env())
    drop = netdsl_step(tools, DROP, folder, "destroy", "ring", "--yes")
    return [up, settle(), plan, lean, less, settle(), more, settle(), drop, drained(CLEAN)]


def profiled(nodes: int, tools: Tools, folder: Path) -> tuple[list[Step], dict[str, Path]]:
    """The steps that write down where the time of each command goes, and where they write it."""
    stack = str(STACKS / "ring.py")
    files = {UP: folder / "up.json", PLAN: folder / "plan.json", DROP: folder / "destroy.json"}
    steps = [
        netdsl_step(tools, UP, folder, "up", stack, "-p", f"nodes={nodes}", "--yes", phases=files[UP]),
        settle(),
        netdsl_step(tools, PLAN, folder, "plan", stack, phases=files[PLAN]),
        netdsl_step(tools, DROP, folder, "destroy", "ring", "--yes", phases=files[DROP]),
    ]
    return steps, files


def objects(plan: str) -> int:
    """How many objects an empty plan says there are."""
    found = re.search(r"\((\d+) unchanged\)", plan)
    return int(found[1]) if found else 0


def machine() -> dict[str, object]:
    """What it is measured on."""
    return {"kernel": os.uname().release, "cpus": os.cpu_count(), "load": os.getloadavg()}
