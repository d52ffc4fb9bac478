"""Tunnel: IP in IP, GRE and their like (net/ipv4/ip_tunnel.c, net/ipv6/ip6_tunnel.c; linux/if_tunnel.h)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from struct import Struct
from typing import Any

import attrs

from netdsl import wire
from netdsl.errors import Problem
from netdsl.kinds.link import Link
from netdsl.kinds.link_wire import IFLA_LINKINFO, INFO_DATA, INFO_KIND, link_probe
from netdsl.kinds.lower import ETHERNET, WrappingLink
from netdsl.lang.declaration import Declaration
from netdsl.lang.item import Item, Relation, World
from netdsl.lang.ops import Env, Op, Probe
from netdsl.lang.property import Property, argument, kind, prop
from netdsl.lang.values import FLAG, IP, ValueType, be32, bit16, choice, is_multicast, is_v6, reference, u32
from netdsl.lang.values import tos as tos_byte

IFLA_IPTUN_FLAGS, IFLA_IPTUN_PROTO, IFLA_GRE_FLAGS = 8, 9, 13
IP6_TNL_F_IGN_ENCAP_LIMIT = 1
LIKE_IP = {"ttl": 64, "encap_limit": 4}
"""What `ip` gives sit and tunnels over IPv6 unless told otherwise, and so do we; the kernel by itself takes 0."""
IFLA_GRE_IFLAGS, IFLA_GRE_OFLAGS, IFLA_GRE_IKEY, IFLA_GRE_OKEY = 2, 3, 4, 5
GRE_CSUM, GRE_KEY, GRE_SEQ = 0x8000, 0x2000, 0x1000
_BE16 = Struct(">H")

_NO_VALUE = (None, "0.0.0.0", "::")
"""What is left out: an end point that is no more is not named among those that are sent again (ip6gre_tap_validate)."""


@attrs.frozen
class Mode:
    """What a mode is to the kernel.

    kernel    its word for the kind of link
    v6        the outer packets are IPv6
    option    the kernel option that offers it
    overhead  bytes of outer headers, without GRE's optional fields
    gre       its attributes are numbered in GRE's way
    ethernet  it carries frames, not packets: it has a MAC address and can be a bridge's port
    proto     number of the inner protocol, where it can be chosen (IFLA_IPTUN_PROTO; 0: any)
    inner     the same in `ip`'s words
    fallback  the device of the mode that the kernel puts into each netns; it has no end points and no key
    """

    kernel: str
    v6: bool
    option: str
    overhead: int
    gre: bool = False
    ethernet: bool = False
    proto: int | None = None
    inner: str = ""
    fallback: str = ""


MODES = {
    "ipip": Mode("ipip", False, "CONFIG_NET_IPIP", 20, proto=4, inner="ipip", fallback="tunl0"),
    "sit": Mode("sit", False, "CONFIG_IPV6_SIT", 20, proto=41, inner="ip6ip", fallback="sit0"),
    "gre": Mode("gre", False, "CONFIG_NET_IPGRE", 24, gre=True, fallback="gre0"),
    "gretap": Mode("gretap", False, "CONFIG_NET_IPGRE", 38, gre=True, ethernet=True, fallback="gretap0"),
    "ip6tnl": Mode("ip6tnl", True, "CONFIG_IPV6_TUNNEL", 40, proto=0, inner="any", fallback="ip6tnl0"),
    "ipip6": Mode("ip6tnl", True, "CONFIG_IPV6_TUNNEL", 40, proto=4, inner="ipip6", fallback="ip6tnl0"),
    "ip6ip6": Mode("ip6tnl", True, "CONFIG_IPV6_TUNNEL", 40, proto=41, inner="ip6ip6", fallback="ip6tnl0"),
    "ip6gre": Mode("ip6gre", True, "CONFIG_IPV6_GRE", 44, gre=True, fallback="ip6gre0"),
    "ip6gretap": Mode("ip6gretap", True, "CONFIG_IPV6_GRE", 58, gre=True, ethernet=True),
}

_CHOOSES = frozenset(mode.kernel for mode in MODES.values() if mode.proto is not None)

GRE_NUMBERS = {"dev": 1, "local": 6, "remote": 7, "ttl": 8, "tos": 9, "pmtudisc": 10, "encap_limit": 11, "fwmark": 20}
"""IFLA_GRE_* of the properties that IFLA_IPTUN_* number otherwise."""

GRE_ONLY = ("ikey", "okey", "icsum", "ocsum", "iseq", "oseq")
_GRE_FLAGS = {
    IFLA_GRE_IFLAGS: {"ikey": GRE_KEY, "icsum": GRE_CSUM, "iseq": GRE_SEQ},
    IFLA_GRE_OFLAGS: {"okey": GRE_KEY, "ocsum": GRE_CSUM, "oseq": GRE_SEQ},
}
_NOT_ALONE = frozenset(("mode", "icsum", "ocsum", "iseq", "oseq"))
"""Properties without an attribute of their own."""


def _check_ttl(value: Any) -> Any:
    if value == "inherit" or (isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 255):
        return value
    raise ValueError(f'must be between 1 and 255, or "inherit", not {value!r}')


TTL = ValueType(
    'integer 1..255 or "inherit"',
    _check_ttl,
    lambda v: b"\0" if v == "inherit" else bytes((v,)),
    lambda p: p[0] or "inherit",
)


def _check_limit(value: Any) -> Any:
    if value == "none" or (isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 255):
        return value
    raise ValueError(f'must be between 0 and 255, or "none", not {value!r}')


LIMIT = ValueType(
    'integer 0..255 or "none"', _check_limit, lambda v: b"\0" if v == "none" else bytes((v,)), lambda p: p[0]
)


def other_flags(have: Mapping[str, Any], want: Mapping[str, Any]) -> bool:
    """Whether the remote makes another sort of link of it: with one other end, with a group of them, or without any,
    which the kernel settles on creation for tunnels of packets over IPv4 (ip_tunnel_changelink)."""
    mode = MODES[want["mode"]]
    return not mode.v6 and not mode.ethernet and _sort(have.get("remote")) != _sort(want.get("remote"))


def _sort(remote: str | None) -> str:
    if remote in _NO_VALUE:
        return "any"
    return "group" if is_multicast(str(remote)) else "one"


@kind
class Tunnel(WrappingLink):
    """A tunnel that wraps packets in IPv4 or IPv6: ipip, sit, gre, gretap, ip6tnl (ipip6, ip6ip6), ip6gre, ip6gretap.

    Without `mtu` it is the lower device's less the outer headers; the lower device is `dev`, else the link that has the
    address `local`, else the one in whose network `remote` is. Where none is known, the kernel chooses. The devices
    that the kernel makes by itself for each mode (tunl0, sit0, gre0, ...) are never touched.

    key   GRE key for both directions
    csum  GRE checksums in both directions
    seq   GRE sequence numbers in both directions
    """

    word = "tunnel"
    kernels = tuple(dict.fromkeys(mode.kernel for mode in MODES.values()))
    phase = 21

    mtu: int | None = prop(
        u32(68, 65535), default=None, at="link", number=4, word="mtu", unit="bytes",
        doc="largest packet that the link takes; absent: what the lower device leaves",
    )  # fmt: skip
    mode: str = prop(choice(*MODES), at="info", replace=True, resend=True, doc="what is wrapped in what")
    local: str | None = prop(
        IP, default=None, at="info", number=2, word="local", resend=True, doc="source address of the outer packets"
    )
    remote: str | None = prop(
        IP, default=None, at="info", number=3, word="remote", resend=True, anew=other_flags,
        doc="where the outer packets go; absent: to the gateway of the route that leads into the tunnel",
    )  # fmt: skip
    dev: Link | None = prop(
        reference("a link"), default=None, at="info", number=1, word="dev", kernel="", resend=True,
        doc="lower device; packets are sent and taken by it alone, and it takes the tunnel along when it is deleted",
    )  # fmt: skip
    ttl: int | str | None = prop(
        TTL, default=None, at="info", number=4, word="ttl", unit="hops", kernel="inherit", resend=True,
        doc="TTL of the outer packets; absent: inherit, but 64 for sit and over IPv6",
    )  # fmt: skip
    tos: int | None = prop(
        tos_byte(), default=None, at="info", number=5, word="tos", kernel=0, resend=True,
        doc="TOS of the outer packets over IPv4; 1: inherit",
    )  # fmt: skip
    pmtudisc: bool | None = prop(
        FLAG, default=None, at="info", number=10, word="[no]pmtudisc", kernel=True, resend=True,
        doc="set DF in the outer packets over IPv4; a fixed ttl needs it",
    )  # fmt: skip
    encap_limit: int | str | None = prop(
        LIMIT, default=None, at="info", number=6, word="encaplimit", kernel=4, resend=True,
        doc="over IPv6: how often more the packets may be wrapped, 4 if absent; it takes 8 bytes of the MTU, or none",
    )  # fmt: skip
    fwmark: int | None = prop(
        u32(), default=None, at="info", number=20, word="fwmark", kernel=0, resend=True,
        doc="mark of the outer packets, for policy routing",
    )  # fmt: skip
    ikey: int | None = prop(
        be32(1), default=None, at="info", number=IFLA_GRE_IKEY, word="ikey", kernel=0, resend=True,
        doc="GRE key that incoming packets must have",
    )  # fmt: skip
    okey: int | None = prop(
        be32(1), default=None, at="info", number=IFLA_GRE_OKEY, word="okey", kernel=0, resend=True,
        doc="GRE key of outgoing packets",
    )  # fmt: skip
    icsum: bool | None = prop(
        bit16(GRE_CSUM), default=None, at="info", number=IFLA_GRE_IFLAGS, word="[no]icsum", kernel=False, resend=True,
        doc="GRE: refuse packets without a checksum",
    )  # fmt: skip
    ocsum: bool | None = prop(
        bit16(GRE_CSUM), default=None, at="info", number=IFLA_GRE_OFLAGS, word="[no]ocsum", kernel=False, resend=True,
        doc="GRE: checksum in outgoing packets",
    )  # fmt: skip
    iseq: bool | None = prop(
        bit16(GRE_SEQ), default=None, at="info", number=IFLA_GRE_IFLAGS, word="[no]iseq", kernel=False, resend=True,
        doc="GRE: refuse packets out of sequence",
    )  # fmt: skip
    oseq: bool | None = prop(
        bit16(GRE_SEQ), default=None, at="info", number=IFLA_GRE_OFLAGS, word="[no]oseq", kernel=False, resend=True,
        doc="GRE: sequence numbers in outgoing packets",
    )  # fmt: skip
    key: int | None = argument(default=None)
    csum: bool | None = argument(default=None)
    seq: bool | None = argument(default=None)

    def complete(self, declaration: Declaration) -> None:
        """Check that the parts fit the mode, spread key, csum and seq, and derive the MTU."""
        mine, mode = self.__dict__, MODES[self.mode]
        for word, both in (("key", ("ikey", "okey")), ("csum", ("icsum", "ocsum")), ("seq", ("iseq", "oseq"))):
            if mine[word] is not None:
                for name in both:
                    if mine[name] is not None:
                        return self.fault(f"{self.title}: {word} is {name} too; give one of them")
                    try:
                        mine[name] = type(self).properties[name].type.check(mine[word])
                    except ValueError as wrong:
                        return self.fault(f"{self.title}: {word} {wrong}")
        self._check(mode)
        for word, value in LIKE_IP.items():
            if mine[word] is None and (mode.v6 or (word, mode.kernel) == ("ttl", "sit")):
                mine[word] = value
        super().complete(declaration)
        if not self.broken:
            optional = 4 * sum(bool(mine[word]) for word in ("okey", "ocsum", "oseq"))
            optional += 8 if mode.v6 and mine["encap_limit"] != "none" else 0
            overhead = mode.overhead + optional
            self.derive_mtu(declaration, overhead, ETHERNET - overhead)

    def _check(self, mode: Mode) -> None:
        for word, address in (("local", self.local), ("remote", self.remote)):
            if address is not None and is_v6(address) != mode.v6:
                wanted = "IPv6" if mode.v6 else "IPv4"
                self.fault(f"{self.title}: {self.mode} runs over {wanted}; {word} {address} is none")
        if not mode.gre:
            for word in GRE_ONLY:
                if self.__dict__[word]:
                    short = {"ikey": "key", "okey": "key"}.get(word, word)
                    return self.fault(f"{self.title}: {self.mode} has no {short}; the gre modes do")
        for word in ("tos", "pmtudisc") if mode.v6 else ("encap_limit",):
            if self.__dict__[word] is not None:
                self.fault(f"{self.title}: {self.mode} has no {word}")
        if mode.fallback and not (self.local or self.remote or self.dev or self.ikey):
            self.fault(
                f"{self.title}: without local, remote, dev and key it would be the kernel's own {mode.fallback}",
                "Give one of them.",
            )
        if self.pmtudisc is False and isinstance(self.ttl, int):
            self.fault(f"{self.title}: a fixed ttl needs pmtudisc, else packets could circle for ever")
        if not mode.ethernet and self.__dict__["mac"] is not None:
            self.fault(f"{self.title}: {self.mode} carries packets, not frames, and has no mac")

    def _chosen_mac(self, declaration: Declaration) -> str | None:
        return super()._chosen_mac(declaration) if MODES[self.mode].ethernet else None

    @property
    def shunned(self) -> Collection[str]:
        """Packets are no frames."""
        return () if MODES[self.mode].ethernet else ("bridge", "bond")

    @property
    def sort(self) -> str:
        """With the reason."""
        return f"{self.mode} tunnel, which carries packets, not frames,"

    def initial(self, name: str) -> Any:
        """Addresses are all zeroes; those for packets have no use for ARP and multicast (ip_tunnel_init and others)."""
        mode = MODES[self.mode]
        if name in ("local", "remote"):
            return "::" if mode.v6 else "0.0.0.0"
        if name in ("arp", "multicast"):
            return mode.ethernet
        return super().initial(name)

    @classmethod
    def relate(cls, item: Item, world: World) -> Relation:
        """Two tunnels of a kind cannot have the same end points and key (ip_tunnel_find)."""
        mine = _ends(item.props)
        for key, props in world.inside(item.netns, "link"):
            if key < item.key and props.get("mode") in MODES and _ends(props) == mine:
                yield Problem(
                    f"{item.title} has the mode, local, remote and key of {key[2]}; the kernel takes only one such",
                    item.where,
                    "Give one of them another remote, local or key.",
                )

    @classmethod
    def probes(cls, props: Mapping[str, Any] | None) -> Sequence[Probe]:
        """The mode's kind of link, or those of all modes."""
        modes = MODES.values() if props is None else (MODES[props["mode"]],)
        return [link_probe(kernel, option) for kernel, option in dict.fromkeys((m.kernel, m.option) for m in modes)]

    # -- encoding

    @classmethod
    def numbered(cls, kernel: str) -> Sequence[Property]:
        """Properties as a kernel kind numbers them."""
        if next(mode for mode in MODES.values() if mode.kernel == kernel).gre:
            return [attrs.evolve(p, number=GRE_NUMBERS.get(p.name, p.number)) for p in cls.properties.values()]
        return list(cls.properties.values())

    @classmethod
    def read(cls, kernel: str, props: dict[str, Any], found: Mapping[int, bytes]) -> None:
        """The mode, from the kernel's word and the inner protocol; whether encapsulation is limited."""
        proto = found[IFLA_IPTUN_PROTO][0] if IFLA_IPTUN_PROTO in found and kernel in _CHOOSES else None
        modes = (name for name, mode in MODES.items() if (mode.kernel, mode.proto) == (kernel, proto))
        props["mode"] = next(modes, f"{kernel} of protocol {proto}")
        flags = found.get(IFLA_GRE_FLAGS if "gre" in kernel else IFLA_IPTUN_FLAGS)
        if flags and props.get("encap_limit") is not None and flags[0] & IP6_TNL_F_IGN_ENCAP_LIMIT:
            props["encap_limit"] = "none"

    @classmethod
    def linkinfo(cls, props: Mapping[str, Any], netns: str, env: Env) -> bytes:
        """IFLA_LINKINFO; GRE's flags say which of key, checksum and sequence number there are."""
        mode = MODES[props["mode"]]
        body = b""
        for declared in cls.numbered(mode.kernel):
            value = props.get(declared.name)
            if declared.at == "info" and value not in _NO_VALUE and declared.name not in _NOT_ALONE:
                if declared.type.link:
                    value = env.ifindex(netns, value) if value else 0
                body += wire.attr(declared.number, declared.type.pack(value))
        for number, words in _GRE_FLAGS.items() if mode.gre else ():
            bits = sum(bit for word, bit in words.items() if props.get(word))
            body += wire.attr(number, _BE16.pack(bits))
        if mode.proto is not None:
            body += wire.attr(IFLA_IPTUN_PROTO, bytes((mode.proto,)))
        if props.get("encap_limit") is not None:
            ignored = IP6_TNL_F_IGN_ENCAP_LIMIT if props["encap_limit"] == "none" else 0
            body += wire.attr_u32(IFLA_GRE_FLAGS if mode.gre else IFLA_IPTUN_FLAGS, ignored)
        return wire.nest(IFLA_LINKINFO, wire.attr(INFO_KIND, mode.kernel.encode()) + wire.nest(INFO_DATA, body))

    @classmethod
    def update(cls, item: Item, changed: Mapping[str, Any], env: Env) -> Sequence[Op]:
        """As of every link, and the MTU with it."""
        return super().update(item, _with_mtu(item, changed), env)

    # -- the same in words

    @classmethod
    def commands(cls, action: str, item: Item, changed: Mapping[str, Any], env: Env) -> Sequence[str]:
        """As of every link, and the MTU with it."""
        return super().commands(action, item, _with_mtu(item, changed), env)

    @classmethod
    def type_words(cls, props: Mapping[str, Any]) -> str:
        """The kernel's word, and what is inside."""
        mode = MODES[props["mode"]]
        return f"{mode.kernel} mode {mode.inner}" if mode.inner else mode.kernel

    @classmethod
    def words(cls, at: str, props: Mapping[str, Any]) -> str:
        """As of every link; no key is a word of its own."""
        text = super().words(at, props)
        return text.replace(" ikey 0", " noikey").replace(" okey 0", " nookey") if at == "info" else text


def _with_mtu(item: Item, changed: Mapping[str, Any]) -> Mapping[str, Any]:
    """A change of the lower device or the mark makes the kernel choose an MTU anew (ip_tunnel_update)."""
    if "mtu" in item.props and ("dev" in changed or "fwmark" in changed):
        return {**changed, "mtu": item.props["mtu"]}
    return changed


def _ends(props: Mapping[str, Any]) -> tuple[Any, ...]:
    """What the kernel tells tunnels apart by."""
    kernel = MODES[props["mode"]].kernel
    return (kernel, props.get("local"), props.get("remote"), props.get("dev"), props.get("ikey"))
