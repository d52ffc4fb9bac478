"""Links on top of another one, the lower device, which may be in another netns (IFLA_LINK; rtnl_newlink)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from netdsl import wire
from netdsl.kinds.link import Link
from netdsl.kinds.link_wire import IFLA_NET_NS_FD
from netdsl.kinds.shell import ip, quote
from netdsl.lang.declaration import Declaration
from netdsl.lang.dump import Nsid, Scope
from netdsl.lang.item import Gone, Item, Key, Need
from netdsl.lang.naming import check_place
from netdsl.lang.ops import Env, Op, Send
from netdsl.lang.property import kind, prop
from netdsl.lang.resource import Namespace
from netdsl.lang.values import ValueType, reference, u32

IFLA_LINK = 5
SAME_NETNS = -1
"""What `link_nsid` is when the lower device is in the link's own netns."""

LOWER = ValueType("a link", reference("a link").check, lambda _: b"", lambda _: None, recorded=check_place)
"""Its normal form is "ifname", or "netns/ifname" in another netns."""


@kind
class UpperLink(Link):
    """A link on a lower device; base of Vlan, Macvlan and Ipvlan."""

    phase = 21
    spans = True
    follows: ClassVar[bool] = False
    """Whether the kernel itself keeps its MTU that of the lower device; else it does so only where that shrinks."""

    mtu: int | None = prop(
        u32(68, 65535), default=None, at="link", number=4, word="mtu", unit="bytes", flushes=("ipvlan",),
        doc="largest packet that the link takes, at most the lower device's; absent: the lower device's",
    )  # fmt: skip
    dev: Link = prop(
        LOWER, word="link", replace=True,
        doc="lower device, also one in another netns; it takes the link along when it is deleted",
    )  # fmt: skip

    def inherited_netns(self) -> Namespace | None:
        """The lower device's."""
        below = self.__dict__["dev"]
        return below.netns if below is not None else super().inherited_netns()

    def complete(self, declaration: Declaration) -> None:
        """No larger packets than below."""
        super().complete(declaration)
        below = self.dev
        if self.mtu is None and not self.follows and not self.__dict__.get("bonded"):
            self.__dict__["mtu"] = below.mtu
        if self.mtu is not None and below.mtu is not None and self.mtu > below.mtu:
            self.fault(f"{self.title}: mtu {self.mtu} is more than the {below.mtu} of its lower device {below.name!r}")

    def initial(self, name: str) -> Any:
        """What the lower device has, where the kernel takes it from there."""
        below = self.dev
        if name == "mtu":
            return below.mtu if below.mtu is not None else below.initial("mtu")
        return below.initial(name) if name == "port_cost" else super().initial(name)

    def props(self) -> dict[str, Any]:
        """With the lower device by name."""
        below = self.dev
        away = below.netns_name != self.netns_name
        return {**super().props(), "dev": f"{below.netns_name}/{below.name}" if away else below.name}

    @classmethod
    def needs(cls, netns: str, name: str, props: Mapping[str, Any]) -> tuple[Need, ...]:
        """The lower device as well."""
        return (*super().needs(netns, name, props), Need(lower_key(netns, props["dev"]), Gone.VANISH))

    @classmethod
    def pack(cls, at: str, props: Mapping[str, Any], netns: str, env: Env) -> bytes:
        """The attributes of one place, with the lower device among those of the link."""
        packed = super().pack(at, props, netns, env)
        if at != "link" or "dev" not in props:
            return packed
        _, where, name = lower_key(netns, props["dev"])
        packed += wire.attr_u32(IFLA_LINK, env.ifindex(where, name))
        return packed if where == netns else packed + wire.attr_u32(IFLA_NET_NS_FD, env.netns_fd(netns))

    @classmethod
    def create(cls, item: Item, env: Env) -> Sequence[Op]:
        """Sent from the lower device's netns to where the link is to be.

        The other way round, with IFLA_LINK_NETNSID, older kernels (6.1) make the link beside its lower device and move
        it: that is slow, refused where its name is taken there, and leaves it down (rtnl_newlink_create).
        """
        first, *rest = super().create(item, env)
        where = lower_key(item.netns, item.props["dev"])[1]
        assert isinstance(first, Send)
        return [first if where == item.netns else first._replace(netns=where), *rest]

    @classmethod
    def add_command(cls, item: Item, env: Env) -> list[str]:
        """`ip link add link ...`, where the lower device is; if the name is taken there, with an index."""
        props = {k: v for k, v in item.props.items() if k != "master"}
        _, where, name = lower_key(item.netns, props["dev"])
        words = f"link add link {quote(name)} name {quote(item.name)}"
        if where != item.netns:
            words += f" index {env.ifindex(item.netns, item.name)}" if env.ifindex(where, item.name) else ""
            words += f" netns {quote(item.netns)}" if item.netns else " netns $$"
        return [ip(where, f"{words}{cls.words('link', props)} type {cls.word}{cls.words('info', props)}")]

    @classmethod
    def settle(cls, scopes: Sequence[Scope], nsid: Nsid) -> None:
        """Find the lower device of each link of this kind by its index and netns."""
        for scope in scopes:
            for _, have in scope.seen_links():
                if have.kind != cls.word or "iflink" not in have.props:
                    continue
                index, seen = have.props["iflink"], have.props["link_nsid"]
                if seen == SAME_NETNS:
                    have.props["dev"] = scope.links.get(index, "")
                    continue
                away = (other for other in scopes if index in other.links and other is not scope)
                found = next((other for other in away if nsid(scope.netns, other.netns) == seen), None)
                have.props["dev"] = f"{found.netns}/{found.links[index]}" if found else ""


def lower_key(netns: str, dev: str) -> Key:
    """The identity of a lower device, as a link in `netns` names it."""
    where, away, name = dev.rpartition("/")
    return ("link", where if away else netns, name)
