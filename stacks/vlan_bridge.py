"""Two switches that tell VLANs apart, and containers that share an IP network and do not see each other.

    v10-1 v10-2 v20-1 v20-2 --- br0 switch1 trunk --- trunk switch2 br0 --- v10-3 v20-3

A container's port is an access port: what comes in belongs to its VLAN. The trunk carries both VLANs tagged, so that
each reaches its third container behind the other switch. All addresses are in one network: nothing but the VLANs
keeps the containers apart.

    netdsl up stacks/vlan_bridge.py --verify
    netdsl exec v10-1 -- ping 10.0.0.13
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network

from netdsl import Bridge, Netns, Reachable, Unreachable, Veth, VethEnd, stack


@stack
def vlan_bridge(vlans: Sequence[int] = (10, 20), network: str = "10.0.0.0/24") -> dict[str, str]:
    """Containers in VLANs on two switches: two of each VLAN on the first, one on the second.

    vlans    the VLAN IDs
    network  the IP network of all containers; the n-th of the i-th VLAN has its address number 10 i + n
    """
    first, second = switch("switch1"), switch("switch2")
    far = VethEnd("trunk", netns=second.netns, master=second, vlans=vlans)
    Veth("trunk", netns=first.netns, master=first, vlans=vlans, peer=far)
    addresses, hosts = {}, {}
    for i, vlan in enumerate(vlans, 1):
        for n, bridge in enumerate((first, first, second), 1):
            host, whole = f"v{vlan}-{n}", IPv4Network(network)
            addresses[host] = str(whole[10 * i + n])
            hosts[host] = Netns(host)
            eth0 = VethEnd("eth0", netns=hosts[host], addresses=[f"{addresses[host]}/{whole.prefixlen}"])
            Veth(host, netns=bridge.netns, master=bridge, pvid=vlan, peer=eth0)
    for i, vlan in enumerate(vlans):
        for n in (2, 3):
            Reachable(hosts[f"v{vlan}-1"], addresses[f"v{vlan}-{n}"])
            if i:
                Unreachable(hosts[f"v{vlan}-1"], addresses[f"v{vlans[i - 1]}-{n}"])
    return addresses


def switch(name: str) -> Bridge:
    """A bridge in a netns of its own. Its ports are in no VLAN but those that they are given."""
    return Bridge("br0", netns=Netns(name), vlan_filtering=True, vlan_default_pvid=0)
