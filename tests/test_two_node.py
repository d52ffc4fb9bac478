"""The two-node stacks against the setup that they reproduce: every fact as iproute2 shows it, and real packets."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from labs import HOSTGW, VXLAN, answers, captured
from netdsl.kinds import FALLBACK_LINKS
from sandbox import Sandbox

NODES = [(245, 246, "vm1", "ns245"), (246, 245, "vm2", "ns246")]
NAMES = ["ns245", "ns246", "vm1", "vm2"]


def link(sandbox: Sandbox, netns: str, name: str) -> Any:
    """One link as `ip -d -j` shows it."""
    (found,) = sandbox.ip("link", "show", "dev", name, netns=netns)
    return found


def addresses(sandbox: Sandbox, netns: str, dev: str) -> list[str]:
    """The IPv4 addresses of a link."""
    (found,) = sandbox.ip("-4", "addr", "show", "dev", dev, netns=netns)
    return [f"{a['local']}/{a['prefixlen']}" for a in found["addr_info"]]


def route(sandbox: Sandbox, netns: str, dst: str) -> dict[str, Any]:
    """One route."""
    (found,) = sandbox.ip("route", "show", dst, netns=netns)
    return dict(found)


@pytest.fixture
def vxlan(sandbox: Sandbox) -> Sandbox:
    """The vxlan lab."""
    sandbox.netdsl("up", VXLAN, "--yes")
    return sandbox


@pytest.fixture
def hostgw(sandbox: Sandbox) -> Sandbox:
    """The host-gw lab."""
    sandbox.netdsl("up", HOSTGW, "--yes")
    return sandbox


def routes(sandbox: Sandbox, netns: str) -> set[str]:
    """The destinations of all IPv4 routes in the main table."""
    return {found["dst"] for found in sandbox.ip("-4", "route", "show", netns=netns)}


def names(sandbox: Sandbox, netns: str) -> set[str]:
    """All links of a netns but lo and those that the kernel puts into every one."""
    return {found["ifname"] for found in sandbox.ip("link", "show", netns=netns)} - {"lo"} - FALLBACK_LINKS


def check_node(
    sandbox: Sandbox, here: int, there: int, vm: str, container: str, connected: Collection[str] = ()
) -> None:
    """What all backends have: the node, its bridge, its container, and nothing beside them but `connected` networks."""
    assert sandbox.netns_names() == NAMES
    ours = {"192.168.32.0/24", f"172.{here}.0.0/24", f"172.{there}.0.0/24"}
    assert routes(sandbox, vm) == {*ours, *connected}
    assert names(sandbox, container) == {"eth0"}
    assert routes(sandbox, container) == {"default", f"172.{here}.0.0/24"}
    underlay = link(sandbox, vm, "eth0")
    assert underlay["linkinfo"]["info_kind"] == "veth" and "UP" in underlay["flags"]
    assert underlay["mtu"] == 1500 and "master" not in underlay
    forward = sandbox.run(["cat", "/proc/sys/net/ipv4/ip_forward"], netns=vm).stdout.strip()
    assert forward == "1"
    assert addresses(sandbox, vm, "eth0") == [f"192.168.32.{here}/24"]
    bridge = link(sandbox, vm, f"br{here}")
    assert bridge["linkinfo"]["info_kind"] == "bridge" and "UP" in bridge["flags"]
    assert addresses(sandbox, vm, f"br{here}") == [f"172.{here}.0.1/24"]
    port = link(sandbox, vm, f"veth{here}")
    assert port["master"] == f"br{here}" and "UP" in port["flags"] and port["linkinfo"]["info_kind"] == "veth"
    assert "UP" in link(sandbox, container, "eth0")["flags"]
    assert addresses(sandbox, container, "eth0") == [f"172.{here}.0.2/24"]
    default = route(sandbox, container, "default")
    assert (default["gateway"], default["dev"], default["flags"]) == (f"172.{here}.0.1", "eth0", [])


def check_vxlan(vxlan: Sandbox, here: int, there: int, vm: str, container: str) -> None:
    """The kernel shows the node of the vxlan backend to the letter."""
    check_node(vxlan, here, there, vm, container)
    assert names(vxlan, vm) == {"eth0", f"br{here}", f"veth{here}", f"vtep{here}"}
    vtep = link(vxlan, vm, f"vtep{here}")
    data = vtep["linkinfo"]["info_data"]
    assert vtep["linkinfo"]["info_kind"] == "vxlan" and vtep["mtu"] == 1450 and "UP" in vtep["flags"]
    wanted = {"id": 1, "local": f"192.168.32.{here}", "link": "eth0", "port": 8472, "learning": False, "ageing": 300}
    assert {name: data[name] for name in wanted} == wanted
    assert addresses(vxlan, vm, f"vtep{here}") == [f"172.{here}.0.0/32"]
    overlay = route(vxlan, vm, f"172.{there}.0.0/24")
    assert overlay["gateway"] == f"172.{there}.0.0" and overlay["dev"] == f"vtep{here}"
    assert overlay["flags"] == ["onlink"]
    other = link(vxlan, "vm2" if vm == "vm1" else "vm1", f"vtep{there}")["address"]
    (neighbour,) = [n for n in vxlan.ip("neigh", "show", "dev", f"vtep{here}", netns=vm) if ":" not in n["dst"]]
    assert (neighbour["dst"], neighbour["lladdr"], neighbour["state"]) == (f"172.{there}.0.0", other, ["PERMANENT"])
    (fdb,) = [e for e in vxlan.bridge("fdb", "show", "dev", f"vtep{here}", netns=vm) if "dst" in e]
    assert (fdb["mac"], fdb["dst"], fdb["state"]) == (other, f"192.168.32.{there}", "permanent")
    udp = vxlan.run(["cat", "/proc/net/udp"], netns=vm).stdout.splitlines()[1:]
    (listening,) = [line.split() for line in udp]
    assert listening[1] == f"00000000:{8472:04X}"
    assert listening[7] == "0"  # its uid: it is the kernel's own socket, no process has it open


def check_hostgw(hostgw: Sandbox, here: int, there: int, vm: str, container: str) -> None:
    """The kernel shows the node of the host-gw backend to the letter."""
    check_node(hostgw, here, there, vm, container)
    assert names(hostgw, vm) == {"eth0", f"br{here}", f"veth{here}"}
    direct = route(hostgw, vm, f"172.{there}.0.0/24")
    assert (direct["gateway"], direct["dev"]) == (f"192.168.32.{there}", "eth0")
    assert direct["flags"] == ["onlink"]


@pytest.mark.parametrize(("here", "there", "vm", "container"), NODES)
def test_vxlan_facts(vxlan: Sandbox, here: int, there: int, vm: str, container: str) -> None:
    """After `up` the kernel shows the vxlan lab as it was declared."""
    check_vxlan(vxlan, here, there, vm, container)


@pytest.mark.parametrize(("here", "there", "vm", "container"), NODES)
def test_hostgw_facts(hostgw: Sandbox, here: int, there: int, vm: str, container: str) -> None:
    """After `up` the kernel shows the host-gw lab as it was declared."""
    check_hostgw(hostgw, here, there, vm, container)


PING = 14 + 20 + 64
"""Bytes of a frame with an echo request of the usual size: Ethernet, IPv4, ICMP."""
VXLAN_OVERHEAD = 14 + 8 + 8 + 20
"""Bytes that VXLAN adds: the inner Ethernet, VXLAN, UDP, and the outer IPv4."""


def frames(captured: str) -> list[tuple[int, str]]:
    """Length in bytes and addresses of every IPv4 frame that tcpdump printed."""
    heads = re.findall(r"^\S+ \S+ > \S+, ethertype IPv4 \(0x0800\), length (\d+): (\S+ > \S+):", captured, re.M)
    return [(int(length), between) for length, between in heads]


def test_containers_reach_each_other_by_vxlan(vxlan: Sandbox, tmp_path: Path) -> None:
    """A ping crosses two routed hops both ways, and on the wire it is UDP to port 8472 and nothing else."""
    assert answers(vxlan, "ns245", "172.246.0.2") == 62
    assert answers(vxlan, "ns246", "172.245.0.2") == 62
    packets = captured(vxlan, tmp_path, "vm1", "eth0", "ip", lambda: vxlan.ping("ns245", "172.246.0.2"))
    seen = frames(packets)
    assert seen
    for length, between in seen:
        assert re.fullmatch(r"192\.168\.32\.24[56]\.\d+ > 192\.168\.32\.24[56]\.8472", between), packets
        assert length == PING + VXLAN_OVERHEAD
    assert re.search(r"172\.245\.0\.2 > 172\.246\.0\.2: ICMP echo request", packets), packets  # the inner packet


def test_containers_reach_each_other_by_hostgw(hostgw: Sandbox, tmp_path: Path) -> None:
    """A ping crosses two routed hops both ways, and on the wire it is the container's own packet and nothing else."""
    assert answers(hostgw, "ns245", "172.246.0.2") == 62
    assert answers(hostgw, "ns246", "172.245.0.2") == 62
    packets = captured(hostgw, tmp_path, "vm1", "eth0", "ip", lambda: hostgw.ping("ns245", "172.246.0.2"))
    seen = frames(packets)
    assert seen
    for length, between in seen:
        assert between in ("172.245.0.2 > 172.246.0.2", "172.246.0.2 > 172.245.0.2"), packets
        assert length == PING


def test_without_the_neighbour_nobody_answers(vxlan: Sandbox, tmp_path: Path) -> None:
    """Without the neighbour entry the vtep asks for the gateway's MAC, which nobody has, and the ping fails."""
    assert answers(vxlan, "ns245", "172.246.0.2") == 62
    vxlan.run(["ip", "-n", "vm1", "neigh", "del", "172.246.0.0", "dev", "vtep245"])
    assert vxlan.ping("ns245", "172.246.0.2").received == 0
    packet = captured(vxlan, tmp_path, "vm1", "vtep245", "arp", lambda: vxlan.ping("ns245", "172.246.0.2"))
    assert "who-has 172.246.0.0 tell 172.245.0.0" in packet
    assert "is-at" not in packet


GET = 2
"""What the two low bits of a rtnetlink message type are in a request that only reads (rtnetlink_rcv_msg)."""
RTM_NEWLINK, RTM_NEWROUTE, RTM_NEWLINKPROP = 16, 24, 108
READ_ONLY = 0


def kernel_writes(sandbox: Sandbox, folder: Path, *args: str) -> list[int | str]:
    """What one run of netdsl, with all its threads, changes in the kernel: message types, system calls and files.

    `-X raw` keeps strace from giving names to what it knows: sockets of the namespace that it runs in itself.
    """
    log = folder / "strace.log"
    calls = "trace=sendto,sendmsg,sendmmsg,mount,umount2,unshare,open,openat"
    argv = ["strace", "-f", "-qq", "-X", "raw", "-o", str(log), "-e", calls, sys.executable, "-m", "netdsl", *args]
    sandbox.run(argv, env={"PYTHONDONTWRITEBYTECODE": "1"})
    found: list[int | str] = []
    sent = 0
    for line in log.read_text().splitlines():
        _, call = line.split(maxsplit=1)
        name = call.partition("(")[0]
        if name.startswith("send"):
            types = [int(number, 16) for number in re.findall(r"nlmsg_type=(0x[0-9a-f]+)", call)]
            assert types, call  # netdsl talks to nobody but the kernel, and strace has understood it
            sent += len(types)
            found += [number for number in types if number & 3 != GET]
        elif name in ("mount", "umount2", "unshare"):
            found.append(name)
        elif opened := re.match(r'open(?:at)?\(.*?"(/(?:proc/sys|run/netns)/[^"]*)", (0x[0-9a-f]+|0)', call):
            path, flags = opened.groups()
            if int(flags, 16) & 3 != READ_ONLY:
                found.append(path)
        elif opened := re.match(r'openat\((?!0xffffff9c|-100)\w+, "([^/"][^"]*)", (0x[0-9a-f]+|0)', call):
            path, flags = opened.groups()  # below an open directory: the sysctls of a netns
            if int(flags, 16) & 3 != READ_ONLY:
                found.append(f"/proc/sys/net/{path}")
    assert sent  # it did look at the kernel
    return found


def test_a_second_up_writes_nothing(vxlan: Sandbox, tmp_path: Path) -> None:
    """The second plan is empty, and the second `up` sends the kernel no change: counted by strace."""
    before = vxlan.dump()
    assert vxlan.netdsl("plan", "--detailed-exitcode", VXLAN).returncode == 0
    assert kernel_writes(vxlan, tmp_path, "up", VXLAN, "--yes") == []
    assert vxlan.dump() == before


def test_a_write_would_be_seen(vxlan: Sandbox, tmp_path: Path) -> None:
    """The count of the test above is not blind: a drift to heal is one message, or one file written."""
    vxlan.run(["ip", "-n", "vm2", "link", "set", "vtep246", "mtu", "1400"])
    assert kernel_writes(vxlan, tmp_path, "up", VXLAN, "--yes") == [RTM_NEWLINK]
    vxlan.run(["sysctl", "-qw", "net.ipv4.ip_forward=0"], netns="vm1")
    assert kernel_writes(vxlan, tmp_path, "up", VXLAN, "--yes") == ["/proc/sys/net/ipv4/ip_forward"]


OWN = """
from netdsl import *

@stack
def own():
    Netns("inner")
    Bridge("br0", up=False)
    Route("nowhere", dst="10.3.0.0/16", type="blackhole")
"""


def test_writes_in_the_own_namespace_would_be_seen(sandbox: Sandbox, tmp_path: Path) -> None:
    """Nor is it blind to the namespace that netdsl runs in, or to the making of others."""
    program = tmp_path / "own.py"
    program.write_text(OWN)
    first = kernel_writes(sandbox, tmp_path, "up", str(program), "--yes")
    assert {number for number in first if isinstance(number, int)} == {RTM_NEWLINK, RTM_NEWROUTE, RTM_NEWLINKPROP}
    assert {"unshare", "mount"} <= set(first)
    assert kernel_writes(sandbox, tmp_path, "up", str(program), "--yes") == []
