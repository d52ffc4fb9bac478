"""Mistakes with address translation and taps: one clear error at the line that makes them, and nothing touched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from test_bad_input import Quiet, marked, stack_file, the_error

from sandbox import Sandbox

pytestmark = pytest.mark.kernel  # the quiet sandbox is not found by name


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Quiet]:
    """One sandbox for all tests after which it must be as it was before."""
    with Sandbox(tmp_path_factory.mktemp("quiet") / "state") as sandbox:
        yield Quiet(sandbox, sandbox.dump())


MISTAKES = {
    "masquerade for all": ('Masquerade("out")  # here', ["Masquerade 'out': dev or src is required"]),
    "two families": (
        'Masquerade("out", src="10.0.0.0/8", except_dst="2001:db8::/32")  # here',
        ["Masquerade 'out': 2001:db8::/32 is not of the address family of 10.0.0.0/8"],
    ),
    "everything": (
        'Masquerade("out", src="0.0.0.0/0")  # here',
        ["Masquerade 'out': src matches every address; leave it out instead of 0.0.0.0/0"],
    ),
    "name of a table": ('Masquerade("my table", src="10.0.0.0/8")  # here', ["a table's name starts with a letter"]),
    "snat to a network": ('Snat("out", src="10.0.0.0/8", to="192.0.2.0/24")  # here', ["Snat 'out': to "]),
    "snat without address": ('Snat("out", src="10.0.0.0/8")  # here', ["Snat 'out': to= is required"]),
    "snat to the other family": (
        'Snat("out", src="10.0.0.0/8", to="2001:db8::1")  # here',
        ["Snat 'out': 10.0.0.0/8 is not of the address family of 2001:db8::1"],
    ),
    "dnat for all": ('Dnat("web", to="10.0.0.2")  # here', ["Dnat 'web': dev, src, dst, proto or port is required"]),
    "port without protocol": (
        'Dnat("web", port=80, to="10.0.0.2")  # here',
        ["Dnat 'web': port needs a proto that has ports: tcp, udp"],
    ),
    "port of ping": (
        'Dnat("web", proto="icmp", to_port=80, to="10.0.0.2")  # here',
        ["Dnat 'web': to_port needs a proto that has ports: tcp, udp"],
    ),
    "port 65536": (
        'Dnat("web", proto="tcp", port=65536, to="10.0.0.2")  # here',
        ["Dnat 'web': port must be between 1 and 65535, not 65536"],
    ),
    "two rules in one table": (
        'Snat("t", src="10.0.0.0/8", to="192.0.2.1")\nMasquerade("t", src="10.0.0.0/8")  # here',
        ["Masquerade 't'", "Snat 't'"],
    ),
    "mode of a tap": ('Tap("tap0", mode="tub")  # here', ["Tap 'tap0': mode must be 'tap' or 'tun', not 'tub'"]),
    "MAC of a tun": (
        'Tap("tun0", mode="tun", mac="02:00:00:00:00:01")  # here',
        ["Tap 'tun0': a tun carries bare IP packets: it has no mac"],
    ),
    "owner by name": ('Tap("tap0", owner="root")  # here', ["Tap 'tap0': owner must be a whole number, not 'root'"]),
}


@pytest.mark.parametrize(("body", "words"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_at_its_line(quiet: Quiet, tmp_path: Path, body: str, words: Sequence[str]) -> None:
    """plan and up end with exit code 1 and one error at the user's line that says why, and touch nothing."""
    path = stack_file(tmp_path, body)
    for command in (["plan", path.name], ["up", path.name, "--yes"]):
        said = the_error(quiet.sandbox.netdsl(*command, check=False, cwd=tmp_path))
        assert said.removeprefix("error: ").partition(": ")[0] in marked(path)
        assert [word for word in words if word not in said] == []
    assert quiet.untouched()
