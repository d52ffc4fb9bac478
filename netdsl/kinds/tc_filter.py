"""TcFilter: which packets go to a class (tc-u32(8); net/sched/cls_u32.c, linux/pkt_cls.h)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from struct import Struct
from typing import Any, ClassVar

import attrs

from netdsl import wire
from netdsl.kinds.htb import Htb
from netdsl.kinds.htb_class import HtbClass
from netdsl.kinds.link import Link
from netdsl.kinds.qdisc import (
    CLASSES,
    CLASSID,
    ENOENT,
    RTM_NEWQDISC,
    TC_H_ROOT,
    TCA_KIND,
    TCA_OPTIONS,
    TCMSG,
    Qdisc,
    handle_of,
    number_of,
    place_of,
    typed,
)
from netdsl.kinds.shell import netns_option, quote
from netdsl.lang.declaration import Declaration
from netdsl.lang.dump import Dump, Scope
from netdsl.lang.item import Gone, Have, Item, Key, Need, Props
from netdsl.lang.ops import Env, Op, Probe, Send
from netdsl.lang.property import kind, prop
from netdsl.lang.resource import Namespace, Resource
from netdsl.lang.values import NETWORK, ValueType, is_v6, pack_ip, reference, text, u16, unpack_ip

RTM_NEWTFILTER, RTM_DELTFILTER, RTM_GETTFILTER = 44, 45, 46
TCA_U32_CLASSID, TCA_U32_SEL = 1, 5
TERMINAL = 1
U32 = "u32"
ETH_P_IP, ETH_P_IPV6 = 0x0800, 0x86DD
_SEL = Struct("=BBBxHHhhI")
"""struct tc_u32_sel: flags, shift of an offset, number of keys, and where to look further, which we leave at zero."""
_KEY = Struct("=4s4sii")
"""struct tc_u32_key: mask and value in network order, offset from the IP header, mask of a further offset."""
_AT = {ETH_P_IP: {"src": 12, "dst": 16}, ETH_P_IPV6: {"src": 8, "dst": 24}}
"""Where the addresses stand in an IP header, by the protocol's number."""
_PROBED = "2:"


def _check_class(value: Any) -> HtbClass:
    if isinstance(value, HtbClass):
        return value
    raise ValueError(f"must be an HtbClass, not {value!r}")


def _none(_value: Any) -> Any:
    raise TypeError("this property is encoded by its kind")


CLASS = ValueType("HtbClass", _check_class, _none, _none, recorded=CLASSID.check)
"""Its normal form is the class's number."""


@kind
class TcFilter(Resource):
    """Packets from or to some addresses go to a class of an Htb. Its name is free text.

    The kernel tries the filters of an Htb by `prio`, and takes the first one that fits.
    """

    word = "tc-filter"
    family = "tc-filter"
    phase = 82
    requires = "CONFIG_NET_CLS_U32"
    kernel: ClassVar[str] = U32

    to: HtbClass = prop(CLASS, word="flowid", replace=True, doc="the class that they go to")
    prio: int = prop(u16(1, 65534), word="prio", doc="place among the filters of the Htb, lowest first")
    src: str | None = prop(NETWORK, default=None, word="src", replace=True, doc="packets from this network")
    dst: str | None = prop(NETWORK, default=None, word="dst", replace=True, doc="packets to this network")
    dev: Link = prop(reference("a link"), default=None, init=False, word="dev", doc="the Htb's link")
    htb: str = prop(text(16), default=None, init=False, doc="the Htb's handle")
    above: str = prop(text(16), default=None, init=False, doc="where the Htb is")

    def linked(self) -> Iterator[tuple[str, Resource]]:
        """The class; its link is there too."""
        if self.__dict__["to"] is not None:
            yield "to", self.to

    def inherited_netns(self) -> Namespace | None:
        """The class's."""
        return next((other.netns for _, other in self.linked()), None)

    def refer(self) -> None:
        """The link is the class's."""
        if self.__dict__["to"] is not None:
            self.__dict__["dev"] = self.to.dev

    def complete(self, declaration: Declaration) -> None:
        """It asks for something, of one address family."""
        mine, given = self.__dict__, [network for network in (self.src, self.dst) if network is not None]
        if not given:
            return self.fault(f"{self.title}: src or dst is required", "Packets of all kinds go to the Htb's default.")
        for network in given:
            if network.endswith("/0"):
                self.fault(f"{self.title}: {network} is every packet; those go to the default of the Htb")
        if len({is_v6(network) for network in given}) > 1:
            self.fault(f"{self.title}: src {self.src} and dst {self.dst} are of two address families")
        if self.to.broken or self.dev is None:
            return None
        if self.to.classes:
            self.fault(f"{self.title}: {self.to.title} has classes of its own, so no packet can be put in it")
        self.to.__dict__["_sought"] = self
        mine["htb"], mine["above"] = self.to.htb.handle, self.to.htb.place
        return None

    @property
    def logical_name(self) -> str:
        """Each link of a netns may have one of that name."""
        return f"{self.name} dev {self.dev.name}" if self.dev is not None else str(self.name)

    def props(self) -> Props:
        """With the class's number."""
        return {**super().props(), "to": self.to.classid}

    @classmethod
    def identity(cls, netns: str, name: str, props: Mapping[str, Any]) -> Key:
        """Link, Htb and place among its filters."""
        return (cls.family, netns, props["dev"], props["htb"], props["prio"])

    @classmethod
    def needs(cls, netns: str, name: str, props: Mapping[str, Any]) -> tuple[Need, ...]:
        """The Htb, which takes it along, and the class, which cannot go before it (htb_delete)."""
        htb, chosen = (Qdisc.family, netns, props["dev"], props["above"]), (CLASSES, netns, props["dev"], props["to"])
        return (*super().needs(netns, name, props), Need(htb, Gone.VANISH, "to"), Need(chosen, Gone.BLOCK, "to"))

    @classmethod
    def probes(cls, props: Mapping[str, Any] | None) -> Sequence[Probe]:
        """Asked for at an Htb on lo of a new netns; and the Htb itself, without which nothing is known."""
        lo, flags = TCMSG.pack(0, 1, number_of(_PROBED), TC_H_ROOT, 0), wire.F_CREATE | wire.F_REPLACE
        htb = Send(RTM_NEWQDISC, flags, lo + typed(Htb.word, Htb.options({})))
        ask = TCMSG.pack(0, 1, 0, number_of(_PROBED), _info(1, ETH_P_IP)) + typed(U32, b"")
        seen = Send(RTM_NEWTFILTER, wire.F_CREATE | wire.F_EXCL, ask)
        return (*Htb.probes(None), Probe(U32, cls.requires, seen, (ENOENT,), (htb,)))

    @classmethod
    def create(cls, item: Item, env: Env) -> Sequence[Op]:
        """RTM_NEWTFILTER."""
        props, keys = item.props, b""
        for word, at in _AT[_protocol(props)].items():
            keys += b"".join(_keys(props[word], at)) if props.get(word) is not None else b""
        selector = _SEL.pack(TERMINAL, 0, len(keys) // _KEY.size, 0, 0, 0, 0, 0) + keys
        options = wire.attr_u32(TCA_U32_CLASSID, number_of(props["to"])) + wire.attr(TCA_U32_SEL, selector)
        return [Send(RTM_NEWTFILTER, wire.F_CREATE | wire.F_EXCL, cls._header(item, env) + typed(U32, options))]

    @classmethod
    def update(cls, item: Item, changed: Mapping[str, Any], env: Env) -> Sequence[Op]:
        """Made anew: the kernel keeps what a filter asks for."""
        return [*cls.delete(item, env), *cls.create(attrs.evolve(item, props={**item.props, **changed}), env)]

    @classmethod
    def delete(cls, item: Item, env: Env) -> Sequence[Op]:
        """RTM_DELTFILTER of all that has its place."""
        return [Send(RTM_DELTFILTER, 0, cls._header(item, env))]

    @classmethod
    def standing(cls, item: Item, have: Have) -> Props:
        """With the networks that it has now: they say of which address family it is."""
        return {**item.props, **{word: have.props[word] for word in ("src", "dst") if word in have.props}}

    @classmethod
    def _header(cls, item: Item, env: Env) -> bytes:
        props = item.props
        index, info = env.ifindex(item.netns, props["dev"]), _info(props["prio"], _protocol(props))
        return TCMSG.pack(0, index, 0, number_of(props["htb"]), info)

    @classmethod
    def commands(cls, action: str, item: Item, changed: Mapping[str, Any], env: Env) -> Sequence[str]:
        """`tc filter`."""
        if action == "finish":
            return []
        props, v6 = item.props, "6" if _protocol(item.props) == ETH_P_IPV6 else ""
        words = f"filter {'del' if action == 'delete' else 'add'} dev {quote(props['dev'])} parent {props['htb']}"
        words += f" protocol ip{'v6' if v6 else ''} prio {props['prio']}"
        if action != "delete":
            matches = (f" match ip{v6} {word} {props[word]}" for word in ("src", "dst") if props.get(word))
            words += f" {U32}{''.join(matches)} flowid {props['to']}"
        return [f"tc {netns_option(item.netns)}{words}"]


def _info(prio: int, protocol: int) -> int:
    """Place and protocol in one number, the protocol in network order."""
    return prio << 16 | int.from_bytes(protocol.to_bytes(2, "big"), "little")


def _protocol(props: Mapping[str, Any]) -> int:
    return ETH_P_IPV6 if is_v6(props.get("src") or props.get("dst") or "") else ETH_P_IP


def _keys(network: str, at: int) -> Iterator[bytes]:
    """A key for each four bytes that the prefix reaches."""
    address, _, length = network.partition("/")
    packed, bits = pack_ip(address), int(length)
    for start in range(0, len(packed), 4):
        here = min(32, bits - start * 8)
        if here > 0:
            yield _KEY.pack((0xFFFFFFFF << 32 - here & 0xFFFFFFFF).to_bytes(4, "big"), packed[start : start + 4],
                            at + start, 0)  # fmt: skip


def _networks(selector: bytes, protocol: int) -> Props | None:
    """What a selector asks for; None where it is something else than networks."""
    found: Props = {}
    keys = {at: (mask, value) for mask, value, at, _ in _KEY.iter_unpack(selector[_SEL.size :])}
    for word, at in _AT.get(protocol, {}).items():
        size = 16 if protocol == ETH_P_IPV6 else 4
        parts = [keys.pop(start) for start in range(at, at + size, 4) if start in keys]
        mask = b"".join(part for part, _ in parts).ljust(size, b"\0")
        length = int.from_bytes(mask, "big").bit_count()
        if parts and int.from_bytes(mask, "big") == ((1 << length) - 1) << (size * 8 - length):
            value = b"".join(part for _, part in parts).ljust(size, b"\0")
            found[word] = f"{unpack_ip(value)}/{length}"
    return None if keys or not found else found


def _body(scope: Scope) -> tuple[bytes, ...]:
    """The kernel shows the filters of one place at a time (tc_dump_tfilter)."""
    places = {(key[2], key[3]) for key in scope.wanted(TcFilter.family)}
    indexes = {name: index for index, name in scope.links.items()}
    return tuple(TCMSG.pack(0, indexes[dev], 0, number_of(htb), 0) for dev, htb in sorted(places) if dev in indexes)


def _read(buffer: bytes, start: int, end: int, scope: Scope) -> None:
    _, ifindex, handle, parent, info = TCMSG.unpack_from(buffer, start)
    found = wire.attrs(buffer, start + TCMSG.size, end)
    word, dev, htb, prio = wire.text(found[TCA_KIND]), scope.links.get(ifindex, ""), place_of(parent), info >> 16
    payload = found.get(TCA_OPTIONS, b"")
    options = wire.attrs(payload, 0, len(payload))
    if word == U32 and handle and TCA_U32_SEL not in options:  # a table that filters stand in
        return
    props: Props = {"dev": dev, "htb": htb, "prio": prio}
    protocol = int.from_bytes((info & 0xFFFF).to_bytes(2, "little"), "big")
    networks = _networks(options[TCA_U32_SEL], protocol) if TCA_U32_SEL in options else None
    if networks is not None:
        props |= networks
        to = options.get(TCA_U32_CLASSID)
        props["to"] = place_of(wire.U32.unpack(to)[0]) if to is not None else ""
    have = scope.found.setdefault((TcFilter.family, scope.netns, dev, htb, prio), Have(word, props))
    if have.props is not props and networks is not None:
        if "to" in have.props:
            have.twins = (*have.twins, props)
        else:
            have.props = props


def _settle(scopes: Sequence[Scope], nsid: Any) -> None:
    """Say of each where its Htb is."""
    for scope in scopes:
        for key, have in scope.found.items():
            if key[0] == TcFilter.family:
                holders = (h for k, h in scope.found.items() if k[0] == Qdisc.family and k[2] == key[2])
                place = next((h.props["parent"] for h in holders if h.props["handle"] == handle_of(key[3])), None)
                if place is not None:
                    have.props["above"] = place


TcFilter.dumps = (*Qdisc.dumps, Dump("filters", RTM_GETTFILTER, _body, _read, _settle))
