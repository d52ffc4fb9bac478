"""The language: what a stack's author writes becomes items with names, MACs and needs, or problems at its line."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from functools import wraps
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Literal, Optional

import pytest

from netdsl import Address, Bridge, Component, Dummy, Link, Netns, Opts, Route, Sysctl, Veth, VethEnd, Vxlan, stack
from netdsl.engine.deploy import relate_offline
from netdsl.errors import Problem, StackError, UsageError
from netdsl.lang.item import Item
from netdsl.lang.naming import derived_mac
from netdsl.lang.params import convert, params_of, resolve
from netdsl.lang.stack import Stack, declare


class Seen:
    """An observer of a machine that has these links (by netns and name) and netns."""

    def __init__(
        self, links: Mapping[tuple[str, str], Mapping[str, Any]] | None = None, netns: Sequence[str] = ()
    ) -> None:
        self._links = links or {}
        self._netns = netns

    def link(self, netns: str, name: str) -> Mapping[str, Any] | None:
        return self._links.get((netns, name))

    def netns(self, name: str) -> bool:
        return name in self._netns


def items(function: Stack[..., Any], name: str = "lab", **how: Any) -> list[Item]:
    """What a stack declares, in dependency order."""
    return relate_offline(declare(function, name, {}, **how).items)


def by_title(found: Sequence[Item]) -> dict[str, Item]:
    return {item.title: item for item in found}


def written(folder: Path, body: str) -> tuple[Stack[..., Any], Path]:
    """A stack from a file of its own, as its author would have it: the body of `lab`."""
    path = folder / "lab.py"
    text = (
        "from netdsl import *\n\n@stack\ndef lab():\n" + textwrap.indent(textwrap.dedent(body).strip(), "    ") + "\n"
    )
    path.write_text(text)
    names: dict[str, Any] = {}
    exec(compile(text, str(path), "exec"), names)  # the code object knows its file, as that of an import does
    return names["lab"], path


def problems(function: Stack[..., Any]) -> Sequence[Problem]:
    """Everything that is wrong with a stack, up to the point where the kernel would be looked at."""
    with pytest.raises(StackError) as caught:
        items(function)
    return caught.value.problems


def marked(path: Path) -> list[str]:
    """file:line of the lines that carry a comment `# here`, as often as they do."""
    lines = enumerate(path.read_text().splitlines(), 1)
    return [f"{path}:{number}" for number, line in lines for _ in range(line.count("# here"))]


# Stacks and parameters


@stack
def pair(mtu: int = 1500) -> dict[str, Any]:
    """Two netns and a wire."""
    left, right = Netns("left"), Netns("right")
    wire = Veth("eth0", netns=left, mtu=mtu, peer=VethEnd("eth0", netns=right, mtu=mtu))
    return {"wire": wire, "mac": wire.mac}


def test_a_stack_is_its_function() -> None:
    """A stack has its function's name and description, its parameters' values with defaults, and its outputs."""
    done = declare(pair, "lab", {"mtu": 1400})
    assert (pair.name, pair.doc, dict(done.params)) == ("pair", "Two netns and a wire.", {"mtu": 1400})
    assert dict(declare(pair, "lab", {}).params) == {"mtu": 1500}
    assert done.outputs["mac"] == done.outputs["wire"].mac
    assert {item.props.get("mtu") for item in done.items if item.kind.is_link} == {1400}


def test_a_parameter_without_default_has_to_be_given() -> None:
    """All parameters that lack a value are named, with the way to give one."""

    @stack
    def lab(vni: int, port: int, mtu: int = 1500) -> None: ...

    with pytest.raises(StackError) as caught:
        declare(lab, "lab", {"mtu": 1400})
    assert [problem.what for problem in caught.value.problems] == [
        "parameter vni has no default",
        "parameter port has no default",
    ]
    assert "-p vni=" in caught.value.problems[0].fix
    assert declare(lab, "lab", {"vni": 1, "port": 2}).params == {"vni": 1, "port": 2, "mtu": 1500}


@pytest.mark.parametrize(
    ("wanted", "given", "value"),
    [
        (int, "7", 7),
        (int, "0x10", 16),
        (int, "-1", -1),
        (int, 7, 7),
        (float, "0.5", 0.5),
        (float, 2, 2.0),
        (str, "7", "7"),
        (str, "", ""),
        *((bool, word, True) for word in ("true", "True", "yes", "ON", "1", True)),
        *((bool, word, False) for word in ("false", "No", "off", "0", False)),
        (list[int], "1,2,0x3", [1, 2, 3]),
        (list[int], [1, "2"], [1, 2]),
        (list[str], "", []),
        (Sequence[str], ("a", "b"), ["a", "b"]),
        (list[bool], "yes,no", [True, False]),
        (Literal["vxlan", "host-gw"], "host-gw", "host-gw"),
        (Literal[4, 6], "6", 6),
        (Optional[int], "7", 7),  # noqa: UP045  # the old spelling is what is tested
        (Optional[int], "none", None),  # noqa: UP045
        (int | None, "", None),
        (int | None, None, None),
        (list[int] | None, "1,2", [1, 2]),
        (int | str, "7", 7),
        (int | str, "seven", "seven"),
    ],
)
def test_text_becomes_the_annotated_type(wanted: Any, given: Any, value: Any) -> None:
    """What comes from a command line, a TOML file or the state has the parameter's own type afterwards."""
    got = convert(wanted, given)
    assert (got, type(got)) == (value, type(value))


@pytest.mark.parametrize(
    ("wanted", "given", "words"),
    [
        (int, "seven", "must be a whole number, not 'seven'"),
        (int, 1.5, "must be a whole number, not 1.5"),
        (int, True, "must be a whole number, not True"),
        (float, "x", "must be a number, not 'x'"),
        (str, 7, "must be a string, not 7"),
        (bool, "maybe", "must be true or false, not 'maybe'"),
        (bool, 2, "must be true or false, not 2"),
        (list[int], "1,x", "must be a whole number, not 'x'"),
        (list[int], 7, "must be a list, not 7"),
        (Literal["vxlan", "host-gw"], "ipip", "must be one of vxlan, host-gw, not 'ipip'"),
        (int | None, "x", "must be a whole number, not 'x'"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused(wanted: Any, given: Any, words: str) -> None:
    """A value that does not fit its annotation is refused in words that say what would."""
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
        convert(wanted, given)


def test_parameters_are_named_in_errors() -> None:
    """A wrong value and an unknown parameter are errors of usage that name the parameter and those that there are."""
    with pytest.raises(UsageError, match="parameter mtu: must be a whole number") as caught:
        resolve(pair.params, {"mtu": "big"}, pair.where)
    assert caught.value.problems[0].where == pair.where
    with pytest.raises(UsageError, match="no parameter 'mtuu'") as caught:
        resolve(pair.params, {"mtuu": "1400"}, pair.where)
    assert "mtu" in caught.value.problems[0].fix


def test_only_plain_parameters_can_be_set_from_outside() -> None:
    """A parameter that takes a resource is for callers in Python; one without annotation has its default's type."""

    def lab(vni: int, bridge: Bridge | None = None, size: Literal[1, 2] = 1, name="x", extra=None): ...  # type: ignore

    found = params_of(lab)
    assert {name: param.type for name, param in found.items()} == {"vni": int, "size": Literal[1, 2], "name": str}
    assert [name for name, param in found.items() if param.required] == ["vni"]


def test_a_name_for_type_checkers_hides_no_parameter() -> None:
    """An annotation that only type checkers can resolve leaves the other parameters as they are."""

    def lab(vni: int = 1, bridge: OnlyForTypeCheckers | None = None) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    assert list(params_of(lab)) == ["vni"]


def test_star_arguments_are_no_parameters() -> None:
    """A function that takes any further arguments can be run as a stack without them."""

    def lab(vni: int = 1, *names: str, **sizes: int) -> None: ...

    assert list(params_of(lab)) == ["vni"]


def test_what_is_returned_becomes_plain_values() -> None:
    """Outputs are recorded as texts, numbers, lists and mappings: resources by their logical names, sets in order."""

    @stack
    def lab() -> dict[str, Any]:
        bridge = Bridge("br0")
        nested = {"bridge": bridge, 7: (1, 2.5, None, True), "set": {"b", "a"}}
        return {"nested": nested, "address": IPv4Address("10.0.0.1"), "part": Component("box"), "same": [nested["set"]]}

    done = declare(lab, "lab", {})
    nested = {"bridge": "::::bridge::br0", "7": [1, 2.5, None, True], "set": ["a", "b"]}
    assert done.plain == {"nested": nested, "address": "10.0.0.1", "part": "box", "same": [["a", "b"]]}
    for value, recorded in ((None, {}), ("x", {"result": "x"}), (Bridge("br0"), {"result": "::::bridge::br0"})):
        assert declare(stack(lambda value=value: value), "lab", {}).plain == recorded


LOOP: dict[str, Any] = {}
LOOP["again"] = [LOOP]
UNRECORDABLE = {
    "'a' cannot be recorded: <object object at ": {"a": object()},
    "'a.b[1]' cannot be recorded: nan": {"a": {"b": [1, float("nan")]}},
    "'result' cannot be recorded: <function ": test_what_is_returned_becomes_plain_values,
    "'again[0]' contains itself": LOOP,
}


@pytest.mark.parametrize("words", UNRECORDABLE)
def test_what_cannot_be_recorded_is_a_problem(words: str) -> None:
    """An output that would be another one in each run, or no JSON, is a mistake beside those of resources."""

    @stack
    def lab() -> Any:
        Bridge("br0", mtu=10)
        return UNRECORDABLE[words]

    first, second = problems(lab)
    assert "mtu" in first.what
    assert second.what.startswith(f"stack lab: output {words}")
    assert second.where == lab.where


def test_a_function_that_would_not_run_is_no_stack() -> None:
    """A generator or a coroutine, which does nothing when it is called, is a mistake, nested or not: else it would be
    an empty stack, and its plan a removal of everything."""

    @stack
    def yields() -> Any:
        yield Bridge("br0")

    @stack
    async def later() -> None:
        Bridge("br0")

    @stack
    def outer() -> None:
        yields("inner")

    for lab, words, where in (
        (yields, "yields is a generator", yields),
        (later, "later is async", later),
        (outer, "yields is", yields),
    ):
        (problem,) = problems(lab)
        assert problem.what.startswith(f"stack {words}")
        assert problem.where == where.where


def test_a_stack_may_be_decorated_before() -> None:
    """A stack whose function is wrapped by another decorator is in the file and at the line of the function."""

    names: dict[str, Any] = {"wraps": wraps}
    exec(
        compile(
            "def plain(f):\n    @wraps(f)\n    def call(**given): return f(**given)\n    return call", "/x", "exec"
        ),
        names,
    )

    @stack
    @names["plain"]
    def lab(mtu: int = 1400) -> str:
        return Bridge("br0", mtu=mtu).mac

    assert lab.file == pair.file
    assert lab.where.startswith(f"{pair.file}:")
    assert declare(lab, "lab", {"mtu": 1300}).params == {"mtu": 1300}


# Names, nesting and components


def test_a_nested_stack_puts_its_name_in_front() -> None:
    """A stack that is composed twice has its netns, and what is in them, once under each name."""

    @stack
    def sites() -> list[Any]:
        return [pair("west"), pair("east", mtu=1400)]

    done = declare(sites, "lab", {})
    found = by_title(done.items)
    assert list(found) == [
        *("Netns 'west-left'", "Netns 'west-right'"),
        *("VethEnd 'eth0' in netns west-right", "Veth 'eth0' in netns west-left"),
        *("Netns 'east-left'", "Netns 'east-right'"),
        *("VethEnd 'eth0' in netns east-right", "Veth 'eth0' in netns east-left"),
    ]
    assert found["Veth 'eth0' in netns east-left"].urn == "east::east-left::veth::eth0"
    assert found["Veth 'eth0' in netns east-left"].props["peer"] == "east-right/eth0"
    west, east = done.outputs
    assert isinstance(west["wire"], Veth), "a nested call returns its objects as they are"
    assert (west["wire"].mtu, east["wire"].mtu) == (1500, 1400)
    assert west["mac"] != east["mac"]


def test_stacks_nest_in_stacks() -> None:
    """A stack inside a stack inside a stack has both names in front."""

    @stack
    def site() -> None:
        pair("inner")

    @stack
    def lab() -> None:
        site("outer")

    found = [item for item in items(lab) if item.key[0] == "netns"]
    assert [(item.name, item.component) for item in found] == [
        ("outer-inner-left", "outer/inner"),
        ("outer-inner-right", "outer/inner"),
    ]


def test_a_component_groups_what_it_declares() -> None:
    """Resources inside `with self:` belong to the component, those after it do not, and depends_on takes all of it."""

    class Switch(Component):
        def __init__(self, name: str) -> None:
            super().__init__(name)
            with self:
                self.netns = Netns("box")
                self.bridge = Bridge("br0", netns=self.netns)

    @stack
    def lab() -> None:
        switch = Switch("sw")
        Bridge("outside", opts=Opts(depends_on=[switch]))

    found = by_title(items(lab))
    assert {title: item.component for title, item in found.items()} == {
        "Netns 'sw-box'": "sw",
        "Bridge 'br0' in netns sw-box": "sw",
        "Bridge 'outside'": "",
    }
    assert found["Bridge 'outside'"].after == ("sw::::netns::sw-box", "sw::sw-box::bridge::br0")
    assert list(found)[-1] == "Bridge 'outside'"


def test_with_sets_the_netns_of_a_block() -> None:
    """A resource is in the netns it is given, else in that of the innermost `with`, else of its link, else here."""

    @stack
    def lab() -> None:
        outer, inner = Netns("outer"), Netns("inner")
        with outer:
            Bridge("a")
            with inner:
                bridge = Bridge("b")
                Bridge("c", netns=outer)
            Bridge("d")
        Bridge("e")
        Address("10.0.0.1/24", dev=bridge)

    found = {item.name: item.netns for item in items(lab)}
    assert found == {
        **{"outer": "", "inner": ""},
        **{"a": "outer", "b": "inner", "c": "outer", "d": "outer", "e": ""},
        "10.0.0.1/24 dev b": "inner",
    }


def test_everything_comes_after_what_it_stands_on() -> None:
    """Items are in dependency order: netns, lower device, link, address, and then the route that needs the address."""

    @stack
    def lab() -> None:
        with Netns("n", forwarding=True) as netns:
            end = VethEnd("w", netns=netns)
            Route("default", dst="default", via="10.0.0.9")
            lower = Veth("v", peer=end, addresses=["10.0.0.1/24"])
            Vxlan("vtep", vni=1, dev=lower, master=Bridge("br0"))

    found = items(lab)
    place = {item.key: index for index, item in enumerate(found)}
    for item in found:
        for need in item.needs:
            assert need.gone.value == "twin" or place[need.key] < place[item.key], f"{item.title} before {need.key}"
    route = by_title(found)["Route 'default' in netns n"]
    assert {need.key for need in route.needs} == {
        ("netns", "", "n"),
        ("link", "n", "v"),
        ("address", "n", "v", "10.0.0.1/24"),
    }


# MACs


def test_derived_macs_are_stable_local_and_unicast() -> None:
    """The MAC of a link is the same in every run, locally administered and unicast."""
    first, second = (declare(pair, "lab", {}).outputs["mac"] for _ in range(2))
    assert first == second == derived_mac("lab", "left", "eth0")
    for number in range(500):
        head = int(derived_mac("lab", f"n{number}", "eth0")[:2], 16)
        assert head & 0b11 == 0b10


def test_derived_macs_differ() -> None:
    """Links that differ in stack, netns, name or host have different MACs, also where the parts join to one text."""
    parts = ["", "a", "b", "ab", "a\0b"]
    made = [(s, n, i, h) for s in parts for n in parts for i in parts for h in parts if "\0" not in s + n + i + h]
    macs = [derived_mac(*one) for one in made]
    assert len(set(macs)) == len(macs)


def test_the_host_counts_only_outside_owned_netns() -> None:
    """One stack on two hosts repeats no MAC on links of the host, and has the same ones in its own netns."""

    @stack
    def lab() -> dict[str, str]:
        foreign = Netns.get("there")
        own = Bridge("br0", netns=Netns("own")).mac
        return {"own": own, "host": Bridge("br0").mac, "foreign": Bridge("br0", netns=foreign).mac}

    one, two = (declare(lab, "lab", {}, host=host, observer=Seen(netns=["there"])).outputs for host in ("h1", "h2"))
    assert one["own"] == two["own"]
    assert one["host"] != two["host"]
    assert one["foreign"] != two["foreign"]


def test_a_mac_can_be_given_and_an_adopted_link_keeps_its_own() -> None:
    """A given MAC is taken in the kernel's spelling; a link that is taken over keeps the one it has, unmanaged but for
    that of a bridge, which is held: its ports would change it."""

    @stack
    def lab() -> list[str]:
        mine = Bridge("br0", mac="02-00-00-00-00-AA")
        adopted = [kind(name, opts=Opts(adopt=True)) for kind, name in ((Bridge, "br1"), (Dummy, "d1"), (Dummy, "d2"))]
        return [link.mac for link in (mine, *adopted)]

    there = {("", "br1"): {"mac": "02:00:00:00:00:bb"}, ("", "d1"): {"mac": "02:00:00:00:00:cc"}}
    done = declare(lab, "lab", {}, observer=Seen(there))
    macs = ["02:00:00:00:00:aa", "02:00:00:00:00:bb", "02:00:00:00:00:cc", derived_mac("lab", "", "d2")]
    assert done.outputs == macs
    assert [item.props.get("mac") for item in done.items] == [*macs[:2], None, macs[3]]


# What exists already


def test_get_reads_what_exists_and_never_manages_it() -> None:
    """Link.get and Netns.get give what the observer sees, to refer to; neither becomes an item."""

    @stack
    def lab() -> list[Any]:
        there = Netns.get("there")
        eth0, dummy = Link.get("eth0"), Link.get("up1", netns=there)
        Vxlan("vtep", vni=1, dev=eth0)
        with there:
            Bridge("br0")
            assert Link.get("up1").mac == dummy.mac
        return [eth0.mac, eth0.mtu, dummy.mac]

    links: dict[tuple[str, str], dict[str, Any]] = {
        ("", "eth0"): {"mac": "02:00:00:00:00:01", "mtu": 9000},
        ("there", "up1"): {"mac": "02:00:00:00:00:02"},
    }
    done = declare(lab, "lab", {}, observer=Seen(links, ["there"]))
    assert done.outputs == ["02:00:00:00:00:01", 9000, "02:00:00:00:00:02"]
    found = by_title(done.items)
    assert list(found) == ["Vxlan 'vtep'", "Bridge 'br0' in netns there"]
    assert [need.key for need in found["Vxlan 'vtep'"].needs] == [("link", "", "eth0")]


def test_a_netns_that_exists_gets_no_name_in_front() -> None:
    """Inside a nested stack Netns.get means the name as it is."""

    @stack
    def inner() -> None:
        Bridge("br0", netns=Netns.get("there"))

    @stack
    def lab() -> None:
        inner("left")

    assert [item.netns for item in items(lab, observer=Seen(netns=["there"]))] == ["there"]


# Options


def test_opts_reach_the_items() -> None:
    """Options are kept with the item, also with the addresses that a link declares, and depends_on becomes an order."""

    @stack
    def lab() -> None:
        first = Bridge(
            "z", opts=Opts(protect=True, retain_on_delete=True, ignore_changes=["mtu"]), addresses=["10.0.0.1/8"]
        )
        Bridge("a", opts=Opts(depends_on=[first], aliases=["old"], adopt=True))

    found = by_title(items(lab))
    opts = found["Bridge 'z'"].opts
    assert (opts.protect, opts.retain_on_delete, opts.ignore_changes, opts.adopt) == (True, True, ["mtu"], False)
    assert found["Address '10.0.0.1/8 dev z'"].opts == opts.inherited()
    assert (found["Bridge 'a'"].after, found["Bridge 'a'"].opts.aliases) == (("::::bridge::z",), ["old"])
    assert found["Bridge 'a'"].opts.adopt


# Mistakes

MISTAKES = {
    "unknown property": ('Bridge("br0", mtuu=1400)  # here', r"Bridge 'br0' has no property 'mtuu'"),
    "wrong type": ('Bridge("br0", mtu="big")  # here', r"Bridge 'br0': mtu must be a whole number, not 'big'"),
    "prefix length": ('Bridge("br0", addresses=["10.0.0.1/33"])  # here', r"'br0': .*prefix length .*10\.0\.0\.1/33"),
    "no prefix length": ('Bridge("br0", addresses=["10.0.0.1"])  # here', r"'br0': .*CIDR.*, not '10\.0\.0\.1'"),
    "an Address too long": (
        'b = Bridge("br0")\nAddress("10.0.0.1/33", dev=b)  # here',
        r"Address.*0\.\.32.*10\.0\.0\.1/33",
    ),
    "long name": ('Bridge("a-name-of-16-by")\nBridge("a-name-of-16-byt")  # here', r"at most 15 bytes.* has 16"),
    "one name twice": (
        'b = Bridge("br0")\nRoute("r", dst="10.1.0.0/16", dev=b)\nRoute("r", dst="10.2.0.0/16", dev=b)  # here',
        r"two resources are named Route 'r'",
    ),
    "one object twice": (
        'Bridge("x0")\nVxlan("x0", vni=1)  # here',
        r"Vxlan 'x0' and Bridge 'x0' are one kernel object",
    ),
    "vni": (
        'Vxlan("v", vni=2**24 - 1)\nVxlan("w", vni=2**24)  # here',
        r"Vxlan 'w': vni must be .* 16777215, not 16777216",
    ),
    "mtu": ('Bridge("br0", mtu=68)\nBridge("br1", mtu=10)  # here', r"Bridge 'br1': mtu must be between 68 .* not 10"),
    "gateway": (
        'b = Bridge("br0", addresses=["10.0.0.1/24"])\nRoute("r", dst="default", via="10.1.0.1", dev=b)  # here',
        r"Route 'r': gateway 10\.1\.0\.1 is in no connected network of br0",
    ),
    "gateway without dev": (
        'Route("r", dst="default", via="10.1.0.1")  # here',
        r"'r': gateway 10\.1\.0\.1 is in no connect",
    ),
    "families of a vxlan": (
        'Vxlan("v", vni=1, local="10.0.0.1", remote="fd00::1")  # here',
        r"'v': .* different .*famil",
    ),
    "families of a route": (
        'b = Bridge("br0")\nRoute("r", dst="10.0.0.0/8", via="fd00::1", dev=b, onlink=True)  # here',
        r"Route 'r': via fd00::1 is not of the address family of 10\.0\.0\.0/8",
    ),
    "VethEnd alone": ('VethEnd("w")  # here', r"VethEnd 'w' is no Veth's peer"),
    "VethEnd twice": (
        'e = VethEnd("e")\nVeth("a", peer=e)\nVeth("b", peer=e)  # here',
        r"'b': its peer 'e' is .* another",
    ),
    "no peer": ('Veth("v")  # here', r"Veth 'v': peer= is required"),
    "master elsewhere": (
        'b = Bridge("br0")\nVxlan("v", vni=1, netns=Netns("n"), master=b)  # here',
        r"Vxlan 'v': master 'br0' is in the namespace that netdsl runs in, not in netns n",
    ),
    "master of a VethEnd elsewhere": (
        'b = Bridge("br0")\ne = VethEnd("w", netns=Netns("n"), master=b)  # here\nVeth("v", peer=e)',
        r"VethEnd 'w': master 'br0' is in the namespace that netdsl runs in, not in netns n",
    ),
    "no bridge": ('Vxlan("v", vni=1, master=Vxlan("w", vni=2))  # here', r"Vxlan 'v': master must be a Bridge"),
    "a name for a link": ('Address("10.0.0.1/24", dev="eth0")  # here', r"dev must be a link, not 'eth0'"),
    "a name for a netns": ('Bridge("br0", netns="n")  # here', r"Bridge 'br0': netns must be a Netns, not 'n'"),
    "no such link": ('Link.get("eth7")  # here', r"there is no link 'eth7'"),
    "no such netns": ('Netns.get("there")  # here', r"there is no netns 'there'"),
    "a component twice": ('Component("c")\nComponent("c")  # here', r"two components are named 'c'"),
    "no name": ("Bridge()  # here", r"Bridge needs a name"),
    "opts": ('Bridge("br0", opts={"protect": True})  # here', r"Bridge 'br0': opts must be Opts"),
    "a property set later": ('b = Bridge("br0")\nb.mtu = 1400  # here', r"Bridge 'br0': mtu cannot be set any more"),
    "a netns name too long": ('Netns("é" * 128)  # here', r"at most 255 bytes; 'é+' has 256"),
    "forwarding": ('Netns("n", forwarding="on")  # here', r"Netns 'n': forwarding must be True or False, not 'on'"),
    "a sysctl of the machine": (
        'Sysctl("kernel.panic", value=1)  # here',
        r"'kernel\.panic' is no sysctl of a network",
    ),
    "a flood entry without remote": (
        'FdbEntry("00:00:00:00:00:00", dev=Vxlan("v", vni=1))  # here',
        r"FdbEntry '00:00:00:00:00:00': .* needs dst",
    ),
    "too many ports": (
        'b = Bridge("br0")  # here\nfor i in range(512):\n    Veth(f"v{i}", master=b, peer=VethEnd(f"w{i}", master=b))',
        r"Bridge 'br0' would have 1024 ports; the kernel takes 1023",
    ),
    "in a component": (
        "class Box(Component):\n"
        "    def __init__(self, name):\n"
        "        super().__init__(name)\n"
        "        with self:\n"
        '            Bridge("br0", mtu=10)  # here\n'
        'Box("box")',
        r"Bridge 'br0': mtu must be",
    ),
    "a peer without address": (
        'v, w = Vxlan("v", vni=1), Vxlan("w", vni=2, local="10.0.0.1")\n'
        'VxlanPeer("p", vtep=v, peer=w, subnets=[])  # here',
        r"VxlanPeer 'p': peer 'w' has no address",
    ),
}
"""A stack's body with the mistake marked, and the words that name it."""


@pytest.mark.parametrize("body, words", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_problem_at_its_line(tmp_path: Path, body: str, words: str) -> None:
    """A mistake is told once, in words that name the resource, and at the author's line."""
    lab, path = written(tmp_path, body)
    (problem,) = problems(lab)
    assert re.search(words, problem.what)
    assert [problem.where] == marked(path)


FOLLOW_UPS = {
    "a Veth": 'Veth("v", mtu=10, peer=VethEnd("w"))  # here',
    "the peer of a VxlanPeer": (
        'v = Vxlan("v", vni=1)\n'
        'w = Vxlan("w", vni=2**24, local="10.0.0.1", addresses=["10.1.0.0/32"])  # here\n'
        'VxlanPeer("p", vtep=v, peer=w, subnets=["10.1.0.0/24"])'
    ),
    "a bridge": 'b = Bridge("br0", mtu=10)  # here\nVeth("v", master=b, peer=VethEnd("w", master=b))',
    "a netns": 'n = Netns("a/b")  # here\nwith n:\n    Bridge("br0", addresses=["10.0.0.1/24"])',
    "an address": 'b = Bridge("br0", addresses=["10.0.0.1"])  # here\nRoute("r", dst="default", via="10.0.0.9", dev=b)',
}


@pytest.mark.parametrize("body", FOLLOW_UPS.values(), ids=FOLLOW_UPS)
def test_a_mistake_brings_no_others(tmp_path: Path, body: str) -> None:
    """What refers to a resource with a mistake has none on that account."""
    lab, path = written(tmp_path, body)
    assert [problem.where for problem in problems(lab)] == marked(path)


def test_all_mistakes_come_together(tmp_path: Path) -> None:
    """Every mistake of a stack is found in one run, also two in one line."""
    lab, path = written(
        tmp_path,
        """
        n = Netns("n/m")  # here
        with n:
            b = Bridge("br0", mtuu=1, stp="on")  # here # here
        Vxlan("v", vni=2**24)  # here
        Bridge("a-name-of-16-byt", netns=n)  # here
        Route("r", dst="10.0.0.1/8", dev=Bridge("fine"))  # here
        VethEnd("w")  # here
        Bridge("br1", addresses=["10.0.0.1/33", "10.0.0.1", "10.0.0.2/24"])  # here # here
        """,
    )
    assert sorted(problem.where for problem in problems(lab)) == sorted(marked(path))


APART = {
    "a name twice": 'Bridge("br0", mtu=10)  # here\nBridge("br1")\nBridge("br1")  # here',
    "an address on a link with a mistake": 'Bridge("br0", mtu=10, addresses=["10.0.0.1"])  # here # here',
}


@pytest.mark.parametrize("body", APART.values(), ids=APART)
def test_mistakes_of_different_sorts_come_together(tmp_path: Path, body: str) -> None:
    """A duplicate name and a wrong address are told in the same run as a mistake in a property."""
    lab, path = written(tmp_path, body)
    assert [problem.where for problem in problems(lab)] == marked(path)


def test_a_program_that_fails_after_a_mistake_still_tells_it(tmp_path: Path) -> None:
    """A mistake whose consequences make the program itself fail is told all the same."""
    lab, path = written(tmp_path, 'vtep = Vxlan("v", vni=2**24)  # here\nvtep.mac.replace(":", "")')
    assert marked(path)[0] in [problem.where for problem in problems(lab)]


BAD_OPTS = {
    "depends_on=b": "one resource instead of a list",
    'depends_on=["br0"]': "a name instead of a resource",
    'ignore_changes=["mtuu"]': "a property that there is not",
    'ignore_changes="mtu"': "a string instead of a list",
    'protect="no"': "a text, which Python takes for true",
    "retain_on_delete=1": "a number",
    "adopt=None": "nothing",
}


@pytest.mark.parametrize("opts", BAD_OPTS)
def test_mistakes_in_opts_are_problems(tmp_path: Path, opts: str) -> None:
    """Options that cannot mean anything are a mistake at the resource that has them."""
    lab, path = written(tmp_path, f'b = Bridge("br0")\nBridge("br1", opts=Opts({opts}))  # here')
    (problem,) = problems(lab)
    assert [problem.where] == marked(path)


def test_the_base_of_links_declares_nothing(tmp_path: Path) -> None:
    """Link("eth0") is a mistake that points to Link.get."""
    lab, path = written(tmp_path, 'Link("eth0")  # here')
    (problem,) = problems(lab)
    assert [problem.where] == marked(path)
    assert "Link.get" in problem.fix


def test_the_other_place_of_a_duplicate_is_named(tmp_path: Path) -> None:
    """Two declarations of one object are told at the second, with the line of the first."""
    lab, path = written(tmp_path, 'Bridge("br0")  # here\nBridge("br0")')
    (problem,) = problems(lab)
    assert marked(path)[0] in problem.fix


def test_a_cycle_is_printed_as_a_cycle(tmp_path: Path) -> None:
    """A cycle is one problem, which leads round from a resource back to it and names the lines of just its members."""
    lab, path = written(
        tmp_path,
        """
        later = []
        Bridge("before")
        a = Bridge("a", opts=Opts(depends_on=later))  # here
        b = Vxlan("b", vni=1, dev=a)  # here
        c = Bridge("c", opts=Opts(depends_on=[b]))  # here
        later.append(c)
        Bridge("after", opts=Opts(depends_on=[c]))
        """,
    )
    (problem,) = problems(lab)
    chain = re.findall(r"\w+ '(\w+)'", problem.what)
    assert chain in (["a", "c", "b", "a"], ["c", "b", "a", "c"], ["b", "a", "c", "b"]), "each needs the next"
    assert problem.where in marked(path)
    assert sorted(re.findall(r"\S+?:\d+", problem.fix)) == marked(path)


def test_the_last_good_ports_of_a_bridge() -> None:
    """A bridge with as many ports as the kernel takes is fine."""

    @stack
    def lab() -> None:
        bridge = Bridge("br0")
        for number in range(1023):
            Vxlan(f"v{number}", vni=number, master=bridge)

    assert len(items(lab)) == 1024


def test_outside_a_stack_a_mistake_raises_at_once() -> None:
    """A constructor called outside a stack raises its mistake itself, at the caller's line."""
    with pytest.raises(StackError, match="mtu must be between") as caught:
        Bridge("br0", mtu=10)
    assert caught.value.problems[0].where.startswith(f"{__file__}:")
    with pytest.raises(StackError, match="CIDR"):
        Address("10.0.0.1", dev=Bridge("br0"))
    with pytest.raises(StackError, match="outside a stack"):
        pair("left")
    assert Sysctl("net.ipv4.ip_forward", value=True).value == "1", "without a mistake there is nothing to raise"
