"""What tests of going back, saved plans and parts of a stack share: one stack in a file, and what becomes of it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sandbox import Picture, Sandbox

Done = subprocess.CompletedProcess[str]


class Lab:
    """The stack `lab` of a file, in a sandbox."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        self.sandbox = sandbox
        self.folder = folder
        self.path = folder / "lab.py"

    def write(self, body: str, params: str = "", imports: str = "from netdsl import *") -> None:
        """Write the program."""
        body = textwrap.indent(textwrap.dedent(body).strip(), "    ")
        self.path.write_text(f"{imports}\n\n@stack\ndef lab({params}):\n{body}\n")

    def up(self, *args: str, check: bool = True) -> Done:
        """`up --yes` of the file."""
        return self.sandbox.netdsl("up", str(self.path), "--yes", *args, check=check)

    def argv(self, *args: str) -> list[str]:
        """The command line of a netdsl command."""
        return [sys.executable, "-m", "netdsl", *args]

    def killed(self, *args: str) -> None:
        """Run an `up` of what was up before that is killed when it sends what it was about to do."""
        log = self.folder / "log"
        trace = ["strace", "-qq", "-o", str(log), "-e", "trace=sendto"]
        self.sandbox.run([*trace, *self.argv("plan", "lab")])
        first = len(log.read_text().splitlines()) + 1
        done = self.sandbox.run(
            [*trace, "-e", f"inject=sendto:signal=KILL:when={first}", *self.argv(*args)], check=False
        )
        assert done.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL), done

    @contextmanager
    def holding(self) -> Iterator[int]:
        """Hold the stack's lock, as another run does; its pid."""
        script = (
            "import pathlib, sys; from netdsl.state.lock import locked\n"
            "with locked(pathlib.Path(sys.argv[1]), 'lab', 'up', 30):\n    print('held', flush=True); sys.stdin.read()"
        )
        holder = self.sandbox.popen([sys.executable, "-c", script, str(self.state_dir)])
        assert holder.stdout and holder.stdin
        assert holder.stdout.readline() == "held\n"
        yield holder.pid
        holder.stdin.close()
        holder.wait()

    def refused(self, code: int, *args: str) -> str:
        """What a command says that has to fail with this exit code."""
        done = self.sandbox.netdsl(*args, check=False)
        assert done.returncode == code, done
        assert "Traceback" not in done.stderr, done
        return done.stderr

    def pending(self, *args: str) -> list[dict[str, Any]]:
        """The changes that a plan shows."""
        done = self.sandbox.netdsl("plan", str(self.path), *args, "--json")
        changes: list[dict[str, Any]] = json.loads(done.stdout)["changes"]
        return changes

    def brief(self, *args: str) -> dict[str, str]:
        """Names and actions of the changes that a plan shows."""
        return {change["name"]: change["action"] for change in self.pending(*args)}

    def export(self) -> dict[str, Any]:
        """The whole state."""
        whole: dict[str, Any] = json.loads(self.sandbox.netdsl("state", "export", "lab").stdout)
        return whole

    def recorded(self) -> dict[str, dict[str, Any]]:
        """The resources in the state, by their logical names."""
        return {resource["urn"]: resource for resource in self.export()["resources"]}

    def runs(self) -> list[dict[str, Any]]:
        """The history."""
        runs: list[dict[str, Any]] = json.loads(self.sandbox.netdsl("history", "lab", "--json").stdout)["runs"]
        return runs

    def outputs(self) -> dict[str, Any]:
        """The recorded outputs."""
        found: dict[str, Any] = json.loads(self.sandbox.netdsl("outputs", "lab", "--json").stdout)["outputs"]
        return found

    def links(self, netns: str | None = None) -> dict[str, dict[str, Any]]:
        """The links beside lo, by name."""
        found = self.sandbox.ip("link", "show", netns=netns)
        return {link["ifname"]: link for link in found if link["ifname"] != "lo"}

    def dump(self) -> Picture:
        """All namespaces, with ifindexes and marks."""
        return self.sandbox.dump()

    @property
    def state_dir(self) -> Path:
        """Where netdsl keeps its states."""
        return Path(self.sandbox.env["NETDSL_STATE_DIR"])

    def states(self) -> list[str]:
        """The recorded stacks, in the way of files."""
        return sorted(path.name for path in self.state_dir.glob("*.db"))
