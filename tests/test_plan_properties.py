"""Random stacks, random states and random kernels: whatever the three say, the plan leads from one to the other.

The kernel here is a model: a dict of objects that come and go as Linux does it. It refuses what Linux refuses (a second
object of one identity, an object whose link is not there, the deletion of what is gone), so that a plan in a wrong
order fails.
"""

from __future__ import annotations

import json
import os
import random
import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count
from typing import Any, NamedTuple

import attrs
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import netdsl
from netdsl.engine.change import Action, Plan
from netdsl.engine.compile import Step, assign_ifindexes, creations, deletions
from netdsl.engine.deploy import relate_offline
from netdsl.engine.graph import sorted_items
from netdsl.engine.observe import Observation
from netdsl.engine.plan import make_plan
from netdsl.errors import ConflictError
from netdsl.kinds.veth import peer_key
from netdsl.lang.dump import Scope
from netdsl.lang.item import Gone, Have, Item, Key
from netdsl.lang.naming import altname
from netdsl.lang.stack import declare
from netdsl.lang.values import is_v6, network_of

STACK = "lab"
SHRINK = (Phase.shrink,) if os.environ.get("NETDSL_SHRINK") else ()
"""Making a failing example small takes minutes: run the test with NETDSL_SHRINK=1 for that."""

always = partial(
    settings,
    derandomize=True,
    deadline=None,
    database=None,
    phases=(Phase.generate, *SHRINK),
    suppress_health_check=list(HealthCheck),
)
"""The same examples in every run, whatever the machine's speed."""


# Random stacks, as a program's text


@st.composite
def programs(draw: Callable[[Any], Any]) -> str:
    """The body of a stack over the netns a, b and the one that netdsl runs in; few names, so that stacks overlap."""
    lines: list[str] = []
    places = ["h"]
    for name in ("a", "b"):
        if draw(st.integers(0, 3)):
            places.append(name)
            lines.append(f'{name} = Netns("{name}", forwarding={draw(st.sampled_from([None, True, False]))})')
    kinds = {(place, i): draw(st.sampled_from(["", "bridge", "vxlan", "veth"])) for place in places for i in range(3)}
    links: list[str] = []
    bridges: dict[str, list[str]] = {place: [] for place in places}
    for (place, i), kind in sorted(kinds.items(), key=lambda pair: pair[1] != "bridge"):
        var, netns = f"{place}{i}", "None" if place == "h" else place
        near = [*bridges[place], None]
        if kind == "bridge":
            after = f", opts=Opts(depends_on=[{draw(st.sampled_from(links))}])" if links and draw(st.booleans()) else ""
            lines.append(f'{var} = Bridge("l{i}", netns={netns}{_extras(draw, var)}{after})')
            bridges[place].append(var)
        elif kind == "vxlan":
            line = f'{var} = Vxlan("l{i}", netns={netns}, vni={draw(st.sampled_from([i, i + 7]))}'
            line += f", dev={draw(st.sampled_from(near))}, master={draw(st.sampled_from(near))}"
            lines.append(f"{line}{_extras(draw, var)})")
        elif kind == "veth":
            far = draw(st.sampled_from(places))
            end = f'VethEnd("{var}", netns={"None" if far == "h" else far}{_extras(draw, f"{var}p")}'
            end += f", master={draw(st.sampled_from([*bridges[far], None]))})"
            lines.append(f"{var}p = {end}")
            line = f'{var} = Veth("l{i}", netns={netns}, peer={var}p, master={draw(st.sampled_from(near))}'
            lines.append(f"{line}{_extras(draw, var)})")
            links.append(f"{var}p")
        if kind:
            links.append(var)
        if kind == "vxlan" and draw(st.booleans()):
            lines.append(f'FdbEntry("{_mac(1)}", dev={var}, dst="{draw(st.sampled_from(["192.0.2.1", "192.0.2.2"]))}")')
    for var in links:
        if draw(st.booleans()):
            lines.append(f'Neighbor("10.{_number(var)}.0.9", dev={var}, lladdr="{_mac(draw(st.integers(2, 3)))}")')
    for place in places:
        here = [var for var in links if lines and _place_of(var, lines) == place]
        for k in range(2):
            lines += _route(draw, place, k, here, lines)
    return "\n".join(lines) or "pass"


def _number(var: str) -> int:
    """A number for each link, by which its networks differ from those of all others."""
    return "hab".index(var[0]) * 6 + int(var[1]) * 2 + len(var) - 2


def _mac(number: int) -> str:
    return f"02:00:00:00:00:0{number}"


def _extras(draw: Callable[[Any], Any], var: str) -> str:
    """Properties that all links have."""
    number = _number(var)
    choices = [f"10.{number}.0.1/24", f"10.{number}.0.2/24", f"10.{number}.1.1/24", f"fd00:{number}::1/64"]
    text = f", addresses={draw(st.lists(st.sampled_from(choices), unique=True, max_size=3))}"
    text += draw(st.sampled_from(["", ", mtu=1400", ", mtu=1300"]))
    return f"{text}{draw(st.sampled_from(['', f', mac={_mac(4)!r}']))}"


def _place_of(var: str, lines: Sequence[str]) -> str:
    line = next(line for line in lines if line.startswith(f"{var} = "))
    return line.partition("netns=")[2][0].replace("N", "h")


def _route(draw: Callable[[Any], Any], place: str, k: int, here: Sequence[str], lines: Sequence[str]) -> list[str]:
    head = f'Route("{draw(st.sampled_from("rs"))}{k}", netns={"None" if place == "h" else place}'
    head += f', dst="10.9{k}.0.0/16", metric={draw(st.sampled_from([None, 5]))}'
    form = draw(st.sampled_from(["", "blackhole", "dev", "onlink", "via", "via alone"]))
    if form == "blackhole":
        return [f'{head}, type="blackhole")']
    if not form or not here:
        return []
    var = draw(st.sampled_from(here))
    via = f"10.{_number(var)}.0.{draw(st.integers(7, 8))}"
    connected = f"10.{_number(var)}.0." in next(line for line in lines if line.startswith(f"{var} = "))
    if form == "dev":
        return [f"{head}, dev={var})"]
    if form == "onlink" or not connected:
        return [f'{head}, via="{via}", dev={var}, onlink=True)']
    return [f'{head}, via="{via}"{f", dev={var}" if form == "via" else ""})']


def items(body: str) -> list[Item]:
    """What a program declares, in dependency order."""
    names: dict[str, Any] = {name: getattr(netdsl, name) for name in netdsl.__all__}
    exec("@stack\ndef lab():\n" + textwrap.indent(body, "    "), names)
    return relate_offline(declare(names["lab"], STACK, {}, host="here").items)


def recorded(wanted: Sequence[Item]) -> list[Item]:
    """Items as the state gives them back: only what JSON keeps, in the order of their urns."""
    found = []
    for item in sorted(wanted, key=lambda item: item.urn):
        props, extra = json.loads(json.dumps([item.props, item.extra]))
        kind, at = item.kind, (item.netns, item.name, props)
        found.append(
            attrs.evolve(
                item, props=props, extra=extra, key=kind.identity(*at), needs=kind.needs(*at), opts=netdsl.Opts()
            )
        )
    return found


# A model of the kernel


class Refused(AssertionError):
    """The kernel would refuse it."""


@attrs.define(eq=False)
class Kernel:
    """Objects by identity, in the order of their creation.

    foreign    what others made, where that can be told: links, netns, and all that stands on them
    lingering  far ends of veth pairs whose other end went with its netns: the kernel takes its time
    """

    found: dict[Key, Have] = attrs.field(factory=dict)
    foreign: set[Key] = attrs.field(factory=set)
    lingering: set[Key] = attrs.field(factory=set)
    taken: set[Key] = attrs.field(factory=set)
    numbers: Iterator[int] = attrs.field(factory=lambda: count(2))

    def observe(self) -> Observation:
        """All there is."""
        seen = Observation(dict(self.found))
        for netns in ["", *(key[2] for key in self.found if key[0] == "netns")]:
            inside = {key: have for key, have in self.found.items() if key[1] == netns and key[0] != "netns"}
            links = {have.ifindex: key[2] for key, have in inside.items() if key[0] == "link"}
            seen.scopes[netns] = Scope(netns, {}, links, inside)
        return seen

    # What we do

    def apply(self, plan: Plan, rng: random.Random) -> None:
        """Carry a plan out; within a wave, places come in any order, as they may."""
        for step in deletions(plan):
            if step.item.kind.preexisting:
                self.found[step.item.key].props["value"] = step.item.extra["found"]["value"]
            else:
                self.delete(step.item.key)
        self.taken.clear()
        for wave in creations(plan):
            places = list(wave.steps)
            rng.shuffle(places)
            for place in sorted(places, key=lambda place: (place != "netns", not place.endswith("/files"))):
                for step in wave.steps[place]:
                    self._do(step)
        self._let_go()

    def _do(self, step: Step) -> None:
        item = step.item
        if step.verb == "finish":
            self.found[item.key].props["up"] = True
        elif step.verb == "update":
            self.update(item, {name: want for name, (_, want) in step.change.diffs.items()})
        else:
            if item.kind.preexisting and "found" not in item.extra:
                item.extra["found"] = dict(self.found[item.key].props)
            mark = altname(STACK, item.name if item.kind.is_link else "lo")
            self.create(item, (mark,), item.extra.get("ifindex", 0))
            if item.key[0] == "netns":
                item.extra["cookie"] = self.found[item.key].props["cookie"]
            if item.kind.finishes(item):
                self.found[item.key].props["up"] = False

    # What the kernel does

    def create(self, item: Item, marks: tuple[str, ...], ifindex: int) -> None:
        """Make an object. A veth brings its other end along, which is its own only when it is made itself."""
        for need in item.needs:
            if need.gone is not Gone.TWIN and need.key not in self.found:
                raise Refused(f"{item.title} needs {need.key}, which is not there")
        word, key = item.kind.word, item.key
        if word == "veth-end":
            if key not in self.found or self.found[key].marks:
                raise Refused(f"{item.title} did not come with its first end")
            self.found[key].props.update(item.props)
            self.found[key].marks, self.found[key].ifindex = marks, ifindex
            return
        if key in self.found and word not in ("neighbor", "fdb", "sysctl"):
            raise Refused(f"{item.title} is there already")
        props = {p.name: p.kernel for p in item.kind.properties.values()} | item.props
        self.found[key] = have = Have(word, props)
        if item.kind.is_link or word == "netns":
            have.ifindex, have.marks = ifindex, marks
        if word == "netns":
            props["cookie"] = next(self.numbers)
            for path in ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"):
                self.found[("sysctl", item.name, path)] = Have("sysctl", {"value": "0"})
        if word == "route":
            props["dev"] = next((need.key[2] for need in item.needs if need.key[0] == "link"), None)
        if word == "veth":
            twin = peer_key(item.props["peer"])
            if twin in self.found:
                raise Refused(f"the other end of {item.title} is there already")
            self.found[twin] = Have("veth", {**props, "peer": f"{item.netns}/{item.name}", "master": ""})
            self.found[twin].ifindex = next(self.numbers)

    def update(self, item: Item, changed: dict[str, Any]) -> None:
        """Change properties in place. What is no link is sent whole, and so made anew if it is gone."""
        if item.key not in self.found and not item.kind.is_link:
            return self.create(item, (), 0)
        if item.key not in self.found:
            raise Refused(f"{item.title} is not there to be changed")
        if changed.get("master") and ("link", item.netns, changed["master"]) not in self.found:
            raise Refused(f"{item.title}: there is no bridge {changed['master']}")
        self.found[item.key].props.update(changed)
        if "mac" in changed:
            self._drop(lambda key, have: key[:3] == ("neighbor", item.netns, item.name))

    def delete(self, key: Key) -> None:
        """Take an object away, with all that goes with it."""
        family, netns = key[:2]
        if key not in self.found:
            if key in self.taken:
                return
            raise Refused(f"{key} is not there to be deleted")
        if family == "address" and not is_v6(key[3]):
            return self._lose_address(key)
        have = self.found.pop(key)
        if family == "netns":
            for inner in [inner for inner in self.found if inner[1] == key[2] and inner[0] != "netns"]:
                twin = peer_key(self.found.pop(inner).props.get("peer") or "/")
                if twin in self.found and twin[1] != key[2]:
                    self.lingering.add(twin)
        elif family == "link":
            twin = peer_key(have.props.get("peer") or "/")
            if twin in self.found:
                self.delete(twin)
            for user in [k for k, h in self.found.items() if k[1] == netns and h.props.get("dev") == key[2]]:
                if user in self.found:
                    self.delete(user)
            for other, port in self.found.items():
                if other[1] == netns and port.props.get("master") == key[2]:
                    port.props["master"] = ""

    def _lose_address(self, key: Key) -> None:
        """A primary address takes the others of its subnet along, the last one the link's routes (net/ipv4)."""
        beside = [k for k in self.found if k[:3] == key[:3] and not is_v6(k[3])]
        subnet = [k for k in beside if network_of(k[3]) == network_of(key[3])]
        lost = subnet if subnet[0] == key else [key]
        self.taken |= {*lost} - {key}
        self._drop(lambda k, h: k in lost)
        if len(beside) == len(lost):
            self._drop(lambda k, h: k[:2] == ("route", key[1]) and h.props["dev"] == key[2])

    def _drop(self, falls: Callable[[Key, Have], bool]) -> None:
        for key in [key for key, have in self.found.items() if falls(key, have)]:
            del self.found[key]

    def _let_go(self) -> None:
        """Finish what lingers."""
        for far in sorted(self.lingering & set(self.found)):
            if far in self.found:
                self.delete(far)
        self.lingering.clear()

    # What others do

    def disturb(self, rng: random.Random, strangers: Sequence[Item]) -> None:
        """Objects of ours vanish or change, and others appear."""
        for _ in range(rng.randint(0, 3)):
            mortal = [key for key in self.found if key[0] != "sysctl"]
            if mortal:
                self.delete(rng.choice(mortal))
            self._let_go()
        for key, have in self.found.items():
            if key[0] == "link" and have.props.get("mtu") and not rng.randint(0, 3):
                have.props["mtu"] = 1234
        for item in strangers:
            if rng.randint(0, 1) and self.has_room(item):
                self.appear(item)

    def has_room(self, item: Item) -> bool:
        """Whether others could make an object."""
        twin = peer_key(item.props["peer"]) if item.kind.word == "veth" else None
        if item.kind.preexisting or item.kind.word == "veth-end" or item.key in self.found or twin in self.found:
            return False
        return all(need.key in self.found or need.gone is Gone.TWIN for need in item.needs)

    def appear(self, item: Item) -> None:
        """Others make an object."""
        self.create(item, (), next(self.numbers))
        self.foreign.add(item.key)
        if item.kind.word == "veth":
            self.foreign.add(peer_key(item.props["peer"]))

    def can_be_told(self, records: Sequence[Item]) -> None:
        """Of objects under recorded identities those are foreign that stand on a link or netns of ours that is not."""
        known = {record.key for record in records}
        for record in records:
            have = self.found.get(record.key)
            if have is not None and record.key[0] not in ("link", "netns"):
                below = {("netns", "", record.netns), ("link", record.netns, have.props.get("dev"))}
                self.foreign.discard(record.key)
                self.foreign |= {record.key} if below & self.foreign & known else set()
        self.foreign &= set(self.found)


def planned(wanted: list[Item], records: Sequence[Item], kernel: Kernel) -> Plan:
    """The plan, checked for what holds of every plan."""
    seen = kernel.observe()
    plan = make_plan(STACK, wanted, records, seen)
    assign_ifindexes(plan, seen, records)
    check_order(plan)
    return plan


def check_order(plan: Plan) -> None:
    """What a step needs comes in an earlier wave, or before it in the same place."""
    when: dict[Key, tuple[int, str, int]] = {}
    steps = [
        (step, (number, place, position))
        for number, wave in enumerate(creations(plan))
        for place, here in wave.steps.items()
        for position, step in enumerate(here)
    ]
    for step, at in steps:
        when.setdefault(step.item.key, at)
    urns = {step.item.urn: step.item.key for step, _ in steps}
    for step, (wave, place, position) in steps:
        needs = [need.key for need in step.item.needs if need.gone is not Gone.TWIN]
        for key in [*needs, *(urns[urn] for urn in step.item.after if urn in urns)]:
            if key in when:
                other = when[key]
                assert other[0] < wave or (other[:2] == (wave, place) and other[2] < position), (
                    f"{key}, {step.item.key}"
                )


def conflicts(wanted: Sequence[Item], records: Sequence[Item], kernel: Kernel) -> tuple[set[str], set[str]]:
    """Titles of what is wanted where something stands that is not ours: what must be told, and all there is.

    What stands on another of them, in the kernel or in the program, need not be told too.
    """
    known = {record.key for record in records}
    strange = {
        item.key: item
        for item in wanted
        if item.key in kernel.found and not item.kind.preexisting
        if item.key not in known or item.key in kernel.foreign
    }

    def alone(item: Item) -> bool:
        devs = {item.props.get("dev"), kernel.found[item.key].props.get("dev")}
        return not strange.keys() & {("netns", "", item.netns), *(("link", item.netns, dev) for dev in devs)}

    return {item.title for item in strange.values() if alone(item)}, {item.title for item in strange.values()}


@always(max_examples=150)
@given(programs(), st.randoms(use_true_random=False))
def test_what_is_as_it_should_be_stays(body: str, rng: random.Random) -> None:
    """When program, state and kernel agree, nothing is planned."""
    kernel, wanted = Kernel(), items(body)
    kernel.apply(planned(wanted, [], kernel), rng)
    plan = planned(items(body), recorded(wanted), kernel)
    assert {change.action for change in plan.changes} <= {Action.SAME}
    assert not plan.pending


def leads_there(kernel: Kernel, records: Sequence[Item], after: str, rng: random.Random) -> None:
    """Plan and apply, and see that no plan is needed after it; or that the conflicts named are those that there are."""
    wanted = items(after)
    kernel.can_be_told(records)
    must, may = conflicts(wanted, records, kernel)
    if may:
        with pytest.raises(ConflictError) as caught:
            planned(wanted, records, kernel)
        told = {re.split(" exists already| is not the one", problem.what)[0] for problem in caught.value.problems}
        assert must <= told <= may
        return
    plan = planned(wanted, records, kernel)
    touched = {(change.record or change.item).key for change in plan.changes if change.writes}
    assert not touched & kernel.foreign
    kernel.apply(plan, rng)
    assert not planned(items(after), recorded(wanted), kernel).pending


@always(max_examples=300)
@given(programs(), programs(), programs(), st.randoms(use_true_random=False))
def test_a_plan_leads_there_and_touches_nothing_else(before: str, after: str, strange: str, rng: random.Random) -> None:
    """From whatever state and kernel, a plan names what is in its way, or leads to a kernel that needs no plan."""
    kernel, old = Kernel(), items(before)
    kernel.apply(planned(old, [], kernel), rng)
    kernel.disturb(rng, items(strange))
    leads_there(kernel, recorded(old), after, rng)


class Found(NamedTuple):
    """An example that once failed: the program before and now, and between them what vanished and what others made."""

    before: str
    after: str
    lost: Sequence[Key] = ()
    strange: str = "pass"


FOUND = {
    "the old lower device of a vxlan goes": Found(
        'Vxlan("v", vni=1, dev=Bridge("old"))',
        'Vxlan("v", vni=1, dev=Bridge("new"))',
    ),
    "a route gets a link that is replaced": Found(
        'Vxlan("l", vni=1, addresses=["10.0.0.1/24"])\nRoute("r", dst="10.9.0.0/16", type="blackhole")',
        'l = Bridge("l")\nRoute("r", dst="10.9.0.0/16", dev=l)',
    ),
    "a primary address goes and a secondary stays": Found(
        'l = Bridge("l", addresses=["10.0.0.2/24", "10.0.0.1/24"])\nRoute("r", dst="10.9.0.0/16", dev=l)',
        'l = Bridge("l", addresses=["10.0.0.1/24"])\nRoute("r", dst="10.9.0.0/16", dev=l)',
    ),
    "two routes swap their names": Found(
        'Route("r", dst="10.8.0.0/16", type="blackhole")\nRoute("s", dst="10.9.0.0/16", type="blackhole")',
        'Route("s", dst="10.8.0.0/16", type="blackhole")\nRoute("r", dst="10.9.0.0/16", type="blackhole")',
    ),
    "a route's name is given to another one": Found(
        'Route("r", dst="10.8.0.0/16", type="blackhole")',
        'Route("r", dst="10.9.0.0/16", type="blackhole")\nRoute("s", dst="10.8.0.0/16", type="blackhole")',
    ),
    "an address on a link that others made": Found(
        'Bridge("l", addresses=["10.0.0.1/24"])',
        "pass",
        [("link", "", "l")],
        'Bridge("l", addresses=["10.0.0.1/24"])',
    ),
    "a route on a link that others made": Found(
        'Route("r", dst="10.9.0.0/16", dev=Bridge("l"))',
        'Route("r", dst="10.9.0.0/16", type="blackhole")',
        [("link", "", "l")],
        'Route("r", dst="10.9.0.0/16", dev=Bridge("l"))',
    ),
    "a route that others have moved off a link that goes": Found(
        'Route("r", dst="10.9.0.0/16", dev=Bridge("l"))',
        'Route("r", dst="10.9.0.0/16", type="blackhole")',
        [("route", "", 254, "10.9.0.0/16", 0)],
        'Route("r", dst="10.9.0.0/16", type="blackhole")',
    ),
}
"""Found by the test above, made as small as they get."""


@pytest.mark.parametrize("name", FOUND)
def test_what_was_found_stays_mended(name: str) -> None:
    """Each example that once failed leads where it should."""
    found, kernel, rng = FOUND[name], Kernel(), random.Random(0)
    old = items(found.before)
    kernel.apply(planned(old, [], kernel), rng)
    for key in found.lost:
        kernel.delete(key)
    for item in items(found.strange):
        kernel.appear(item)
    leads_there(kernel, recorded(old), found.after, rng)


@always(max_examples=150)
@given(programs(), programs(), st.randoms(use_true_random=False))
def test_destroying_takes_ours_and_nothing_else(body: str, strange: str, rng: random.Random) -> None:
    """The plan that wants nothing leaves nothing of ours, and all that does not stand on ours."""
    kernel, made = Kernel(), items(body)
    kernel.apply(planned(made, [], kernel), rng)
    records = recorded(made)
    kernel.disturb(rng, items(strange))
    kernel.can_be_told(records)
    ours = {record.key for record in records if not record.kind.preexisting} - kernel.foreign
    strangers = {key for key in kernel.foreign if key[0] == "netns" or (key[0] == "link" and not key[1])}
    standing = {key for key in strangers if peer_key(kernel.found[key].props.get("peer") or "/")[1]}
    standing |= {key for key in strangers if kernel.found[key].props.get("dev")}
    kernel.apply(planned([], sorted_items(records), kernel), rng)
    assert not ours & set(kernel.found)
    assert strangers - standing <= set(kernel.found)


def ring(nodes: int) -> str:
    """A ring of nodes on one segment, each with a container and a tunnel to the next."""
    lines = ['seg = Netns("seg")', 'br = Bridge("br0", netns=seg)']
    for i in range(nodes):
        lines += [
            f'n{i}, c{i} = Netns("n{i}", forwarding=True), Netns("c{i}")',
            f'p{i} = VethEnd("p{i}", netns=seg, master=br)',
            f'e{i} = Veth("eth0", netns=n{i}, peer=p{i}, addresses=["10.0.0.{i + 1}/24"])',
            f'b{i} = Bridge("br0", netns=n{i}, addresses=["10.1.{i}.1/24"])',
            f'Veth("v", netns=n{i}, master=b{i}, peer=VethEnd("eth0", netns=c{i}, addresses=["10.1.{i}.2/24"]))',
            f'Route("default", netns=c{i}, dst="default", via="10.1.{i}.1")',
            f'v{i} = Vxlan("v0", netns=n{i}, vni=1, dev=e{i}, local="10.0.0.{i + 1}", addresses=["10.1.{i}.0/32"])',
        ]
    for i in range(nodes):
        j = (i + 1) % nodes
        lines.append(f'VxlanPeer("{i}-{j}", vtep=v{i}, peer=v{j}, subnets=["10.1.{j}.0/24"])')
    return "\n".join(lines)


def test_the_number_of_waves_does_not_grow() -> None:
    """A ring takes as few waves with forty nodes as with two, and what it takes can be done in that order."""
    waves = []
    for nodes in (2, 3, 10, 40):
        kernel = Kernel()
        plan = planned(items(ring(nodes)), [], kernel)
        waves.append(len(creations(plan)))
        kernel.apply(plan, random.Random(nodes))
    assert set(waves) == {waves[0]}
    assert waves[0] <= 5
