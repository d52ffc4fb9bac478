"""Bond: several links used as one (drivers/net/bonding/bond_netlink.c, bond_options.c)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from netdsl import wire
from netdsl.kinds.link import Link
from netdsl.kinds.link_wire import IFF_UP, IFLA_LINKINFO, INFO_DATA, INFO_KIND, RTM_NEWLINK
from netdsl.kinds.shell import ip, option, quote
from netdsl.lang import naming
from netdsl.lang.declaration import Declaration
from netdsl.lang.dump import Nsid, Scope
from netdsl.lang.item import Item
from netdsl.lang.ops import Env, Op, Send
from netdsl.lang.property import kind, prop
from netdsl.lang.values import FLAG, ValueType, named, u8, u32

IFLA_BOND_PRIMARY = 11
MODES = {
    "balance-rr": 0, "active-backup": 1, "balance-xor": 2, "broadcast": 3, "802.3ad": 4, "balance-tlb": 5,
    "balance-alb": 6,
}  # fmt: skip
HASH_POLICIES = {"layer2": 0, "layer3+4": 1, "layer2+3": 2, "encap2+3": 3, "encap3+4": 4, "vlan+srcmac": 5}
WITH_PRIMARY = ("active-backup", "balance-tlb", "balance-alb")
DELAYS = ("updelay", "downdelay")
LACP_ONLY = ("lacp_rate", "lacp_active", "ad_select")
PORT_NAME = ValueType(
    "name of a port", naming.check_ifname, wire.U32.pack, lambda payload: wire.U32.unpack(payload)[0], absent=""
)


@kind
class Bond(Link):
    """Several links used as one: those that have it as their `master`.

    They have its MAC address and its MTU, so neither can be given there.
    """

    word = "bond"
    phase = 20
    finishes_up = True
    finishing = frozenset(("primary",))
    requires = "CONFIG_BONDING"
    joining_flushes = ("address", "route", "neighbor")

    mode: str | None = prop(
        named("=B", MODES), default=None, at="info", number=1, word="mode", kernel="balance-rr", replace=True,
        doc="how packets are dealt out to the ports",
    )  # fmt: skip
    miimon: int = prop(
        u32(0, 2**31 - 1), default=100, at="info", number=3, word="miimon", unit="milliseconds",
        doc="how often the ports' carriers are looked at; 0: never, so that no failure is noticed",
    )  # fmt: skip
    updelay: int | None = prop(
        u32(0, 2**31 - 1), default=None, at="info", number=4, word="updelay", unit="milliseconds", kernel=0,
        doc="how long a carrier has to be back before its port is used; a multiple of `miimon`",
    )  # fmt: skip
    downdelay: int | None = prop(
        u32(0, 2**31 - 1), default=None, at="info", number=5, word="downdelay", unit="milliseconds", kernel=0,
        doc="how long a carrier has to be away before its port is not used; a multiple of `miimon`",
    )  # fmt: skip
    primary: str | None = prop(
        PORT_NAME, default=None, at="info", number=IFLA_BOND_PRIMARY, word="primary",
        doc="name of the port that is used whenever it can be: active-backup, balance-tlb and balance-alb",
    )  # fmt: skip
    primary_reselect: str | None = prop(
        named("=B", {"always": 0, "better": 1, "failure": 2}), default=None, at="info", number=12,
        word="primary_reselect", kernel="always", doc="when the primary port takes over again",
    )  # fmt: skip
    xmit_hash_policy: str | None = prop(
        named("=B", HASH_POLICIES), default=None, at="info", number=14, word="xmit_hash_policy", kernel="layer2",
        doc="what decides which port a packet takes in balance-xor, 802.3ad and balance-tlb",
    )  # fmt: skip
    resend_igmp: int | None = prop(
        u32(0, 255), default=None, at="info", number=15, word="resend_igmp", unit="packets", kernel=1,
        doc="IGMP reports sent after another port took over",
    )  # fmt: skip
    num_peer_notif: int | None = prop(
        u8(), default=None, at="info", number=16, word="num_grat_arp", unit="packets", kernel=1,
        doc="gratuitous ARP and unsolicited ND packets sent after another port took over",
    )  # fmt: skip
    all_ports_active: bool | None = prop(
        FLAG, default=None, at="info", number=17, word="all_slaves_active 0|1", kernel=False,
        doc="take in packets from ports that are not in use too",
    )  # fmt: skip
    min_links: int | None = prop(
        u32(0, 2**31 - 1), default=None, at="info", number=18, word="min_links", kernel=0,
        doc="802.3ad: so many ports must be in use for the bond to have a carrier",
    )  # fmt: skip
    lacp_rate: str | None = prop(
        named("=B", {"slow": 0, "fast": 1}), default=None, at="info", number=21, word="lacp_rate", kernel="slow",
        replace=True, doc="802.3ad: ask the other side for a LACP packet every 30 seconds or every second",
    )  # fmt: skip
    ad_select: str | None = prop(
        named("=B", {"stable": 0, "bandwidth": 1, "count": 2}), default=None, at="info", number=22, word="ad_select",
        kernel="stable", replace=True, doc="802.3ad: which group of ports is used",
    )  # fmt: skip
    lacp_active: bool | None = prop(
        FLAG, default=None, at="info", number=29, word="lacp_active", kernel=True, replace=True,
        doc="802.3ad: send LACP packets unasked",
    )  # fmt: skip

    def complete(self, declaration: Declaration) -> None:
        """Check that the parts fit together."""
        super().complete(declaration)
        for word in DELAYS:
            delay = self.__dict__[word]
            if delay and (not self.miimon or delay % self.miimon):
                self.fault(f"{self.title}: {word} {delay} is no multiple of miimon {self.miimon}")
        mode = self.mode or "balance-rr"
        if self.primary is not None and mode not in WITH_PRIMARY:
            self.fault(f"{self.title}: primary is for the modes {', '.join(WITH_PRIMARY)}, not for {mode}")
        for word in LACP_ONLY:
            if self.__dict__[word] is not None and mode != "802.3ad":
                self.fault(f"{self.title}: {word} is for the mode 802.3ad, not for {mode}")

    def finished(self) -> None:
        """The primary port is a port."""
        if self.primary is not None and self.primary not in self.__dict__.get("_ports", ()):
            self.fault(
                f"{self.title}: primary {self.primary!r} is no port of it", "Give that link the bond as master=."
            )

    @classmethod
    def pack(cls, at: str, props: Mapping[str, Any], netns: str, env: Env) -> bytes:
        """The attributes of one place; a primary port, which the bond has at last, by `finish`."""
        return super().pack(at, without(props), netns, env)

    @classmethod
    def update(cls, item: Item, changed: Mapping[str, Any], env: Env) -> Sequence[Op]:
        """In place; delays before they cannot be set any more."""
        ops = [op for part in parts(changed) for op in super(Bond, cls).update(item, part, env)]
        if changed.get("primary") != "":
            return ops
        info = wire.attr(INFO_KIND, b"bond") + wire.nest(INFO_DATA, wire.attr_u32(IFLA_BOND_PRIMARY, 0))
        return [*ops, Send(RTM_NEWLINK, 0, cls.header(item, env) + wire.nest(IFLA_LINKINFO, info))]

    @classmethod
    def finishes(cls, item: Item) -> bool:
        """Whether it is brought up, or has a primary port."""
        return super().finishes(item) or "primary" in item.props

    @classmethod
    def finish(cls, item: Item, env: Env) -> Sequence[Op]:
        """The primary port, and up."""
        flags = IFF_UP if item.props.get("up") else 0
        body = cls.header(item, env, flags, flags)
        if "primary" in item.props:
            primary = wire.attr_u32(IFLA_BOND_PRIMARY, env.ifindex(item.netns, item.props["primary"]))
            info = wire.attr(INFO_KIND, b"bond") + wire.nest(INFO_DATA, primary)
            body += wire.nest(IFLA_LINKINFO, info)
        return [Send(RTM_NEWLINK, 0, body)]

    @classmethod
    def commands(cls, action: str, item: Item, changed: Mapping[str, Any], env: Env) -> Sequence[str]:
        """`ip link` commands."""
        item, primary = attrs.evolve(item, props=without(item.props)), item.props.get("primary")
        if action == "update":
            lines = [line for part in parts(changed) for line in super(Bond, cls).commands(action, item, part, env)]
            return [*lines, no_primary(item)] if changed.get("primary") == "" else lines
        if action != "finish":
            return super().commands(action, item, changed, env)
        up = [ip(item.netns, f"link set dev {quote(item.name)} up")] if item.props.get("up") else []
        if primary is None:
            return up
        return [ip(item.netns, f"link set dev {quote(item.name)} type bond{option('primary', primary)}"), *up]

    @classmethod
    def settle(cls, scopes: Sequence[Scope], nsid: Nsid) -> None:
        """Give the primary port its name."""
        for scope in scopes:
            for _, have in scope.seen_links():
                if have.kind == cls.word and have.props.get("primary"):
                    have.props["primary"] = scope.links.get(have.props["primary"], "")


def no_primary(item: Item) -> str:
    """Take the primary port away, for which `ip` has no words."""
    line = f"echo > {quote(f'/sys/class/net/{item.name}/bonding/primary')}"
    return f"ip netns exec {quote(item.netns)} sh -c {quote(line)}" if item.netns else line


def without(props: Mapping[str, Any]) -> dict[str, Any]:
    """All but the primary port, which `finish` sets."""
    return {name: value for name, value in props.items() if name != "primary"}


def parts(changed: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Changes in the order in which the kernel takes them: delays cannot be set any more when miimon is 0."""
    rest = without(changed)
    if rest.get("miimon") != 0:
        return [rest]
    delays: dict[str, Any] = {name: rest.pop(name) for name in DELAYS if name in rest}
    return [delays, rest] if delays else [rest]
