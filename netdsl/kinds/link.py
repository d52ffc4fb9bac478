"""What all links have in common (linux/if_link.h): attributes, ownership mark, bridge port options, encoding.

A kind of link adds its own properties at "info" (IFLA_INFO_DATA) and gives its kernel word; the messages derive from
that. Bridge port options sit at "port" (IFLA_INFO_SLAVE_DATA) and can be given on whatever link is a port.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar

from netdsl import wire
from netdsl.kinds.link_wire import (
    IFF_UP,
    IFLA_IFNAME,
    IFLA_LINKINFO,
    INFO_DATA,
    INFO_KIND,
    RTM_DELLINK,
    RTM_DELLINKPROP,
    RTM_NEWLINK,
    link_probe,
    mark_op,
    port_info,
)
from netdsl.kinds.link_words import SpokenLink
from netdsl.kinds.master import MASTER, check_master
from netdsl.lang import naming
from netdsl.lang.declaration import Declaration, current, user_frame
from netdsl.lang.dump import Nsid, Scope
from netdsl.lang.item import Gone, Have, Item
from netdsl.lang.ops import Env, Op, Probe, Send
from netdsl.lang.property import DERIVED, Property, argument, kind, prop
from netdsl.lang.resource import Namespace, inside
from netdsl.lang.values import BOOL, FLAG, LINK_MAC, check_cidr, text, u16, u32

LINK_KINDS: dict[str, type[Link]] = {}
"""What the kernel calls a kind of link (IFLA_INFO_KIND) -> class, of those that were imported."""


@kind
class Link(SpokenLink):
    """An interface. Base of all kinds of links; `Link.get` reads one that netdsl does not manage."""

    family = "link"
    phase = 20
    is_link = marked = True
    check_name = staticmethod(naming.check_ifname)

    mtu: int | None = prop(
        u32(68, 65535), default=None, at="link", number=4, word="mtu", unit="bytes", kernel=1500, flushes=("ipvlan",),
        doc="largest packet that the link takes, without its link-layer header",
    )  # fmt: skip
    mac: str = prop(
        LINK_MAC, default=DERIVED, at="link", number=1, word="address", flushes=("neighbor",),
        doc="MAC address; derived from stack, netns and name unless given",
    )  # fmt: skip
    up: bool | None = prop(BOOL, default=True, kernel=False, doc="administrative state")
    alias: str | None = prop(
        text(254), default=None, at="late", number=20, word="alias", kernel="", doc="free text kept with the link"
    )
    master: Link | None = prop(
        MASTER, default=None, at="link", number=10, word="master", kernel="", gone=Gone.RESET,
        flushes=("bridge-vlan",),
        doc="bridge, bond or VRF that the link is a port of",
    )  # fmt: skip
    txqueuelen: int | None = prop(
        u32(), default=None, at="link", number=13, word="txqueuelen", unit="packets", kernel=1000,
        doc="length of the transmit queue",
    )  # fmt: skip
    group: int | None = prop(u32(), default=None, at="link", number=27, word="group", kernel=0, doc="group number")
    arp: bool | None = prop(FLAG, default=None, at="unflag", number=0x80, word="arp", doc="use ARP")
    multicast: bool | None = prop(FLAG, default=None, at="flag", number=0x1000, word="multicast", doc="take multicast")
    promisc: bool | None = prop(
        FLAG, default=None, at="flag", number=0x100, word="promisc", kernel=False, doc="take frames to other addresses"
    )
    allmulticast: bool | None = prop(
        FLAG, default=None, at="flag", number=0x200, word="allmulticast", kernel=False, doc="take all multicast"
    )
    gso_max_size: int | None = prop(
        u32(1), default=None, at="link", number=41, word="gso_max_size", unit="bytes", kernel=65536,
        doc="largest packet that is handed to the link to be segmented",
    )  # fmt: skip
    gro_max_size: int | None = prop(
        u32(), default=None, at="link", number=58, word="gro_max_size", unit="bytes", kernel=65536,
        doc="largest packet that received ones are merged to",
    )  # fmt: skip
    port_cost: int | None = prop(
        u32(1, 65535), default=None, at="port", number=3, word="cost", doc="bridge port: STP path cost"
    )
    port_priority: int | None = prop(
        u16(0, 63), default=None, at="port", number=2, word="priority", kernel=32, doc="bridge port: STP priority"
    )
    port_hairpin: bool | None = prop(
        FLAG, default=None, at="port", number=4, word="hairpin", kernel=False,
        doc="bridge port: send frames back out of the port that they came in by",
    )  # fmt: skip
    port_guard: bool | None = prop(
        FLAG, default=None, at="port", number=5, word="guard", kernel=False, doc="bridge port: drop STP packets"
    )
    port_root_block: bool | None = prop(
        FLAG, default=None, at="port", number=6, word="root_block", kernel=False,
        doc="bridge port: never let it become the root port",
    )  # fmt: skip
    port_learning: bool | None = prop(
        FLAG, default=None, at="port", number=8, word="learning", kernel=True, doc="bridge port: learn source addresses"
    )
    port_flood: bool | None = prop(
        FLAG, default=None, at="port", number=9, word="flood", kernel=True,
        doc="bridge port: send it frames to unknown unicast addresses",
    )  # fmt: skip
    port_mcast_flood: bool | None = prop(
        FLAG, default=None, at="port", number=27, word="mcast_flood", kernel=True,
        doc="bridge port: send it multicast that nobody asked for",
    )  # fmt: skip
    port_bcast_flood: bool | None = prop(
        FLAG, default=None, at="port", number=30, word="bcast_flood", kernel=True, doc="bridge port: send it broadcast"
    )
    port_neigh_suppress: bool | None = prop(
        FLAG, default=None, at="port", number=32, word="neigh_suppress", kernel=False,
        doc="bridge port: answer ARP and ND from the fdb instead of flooding them",
    )  # fmt: skip
    port_isolated: bool | None = prop(
        FLAG, default=None, at="port", number=33, word="isolated", kernel=False,
        doc="bridge port: no traffic to other isolated ports",
    )  # fmt: skip
    addresses: Sequence[str] = argument(default=())
    vlans: Sequence[int | str] = argument(default=())
    pvid: int | None = argument(default=None)

    def initial(self, name: str) -> Any:
        """Those that depend on the kind are Ethernet's, and a bridge's of a port whose speed it does not know."""
        return {"arp": True, "multicast": True, "port_cost": 100}.get(name) or super().initial(name)

    @property
    def shunned(self) -> Collection[str]:
        """Kinds of masters that do not take it as a port."""
        return ()

    @classmethod
    def get(cls, name: str, netns: Namespace | None = None) -> Link:
        """A link that exists already and is never managed: something to refer to."""
        declaration = current()
        found = Link.__new__(Link)
        where = netns if netns is not None else declaration.netns
        found.__dict__.update(
            cls.defaults, name=name, netns=where, _where=user_frame(), _component=declaration.component, _broken=False
        )
        try:
            if where is not None and not isinstance(where, Namespace):
                found.__dict__["netns"] = None
                raise ValueError(f"netns must be a Netns, not {where!r}")
            naming.check_ifname(name)
        except ValueError as wrong:
            found.fault(f"Link.get: {wrong}")
            return found
        have = declaration.observer.link(found.netns_name, name)
        if have is None:
            found.fault(f"Link.get: there is no link {name!r} in {inside(found.netns_name)}")
        found.__dict__.update(have or {})
        return found

    def refer(self) -> None:
        """Check the addresses."""
        addresses = self.__dict__["addresses"]
        if isinstance(addresses, str) or not isinstance(addresses, Sequence):
            self.__dict__["addresses"] = ()
            return self.fault(f"{self.title}: addresses must be a list of addresses, not {addresses!r}")
        for address in addresses:
            try:
                check_cidr(address)
            except ValueError as wrong:
                self.fault(f"{self.title}: addresses: {wrong}")

    def complete(self, declaration: Declaration) -> None:
        """Derive the MAC and declare addresses and VLANs."""
        from netdsl.kinds.address import Address

        mine = self.__dict__
        if getattr(mine["master"], "word", None) == "bond":
            self._join_bond()
        elif mine["mac"] is None and type(self).properties["mac"].at:
            mine["mac"] = self._chosen_mac(declaration)
        for address in mine["addresses"]:
            Address(address, dev=self, netns=self.netns, opts=self.opts.inherited())
        if mine["vlans"] != () or mine["pvid"] is not None:
            from netdsl.kinds.bridge_vlan import declare_vlans

            declare_vlans(self, mine["vlans"], mine["pvid"])
        check_master(self)

    def _join_bond(self) -> None:
        """In a bond a link has the bond's MAC address and MTU: here they are neither given nor managed."""
        mine, bond = self.__dict__, self.__dict__["master"]
        for word in ("mac", "mtu"):
            if mine[word] is not None and type(self).properties[word].init:
                self.fault(f"{self.title}: {word} cannot be given to a link in a bond: it has that of {bond.title}")
            mine[word] = bond.__dict__[word]
        mine["bonded"] = True
        bond.__dict__.setdefault("_ports", set()).add(self.name)

    def _chosen_mac(self, declaration: Declaration) -> str | None:
        netns = self.netns
        owned = netns is not None and netns.word == "netns"
        if self.opts.adopt or (declaration.adopted and self.urn in declaration.adopted):
            have = declaration.observer.link(self.netns_name, self.name)
            if have is not None:
                self.__dict__["kept_mac"] = True
                return str(have["mac"]) if have.get("mac") else None
        return naming.derived_mac(declaration.stack, self.netns_name, self.name, "" if owned else declaration.host)

    def props(self) -> dict[str, Any]:
        """Managed properties; an adopted link keeps its own MAC unless one is given, one in a bond has the bond's."""
        found = super().props()
        if self.__dict__.get("kept_mac") or self.__dict__.get("bonded"):
            found.pop("mac", None)
        if self.__dict__.get("bonded"):
            found.pop("mtu", None)
        return found

    # -- encoding

    @classmethod
    def pack(cls, at: str, props: Mapping[str, Any], netns: str, env: Env) -> bytes:
        """The attributes of one place."""
        packed = b""
        for declared in cls.places()[at]:
            value = props.get(declared.name)
            if value is None or (declared.type.presence and not value):
                continue
            number = declared.number
            if declared.type.link:
                value = env.ifindex(netns, value) if value else 0
            elif declared.number6 and ":" in value:
                number = declared.number6
            packed += wire.attr(number, declared.type.pack(value))
        return packed

    @classmethod
    def flags(cls, props: Mapping[str, Any]) -> tuple[int, int]:
        """Flags of struct ifinfomsg beside IFF_UP: those that are on, and those that are given."""
        places = cls.places()
        given = [p for p in (*places["flag"], *places["unflag"]) if props.get(p.name) is not None]
        on = sum(p.number for p in given if props[p.name] == (p.at == "flag"))
        return on, sum(p.number for p in given)

    @classmethod
    def linkinfo(cls, props: Mapping[str, Any], netns: str, env: Env) -> bytes:
        """IFLA_LINKINFO with the kind and its data."""
        info = wire.attr(INFO_KIND, (cls.kernel or cls.word).encode())
        packed = cls.pack("info", props, netns, env)
        if packed:
            info += wire.nest(INFO_DATA, packed)
        return wire.nest(IFLA_LINKINFO, info)

    @classmethod
    def probes(cls, props: Mapping[str, Any] | None) -> Sequence[Probe]:
        """A kind that not every kernel has (`requires`)."""
        return (link_probe(cls.kernel or cls.word, cls.requires),) if cls.requires else ()

    @classmethod
    def create(cls, item: Item, env: Env) -> Sequence[Op]:
        """One RTM_NEWLINK with everything that creation takes, the mark, and what only an existing link takes."""
        up = IFF_UP if item.props.get("up") and not cls.finishes_up else 0
        bonded = cls.bonded(item, env)
        up = 0 if bonded else up
        flags, change = cls.flags(item.props)
        body = (
            wire.IFINFO.pack(0, 0, env.ifindex(item.netns, item.name), flags | up, change | up)
            + wire.attr(IFLA_IFNAME, item.name.encode() + b"\0")
            + cls.pack("link", item.props, item.netns, env)
            + cls.linkinfo(item.props, item.netns, env)
        )
        ops = [Send(RTM_NEWLINK, wire.F_CREATE | wire.F_EXCL, body), *cls.mark(item, env), *cls.late(item, env)]
        return [*ops, *cls.state(item, env)] if bonded else ops

    @classmethod
    def state(cls, item: Item, env: Env) -> list[Op]:
        """Up or down, in a message of its own: together with a master it comes first or last, as the kernel likes."""
        if item.props.get("up") is None:
            return []
        return [Send(RTM_NEWLINK, 0, cls.header(item, env, IFF_UP if item.props["up"] else 0, IFF_UP))]

    kernel: ClassVar[str] = ""
    """What IFLA_INFO_KIND says, where that is not `word`; and `kernels`, where one kind is several to the kernel."""
    kernels: ClassVar[tuple[str, ...]] = ()
    spans: ClassVar[bool] = False
    """Tied to another link that may be in another netns (IFLA_LINK, IFLA_LINK_NETNSID)."""

    def __init_subclass__(cls) -> None:
        """Where two are one kind to the kernel (both ends of a veth), the later stands for both."""
        if cls.word:
            LINK_KINDS.update(dict.fromkeys((*cls.kernels, cls.kernel or cls.word), cls))

    @classmethod
    def finishes(cls, item: Item) -> bool:
        """Whether bringing it up is put off."""
        return cls.finishes_up and bool(item.props.get("up"))

    @classmethod
    def finish(cls, item: Item, env: Env) -> Sequence[Op]:
        """Bring it up."""
        return [Send(RTM_NEWLINK, 0, cls.header(item, env, IFF_UP, IFF_UP))]

    @classmethod
    def header(cls, item: Item, env: Env, flags: int = 0, change: int = 0) -> bytes:
        """struct ifinfomsg of an existing link."""
        return wire.IFINFO.pack(0, 0, env.ifindex(item.netns, item.name), flags, change)

    @classmethod
    def numbered(cls, kernel: str) -> Sequence[Property]:
        """Properties with the attribute numbers that they have in one of the kernel's kinds."""
        return list(cls.properties.values())

    @classmethod
    def read(cls, kernel: str, props: dict[str, Any], found: Mapping[int, bytes]) -> None:
        """Work out properties that have no attribute of their own in IFLA_INFO_DATA (`found`)."""

    @classmethod
    def settle(cls, scopes: Sequence[Scope], nsid: Nsid) -> None:
        """Work out properties that span several netns, once all have been read."""

    @classmethod
    def is_ours(cls, item: Item, have: Have, stack: str) -> bool:
        """The mark; where it was taken off, the ifindex that we chose."""
        if naming.altname(stack, item.name) in have.marks:
            return True
        return have.ifindex == item.extra.get("ifindex") and not naming.marked_by_another(stack, item.name, have.marks)

    @classmethod
    def announced(cls, item: Item) -> bool:
        """Of a link that is down some changes are not told (netdev_state_change)."""
        return item.props.get("up") is not False

    @classmethod
    def adopt(cls, item: Item, env: Env) -> list[Op]:
        """Mark it."""
        return cls.mark(item, env)

    @classmethod
    def mark(cls, item: Item, env: Env) -> list[Op]:
        """Write the ownership altname."""
        return [mark_op(env.ifindex(item.netns, item.name), naming.altname(env.stack, item.name))]

    @classmethod
    def release(cls, item: Item, env: Env) -> list[Op]:
        """Take the ownership altname off."""
        ifindex = env.ifindex(item.netns, item.name)
        return [mark_op(ifindex, naming.altname(env.stack, item.name), RTM_DELLINKPROP, 0)]

    @classmethod
    def late(cls, item: Item, env: Env) -> list[Op]:
        """Attributes that creation ignores: the alias (rtnl_newlink), bridge port options."""
        attributes = cls.pack("late", item.props, item.netns, env)
        ops: list[Op] = [Send(RTM_NEWLINK, 0, cls.header(item, env) + attributes)] if attributes else []
        return [*ops, *cls.port_options(item, env)]

    @classmethod
    def port_options(cls, item: Item, env: Env) -> list[Op]:
        """Bridge port options."""
        port = cls.pack("port", item.props, item.netns, env)
        return [Send(RTM_NEWLINK, 0, cls.header(item, env) + port_info(port))] if port else []

    @classmethod
    def update(cls, item: Item, changed: Mapping[str, Any], env: Env) -> Sequence[Op]:
        """Changed attributes in place; the kind's own data with those that the kernel wants sent again."""
        ops: list[Op] = []
        whole = changed
        if "master" in changed:  # first: a bond gives a link that leaves its old MAC address, and takes it down
            master = cls.pack("link", {"master": changed["master"]}, item.netns, env)
            if cls.bonded(item, env):
                ops.append(Send(RTM_NEWLINK, 0, cls.header(item, env, 0, IFF_UP)))
            ops.append(Send(RTM_NEWLINK, 0, cls.header(item, env) + master))
            ops += cls.state(item, env)
            changed = {k: v for k, v in changed.items() if k != "master"}
        attributes = cls.pack("link", changed, item.netns, env) + cls.pack("late", changed, item.netns, env)
        info = {p.name: changed[p.name] for p in cls.places()["info"] if p.name in changed}
        if info:
            resent = {p.name: item.props.get(p.name) for p in cls.places()["info"] if p.resend}
            sent = cls.linkinfo({**resent, **info}, item.netns, env)
            if "mtu" in changed:  # vxlan_nl2conf takes no MTU together with a change of the device's own data
                ops.append(Send(RTM_NEWLINK, 0, cls.header(item, env) + sent))
            else:
                attributes += sent
        flags, change = cls.flags(changed)
        if changed.get("up") is not None:
            flags, change = flags | (IFF_UP if changed["up"] else 0), change | IFF_UP
        if attributes or change:
            ops.append(Send(RTM_NEWLINK, 0, cls.header(item, env, flags, change) + attributes))
        # A bridge forgets a port's options when the port leaves: after a change of master all are sent again.
        port = cls.pack("port", {**item.props, **changed} if whole.get("master") else changed, item.netns, env)
        if port:
            ops.append(Send(RTM_NEWLINK, 0, cls.header(item, env) + port_info(port)))
        return ops

    @classmethod
    def delete(cls, item: Item, env: Env) -> Sequence[Op]:
        """RTM_DELLINK by ifindex."""
        return [Send(RTM_DELLINK, 0, cls.header(item, env))]
