"""Runs commands one after the other in a fresh sandbox and times each.

A sandbox is a user, network and mount namespace of its own with a private /run,
so what is built in it can neither see nor touch the machine's network, and two
runs share nothing but the kernel. It ends with its last process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from functools import lru_cache

STDERR_KEPT = 2000  # characters of a command's error output in a result

# Cleaning up happens in one kernel queue. A veth pair whose far end goes away
# with its namespace is gone when all that was queued before it is done too.
DRAIN = """
ip netns add last &&
ip link add name near type veth peer name far netns last &&
ip netns del last &&
while grep -q near: /proc/net/dev; do sleep 0.05; done
"""


@dataclass
class Step:
    """One command; with keep its standard output is returned, else dropped."""

    name: str
    argv: list[str]
    env: dict[str, str] = field(default_factory=dict)
    keep: bool = False


@dataclass
class Result:
    """What became of a step: seconds of the whole process and of the CPU for it and its children, peak memory of the
    largest of them in MiB, exit code, output."""

    name: str
    seconds: float
    user: float
    kernel: float
    peak: float
    code: int
    out: str
    err: str


@lru_cache(maxsize=1)
def prefix() -> list[str]:
    """The `unshare` command that makes a sandbox here; raises RuntimeError if none does."""
    rootless = ["unshare", "--user", "--map-root-user", "--net", "--mount"]
    for words in (rootless, ["unshare", "--net", "--mount"]):
        if subprocess.run([*words, "true"], check=False, stderr=subprocess.DEVNULL).returncode == 0:
            return words
    raise RuntimeError("unshare makes neither a user namespace nor, as root, a network namespace")


def run(steps: list[Step]) -> list[Result]:
    """Runs the steps in a new sandbox; stops after the first that fails."""
    done = subprocess.run(
        [*prefix(), sys.executable, __file__],
        input=json.dumps([asdict(step) for step in steps]),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return [Result(**fields) for fields in json.loads(done.stdout)]


def drained(name: str, seconds: float = 600) -> Step:
    """A step that ends when the kernel has removed the namespaces whose names are gone."""
    return Step(name, ["timeout", str(seconds), "sh", "-c", DRAIN])


def drain() -> bool:
    """Waits until the kernel has removed all namespaces of earlier sandboxes.

    False if it has not after ten minutes.
    """
    time.sleep(0.2)  # the end of the last sandbox must have reached the queue
    return run([drained("drain")])[0].code == 0


def run_step(step: Step) -> Result:
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        begin = time.perf_counter()
        process = subprocess.Popen(
            step.argv,
            env=os.environ | step.env,
            stdin=subprocess.DEVNULL,
            stdout=out if step.keep else subprocess.DEVNULL,
            stderr=err,
        )
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begin
        code = process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        times = (seconds, used.ru_utime, used.ru_stime, used.ru_maxrss / 1024)
        return Result(step.name, *times, code, out.read(), err.read()[-STDERR_KEPT:])


def main() -> None:
    """The inside of a sandbox: steps as JSON on stdin, results as JSON on stdout."""
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
    os.mkdir("/run/netns")
    results = []
    for fields in json.load(sys.stdin):
        results.append(run_step(Step(**fields)))
        if results[-1].code:
            break
    json.dump([asdict(result) for result in results], sys.stdout)


if __name__ == "__main__":
    main()
