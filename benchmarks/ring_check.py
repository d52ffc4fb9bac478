"""Looks at a ring lab that somebody built: are the objects there, do packets pass?

    python ring_check.py N         in the sandbox: facts as JSON; exit 1 if a ping fails
    python ring_check.py ping A..  pings addresses from the namespace it runs in

The facts leave out what builders may choose (MACs, ifindexes, protocol numbers),
so every builder of the same lab must give the same ones.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
import time
from typing import Any

from ring_batch import overlay_ip, ring_neighbours

PING_SECONDS = 20  # a lab just built is busy with duplicate address detection
FORWARDING = ("/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding")


def ask(netns: str, *words: str) -> list[dict[str, Any]]:
    """The JSON answer of `ip` or `bridge` in a namespace."""
    inside = ["nsenter", f"--net=/run/netns/{netns}", *words]
    text = subprocess.run(inside, check=True, stdout=subprocess.PIPE, text=True).stdout
    return [entry for entry in json.loads(text or "[]") if entry]


def link_fact(link: dict[str, Any]) -> str:
    info = link.get("linkinfo", {})
    words = [link["ifname"], info.get("info_kind", ""), f"mtu {link['mtu']}"]
    words.append(f"master {link.get('master', '')}")
    words.append("up" if "UP" in link["flags"] else "down")
    if info.get("info_kind") == "vxlan":
        vxlan = info["info_data"]
        words += [f"{key} {vxlan.get(key)}" for key in ("id", "local", "link", "port", "learning")]
    return " ".join(words)


def facts_of(netns: str) -> list[str]:
    """One line for each declared object in a namespace, sorted."""
    facts = []
    for link in ask(netns, "ip", "-j", "-d", "link", "show"):
        if link["ifname"] != "lo":
            facts.append(f"link {link_fact(link)}")
    for link in ask(netns, "ip", "-j", "-4", "address", "show"):
        facts += [
            f"address {link['ifname']} {address['local']}/{address['prefixlen']}"
            for address in link["addr_info"]
            if link["ifname"] != "lo"
        ]
    for route in ask(netns, "ip", "-j", "-4", "route", "show"):
        # Not whether there is a carrier: that reaches a new pair in the kernel's own time.
        via, flags = route.get("gateway", ""), " ".join(flag for flag in route["flags"] if flag != "linkdown")
        facts.append(f"route {route['dst']} via {via} dev {route['dev']} {flags}")
    if any(fact.startswith("link vtep0 ") for fact in facts):
        for entry in ask(netns, "ip", "-j", "neighbour", "show", "dev", "vtep0"):
            facts.append(f"neighbour {entry['dst']} {' '.join(entry['state'])}")
        for entry in ask(netns, "bridge", "-j", "fdb", "show", "dev", "vtep0"):
            facts.append(f"fdb {entry.get('dst')} {' '.join(entry['flags'])} {entry['state']}")
    if netns.startswith("n"):
        words = ["nsenter", f"--net=/run/netns/{netns}", "cat", *FORWARDING]
        values = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
        facts.append(f"forwarding {' '.join(values)}")
    return sorted(facts)


def checksum(message: bytes) -> int:
    """The Internet checksum (RFC 1071) of a message of even length."""
    total: int = sum(struct.unpack(f"!{len(message) // 2}H", message))
    total = (total >> 16) + (total & 0xFFFF)
    return 0xFFFF - ((total + (total >> 16)) & 0xFFFF)


def echo_request(identity: int, sequence: int) -> bytes:
    """An ICMP echo request (RFC 792)."""
    payload = b"the ring"
    head = struct.pack("!BBHHH", 8, 0, 0, identity, sequence)
    return head[:2] + struct.pack("!H", checksum(head + payload)) + head[4:] + payload


def ping(address: str, seconds: float = PING_SECONDS) -> bool:
    """Sends echo requests until one is answered; False if none was in so many seconds."""
    identity, end, sequence = os.getpid() & 0xFFFF, time.monotonic() + seconds, 0
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sock:
        sock.settimeout(0.5)
        while time.monotonic() < end:
            sequence += 1
            try:
                sock.sendto(echo_request(identity, sequence), (address, 0))
                answer, (source, _) = sock.recvfrom(2048)
            except OSError:
                continue
            icmp = answer[(answer[0] & 15) * 4 :]  # behind the IP header
            if source == address and icmp[0] == 0 and icmp[4:6] == identity.to_bytes(2, "big"):
                return True
    return False


def check(nodes: int) -> int:
    ends = dict.fromkeys(("underlay", "n0", "c0", f"n{nodes - 1}", f"c{nodes - 1}"))
    json.dump({netns: facts_of(netns) for netns in ends}, sys.stdout)
    targets = [overlay_ip(j, 2) for j in ring_neighbours(0, nodes)]
    inside = ["nsenter", "--net=/run/netns/c0", sys.executable, __file__, "ping", *targets]
    return subprocess.run(inside, check=False).returncode


def main() -> int:
    if sys.argv[1] != "ping":
        return check(int(sys.argv[1]))
    lost = [address for address in sys.argv[2:] if not ping(address)]
    if lost:
        print(f"c0 gets no answer from {', '.join(lost)}", file=sys.stderr)
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
