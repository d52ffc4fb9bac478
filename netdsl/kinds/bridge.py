"""Bridge: a software switch (net/bridge/br_netlink.c)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import attrs

from netdsl import wire
from netdsl.errors import Problem
from netdsl.kinds.link import Link
from netdsl.kinds.link_wire import ETHERTYPES, RTM_NEWLINK, link_probe
from netdsl.lang.item import Item, Relation, World
from netdsl.lang.ops import Env, Op, Probe, Send
from netdsl.lang.property import kind, prop
from netdsl.lang.values import FLAG, FLAG32, clock, named, u8, u16, u32

MTU_LEAST, MTU_MOST = 68, 65535
PORTS_MOST = 1023
"""BR_MAX_PORTS less the one that the kernel keeps (find_portno)."""


@kind
class Bridge(Link):
    """An Ethernet bridge; links become its ports with `master=`."""

    word = "bridge"
    phase = 20
    finishes_up = True
    held = ("mac",)  # br_stp_recalculate_bridge_id
    claimed = ("mtu",)  # br_mtu_auto_adjust

    forward_delay: int | None = prop(
        clock(2, 30), default=None, at="info", number=1, word="forward_delay", unit="seconds", kernel=15,
        doc="time in the listening and learning states (STP on)",
    )  # fmt: skip
    hello_time: int | None = prop(
        clock(1, 10), default=None, at="info", number=2, word="hello_time", unit="seconds", kernel=2,
        doc="time between STP hello packets",
    )  # fmt: skip
    max_age: int | None = prop(
        clock(6, 40), default=None, at="info", number=3, word="max_age", unit="seconds", kernel=20,
        doc="how long an STP message is believed",
    )  # fmt: skip
    ageing_time: int | None = prop(
        clock(0, 1_000_000), default=None, at="info", number=4, word="ageing_time", unit="seconds", kernel=300,
        doc="how long a learned address is kept",
    )  # fmt: skip
    stp: bool | None = prop(
        FLAG32, default=None, at="info", number=5, word="stp_state 0|1", kernel=False, doc="spanning tree protocol"
    )
    priority: int | None = prop(
        u16(), default=None, at="info", number=6, word="priority", kernel=32768, doc="STP bridge priority"
    )
    vlan_filtering: bool | None = prop(
        FLAG, default=None, at="info", number=7, word="vlan_filtering 0|1", kernel=False,
        doc="tell VLANs apart: a frame goes only to ports in its VLAN; see BridgeVlan",
    )  # fmt: skip
    vlan_protocol: str | None = prop(
        named(">H", ETHERTYPES), default=None, at="info", number=8, word="vlan_protocol", kernel="802.1Q",
        doc="which tags are told apart: those of customers, or of a provider around them",
    )  # fmt: skip
    group_fwd_mask: int | None = prop(
        u16(), default=None, at="info", number=9, word="group_fwd_mask", kernel=0,
        doc="which reserved 01:80:c2:00:00:0x groups are forwarded, a bit each",
    )  # fmt: skip
    mcast_snooping: bool | None = prop(
        FLAG, default=None, at="info", number=23, word="mcast_snooping 0|1", kernel=True, doc="IGMP and MLD snooping"
    )
    mcast_querier: bool | None = prop(
        FLAG, default=None, at="info", number=25, word="mcast_querier 0|1", kernel=False,
        doc="send IGMP and MLD queries",
    )  # fmt: skip
    mcast_hash_max: int | None = prop(
        u32(1), default=None, at="info", number=27, word="mcast_hash_max", kernel=4096, unit="entries",
        doc="size of the multicast group table; a power of two",
    )  # fmt: skip

    mcast_router: int | None = prop(
        u8(0, 2), default=None, at="info", number=22, word="mcast_router", kernel=1,
        doc="whether multicast routers are behind it: 0 no, 1 learned, 2 always",
    )  # fmt: skip
    mcast_query_use_ifaddr: bool | None = prop(
        FLAG, default=None, at="info", number=24, word="mcast_query_use_ifaddr 0|1", kernel=False,
        doc="send queries from its own address instead of 0.0.0.0",
    )  # fmt: skip
    mcast_last_member_count: int | None = prop(
        u32(), default=None, at="info", number=28, word="mcast_last_member_count", kernel=2, unit="queries",
        doc="queries without an answer after which a group that somebody left is dropped",
    )  # fmt: skip
    mcast_startup_query_count: int | None = prop(
        u32(), default=None, at="info", number=29, word="mcast_startup_query_count", kernel=2, unit="queries",
        doc="queries that a querier starts with",
    )  # fmt: skip
    nf_call_iptables: bool | None = prop(
        FLAG, default=None, at="info", number=36, word="nf_call_iptables 0|1", kernel=False,
        doc="show bridged IPv4 packets to iptables (module br_netfilter)",
    )  # fmt: skip
    nf_call_ip6tables: bool | None = prop(
        FLAG, default=None, at="info", number=37, word="nf_call_ip6tables 0|1", kernel=False,
        doc="show bridged IPv6 packets to ip6tables",
    )  # fmt: skip
    nf_call_arptables: bool | None = prop(
        FLAG, default=None, at="info", number=38, word="nf_call_arptables 0|1", kernel=False,
        doc="show bridged ARP packets to arptables",
    )  # fmt: skip
    vlan_default_pvid: int | None = prop(
        u16(0, 4094), default=None, at="info", number=39, word="vlan_default_pvid", kernel=1, flushes=("bridge-vlan",),
        doc="VLAN that the kernel makes each new port, and the bridge, an untagged member of; 0: none",
    )  # fmt: skip
    vlan_stats_enabled: bool | None = prop(
        FLAG, default=None, at="info", number=41, word="vlan_stats_enabled 0|1", kernel=False,
        doc="count packets of each VLAN",
    )  # fmt: skip
    mcast_stats_enabled: bool | None = prop(
        FLAG, default=None, at="info", number=42, word="mcast_stats_enabled 0|1", kernel=False,
        doc="count IGMP and MLD packets",
    )  # fmt: skip
    mcast_igmp_version: int | None = prop(
        u8(2, 3), default=None, at="info", number=43, word="mcast_igmp_version", kernel=2, doc="IGMP version of queries"
    )
    mcast_mld_version: int | None = prop(
        u8(1, 2), default=None, at="info", number=44, word="mcast_mld_version", kernel=1, doc="MLD version of queries"
    )

    def props(self) -> dict[str, Any]:
        """An adopted bridge has its MAC among them: it is held."""
        found = super().props()
        if self.__dict__.get("kept_mac") and self.__dict__["mac"] is not None:
            found["mac"] = self.mac
        return found

    @property
    def shunned(self) -> Collection[str]:
        """No bridge is one of another (br_add_if)."""
        return ("bridge",)

    @classmethod
    def probes(cls, props: Mapping[str, Any] | None) -> Sequence[Probe]:
        """VLAN filtering, which some kernels leave out."""
        if props is not None and "vlan_filtering" not in props:
            return ()
        packed = wire.attr(cls.properties["vlan_filtering"].number, b"\1")
        return (link_probe("bridge", "CONFIG_BRIDGE_VLAN_FILTERING", packed, what="bridge VLAN filtering"),)

    @classmethod
    def create(cls, item: Item, env: Env) -> Sequence[Op]:
        """With an MTU that is off by one, and then the right one: only a change tells the kernel that somebody wants it
        (br_change_mtu), and that a port which joins is not to pull it down (br_mtu_auto_adjust)."""
        mtu = item.props.get("mtu")
        if mtu is None:
            return super().create(item, env)
        other = attrs.evolve(item, props={**item.props, "mtu": mtu - 1 if mtu > MTU_LEAST else mtu + 1})
        first, *rest = super().create(other, env)
        return [first, cls._mtu(item, mtu, env), *rest]

    @classmethod
    def update(cls, item: Item, changed: Mapping[str, Any], env: Env) -> Sequence[Op]:
        """Likewise, since it may have that MTU already; the other one is larger: a smaller one may take IPv6 away."""
        mtu = changed.get("mtu")
        return [*([] if mtu is None else [cls._other_mtu(item, mtu, env)]), *super().update(item, changed, env)]

    @classmethod
    def adopt(cls, item: Item, env: Env) -> list[Op]:
        """Likewise the MTU that it has by chance."""
        mtu, ops = item.props.get("mtu"), super().adopt(item, env)
        return ops if mtu is None else [cls._other_mtu(item, mtu, env), cls._mtu(item, mtu, env), *ops]

    @classmethod
    def _other_mtu(cls, item: Item, mtu: int, env: Env) -> Op:
        return cls._mtu(item, mtu + 1 if mtu < MTU_MOST else mtu - 1, env)

    @classmethod
    def _mtu(cls, item: Item, mtu: int, env: Env) -> Op:
        return Send(RTM_NEWLINK, 0, cls.header(item, env) + cls.pack("link", {"mtu": mtu}, item.netns, env))

    @classmethod
    def relate(cls, item: Item, world: World) -> Relation:
        """A bridge has a limited number of ports."""
        ports = world.users(item.key, "master")
        if ports > PORTS_MOST:
            yield Problem(
                f"{item.title} would have {ports} ports; the kernel takes {PORTS_MOST}",
                item.where,
                "Put the rest on another bridge and join the two with a veth pair.",
            )
