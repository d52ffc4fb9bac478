"""Two containers on one wire with macvlan, as container engines do it, and a third machine at the wire's other end.

The containers have no bridge and no veth pair of their own: each has a link with a MAC address of its own on the host's
eth0. They reach each other and the machine outside; the host itself is the one that they cannot reach that way.

    c1 --- macvlan ---+
                      | host's eth0 --- outside's eth0
    c2 --- macvlan ---+

    netdsl up stacks/macvlan.py --verify
    netdsl exec c1 -- ping 192.0.2.12
"""

from __future__ import annotations

from typing import TypedDict

from netdsl import Macvlan, Netns, Reachable, Unreachable, Veth, VethEnd, stack


class Segment(TypedDict):
    """The addresses of the containers, and of the machine outside."""

    containers: list[str]
    outside: str


@stack
def macvlan(containers: int = 2, mode: str = "bridge") -> Segment:
    """Containers on one wire with macvlan, and a machine at its other end.

    containers  how many
    mode        bridge: they reach each other; private: only what is outside
    """
    if not 1 <= containers <= 200:
        raise ValueError(f"containers must be between 1 and 200, not {containers}")
    host, outside = Netns("host"), Netns("outside")
    far = VethEnd("eth0", netns=outside, addresses=["192.0.2.1/24"])
    wire = Veth("eth0", netns=host, addresses=["192.0.2.2/24"], peer=far)
    addresses = [f"192.0.2.{11 + i}" for i in range(containers)]
    each_other = Reachable if mode == "bridge" else Unreachable
    for i, address in enumerate(addresses):
        container = Netns(f"c{i + 1}")
        Macvlan("eth0", netns=container, dev=wire, mode=mode, addresses=[f"{address}/24"])
        Reachable(container, far)
        Unreachable(container, wire, name=f"c{i + 1} does not reach the host")
        if i:
            each_other(container, addresses[0])
    return {"containers": addresses, "outside": "192.0.2.1"}
