"""Tap: a link whose other end is a program, such as a virtual machine (drivers/net/tun.c; tuntap(7))."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import attrs

from netdsl.kinds.link import Link
from netdsl.kinds.link_wire import IFF_UP, RTM_NEWLINK
from netdsl.kinds.shell import ip, quote
from netdsl.lang.declaration import Declaration
from netdsl.lang.item import Item
from netdsl.lang.ops import Env, MakeTun, Op, Probe, Send
from netdsl.lang.property import DERIVED, kind, prop
from netdsl.lang.values import FLAG, LINK_MAC, ValueType, u32

IFF_TUN, IFF_TAP, IFF_MULTI_QUEUE, IFF_NO_PI, IFF_VNET_HDR = 0x0001, 0x0002, 0x0100, 0x1000, 0x4000
MODES = {"tun": IFF_TUN, "tap": IFF_TAP}
ABSENT = (2, 6, 19)
"""ENOENT, ENXIO, ENODEV of /dev/net/tun."""
_NAMES = {number: name for name, number in MODES.items()}


def _check_mode(value: Any) -> str:
    if isinstance(value, str) and value in MODES:
        return value
    raise ValueError(f"must be 'tap' or 'tun', not {value!r}")


MODE = ValueType("'tap' or 'tun'", _check_mode, lambda v: bytes((MODES[v],)), lambda p: _NAMES.get(p[0], ""))

ID = attrs.evolve(u32(), absent="")
TUN_QUEUE = 500
"""TUN_READQ_SIZE: the transmit queue of a tun, in packets."""


@kind
class Tap(Link):
    """A link whose other end is a program that opens /dev/net/tun: frames (tap) or bare IP packets (tun) go through it.

    It is persistent: it stays when the program ends. Without a program it has no carrier.
    """

    word = "tap"
    kernel = "tun"
    requires = "CONFIG_TUN"
    unborn = frozenset(("mtu", "mac", "txqueuelen", "group", "gso_max_size", "gro_max_size"))

    mac: str = prop(
        LINK_MAC, default=DERIVED, at="link", number=1, word="address", flushes=("neighbor",),
        doc="MAC address; derived from stack, netns and name unless given; a tun has none",
    )  # fmt: skip
    mode: str = prop(MODE, default="tap", at="info", number=3, replace=True, doc="frames or bare IP packets")
    owner: int | None = prop(
        ID,
        default=None,
        kernel="",
        at="info",
        number=1,
        word="user",
        replace=True,
        unit="user id",
        doc="who may open it",
    )
    # A group has to be called otherwise: every link has a group number.
    owner_group: int | None = prop(
        ID, default=None, kernel="", at="info", number=2, word="group", replace=True, unit="group id",
        doc="the group that may open it",
    )  # fmt: skip
    pi: bool | None = prop(
        FLAG, default=None, at="info", number=4, word="[pi]", kernel=False, replace=True,
        doc="four bytes with the protocol stand before each packet",
    )  # fmt: skip
    vnet_hdr: bool | None = prop(
        FLAG, default=None, at="info", number=5, word="[vnet_hdr]", kernel=False, replace=True,
        doc="a virtio header stands before each packet",
    )  # fmt: skip
    multi_queue: bool | None = prop(
        FLAG, default=None, at="info", number=7, word="[multi_queue]", kernel=False, replace=True,
        doc="programs may open it several times, each for a queue",
    )  # fmt: skip

    def complete(self, declaration: Declaration) -> None:
        """A tun has no link layer."""
        if self.mode == "tun" and self.__dict__["mac"] is not None:
            self.fault(f"{self.title}: a tun carries bare IP packets: it has no mac")
        super().complete(declaration)
        if self.mode == "tun":
            self.__dict__["mac"] = None

    @property
    def shunned(self) -> Collection[str]:
        """Packets are no frames."""
        return ("bridge", "bond") if self.mode == "tun" else ()

    @property
    def sort(self) -> str:
        """With the reason."""
        return "tun, which carries bare IP packets,"

    def initial(self, name: str) -> Any:
        """A tun has no use for ARP, and a shorter queue (tun_net_initialize). A port's cost is as the kernel's version
        has it: tun is a link of 10 Mbit/s to older ones."""
        if name == "port_cost":
            return None
        if self.mode == "tun" and name in ("arp", "txqueuelen"):
            return TUN_QUEUE if name == "txqueuelen" else False
        return super().initial(name)

    @classmethod
    def probes(cls, props: Mapping[str, Any] | None) -> Sequence[Probe]:
        """One in a netns that is gone afterwards."""
        return (Probe("tun", cls.requires, MakeTun("probe", 2, IFF_TAP | IFF_NO_PI, -1, -1), ABSENT),)

    @classmethod
    def create(cls, item: Item, env: Env) -> Sequence[Op]:
        """The ioctls that make it, and one RTM_NEWLINK with what they do not take."""
        props = item.props
        flags = MODES[props["mode"]] | (0 if props.get("pi") else IFF_NO_PI)
        flags |= IFF_VNET_HDR if props.get("vnet_hdr") else 0
        flags |= IFF_MULTI_QUEUE if props.get("multi_queue") else 0
        index = env.ifindex(item.netns, item.name)
        made = MakeTun(item.name, index, flags, props.get("owner", -1), props.get("owner_group", -1))
        up = IFF_UP if props.get("up") else 0
        on, given = cls.flags(props)
        body = cls.header(item, env, on | up, given | up) + cls.pack("link", props, item.netns, env)
        return [made, *cls.mark(item, env), Send(RTM_NEWLINK, 0, body), *cls.late(item, env)]

    @classmethod
    def add_command(cls, item: Item, env: Env) -> list[str]:
        """`ip tuntap add`."""
        words = cls.words("info", {**item.props, "mode": None})
        return [ip(item.netns, f"tuntap add dev {quote(item.name)} mode {item.props['mode']}{words}")]
