"""Run the tests marked `fullkernel`, or any command, on a full Debian kernel (User Mode Linux).

    python dev/fullkernel.py               every marked test; all of them must run and pass
    python dev/fullkernel.py -- COMMAND    one command, with its exit status

The kernel of Debian's package user-mode-linux runs as a process, with this machine's file system as its read-only root:
no image, no virtualisation. As root this installs what is missing. What that kernel lacks runs on another one:
dev/cloudkernel.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from guests import INIT, PROJECT, Failure, Guest, Lane, bound

MODULES = Path("/usr/lib/uml/modules")
MEMORY = "640M"


def modules() -> Path:
    """Where the kernel's modules are."""
    found = sorted(MODULES.glob("*"))
    if not found:
        raise Failure(f"no modules below {MODULES}: is the package user-mode-linux complete?")
    return found[-1]


def boot(results: Path, cpu: int, seconds: int) -> Guest:
    """Start a kernel that runs what stands in results/command and powers off.

    Pinned to one CPU, on which it is three times as fast: its processes are threads of control that take turns.
    """
    output = results / "output"
    arguments = {
        "mem": MEMORY, "root": "/dev/root", "rootfstype": "hostfs", "rootflags": "/", "init": str(INIT),
        "con": "null", "con0": "null,fd:1", "console": "tty1", "con1": "null,fd:2", "ssl": "null", "panic": "-1",
        "umid": "kernel", "uml_dir": str(results), "loglevel": "3", "back": "hostfs", "lane": "fullkernel",
        "results": str(results), "project": str(PROJECT), "modules": str(modules()),
    }  # fmt: skip
    kernel = ["linux.uml", "ro", "quiet", "noreboot", *(f"{name}={value}" for name, value in arguments.items())]
    env = {**os.environ, "TMPDIR": "/dev/shm"}  # the guest's memory is a file there
    with output.open("wb") as out:
        process = subprocess.Popen(
            [*bound(seconds, cpu), *kernel], stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env
        )
    return Guest(process, results, output)


LANE = Lane("full kernel", "fullkernel", {"linux.uml": "user-mode-linux", "modprobe": "kmod"}, lambda: None, boot)

if __name__ == "__main__":
    sys.exit(LANE.main(__doc__))
