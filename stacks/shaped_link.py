"""Two containers that share an uplink: each has a share of it for sure, and what one leaves over the other may use.

    gold 10.0.1.2  --\\
                      router == uplink == world 203.0.113.9
    plain 10.0.2.2 --/

netdsl up stacks/shaped_link.py --verify
netdsl exec router -- tc -s class show dev uplink
netdsl up stacks/shaped_link.py -p gold=1mbit   # changes in place, while everybody goes on sending
"""

from __future__ import annotations

from netdsl import Htb, HtbClass, Netns, Reachable, Route, TcFilter, Veth, VethEnd, stack


@stack
def shaped_link(total: str = "8mbit", gold: str = "6mbit", plain: str = "2mbit") -> dict[str, str]:
    """Two containers that share an uplink.

    total  what both together may send
    gold   what the one may send in any case
    plain  what the other may send in any case
    """
    router, world = Netns("router", forwarding=True), Netns("world")
    far = VethEnd("eth0", netns=world, addresses=["203.0.113.9/24"])
    uplink = Veth("uplink", netns=router, addresses=["203.0.113.1/24"], peer=far)
    Route("back", dst="10.0.0.0/8", via="203.0.113.1", dev=far)

    line = HtbClass("line", parent=Htb("share", dev=uplink, default="plain"), rate=total)
    for place, (name, rate) in enumerate((("gold", gold), ("plain", plain)), 1):
        container = Netns(name)
        near = VethEnd(f"to-{name}", netns=router, addresses=[f"10.0.{place}.1/24"])
        eth0 = Veth("eth0", netns=container, addresses=[f"10.0.{place}.2/24"], peer=near)
        Route("default", dst="default", via=f"10.0.{place}.1", dev=eth0)
        share = HtbClass(name, parent=line, rate=rate, ceil=total)
        TcFilter(name, to=share, prio=place, src=f"10.0.{place}.0/24")
        Reachable(container, far)
    return {"world": "203.0.113.9"}
