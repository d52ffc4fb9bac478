"""What is a stack's own, told in two ways: by the marks in the kernel, and by the state."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, TypeAlias

from sandbox import Picture

Thing: TypeAlias = tuple[str, ...]
"""A kind and what the kernel tells an object of it by, the netns first."""

PROTOCOL = 78
"""Ours, of routes, rules and neighbours; /etc/iproute2 has no name for it."""
LINKS = ("bridge", "veth", "veth-end", "vxlan", "macvlan", "tap")
FOREIGN_ADDRESSES = re.compile(r"10\.66\.")
"""What the tests themselves give to links as others would."""


def marked(picture: Picture, stack: str, known: Collection[Thing] = ()) -> set[Thing]:
    """Objects in the kernel that carry a mark of the stack, or that stand on links or in netns which do.

    `known` are further links of the stack's by netns, name and ifindex: the mark of a veth pair's far end comes later.
    """
    there = [(netns, parts) for netns, parts in picture.items() if "links" in parts]
    return {thing for netns, parts in there for thing in _marked(netns, parts, stack, known)}


def indexed(resources: Mapping[Thing, Mapping[str, Any]]) -> set[Thing]:
    """Recorded links by netns, name and the ifindex that was chosen for them."""
    return {(*thing[1:], str(r["extra"].get("ifindex", ""))) for thing, r in resources.items() if thing[0] == "link"}


def _marked(netns: str, parts: Mapping[str, Any], stack: str, known: Collection[Thing]) -> Iterator[Thing]:
    ours = set()
    for link in parts["links"]:
        names = link.get("altnames", ())
        if link["ifname"] == "lo" and f"netdsl:{stack}:lo" in names:
            yield ("netns", netns)
        elif (
            any(name.startswith(f"netdsl:{stack}:") for name in names)
            or (netns, link["ifname"], str(link["ifindex"])) in known
        ):
            ours.add(link["ifname"])
            yield ("link", netns, link["ifname"])
            for address in link["addr_info"]:
                cidr = f"{address['local']}/{address['prefixlen']}"
                if not FOREIGN_ADDRESSES.match(cidr) and not cidr.startswith("fe80:"):
                    yield ("address", netns, link["ifname"], cidr)
    for route in (*parts["routes4"], *parts["routes6"]):
        if route.get("protocol") == str(PROTOCOL):
            yield ("route", netns, route["dst"], str(route.get("metric", 0)), route.get("table", "main"))
    for rule in (*parts["rules4"], *parts["rules6"]):
        if rule.get("protocol") == str(PROTOCOL):
            yield ("rule", netns, str(rule["priority"]))
    for nexthop in parts["nexthops"]:
        if nexthop.get("protocol") == str(PROTOCOL):
            yield ("nexthop", netns, str(nexthop["id"]))
    for neighbour in parts["neighbours"]:
        if neighbour.get("protocol") == str(PROTOCOL):
            yield ("neighbor", netns, neighbour["dev"], neighbour["dst"])
    for entry in parts["fdb"]:
        if entry["ifname"] in ours and "dst" in entry and entry.get("state") == "permanent":
            yield ("fdb", netns, entry["ifname"], entry["mac"])
    for entry in parts["tables"]:
        if "table" in entry and not entry["table"]["name"].startswith("fx"):
            yield ("table", netns, entry["table"]["name"])


def recorded(export: str) -> dict[Thing, dict[str, Any]]:
    """What `state export` says that the stack owns."""
    found: dict[Thing, dict[str, Any]] = {}
    for resource in json.loads(export)["resources"]:
        found[_recorded(resource)] = resource
    return found


def _recorded(resource: Mapping[str, Any]) -> Thing:
    kind, netns, props = resource["kind"], resource["netns"], resource["props"]
    name = resource["name"].partition(" ")[0]
    if kind == "netns":
        return ("netns", name)
    if kind in LINKS:
        return ("link", netns, name)
    if kind == "address":
        return ("address", netns, props["dev"], props["address"])
    if kind == "route":
        table = str(props.get("table", 254))
        dst = props["dst"].replace("0.0.0.0/0", "default")
        return ("route", netns, dst, str(props.get("metric") or 0), "main" if table == "254" else table)
    if kind == "rule":
        return ("rule", netns, str(props["priority"]))
    if kind == "neighbor":
        return ("neighbor", netns, props["dev"], name)
    if kind == "fdb":
        return ("fdb", netns, props["dev"], name)
    if kind in ("nexthop", "nexthop-group"):
        return ("nexthop", netns, str(props["id"]))
    if kind in ("masquerade", "snat", "dnat"):
        return ("table", netns, name)
    return (kind, netns, name)
