"""The ring lab as pyroute2 makes it, a call an object: `python pyroute2_ring.py N` in a sandbox (pyroute2 0.9).

In the same good order as the other sides: links first, the shared bridges up last.
"""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute, netns
from ring_batch import (
    BR0,
    BRIDGE,
    CETH0,
    ETH0,
    PORT,
    PORTS_PER_BRIDGE,
    TRUNK,
    TRUNKP,
    VETH0,
    VTEP0,
    mac,
    overlay_ip,
    ring_neighbours,
    underlay_ip,
)

SYSCTLS = ("ipv4/ip_forward", "ipv6/conf/all/forwarding")
PERMANENT = 0x80
SELF = 0x02


def index(ip: Any, name: str) -> int:
    """The ifindex of a link."""
    found: int = ip.link_lookup(ifname=name)[0]
    return found


def up(ip: Any, name: str, **more: Any) -> None:
    """Bring a link up."""
    ip.link("set", index=index(ip, name), state="up", **more)


def veth(ip: Any, name: str, address: str, peer: str, peer_address: str, other: str, **more: Any) -> None:
    """A veth pair, each end made where it belongs."""
    far = {"ifname": peer, "address": peer_address, "net_ns_fd": other, "num_tx_queues": 1, "num_rx_queues": 1}
    queues = {"num_tx_queues": 1, "num_rx_queues": 1}
    ip.link("add", ifname=name, address=address, kind="veth", peer=far, **queues, **more)


def underlay(ip: Any, nodes: int) -> None:
    """The shared bridges, down, and what joins them."""
    count = -(-nodes // PORTS_PER_BRIDGE)
    for b in range(count):
        ip.link("add", ifname=f"br{b}", address=mac(BRIDGE, b), kind="bridge")
    for b in range(1, count):
        veth(ip, f"trunk{b}", mac(TRUNK, b), f"trunk{b}p", mac(TRUNKP, b), "underlay", master=index(ip, "br0"))
        up(ip, f"trunk{b}")
        up(ip, f"trunk{b}p", master=index(ip, f"br{b}"))


def node(ip: Any, i: int, nodes: int) -> None:
    """Node i with the links that its container and the underlay have their ends of."""
    for path in SYSCTLS:
        Path("/proc/sys/net", path).write_text("1")
    ip.link("add", ifname="br0", address=mac(BR0, i), kind="bridge")
    br0 = index(ip, "br0")
    ip.addr("add", index=br0, address=overlay_ip(i, 1), prefixlen=24)
    veth(ip, "veth0", mac(VETH0, i), "eth0", mac(CETH0, i), f"c{i}", master=br0)
    veth(ip, "eth0", mac(ETH0, i), f"port{i}", mac(PORT, i), "underlay")
    eth0 = index(ip, "eth0")
    ip.addr("add", index=eth0, address=underlay_ip(i), prefixlen=16)
    ip.link(
        "add", ifname="vtep0", address=mac(VTEP0, i), mtu=1450, kind="vxlan", vxlan_id=1, vxlan_local=underlay_ip(i),
        vxlan_link=eth0, vxlan_port=8472, vxlan_learning=0,
    )  # fmt: skip
    vtep = index(ip, "vtep0")
    for name in ("br0", "veth0", "eth0", "vtep0"):
        up(ip, name)
    ip.addr("add", index=vtep, address=overlay_ip(i, 0), prefixlen=32)
    for j in ring_neighbours(i, nodes):
        peer = overlay_ip(j, 0)
        ip.neigh("add", dst=peer, lladdr=mac(VTEP0, j), ifindex=vtep, state=PERMANENT)
        ip.fdb("add", ifindex=vtep, lladdr=mac(VTEP0, j), dst=underlay_ip(j), state=PERMANENT, flags=SELF)
        ip.route("add", dst=f"{peer}/24", gateway=peer, oif=vtep, flags=["onlink"], proto=78)


def container(ip: Any, i: int) -> None:
    """Container i, whose link is there already."""
    up(ip, "eth0")
    eth0 = index(ip, "eth0")
    ip.addr("add", index=eth0, address=overlay_ip(i, 2), prefixlen=24)
    ip.route("add", dst="default", gateway=overlay_ip(i, 1), oif=eth0, proto=78)


def main() -> None:
    """Build the lab."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("nodes", type=int)
    nodes = parser.parse_args().nodes
    for name in ["underlay", *(f"{kind}{i}" for i in range(nodes) for kind in "nc")]:
        netns.create(name)
    with ExitStack() as left:
        shared = left.enter_context(IPRoute(netns="underlay", flags=0))
        underlay(shared, nodes)
        for i in range(nodes):
            netns.pushns(f"n{i}")
            with IPRoute() as ip:
                node(ip, i, nodes)
            netns.popns()
            with IPRoute(netns=f"c{i}", flags=0) as ip:
                container(ip, i)
        for i in range(nodes):
            up(shared, f"port{i}", master=index(shared, f"br{i // PORTS_PER_BRIDGE}"))
        for b in range(-(-nodes // PORTS_PER_BRIDGE)):
            up(shared, f"br{b}")


if __name__ == "__main__":
    main()
