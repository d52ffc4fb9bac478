"""Ipvlan: a link that shares the MAC address of its lower device and is told apart by IP (drivers/net/ipvlan)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from netdsl.kinds.upper import UpperLink
from netdsl.lang.declaration import Declaration
from netdsl.lang.item import Item
from netdsl.lang.ops import Env, Op
from netdsl.lang.property import DERIVED, kind, prop
from netdsl.lang.values import LINK_MAC, named

MODES = {"l2": 0, "l3": 1, "l3s": 2}
FLAGS = {"bridge": 0, "private": 1, "vepa": 2}


@kind
class Ipvlan(UpperLink):
    """A link on a lower device, whose MAC address it has: packets are told apart by their IP addresses.

    `mac` is the lower device's and cannot be set. `mode` and `flag` are those of all that are on one lower device:
    give them alike.
    """

    word = "ipvlan"
    requires = "CONFIG_IPVLAN"
    follows = True

    mac: str = prop(LINK_MAC, default=DERIVED, init=False, flushes=("neighbor",), doc="MAC address: the lower device's")
    mode: str | None = prop(
        named("=H", MODES), default=None, at="info", number=1, word="mode", kernel="l3",
        doc="l2: like a switch; l3: like a router, without broadcast; l3s: as l3, with netfilter of the lower netns",
    )  # fmt: skip
    flag: str | None = prop(
        named("=H", FLAGS), default=None, at="info", number=2, word="", kernel="bridge",
        doc="bridge: those on one device talk at once; private: not at all; vepa: by way of the switch outside",
    )  # fmt: skip

    @property
    def shunned(self) -> Collection[str]:
        """It shares its MAC address (ipvlan_link_setup: IFF_DONT_BRIDGE; it cannot change it)."""
        return ("bridge", "bond")

    def complete(self, declaration: Declaration) -> None:
        """The MAC address is the lower device's."""
        super().complete(declaration)
        self.__dict__["mac"] = self.dev.mac
        others = self.dev.__dict__.setdefault("_ipvlans", [])
        for word in ("mode", "flag"):
            default = type(self).properties[word].kernel
            mine = getattr(self, word) or default
            for other in others[-1:]:
                theirs = getattr(other, word) or default
                if mine != theirs:
                    self.fault(f"{self.title}: {word} {mine} differs from the {theirs} of {other.title} on one device")
        others.append(self)
        if self.dev.word == self.word:
            self.fault(f"{self.title}: dev {self.dev.name!r} is an Ipvlan itself: name the device below that one")

    def initial(self, name: str) -> Any:
        """A router has no use for ARP (ipvlan_open)."""
        return self.mode == "l2" if name == "arp" else super().initial(name)

    def props(self) -> dict[str, Any]:
        """The MAC address is not managed."""
        found = super().props()
        found.pop("mac", None)
        return found

    @classmethod
    def keeps(cls, item: Item, names: Iterable[str]) -> bool:
        """An MTU of its own is lost when the lower device's changes (ipvlan_adjust_mtu)."""
        return "mtu" not in item.props

    @classmethod
    def update(cls, item: Item, changed: Mapping[str, Any], env: Env) -> Sequence[Op]:
        """With the MTU, which the lower device may just have changed."""
        return super().update(item, cls._with_mtu(item, changed), env)

    @classmethod
    def commands(cls, action: str, item: Item, changed: Mapping[str, Any], env: Env) -> Sequence[str]:
        """`ip link` commands."""
        return super().commands(action, item, cls._with_mtu(item, changed) if action == "update" else changed, env)

    @staticmethod
    def _with_mtu(item: Item, changed: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"mtu": item.props["mtu"], **changed} if "mtu" in item.props else changed

    @classmethod
    def words(cls, at: str, props: Mapping[str, Any]) -> str:
        """The options of one place as `ip` takes them; the flag is a word by itself."""
        found = super().words(at, props)
        return f"{found} {props['flag']}" if at == "info" and props.get("flag") else found
