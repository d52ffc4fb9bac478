"""Two sites joined by WireGuard: what goes between them is encrypted, and the provider in the middle knows no site.

    left-pc ---- left-gw ====+            +==== right-gw ---- right-pc
    10.1.0.2     203.0.113.1 |  provider  | 203.0.113.2       10.2.0.2
                             +------------+

Keys are not made here, and do not pass through here: the stack knows the files that they are in. Make them beforehand,
with `wg` of Debian's package wireguard-tools:

    mkdir -p /etc/wireguard && cd /etc/wireguard && umask 077
    wg genkey >left.key && wg genkey >right.key && wg genpsk >both.key

    netdsl up stacks/wireguard.py --verify
    netdsl exec left-pc -- ping 10.2.0.2
    wg genkey >/etc/wireguard/left.key && netdsl up stacks/wireguard.py   # a new key, told to both ends
"""

from __future__ import annotations

from typing import NamedTuple

from netdsl import Bridge, Netns, Reachable, Route, Unreachable, Veth, VethEnd, WireGuard, WireGuardPeer, stack

MTU = 1420
"""Bytes: an Ethernet's 1500 less the outer headers, 60 over IPv4 and 80 over IPv6."""


class Site(NamedTuple):
    """A site: a computer, and the gateway with its end of the tunnel."""

    pc: Netns
    gateway: Netns
    tunnel: WireGuard


@stack
def wireguard(
    left_key: str = "/etc/wireguard/left.key",
    right_key: str = "/etc/wireguard/right.key",
    both_key: str = "/etc/wireguard/both.key",
    port: int = 51820,
) -> dict[str, str]:
    """Two sites joined by WireGuard.

    left_key   the file with the private key of the left gateway
    right_key  the file with that of the right one
    both_key   the file with the preshared key that both have
    port       the UDP port of both
    """
    provider = Bridge("internet", netns=Netns("provider"))
    left = site("left", 1, left_key, port, provider)
    right = site("right", 2, right_key, port, provider)
    join(left, "right", 2, right, both_key, port)
    join(right, "left", 1, left, both_key, port)
    for here, there in ((left.pc, "10.2.0.2"), (right.pc, "10.1.0.2")):
        Reachable(here, there, size=MTU)
        Unreachable(here, there, size=MTU + 1)
    return {"left": left.tunnel.public_key, "right": right.tunnel.public_key}


def site(name: str, number: int, key: str, port: int, provider: Bridge) -> Site:
    """A computer behind a gateway that the provider gives one address."""
    pc, gateway = Netns(f"{name}-pc"), Netns(f"{name}-gw", forwarding=True)
    inside = VethEnd("lan0", netns=gateway, addresses=[f"10.{number}.0.1/24"])
    eth0 = Veth("eth0", netns=pc, addresses=[f"10.{number}.0.2/24"], peer=inside)
    Route("default", dst="default", via=f"10.{number}.0.1", dev=eth0)
    outside = VethEnd("eth0", netns=gateway, addresses=[f"203.0.113.{number}/24"])
    Veth(name, netns=provider.netns, master=provider, peer=outside)
    return Site(pc, gateway, WireGuard("wg0", netns=gateway, private_key_file=key, listen_port=port, mtu=MTU))


def join(here: Site, name: str, number: int, there: Site, both_key: str, port: int) -> None:
    """What a gateway knows of the other one."""
    WireGuardPeer(
        name,
        dev=here.tunnel,
        public_key=there.tunnel.public_key,
        preshared_key_file=both_key,
        endpoint=f"203.0.113.{number}:{port}",
        allowed_ips=[f"10.{number}.0.0/24"],
    )
    Route(f"to {name}", dst=f"10.{number}.0.0/24", dev=here.tunnel)
