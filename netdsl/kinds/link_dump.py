"""How links are read: one dump shows all of them with their kinds, data and marks (rtnl_fill_ifinfo)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from struct import Struct
from typing import Any

from netdsl import wire
from netdsl.kinds.link import LINK_KINDS, Link
from netdsl.kinds.link_wire import (
    IFF_UP,
    IFLA_ALT_IFNAME,
    IFLA_IFNAME,
    IFLA_LINKINFO,
    IFLA_PROP_LIST,
    INFO_DATA,
    INFO_KIND,
    INFO_SLAVE_DATA,
    INFO_SLAVE_KIND,
    RTM_GETLINK,
)
from netdsl.lang.dump import Dump, Nsid, Scope
from netdsl.lang.item import Have
from netdsl.lang.property import Property

IFLA_LINK, IFLA_EXT_MASK, IFLA_LINK_NETNSID = 5, 29, 37
RTEXT_FILTER_SKIP_STATS = 8

FALLBACK_LINKS = frozenset(("tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "sit0", "ip6tnl0", "ip6gre0"))
"""Devices that the kernel puts into every new netns once their modules are loaded."""

_S32 = Struct("=i")
_NONE, _MINUS = b"\0\0\0\0", b"\xff\xff\xff\xff"


def read_link(buffer: bytes, start: int, end: int, scope: Scope) -> None:
    """One RTM_NEWLINK of a dump."""
    _, _, ifindex, flags, _ = wire.IFINFO.unpack_from(buffer, start)
    found = wire.attrs(buffer, start + 16, end)
    name = found[IFLA_IFNAME][:-1].decode("utf-8", "replace")
    scope.links[ifindex] = name
    info = wire.attrs(found[IFLA_LINKINFO], 0, len(found[IFLA_LINKINFO])) if IFLA_LINKINFO in found else {}
    word = wire.text(info[INFO_KIND]) if INFO_KIND in info else "loopback" if ifindex == 1 else "device"
    key = ("link", scope.netns, name)
    props: dict[str, Any] = {}
    marks: tuple[str, ...] = ()
    if IFLA_PROP_LIST in found:
        marks = tuple(wire.text(v) for n, v in wire.attr_list(found[IFLA_PROP_LIST]) if n == IFLA_ALT_IFNAME)
    names = scope.interest.get(key)
    if names is not None:
        for declared in _wanted(word, frozenset(names)):
            props[declared.name] = _value(declared, found, info, flags)
        if word in LINK_KINDS:
            LINK_KINDS[word].read(word, props, _nested(info, INFO_DATA))
        if LINK_KINDS.get(word, Link).spans:
            props["iflink"] = wire.U32.unpack(found.get(IFLA_LINK, _NONE))[0]
            props["link_nsid"] = _S32.unpack(found.get(IFLA_LINK_NETNSID, _MINUS))[0]
    cls = LINK_KINDS.get(word)
    scope.found[key] = Have((cls.kernel or cls.word) if cls is not None else word, props, ifindex, marks)


@cache
def _wanted(word: str, names: frozenset[str]) -> tuple[Property, ...]:
    """Those properties of a kind of link, by the kernel's word for it, that somebody asked for."""
    return tuple(p for p in LINK_KINDS.get(word, Link).numbered(word) if p.name in names)


def _value(declared: Property, found: Mapping[int, bytes], info: dict[Any, Any], flags: int) -> Any:
    at = declared.at
    if at in ("link", "late"):
        place = found
    elif at == "info":
        place = _nested(info, INFO_DATA)
    elif at == "port":
        place = _nested(info, INFO_SLAVE_DATA) if info.get(INFO_SLAVE_KIND, b"")[:6] == b"bridge" else {}
    elif at in ("flag", "unflag"):
        return bool(flags & declared.number) == (at == "flag")
    else:
        return bool(flags & IFF_UP) if declared.name == "up" else None
    payload = place.get(declared.number)
    if payload is None and declared.number6:
        payload = place.get(declared.number6)
    if payload is None:
        return "" if declared.type.link else declared.kernel if at == "late" else declared.type.absent
    return declared.type.unpack(payload)


def _nested(info: dict[Any, Any], number: int) -> Mapping[int, bytes]:
    """The attributes inside one of IFLA_LINKINFO's, parsed once."""
    parsed: Mapping[int, bytes] | None = info.get(("parsed", number))
    if parsed is None:
        payload = info.get(number, b"")
        parsed = info[("parsed", number)] = wire.attrs(payload, 0, len(payload))
    return parsed


def settle(scopes: Sequence[Scope], nsid: Nsid) -> None:
    """Turn ifindexes in properties into names once all links are known; let each kind look across netns."""
    for scope in scopes:
        for _, have in scope.seen_links():
            if have.props:
                for word, _ in LINK_KINDS.get(have.kind, Link).references:
                    if have.props.get(word) is not None:
                        have.props[word] = scope.links.get(have.props[word], "")
    for cls in set(LINK_KINDS.values()):
        cls.settle(scopes, nsid)


LINKS = Dump(
    "links",
    RTM_GETLINK,
    lambda scope: wire.IFINFO.pack(0, 0, 0, 0, 0) + wire.attr_u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS),
    read_link,
    settle,
)
Link.dumps = (LINKS,)
