"""Every property of every kind against the kernel: set, read back, changed, read back, taken out again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_kinds_kernel import CASES

from labs import differences, unowned
from netdsl.kinds import KINDS
from sandbox import Sandbox

LINK: dict[str, tuple[Any, Any]] = {
    "mtu": (1400, 1300),
    "mac": ("02:00:00:00:00:01", "02:00:00:00:00:02"),
    "up": (True, False),
    "alias": ("one", "the other; with 'quotes'"),
    "txqueuelen": (500, 600),
    "group": (7, 8),
    "arp": (False, True),
    "multicast": (False, True),
    "promisc": (True, False),
    "allmulticast": (True, False),
    "gso_max_size": (30000, 40000),
    "gro_max_size": (30000, 40000),
}
PORT: dict[str, tuple[Any, Any]] = {
    "port_cost": (10, 20),
    "port_priority": (10, 20),
    "port_hairpin": (True, False),
    "port_guard": (True, False),
    "port_root_block": (True, False),
    "port_learning": (False, True),
    "port_flood": (False, True),
    "port_mcast_flood": (False, True),
    "port_bcast_flood": (False, True),
    "port_neigh_suppress": (True, False),
    "port_isolated": (True, False),
}
VALUES: dict[str, dict[str, tuple[Any, Any]]] = {
    "bridge": {
        **LINK,
        "forward_delay": (10, 12),
        "hello_time": (3, 4),
        "max_age": (10, 12),
        "ageing_time": (100, 200),
        "stp": (True, False),
        "priority": (100, 200),
        "group_fwd_mask": (8, 16),
        "mcast_snooping": (False, True),
        "mcast_querier": (True, False),
        "mcast_hash_max": (512, 1024),
        "mcast_router": (0, 2),
        "mcast_query_use_ifaddr": (True, False),
        "mcast_last_member_count": (3, 4),
        "mcast_startup_query_count": (3, 4),
        "nf_call_iptables": (True, False),
        "nf_call_ip6tables": (True, False),
        "nf_call_arptables": (True, False),
        "mcast_stats_enabled": (True, False),
        "mcast_igmp_version": (3, 2),
        "mcast_mld_version": (2, 1),
    },
    "veth": {**LINK, **PORT},
    "veth-end": {**LINK, **PORT},
    "vxlan": {
        **LINK,
        "vni": (7, 8),
        "remote": ("192.0.2.1", "192.0.2.2"),
        "local": ("192.0.2.10", "192.0.2.11"),
        "dev": ("lower0", "lower1"),
        "ttl": (10, 20),
        "tos": (4, 8),
        "learning": (False, True),
        "ageing": (100, 200),
        "limit": (10, 20),
        "port": (4789, 4790),
        "udp_csum": (False, True),
    },
    "address": {"scope": ("link", "global"), "nodad": (True, False)},
    "neighbor": {"lladdr": ("02:00:00:00:00:01", "02:00:00:00:00:02")},
    "fdb": {
        "dst": ("192.0.2.1", "192.0.2.2"),
        "port": (4789, 4790),
        "vni": (7, 8),
        "on": ("self", "self"),
    },
    "route": {
        "dst": ("10.1.0.0/16", "10.2.0.0/16"),
        "via": ("10.0.0.2", "10.0.0.3"),
        "dev": ("lower0", "lower1"),
        "onlink": (True, False),
        "src": ("10.0.0.1", "10.9.0.1"),
        "metric": (5, 6),
        "table": (100, 1000),
        "type": ("blackhole", "unreachable"),
        "scope": ("host", "link"),
    },
    "sysctl": {"value": ("1", "0")},
    "netns": {},
}
"""Kind -> property -> the values before and after. Each is tried on an object of its own."""

STACK = '''
import json
from netdsl import *

VALUES = json.loads({values!r})


@stack
def every(step: int = 0, without: bool = False):
    """One object for each property."""
    ns, far = Netns("every"), Netns("far")
    with ns:
        lowers = {{f"lower{{i}}": Bridge(f"lower{{i}}", addresses=[f"10.{{i * 9}}.0.1/24"]) for i in range(2)}}
        tunnel = Vxlan("tunnel", vni=99, port=1)
    bridge = lowers["lower0"]

    def value(kind, name):
        found = VALUES[kind][name][step]
        return lowers[found] if name == "dev" else found

    def given(kind, name):
        return {{}} if without else {{name: value(kind, name)}}

    with ns:
        for i, name in enumerate(VALUES["bridge"]):
            Bridge(f"b{{i}}", **given("bridge", name))
        for i, name in enumerate(VALUES["veth"]):
            port = {{"master": bridge}} if name.startswith("port_") else {{}}
            Veth(f"v{{i}}", **port, **given("veth", name), peer=VethEnd(f"p{{i}}", netns=far))
            if name.startswith("port_"):
                port = {{"master": bridge}}
            Veth(f"w{{i}}", netns=far, peer=VethEnd(f"e{{i}}", netns=ns, **port, **given("veth-end", name)))
        for i, name in enumerate(VALUES["vxlan"]):
            needed = {{"vni": 1000 + i, "port": 2000 + i}}
            if name == "mtu":
                needed["dev"] = bridge
            keep = without and name == "vni"
            Vxlan(f"x{{i}}", **{{**needed, **(given("vxlan", name) if not keep else {{"vni": value("vxlan", name)}})}})
        Address("192.0.2.1/32", dev=bridge, **given("address", "scope"))
        Address("2001:db8::1/64", dev=bridge, nodad=value("address", "nodad"))
        Neighbor("10.0.0.9", dev=bridge, lladdr=value("neighbor", "lladdr"))
        for i, name in enumerate(VALUES["fdb"]):
            Fdb = {{"dst": "192.0.2.9", **given("fdb", name)}}
            FdbEntry(f"02:00:00:00:01:{{i:02x}}", dev=tunnel, **Fdb)
        for i, name in enumerate(VALUES["route"]):
            basis = {{"dst": f"10.5{{i}}.0.0/16", "dev": bridge}}
            if name in ("via", "onlink"):
                basis["via"] = "10.0.0.7"
            if name == "type":
                del basis["dev"]
                basis["type"] = value("route", "type")
            Route(name, **{{**basis, **(given("route", name) if name != "type" else {{}})}})
        Sysctl("net.ipv4.conf.lower0.rp_filter", value=value("sysctl", "value"))
        Sysctl("net.ipv4.ip_forward", value=value("sysctl", "value"))
'''


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """The stack with an object for each property."""
    path = tmp_path / "every.py"
    path.write_text(STACK.format(values=json.dumps(VALUES)))
    return path


def test_table_is_complete() -> None:
    """The table names every property of its kinds that a user can set, except references between links; what it
    leaves to kernel_cases/ is held there."""
    for word in VALUES:
        cls = KINDS[word]
        names = {p.name for p in cls.properties.values() if p.init} - {"master", "peer"}
        if word == "bridge":
            names -= set(PORT)
        if word in ("address", "neighbor", "fdb"):
            names -= {"dev"}
        if word == "vxlan":
            names -= set(PORT)
        assert names - set(CASES.get(word, {}).get("values", ())) == set(VALUES[word]), word


def test_every_property_is_set_changed_and_taken_out(make_sandbox: Callable[[], Sandbox], program: Path) -> None:
    """Each property holds its value after `up` and its new one after a change; once it is taken out, all is as if it
    had never been given."""
    sandbox, never = make_sandbox(), make_sandbox()
    for arguments in (["-p", "step=0"], ["-p", "step=1"], ["-p", "step=1", "-p", "without=true"]):
        sandbox.netdsl("up", str(program), "--yes", *arguments)
        plan = json.loads(sandbox.netdsl("plan", "every", "--json").stdout)
        assert plan["changes"] == []
    never.netdsl("up", str(program), "--yes", "-p", "step=1", "-p", "without=true")
    found = differences(unowned(sandbox.dump()), unowned(never.dump()))
    assert not found, "what was taken out did not go back to what it is without:\n" + "\n".join(found)
    sandbox.netdsl("destroy", "every", "--yes")


def test_in_place_or_not(sandbox: Sandbox, program: Path) -> None:
    """A change of a property is planned in place unless its declaration says that the kernel cannot."""
    sandbox.netdsl("up", str(program), "--yes")
    plan = json.loads(sandbox.netdsl("plan", "every", "-p", "step=1", "--json").stdout)
    for change in plan["changes"]:
        properties = KINDS[change["kind"]].properties
        if change["diff"] and not change["falls_with"]:
            forced = any(properties[name].replace for name in change["diff"])
            assert change["action"] == ("replace" if forced else "update"), change
