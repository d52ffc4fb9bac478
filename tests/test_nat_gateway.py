"""The gateway lab: what leaves has the gateway's address, and one port of the gateway leads inside."""

from __future__ import annotations

import sys

from labs import STACKS, plan_of
from sandbox import Sandbox

GATEWAY = str(STACKS / "nat_gateway.py")

ONE_REPLY = """
import socket, sys
server = socket.create_server((sys.argv[1], int(sys.argv[2])))
print("listening", flush=True)
connection, peer = server.accept()
connection.sendall(peer[0].encode())
"""
"""Tells one client the address that it came from."""

ASK = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=20) as connection:
    print(connection.recv(100).decode())
"""


def seen_address(sandbox: Sandbox, server: str, address: str, port: int, client: str, to: tuple[str, int]) -> str:
    """The address under which a TCP server in one netns sees a client in another, which connects to `to`."""
    child = sandbox.popen([sys.executable, "-c", ONE_REPLY, address, str(port)], netns=server)
    assert child.stdout is not None
    assert child.stdout.readline() == "listening\n"
    found = sandbox.run([sys.executable, "-c", ASK, to[0], str(to[1])], netns=client).stdout.strip()
    child.wait(20)
    return found


def test_the_office_is_behind_one_address(sandbox: Sandbox) -> None:
    """The world, which knows no way to the office, answers pings and sees connections from the gateway's address."""
    sandbox.netdsl("up", GATEWAY, "--yes")
    assert plan_of(sandbox, GATEWAY) == []
    assert sandbox.ping("client", "203.0.113.9").received
    assert seen_address(sandbox, "world", "203.0.113.9", 7, "client", ("203.0.113.9", 7)) == "203.0.113.1"
    sandbox.run(["nft", "delete", "table", "ip", "office"], netns="gateway")
    assert not sandbox.ping("client", "203.0.113.9").received
    assert [(c["action"], c["name"]) for c in plan_of(sandbox, GATEWAY)] == [("create", "office")]
    sandbox.netdsl("up", GATEWAY, "--yes")
    assert sandbox.ping("client", "203.0.113.9").received


def test_a_port_leads_inside(sandbox: Sandbox) -> None:
    """The gateway's port reaches the client's port 80, which sees who asks; another port does after a change."""
    sandbox.netdsl("up", GATEWAY, "--yes")
    assert seen_address(sandbox, "client", "10.0.0.2", 80, "world", ("203.0.113.1", 8080)) == "203.0.113.9"
    sandbox.netdsl("up", GATEWAY, "--yes", "-p", "port=9090")
    assert seen_address(sandbox, "client", "10.0.0.2", 80, "world", ("203.0.113.1", 9090)) == "203.0.113.9"


def test_a_foreign_table_is_a_conflict(sandbox: Sandbox) -> None:
    """A table that somebody else made is named before anything is written, and stays as it is; also with --adopt, as it
    holds nothing that netdsl would put there."""
    sandbox.netdsl("up", GATEWAY, "--yes")
    sandbox.run(["sh", "-ec", "nft delete table ip web; nft add table ip web"], netns="gateway")
    before = sandbox.dump()
    for option in ([], ["--adopt"]):
        done = sandbox.netdsl("up", GATEWAY, "--yes", *option, check=False)
        assert done.returncode == 1
        assert "Dnat 'web' in netns gateway" in done.stderr
        assert sandbox.dump() == before
    sandbox.run(["nft", "delete", "table", "ip", "web"], netns="gateway")
    sandbox.netdsl("up", GATEWAY, "--yes")
    assert plan_of(sandbox, GATEWAY) == []
