"""Runs that are killed, interrupted or refused at any of their points: the next command settles it by itself.

With NETDSL_NIGHTLY=1 in the environment every point is tried; else a few, spread evenly.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from saboteur import Done, Saboteur

from labs import RING, VXLAN, unowned
from sandbox import Picture, Sandbox

NIGHTLY = bool(os.environ.get("NETDSL_NIGHTLY"))
NODES = 20 if NIGHTLY else 3
RING_UP = ("up", RING, "--yes", "-p", f"nodes={NODES}")

FOREIGN = """
ip netns add foreign
ip -n foreign link add other type veth peer name other1
ip link add other type bridge
ip link set other up
ip addr add 192.0.2.1/24 dev other
ip route add 198.51.100.0/24 via 192.0.2.2
ip neigh add 192.0.2.9 lladdr 02:00:00:00:00:09 dev other nud permanent
ip rule add pref 77 from 192.0.2.0/24 lookup 77
"""


@pytest.fixture
def saboteur(sandbox: Sandbox) -> Saboteur:
    """netdsl in a sandbox in which there are things of others already."""
    sandbox.run(["sh", "-ec", FOREIGN])
    return Saboteur(sandbox)


def spread(count: int, few: int, most: int | None = None) -> list[int]:
    """Points out of `count`: `few`, or in the nightly run `most` (all, if it is None); the first and last are in."""
    wanted = (most or count) if NIGHTLY else few
    if wanted >= count:
        return list(range(count))
    return sorted({round(i * (count - 1) / (wanted - 1)) for i in range(wanted)})


def points(saboteur: Saboteur, sort: str, *argv: str) -> int:
    """How many points of a sort a command passes. It is carried out."""
    return saboteur.run(*argv, strike=f"{sort}:" if sort else "", at=1 << 30, check=True).points


def recorded(saboteur: Saboteur, stack: str) -> set[str]:
    """What the state has, by logical name."""
    return set(saboteur.run("state", "list", stack).out.split("\n")) - {""}


class Lab:
    """A stack, how it looks when nothing went wrong, and what there was before."""

    def __init__(self, sandbox: Sandbox, saboteur: Saboteur, path: str, *up: str) -> None:
        self.sandbox, self.saboteur, self.path = sandbox, saboteur, path
        self.name = Path(path).stem
        self.up = up or ("up", path, "--yes")
        self.down = ("destroy", path, "--yes")
        self.before = sandbox.dump()
        saboteur.run(*self.up)
        self.there = self.look()
        self.recorded = recorded(saboteur, self.name)
        saboteur.run(*self.down)
        self.is_gone("the undisturbed run")

    def look(self) -> Picture:
        """The machine without what differs from run to run."""
        found: Picture = unowned(self.sandbox.dump())
        return found

    def settles(self, when: str) -> None:
        """An `up` makes it what it would be had nothing happened."""
        self.saboteur.run(*self.up)
        assert self.saboteur.plan(self.path) == [], when
        assert self.look() == self.there, when
        assert recorded(self.saboteur, self.name) == self.recorded, when

    def is_gone(self, when: str) -> None:
        """Nothing of it is left, neither in the kernel nor in the state."""
        assert self.sandbox.dump() == self.before, when
        folder = Path(self.sandbox.env["NETDSL_STATE_DIR"])
        assert [path.name for path in folder.iterdir() if path.suffix != ".lock"] == [], when

    def goes(self, when: str) -> None:
        """A `destroy` takes all of it away."""
        self.saboteur.run(*self.down)
        self.is_gone(when)


@pytest.fixture
def ring(sandbox: Sandbox, saboteur: Saboteur) -> Lab:
    """A ring, not there."""
    return Lab(sandbox, saboteur, RING, *RING_UP)


@pytest.fixture
def vxlan(sandbox: Sandbox, saboteur: Saboteur) -> Lab:
    """The two-node lab, not there."""
    return Lab(sandbox, saboteur, VXLAN)


def struck(done: Done, strike: str, at: int) -> str:
    """That it was; how to call it."""
    assert done.struck, f"{strike} {at} of {done.points} points: {done}"
    return f"after {strike} at {at}: {done.err}"


# Killed


def test_up_that_is_killed_at_any_point(ring: Lab) -> None:
    """However far an `up` came when it was killed, the next one makes all of it, or a `destroy` takes it away."""
    total = points(ring.saboteur, "", *ring.up)
    ring.goes("counting")
    for turn, at in enumerate(spread(total, 5, 120)):
        done = ring.saboteur.run(*ring.up, strike="kill", at=at)
        when = struck(done, "kill", at)
        if turn % 2:
            ring.settles(when)
        ring.goes(when)


def test_destroy_that_is_killed_at_any_point(ring: Lab) -> None:
    """However far a `destroy` came when it was killed, the next one takes the rest away, or an `up` makes all again."""
    ring.saboteur.run(*ring.up)
    total = points(ring.saboteur, "", *ring.down)
    for turn, at in enumerate(spread(total, 5, 80)):
        ring.saboteur.run(*ring.up)
        done = ring.saboteur.run(*ring.down, strike="kill", at=at)
        when = struck(done, "kill", at)
        if turn % 2:
            ring.settles(when)
        ring.goes(when)


OTHER_KIND = """
from netdsl import *

@stack
def swap(bridge: bool = True):
    link = Bridge("link") if bridge else Vxlan("link", vni=7)
    Address("10.0.0.1/24", dev=link)
"""


def test_a_link_that_becomes_one_of_another_kind(sandbox: Sandbox, saboteur: Saboteur, tmp_path: Path) -> None:
    """Killed or refused anything while a link gives way to one of another kind, it is known as the stack's own."""
    path = tmp_path / "swap.py"
    path.write_text(OTHER_KIND)
    lab = Lab(sandbox, saboteur, str(path))
    change = (*lab.up, "-p", "bridge=no")
    saboteur.run(*lab.up)
    total = points(saboteur, "", *change)
    chosen = spread(total, 8)
    for turn, (strike, at) in enumerate([(strike, at) for strike in ("kill", "EINVAL") for at in chosen]):
        lab.goes(f"before {at}")
        saboteur.run(*lab.up)
        saboteur.run(*change, strike=strike, at=at)
        if turn % 2 or strike == "EINVAL":
            saboteur.run(*change)
            assert saboteur.plan(str(path)) == [], f"after {strike} at {at}"
    lab.goes("the last")


TURNED = """
from netdsl import *

@stack
def turned(other: bool = False):
    if other:
        low = Bridge("b", addresses=["10.1.0.1/24"])
        up = Vxlan("a", vni=7, master=low)
        Route("first", dst="10.9.0.0/16", via="10.1.0.2", dev=low)
        FdbEntry("02:00:00:00:00:01", dev=up, dst="192.0.2.1")
    else:
        low = Bridge("a", addresses=["10.0.0.1/24"])
        up = Vxlan("b", vni=7, master=low)
        Route("first", dst="10.9.0.0/16", via="10.0.0.2", dev=low)
        FdbEntry("02:00:00:00:00:01", dev=up, dst="192.0.2.2")
"""


def test_what_stood_on_each_other_is_turned_round(sandbox: Sandbox, saboteur: Saboteur, tmp_path: Path) -> None:
    """Killed while a port and its bridge change places, whose records then need each other: `destroy` takes both away,
    and the route that has another next hop now."""
    path = tmp_path / "turned.py"
    path.write_text(TURNED)
    lab = Lab(sandbox, saboteur, str(path))
    change = (*lab.up, "-p", "other=yes")
    saboteur.run(*lab.up)
    total = points(saboteur, "", *change)
    for at in spread(total, 7):
        lab.goes(f"before {at}")
        saboteur.run(*lab.up)
        struck(saboteur.run(*change, strike="kill", at=at), "kill", at)
    lab.goes("the last")


NEXT_HOP = """
from netdsl import *

@stack
def hop(n: int = 2):
    br, vtep = Bridge("br", addresses=["10.0.0.1/24"]), Vxlan("v", vni=7)
    if n:
        Route("r", dst="10.9.0.0/16", via=f"10.0.0.{n}", dev=br)
        FdbEntry("02:00:00:00:00:01", dev=vtep, dst=f"192.0.2.{n}")
"""


def test_what_was_changed_when_killed_is_deleted_as_it_is(sandbox: Sandbox, saboteur: Saboteur, tmp_path: Path) -> None:
    """A route and an fdb entry that a killed run gave another next hop, which no record has, are deleted."""
    path = tmp_path / "hop.py"
    path.write_text(NEXT_HOP)
    up = ("up", str(path), "--yes")
    saboteur.run(*up)
    for at in range(points(saboteur, "", *up, "-p", "n=3")):
        saboteur.run(*up, "-p", "n=2")
        struck(saboteur.run(*up, "-p", "n=3", strike="kill", at=at), "kill", at)
        saboteur.run(*up, "-p", "n=0")
        assert sandbox.ip("route", "show", "10.9.0.0/16") == []
        assert "02:00:00:00:00:01" not in {entry["mac"] for entry in sandbox.bridge("fdb", "show", "dev", "v")}


SHIFTED = """
from netdsl import *

@stack
def shifted(step: int = 0):
    names = [{"r": 1, "s": 2}, {"r": 2}, {"r": 3, "s": 1}][step]
    for name, net in names.items():
        Route(name, dst=f"10.{net}.0.0/16", type="blackhole")
"""


def test_names_that_change_hands(sandbox: Sandbox, saboteur: Saboteur, tmp_path: Path) -> None:
    """Killed twice while logical names go from one object to another, every object is recorded under some name."""
    path = tmp_path / "shifted.py"
    path.write_text(SHIFTED)
    lab = Lab(sandbox, saboteur, str(path))
    saboteur.run(*lab.up)
    total = points(saboteur, "", *lab.up, "-p", "step=1")
    for at in range(total):
        lab.goes(f"before {at}")
        saboteur.run(*lab.up)
        struck(saboteur.run(*lab.up, "-p", "step=1", strike="kill", at=at), "kill", at)
        saboteur.run(*lab.up, "-p", "step=2", strike="kill", at=at)
        if at % 2:
            saboteur.run(*lab.up, "-p", "step=2")
            assert saboteur.plan(str(path)) == [], f"killed at {at}"
    lab.goes("the last")


FORGOTTEN = """
from netdsl import *

@stack
def forgotten(alias: str = "", urn: str = "1"):
    class Part(Component):
        def __init__(self, name):
            super().__init__(name)
            with self:
                Bridge("br", **({"alias": alias} if alias else {}))
    Part(urn)
"""


@pytest.mark.parametrize("steps", [["urn=1 alias=mine"], ["urn=1", "urn=1 alias=mine"], ["urn=1", "urn=2 alias=mine"]])
def test_a_value_of_a_killed_run_is_not_forgotten(
    sandbox: Sandbox, saboteur: Saboteur, tmp_path: Path, steps: list[str]
) -> None:
    """What a killed run gave to an object goes back when a later program does not name it, also if the run of that one
    was killed too."""
    path = tmp_path / "forgotten.py"
    path.write_text(FORGOTTEN)

    def up(step: str) -> list[str]:
        return ["up", str(path), "--yes", "--reset-params", *(f"-p{pair}" for pair in step.split())]

    *before, last = steps
    for step in before:
        saboteur.run(*up(step))
    total = points(saboteur, "", *up(last))
    for at in range(total):
        saboteur.run("destroy", str(path), "--yes")
        for step in before:
            saboteur.run(*up(step))
        struck(saboteur.run(*up(last), strike="kill", at=at), "kill", at)
        saboteur.run(*up("urn=1"), strike="state:kill", at=3)
        saboteur.run(*up("urn=1"))
        assert saboteur.plan("forgotten") == []
        assert "ifalias" not in sandbox.ip("link", "show", "br")[0], f"killed at {at}"


def test_what_a_killed_run_may_have_given_is_nothing_to_go_back_to(
    sandbox: Sandbox, saboteur: Saboteur, tmp_path: Path
) -> None:
    """`rollback` to a run that was refused a change does not give an object what the killed run before was to give."""
    path = tmp_path / "forgotten.py"
    path.write_text(FORGOTTEN)
    up = ["up", str(path), "--yes", "--reset-params", "-purn=1"]
    saboteur.run(*up)
    struck(saboteur.run(*up, "-palias=mine", strike="kill", at=4), "kill", 4)
    refused = saboteur.run(*up, "-palias=other", strike="message:EPERM", at=0)
    assert refused.code == 4, refused
    saboteur.run(*up)
    saboteur.run("rollback", "forgotten", "3", "--yes")
    assert "ifalias" not in sandbox.ip("link", "show", "br")[0]


TWO_OF_ONE = """
from netdsl import *

@stack
def two(after: bool = False):
    if after:
        Vxlan("link", vni=7, addresses=["10.0.0.1/24"])
    else:
        Veth("link", peer=VethEnd("far"), addresses=["10.0.0.1/24"])
"""


def test_refresh_settles_what_a_killed_run_left(sandbox: Sandbox, saboteur: Saboteur, tmp_path: Path) -> None:
    """Killed while a link gives way to one of another kind under its name, which are two records of one identity,
    `refresh` records the one that is there, and the state can be used."""
    path = tmp_path / "two.py"
    path.write_text(TWO_OF_ONE)
    lab = Lab(sandbox, saboteur, str(path))
    saboteur.run(*lab.up)
    seen = set()
    for at in spread(points(saboteur, "", *lab.up, "-p", "after=yes"), 8):
        lab.goes(f"before {at}")
        saboteur.run(*lab.up)
        struck(saboteur.run(*lab.up, "-p", "after=yes", strike="kill", at=at), "kill", at)
        saboteur.run("state", "export", "two", "-o", str(tmp_path / "two.json"))
        saboteur.run("state", "import", str(tmp_path / "two.json"), "--state-dir", str(tmp_path / f"copy{at}"))
        told = json.loads(saboteur.run("refresh", "two", "--yes", "--json").out.split("\n")[0])["drift"]
        links = {link["ifname"]: link.get("linkinfo", {}).get("info_kind") for link in sandbox.ip("-d", "link")}
        there = {links["link"]} if "link" in links else set()
        kinds = {urn.split("::")[2] for urn in recorded(saboteur, "two") if urn.endswith("::link")}
        assert kinds == there, f"killed at {at}"
        assert {c["kind"] for c in told if c["name"] == "link" and c["action"] != "forget"} <= there, f"killed at {at}"
        assert saboteur.run("refresh", "two", "--preview-only").out.endswith("as recorded)\n"), f"killed at {at}"
        seen |= kinds
        saboteur.run(*lab.up)
    assert seen == {"veth", "vxlan"}
    lab.goes("the last")


def test_refresh_takes_away_what_was_to_be_a_netns(vxlan: Lab) -> None:
    """Killed anywhere while it makes namespaces, `refresh` leaves no name of one behind that nobody has on record."""
    total = points(vxlan.saboteur, "netns", *vxlan.up)
    vxlan.goes("counting")
    for at in spread(total, 6):
        when = struck(vxlan.saboteur.run(*vxlan.up, strike="netns:kill", at=at), "kill", at)
        vxlan.saboteur.run("refresh", vxlan.name, "--yes")
        names = {urn.rpartition("::")[2] for urn in recorded(vxlan.saboteur, vxlan.name) if "::netns::" in urn}
        assert set(vxlan.sandbox.netns_names()) - {"foreign"} == names, when
        vxlan.goes(when)


PARTS = """
from netdsl import *

@stack
def parts(mtu: int = 1500, more: bool = True, old: bool = False):
    Bridge("one", mtu=mtu)
    if more:
        Bridge("two", mtu=mtu, addresses=["10.0.0.1/24"])
    if old:
        Bridge("three")
"""


def test_what_a_part_leaves_out_stays_open(sandbox: Sandbox, saboteur: Saboteur, tmp_path: Path) -> None:
    """Of what a killed run left open, an `up` of a part settles that part; the rest is not recorded as made or as
    deleted by it, and the next whole `up` settles it."""
    path = tmp_path / "parts.py"
    path.write_text(PARTS)
    lab = Lab(sandbox, saboteur, str(path))
    first, then = (
        (*lab.up, "-p", "more=no", "-p", "old=yes"),
        (*lab.up, "-p", "more=yes", "-p", "old=no", "-p", "mtu=1400"),
    )
    saboteur.run(*first)
    total = points(saboteur, "", *then)
    for at in spread(total, 6):
        lab.goes(f"before {at}")
        saboteur.run(*first)
        struck(saboteur.run(*then, strike="kill", at=at), "kill", at)
        saboteur.run(*then, "--target", "one", strike="state:kill", at=2)  # which may be killed too
        saboteur.run(*then, "--target", "one")
        there = {link["ifname"] for link in sandbox.ip("link")} & {"one", "two", "three"}
        export = json.loads(saboteur.run("state", "export", "parts").out)
        settled = {r["name"] for r in export["resources"] if r["kind"] == "bridge" and "unsettled" not in r["extra"]}
        assert "one" in settled
        assert settled <= there, f"killed at {at}"
        assert there <= {r["name"] for r in export["resources"]}, f"killed at {at}"
        saboteur.run(*then)
        assert saboteur.plan(str(path)) == [], f"killed at {at}"
    lab.goes("the last")


REPLACED = """
from netdsl import *

@stack
def replaced(vni: int = 1):
    Vxlan("v", vni=vni, addresses=["10.0.0.1/24"])
"""


@pytest.mark.parametrize(("strike", "at"), [("sent:interrupt", 0), ("message:EPERM", 1)])
def test_what_went_to_be_made_anew_is_not_recorded(
    sandbox: Sandbox, saboteur: Saboteur, tmp_path: Path, strike: str, at: int
) -> None:
    """A link that was deleted and then not made again, since the run was interrupted or refused it, is recorded no
    more, nor what stood on it; `rollback` makes what there was before."""
    path = tmp_path / "replaced.py"
    path.write_text(REPLACED)
    up = ("up", str(path), "--yes")
    saboteur.run(*up)
    assert len(recorded(saboteur, "replaced")) == 2
    done = saboteur.run(*up, "-p", "vni=2", strike=strike, at=at)
    struck(done, strike, at)
    assert done.code == (130 if "interrupt" in strike else 4), done
    assert "v" not in {link["ifname"] for link in sandbox.ip("link")}
    assert recorded(saboteur, "replaced") == set()
    saboteur.run("rollback", "replaced", "1", "--yes")
    (link,) = sandbox.ip("-d", "link", "show", "v")
    assert link["linkinfo"]["info_data"]["id"] == 1
    assert len(recorded(saboteur, "replaced")) == 2


# Interrupted


@pytest.mark.parametrize("strike", ["interrupt", "insist"])
def test_ctrl_c_at_any_point(vxlan: Lab, strike: str) -> None:
    """Ctrl-C, once or again and again, ends `up` with 130; the next `up` goes on, or a `destroy` leaves nothing."""
    total = points(vxlan.saboteur, "", *vxlan.up)
    vxlan.goes("counting")
    for turn, at in enumerate(spread(total, 3)):
        done = vxlan.saboteur.run(*vxlan.up, strike=strike, at=at)
        when = struck(done, strike, at)
        assert done.code in ((130, 0) if strike == "interrupt" else (130,)), when  # too late to leave anything undone
        if "interrupted: " in done.err:
            assert re.search(r"error: interrupted: \d+ changes were not made; what was done is recorded", done.err)
            assert "Run `netdsl up` again to go on." in done.err
        if turn % 2:
            vxlan.settles(when)
        vxlan.goes(when)


SEVERAL = """
from netdsl import *

@stack
def several():
    a, b = Netns("a"), Netns("b")
    low = Bridge("low", netns=a, addresses=["10.0.0.1/24"])
    for i in range(3):
        Macvlan(f"far{i}", dev=low, netns=b, addresses=[f"10.1.{i}.1/24"])
        Masquerade(f"nat{i}", netns=b, src=f"10.2.{i}.0/24")
        br = Bridge(f"br{i}", netns=b, addresses=[f"10.3.{i}.1/24"])
        Route(f"to{i}", netns=b, dst=f"10.4.{i}.0/24", via=f"10.3.{i}.2", dev=br)
"""
"""What is to be done in netns b goes in many batches: a link on a device of another netns is made from there, and
nf_tables have a socket of their own."""


def test_ctrl_c_between_the_batches_of_one_netns(sandbox: Sandbox, saboteur: Saboteur, tmp_path: Path) -> None:
    """Of a netns whose changes go in several batches those that were sent are recorded, and no others."""
    path = tmp_path / "several.py"
    path.write_text(SEVERAL)
    lab = Lab(sandbox, saboteur, str(path))
    total = points(saboteur, "sent", *lab.up)
    assert total > 3
    lab.goes("counting")
    left = set()
    for at in spread(total, 6):
        done = saboteur.run(*lab.up, strike="sent:interrupt", at=at)
        when = struck(done, "sent:interrupt", at)
        made = recorded(saboteur, "several")
        left.add(len(made))
        planned = {change["urn"]: change["action"] for change in saboteur.plan(str(path))}
        assert set(planned) == {urn for urn, action in planned.items() if action in ("create", "update")}, when
        assert made.isdisjoint(urn for urn, action in planned.items() if action == "create"), when
        assert made | set(planned) == lab.recorded, when
        lab.settles(when)
        lab.goes(when)
    assert len(left) > 2  # it was stopped at different places


# Refused


ERRORS = {
    "EINVAL": "Invalid argument",
    "ENOBUFS": "No buffer space available",
    "EPERM": "Operation not permitted",
}


@pytest.mark.parametrize("error", ERRORS)
def test_any_message_may_be_refused(vxlan: Lab, error: str) -> None:
    """Whatever message the kernel refuses, `up` says of which resource and why, does the rest, and ends with 4; what is
    recorded is there; the next `up` makes what is missing."""
    total = points(vxlan.saboteur, "message", *vxlan.up)
    vxlan.goes("counting")
    turn = list(ERRORS).index(error)
    for at in spread(total, 9)[turn :: 1 if NIGHTLY else 3]:
        done = vxlan.saboteur.run(*vxlan.up, strike=f"message:{error}", at=at)
        when = struck(done, error, at)
        assert done.code == 4, when
        assert re.search(rf"error: .*\.py:\d+: .*: the kernel refused to create it: {ERRORS[error]}", done.err), when
        names = {change["urn"] for change in vxlan.saboteur.plan(vxlan.path) if change["action"] == "create"}
        assert names.isdisjoint(recorded(vxlan.saboteur, vxlan.name)), when
        vxlan.settles(when)
        vxlan.goes(when)


@pytest.mark.parametrize(
    ("strike", "words"),
    [
        ("broken", "netlink send failed: No buffer space available"),
        ("deaf", "netlink receive failed: No buffer space available"),
        ("blind", "dump 32754 failed: Operation not supported"),
    ],
)
def test_any_socket_may_fail(vxlan: Lab, strike: str, words: str) -> None:
    """A socket that does not send, loses answers or cannot dump is an error with the kernel's words; the next `up`
    finds out how far it came."""
    sort = "message:" if strike != "blind" else ""
    total = points(vxlan.saboteur, "message", *vxlan.up) if sort else 5
    vxlan.goes("counting")
    for at in spread(total, 3):
        done = vxlan.saboteur.run(*vxlan.up, strike=sort + strike, at=at)
        when = struck(done, strike, at)
        assert (done.code, words in done.err) in ((1, True), (4, False)), when  # 4: the mark of a netns
        vxlan.settles(when)
        vxlan.goes(when)


def test_a_message_that_destroy_sends_may_be_refused(vxlan: Lab) -> None:
    """Whatever `destroy` is refused, it says so; what is left is recorded, and the next one takes it away."""
    vxlan.saboteur.run(*vxlan.up)
    total = points(vxlan.saboteur, "", *vxlan.down)
    for at in spread(total, 5):
        vxlan.saboteur.run(*vxlan.up)
        done = vxlan.saboteur.run(*vxlan.down, strike="EBUSY", at=at)
        if done.code == 0:  # what asks when a netns is gone for good may fail
            vxlan.is_gone(f"EBUSY at {at}")
        else:
            assert done.code in (1, 4), f"at {at}: {done}"
            assert "Device or resource busy" in done.err
        vxlan.goes(f"EBUSY at {at}")


# The disk


@pytest.fixture
def disk(sandbox: Sandbox) -> Path:
    """A state directory with a file system of its own, of 1 MiB."""
    folder = Path(sandbox.env["NETDSL_STATE_DIR"])
    sandbox.run(["sh", "-ec", 'mkdir -p "$0"; mount -t tmpfs -o size=1m tmpfs "$0"', str(folder)])
    return folder


def fill(sandbox: Sandbox, disk: Path) -> None:
    """Leave no room on the disk."""
    sandbox.run(["sh", "-c", 'cat /dev/zero > "$0/ballast" 2>/dev/null; true', str(disk)])


@pytest.mark.parametrize("first", [True, False], ids=["at first", "later"])
def test_a_full_disk(sandbox: Sandbox, disk: Path, saboteur: Saboteur, first: bool) -> None:
    """Where the state cannot be written nothing is done: exit code 1, and the message says what to look at; when there
    is room again the same command succeeds."""
    small, large = ("up", RING, "--yes", "-p", "nodes=2"), ("up", RING, "--yes", "-p", "nodes=12")
    before = sandbox.dump()
    if not first:
        saboteur.run(*small)
    there = sandbox.dump()
    fill(sandbox, disk)
    for command in (large, *([] if first else [("destroy", RING, "--yes")])):
        done = saboteur.run(*command, check=False)
        assert done.code == 1, done
        assert "cannot be used: database or disk is full" in done.err
        assert "Check the disk and the permissions of the state directory." in done.err
        assert sandbox.dump() == there
    sandbox.run(["rm", str(disk / "ballast")])
    saboteur.run(*large)
    assert saboteur.plan(RING) == []
    saboteur.run("destroy", RING, "--yes")
    assert sandbox.dump() == before


@pytest.mark.parametrize("command", ["up", "destroy"])
def test_the_state_cannot_be_written_midway(vxlan: Lab, command: str) -> None:
    """Whichever commit of the state fails, the command says so and ends with 1, and the next one settles it."""
    run = vxlan.up if command == "up" else vxlan.down
    if command == "destroy":
        vxlan.saboteur.run(*vxlan.up)
    total = points(vxlan.saboteur, "state", *run)
    if command == "up":
        vxlan.goes("counting")
    for at in spread(total, 3):
        if command == "destroy":
            vxlan.saboteur.run(*vxlan.up)
        done = vxlan.saboteur.run(*run, strike="state:ENOSPC", at=at)
        if done.struck:  # a point after a commit has nothing to refuse
            assert done.code == 1, f"at {at}: {done}"
            assert "the state cannot be used: No space left on device" in done.err
        if at % 4:
            vxlan.settles(f"at {at}")
        vxlan.goes(f"at {at}")


def test_a_read_only_state_directory(sandbox: Sandbox, disk: Path, saboteur: Saboteur) -> None:
    """Where the state directory is read-only, `up` and `destroy` end with 1 and touch nothing; `plan` works."""
    small, large = ("up", RING, "--yes", "-p", "nodes=2"), ("up", RING, "--yes", "-p", "nodes=3")
    saboteur.run(*small)
    there = sandbox.dump()
    sandbox.run(["mount", "-o", "remount,ro", str(disk)])
    assert saboteur.plan(RING, "-p", "nodes=3")
    for command in (large, ("destroy", RING, "--yes")):
        done = saboteur.run(*command, check=False)
        assert done.code == 1, done
        assert f"the state directory {disk} cannot be written: Read-only file system" in done.err
        assert "Choose another one with --state-dir or NETDSL_STATE_DIR." in done.err
        assert sandbox.dump() == there
    sandbox.run(["mount", "-o", "remount,rw", str(disk)])
    saboteur.run(*large)
    assert saboteur.plan(RING) == []


# A restart


def restart(sandbox: Sandbox, tmp_path: Path) -> None:
    """What a boot leaves: no netns, no links, and another boot id."""
    script = "ip -all netns del; for l in $(ls /sys/class/net | grep -v ^lo); do ip link del $l 2>/dev/null; done; true"
    sandbox.run(["sh", "-c", f"mount -t sysfs none /sys 2>/dev/null; {script}"])
    boot = tmp_path / "boot_id"
    boot.write_text("00000000-0000-4000-8000-000000000000\n")
    sandbox.run(["mount", "--bind", str(boot), "/proc/sys/kernel/random/boot_id"])


@pytest.mark.parametrize("killed", [False, True], ids=["after a run", "killed in a run"])
@pytest.mark.parametrize("command", ["up", "destroy"])
def test_a_restart(sandbox: Sandbox, tmp_path: Path, killed: bool, command: str) -> None:
    """After a restart, also one that came in the middle of a run, `up` says so and makes everything again; `destroy`
    forgets it."""
    saboteur = Saboteur(sandbox)
    lab = Lab(sandbox, saboteur, VXLAN)
    saboteur.run(*lab.up)
    if killed:
        saboteur.run(*lab.up, "-p", "vni=9", strike="kill", at=20)
    restart(sandbox, tmp_path)
    done = saboteur.run(*(lab.up if command == "up" else lab.down), *(["--reset-params"] if command == "up" else []))
    assert "note: The machine was restarted since the last run: what the stack made is gone with it." in done.out
    if command == "up":
        assert saboteur.plan(VXLAN) == []
        assert lab.look() == lab.there
        assert "restarted" not in saboteur.run("plan", VXLAN).out
        lab.goes("restart")
    else:
        lab.is_gone("restart")


# Going back


@pytest.fixture
def grown(vxlan: Lab) -> Iterator[tuple[Lab, tuple[str, ...]]]:
    """The two-node lab, and a change of it that replaces tunnels and deletes what stands on them."""
    yield vxlan, (*vxlan.up, "-p", "vni=9", "-p", "port=4789")


def test_up_that_is_to_roll_back_is_killed(grown: tuple[Lab, tuple[str, ...]]) -> None:
    """Killed anywhere, be it in the change, in the message that fails or on its way back: the next `up` makes what it
    was told to make."""
    lab, change = grown
    lab.saboteur.run(*lab.up)
    before = recorded(lab.saboteur, lab.name)
    done = lab.saboteur.run(*change, "--rollback-on-failure", strike="message:EPERM", at=6)
    assert done.code == 1, done
    assert "rolled back: the stack is what it was before this run" in done.err
    assert lab.look() == lab.there
    assert recorded(lab.saboteur, lab.name) == before
    total = lab.saboteur.run(*change, "--rollback-on-failure", strike="none", at=0, then=("message:EPERM", 6)).points
    for at in spread(total, 4):
        lab.saboteur.run(*change, "--rollback-on-failure", strike="message:EPERM", at=6, then=("kill", at))
        lab.saboteur.run(*lab.up, "--reset-params")
        assert lab.saboteur.plan(lab.path) == []
        assert lab.look() == lab.there, f"killed at {at}"
    lab.goes("rolling back")


def test_rollback_that_is_killed_at_any_point(grown: tuple[Lab, tuple[str, ...]]) -> None:
    """However far a `rollback` came when it was killed, another one, or `up`, brings the stack to where it was."""
    lab, change = grown
    lab.saboteur.run(*lab.up)
    lab.saboteur.run(*change)
    total = points(lab.saboteur, "", "rollback", lab.name, "--yes")
    for turn, at in enumerate(spread(total, 4)):
        lab.saboteur.run(*change)
        target = runs(lab.saboteur, lab.name)[-2]
        done = lab.saboteur.run("rollback", lab.name, "--yes", strike="kill", at=at)
        when = struck(done, "kill", at)
        if turn % 2:
            lab.saboteur.run(*lab.up, "--reset-params")
        else:
            lab.saboteur.run("rollback", lab.name, str(target), "--yes")
        assert lab.look() == lab.there, when
        assert lab.saboteur.plan(lab.path) == [], when
    lab.goes("rolling back")


def test_a_killed_run_is_nothing_to_go_back_to(vxlan: Lab) -> None:
    """`rollback` passes over a run that was killed, and refuses it when it is named."""
    saboteur = vxlan.saboteur
    saboteur.run(*vxlan.up)
    struck(saboteur.run(*vxlan.up, "-p", "vni=8", strike="kill", at=12), "kill", 12)
    saboteur.run(*vxlan.up, "-p", "vni=9")
    done = saboteur.run("rollback", vxlan.name, "2", "--yes", check=False)
    assert done.code == 2
    assert "error: run 2 of stack two_node_vxlan was killed: it is no state to go back to" in done.err
    saboteur.run("rollback", vxlan.name, "--yes")
    assert vxlan.look() == vxlan.there
    vxlan.goes("going back")


def runs(saboteur: Saboteur, stack: str) -> list[int]:
    """Numbers of the runs that are kept."""
    history: list[dict[str, Any]] = json.loads(saboteur.run("history", stack, "--json").out)["runs"]
    return sorted(run["number"] for run in history)


# The program


def test_a_program_is_what_its_file_says_now(sandbox: Sandbox, tmp_path: Path) -> None:
    """A stack that is edited right after a run, and a module that it imports, are read anew, though time and size of
    the files are those of the bytecode that Python keeps."""
    body = "from netdsl import *\nfrom names import name\n\n@stack\ndef lab():\n    Bridge(name, mtu={})\n"
    stack, names = tmp_path / "lab.py", tmp_path / "names.py"
    for mtu, name in ((1400, "a"), (1300, "b")):
        stack.write_text(body.format(mtu))
        names.write_text(f"name = {name!r}\n")
        for path in (stack, names):
            os.utime(path, (1_700_000_000, 1_700_000_000))
        done = sandbox.netdsl("plan", str(stack), "--json", env={"PYTHONDONTWRITEBYTECODE": ""})
        (change,) = json.loads(done.stdout)["changes"]
        assert (change["name"], change["props"]["mtu"]) == (name, mtu)
