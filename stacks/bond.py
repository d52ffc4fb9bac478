"""Two hosts joined by two wires that are used as one: when one is cut, the other takes over.

netdsl up stacks/bond.py --verify
netdsl exec left -- ip link set wire0 down
netdsl verify bond
"""

from __future__ import annotations

from typing import TypedDict

from netdsl import Bond, Netns, Reachable, Veth, VethEnd, stack

ADDRESSES = {"left": "10.60.0.1/24", "right": "10.60.0.2/24"}


class Hosts(TypedDict):
    """Both hosts."""

    left: Netns
    right: Netns


@stack
def bond(mode: str = "active-backup", wires: int = 2) -> Hosts:
    """Two hosts with a bond each.

    mode   how packets are dealt out to the wires, as Bond has it
    wires  how many there are
    """
    left, right = (Netns(name) for name in ADDRESSES)
    primary = "wire0" if mode == "active-backup" else None
    near, far = (
        Bond("bond0", netns=host, mode=mode, miimon=50, primary=primary, addresses=[ADDRESSES[host.name]])
        for host in (left, right)
    )
    for i in range(wires):
        end = VethEnd(f"wire{i}", netns=right, master=far)
        Veth(f"wire{i}", netns=left, master=near, peer=end)
    Reachable(left, far)
    return {"left": left, "right": right}
