"""Run the tests marked `fullkernel`, or any command, on a full Debian kernel (User Mode Linux).

    python dev/fullkernel.py               every marked test; all of them must run and pass
    python dev/fullkernel.py -- COMMAND    one command, with its exit status

The kernel of Debian's package user-mode-linux runs as a process, with this machine's file system as its read-only root:
no image, no virtualisation. As root this installs what is missing. A machine where it cannot run is an error, never a
skip:
the tests that were executed there are counted against those that are marked.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

PROJECT = Path(__file__).resolve().parent.parent
INIT = Path(__file__).resolve().parent / "fullkernel_init.sh"
PACKAGES = {
    "linux.uml": "user-mode-linux",
    "modprobe": "kmod",
    "ip": "iproute2",
    "ping": "iputils-ping",
    "tcpdump": "tcpdump",
}
MODULES = Path("/usr/lib/uml/modules")
MEMORY = "640M"
TEST_SECONDS = 1200
PYTEST = [sys.executable, "-m", "pytest", "-m", "fullkernel"]


class Failure(Exception):
    """Why the full kernel gave no result."""


@dataclass
class Guest:
    """A booted kernel: the process and the folder that its results come to."""

    process: subprocess.Popen[bytes]
    results: Path
    output: Path

    def wait(self) -> int:
        """The command's exit status. Raises Failure when the kernel ended without one."""
        code = self.process.wait()
        status = self.results / "status"
        if not status.exists():
            raise Failure(f"the full kernel died or ran out of time (exit status {code}):\n{self.tail()}")
        return int(status.read_text())

    def tail(self) -> str:
        """The end of what it printed."""
        return "\n".join(self.output.read_text(errors="replace").splitlines()[-40:])


def install() -> None:
    """Install what is missing, as root."""
    search = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
    missing = sorted({package for command, package in PACKAGES.items() if not shutil.which(command, path=search)})
    if missing and (os.geteuid() != 0 or not shutil.which("apt-get")):
        raise Failure(f"missing Debian packages; as root: apt-get install --no-install-recommends {' '.join(missing)}")
    if missing:
        print(f"installing {' '.join(missing)}", flush=True)
        env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for words in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *missing]):
            subprocess.run(["apt-get", *words], env=env, check=True, stdout=subprocess.DEVNULL)


def modules() -> Path:
    """Where the kernel's modules are."""
    found = sorted(MODULES.glob("*"))
    if not found:
        raise Failure(f"no modules below {MODULES}: is the package user-mode-linux complete?")
    return found[-1]


def boot(folder: Path, command: str, cpu: int, seconds: int) -> Guest:
    """Start a kernel that runs a shell command and powers off.

    Pinned to one CPU, on which it is three times as fast: its processes are threads of control that take turns.
    """
    results = folder / f"guest{cpu}"
    results.mkdir()
    (results / "command").write_text(command + "\n")
    output = results / "output"
    arguments = {
        "mem": MEMORY, "root": "/dev/root", "rootfstype": "hostfs", "rootflags": "/", "init": str(INIT),
        "con": "null", "con0": "null,fd:1", "console": "tty1", "con1": "null,fd:2", "ssl": "null", "panic": "-1",
        "umid": "kernel", "uml_dir": str(results), "loglevel": "3",
        "results": str(results), "project": str(PROJECT), "modules": str(modules()),
    }  # fmt: skip
    kernel = ["linux.uml", "ro", "quiet", "noreboot", *(f"{name}={value}" for name, value in arguments.items())]
    wrapped = ["setpriv", "--pdeathsig", "KILL", "timeout", "-k", "5", str(seconds), "taskset", "-c", str(cpu), *kernel]
    env = {**os.environ, "TMPDIR": "/dev/shm"}  # the guest's memory is a file there
    with output.open("wb") as out:
        reader = subprocess.Popen(wrapped, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env)
    return Guest(reader, results, output)


def run_command(words: list[str]) -> int:
    """One command; its output is printed when it is over."""
    with tempfile.TemporaryDirectory(prefix="netdsl-fullkernel-") as folder:
        guest = boot(Path(folder), shlex.join(words), cpus()[-1], TEST_SECONDS)
        code = guest.wait()
        print(guest.output.read_text(errors="replace"), end="")
        return code


def cpus() -> list[int]:
    """The CPUs that this process may use."""
    return sorted(os.sched_getaffinity(0))


def run_tests(extra: list[str]) -> int:
    """All marked tests, dealt out to a kernel on each CPU."""
    wanted = collected(extra)
    if not wanted:
        raise Failure("no test is marked fullkernel")
    places = cpus()[:4]
    with tempfile.TemporaryDirectory(prefix="netdsl-fullkernel-") as folder:
        guests = []
        for number, cpu in enumerate(places):
            report = Path(folder) / f"guest{cpu}" / "junit.xml"
            shard = ["--shard", f"{number + 1}/{len(places)}", "-p", "no:cacheprovider", "-p", "no:xdist", "-q"]
            command = shlex.join([*PYTEST, *shard, f"--junitxml={report}", *extra])
            guests.append(boot(Path(folder), command, cpu, TEST_SECONDS))
        codes = [guest.wait() for guest in guests]
        ran = 0
        for guest, code in zip(guests, codes, strict=True):
            passed, total = counted(guest.results / "junit.xml")
            ran += passed
            if code or passed < total:
                print(guest.output.read_text(errors="replace"), end="")
    print(f"full kernel: {ran} of {wanted} tests passed")
    return 0 if ran == wanted and not any(codes) else 1


def collected(extra: list[str]) -> int:
    """How many tests are marked."""
    command = [*PYTEST, "--collect-only", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *extra]
    found = subprocess.run(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True, check=False)
    if found.returncode not in (0, 5):
        raise Failure(f"the tests cannot be collected:\n{found.stdout}")
    return sum("::" in line for line in found.stdout.splitlines())


def counted(report: Path) -> tuple[int, int]:
    """Tests that passed, and all of a report; (0, 0) without one."""
    if not report.exists():
        return 0, 0
    suite = ElementTree.parse(report).getroot().find("testsuite")
    assert suite is not None
    total = int(suite.get("tests", 0))
    return total - sum(int(suite.get(word, 0)) for word in ("failures", "errors", "skipped")), total


def main() -> int:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=[], metavar="TEST", help="pass on to pytest: files, -k words")
    parser.add_argument("command", nargs="*", help="a command to run there instead of the tests")
    given = parser.parse_args()
    try:
        install()
        return run_command(given.command) if given.command else run_tests(given.only)
    except (Failure, subprocess.CalledProcessError) as error:
        print(f"dev/fullkernel.py: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
