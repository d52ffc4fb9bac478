"""Sysctl: a value below /proc/sys/net, which belongs to a netns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from netdsl.kinds.shell import inside, quote
from netdsl.lang.dump import Files, Scope
from netdsl.lang.item import Gone, Have, Item, Key, Need
from netdsl.lang.ops import Env, Op, WriteSysctl
from netdsl.lang.property import kind, prop
from netdsl.lang.resource import Resource
from netdsl.lang.values import ValueType

FORWARDING = ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding")
_ANNOUNCED = {
    "ipv4": ("forwarding", "rp_filter", "proxy_arp", "bc_forwarding", "ignore_routes_with_linkdown"),
    "ipv6": ("forwarding", "proxy_ndp", "ignore_routes_with_linkdown"),
}
"""Those of conf/ whose changes the kernel tells of (linux/netconf.h)."""
_NO_DEVICE = frozenset(("all", "default"))


def _check_path(name: Any) -> str:
    """`net.ipv4.ip_forward` or, for interface names with dots, `net/ipv4/conf/eth0.1/forwarding`."""
    if not isinstance(name, str):
        raise ValueError(f"a sysctl's name must be a string, not {name!r}")
    path = name if "/" in name else name.replace(".", "/")
    parts = path.split("/")
    if parts[0] != "net" or len(parts) < 3 or any(part in ("", ".", "..") or part.strip() != part for part in parts):
        raise ValueError(f"{name!r} is no sysctl of a network namespace: it must be like net.ipv4.ip_forward")
    return path


def _check_value(value: Any) -> str:
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str) and value.strip() and "\n" not in value:
        return " ".join(value.split())
    raise ValueError(f"must be a number or a string, not {value!r}")


def device_of(path: str) -> str:
    """The interface that a path is about, or "".

    >>> device_of("net/ipv4/conf/eth0/rp_filter"), device_of("net/ipv4/conf/all/rp_filter")
    ('eth0', '')
    """
    parts = path.split("/")
    return parts[3] if len(parts) > 4 and parts[2] in ("conf", "neigh") and parts[3] not in _NO_DEVICE else ""


@kind
class Sysctl(Resource):
    """A kernel parameter of a netns. It is always there: declaring it sets it, deleting it restores what was found."""

    word = "sysctl"
    family = "sysctl"
    phase = 10
    preexisting = True
    check_name = staticmethod(_check_path)

    value: str | int = prop(ValueType("number or string", _check_value, str.encode, bytes.decode), doc="the value")

    @classmethod
    def needs(cls, netns: str, name: str, props: Mapping[str, Any]) -> tuple[Need, ...]:
        """Its netns, and the interface that the path names."""
        device = device_of(name)
        link = (Need(("link", netns, device), Gone.VANISH),) if device else ()
        return super().needs(netns, name, props) + link

    @classmethod
    def announced(cls, item: Item) -> bool:
        """A few are."""
        _, family, *rest = item.name.split("/")
        return rest == ["ip_forward"] or (rest[0] == "conf" and rest[-1] in _ANNOUNCED.get(family, ()))

    @classmethod
    def create(cls, item: Item, env: Env) -> Sequence[Op]:
        """Write it."""
        return [WriteSysctl(item.name, item.props["value"])]

    @classmethod
    def update(cls, item: Item, changed: Mapping[str, Any], env: Env) -> Sequence[Op]:
        """Write it again."""
        return cls.create(item, env)

    @classmethod
    def delete(cls, item: Item, env: Env) -> Sequence[Op]:
        """Restore the value that was there before."""
        before = item.extra.get("found", {}).get("value")
        return [WriteSysctl(item.name, before)] if before is not None else []

    @classmethod
    def commands(cls, action: str, item: Item, changed: Mapping[str, Any], env: Env) -> Sequence[str]:
        """`sysctl -w`."""
        ops = cls.delete(item, env) if action == "delete" else cls.create(item, env) if action != "finish" else ()
        return [
            inside(item.netns, f"sysctl -qw {quote(op.path)}={quote(op.value)}")
            for op in ops
            if isinstance(op, WriteSysctl)
        ]


def _paths(scope: Scope) -> list[tuple[Key, str]]:
    return [(key, key[2]) for key in scope.wanted("sysctl")]


def _read(key: Key, content: str, scope: Scope) -> None:
    scope.found[key] = Have("sysctl", {"value": " ".join(content.split())})


Sysctl.dumps = (Files("sysctls", _paths, _read),)
