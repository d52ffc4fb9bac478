"""The shared uplink, by what really leaves: each class has its share, and no more leaves than the whole may.

Counters are compared with each other, or with a time that is at least as long as they took: a busy machine is slower,
and then less leaves.
"""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path
from typing import NamedTuple

from labs import STACKS, plan_of
from sandbox import Sandbox

SHAPED = str(STACKS / "shaped_link.py")
WORLD = "203.0.113.9"
ENOUGH = 1_000_000
"""Bytes after which the shares show: thousands of turns."""

DRAIN = """
import socket, sys, threading
server = socket.create_server((sys.argv[1], 7))
print("listening", flush=True)
def drain(connection):
    while connection.recv(1 << 20):
        pass
while True:
    threading.Thread(target=drain, args=server.accept()[:1], daemon=True).start()
"""
SEND = """
import socket, sys
left = int(sys.argv[2]) if len(sys.argv) > 2 else None
with socket.create_connection((sys.argv[1], 7)) as connection:
    print("sending", flush=True)
    while left is None or left > 0:
        connection.sendall(bytes(1 << 14))
        left = None if left is None else left - (1 << 14)
    connection.shutdown(socket.SHUT_WR)
    connection.recv(1)  # the end, once the other side has read everything
"""


class Sent(NamedTuple):
    """What has left so far, in bytes, by classes, and when that was asked for and known."""

    asked: float
    known: float
    gold: int
    plain: int


def starts(sandbox: Sandbox, code: str, netns: str, word: str) -> None:
    """Run a program in a netns until the end of the test."""
    child = sandbox.popen([sys.executable, "-c", code, WORLD], netns=netns)
    assert child.stdout is not None
    assert child.stdout.readline() == f"{word}\n"


def sent(sandbox: Sandbox) -> Sent:
    """One look at the counters of all classes; two have no others below them."""
    classes = {change["name"]: change["props"]["classid"] for change in state(sandbox)}
    asked = time.monotonic()
    shown = sandbox.run(["tc", "-s", "class", "show", "dev", "uplink"], netns="router").stdout
    counts = dict(re.findall(r"class htb (\S+) .*\n Sent (\d+) bytes", shown))
    gold, plain = (int(counts[classes[f"{name} dev uplink"]]) for name in ("gold", "plain"))
    return Sent(asked, time.monotonic(), gold, plain)


def state(sandbox: Sandbox) -> list[dict[str, dict[str, str]]]:
    """The recorded classes."""
    shown = json.loads(sandbox.netdsl("show", "--json", "shaped_link").stdout)["resources"]
    return [resource for resource in shown if resource["kind"] == "htb-class"]


def while_both_send(sandbox: Sandbox) -> tuple[float, float]:
    """Over a while in which both send: gold's bytes for one of plain's, and bits a second of both, at most."""
    first = sent(sandbox)
    last = sandbox.wait_until(
        lambda: now if (now := sent(sandbox)).gold + now.plain - first.gold - first.plain > ENOUGH else None, 60
    )
    assert last is not None
    gold, plain = last.gold - first.gold, last.plain - first.plain
    return gold / plain, (gold + plain) * 8 / (last.known - first.asked)


def rate_once_shared(sandbox: Sandbox, low: float, high: float) -> float:
    """Bits a second of both, in the first while in which gold's bytes for one of plain's are between the two figures:
    for a moment after a change, and while one program does not get its turn on the processor, they are not."""

    def rate() -> float:
        ratio, bits = while_both_send(sandbox)
        return bits if low < ratio < high else 0.0

    return sandbox.wait_until(rate)


def test_each_has_its_share(sandbox: Sandbox) -> None:
    """Two that send as much as they can get their shares in the ratio of their rates, and both together not more than
    the line has; when the rates change in place, the shares do, and nobody's connection is lost."""
    sandbox.netdsl("up", SHAPED, "--yes", "--verify")
    assert plan_of(sandbox, SHAPED) == []
    starts(sandbox, DRAIN, "world", "listening")
    for container in ("gold", "plain"):
        starts(sandbox, SEND, container, "sending")
    first = sent(sandbox)
    sandbox.wait_until(lambda: min(sent(sandbox)[2:]) - max(first[2:]) > 50_000, 60)  # both have begun
    assert rate_once_shared(sandbox, 2.4, 3.6) < 8e6 * 1.1
    swapped = ("-p", "gold=2mbit", "-p", "plain=6mbit")
    assert {(c["action"], c["kind"]) for c in plan_of(sandbox, SHAPED, *swapped)} == {("update", "htb-class")}
    sandbox.netdsl("up", SHAPED, "--yes", *swapped)
    assert rate_once_shared(sandbox, 1 / 3.6, 1 / 2.4) < 8e6 * 1.1
    sandbox.netdsl("destroy", "shaped_link", "--yes")


def test_one_may_use_what_the_other_leaves_over(sandbox: Sandbox) -> None:
    """One that sends alone borrows from the line what the other, which sends next to nothing, does not need."""
    sandbox.netdsl("up", SHAPED, "--yes")
    starts(sandbox, DRAIN, "world", "listening")
    first = sent(sandbox)
    sandbox.run([sys.executable, "-c", SEND, WORLD, str(ENOUGH)], netns="gold")
    last = sent(sandbox)
    assert last.gold - first.gold >= ENOUGH
    assert last.plain - first.plain < 10_000  # ARP and the like of the router itself
    shown = sandbox.run(["tc", "-s", "class", "show", "dev", "uplink"], netns="router").stdout
    assert max(int(count) for count in re.findall(r"borrowed: (\d+)", shown)) > 0


TBF = """
from netdsl import *

@stack
def narrow(rate: str = "4mbit", burst: str = "16kb"):
    far = VethEnd("eth0", netns=Netns("world"), addresses=["203.0.113.9/24"])
    near = Veth("eth0", netns=Netns("near"), addresses=["203.0.113.1/24"], peer=far)
    Tbf("narrow", dev=near, rate=rate, burst=burst, latency="400ms")
"""


def test_tbf_holds_a_rate(sandbox: Sandbox, tmp_path: Path) -> None:
    """Sending takes at least as long as the bytes beyond the burst take at the rate, and packets are held back; with a
    burst that holds everything none is."""
    program = tmp_path / "narrow.py"
    program.write_text(TBF)
    sandbox.netdsl("up", str(program), "--yes")
    starts(sandbox, DRAIN, "world", "listening")

    def held_back() -> int:
        (shown,) = json.loads(sandbox.run(["tc", "-s", "-j", "qdisc", "show", "dev", "eth0"], netns="near").stdout)
        return int(shown["overlimits"])

    def send() -> None:
        sandbox.run([sys.executable, "-c", SEND, WORLD, str(ENOUGH)], netns="near")

    began = time.monotonic()
    send()
    assert time.monotonic() - began >= (ENOUGH - 16384) * 8 / 4e6
    before = held_back()
    assert before > 0
    wide = ("-p", "rate=1gbit", "-p", "burst=100mb")
    assert {(c["action"], c["kind"]) for c in plan_of(sandbox, str(program), *wide)} == {("update", "tbf")}
    sandbox.netdsl("up", str(program), "--yes", *wide)
    send()
    assert held_back() == before
