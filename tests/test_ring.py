"""Bigger labs: a ring that grows and shrinks by one node, and two sites joined by a router."""

from __future__ import annotations

import json
from typing import Any

from labs import RING, TWO_SITES, answers, plan_of
from sandbox import Sandbox


def test_one_node_more_touches_only_its_neighbours(sandbox: Sandbox) -> None:
    """A seventh node changes itself, its port and its four ring neighbours; taking it away restores what was there."""
    sandbox.netdsl("up", RING, "--yes", "-p", "nodes=6")
    assert plan_of(sandbox, RING) == []
    assert answers(sandbox, "c0", "172.16.2.2") == 62
    before = stable(sandbox.dump())
    grown = plan_of(sandbox, RING, "-p", "nodes=7")
    touched = {c["netns"] or c["name"] for c in grown}
    assert touched == {"n6", "c6", "underlay", "n4", "n5", "n0", "n1"}
    assert {c["name"] for c in grown if c["netns"] == "underlay"} == {"port6"}
    old = [c for c in grown if c["netns"] in ("n4", "n5", "n0", "n1")]
    assert {c["kind"] for c in old} == {"neighbor", "fdb", "route"}
    assert {c["action"] for c in grown} == {"create", "delete"}
    sandbox.netdsl("up", RING, "--yes", "-p", "nodes=7")
    assert answers(sandbox, "c6", "172.16.0.2") == 62
    shrunk = plan_of(sandbox, RING, "-p", "nodes=6")
    assert {c["netns"] or c["name"] for c in shrunk} == touched
    sandbox.netdsl("up", RING, "--yes", "-p", "nodes=6")
    assert stable(sandbox.dump()) == before


def test_a_segment_of_several_bridges(sandbox: Sandbox) -> None:
    """With two nodes a bridge, five nodes stand on three that are joined: containers of different ones talk."""
    sandbox.netdsl("up", RING, "--yes", "-p", "nodes=5", "-p", "per_bridge=2")
    assert plan_of(sandbox, RING) == []
    masters = {link["ifname"]: link["master"] for link in sandbox.ip("link", netns="underlay") if "master" in link}
    assert [masters[f"port{i}"] for i in range(5)] == ["br0", "br0", "br1", "br1", "br2"]
    assert answers(sandbox, "c0", "172.16.4.2") == 62
    done = sandbox.netdsl("plan", RING, "-p", "per_bridge=0", check=False)
    assert done.returncode == 1 and "per_bridge must be between 1 and 1000, not 0" in done.stderr


def stable(picture: Any) -> Any:
    """A dump without the numbers that depend on the order of creation."""
    if isinstance(picture, dict):
        return {k: stable(v) for k, v in picture.items() if k not in ("ifindex", "link_index", "port_no", "port_id")}
    if isinstance(picture, list):
        return sorted(
            (stable(part) for part in picture), key=lambda part: json.dumps(part, sort_keys=True, default=str)
        )
    return picture


def test_containers_of_two_sites_reach_each_other(sandbox: Sandbox) -> None:
    """Two vxlan labs composed into one, joined by a router: each container reaches each other one."""
    sandbox.netdsl("up", TWO_SITES, "--yes")
    assert plan_of(sandbox, TWO_SITES) == []
    containers = {
        name: next(a["local"] for a in link["addr_info"] if a["family"] == "inet")
        for name in sandbox.netns_names()
        if "-ns" in name
        for link in sandbox.ip("addr", "show", "dev", "eth0", netns=name)
    }
    assert len(containers) == 4
    for here in containers:
        for there, address in containers.items():
            if here != there:
                same = here.partition("-")[0] == there.partition("-")[0]
                assert answers(sandbox, here, address) == (62 if same else 61)
