"""The two-node stacks against the setup that they reproduce: every fact as iproute2 shows it, and real packets."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

from labs import HOSTGW, VXLAN, answers, captured
from sandbox import Sandbox

NODES = [(245, 246, "vm1", "ns245"), (246, 245, "vm2", "ns246")]


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


def check_node(sandbox: Sandbox, here: int, vm: str, container: str) -> None:
    """What both backends have: the node, its bridge, its container."""
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
    assert route(sandbox, container, "default")["gateway"] == f"172.{here}.0.1"


@pytest.mark.parametrize(("here", "there", "vm", "container"), NODES)
def test_vxlan_facts(vxlan: Sandbox, here: int, there: int, vm: str, container: str) -> None:
    """After `up` the kernel shows the node of the vxlan backend to the letter."""
    check_node(vxlan, here, vm, container)
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
    udp = vxlan.run(["cat", "/proc/net/udp"], netns=vm).stdout
    assert f":{8472:04X} " in udp


@pytest.mark.parametrize(("here", "there", "vm", "container"), NODES)
def test_hostgw_facts(hostgw: Sandbox, here: int, there: int, vm: str, container: str) -> None:
    """After `up` the kernel shows the node of the host-gw backend to the letter."""
    check_node(hostgw, here, vm, container)
    direct = route(hostgw, vm, f"172.{there}.0.0/24")
    assert (direct["gateway"], direct["dev"]) == (f"192.168.32.{there}", "eth0")
    assert direct["flags"] == ["onlink"]


def test_containers_reach_each_other_by_vxlan(vxlan: Sandbox, tmp_path: Path) -> None:
    """A ping crosses two routed hops both ways, and on the wire it is UDP to port 8472."""
    assert answers(vxlan, "ns245", "172.246.0.2") == 62
    assert answers(vxlan, "ns246", "172.245.0.2") == 62
    packet = captured(vxlan, tmp_path, "vm1", "eth0", "udp", lambda: vxlan.ping("ns245", "172.246.0.2"))
    assert re.search(r"192\.168\.32\.24[56]\.\d+ > 192\.168\.32\.24[56]\.8472: (OTV|VXLAN)", packet), packet


def test_containers_reach_each_other_by_hostgw(hostgw: Sandbox, tmp_path: Path) -> None:
    """A ping crosses two routed hops both ways, and on the wire it is the container's own packet."""
    assert answers(hostgw, "ns245", "172.246.0.2") == 62
    assert answers(hostgw, "ns246", "172.245.0.2") == 62
    packet = captured(hostgw, tmp_path, "vm1", "eth0", "ip", lambda: hostgw.ping("ns245", "172.246.0.2"))
    assert re.search(r"172\.24[56]\.0\.2 > 172\.24[56]\.0\.2: ICMP echo", packet), packet


def test_without_the_neighbour_nobody_answers(vxlan: Sandbox, tmp_path: Path) -> None:
    """Without the neighbour entry the vtep asks for the gateway's MAC, which nobody has, and the ping fails."""
    vxlan.run(["ip", "-n", "vm1", "neigh", "del", "172.246.0.0", "dev", "vtep245"])
    assert vxlan.ping("ns245", "172.246.0.2").received == 0
    packet = captured(vxlan, tmp_path, "vm1", "vtep245", "arp", lambda: vxlan.ping("ns245", "172.246.0.2"))
    assert "who-has 172.246.0.0 tell 172.245.0.0" in packet


MESSAGE = re.compile(r"nlmsg_type=(0x[0-9a-f]+)")
OTHER = re.compile(r"\b(mount|umount2|unshare)\(|/proc/sys.*O_(WRONLY|RDWR)")
RTM_NEWLINK = 16
GET = 2
"""What the two low bits of a rtnetlink message type are in a request that only reads (rtnetlink_rcv_msg)."""


def test_a_second_up_writes_nothing(vxlan: Sandbox, tmp_path: Path) -> None:
    """The second plan is empty, and the second `up` sends the kernel no change: counted by strace."""
    assert vxlan.netdsl("plan", "--detailed-exitcode", VXLAN).returncode == 0
    assert strace(vxlan, tmp_path, "up", VXLAN, "--yes") == []


def test_strace_would_see_a_write(vxlan: Sandbox, tmp_path: Path) -> None:
    """The count of the test above is not blind: with one drift to heal there is one message."""
    vxlan.run(["ip", "-n", "vm2", "link", "set", "vtep246", "mtu", "1400"])
    assert strace(vxlan, tmp_path, "up", VXLAN, "--yes") == [str(RTM_NEWLINK)]


def strace(sandbox: Sandbox, folder: Path, *args: str) -> list[str]:
    """The writes to the kernel's network state that one run of netdsl makes."""
    log = folder / "strace.log"
    traced = "trace=sendto,sendmsg,mount,umount2,unshare,openat"
    sandbox.run(["strace", "-f", "-qq", "-o", str(log), "-e", traced, sys.executable, "-m", "netdsl", *args])
    text = log.read_text()
    assert "nlmsg_type" in text
    messages = [int(number, 16) for number in MESSAGE.findall(text)]
    return [str(number) for number in messages if number & 3 != GET] + [match[0] for match in OTHER.finditer(text)]
