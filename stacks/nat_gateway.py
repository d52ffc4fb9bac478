"""A gateway with address translation: an office behind one address, and a server in it that the world can reach.

    client - - - gateway - - - world
    10.0.0.0/24         203.0.113.0/24

netdsl up stacks/nat_gateway.py --verify
netdsl exec client -- ping 203.0.113.9       # the world sees 203.0.113.1
netdsl exec world -- nc 203.0.113.1 8080     # leads to port 80 of the client
"""

from __future__ import annotations

from netdsl import Dnat, Masquerade, Netns, Reachable, Route, Unreachable, Veth, VethEnd, stack


@stack
def nat_gateway(port: int = 8080) -> dict[str, str]:
    """A gateway that gives an office's packets its own address, and leads one port to a server in the office.

    port   the gateway's TCP port that leads to port 80 of the client
    """
    gateway = Netns("gateway", forwarding=True)
    client, world = Netns("client"), Netns("world")

    inside = VethEnd("lan", netns=gateway, addresses=["10.0.0.1/24"])
    eth0 = Veth("eth0", netns=client, addresses=["10.0.0.2/24"], peer=inside)
    Route("default", dst="default", via="10.0.0.1", dev=eth0)

    outside = VethEnd("wan", netns=gateway, addresses=["203.0.113.1/24"])
    Veth("eth0", netns=world, addresses=["203.0.113.9/24"], peer=outside)  # it knows no way to the office

    Masquerade("office", netns=gateway, dev=outside, src="10.0.0.0/24", except_dst="10.0.0.0/8")
    Dnat("web", netns=gateway, dev=outside, proto="tcp", port=port, to="10.0.0.2", to_port=80)
    Reachable(client, "203.0.113.9")
    Unreachable(world, "10.0.0.2", name="the office is hidden from the world")
    return {"world": "203.0.113.9", "web": f"203.0.113.1:{port}"}
