"""From every form of multipath routing to every other one: after one `up` it is as if it had been made that way."""

from __future__ import annotations

from collections.abc import Sequence
from errno import EEXIST, EINVAL, ENETDOWN
from pathlib import Path

import pytest

from labs import plan_of, unowned
from netdsl import Nexthop
from netdsl.engine.sender import patient
from netdsl.lang.ops import Failure
from sandbox import Sandbox

PROGRAM = """
from netdsl import *

@stack
def lab(form: str = "via", uplink: str = "pa", second: bool = True):
    n, m = Netns("n"), Netns("m")
    with n:
        a = Veth("a", addresses=["10.0.0.1/24", "fd00::1/64"], peer=VethEnd(uplink, netns=m))
        b = Veth("b", addresses=["10.1.0.1/24", "fd01::1/64"], peer=VethEnd("pb", netns=m)) if second else a
        to = "1" if second else "0"
        one, other = Hop(via="10.0.0.9", dev=a), Hop(via=f"10.{to}.0.8", dev=b, weight=2)
        one6, other6 = Hop(via="fd00::9", dev=a), Hop(via=f"fd0{to}::8", dev=b, weight=2)

        def near():
            return Nexthop("near", id=1, via="10.0.0.9", dev=a)

        def far():
            return Nexthop("far", id=2, via=f"10.{to}.0.8", dev=b)

        def near6():
            return Nexthop("near6", id=11, via="fd00::9", dev=a)

        def far6():
            return Nexthop("far6", id=12, via=f"fd0{to}::8", dev=b)

        def group(*members):
            return NexthopGroup("group", id=3, members=members)

        def group6(*members):
            return NexthopGroup("group6", id=13, members=members)

        four, six = {
            "via": lambda: ({"via": "10.0.0.9"}, {"via": "fd00::9"}),
            "dev": lambda: ({"dev": b}, {"dev": b}),
            "blackhole": lambda: ({"type": "blackhole"}, {"type": "blackhole"}),
            "path": lambda: ({"paths": [other]}, {"paths": [other6]}),
            "paths": lambda: ({"paths": [one, other]}, {"paths": [one6, other6]}),
            "nexthop": lambda: ({"nexthop": near()}, {"nexthop": near6()}),
            "another": lambda: ({"nexthop": Nexthop("near", id=1, via="fd00::9", dev=a)}, {"nexthop": far6()}),
            "dropped": lambda: (
                {"nexthop": Nexthop("near", id=1, netns=n, blackhole=True)},
                {"nexthop": Nexthop("near6", id=11, blackhole=True, inet="inet6")},
            ),
            "group": lambda: ({"nexthop": group(near(), (far(), 3))}, {"nexthop": group6(near6(), far6())}),
            "members changed": lambda: (
                {"nexthop": group(near(), Nexthop("far", id=2, via="fd00::7", dev=a))}, {"nexthop": group6(far6())}
            ),
            "group of one": lambda: ({"nexthop": group(near())}, {"nexthop": group6(near6())}),
            "group of the other": lambda: ({"nexthop": group(far())}, {"nexthop": group6(far6())}),
            "nexthop of the group's number": lambda: (
                {"nexthop": Nexthop("n3", id=3, via="10.0.0.9", dev=a)},
                {"nexthop": NexthopGroup("g1", id=1, members=[far6()])},
            ),
        }[form]()
        Route("four", dst="10.9.0.0/16", **four)
        Route("six", dst="fd09::/32", **six)
"""
FORMS = [
    *("via", "dev", "blackhole", "path", "paths", "nexthop", "another", "dropped"),
    *("group", "members changed", "group of one", "group of the other", "nexthop of the group's number"),
]
STEPS = (1, 3, 5, 7)
"""How far apart the forms of a change are in FORMS; a walk with one of them comes by every form."""


def up(sandbox: Sandbox, path: Path, form: str, *params: str) -> object:
    """Make a form; nothing is left to do. Returns a picture of it."""
    sandbox.netdsl("up", str(path), "--yes", *(word for param in (f"form={form}", *params) for word in ("-p", param)))
    assert plan_of(sandbox, "lab") == [], (form, params)
    sandbox.run(["ip", "-n", "n", "link", "set", "lo", "up"])  # a blackhole brings it up, and leaves it so
    return unowned(sandbox.dump())


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """Each form as it is when it is made from nothing."""
    folder = tmp_path_factory.mktemp("fresh")
    (folder / "lab.py").write_text(PROGRAM)
    found = {}
    for number, form in enumerate(FORMS):
        with Sandbox(folder / f"state{number}") as sandbox:
            found[form] = up(sandbox, folder / "lab.py", form)
    return found


@pytest.mark.parametrize("step", STEPS)
def test_any_form_becomes_any_other(sandbox: Sandbox, tmp_path: Path, fresh: dict[str, object], step: int) -> None:
    """One `up` leads from a form to another one, as if that had been made from nothing."""
    path = tmp_path / "lab.py"
    path.write_text(PROGRAM)
    for place in range(len(FORMS) + 1):
        form = FORMS[place * step % len(FORMS)]
        assert up(sandbox, path, form) == fresh[form], (form, step)


@pytest.mark.parametrize("form", FORMS)
def test_links_come_and_go(sandbox: Sandbox, tmp_path: Path, fresh: dict[str, object], form: str) -> None:
    """What falls with a link that is made anew or taken out is made again in the same `up`."""
    path = tmp_path / "lab.py"
    path.write_text(PROGRAM)
    for uplink, second in (("pa", "true"), ("qa", "true"), ("qa", "false"), ("pa", "false"), ("pa", "true")):
        picture = up(sandbox, path, form, f"uplink={uplink}", f"second={second}")
    assert picture == fresh[form]


def test_what_passes_by_itself_is_tried_again() -> None:
    """A message whose refusal may pass is sent again until it is taken, and what was refused on its account with it, in
    their order; where nothing may pass, nothing is sent twice."""
    sent: list[list[int]] = []

    def submit(messages: Sequence[tuple[int, bytes]]) -> dict[int, Failure]:
        sent.append([number for number, _ in messages])
        down = len(sent) < 3
        return {n: Failure(why) for n, why in ((2, ENETDOWN), (3, EINVAL)) if down} | {4: Failure(EEXIST)}

    messages = [(number, b"") for number in (1, 2, 3, 4)]
    assert patient(submit, messages, {2: Nexthop.passing}) == {4: Failure(EEXIST)}
    assert sent == [[1, 2, 3, 4], [2, 3, 4], [2, 3, 4]]
    sent.clear()
    assert set(patient(submit, messages, {})) == {2, 3, 4}
    assert len(sent) == 1


MOVED = """
from netdsl import *

@stack
def lab(far: str = "a"):
    namespaces = {"a": Netns("a"), "b": Netns("b")}
    wire = Veth("wire", addresses=["10.0.0.1/24"], peer=VethEnd("far", netns=namespaces[far]))
    Nexthop("hop", id=1, via="10.0.0.2", dev=wire)
"""


def test_the_far_end_moves(sandbox: Sandbox, tmp_path: Path) -> None:
    """Where a link is in the namespace that netdsl runs in too, a nexthop on it waits for the carrier that its new far
    end gives, not for that of the old one."""
    path = tmp_path / "lab.py"
    path.write_text(MOVED)
    for far in ("a", "b", "a"):
        sandbox.netdsl("up", str(path), "--yes", "-p", f"far={far}")
        assert plan_of(sandbox, "lab") == [], far
