"""Throughput and latency of flannel's three backends between two containers, side by side in one run.

    python benchmarks/backends.py --runs 5
    python dev/fullkernel.py -- python benchmarks/backends.py --runs 5     # on a kernel that has ipip

Each backend is a two-node stack in a sandbox of its own. TCP throughput is iperf3's (Debian package iperf3), latency
the average round trip of a thousand pings. Backends take turns, run by run; medians are printed, and their ratio to
host-gw's.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

import timing
from timing import Step

STACKS = Path(__file__).resolve().parent.parent / "stacks"
BACKENDS = ("host-gw", "ipip", "vxlan")
SERVER, CLIENT, ADDRESS = "ns246", "ns245", "172.246.0.2"
PINGS = 1000
GIGA = 1e9
LISTEN = "iperf3 -s -D; until grep -q ':1451 .* 0A ' /proc/net/tcp /proc/net/tcp6; do sleep 0.01; done"


def inside(netns: str, *words: str) -> list[str]:
    """A command in a container."""
    return ["ip", "netns", "exec", netns, *words]


def measure(backend: str, seconds: float) -> tuple[float, float] | str:
    """Gbit/s and microseconds of a backend; or why not."""
    stack = STACKS / f"two_node_{backend.replace('-', '')}.py"
    with tempfile.TemporaryDirectory() as state:
        netdsl = [sys.executable, "-m", "netdsl", "up", str(stack), "--yes"]
        results = timing.run(
            [
                Step("up", netdsl, env={"NETDSL_STATE_DIR": state}),
                Step("warm up", inside(CLIENT, "ping", "-c", "3", "-i", "0.2", "-w", "10", ADDRESS)),
                Step("server", inside(SERVER, "sh", "-c", LISTEN)),
                Step("tcp", inside(CLIENT, "iperf3", "-J", "-c", ADDRESS, "-t", str(seconds)), keep=True),
                Step("ping", inside(CLIENT, "ping", "-q", "-c", str(PINGS), "-i", "0.002", ADDRESS), keep=True),
                Step("end", inside(SERVER, "sh", "-c", "kill $(ip netns pids " + SERVER + ")")),
            ]
        )
    by_name = {result.name: result for result in results}
    for result in results:
        if result.code and result.name != "end":
            return f"{result.name} exited with {result.code}: {(result.err or result.out).strip()[:300]}"
    told = json.loads(by_name["tcp"].out)
    if "error" in told:
        return str(told["error"])
    sums = told["end"]["sum_received"]
    found = re.search(r"= [\d.]+/([\d.]+)/", by_name["ping"].out)
    return (sums["bits_per_second"] / GIGA, float(found[1]) * 1000) if found else "ping gave no times"


def main() -> int:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=5, help="how often each backend is measured (default 5)")
    parser.add_argument("--seconds", type=float, default=3, help="length of each TCP transfer (default 3)")
    given = parser.parse_args()
    for command in ("iperf3", "ping", "ip"):
        if not shutil.which(command):
            print(f"{command} is missing", file=sys.stderr)
            return 1
    samples: dict[str, list[tuple[float, float]]] = {backend: [] for backend in BACKENDS}
    for _ in range(given.runs):
        for backend in list(samples):
            result = measure(backend, given.seconds)
            if isinstance(result, str):
                print(f"note: {backend}: {result}", file=sys.stderr)
                del samples[backend]
            else:
                samples[backend].append(result)
    print(f"kernel {platform.release()}, {os.cpu_count()} CPUs, {given.runs} runs of {given.seconds:g} s, medians\n")
    print("| backend | TCP, Gbit/s | to host-gw | round trip, us | to host-gw |\n|---|---:|---:|---:|---:|")
    medians = {
        backend: [statistics.median(row) for row in zip(*found, strict=True)] for backend, found in samples.items()
    }
    for backend, (rate, trip) in medians.items():
        first, second = medians.get("host-gw", [rate, trip])
        print(f"| {backend} | {rate:.2f} | {rate / first:.2f} | {trip:.0f} | {trip / second:.2f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
