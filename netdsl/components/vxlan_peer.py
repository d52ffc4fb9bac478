"""VxlanPeer: what one vtep has to know of another (the three facts that flannel keeps of each node)."""

from __future__ import annotations

from collections.abc import Sequence

from netdsl.kinds.fdb_entry import FdbEntry
from netdsl.kinds.neighbor import Neighbor
from netdsl.kinds.route import Route
from netdsl.kinds.vxlan import Vxlan
from netdsl.lang.component import Component
from netdsl.lang.declaration import current
from netdsl.lang.item import DEFAULT_OPTS, Opts
from netdsl.lang.values import check_ip, check_network


class VxlanPeer(Component):
    """Lets a vtep reach the subnets behind another one, without learning and without ARP.

    vtep     the vtep here
    peer     the vtep there; it needs `local` and an IPv4 or IPv6 address
    subnets  networks behind the peer
    gateway  the next hop of the routes; absent: the peer's first address (in flannel's way the subnet's own address)
    """

    def __init__(
        self,
        name: str,
        *,
        vtep: Vxlan,
        peer: Vxlan,
        subnets: Sequence[str],
        gateway: str | None = None,
        opts: Opts = DEFAULT_OPTS,
    ) -> None:
        super().__init__(name)
        fault = current().fault
        for word, link in (("vtep", vtep), ("peer", peer)):
            if not isinstance(link, Vxlan):
                return fault(f"VxlanPeer {name!r}: {word} must be a Vxlan, not {link!r}", self.where)
        if vtep.broken or peer.broken:  # their own mistakes are told already
            return
        if isinstance(subnets, str) or not isinstance(subnets, Sequence):
            return fault(f"VxlanPeer {name!r}: subnets must be a list of networks, not {subnets!r}", self.where)
        if peer.local is None:
            return fault(f"VxlanPeer {name!r}: peer {peer.name!r} has no local address to send to", self.where)
        if gateway is None and not peer.addresses:
            return fault(
                f"VxlanPeer {name!r}: peer {peer.name!r} has no address that could be the gateway",
                self.where,
                "Give the peer an address, or give gateway=.",
            )
        try:
            next_hop = check_ip(gateway if gateway is not None else peer.addresses[0].partition("/")[0])
            networks = [check_network(subnet) for subnet in subnets]
        except ValueError as wrong:
            return fault(f"VxlanPeer {name!r}: {wrong}", self.where)
        opts = self.inherited(opts)
        with self:
            Neighbor(next_hop, dev=vtep, lladdr=peer.mac, opts=opts)
            FdbEntry(peer.mac, dev=vtep, dst=peer.local, opts=opts)
            for network in networks:
                Route(f"to {network}", dst=network, via=next_hop, dev=vtep, onlink=True, opts=opts)
