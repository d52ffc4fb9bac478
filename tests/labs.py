"""What tests of the shipped stacks share: where they are, and how their containers answer."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sandbox import Sandbox

STACKS = Path(__file__).parent.parent / "stacks"
VXLAN = str(STACKS / "two_node_vxlan.py")
HOSTGW = str(STACKS / "two_node_hostgw.py")
IPIP = str(STACKS / "two_node_ipip.py")
OVERLAY = str(STACKS / "overlay.py")
RING = str(STACKS / "ring.py")
TWO_SITES = str(STACKS / "two_sites.py")


def answers(sandbox: Sandbox, netns: str, address: str) -> int:
    """The TTL of the first answer; the first packets after a link came up may be lost."""

    def ask() -> int:
        return sandbox.ping(netns, address).ttl or 0

    return sandbox.wait_until(ask)


def plan_of(sandbox: Sandbox, *args: str) -> list[dict[str, Any]]:
    """The changes that `plan --json` shows."""
    changes: list[dict[str, Any]] = json.loads(sandbox.netdsl("plan", "--json", *args).stdout)["changes"]
    return changes


TSO_LIMITS = ("tso_max_size", "tso_max_segs")
"""Of a bridge, those of its ports: it keeps them when the port is gone."""
BOND_STATE = (
    *(f"ad_{side}_oper_port_state{form}" for side in ("actor", "partner") for form in ("", "_str")),
    *("ad_info", "ad_aggregator_id", "link_failure_count", "mii_status", "perm_hwaddr"),
)
"""What a bond has negotiated and counted, and the random MAC addresses that its ports would have without it."""


def unowned(picture: Any) -> Any:
    """A dump without what a script does not choose: ifindexes, the altnames and comments that mark links and tables as
    a stack's own, and link-local addresses, which the kernel makes up for some tunnels."""
    if isinstance(picture, dict):
        unknown = ("ifindex", "link_index", "altnames", "permaddr", "comment", *TSO_LIMITS, *BOND_STATE)
        return {key: unowned(value) for key, value in picture.items() if key not in unknown}
    if isinstance(picture, list):
        kept = [unowned(value) for value in picture if not _link_local(value)]
        return sorted(kept, key=lambda value: json.dumps(value, sort_keys=True))
    return picture


def _link_local(value: Any) -> bool:
    return isinstance(value, dict) and any(str(value.get(word, "")).startswith("fe80:") for word in ("local", "dst"))


def differences(one: Any, other: Any, path: str = "") -> list[str]:
    """Where two dumps differ, in lines that can be read; links are known by their names."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = sorted({*one, *other})
        return [line for key in keys for line in differences(one.get(key), other.get(key), f"{path}/{key}")]
    if isinstance(one, list) and isinstance(other, list):
        if all(isinstance(value, dict) and "ifname" in value for value in [*one, *other]) and path.endswith("links"):
            named = [{value["ifname"]: value for value in values} for values in (one, other)]
            return differences(named[0], named[1], path)
        here = [f"{path}: {value}, not in the other" for value in one if value not in other]
        return here + [f"{path}: {value}, only in the other" for value in other if value not in one]
    return [] if one == other else [f"{path}: {one} here, {other} there"]


def brief(changes: list[dict[str, Any]]) -> set[tuple[str, str, str, str]]:
    """Action, kind, netns and name of each change."""
    return {(c["action"], c["kind"], c["netns"], c["name"]) for c in changes}


RECORD = """
import socket, struct, sys, time
packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
packets.bind((sys.argv[1], 0))
with open(sys.argv[2], "wb") as file:
    file.write(struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
    file.flush()
    print("listening", flush=True)
    while True:
        frame = packets.recv(65535)
        file.write(struct.pack("=IIII", int(time.time()), 0, len(frame), len(frame)) + frame)
        file.flush()
"""
"""Writes frames in pcap's format. tcpdump itself cannot run in a user namespace: it wants to change its groups."""


def captured(sandbox: Sandbox, folder: Path, netns: str, dev: str, what: str, provoke: Callable[[], object]) -> str:
    """Packets on a device that match a tcpdump filter, as tcpdump prints them; `provoke` is repeated until one does."""
    path = folder / f"{dev}.pcap"
    child = sandbox.popen([sys.executable, "-c", RECORD, dev, str(path)], netns=netns)
    assert child.stdout is not None
    assert child.stdout.readline() == "listening\n"

    def matching() -> str:
        provoke()
        argv = ["tcpdump", "-n", "-e", "-r", "-", *what.split()]
        with path.open("rb") as file:
            return subprocess.run(argv, stdin=file, capture_output=True, text=True).stdout

    return sandbox.wait_until(matching)
