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
from collections.abc import Callable, Mapping, Sequence
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
    places = ["None", *(name for name in "ab" if f"{name} = Netns(" in body)]
    for place in places:  # without any address a netns has no table in which the kernel could look gateways up
        lines.append(f'base_{place} = Bridge("base", netns={place}, addresses=["10.77.0.1/24"])')
    for place in places:
        lines += draw(more(place, places))
        if draw(st.integers(0, 2)) == 0:
            priority, table = draw(st.sampled_from([100, 101])), draw(st.sampled_from([7, 8]))
            lines.append(f'Rule("r", netns={place}, priority={priority}, src="10.9.0.0/16", table={table})')
        if draw(st.integers(0, 2)) == 0:
            lines.append(f'Masquerade("nat", netns={place}, src="10.{draw(st.sampled_from([8, 9]))}.0.0/16")')
        if draw(st.integers(0, 2)) == 0:
            value = draw(st.sampled_from([3, 4]))
            lines.append(f'Sysctl("net.ipv4.tcp_syn_retries", netns={place}, value={value})')
    return "\n".join(lines)


@st.composite
def more(draw: Any, place: str, places: Sequence[str]) -> list[str]:
    """Lines of kinds that the model of the kernel in test_plan_properties does not know."""
    lines = []
    base = f"base_{place}"
    if draw(st.integers(0, 3)) == 0:
        mode, far = draw(st.sampled_from(["bridge", "private"])), draw(st.sampled_from(list(places)))
        lines.append(f'Macvlan("mv{place}", netns={far}, dev={base}, mode="{mode}", addresses=["10.78.0.1/24"])')
    if draw(st.integers(0, 3)) == 0:
        mode, mtu = draw(st.sampled_from(["tap", "tun"])), draw(st.sampled_from(["", ", mtu=1400"]))
        lines.append(f'Tap("tap", netns={place}, mode="{mode}"{mtu}, addresses=["10.79.0.1/24"])')
    if draw(st.integers(0, 2)) == 0:
        via, weight = draw(st.sampled_from(["10.76.0.8", "10.76.0.9"])), draw(st.sampled_from([1, 2]))
        far = draw(st.sampled_from(list(places)))  # a bridge without ports has no carrier, which nexthops need
        wire = f'Veth("w", netns={place}, peer=VethEnd("w{place}", netns={far}), addresses=["10.76.0.1/24"])'
        lines.append(f"wire_{place} = {wire}")
        lines.append(f'hop_{place} = Nexthop("hop", id=11, via="{via}", dev=wire_{place})')
        lines.append(f'out_{place} = Nexthop("out", id=12, via="10.76.0.7", dev=wire_{place})')
        lines.append(f'group_{place} = NexthopGroup("group", id=13, members=[(hop_{place}, {weight}), out_{place}])')
        by = draw(st.sampled_from([f"group_{place}", f"hop_{place}"]))
        lines.append(f'Route("by", netns={place}, dst="10.94.0.0/16", nexthop={by})')
    if draw(st.integers(0, 2)) == 0:
        hop, weight = draw(st.sampled_from(["10.77.0.5", "10.77.0.6"])), draw(st.sampled_from([1, 2]))
        paths = f'[Hop(via="{hop}", dev={base}, weight={weight}), Hop(via="10.77.0.4", dev={base})]'
        lines.append(f'Route("paths", netns={place}, dst="10.95.0.0/16", paths={paths})')
    if draw(st.integers(0, 2)) == 0:
        port = draw(st.sampled_from([80, 81]))
        lines.append(f'Dnat("web", netns={place}, dev={base}, proto="tcp", port={port}, to="10.77.0.2")')
    if draw(st.integers(0, 2)) == 0:
        lines.append(f'Snat("snat", netns={place}, dev={base}, to="10.77.0.{draw(st.sampled_from([1, 2]))}")')
    return lines


INSIDE = r'with Component("part-NUMBER"): \1'
"""What is declared moves into a component of its own."""
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
    (r"mode=\"bridge\"", 'mode="private"'),
    (r"mode=\"tap\"", 'mode="tun"'),
    (r"weight=1", "weight=2"),
    (r"nexthop=hop_", "nexthop=group_"),
    (r"port=80", "port=81"),
    (r"(?m)^(Route|Rule|Sysctl|Neighbor|FdbEntry|Masquerade|Snat|Dnat|Macvlan|Tap)\(.*$", "pass"),
    (r"(?m)^((?:\w+ = )?(?:Route|Rule|Neighbor|FdbEntry|Bridge|Vxlan|Veth|Tap|Macvlan)\(.*)$", INSIDE),
    (r"(?m)^with Component\(\S+\): ", ""),
)
"""Small changes of a program: each is made at one of its places."""


STEPS_OF = (
    *("up", "struck", "struck", "struck", "struck", "struck", "edit", "edit", "drift", "drift", "up", "rewrite"),
    *("others_come", "others_come", "destroy_struck", "rollback", "destroy", "part", "refresh", "lose", "saved"),
)
"""Steps by name; what stands there twice is done twice as often."""
Draw: TypeAlias = Callable[[st.SearchStrategy[Any]], Any]
STEPS_DONE: Counter[str] = Counter()
"""By what came of them, for the nightly run's report."""
Guest: TypeAlias = tuple[str, str, str]
"""An address of others: netns, link, address."""
NOT_OF_PLAN = ("--yes", "--rollback-on-failure")
"""Options of `up` that `plan` lacks."""


def guests_of(picture: Picture) -> set[Guest]:
    """The addresses of others on whatever links there are."""
    return {
        (netns, link["ifname"], address["local"])
        for netns, parts in picture.items()
        for link in parts.get("links", ())
        for address in link["addr_info"]
        if census.FOREIGN_ADDRESSES.match(address["local"])
    }


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
        self.missing: set[census.Thing] = set()  # recorded and settled, but not there: others took it away
        self.guests: set[Guest] = set()  # addresses that others gave to links of the stack
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
        self.guests = self.outlasting(argv)
        done = self.saboteur.run(*argv, strike=strike, at=at, check=False)
        name = "state recover" if argv[0] == "state" else argv[0]
        STEPS_DONE[f"{name} {strike if done.struck else ''} -> {done.code}"] += 1
        return done

    def outlasting(self, argv: Sequence[str]) -> set[Guest]:
        """Those addresses of others on links of the stack that a command has to leave where they are."""
        if not self.guests or argv[0] in ("refresh", "state"):
            return self.guests
        if argv[0] != "up":  # what it is about to do it shows only while it does it
            return set()
        done = self.saboteur.run("plan", "--json", *(word for word in argv[1:] if word not in NOT_OF_PLAN), check=False)
        changes = json.loads(done.out)["changes"] if done.code == 0 else []
        made = [change for change in changes if change["action"] not in ("update", "same")]
        links = {(change["netns"], change["name"]) for change in made}
        namespaces = {change["name"] for change in made if change["kind"] == "netns"}
        return {guest for guest in self.guests if guest[0] not in namespaces and guest[:2] not in links}

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
        missing = self.missing_of(picture, recorded)
        assert missing <= self.missing, f"recorded, and not in the kernel: {missing - self.missing}; {done}"
        self.missing = missing
        assert self.others_of(picture) == self.others, done
        guests = guests_of(picture)
        assert self.guests <= guests, f"addresses of others are gone: {self.guests - guests}; {done}"
        self.guests = guests
        return picture

    def look_anew(self) -> None:
        """After others did something: what they made and took away."""
        picture = self.sandbox.dump()
        self.missing = self.missing_of(picture, self.state())
        self.others, self.guests = self.others_of(picture), guests_of(picture)

    @staticmethod
    def missing_of(picture: Picture, recorded: Mapping[census.Thing, Mapping[str, Any]]) -> set[census.Thing]:
        """What is recorded as made, and not there; a killed run leaves open whether it made something."""
        settled = {thing for thing, resource in recorded.items() if "unsettled" not in resource["extra"]}
        there = census.marked(picture, "lab", census.indexed(recorded))
        return settled - {("sysctl", *thing[1:]) for thing in settled} - there

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
        self.look(done)
        assert not self.missing, f"recorded, and not in the kernel: {self.missing}; {done}"

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
        self.made += 1
        new = match.expand(text).replace("NUMBER", str(self.made))
        self.write(self.body[: match.start()] + new + self.body[match.end() :])

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
        self.may_end_so(done)
        self.look(done)

    def may_end_so(self, done: Done) -> None:
        """A command that nothing struck succeeds, or names what of others is in its way."""
        assert done.code in (0, 1, 4, 130, -9), f"{self.body}\n{done}"
        if done.code != 0 and not done.struck:
            assert done.code == 1, f"{self.body}\n{done}"
            assert self.foreign, f"{self.body}\n{done}"
            assert CONFLICT.search(done.err), f"{self.body}\n{done}"

    def part(self, draw: Draw) -> None:
        """Only a part of the stack is made, or something of it is made anew."""
        if draw(st.booleans()):
            self.edit(draw)
        way = draw(st.sampled_from(["--target", "--exclude", "--replace"]))
        name = draw(st.sampled_from(["l0", "l1", "l2", "base", "a", "tap", "hop", "*/24*"]))
        done = self.run("up", str(self.path), "--yes", way, name)
        if done.code == 2:
            assert "no resource of the stack is called" in done.err, done
        else:
            self.may_end_so(done)
        self.look(done)

    def saved(self, draw: Draw) -> None:
        """A plan that is carried out later: as it is, or not at all."""
        plan = str(self.path.with_suffix(".json"))
        done = self.run("plan", str(self.path), "--out", plan)
        if done.code:
            assert done.code == 1, done
            assert CONFLICT.search(done.err), done
            return
        planned = {change["urn"] for change in json.loads(Path(plan).read_text())["plan"]["changes"]}
        between = draw(st.sampled_from(["", "", "drift", "edit", "others_come"]))
        if between:
            getattr(self, between)(draw)
        before = self.sandbox.dump()
        done = self.run("up", plan, "--yes")
        if done.code:
            assert done.code == 1, done
            assert "is out of date" in done.err or CONFLICT.search(done.err), done
            assert self.sandbox.dump() == before, done
        elif planned:
            carried_out = json.loads(self.saboteur.run("history", "lab", "--json").out)["runs"][-1]["summary"]
            assert carried_out, done
        self.look(done)

    def refresh(self, draw: Draw) -> None:
        """The record follows the kernel, which is not touched."""
        if not self.state():
            return
        before = self.sandbox.dump()
        done = self.run("refresh", "lab", "--yes")
        assert done.code == 0, done
        names = [netns for netns, parts in before.items() if "links" not in parts]  # left by a run that was killed
        after = self.sandbox.dump()
        assert {**after, **{netns: before[netns] for netns in names}} == before, done
        assert not [netns for netns in names if netns in after], done
        self.look(done)
        assert not self.missing, f"recorded, and not in the kernel: {self.missing}; {done}"
        again = self.saboteur.run("refresh", "lab", "--preview-only", check=False)
        assert again.code == 0, f"drift after a refresh: {again}"

    def lose(self, draw: Draw) -> None:
        """The state is lost when all is in order, and made again from the kernel."""
        self.up(draw)
        before, picture = self.state(), self.sandbox.dump()
        if not before or any(thing[0] == "sysctl" and not thing[1] for thing in before):
            return  # what a sysctl of the machine was before is lost for good
        done = self.saboteur.run("state", "export", "lab")
        values = {thing: resource["props"] for thing, resource in before.items()}
        Path(self.sandbox.env["NETDSL_STATE_DIR"], "lab.db").unlink()
        done = self.run("state", "recover", str(self.path))
        assert done.code == 0, done
        assert {thing: resource["props"] for thing, resource in self.state().items()} == values, done
        assert self.sandbox.dump() == picture, done
        done = self.run("up", str(self.path), "--yes")
        assert done.code == 0, done
        self.same(done)

    def destroy(self, draw: Draw) -> None:
        """Take it away."""
        self.down()

    def destroy_struck(self, draw: Draw) -> None:
        """A `destroy` that is killed, stopped or refused something."""
        strike, at = draw(st.sampled_from(STRIKES)), draw(st.integers(0, 19))
        done = self.run("destroy", str(self.path), "--yes", strike=strike, at=at)
        self.may_end_so(done)
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
        self.look_anew()

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
            "nexthop": [f"ip {at}nexthop del id {where[-1]}", f"ip {at}nexthop flush"] if kind == "nexthop" else [],
        }
        self.shell(draw(st.sampled_from(ways[kind])))
        self.look_anew()

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
            self.look_anew()

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
