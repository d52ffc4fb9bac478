"""flannel's three backends on a full kernel: what the kernel shows, what is on the wire, how large a packet may be, and
how a running overlay goes from one backend to another."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from test_two_node import NODES, PING, addresses, check_hostgw, check_node, check_vxlan, frames, link, names, route

from labs import HOSTGW, IPIP, OVERLAY, VXLAN, answers, captured, plan_of
from sandbox import Sandbox

pytestmark = pytest.mark.fullkernel

UNDERLAY_MTU = 1500
HEADERS = 20 + 8
"""Bytes of an echo request around its payload: IPv4 and ICMP."""
BACKENDS = {"host-gw": (HOSTGW, 0), "ipip": (IPIP, 20), "vxlan": (VXLAN, 50)}
"""The stack of each, and how many bytes it takes of the underlay's MTU."""


@pytest.fixture
def lab(sandbox: Sandbox, request: pytest.FixtureRequest) -> Sandbox:
    """The two-node lab of a backend."""
    sandbox.netdsl("up", BACKENDS[request.param][0], "--yes")
    return sandbox


@pytest.mark.parametrize(("here", "there", "vm", "container"), NODES)
@pytest.mark.parametrize("lab", ["ipip"], indirect=True)
def test_ipip_facts(lab: Sandbox, here: int, there: int, vm: str, container: str) -> None:
    """After `up` the kernel shows the node of the ipip backend to the letter."""
    check_node(lab, here, there, vm, container, connected={f"172.{here}.1.0/30"})
    assert names(lab, vm) == {"eth0", f"br{here}", f"veth{here}", f"tun{here}"}
    tunnel = link(lab, vm, f"tun{here}")
    assert tunnel["linkinfo"]["info_kind"] == "ipip" and "UP" in tunnel["flags"]
    wanted = {"local": f"192.168.32.{here}", "remote": f"192.168.32.{there}", "proto": "ipip", "ttl": 0}
    assert {name: tunnel["linkinfo"]["info_data"][name] for name in wanted} == wanted
    assert tunnel["mtu"] == UNDERLAY_MTU - 20
    first = {245: "172.245.1", 246: "172.246.1"}[here]
    assert addresses(lab, vm, f"tun{here}") == [f"{first}.1/30"]
    behind = route(lab, vm, f"172.{there}.0.0/24")
    assert (behind["gateway"], behind["dev"], behind["flags"]) == (f"{first}.2", f"tun{here}", [])


WIRE = {
    "host-gw": (PING, r"172\.24[56]\.0\.2 > 172\.24[56]\.0\.2", "icmp"),
    "ipip": (118, r"192\.168\.32\.24[56] > 192\.168\.32\.24[56]", "ip proto 4"),
    "vxlan": (PING + 50, r"192\.168\.32\.24[56]\.\d+ > 192\.168\.32\.24[56]\.8472", "udp dst port 8472"),
}
"""Bytes of the frame of a ping between containers, its outermost addresses, and tcpdump's filter for its kind."""


@pytest.mark.parametrize(("here", "there", "vm", "container"), NODES)
@pytest.mark.parametrize("lab", ["vxlan"], indirect=True)
def test_vxlan_facts(lab: Sandbox, here: int, there: int, vm: str, container: str) -> None:
    """The full kernel shows the vxlan lab as the machine's own does."""
    check_vxlan(lab, here, there, vm, container)


@pytest.mark.parametrize(("here", "there", "vm", "container"), NODES)
@pytest.mark.parametrize("lab", ["host-gw"], indirect=True)
def test_hostgw_facts(lab: Sandbox, here: int, there: int, vm: str, container: str) -> None:
    """The full kernel shows the host-gw lab as the machine's own does."""
    check_hostgw(lab, here, there, vm, container)


@pytest.mark.parametrize("lab", BACKENDS, indirect=True)
def test_on_the_wire(lab: Sandbox, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """A ping crosses two routed hops both ways; the underlay carries it in the backend's encapsulation and no other."""
    backend = request.node.callspec.params["lab"]
    assert answers(lab, "ns245", "172.246.0.2") == 62
    assert answers(lab, "ns246", "172.245.0.2") == 62
    packets = captured(lab, tmp_path, "vm1", "eth0", "ip", lambda: lab.ping("ns245", "172.246.0.2"))
    seen = frames(packets)
    size, between, kind = WIRE[backend]
    assert seen
    for length, addresses_seen in seen:
        assert length == size, packets
        assert re.fullmatch(between, addresses_seen), packets
    again = captured(lab, tmp_path, "vm2", "eth0", kind, lambda: lab.ping("ns245", "172.246.0.2"))
    assert {length for length, _ in frames(again)} == {size}
    assert re.search(r"172\.245\.0\.2 > 172\.246\.0\.2: ICMP echo request", packets), packets


@pytest.mark.parametrize("lab", BACKENDS, indirect=True)
def test_the_largest_packet(lab: Sandbox, request: pytest.FixtureRequest) -> None:
    """The underlay's MTU less the encapsulation passes unfragmented, and one byte less; one byte more does not."""
    overhead = BACKENDS[request.node.callspec.params["lab"]][1]
    assert answers(lab, "ns245", "172.246.0.2") == 62

    def received(size: int) -> bool:
        payload = str(size - HEADERS)
        argv = ["ping", "-n", "-c", "1", "-W", "2", "-M", "do", "-s", payload, "172.246.0.2"]
        return lab.run(argv, netns="ns245", check=False).returncode == 0

    largest = UNDERLAY_MTU - overhead
    assert received(largest) and received(largest - 1)
    assert not received(largest + 1)


def up(sandbox: Sandbox, backend: str, *args: str) -> None:
    """Bring a backend up; the next plan is empty, and all containers reach each other."""
    sandbox.netdsl("up", OVERLAY, "--yes", "-p", f"backend={backend}", *args)
    assert plan_of(sandbox, "overlay") == []
    for here in range(4):
        for there in range(4):
            if here != there:
                assert answers(sandbox, f"c{here}", f"10.244.{there}.2") == 62


def test_from_backend_to_backend(sandbox: Sandbox) -> None:
    """A running overlay changes its backend: only what belongs to the backends is touched, nothing is left over."""
    up(sandbox, "vxlan")
    first = sandbox.dump()
    mac = {n: link(sandbox, f"n{n}", "eth0")["ifindex"] for n in range(4)}
    for backend, kind in (("ipip", "ipip"), ("host-gw", None), ("vxlan", "vxlan")):
        changes = plan_of(sandbox, OVERLAY, "-p", f"backend={backend}")
        kinds = {"vxlan", "tunnel", "address", "neighbor", "fdb", "route"}
        assert {c["kind"] for c in changes} <= kinds, changes
        assert all(c["kind"] not in ("address", "route") or c["netns"].startswith("n") for c in changes)
        assert not [c for c in changes if "br0" in c["name"] or "default" in c["name"]]
        up(sandbox, backend)
        for n in range(4):
            assert names(sandbox, f"n{n}") == {"eth0", "br0", "veth0"} | ({"pods"} if kind else set())
            if kind:
                assert link(sandbox, f"n{n}", "pods")["linkinfo"]["info_kind"] == kind
        assert {n: link(sandbox, f"n{n}", "eth0")["ifindex"] for n in range(4)} == mac
    for netns, parts in sandbox.dump().items():
        for part in ("neighbours", "fdb", "routes4"):
            assert len(parts[part]) == len(first[netns][part]), (netns, part)
    sandbox.netdsl("destroy", "--yes")


@pytest.mark.parametrize("backend", ["ipip", "vxlan"])
def test_direct_routing(sandbox: Sandbox, tmp_path: Path, backend: str) -> None:
    """With direct_routing nodes of one segment talk without a tunnel, and those of different ones through it."""
    sandbox.netdsl("up", OVERLAY, "--yes", "-p", f"backend={backend}", "-p", "segments=2", "-p", "direct_routing=true")
    assert answers(sandbox, "c0", "10.244.2.2") == 62
    assert answers(sandbox, "c0", "10.244.1.2") == 62
    plain = captured(sandbox, tmp_path, "n0", "eth0", "ip", lambda: sandbox.ping("c0", "10.244.2.2"))
    assert {length for length, _ in frames(plain)} == {PING}
    wrapped = captured(sandbox, tmp_path, "n1", "eth0", "ip", lambda: sandbox.ping("c0", "10.244.1.2"))
    assert {length for length, _ in frames(wrapped)} == {PING + BACKENDS[backend][1]}


def test_a_device_for_each_peer(sandbox: Sandbox) -> None:
    """With per_peer there is an ipip device for each peer, named after its address; one node more touches no other."""
    sandbox.netdsl("up", OVERLAY, "--yes", "-p", "backend=ipip", "-p", "per_peer=true", "-p", "nodes=3")
    assert names(sandbox, "n0") == {"eth0", "br0", "veth0", "pods-0a0a0002", "pods-0a0a0003"}
    assert answers(sandbox, "c0", "10.244.2.2") == 62
    changes = plan_of(sandbox, OVERLAY, "-p", "nodes=4")
    assert {c["action"] for c in changes} == {"create"}


@pytest.mark.parametrize("backend", ["host-gw", "vxlan"])
def test_ipv6(sandbox: Sandbox, backend: str) -> None:
    """Over IPv6 the containers reach each other by IPv6, with an MTU of 70 bytes less in vxlan."""
    sandbox.netdsl("up", OVERLAY, "--yes", "-p", f"backend={backend}", "-p", "ipv6=true", "-p", "nodes=3")
    assert plan_of(sandbox, "overlay") == []
    assert answers(sandbox, "c0", "fd00:244:2::2") == 62
    if backend == "vxlan":
        assert link(sandbox, "n0", "pods")["mtu"] == UNDERLAY_MTU - 70
