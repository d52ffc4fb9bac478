"""What the lanes share that run marked tests on another kernel: booted guests, and the count of what ran there.

A lane is a script beside this one: what it installs, how it boots, and the marker of its tests. A machine where it
cannot run is an error, never a skip: the tests that were executed there are counted against those that are marked.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

PROJECT = Path(__file__).resolve().parent.parent
INIT = Path(__file__).resolve().parent / "guest_init.sh"
SEARCH = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
TEST_SECONDS = 1200
TOOLS = {"ip": "iproute2", "ping": "iputils-ping", "tcpdump": "tcpdump"}
"""Command -> Debian package, of what tests need on every kernel."""


class Failure(Exception):
    """Why the other kernel gave no result."""


@dataclass
class Guest:
    """A booted kernel: its process, the folder that its results come to, its output, and what goes on beside it."""

    process: subprocess.Popen[bytes]
    results: Path
    output: Path
    beside: Sequence[subprocess.Popen[bytes]] = field(default_factory=list)

    def wait(self) -> int:
        """The command's exit status. Raises Failure when the kernel ended without one."""
        code = self.process.wait()
        for other in self.beside:
            other.kill()
            other.wait()
        status = self.results / "status"
        if not status.exists():
            raise Failure(f"the kernel died or ran out of time (exit status {code}):\n{self.tail()}")
        return int(status.read_text())

    def tail(self) -> str:
        """The end of what it printed."""
        return "\n".join(self.output.read_text(errors="replace").splitlines()[-40:])


@dataclass
class Lane:
    """One way to another kernel.

    name      what its messages call it
    marker    pytest's marker of its tests
    packages  command -> Debian package that has it
    prepare   makes what booting needs, once everything is installed
    boot      starts a kernel whose results come to a folder, on a CPU, for so many seconds
    """

    name: str
    marker: str
    packages: Mapping[str, str]
    prepare: Callable[[], None]
    boot: Callable[[Path, int, int], Guest]

    @property
    def pytest(self) -> list[str]:
        """The command that runs its tests."""
        return [sys.executable, "-m", "pytest", "-m", self.marker, "-p", "no:cacheprovider", "-p", "no:xdist", "-q"]

    def start(self, folder: Path, command: str, cpu: int) -> Guest:
        """Boot a kernel that runs a shell command and powers off."""
        results = folder / f"guest{cpu}"
        results.mkdir()
        (results / "command").write_text(command + "\n")
        return self.boot(results, cpu, TEST_SECONDS)

    def run_command(self, words: list[str]) -> int:
        """One command; its output is printed when it is over."""
        with tempfile.TemporaryDirectory(prefix="netdsl-guest-") as folder:
            guest = self.start(Path(folder), shlex.join(words), cpus()[-1])
            code = guest.wait()
            print(guest.output.read_text(errors="replace"), end="")
            return code

    def run_tests(self, extra: list[str]) -> int:
        """All marked tests, dealt out to a kernel on each CPU."""
        wanted = self.collected(extra)
        if not wanted:
            raise Failure(f"no test is marked {self.marker}")
        places = cpus()[: min(4, len(wanted))]
        with tempfile.TemporaryDirectory(prefix="netdsl-guest-") as folder:
            guests = []
            for number, cpu in enumerate(places):
                report = Path(folder) / f"guest{cpu}" / "junit.xml"
                tests = wanted[number :: len(places)]
                command = shlex.join([*self.pytest, f"--junitxml={report}", *tests])
                guests.append(self.start(Path(folder), command, cpu))
            codes = [guest.wait() for guest in guests]
            ran = 0
            for guest, code in zip(guests, codes, strict=True):
                passed, total = counted(guest.results / "junit.xml")
                ran += passed
                if code or passed < total:
                    print(guest.output.read_text(errors="replace"), end="")
        print(f"{self.name}: {ran} of {len(wanted)} tests passed")
        return 0 if ran == len(wanted) and not any(codes) else 1

    def collected(self, extra: list[str]) -> list[str]:
        """The marked tests. They are named to the guests, which then need not look into every file for them."""
        command = [*self.pytest, "--collect-only", *extra]
        found = subprocess.run(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True, check=False)
        if found.returncode not in (0, 5):
            raise Failure(f"the tests cannot be collected:\n{found.stdout}")
        return [line for line in found.stdout.splitlines() if "::" in line]

    def main(self, about: str) -> int:
        """Parse the command line and do what it says."""
        parser = argparse.ArgumentParser(description=about.splitlines()[0])
        parser.add_argument("--only", nargs="*", default=[], metavar="TEST", help="pass on to pytest: files, tests")
        parser.add_argument("command", nargs="*", help="a command to run there instead of the tests")
        given = parser.parse_args()
        try:
            install({**TOOLS, **self.packages})
            self.prepare()
            return self.run_command(given.command) if given.command else self.run_tests(given.only)
        except (Failure, subprocess.CalledProcessError) as error:
            print(f"{sys.argv[0]}: {error}", file=sys.stderr)
            return 1


def install(packages: Mapping[str, str]) -> None:
    """Install what is missing, as root."""
    missing = sorted({package for command, package in packages.items() if not shutil.which(command, path=SEARCH)})
    if missing and (os.geteuid() != 0 or not shutil.which("apt-get")):
        raise Failure(f"missing Debian packages; as root: apt-get install --no-install-recommends {' '.join(missing)}")
    if missing:
        print(f"installing {' '.join(missing)}", flush=True)
        apt("update", "-qq")
        apt("install", "-y", "-qq", "--no-install-recommends", *missing)


def apt(*words: str, cwd: Path | None = None) -> None:
    """Run apt-get; another one that is at work is waited for."""
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    command = ["apt-get", "-o", "DPkg::Lock::Timeout=300", *words]
    subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL, cwd=cwd)


def cpus() -> list[int]:
    """The CPUs that this process may use."""
    return sorted(os.sched_getaffinity(0))


def counted(report: Path) -> tuple[int, int]:
    """Tests that passed, and all of a report; (0, 0) without one."""
    if not report.exists():
        return 0, 0
    suite = ElementTree.parse(report).getroot().find("testsuite")
    assert suite is not None
    total = int(suite.get("tests", 0))
    return total - sum(int(suite.get(word, 0)) for word in ("failures", "errors", "skipped")), total


def bound(seconds: int, cpu: int) -> list[str]:
    """The start of a command that ends with its starter and after so many seconds, and keeps to one CPU."""
    return ["setpriv", "--pdeathsig", "KILL", "timeout", "-k", "5", str(seconds), "taskset", "-c", str(cpu)]
