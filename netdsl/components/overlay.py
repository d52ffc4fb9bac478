"""Overlay: container networks of any number of nodes joined in flannel's three ways (its pkg/backend)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import Any, NamedTuple

from netdsl.components.vxlan_peer import VxlanPeer
from netdsl.kinds.link import Link
from netdsl.kinds.lower import rest
from netdsl.kinds.route import Route
from netdsl.kinds.tunnel import Tunnel
from netdsl.kinds.vxlan import Vxlan
from netdsl.lang.component import Component
from netdsl.lang.declaration import current
from netdsl.lang.item import DEFAULT_OPTS, Opts
from netdsl.lang.values import check_network, is_v6, network_of, pack_ip

BACKENDS = ("host-gw", "ipip", "vxlan")
VXLAN_OVERHEAD, VXLAN_OVERHEAD6 = 50, 70
"""Bytes: the inner Ethernet header, VXLAN and UDP 8 each, the outer IPv4 or IPv6 header (RFC 7348, section 5)."""


class OverlayNode(NamedTuple):
    """A node of an overlay.

    link    its link to the other nodes; its first address is the node's own
    subnet  its container network
    """

    link: Link
    subnet: str


class Overlay(Component):
    """Joins the container networks of nodes, each with each: what flannel does with what it keeps in etcd.

    nodes           OverlayNode(link, subnet) of each
    backend         "host-gw": the nodes are each other's gateways, on one segment; "ipip"; "vxlan"
    direct_routing  plain routes instead of the tunnel between nodes on one segment
    device          name of the tunnel device in each node; absent: the overlay's name
    per_peer        ipip: a device for each peer, named after its address, instead of one for all
    vni             VXLAN network identifier
    port            UDP port of VXLAN
    mtu             of the tunnel devices; absent: what the node's link leaves
    """

    def __init__(
        self,
        name: str,
        *,
        nodes: Sequence[OverlayNode],
        backend: str,
        direct_routing: bool = False,
        device: str | None = None,
        per_peer: bool = False,
        vni: int = 1,
        port: int = 8472,
        mtu: int | None = None,
        opts: Opts = DEFAULT_OPTS,
    ) -> None:
        super().__init__(name)
        self.backend, self.direct_routing, self.per_peer = backend, direct_routing, per_peer
        self.device = self.name if device is None else device
        self.vni, self.port, self.mtu = vni, port, mtu
        self.devices: dict[str, Link] = {}
        found = len(current().problems)
        self.opts = self.inherited(opts)
        for word, value in (("direct_routing", direct_routing), ("per_peer", per_peer)):
            if not isinstance(value, bool):
                self._fault(f"{word} must be True or False, not {value!r}")
        members = self._members(nodes)
        if len(current().problems) > found or any(node.link.broken for node in nodes):
            return
        with self:
            if backend != "host-gw" and not (backend == "ipip" and per_peer):
                self.devices = {member.name: self._device(member) for member in members}
            for here, there in permutations(members, 2):
                self._join(here, there)

    def _fault(self, what: str, fix: str = "") -> None:
        current().fault(f"Overlay {self.name!r}: {what}", self.where, fix)

    def _members(self, nodes: Any) -> list[_Member]:
        """The nodes with what follows from them; records what is wrong."""
        if self.backend not in BACKENDS:
            self._fault(f"backend must be one of {', '.join(BACKENDS)}, not {self.backend!r}")
        if isinstance(nodes, str) or not isinstance(nodes, Sequence):
            self._fault(f"nodes must be a list of OverlayNode(link, subnet), not {nodes!r}")
            return []
        members: list[_Member] = []
        for node in nodes:
            if not isinstance(node, OverlayNode) or not isinstance(node.link, Link):
                self._fault(f"nodes must be OverlayNode(link, subnet), not {node!r}")
                continue
            if not node.link.addresses:
                if not node.link.broken:
                    self._fault(f"node link {node.link.name!r} in netns {node.link.netns_name!r} has no address")
                continue
            try:
                subnet = check_network(node.subnet)
            except ValueError as wrong:
                self._fault(f"subnet {wrong}")
                continue
            address = node.link.addresses[0]
            members.append(
                _Member(node.link.netns_name or "host", node.link, address.partition("/")[0], address, subnet)
            )
        self._check(members)
        return members

    def _check(self, members: Sequence[_Member]) -> None:
        """What does not fit together."""
        for index, here in enumerate(members):
            for there in members[:index]:
                if here.name == there.name:
                    self._fault(f"two nodes are in netns {here.name!r}")
                elif network_of(here.subnet).overlaps(network_of(there.subnet)):
                    self._fault(f"the subnets {there.subnet} and {here.subnet} overlap")
                elif self.backend == "host-gw" and not here.beside(there):
                    self._fault(
                        f"host-gw needs all nodes on one segment; {there.cidr} and {here.cidr} are not",
                        "Take ipip or vxlan, with direct_routing=True where some of them are.",
                    )
                    return
        for member in members:
            if self.backend == "ipip" and (is_v6(member.address) or is_v6(member.subnet)):
                self._fault(f"ipip carries IPv4 over IPv4; {member.cidr} with {member.subnet} is not that")
            if self.backend == "host-gw" and is_v6(member.address) != is_v6(member.subnet):
                self._fault(f"host-gw needs one address family; {member.cidr} with {member.subnet} has two")

    def _device(self, member: _Member) -> Link:
        """A node's tunnel device. It carries the subnet's own address, which no container can have."""
        network = member.subnet.partition("/")[0]
        own = f"{network}/{128 if is_v6(network) else 32}"
        if self.backend == "ipip":
            return self._ipip(self.device, member, None, own)
        overhead = VXLAN_OVERHEAD6 if is_v6(member.address) else VXLAN_OVERHEAD
        return Vxlan(
            self.device,
            netns=member.link.netns,
            vni=self.vni,
            port=self.port,
            local=member.address,
            dev=member.link,
            learning=False,
            mtu=self.mtu if self.mtu is not None else rest(member.link, overhead),
            addresses=[own],
            opts=self.opts,
        )

    def _ipip(self, name: str, here: _Member, remote: str | None, own: str) -> Tunnel:
        return Tunnel(
            name,
            netns=here.link.netns,
            mode="ipip",
            local=here.address,
            remote=remote,
            dev=here.link,
            mtu=self.mtu,
            addresses=[own],
            opts=self.opts,
        )

    def _join(self, here: _Member, there: _Member) -> None:
        """Let one node reach what is behind another."""
        pair = f"{here.name}-{there.name}"
        if self.backend == "host-gw" or (self.direct_routing and here.beside(there)):
            self._route(pair, here, there, here.link)
        elif self.backend == "ipip" and self.per_peer:
            own = f"{here.subnet.partition('/')[0]}/32"
            name = f"{self.device}-{pack_ip(there.address).hex()}"
            self._route(pair, here, there, self._ipip(name, here, there.address, own))
        elif self.backend == "ipip":
            self._route(pair, here, there, self.devices[here.name])
        else:
            vtep, peer = self.devices[here.name], self.devices[there.name]
            assert isinstance(vtep, Vxlan) and isinstance(peer, Vxlan)
            VxlanPeer(pair, vtep=vtep, peer=peer, subnets=[there.subnet], opts=self.opts)

    def _route(self, pair: str, here: _Member, there: _Member, dev: Link) -> None:
        with Component(pair):
            Route(
                f"to {there.subnet}", netns=here.link.netns, dst=there.subnet, via=there.address, dev=dev, onlink=True,
                opts=self.opts,
            )  # fmt: skip


class _Member(NamedTuple):
    """A node, its name in the overlay, and its address (alone and in CIDR form)."""

    name: str
    link: Link
    address: str
    cidr: str
    subnet: str

    def beside(self, other: _Member) -> bool:
        """Whether both are on one segment, as far as their addresses tell."""
        return network_of(self.cidr) == network_of(other.cidr)
