"""Mistakes in declarations of multipath routes and nexthops: one clear error, and nothing touched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from test_bad_input import Quiet, marked, stack_file, the_error

from sandbox import Sandbox

pytestmark = pytest.mark.kernel  # the quiet sandbox is not found by name

A = 'n = Netns("n")\na = Bridge("a", netns=n, addresses=["10.0.0.1/24", "fd00::1/64"])\n'
"""A link with addresses, in a netns."""
HOP = 'Hop(via="10.0.0.9", dev=a)'


def route(paths: str, dst: str = "10.9.0.0/16") -> str:
    """A program with one route."""
    return f'{A}Route("r", dst="{dst}", {paths})  # here'


MISTAKES = {
    "no paths": (route("netns=n, paths=[]"), ["Route 'r': paths must not be empty", "at least one Hop"]),
    "paths are one": (route(f"netns=n, paths={HOP}"), ["Route 'r': paths must be a list of Hop(via=..., dev=...)"]),
    "a path is a string": (
        route('netns=n, paths=["10.0.0.9"]'),
        ["Route 'r': paths must hold Hop(via=..., dev=...), not '10.0.0.9'"],
    ),
    "a path without a link": (
        route(f'paths=[{HOP}, Hop(via="10.0.0.8")]'),
        ["Route 'r': paths must each have dev=; path 2 has none"],
    ),
    "a path whose link is a name": (
        route(f'netns=n, paths=[{HOP}, Hop(dev="a")]'),
        ["Route 'r': paths must each have a link as dev; path 2 has 'a'"],
    ),
    "a path whose gateway is none": (
        route('paths=[Hop(via="10.0.0.300", dev=a)]'),
        ["Route 'r': paths must each have a gateway as via; that of path 1 must be an IP address"],
    ),
    "weight 0": (
        route(f'paths=[{HOP}, Hop(via="10.0.0.8", dev=a, weight=0)]'),
        ["Route 'r': paths must have weights between 1 and 256; via 10.0.0.8 dev a has 0"],
    ),
    "weight 257": (route("paths=[Hop(dev=a, weight=257)]"), ["must have weights between 1 and 256; dev a has 257"]),
    "weight True": (route("paths=[Hop(dev=a, weight=True)]"), ["must have weights between 1 and 256; dev a has True"]),
    "a path twice": (
        route(f"paths=[{HOP}, {HOP}]"),
        ["Route 'r': paths must differ; via 10.0.0.9 dev a is there twice: give it a weight instead"],
    ),
    "onlink without a gateway": (
        route("paths=[Hop(dev=a, onlink=True)]"),
        ["Route 'r': paths must have via where onlink is set; dev a has none"],
    ),
    "a path of the other family": (
        route(f'paths=[{HOP}, Hop(via="fd00::9", dev=a)]'),
        ["Route 'r': path via fd00::9 is not of the address family of 10.9.0.0/16"],
    ),
    "an IPv6 path without a gateway": (
        route('paths=[Hop(via="fd00::9", dev=a), Hop(dev=a)]', "fd09::/32"),
        ["Route 'r': path dev a has no via, which each path of an IPv6 route needs"],
    ),
    "a path's gateway that nothing connects": (
        route(f'paths=[{HOP}, Hop(via="10.7.0.9", dev=a)]'),
        ["Route 'r' in netns n: path via 10.7.0.9 dev a: gateway 10.7.0.9 is in no connected network of a", "onlink"],
    ),
    "via with paths": (
        route(f'via="10.0.0.9", paths=[{HOP}]'),
        ["Route 'r': paths stands in place of via: give one of them"],
    ),
    "onlink with paths": (
        route(f"onlink=True, paths=[{HOP}]"),
        ["Route 'r': paths stands in place of onlink: give one of them", "onlink belongs to each Hop"],
    ),
    "dev with a nexthop": (
        route('dev=a, nexthop=Nexthop("h", dev=a)'),
        ["Route 'r': nexthop stands in place of dev: give one of them"],
    ),
    "paths with a nexthop": (
        route(f'paths=[{HOP}], nexthop=Nexthop("h", dev=a)'),
        ["Route 'r': nexthop stands in place of paths: give one of them"],
    ),
    "a route that drops packets by paths": (
        route(f'type="blackhole", paths=[{HOP}]'),
        ["Route 'r': a blackhole route has no paths"],
    ),
    "nothing": (route("netns=n"), ["Route 'r': via, dev, paths or nexthop is required"]),
    "a path in another netns": (
        route(f'paths=[{HOP}, Hop(dev=Bridge("b", netns=Netns("m")))]'),
        ["Route 'r': paths 'b' is in netns m, not in netns n"],
    ),
    "a nexthop of another netns": (
        route('netns=Netns("m"), nexthop=Nexthop("h", dev=a)'),
        ["Route 'r': nexthop 'h' is in netns n, not in netns m"],
    ),
    "a nexthop by number": (
        route("netns=n, nexthop=7"),
        ["Route 'r': nexthop must be a Nexthop or a NexthopGroup, not 7"],
    ),
    "a nexthop of the other family": (
        route('nexthop=Nexthop("h", via="10.0.0.9", dev=a)', "fd09::/32"),
        ["Route 'r': Nexthop 'h' is of IPv4, which a route of IPv6 cannot use"],
    ),
    "a group with a nexthop of the other family": (
        route(
            'nexthop=NexthopGroup("g", members=[Nexthop("h", dev=a), Nexthop("i", via="fd00::9", dev=a)])', "fd09::/32"
        ),
        ["Route 'r': NexthopGroup 'g' is of IPv4, which a route of IPv6 cannot use"],
    ),
    "a nexthop without a link": (
        f'{A}Nexthop("h", netns=n, via="10.0.0.9")  # here',
        ["Nexthop 'h': dev or blackhole=True is required"],
    ),
    "a blackhole with a gateway": (
        f'{A}Nexthop("h", via="10.0.0.9", dev=a, blackhole=True)  # here',
        ["Nexthop 'h': a blackhole has no via"],
    ),
    "a nexthop's onlink without a gateway": (
        f'{A}Nexthop("h", dev=a, onlink=True)  # here',
        ["Nexthop 'h': onlink needs via"],
    ),
    "a nexthop of two families": (
        f'{A}Nexthop("h", via="10.0.0.9", dev=a, inet="inet6")  # here',
        ["Nexthop 'h': via 10.0.0.9 is not of the address family inet6"],
    ),
    "a nexthop's gateway that nothing connects": (
        f'{A}Nexthop("h", via="10.7.0.9", dev=a)  # here',
        ["Nexthop 'h' in netns n: gateway 10.7.0.9 is in no connected network of a"],
    ),
    "number 0": (
        f'{A}Nexthop("h", dev=a, id=0)  # here',
        ["Nexthop 'h': id must be between 1 and 4294967295, not 0"],
    ),
    "a number twice": (
        f'{A}h = Nexthop("h", dev=a, id=7)\nNexthopGroup("g", members=[h], id=7)  # here',
        ["NexthopGroup 'g' in netns n and Nexthop 'h' in netns n are one kernel object: nexthop n 7"],
    ),
    "a group without members": (
        f'{A}NexthopGroup("g", netns=n, members=[])  # here',
        ["NexthopGroup 'g': members must not be empty: a group has at least one Nexthop"],
    ),
    "a group of links": (
        f'{A}NexthopGroup("g", netns=n, members=[a])  # here',
        ["NexthopGroup 'g': members must hold Nexthops or (Nexthop, weight) pairs, not <Bridge 'a' in netns n>"],
    ),
    "a group of groups": (
        f'{A}NexthopGroup("g", members=[NexthopGroup("f", members=[Nexthop("h", dev=a)])])  # here',
        ["NexthopGroup 'g': members must hold Nexthops or (Nexthop, weight) pairs, not <NexthopGroup 'f' in netns n>"],
    ),
    "a group's weight": (
        f'{A}NexthopGroup("g", members=[(Nexthop("h", dev=a), 256)])  # here',
        ["NexthopGroup 'g': members must have weights between 1 and 255; 'h' has 256"],
    ),
    "a member twice": (
        f'{A}h = Nexthop("h", dev=a)\nNexthopGroup("g", members=[h, (h, 2)])  # here',
        ["NexthopGroup 'g': members must differ; 'h' is there twice: give it a weight instead"],
    ),
    "a blackhole among others": (
        f'{A}NexthopGroup("g", members=[Nexthop("h", dev=a), Nexthop("b", netns=n, blackhole=True)])  # here',
        ["NexthopGroup 'g': the blackhole 'b' can only be the single member of a group"],
    ),
    "a member in another netns": (
        f'{A}NexthopGroup("g", members=[Nexthop("h", dev=a), Nexthop("i", dev=Bridge("b", netns=Netns("m")))])  # here',
        ["NexthopGroup 'g': members 'i' is in netns m, not in netns n"],
    ),
}


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Quiet]:
    """One sandbox for all tests; it must stay as it was before."""
    with Sandbox(tmp_path_factory.mktemp("quiet") / "state") as sandbox:
        yield Quiet(sandbox, sandbox.dump())


@pytest.mark.parametrize(("body", "words"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_at_its_line(quiet: Quiet, tmp_path: Path, body: str, words: Sequence[str]) -> None:
    """plan and up end with exit code 1 and one error at the user's line that says why, and touch nothing."""
    path = stack_file(tmp_path, body)
    for command in (["plan", path.name], ["up", path.name, "--yes"]):
        said = the_error(quiet.sandbox.netdsl(*command, check=False, cwd=tmp_path))
        assert said.removeprefix("error: ").partition(": ")[0] in marked(path)
        assert [word for word in words if word not in said] == []
    assert quiet.untouched()
