"""Macvlan: a link with a MAC address of its own on a lower device (drivers/net/macvlan.c)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from netdsl import wire
from netdsl.kinds.upper import UpperLink
from netdsl.lang.declaration import Declaration
from netdsl.lang.ops import Env
from netdsl.lang.property import kind, prop
from netdsl.lang.values import MAC, ValueType, named, pack_mac, u32, unpack_mac

IFLA_MACVLAN_MACADDR_MODE, IFLA_MACVLAN_MACADDR = 3, 4
MACADDR_SET = 3
MODES = {"private": 1, "vepa": 2, "bridge": 4, "passthru": 8, "source": 16}


def _check_macs(value: Any) -> str:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ValueError(f"must be a list of MAC addresses, not {value!r}")
    return ",".join(sorted({MAC.check(mac) for mac in value}))


def _check_joined(value: Any) -> str:
    return _check_macs([mac for mac in str(value).split(",") if mac])


MACS = ValueType(
    "list of MAC addresses",
    _check_macs,
    lambda macs: b"".join(wire.attr(IFLA_MACVLAN_MACADDR, pack_mac(mac)) for mac in macs.split(",") if mac),
    lambda payload: ",".join(sorted(unpack_mac(value) for _, value in wire.attr_list(payload))),
    absent="",
    recorded=_check_joined,
)
"""Its normal form is sorted and joined by commas."""


@kind
class Macvlan(UpperLink):
    """A link with a MAC address of its own on a lower device, which may be in another netns.

    In the mode bridge those on one lower device reach each other, and what is on its wire; none reaches the lower
    device itself. In the mode passthru the only one has the lower device's MAC address, and `mac` cannot be given.
    """

    word = "macvlan"
    requires = "CONFIG_MACVLAN"

    mode: str | None = prop(
        named("=I", MODES), default=None, at="info", number=1, word="mode", kernel="vepa",
        anew=lambda have, want: "passthru" in (have.get("mode"), want.get("mode")),
        doc="private: those on one device do not talk; vepa: by way of the switch outside; bridge: at once; "
        "passthru: the device is handed over to one; source: only frames from `sources`",
    )  # fmt: skip
    sources: Sequence[str] | None = prop(
        MACS, default=None, at="info", number=5, word="macaddr set", kernel="",
        doc="mode source: the MAC addresses that it takes frames from",
    )  # fmt: skip
    bc_queue_len: int | None = prop(
        u32(), default=None, at="info", number=7, word="bcqueuelen", unit="packets", kernel=1000,
        doc="length of the queue of broadcast packets; the lower device takes the longest that is asked for",
    )  # fmt: skip

    def complete(self, declaration: Declaration) -> None:
        """Check that the parts fit together."""
        if self.mode == "passthru" and self.mac is not None:
            self.fault(
                f"{self.title}: in the mode passthru it has the MAC address of {self.dev.name!r}: mac cannot be set"
            )
        super().complete(declaration)
        if self.sources is not None and self.mode != "source":
            self.fault(f"{self.title}: sources is for the mode source only")
        if self.dev.word == self.word:
            self.fault(f"{self.title}: dev {self.dev.name!r} is a Macvlan itself: name the device below that one")

    def _chosen_mac(self, declaration: Declaration) -> str | None:
        return self.dev.mac if self.mode == "passthru" else super()._chosen_mac(declaration)

    def props(self) -> dict[str, Any]:
        """In the mode passthru the MAC address follows the lower device's: it is not managed."""
        found = super().props()
        if self.mode == "passthru":
            found.pop("mac", None)
        return found

    @classmethod
    def pack(cls, at: str, props: Mapping[str, Any], netns: str, env: Env) -> bytes:
        """The attributes of one place; the list of addresses as one that replaces what there is."""
        if at != "info" or props.get("sources") is None:
            return super().pack(at, props, netns, env)
        if not cls._takes_sources(props):
            return super().pack(at, {**props, "sources": None}, netns, env)
        return super().pack(at, props, netns, env) + wire.attr_u32(IFLA_MACVLAN_MACADDR_MODE, MACADDR_SET)

    @staticmethod
    def _takes_sources(props: Mapping[str, Any]) -> bool:
        """Not where the mode becomes another one: the kernel empties the list by itself, and refuses to be told."""
        return bool(props["sources"]) or props.get("mode") in (None, "source")

    @classmethod
    def words(cls, at: str, props: Mapping[str, Any]) -> str:
        """The options of one place as `ip` takes them, addresses one by one."""
        if at != "info" or props.get("sources") is None:
            return super().words(at, props)
        words = super().words(at, {**props, "sources": None})
        if props["sources"]:
            return f"{words} macaddr set {props['sources'].replace(',', ' ')}"
        return f"{words} macaddr flush" if cls._takes_sources(props) else words
