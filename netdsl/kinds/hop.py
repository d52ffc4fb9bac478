"""Hop: one of several paths of a multipath route (RTA_MULTIPATH, struct rtnexthop; net/ipv4/fib_semantics.c)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from struct import Struct
from typing import Any

import attrs

from netdsl import wire
from netdsl.kinds.link import Link
from netdsl.lang.naming import check_ifname
from netdsl.lang.values import ValueType, check_ip, is_v6, pack_ip, unpack_ip

RTA_MULTIPATH, RTA_GATEWAY, RTA_VIA = 9, 5, 18
RTNH_F_ONLINK = 4
WEIGHT_MOST = 256
"""The kernel keeps a weight less one in a byte (rtnh_hops)."""
_RTNEXTHOP = Struct("=HBBi")
"""struct rtnexthop: length, flags, weight less one, ifindex; attributes follow."""

Paths = Sequence[Mapping[str, Any]]
"""The normal form: mappings of via and onlink (where they are given), dev and weight, sorted by gateway and link."""


@attrs.frozen
class Hop:
    """One path of a route: the gateway `via`, the link `dev`, and its share of the packets.

    weight  1..256: how many flows take this path for each that takes one of weight 1
    onlink  take the gateway to be reachable on `dev` without looking
    """

    via: str | None = attrs.field(default=None, kw_only=True)
    dev: Link | None = attrs.field(default=None, kw_only=True)
    weight: int = attrs.field(default=1, kw_only=True)
    onlink: bool | None = attrs.field(default=None, kw_only=True)


def spoken(via: str | None, dev: str) -> str:
    """How messages and `ip` name a path."""
    return f"via {via} dev {dev}" if via is not None else f"dev {dev}"


def check_weight(weight: Any, whose: str, most: int = WEIGHT_MOST) -> None:
    """ValueError unless it is a whole number that fits."""
    if isinstance(weight, bool) or not isinstance(weight, int) or not 1 <= weight <= most:
        raise ValueError(f"must have weights between 1 and {most}; {whose} has {weight!r}")


def _check_hop(place: int, hop: Any) -> Hop:
    if not isinstance(hop, Hop):
        raise ValueError(f"must hold Hop(via=..., dev=...), not {hop!r}")
    if hop.dev is None:
        raise ValueError(f"must each have dev=; path {place} has none")
    if not isinstance(hop.dev, Link):
        raise ValueError(f"must each have a link as dev; path {place} has {hop.dev!r}")
    try:
        via = check_ip(hop.via) if hop.via is not None else None
    except ValueError as wrong:
        raise ValueError(f"must each have a gateway as via; that of path {place} {wrong}") from None
    name = spoken(via, hop.dev.name)
    check_weight(hop.weight, name)
    if hop.onlink is not None and not isinstance(hop.onlink, bool):
        raise ValueError(f"must have onlink True or False; {name} has {hop.onlink!r}")
    if hop.onlink and via is None:
        raise ValueError(f"must have via where onlink is set; {name} has none")
    return attrs.evolve(hop, via=via)


def _check(value: Any) -> list[Hop]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ValueError(f"must be a list of Hop(via=..., dev=...), not {value!r}")
    if not value:
        raise ValueError("must not be empty: name at least one Hop(via=..., dev=...)")
    found: dict[tuple[str | None, int], Hop] = {}
    for place, part in enumerate(value, 1):
        hop = _check_hop(place, part)
        if (hop.via, id(hop.dev)) in found:
            raise ValueError(f"must differ; {spoken(hop.via, part.dev.name)} is there twice: give it a weight instead")
        found[(hop.via, id(hop.dev))] = hop
    return list(found.values())


def _no_bytes(_value: Any) -> Any:
    raise TypeError("paths are encoded by pack_paths")


def _check_recorded(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(path, dict) and "dev" in path for path in value):
        raise ValueError(f"must be a list of paths, not {value!r}")
    for path in value:
        check_ifname(path["dev"])
        check_weight(path.get("weight"), str(path["dev"]))
        if "via" in path:
            check_ip(path["via"])
        if not isinstance(path.get("onlink", True), bool):
            raise ValueError(f"must have onlink true or false, not {path['onlink']!r}")
    return value


PATHS = ValueType("list of Hop", _check, _no_bytes, _no_bytes, recorded=_check_recorded)


def normal(hops: Sequence[Hop]) -> list[dict[str, Any]]:
    """The normal form. A lone path has no share: the kernel shows no weight of it."""
    return _sorted(
        _path(hop.via, hop.dev.name, hop.weight if len(hops) > 1 else 1, bool(hop.onlink))
        for hop in hops
        if hop.dev is not None
    )


def _path(via: str | None, dev: str, weight: int, onlink: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"via": via} if via is not None else {}
    found |= {"dev": dev, "weight": weight}
    return found | {"onlink": True} if onlink else found


def _sorted(paths: Any) -> list[dict[str, Any]]:
    return sorted(paths, key=lambda path: (pack_ip(path["via"]) if "via" in path else b"", path["dev"]))


def lone(via: str | None, dev: str | None, onlink: bool) -> list[dict[str, Any]]:
    """What a route without RTA_MULTIPATH has: one path, or none."""
    return [_path(via, dev, 1, onlink)] if dev is not None else []


def pack_paths(paths: Paths, ifindex: Any) -> bytes:
    """RTA_MULTIPATH; `ifindex` gives that of a link's name."""
    packed = b""
    for path in paths:
        gateway = wire.attr(RTA_GATEWAY, pack_ip(path["via"])) if "via" in path else b""
        flags = RTNH_F_ONLINK if path.get("onlink") else 0
        length = _RTNEXTHOP.size + len(gateway)
        packed += _RTNEXTHOP.pack(length, flags, path["weight"] - 1, ifindex(path["dev"])) + gateway
    return wire.attr(RTA_MULTIPATH, packed)


def unpack_paths(payload: bytes, links: Mapping[int, str]) -> list[dict[str, Any]]:
    """From RTA_MULTIPATH, with the names of links by ifindex."""
    found, start = [], 0
    while start + _RTNEXTHOP.size <= len(payload):
        length, flags, less, ifindex = _RTNEXTHOP.unpack_from(payload, start)
        if length < _RTNEXTHOP.size:
            break
        inner = wire.attrs(payload, start + _RTNEXTHOP.size, start + length)
        via = inner.get(RTA_GATEWAY) or (inner[RTA_VIA][2:] if RTA_VIA in inner else None)
        dev, onlink = links.get(ifindex, ""), bool(flags & RTNH_F_ONLINK)
        found.append(_path(unpack_ip(via) if via is not None else None, dev, less + 1, onlink))
        start += (length + 3) & ~3
    return _sorted(found)


def words(paths: Paths) -> str:
    """What `ip route` reads, with a space in front."""
    return "".join(
        f" nexthop {spoken(path.get('via'), path['dev'])} weight {path['weight']}"
        + (" onlink" if path.get("onlink") else "")
        for path in paths
    )


def mixed(hops: Sequence[Hop], v6: bool) -> Hop | None:
    """The first hop whose gateway is of the other address family."""
    return next((hop for hop in hops if hop.via is not None and is_v6(hop.via) != v6), None)
