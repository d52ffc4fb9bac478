"""Vxlan: a VXLAN tunnel end point (RFC 7348; drivers/net/vxlan/vxlan_core.c)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from struct import Struct
from typing import Any

import attrs

from netdsl.errors import joined
from netdsl.kinds.link import Link
from netdsl.kinds.lower import ETHERNET, WrappingLink
from netdsl.lang.declaration import Declaration
from netdsl.lang.item import Item
from netdsl.lang.ops import Env, Op
from netdsl.lang.property import argument, kind, prop
from netdsl.lang.values import (
    FLAG,
    PRESENCE,
    ValueType,
    be16,
    be32,
    is_v6,
    multicast_ip,
    numbered,
    reference,
    u8,
    u32,
    unicast_ip,
)
from netdsl.lang.values import tos as tos_byte

VNI_MOST = 2**24 - 1
VNI = "VXLAN network identifier; required unless external"
SHOWN_IF_SET = attrs.evolve(PRESENCE, pack=FLAG.pack)
END_POINTS = ("local", "remote", "mcast_group")
OVERHEAD = {False: 50, True: 70}
"""Bytes of outer IP, UDP and VXLAN header and inner Ethernet header, by whether the outer IP is IPv6.

The kernel takes them off the MTU of `dev` (vxlan_config_apply); without `dev` it takes 1500, and full frames vanish.
"""

_PORTS = Struct(">HH")


def _check_ports(value: Any) -> str:
    low, _, high = value.partition("-") if isinstance(value, str) else ("", "", "")
    if not (low.isascii() and low.isdigit() and high.isascii() and high.isdigit()):
        raise ValueError(f'must be a range of ports like "32768-60999", not {value!r}')
    if int(low) > int(high) or int(high) > 65535 or (int(low) == 0 and int(high) > 0):
        raise ValueError(f"must go from a lower port to a higher one within 1..65535, not {value}")
    return f"{int(low)}-{int(high)}"


PORT_RANGE = ValueType(
    "range of ports",
    _check_ports,
    lambda v: _PORTS.pack(*map(int, v.split("-"))),
    lambda p: "{}-{}".format(*_PORTS.unpack_from(p)),
    spoken=lambda v: tuple(v.split("-")),
)
"""Two ports "LOW-HIGH", two bytes each in network order; "0-0" leaves the choice to the kernel."""


def other_family(have: Mapping[str, Any], want: Mapping[str, Any]) -> bool:
    """Whether the end points change from one address family to the other; without any the kernel assumes IPv4."""
    old, new = ({is_v6(props[word]) for word in END_POINTS if props.get(word)} or {False} for props in (have, want))
    return old != new


@kind
class Vxlan(WrappingLink):
    """A VXLAN tunnel end point.

    Without `mtu` it is the lower device's less the outer headers (50 bytes, 70 over IPv6): that of `dev`, else of the
    link that has the address `local`, else of the one in whose network `remote` is.
    With `external` and `vnifilter`, `vnis=[10, "20-29"]` declares a VxlanVni for each.
    """

    word = "vxlan"
    phase = 21

    mtu: int | None = prop(
        u32(68, 65535), default=None, at="link", number=4, word="mtu", unit="bytes", flushes=("ipvlan",),
        doc="largest packet that the link takes; absent: what the lower device leaves",
    )  # fmt: skip
    vni: int | None = prop(u32(0, VNI_MOST), default=None, at="info", number=1, word="id", replace=True, doc=VNI)
    # Before learning: `ip` turns that off where it reads external.
    external: bool | None = prop(
        FLAG, default=None, at="info", number=25, word="[no]external", kernel=False, replace=True,
        doc="routes and filters say VNI and remote for each packet; without learning, unless that is given",
    )  # fmt: skip
    remote: str | None = prop(
        unicast_ip("; a group is mcast_group="), default=None, at="info", number=2, number6=16, word="remote",
        kernel="", anew=other_family, doc="where frames to unknown addresses go: to one vtep",
    )  # fmt: skip
    mcast_group: str | None = prop(
        multicast_ip("; a single vtep is remote="), default=None, at="info", number=2, number6=16, word="group",
        kernel="", anew=other_family,
        doc="where frames to unknown addresses go: to all vteps of a multicast group; needs dev",
    )  # fmt: skip
    dev: Link | None = prop(
        reference("a link"), default=None, at="info", number=3, word="dev", kernel="",
        anew=lambda have, want: bool(have.get("dev")) and not want.get("dev"),
        doc="lower device; it decides the MTU and takes the vtep along when it is deleted",
    )  # fmt: skip
    local: str | None = prop(
        unicast_ip(), default=None, at="info", number=4, number6=17, word="local", kernel="", anew=other_family,
        doc="source address of the outer packets",
    )  # fmt: skip
    ttl: int | None = prop(
        u8(), default=None, at="info", number=5, word="ttl", unit="hops", kernel=0,
        doc="TTL of the outer packets; 0: default",
    )  # fmt: skip
    ttl_inherit: bool | None = prop(
        PRESENCE, default=None, at="info", number=28, word="[ttl inherit]", kernel=False, replace=True,
        doc="take the TTL of the inner packet",
    )  # fmt: skip
    tos: int | None = prop(
        tos_byte(), default=None, at="info", number=6, word="tos", kernel=0, doc="TOS of the outer packets; 1: inherit"
    )
    learning: bool | None = prop(
        FLAG, default=None, at="info", number=7, word="[no]learning", kernel=True,
        doc="learn from which vtep addresses come",
    )  # fmt: skip
    ageing: int | None = prop(
        u32(), default=None, at="info", number=8, word="ageing", unit="seconds", kernel=300,
        doc="how long a learned entry is kept",
    )  # fmt: skip
    df: str | None = prop(
        numbered("unset", "set", "inherit"), default=None, at="info", number=29, word="df", kernel="unset",
        doc="the bit Don't Fragment of outer IPv4 packets",
    )  # fmt: skip
    label: int | None = prop(
        be32(0, 2**20 - 1), default=None, at="info", number=26, word="flowlabel", kernel=0,
        doc="flow label of outer IPv6 packets",
    )  # fmt: skip
    limit: int | None = prop(
        u32(), default=None, at="info", number=9, word="maxaddress", unit="entries", kernel=0, replace=True,
        doc="most entries in the fdb; 0: no limit",
    )  # fmt: skip
    port: int | None = prop(
        be16(1), default=None, at="info", number=15, word="dstport", kernel=8472, replace=True,
        doc="UDP destination port; without it the kernel takes 8472 (IANA's is 4789)",
    )  # fmt: skip
    port_range: str | None = prop(
        PORT_RANGE, default=None, at="info", number=10, word="srcport", kernel="0-0", replace=True,
        doc="UDP source ports that flows are spread over; 0-0: those of the sysctl ip_local_port_range",
    )  # fmt: skip
    udp_csum: bool | None = prop(
        FLAG, default=None, at="info", number=18, word="[no]udpcsum", kernel=True, replace=True,
        doc="checksum in the outer UDP header over IPv4",
    )  # fmt: skip
    udp_zero_csum6_tx: bool | None = prop(
        FLAG, default=None, at="info", number=19, word="[no]udp6zerocsumtx", kernel=False, replace=True,
        doc="send no checksum in the outer UDP header over IPv6",
    )  # fmt: skip
    udp_zero_csum6_rx: bool | None = prop(
        FLAG, default=None, at="info", number=20, word="[no]udp6zerocsumrx", kernel=False, replace=True,
        doc="accept outer UDP packets without checksum over IPv6",
    )  # fmt: skip
    proxy: bool | None = prop(
        FLAG, default=None, at="info", number=11, word="[no]proxy", kernel=False, replace=True,
        doc="answer ARP and ND from the neighbours that are known",
    )  # fmt: skip
    rsc: bool | None = prop(
        FLAG, default=None, at="info", number=12, word="[no]rsc", kernel=False, replace=True,
        doc="route short circuit: send what is for a router straight to the neighbour's vtep",
    )  # fmt: skip
    l2miss: bool | None = prop(
        FLAG, default=None, at="info", number=13, word="[no]l2miss", kernel=False, replace=True,
        doc="tell user space of unknown MAC addresses",
    )  # fmt: skip
    l3miss: bool | None = prop(
        FLAG, default=None, at="info", number=14, word="[no]l3miss", kernel=False, replace=True,
        doc="tell user space of unknown IP addresses",
    )  # fmt: skip
    gbp: bool | None = prop(
        PRESENCE, default=None, at="info", number=23, word="[gbp]", kernel=False, replace=True,
        doc="group based policy: carry the packet's mark in the VXLAN header",
    )  # fmt: skip
    vnifilter: bool | None = prop(
        SHOWN_IF_SET, default=None, at="info", number=30, word="[no]vnifilter", kernel=False, replace=True,
        doc="with external: accept only the VNIs of a list, each a VxlanVni",
    )  # fmt: skip
    vnis: Sequence[int | str] = argument(default=())

    def complete(self, declaration: Declaration) -> None:
        """Check what goes together; with `external` learning is off, as `ip` has it."""
        mine = self.__dict__
        if self.external and self.learning is None:
            mine["learning"] = False
        super().complete(declaration)
        if self.vni is None and not self.external:
            self.fault(f"{self.title}: vni= is required: {VNI}")
        elif self.vni is not None and self.external:
            self.fault(f"{self.title}: vni {self.vni} means nothing with external: each packet brings its own")
        if self.vnifilter and not self.external:
            self.fault(f"{self.title}: vnifilter needs external=True")
        if self.ttl and self.ttl_inherit:
            self.fault(f"{self.title}: ttl {self.ttl} and ttl_inherit exclude each other")
        self._check_addresses()
        if not self.broken:
            v6 = any(is_v6(mine[word]) for word in END_POINTS if mine[word])
            self.derive_mtu(declaration, OVERHEAD[v6], ETHERNET, known=self.dev is not None)
        if self.vnis != ():
            from netdsl.kinds.vxlan_vni import declare_vnis

            declare_vnis(self, self.vnis)

    def _check_addresses(self) -> None:
        """All end points are of one address family, and what goes with it."""
        if self.remote and self.mcast_group:
            self.fault(f"{self.title}: remote {self.remote} and mcast_group {self.mcast_group} exclude each other")
        elif self.mcast_group and self.dev is None:
            self.fault(f"{self.title}: mcast_group {self.mcast_group} needs dev=, the link to join it on")
        given = [(word, self.__dict__[word]) for word in END_POINTS if self.__dict__[word]]
        for word, address in given[1:]:
            first, other = given[0]
            if is_v6(address) != is_v6(other):
                self.fault(f"{self.title}: {first} {other} and {word} {address} are of different address families")
                return
        if self.label and not any(is_v6(address) for _, address in given):
            self.fault(f"{self.title}: label {self.label} is for IPv6: it needs an IPv6 {joined(END_POINTS, 'or')}")

    @classmethod
    def update(cls, item: Item, changed: Mapping[str, Any], env: Env) -> Sequence[Op]:
        """In place; an end point that is taken out becomes the address of nobody."""
        return super().update(item, _nobody(item, changed), env)

    @classmethod
    def commands(cls, action: str, item: Item, changed: Mapping[str, Any], env: Env) -> Sequence[str]:
        """`ip link`, which takes a group only together with its link."""
        if action == "update" and changed.get("mcast_group"):
            changed = {"dev": item.props["dev"], **changed}
        return super().commands(action, item, _nobody(item, changed) if action == "update" else changed, env)


def _nobody(item: Item, changed: Mapping[str, Any]) -> Mapping[str, Any]:
    """Changes with an address for each end point that is taken out; remote and group are one to the kernel."""
    gone = [word for word in END_POINTS if changed.get(word) == ""]
    if not gone:
        return changed
    kept = {word: value for word, value in changed.items() if word not in gone}
    nobody = "::" if any(is_v6(item.props[word]) for word in END_POINTS if item.props.get(word)) else "0.0.0.0"
    if "local" in gone:
        kept["local"] = nobody
    if not (item.props.get("remote") or item.props.get("mcast_group")):
        kept["remote"] = nobody
    return kept
