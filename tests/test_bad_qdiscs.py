"""Mistakes in queueing disciplines, classes and filters: one clear error each, at the user's line, nothing touched."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from test_bad_input import marked, stack_file, the_error

from sandbox import Sandbox

ETH0 = 'eth0 = Bridge("eth0", mtu=1500)\n'
UP = ETH0 + 'up = Htb("up", dev=eth0)\n'
GOLD = UP + 'gold = HtbClass("gold", parent=up, classid="1:10", rate="1mbit")\n'
TBF = ETH0 + 'Tbf("t", dev=eth0, rate="1mbit", '
DEEP = "deep = up\nfor i in range(9):\n    deep = HtbClass(f'c{i}', parent=deep, rate='1mbit')  # here"

MISTAKES: dict[str, tuple[str, Sequence[str]]] = {
    "rate 0": (
        ETH0 + 'Tbf("t", dev=eth0, rate=0, burst="4kb", limit=9999)  # here',
        ["Tbf 't': rate must be between 8 and", "bits a second, not 0"],
    ),
    "rate without a unit": (
        ETH0 + 'Tbf("t", dev=eth0, rate="10", burst="4kb", limit=9999)  # here',
        ["rate must be a whole number of bits a second, or a string like '10mbit', not '10'"],
    ),
    "no rate": (UP + 'HtbClass("gold", parent=up)  # here', ["HtbClass 'gold': rate= is required"]),
    "burst below a packet": (
        TBF + 'burst=1500, limit=9999)  # here',
        ["Tbf 't': burst 1500 is too small for a packet of Bridge 'eth0'", "up to 1514 bytes"],
    ),
    "burst of minutes": (
        ETH0 + 'Tbf("t", dev=eth0, rate="1kbit", burst="1mb", limit=9999)  # here',
        ["Tbf 't': burst 1048576 takes over 274 s at 1000 bits a second"],
    ),
    "no limit": (TBF + 'burst="4kb")  # here', ["Tbf 't': one of limit and latency is required"]),
    "limit twice": (
        TBF + 'burst="4kb", limit=1, latency="1ms")  # here',
        ["limit and latency is required, and only one"],
    ),
    "latency": (TBF + 'burst="4kb", latency="soon")  # here', ["latency must be a whole number of microseconds"]),
    "peak without mtu": (TBF + 'burst="4kb", limit=9999, peakrate="2mbit")  # here', ["peakrate needs mtu"]),
    "peak below the rate": (
        TBF + 'burst="4kb", limit=9999, peakrate="1mbit", mtu=2000)  # here',
        ["Tbf 't': peakrate 1000000 must be more than the rate, 1000000"],
    ),
    "nowhere": ('FqCodel("f")  # here', ["FqCodel 'f': dev= or parent= is required"]),
    "two links": (
        GOLD + 'Tbf("t", dev=Bridge("eth1"), parent=gold, rate="1mbit", burst="4kb", limit=9999)  # here',
        ["Tbf 't': HtbClass 'gold' is on Bridge 'eth0', not on Bridge 'eth1'"],
    ),
    "two roots": (
        UP + 'Tbf("t", dev=eth0, handle="2:", rate="1mbit", burst="4kb", limit=9999)  # here',
        ["Tbf 't dev eth0' and Htb 'up dev eth0' are one kernel object: qdisc eth0 root"],
    ),
    "two of one number": (
        GOLD + 'Tbf("t", parent=gold, handle="1:", rate="1mbit", burst="4kb", limit=9999)  # here',
        ["Tbf 't': Htb 'up' on Bridge 'eth0' has 1: already"],
    ),
    "number": (ETH0 + 'Htb("up", dev=eth0, handle="1:10")  # here', ["handle must be hexadecimal numbers", "'10:'"]),
    "directly under htb": (
        UP + 'FqCodel("f", parent=up)  # here',
        ["FqCodel 'f': parent must be an HtbClass, a Netem or a Tbf, not <Htb 'up'>; its classes carry others"],
    ),
    "under fq_codel": (
        ETH0 + 'Netem("n", parent=FqCodel("f", dev=eth0))  # here',
        ["Netem 'n': parent must be an HtbClass, a Netem or a Tbf, not <FqCodel 'f'>"],
    ),
    "unknown parent": (ETH0 + 'Netem("n", parent="gold")  # here', ["parent must be an HtbClass, a Netem or a Tbf"]),
    "class of no htb": (
        ETH0 + 'HtbClass("gold", parent=Netem("n", dev=eth0), rate="1mbit")  # here',
        ["HtbClass 'gold': parent must be an Htb or an HtbClass, not <Netem 'n'>"],
    ),
    "ceil below the rate": (
        UP + 'HtbClass("gold", parent=up, rate="2mbit", ceil="1mbit")  # here',
        ["HtbClass 'gold': ceil 1000000 is less than the rate, 2000000 bits a second"],
    ),
    "another's class": (
        UP + 'HtbClass("gold", parent=up, rate="2mbit", classid="2:10")  # here',
        ["HtbClass 'gold': classid 2:10 is no class of Htb 'up', which is 1:"],
    ),
    "class twice": (
        GOLD + 'HtbClass("rest", parent=up, rate="2mbit", classid="1:10")  # here',
        ["HtbClass 'rest': HtbClass 'gold' on Bridge 'eth0' has 1:10 already"],
    ),
    "no such default": (
        ETH0 + 'HtbClass("gold", parent=Htb("up", dev=eth0, default="silver"), rate="1mbit")  # here',
        ["Htb 'up': the default 'silver' is none of its classes", "Its classes are gold."],
    ),
    "default of a default": (
        ETH0 + 'a = HtbClass("a", parent=Htb("up", dev=eth0, default="a"), rate="1mbit")  # here\n'
        'HtbClass("b", parent=a, rate="1mbit")',
        ["Htb 'up': the default 'a' has classes of its own"],
    ),
    "priority above others": (
        UP + 'a = HtbClass("a", parent=up, rate="1mbit", prio=1)\nHtbClass("b", parent=a, rate="1mbit")  # here',
        ["HtbClass 'b': HtbClass 'a' has prio, which means nothing for a class that has others"],
    ),
    "class of a class that carries": (
        GOLD + 'FqCodel("f", parent=gold)\nHtbClass("b", parent=gold, rate="1mbit")  # here',
        ["HtbClass 'b': HtbClass 'gold' carries FqCodel 'f', so it can have no classes"],
    ),
    "carried beside classes": (
        GOLD + 'HtbClass("b", parent=gold, rate="1mbit")\nFqCodel("f", parent=gold)  # here',
        ["FqCodel 'f': HtbClass 'gold' has classes of its own, so it carries nothing else"],
    ),
    "too deep": (UP + DEEP, ["HtbClass 'c8': at most 8 classes stand on one another; it would be the 9th"]),
    "filter of nothing": (GOLD + 'TcFilter("f", to=gold, prio=1)  # here', ["TcFilter 'f': src or dst is required"]),
    "filter of everything": (
        GOLD + 'TcFilter("f", to=gold, prio=1, dst="0.0.0.0/0")  # here',
        ["TcFilter 'f': 0.0.0.0/0 is every packet"],
    ),
    "filter of two families": (
        GOLD + 'TcFilter("f", to=gold, prio=1, src="10.0.0.0/8", dst="fd00::/8")  # here',
        ["src 10.0.0.0/8 and dst fd00::/8 are of two address families"],
    ),
    "filter to no class": (
        UP + 'TcFilter("f", to=up, prio=1, dst="10.0.0.0/8")  # here', ["to must be an HtbClass, not <Htb 'up'>"],
    ),
    "filters twice": (
        GOLD + 'TcFilter("f", to=gold, prio=1, dst="10.0.0.0/8")\n'
        'TcFilter("g", to=gold, prio=1, dst="11.0.0.0/8")  # here',
        ["TcFilter 'g dev eth0' and TcFilter 'f dev eth0' are one kernel object"],
    ),
    "flows": (ETH0 + 'FqCodel("f", dev=eth0, flows=70000)  # here', ["flows must be between 1 and 65536, not 70000"]),
    "delay of hours": (ETH0 + 'Netem("n", dev=eth0, delay="5000s")  # here', ["delay must be between 0 and"]),
}  # fmt: skip


@pytest.mark.parametrize(("body", "words"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_at_its_line(sandbox: Sandbox, tmp_path: Path, body: str, words: Sequence[str]) -> None:
    """up ends with exit code 1 and an error at the user's line that says why, and touches nothing."""
    before = sandbox.dump()
    path = stack_file(tmp_path, body)
    done = sandbox.netdsl("up", path.name, "--yes", check=False, cwd=tmp_path)
    said = the_error(done)
    for word in words:
        assert word in said
    assert said.removeprefix("error: ").partition(": ")[0] in marked(path)
    assert sandbox.dump() == before
