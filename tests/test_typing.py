"""A type checker sees every property: what it has to say about a stack, line by line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

api = pytest.importorskip("mypy.api")

PROGRAM = """\
from netdsl import Bridge, Neighbor, Netns, Opts, Veth, VethEnd, Vxlan, stack


@stack
def lab(n: int = 1) -> dict[str, str]:
    ns = Netns("a", forwarding=True)
    br = Bridge("br0", netns=ns, addresses=["10.0.0.1/24"], opts=Opts(protect=True))
    v = Vxlan("v", vni=1, dev=br, netns=ns)
    Bridge("br1", colour="red")  # error: Unexpected keyword argument "colour"
    Vxlan("w", vni="seven")  # error: Argument "vni" to "Vxlan" has incompatible type "str"
    Neighbor("10.0.0.2", dev=br)  # error: Missing named argument "lladdr"
    Veth("y", peer="z")  # error: Argument "peer" to "Veth" has incompatible type "str"
    Bridge()  # error: Missing positional argument "name"
    m: int = v.mac  # error: Incompatible types in assignment
    v.mtu = 1400  # error: Property "mtu" defined in "Vxlan" is read-only
    return {"mac": v.mac}


@stack
def outer() -> None:
    x: dict[str, str] = lab("left", n=3)
    lab("right", n="x")  # error: Argument "n" to "__call__" of "Stack" has incompatible type "str"
"""


def test_wrong_and_missing_properties_are_type_errors(tmp_path: Path) -> None:
    """mypy flags each wrong line of a stack with the property's name, and no other line."""
    path = tmp_path / "lab.py"
    path.write_text(PROGRAM)
    report, _, _ = api.run(["--strict", "--no-incremental", "--config-file=", str(path)])
    found = {int(n): text for n, text in re.findall(r"lab\.py:(\d+): error: (.*)", report)}
    wanted = {n: text for n, line in enumerate(PROGRAM.splitlines(), 1) for text in re.findall(r"# error: (.*)", line)}
    assert set(found) == set(wanted), report
    for number, text in wanted.items():
        assert text in found[number]
