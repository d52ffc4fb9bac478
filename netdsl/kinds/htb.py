"""Htb: a link shared out among classes (tc-htb(8); net/sched/sch_htb.c, linux/pkt_sched.h)."""

from __future__ import annotations

from collections.abc import Mapping
from struct import Struct
from typing import Any

from netdsl import wire
from netdsl.errors import joined
from netdsl.kinds.qdisc import Qdisc, handle_of, number_of, place_of, said
from netdsl.lang.item import Props
from netdsl.lang.property import kind, prop
from netdsl.lang.resource import Resource
from netdsl.lang.values import text, u32

TCA_HTB_INIT, TCA_HTB_DIRECT_QLEN = 2, 5
VERSION = 3
R2Q = 10
_GLOB = Struct("=IIIII")
"""struct tc_htb_glob: version, r2q, the default class's half of its number, debug flags, a counter."""


@kind
class Htb(Qdisc):
    """What a link sends is shared out among classes, each an HtbClass. Its name is free text.

    It is the root of a link (`dev=`), or sits under the class of another (`parent=`). A packet goes to the class that
    a TcFilter or its priority names (SO_PRIORITY, or `meta priority set 1:10` of nftables), else to `default`; without
    one it is not held back at all. The kernel changes no Htb in place: with it, what is under it is made again.
    """

    word = "htb"
    requires = "CONFIG_NET_SCH_HTB"

    default: str | None = prop(
        text(255), default=None, kernel="", replace=True, doc="name of the class of packets that no other class gets"
    )
    r2q: int | None = prop(
        u32(1), default=None, kernel=R2Q, word="r2q", replace=True,
        doc="a class's quantum is its rate in bytes a second, divided by this",
    )  # fmt: skip
    direct_qlen: int | None = prop(
        u32(1), default=None, word="direct_qlen", replace=True, unit="packets",
        doc="most packets without a class that wait; absent: the link's txqueuelen",
    )  # fmt: skip

    @property
    def classes(self) -> dict[str, Resource]:
        """Its classes by name, as far as they are declared."""
        found: dict[str, Resource] = self.__dict__.setdefault("_classes", {})
        return found

    def finished(self) -> None:
        """The default is one of its classes, and one that holds packets."""
        if self.default is None or self.broken:
            return
        chosen = self.classes.get(self.default)
        if chosen is None:
            there = f"Its classes are {joined(list(self.classes))}." if self.classes else "It has no class."
            self.fault(f"{self.title}: the default {self.default!r} is none of its classes", there)
        elif chosen.__dict__.get("_classes"):
            self.fault(
                f"{self.title}: the default {self.default!r} has classes of its own, so no packet can be put in it",
                "Name one that has none.",
            )

    def props(self) -> Props:
        """With the default as the kernel knows it."""
        found = super().props()
        chosen = self.classes.get(self.default or "")
        return {**found, "default": chosen.__dict__["classid"]} if chosen is not None else found

    @classmethod
    def options(cls, props: Mapping[str, Any]) -> bytes:
        """struct tc_htb_glob, which has to be given, and what else is."""
        minor = number_of(props["default"]) & 0xFFFF if props.get("default") else 0
        packed = wire.attr(TCA_HTB_INIT, _GLOB.pack(VERSION, props.get("r2q") or R2Q, minor, 0, 0))
        if props.get("direct_qlen") is not None:
            packed += wire.attr_u32(TCA_HTB_DIRECT_QLEN, props["direct_qlen"])
        return packed

    @classmethod
    def read(cls, options: bytes, handle: str) -> Props:
        """All of them."""
        found = wire.attrs(options, 0, len(options))
        _, r2q, minor, _, _ = _GLOB.unpack(found[TCA_HTB_INIT])
        default = place_of(number_of(handle) | minor) if minor else ""
        return {"default": default, "r2q": r2q, "direct_qlen": wire.U32.unpack(found[TCA_HTB_DIRECT_QLEN])[0]}

    @classmethod
    def words(cls, props: Mapping[str, Any]) -> str:
        """`default` takes the half of the number."""
        chosen = props.get("default")
        word = f" default {chosen.removeprefix(handle_of(chosen))}" if chosen else ""
        return said(cls, props, {"r2q": "r2q", "direct_qlen": "direct_qlen"}) + word
