"""The stack ecmp: real packets of many flows take both routers, as the weights say."""

from __future__ import annotations

import sys

import pytest

from labs import STACKS, plan_of
from sandbox import Sandbox

ECMP = str(STACKS / "ecmp.py")
FLOWS = 200
FAMILIES = {"inet": "10.2.0.1", "inet6": "fd00:2::1"}

RECEIVE = """
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
with socket.socket(family, socket.SOCK_DGRAM) as server:
    server.bind((sys.argv[1], 5000))
    server.settimeout(30)
    print("listening", flush=True)
    flows = set()
    while len(flows) < int(sys.argv[2]):
        flows.add(server.recvfrom(16)[1][:2])
    print(len({address for address, _ in flows}), flush=True)
"""
"""Ends when so many flows have come in, and prints how many addresses they came from."""
SEND = """
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
flows = [socket.socket(family, socket.SOCK_DGRAM) for _ in range(int(sys.argv[2]))]
for flow in flows:
    flow.sendto(b"x", (sys.argv[1], 5000))
"""


def forwarded(sandbox: Sandbox, router: str, inet: str) -> int:
    """How many packets a router has passed on (ForwDatagrams of RFC 4293)."""
    if inet == "inet6":
        lines = sandbox.run(["cat", "/proc/net/snmp6"], netns=router).stdout.splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("Ip6OutForwDatagrams"))
    names, values = sandbox.run(["grep", "^Ip:", "/proc/net/snmp"], netns=router).stdout.splitlines()
    return int(dict(zip(names.split(), values.split(), strict=True))["ForwDatagrams"])


def flows(sandbox: Sandbox, inet: str) -> tuple[int, int]:
    """Send flows of one packet from the client to the server; how many went by each router, when all have come."""
    address = FAMILIES[inet]
    for end, number in (("client", 1), ("server", 2)):  # a router that was not heard of yet gets no flow of a group
        for i, router in enumerate(("left", "right"), 1):
            near = f"10.{number}.{i}.2" if inet == "inet" else f"fd00:{number}:0:{i}::2"
            if "UP" in sandbox.ip("link", "show", "dev", end, netns=router)[0]["flags"]:
                sandbox.wait_until(lambda end=end, near=near: sandbox.ping(end, near).received)
    sandbox.wait_until(lambda: all(sandbox.ping("client", address).received for _ in range(4)))
    before = [forwarded(sandbox, router, inet) for router in ("left", "right")]
    server = sandbox.popen([sys.executable, "-c", RECEIVE, address, str(FLOWS)], netns="server")
    assert server.stdout is not None
    assert server.stdout.readline() == "listening\n"
    sandbox.run([sys.executable, "-c", SEND, address, str(FLOWS)], netns="client")
    assert server.stdout.readline() == "1\n", "all have the client's own address"
    left, right = (forwarded(sandbox, router, inet) for router in ("left", "right"))
    return left - before[0], right - before[1]


@pytest.mark.parametrize("via", ["paths", "nexthops"])
def test_flows_take_both_routers(sandbox: Sandbox, via: str) -> None:
    """Flows of both families are spread over both routers; with another share most take the one that has it."""
    sandbox.netdsl("up", ECMP, "--yes", "-p", f"via={via}")
    assert plan_of(sandbox, "ecmp") == []
    for inet in FAMILIES:
        left, right = flows(sandbox, inet)
        assert left + right >= FLOWS
        assert min(left, right) > FLOWS / 5, (left, right)
    sandbox.netdsl("up", "ecmp", "--yes", "-p", "share=9")
    assert plan_of(sandbox, "ecmp") == []
    for inet in FAMILIES:
        left, right = flows(sandbox, inet)
        assert left > 3 * right > 0, (left, right)


def test_a_member_is_changed_without_touching_the_routes(sandbox: Sandbox) -> None:
    """A group's weights change in place; when it loses the nexthop of a link, all flows take the other router."""
    sandbox.netdsl("up", ECMP, "--yes")
    changes = plan_of(sandbox, "ecmp", "-p", "share=9")
    assert {(c["action"], c["kind"]) for c in changes} == {("update", "nexthop-group")}
    for end in ("client", "server"):  # both: answers are to come by the other router too
        sandbox.run(["ip", "-n", "left", "link", "set", end, "down"])
        sandbox.wait_until(lambda end=end: "left" not in {hop.get("dev") for hop in sandbox.ip("nexthop", netns=end)})
    for inet in FAMILIES:
        left, right = flows(sandbox, inet)
        assert left == 0
        assert right >= FLOWS
    sandbox.netdsl("up", "ecmp", "--yes")
    assert plan_of(sandbox, "ecmp") == []
    for inet in FAMILIES:
        assert min(flows(sandbox, inet)) > FLOWS / 5
