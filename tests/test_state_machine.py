"""Random stacks, edits, drift, things of others, crashes and refusals, in any order, against the kernel.

After every step: what is marked as the stack's own in the kernel is recorded, whatever happened; after an `up` that
succeeded nothing is left to do and the two are the same; what belongs to others is as it was; and `destroy` leaves what
was there before.

    NETDSL_NIGHTLY=1   2,000 steps instead of a few, from a seed that is printed
    NETDSL_SEED=N      that seed again
    NETDSL_SHRINK=1    look for the shortest way to the failure
"""

from __future__ import annotations

import faulthandler
import json
import os
import random
import re
import tempfile
import textwrap
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import census
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from saboteur import Done, Saboteur
from test_plan_properties import programs

from sandbox import Picture, Sandbox

NIGHTLY = bool(os.environ.get("NETDSL_NIGHTLY"))
STEPS = 40 if NIGHTLY else 25
EXAMPLES = int(os.environ.get("NETDSL_EXAMPLES", "50")) if NIGHTLY else 3
SHRINK = (Phase.shrink,) if os.environ.get("NETDSL_SHRINK") else ()

CONFLICT = re.compile(
    r"is not this stack's|another has taken its place|has a foreign twin|holds a link that is not this stack's"
    r"|second object of the same identity"
)
STRIKES = ("kill", "kill", "kill", "interrupt", "insist", "message:EINVAL", "message:EPERM", "message:ENOBUFS")
STRIKES += ("broken", "deaf", "blind", "state:ENOSPC", "netns:ENOSPC", "file:EINVAL", "call:ENOMEM")


@st.composite
def stacks(draw: Any) -> str:
    """The text of a stack: links, addresses, routes, neighbours and fdb entries, and what has no link of its own."""
    body = draw(programs()).replace("mtu=1300", "mtu=1350")  # IPv6 needs 1280, and a vxlan on it has 50 less
    body = re.sub(r"dev=(\w+), master=\1\b", r"dev=\1, master=None", body)  # the kernel makes no loops
    lines = [body]
    places = [name for name in "ab" if f"{name} = Netns(" in body]
    for place in places:  # without any address a netns has no table in which the kernel could look gateways up
        lines.append(f'Bridge("base", netns={place}, addresses=["10.77.0.1/24"])')
    for place in ["None", *places]:
        if draw(st.integers(0, 2)) == 0:
            priority, table = draw(st.sampled_from([100, 101])), draw(st.sampled_from([7, 8]))
            lines.append(f'Rule("r", netns={place}, priority={priority}, src="10.9.0.0/16", table={table})')
        if draw(st.integers(0, 2)) == 0:
            lines.append(f'Masquerade("nat", netns={place}, src="10.{draw(st.sampled_from([8, 9]))}.0.0/16")')
        if draw(st.integers(0, 2)) == 0:
            value = draw(st.sampled_from([3, 4]))
            lines.append(f'Sysctl("net.ipv4.tcp_syn_retries", netns={place}, value={value})')
    return "\n".join(lines)


EDITS = (
    (r"mtu=1400", "mtu=1350"),
    (r"mtu=1350", "mtu=1400"),
    (r", mtu=1\d+", ""),
    (r"vni=(\d)", r"vni=1\1"),
    (r"forwarding=True", "forwarding=False"),
    (r"forwarding=None", "forwarding=True"),
    (r", mac='[0-9a-f:]*'", ""),
    (r'dst="192.0.2.1"', 'dst="192.0.2.2"'),
    (r"/24\"", '/25"'),
    (r"metric=None", "metric=9"),
    (r"metric=5", "metric=None"),
    (r"value=3", "value=4"),
    (r"table=7", "table=8"),
    (r"master=[hab]\d", "master=None"),
    (r"(?m)^(Route|Rule|Sysctl|Neighbor|FdbEntry|Masquerade)\(.*$", "pass"),
)
"""Small changes of a program: each is made at one of its places."""


STEPS_OF = (
    *("up", "struck", "struck", "struck", "struck", "struck", "edit", "edit", "drift", "drift", "up", "rewrite"),
    *("others_come", "others_come", "destroy_struck", "rollback", "destroy"),
)
"""Steps by name; what stands there twice is done twice as often."""
Draw: TypeAlias = Callable[[st.SearchStrategy[Any]], Any]
STEPS_DONE: Counter[str] = Counter()
"""By what came of them, for the nightly run's report."""


class Operator(RuleBasedStateMachine):
    """Somebody who edits a stack and runs netdsl, on a machine where much goes wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        root = Path(self.folder.name)
        self.sandbox = Sandbox(root / "state")
        self.saboteur = Saboteur(self.sandbox)
        self.path = root / "lab.py"
        self.foreign: list[str] = []  # commands that take away what others made
        self.drifted = False
        self.lost: set[census.Thing] = set()
        self.made = 0
        self.write("pass")
        self.saboteur.run("up", str(self.path), "--yes")
        self.write('Netns("a")')
        self.saboteur.run("up", str(self.path), "--yes")  # makes /run/netns what it has to be
        self.saboteur.run("destroy", str(self.path), "--yes")
        self.before = self.sandbox.dump()
        self.others: dict[str, Any] = {}

    def teardown(self) -> None:
        """Whatever state it is in, destroy restores what was there at first."""
        try:
            self.down()
        finally:
            self.sandbox.close()
            self.folder.cleanup()

    def write(self, body: str) -> None:
        """The program; a vxlan has the MTU that its lower device leaves it."""
        self.body = body = re.sub(r"(Vxlan\(.*dev=[hab].*), mtu=\d+", r"\1", body)
        head = "from netdsl import *\n\n@stack\ndef lab():\n"
        self.path.write_text(head + textwrap.indent(body, "    ") + "\n")

    def shell(self, script: str) -> bool:
        """Run a command as somebody else would; whether it succeeded."""
        return self.sandbox.run(["sh", "-c", script], check=False).returncode == 0

    def run(self, *argv: str, strike: str = "", at: int = 0) -> Done:
        """netdsl, however it ends."""
        done = self.saboteur.run(*argv, strike=strike, at=at, check=False)
        STEPS_DONE[f"{argv[0]} {strike if done.struck else ''} -> {done.code}"] += 1
        return done

    @invariant()
    def count(self) -> None:
        """Of the steps."""
        STEPS_DONE["steps"] += 1

    # What is looked at

    def state(self) -> dict[census.Thing, dict[str, Any]]:
        """What is recorded."""
        done = self.saboteur.run("state", "export", "lab", check=False)
        return census.recorded(done.out) if done.code == 0 else {}

    def look(self, done: Done | None = None) -> Picture:
        """The kernel; what is the stack's own there is recorded, and what is others' is as it was."""
        picture = self.sandbox.dump()
        marked, recorded = census.marked(picture, "lab"), self.state()
        orphans = marked - set(recorded)
        assert not orphans, f"in the kernel, and not recorded: {orphans}; {done}"
        assert self.others_of(picture) == self.others, done
        return picture

    def others_of(self, picture: Picture) -> dict[str, Any]:
        """What is others', of those things that do not stand on ours."""
        found: dict[str, Any] = {}
        for netns, parts in picture.items():
            if "links" not in parts:  # a name without a netns, left by a run that was killed
                continue
            if netns.startswith("fx"):
                found[netns] = parts
            links = {link["ifname"]: link for link in parts["links"] if link["ifname"].startswith("fx")}
            found[f"{netns}/links"] = links
            for part in ("routes4", "routes6", "neighbours", "fdb"):
                entries = [e for e in parts[part] if e.get("dev", e.get("ifname", "")).startswith("fx")]
                found[f"{netns}/{part}"] = entries
            if netns not in ("a", "b"):  # there they go with the netns: only a link stops netdsl
                found[f"{netns}/rules"] = [r for r in parts["rules4"] if r["priority"] == 66]
                found[f"{netns}/tables"] = [t for t in parts["tables"] if "fx" in json.dumps(t)]
        return {key: value for key, value in found.items() if value}

    def same(self, done: Done) -> None:
        """Nothing is left to do, and what is recorded is there."""
        changes = self.saboteur.plan(str(self.path))
        assert changes == [], f"the second plan is not empty: {changes}\nafter: {done}"
        marked, recorded = census.marked(self.look(done), "lab"), self.state()
        missing = {thing for thing in recorded if thing[0] != "sysctl"} - marked
        assert not missing, f"recorded, and not in the kernel: {missing}; {done}"

    # Steps

    @initialize(body=stacks())
    def first(self, body: str) -> None:
        """It begins with some program."""
        self.write(body)

    @rule(data=st.data(), what=st.sampled_from(STEPS_OF))
    def step(self, data: st.DataObject, what: str) -> None:
        """One of them, as often as they stand in the list."""
        getattr(self, what)(data.draw)

    def rewrite(self, draw: Draw) -> None:
        """Another program."""
        self.write(draw(stacks()))

    def edit(self, draw: Draw) -> None:
        """A detail of the program."""
        possible = [(m, text) for pattern, text in EDITS for m in re.finditer(pattern, self.body)]
        match, text = draw(st.sampled_from(possible or [(re.match("", ""), "")]))
        self.write(self.body[: match.start()] + match.expand(text) + self.body[match.end() :])

    def up(self, draw: Draw) -> None:
        """An `up` that nothing disturbs."""
        done = self.run("up", str(self.path), "--yes")
        if done.code == 1 and self.foreign and CONFLICT.search(done.err):
            self.look(done)
            self.others_leave()
            done = self.run("up", str(self.path), "--yes")
        assert done.code == 0, f"{self.body}\n{done}"
        self.same(done)

    def struck(self, draw: Draw) -> None:
        """An `up` that is killed, stopped or refused something."""
        if draw(st.integers(0, 2)):  # else there may be little to do
            self.rewrite(draw)
        strike, at = draw(st.sampled_from(STRIKES)), draw(st.integers(0, 79))
        flag = draw(st.sampled_from([[], [], ["--rollback-on-failure"]]))
        number = at if strike in ("kill", "interrupt", "insist") else at // 4
        done = self.run("up", str(self.path), "--yes", *flag, strike=strike, at=number)
        assert done.code in (0, 1, 4, 130, -9), f"{self.body}\n{done}"
        if done.code == 1 and not done.struck:
            assert self.foreign, f"{self.body}\n{done}"
            assert CONFLICT.search(done.err), done
        self.look(done)

    def destroy(self, draw: Draw) -> None:
        """Take it away."""
        self.down()

    def destroy_struck(self, draw: Draw) -> None:
        """A `destroy` that is killed, stopped or refused something."""
        strike, at = draw(st.sampled_from(STRIKES)), draw(st.integers(0, 19))
        done = self.run("destroy", str(self.path), "--yes", strike=strike, at=at)
        assert done.code in (0, 1, 4, 130, -9), f"{self.body}\n{done}"
        if done.code == 1 and not done.struck:
            assert self.foreign, f"{self.body}\n{done}"
        self.look(done)

    def rollback(self, draw: Draw) -> None:
        """Go back to what it was."""
        done = self.run("rollback", "lab", "--yes")
        assert done.code in (0, 2) or (done.code == 1 and self.foreign and CONFLICT.search(done.err)), (
            f"{done.out}\n{done.err}"
        )
        self.look(done)

    def down(self) -> None:
        """Destroy, and nothing is left but what is others'."""
        done = self.run("destroy", str(self.path), "--yes")
        if done.code == 1 and self.foreign and CONFLICT.search(done.err):
            self.look(done)
            self.others_leave()
            done = self.run("destroy", str(self.path), "--yes")
        assert done.code == 0, done
        self.look(done)
        self.others_leave()
        assert self.sandbox.dump() == self.before, done

    # What others do

    def others_leave(self) -> None:
        """All that others made is taken away."""
        self.shell("; ".join(reversed(self.foreign)))
        self.foreign.clear()
        self.others = {}

    def drift(self, draw: Draw) -> None:
        """Something of the stack's own is deleted or changed by hand."""
        things = sorted(thing for thing in self.state() if thing[0] != "sysctl")
        if not things:
            return
        kind, *where = draw(st.sampled_from(things))
        at = f"-n {where[0]} " if where[0] else ""
        ways = {
            "netns": [f"ip netns del {where[0]}"],
            "link": [
                f"ip {at}link del {where[-1]}",
                f"ip {at}link set {where[-1]} down",
                f"ip {at}link set {where[-1]} mtu 1380",
                f"ip {at}addr flush dev {where[-1]}",
                f"ip {at}link set {where[-1]} nomaster",
                f"ip {at}link set {where[-1]} address 02:00:00:00:00:0e",
            ],
            "address": [f"ip {at}addr del {where[-1]} dev {where[1]}"] if kind == "address" else [],
            "route": [f"ip {at}route flush {where[1]} table all"] if kind == "route" else [],
            "rule": [f"ip {at}rule del pref {where[-1]}"],
            "neighbor": [
                f"ip {at}neigh del {where[-1]} dev {where[1]}",
                f"ip {at}neigh replace {where[-1]} dev {where[1]} lladdr 02:00:00:00:00:0f nud permanent protocol 78",
            ]
            if kind == "neighbor"
            else [],
            "fdb": [f"bridge {at}fdb del {where[2]} dev {where[1]} self"] if kind == "fdb" else [],
            "table": [self._nft(where[0], f"nft delete table inet {where[-1]}")],
        }
        self.shell(draw(st.sampled_from(ways[kind])))
        if kind in ("netns", "link"):  # things of others that stood in there went along
            self.others = self.others_of(self.sandbox.dump())

    @staticmethod
    def _nft(netns: str, command: str) -> str:
        return f"ip netns exec {netns} {command}" if netns else command

    def others_come(self, draw: Draw) -> None:
        """Somebody else makes something, also under a name that the stack may want, also in its netns."""
        picture = {netns: parts for netns, parts in self.sandbox.dump().items() if "links" in parts}
        netns = draw(st.sampled_from(sorted(picture)))
        at = f"-n {netns} " if netns else ""
        self.made += 1
        name = f"fx{self.made}"
        links = [link["ifname"] for link in picture[netns]["links"] if link["ifname"] != "lo"] or [name]
        ours = draw(st.sampled_from(links))
        new = f"ip {at}link add {name} type bridge && ip {at}link set {name} up"
        mark, address = draw(st.sampled_from(["l0", "l1", "l2"])), f"10.66.{self.made}.1/24"
        ways = [
            (f"{new} && ip {at}addr add {address} dev {name}", f"ip {at}link del {name}"),
            (f"{new} && ip {at}route add 10.67.{self.made}.0/24 dev {name}", f"ip {at}link del {name}"),
            (f"{new} && ip {at}neigh add 10.66.0.9 lladdr 02:00:00:00:00:01 dev {name}", f"ip {at}link del {name}"),
            (f"ip {at}link add {mark} type bridge", f"ip {at}link del {mark}"),
            (
                f"ip {at}addr add 10.66.{self.made}.1/24 dev {ours}",
                f"ip {at}addr del 10.66.{self.made}.1/24 dev {ours}",
            ),
            (f"ip {at}rule add pref 66 from 10.66.0.0/16 lookup 66", f"ip {at}rule del pref 66"),
            (self._nft(netns, f"nft add table inet {name}"), self._nft(netns, f"nft delete table inet {name}")),
            (f"ip {at}route add 10.90.0.0/16 dev {ours} proto static", f"ip {at}route del 10.90.0.0/16 dev {ours}"),
            (f"ip netns add {name} && ip -n {name} link set lo up", f"ip netns del {name}"),
            ("ip netns add a", "ip netns del a"),
        ]
        make, unmake = draw(st.sampled_from(ways))
        if self.shell(make):
            self.foreign.append(unmake)
            self.others = self.others_of(self.sandbox.dump())

    @rule()
    @precondition(lambda self: self.foreign)
    def others_go(self) -> None:
        """They take it away again."""
        self.others_leave()


def test_whatever_happens_it_is_settled() -> None:
    """Whatever is done to a stack and its machine in whatever order, nothing is lost, orphaned or taken from others."""
    faulthandler.cancel_dump_traceback_later()  # 2,000 steps take their time
    chosen = int(os.environ.get("NETDSL_SEED") or (random.SystemRandom().randrange(1 << 32) if NIGHTLY else 1))
    print(f"NETDSL_SEED={chosen}")
    try:
        run_state_machine_as_test(
            seed(chosen)(Operator),
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=STEPS,
                deadline=None,
                database=None,
                phases=(Phase.generate, *SHRINK),
                suppress_health_check=list(HealthCheck),
                report_multiple_bugs=False,
            ),
        )
    finally:
        print(*(f"{count:6} {what}" for what, count in sorted(STEPS_DONE.items())), sep="\n")
