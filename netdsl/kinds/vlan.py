"""Vlan: a VLAN of a lower device (IEEE 802.1Q; net/8021q/vlan_netlink.c)."""

from __future__ import annotations

from collections.abc import Mapping
from struct import Struct
from typing import Any

from netdsl import wire
from netdsl.kinds.link_wire import ETHERTYPES
from netdsl.kinds.upper import UpperLink
from netdsl.lang.declaration import Declaration
from netdsl.lang.ops import Env
from netdsl.lang.property import DERIVED, kind, prop
from netdsl.lang.values import BOOL, LINK_MAC, ValueType, named, u16

IFLA_VLAN_FLAGS = 2
_FLAGS = Struct("=II")
"""struct ifla_vlan_flags: the bits, and which of them are meant."""


def _flag(bit: int) -> ValueType:
    """One bit of IFLA_VLAN_FLAGS; all that are given go into one attribute."""
    return ValueType(
        "boolean",
        BOOL.check,
        lambda on: _FLAGS.pack(bit if on else 0, bit),
        lambda payload: bool(_FLAGS.unpack(payload)[0] & bit),
        absent=False,
    )


@kind
class Vlan(UpperLink):
    """A VLAN of a lower device: what it sends leaves there with the tag, what comes in there with the tag is its own.

    It has the lower device's MAC address unless `mac` is given, and its MTU unless `mtu` is.
    """

    word = "vlan"
    finishes_up = True
    requires = "CONFIG_VLAN_8021Q"

    mac: str = prop(
        LINK_MAC, default=DERIVED, at="link", number=1, word="address", flushes=("neighbor",),
        doc="MAC address; the lower device's unless given",
    )  # fmt: skip
    id: int = prop(u16(1, 4094), at="info", number=1, word="id", replace=True, doc="VLAN identifier")
    protocol: str | None = prop(
        named(">H", ETHERTYPES), default=None, at="info", number=5, word="protocol", kernel="802.1Q", replace=True,
        doc="the tag's EtherType: 802.1Q, or 802.1ad for the outer tag of two",
    )  # fmt: skip
    reorder_hdr: bool | None = prop(
        _flag(1), default=None, at="info", number=2, word="reorder_hdr", kernel=True,
        doc="show packets without the tag, as if the link were a plain one",
    )  # fmt: skip
    gvrp: bool | None = prop(
        _flag(2), default=None, at="info", number=2, word="gvrp", kernel=False, doc="announce the VLAN with GVRP"
    )
    loose_binding: bool | None = prop(
        _flag(4), default=None, at="info", number=2, word="loose_binding", kernel=False,
        doc="do not go up and down with the lower device",
    )  # fmt: skip
    mvrp: bool | None = prop(
        _flag(8), default=None, at="info", number=2, word="mvrp", kernel=False, doc="announce the VLAN with MVRP"
    )
    # Anew: a change in place leaves the carrier as it was until a port's changes (kernel 6.1, vlan_dev_change_flags).
    bridge_binding: bool | None = prop(
        _flag(16), default=None, at="info", number=2, word="bridge_binding", kernel=False, replace=True,
        doc="have a carrier only while a port of the bridge below that is in the VLAN has one",
    )  # fmt: skip

    def complete(self, declaration: Declaration) -> None:
        """Check it against its lower device, with which it goes up and down."""
        super().complete(declaration)
        below = self.dev
        if self.up is not None and below.up is (not self.up) and not self.loose_binding:
            state = "up" if self.up else "down"
            self.fault(
                f"{self.title} is to be {state}, but goes up and down with {below.name!r}",
                "Set up= alike on both, or loose_binding=True here.",
            )
        if self.bridge_binding and below.word not in ("bridge", ""):
            self.fault(f"{self.title}: bridge_binding needs a Bridge as its dev")

    def _chosen_mac(self, declaration: Declaration) -> str | None:
        below: str | None = self.dev.mac
        return below if below and not self.opts.adopt else super()._chosen_mac(declaration)

    def initial(self, name: str) -> Any:
        """Its flags are those of the lower device (vlan_dev_init)."""
        if name not in ("arp", "multicast"):
            return super().initial(name)
        given: bool | None = self.dev.__dict__[name]
        return given if given is not None else self.dev.initial(name)

    @classmethod
    def pack(cls, at: str, props: Mapping[str, Any], netns: str, env: Env) -> bytes:
        """The attributes of one place; the flags in one attribute."""
        if at != "info":
            return super().pack(at, props, netns, env)
        flags = {p.name: p for p in cls.places()[at] if p.number == IFLA_VLAN_FLAGS}
        packed = super().pack(at, {k: v for k, v in props.items() if k not in flags}, netns, env)
        given = [_FLAGS.unpack(p.type.pack(props[name])) for name, p in flags.items() if props.get(name) is not None]
        if not given:
            return packed
        return packed + wire.attr(IFLA_VLAN_FLAGS, _FLAGS.pack(sum(v for v, _ in given), sum(m for _, m in given)))
