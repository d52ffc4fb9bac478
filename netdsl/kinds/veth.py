"""Veth: a pair of links, each the other's wire (drivers/net/veth.c)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from netdsl import wire
from netdsl.kinds.link import Link
from netdsl.kinds.link_wire import IFF_UP, IFLA_IFNAME, IFLA_LINKINFO, IFLA_NET_NS_FD, INFO_DATA, INFO_KIND, RTM_NEWLINK
from netdsl.kinds.shell import ip, quote
from netdsl.lang.dump import Nsid, Scope
from netdsl.lang.item import Gone, Have, Item, Key, Need
from netdsl.lang.naming import check_place
from netdsl.lang.ops import Env, Op, Send
from netdsl.lang.property import kind, prop
from netdsl.lang.values import ValueType

VETH_INFO_PEER = 1
IFLA_NUM_TX_QUEUES, IFLA_NUM_RX_QUEUES = 31, 32
ONE_QUEUE = wire.attr_u32(IFLA_NUM_TX_QUEUES, 1) + wire.attr_u32(IFLA_NUM_RX_QUEUES, 1)
"""Left to itself the kernel makes a queue for each CPU and switches all but one off, waiting for two RCU grace periods
a pair (veth_init_queues): a third to a half of the time that a pair takes, for a device that works the same."""
FAST_COST = 2
OWN_INDEXES = 1 << 20
"""From here up netdsl chooses ifindexes itself, each once in a stack."""


def _check_peer(value: Any) -> Any:
    if isinstance(value, VethEnd):
        return value
    raise ValueError(f"must be a VethEnd, not {value!r}")


PEER = ValueType("VethEnd", _check_peer, lambda _: b"", lambda _: None, recorded=check_place)
"""Its normal form is "netns/ifname"."""


def peer_key(peer: str) -> Key:
    """The identity of the other end."""
    netns, _, name = peer.rpartition("/")
    return ("link", netns, name)


@kind
class VethEnd(Link):
    """The second end of a veth pair, given to a Veth as its `peer=`."""

    word = "veth-end"
    kernel = "veth"
    unborn = frozenset(("txqueuelen", "group", "gso_max_size", "gro_max_size"))

    peer: Veth = prop(PEER, doc="the first end", replace=True, init=False)

    def initial(self, name: str) -> Any:
        """A bridge takes it for a link of 10 Gbit/s (port_cost)."""
        return FAST_COST if name == "port_cost" else super().initial(name)

    def attach(self, first: Veth) -> None:
        """Become the other end of a Veth."""
        if self.peer is not None:
            first.fault(f"{first.title}: its peer {self.name!r} is the end of another Veth already")
        self.__dict__["peer"] = first

    def finished(self) -> None:
        """An end alone is no link."""
        if self.peer is None:
            self.fault(f"{self.title} is no Veth's peer", fix='Give it to one: Veth("name", peer=VethEnd(...)).')

    def props(self) -> dict[str, Any]:
        """With the first end as its peer."""
        return {**super().props(), "peer": f"{self.peer.netns_name}/{self.peer.name}"}

    @classmethod
    def needs(cls, netns: str, name: str, props: Mapping[str, Any]) -> tuple[Need, ...]:
        """The first end, with which it comes and goes."""
        return (*super().needs(netns, name, props), Need(peer_key(props["peer"]), Gone.VANISH))

    @classmethod
    def create(cls, item: Item, env: Env) -> Sequence[Op]:
        """Creating the first end made it; what is left is what a peer cannot be given there (veth_newlink)."""
        up = IFF_UP if item.props.get("up") else 0
        bonded = cls.bonded(item, env)
        up = 0 if bonded else up
        flags, change = cls.flags(item.props)
        rest = {k: v for k, v in item.props.items() if k not in ("mac", "mtu")}
        body = cls.header(item, env, flags | up, change | up) + cls.pack("link", rest, item.netns, env)
        body += cls.pack("late", rest, item.netns, env)
        ops = [*cls.mark(item, env), Send(RTM_NEWLINK, 0, body), *cls.port_options(item, env)]
        return [*ops, *cls.state(item, env)] if bonded else ops

    @classmethod
    def add_command(cls, item: Item, env: Env) -> list[str]:
        """None of its own: it came with the first end."""
        return []


@kind
class Veth(Link):
    """A veth pair: this link and the VethEnd given as `peer=`, which may be in another netns."""

    word = "veth"
    spans = True

    peer: VethEnd = prop(PEER, doc="the other end", replace=True)

    def initial(self, name: str) -> Any:
        """A bridge takes it for a link of 10 Gbit/s (port_cost)."""
        return FAST_COST if name == "port_cost" else super().initial(name)

    def refer(self) -> None:
        """Tie both ends together."""
        super().refer()
        if self.peer is not None:
            self.peer.attach(self)

    def props(self) -> dict[str, Any]:
        """With the second end by name."""
        found = super().props()
        found["peer"] = f"{self.peer.netns_name}/{self.peer.name}"
        return found

    @classmethod
    def needs(cls, netns: str, name: str, props: Mapping[str, Any]) -> tuple[Need, ...]:
        """The netns of both ends."""
        twin = peer_key(props["peer"])
        found = (*super().needs(netns, name, props), Need(twin, Gone.TWIN))
        return (*found, Need(("netns", "", twin[1]), Gone.VANISH)) if twin[1] not in ("", netns) else found

    @classmethod
    def linkinfo(cls, props: Mapping[str, Any], netns: str, env: Env) -> bytes:
        """IFLA_LINKINFO with the peer: ifindex, name, MAC, MTU and the netns where it is to appear."""
        twin = env.item(peer_key(props["peer"]))
        early = {k: v for k, v in twin.props.items() if k in ("mac", "mtu")}
        peer = wire.IFINFO.pack(0, 0, env.ifindex(twin.netns, twin.name), 0, 0)
        peer += (
            wire.attr(IFLA_IFNAME, twin.name.encode() + b"\0") + cls.pack("link", early, twin.netns, env) + ONE_QUEUE
        )
        if twin.netns != netns:
            peer += wire.attr_u32(IFLA_NET_NS_FD, env.netns_fd(twin.netns))
        info = wire.attr(INFO_KIND, b"veth") + wire.nest(INFO_DATA, wire.nest(VETH_INFO_PEER, peer))
        return wire.nest(IFLA_LINKINFO, info) + ONE_QUEUE

    @classmethod
    def add_command(cls, item: Item, env: Env) -> list[str]:
        """`ip link add ... type veth peer ...`."""
        twin = env.item(peer_key(item.props["peer"]))
        early = {k: v for k, v in twin.props.items() if k in ("mac", "mtu")}
        own = {k: v for k, v in item.props.items() if k != "master"}
        queues = " numtxqueues 1 numrxqueues 1"
        words = f"link add name {quote(item.name)}{cls.words('link', own)}{queues} type veth"
        words += f" peer name {quote(twin.name)}" + cls.words("link", early) + queues
        if twin.netns != item.netns:
            words += f" netns {quote(twin.netns)}" if twin.netns else " netns $$"
        return [ip(item.netns, words)]

    @classmethod
    def settle(cls, scopes: Sequence[Scope], nsid: Nsid) -> None:
        """Find out which link the other end of each pair is: its index and ours refer to each other."""
        ends: dict[int, list[tuple[str, Key, Have]]] = {}
        for scope in scopes:
            for key, have in scope.seen_links():
                if have.kind == "veth" and have.props:
                    ends.setdefault(have.ifindex, []).append((scope.netns, key, have))
        for group in ends.values():
            for netns, _, have in group:
                candidates = [
                    (other_netns, other)
                    for other_netns, other, far in ends.get(have.props["iflink"], ())
                    if far.props["iflink"] == have.ifindex and far is not have
                ]
                if len(candidates) > 1 or (candidates and have.ifindex < OWN_INDEXES):
                    seen = have.props["link_nsid"]
                    candidates = [c for c in candidates if (-1 if c[0] == netns else nsid(netns, c[0])) == seen]
                have.props["peer"] = f"{candidates[0][1][1]}/{candidates[0][1][2]}" if len(candidates) == 1 else ""
