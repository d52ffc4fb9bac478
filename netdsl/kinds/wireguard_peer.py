"""WireGuardPeer: who is at the other end of a WireGuard tunnel (drivers/net/wireguard/netlink.c, set_peer)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from netdsl import wire
from netdsl.kinds.link_wire import link_probe
from netdsl.kinds.shell import inside, quote
from netdsl.kinds.wireguard import WireGuard
from netdsl.kinds.wireguard_wire import (
    ALLOWED_IPS,
    DEVICE_PEERS,
    DEVICES,
    ENDPOINT,
    FINGERPRINT,
    KEY_FILE,
    PEER,
    PEER_ALLOWED_IPS,
    PEER_ENDPOINT,
    PEER_FLAGS,
    PEER_KEEPALIVE,
    PEER_PRESHARED_KEY,
    PEER_PUBLIC_KEY,
    PUBLIC_KEY,
    REMOVE_ME,
    REPLACE_ALLOWED_IPS,
    UPDATE_ONLY,
    Parts,
    key,
    nest,
    set_device,
)
from netdsl.lang import keys
from netdsl.lang.declaration import Declaration
from netdsl.lang.item import Item, Key
from netdsl.lang.ops import Env, Op, Probe
from netdsl.lang.property import DERIVED, kind, prop
from netdsl.lang.resource import Resource
from netdsl.lang.values import reference, u16

_AT_ONCE = 1000
"""Networks in one message."""


@kind
class WireGuardPeer(Resource):
    """Another end of a WireGuard tunnel, known by its public key. Its name is free text.

    Which packets go to it is the table of routes' to say: declare a Route to its networks with the tunnel as `dev`.
    The kernel moves the endpoint to where the peer's packets come from; for one that roams leave `endpoint` out, or say
    `opts=Opts(ignore_changes=["endpoint"])`, else the next plan moves it back.
    """

    word = "wireguard-peer"
    family = PEER
    phase = 31
    requires = "CONFIG_WIREGUARD"
    dumps = (DEVICES,)

    dev: WireGuard = prop(reference("a WireGuard", "wireguard"), word="dev", doc="the tunnel")
    public_key: str = prop(PUBLIC_KEY, word="peer", doc="its public key")
    preshared_key_file: str | None = prop(
        KEY_FILE, default=None, word="preshared-key", seen=False,
        doc="the file that holds a secret key which both ends have in addition, in base64",
    )  # fmt: skip
    preshared_fingerprint: str = prop(
        FINGERPRINT, default=DERIVED, init=False, kernel="", doc="what tells that key from another"
    )
    endpoint: str | None = prop(
        ENDPOINT, default=None, at="wireguard", number=PEER_ENDPOINT, word="endpoint", kernel="",
        anew=lambda have, want: bool(have.get("endpoint")) and not want.get("endpoint"),
        doc='where it is, "192.0.2.1:51820" or "[2001:db8::1]:51820"; absent: where its packets come from',
    )  # fmt: skip
    persistent_keepalive: int | None = prop(
        u16(), default=None, at="wireguard", number=PEER_KEEPALIVE, word="persistent-keepalive", unit="seconds",
        kernel=0, doc="how often it is sent an empty packet, to keep a NAT's entry; 0: never",
    )  # fmt: skip
    allowed_ips: Sequence[str] | None = prop(
        ALLOWED_IPS, default=None, at="wireguard", number=PEER_ALLOWED_IPS | wire.NESTED, word="allowed-ips", kernel=[],
        doc="the networks whose packets it may send, and that are sent to it",
    )  # fmt: skip

    def complete(self, declaration: Declaration) -> None:
        """Know the preshared key; check that the peer is another one, and each network that of a single peer."""
        mine, dev, path = self.__dict__, self.dev.__dict__, self.preshared_key_file
        if path is not None:
            try:
                mine["preshared_fingerprint"] = declaration.observer.key_proof(path, self.public_key)
            except ValueError as wrong:
                self.fault(f"{self.title}: preshared_key_file {wrong.args[0]}", wrong.args[1])
        if self.public_key == dev.get("public_key"):
            self.fault(f"{self.title}: its public key is that of {self.dev.title} itself")
        for network in self.allowed_ips or ():
            other = dev.setdefault("_allowed", {}).setdefault(network, self)
            if other is not self:
                self.fault(f"{self.title}: {network} is allowed to {other.title} already, and can only be to one")

    @property
    def logical_name(self) -> str:
        """One that is a peer of several tunnels may have the same name on each."""
        return f"{self.name} dev {self.dev.name}"

    @classmethod
    def identity(cls, netns: str, name: str, props: Mapping[str, Any]) -> Key:
        """Tunnel and public key."""
        return (cls.family, netns, props["dev"], props["public_key"])

    @classmethod
    def probes(cls, props: Mapping[str, Any] | None) -> Sequence[Probe]:
        """That of its tunnel."""
        return (link_probe("wireguard", cls.requires),)

    @classmethod
    def announced(cls, item: Item) -> bool:
        """Nothing is told."""
        return False

    @classmethod
    def create(cls, item: Item, env: Env) -> Sequence[Op]:
        """WG_CMD_SET_DEVICE with the peer as a whole."""
        return cls._set(item, item.props, 0, env)

    @classmethod
    def update(cls, item: Item, changed: Mapping[str, Any], env: Env) -> Sequence[Op]:
        """What changed; the list of networks as a whole."""
        return cls._set(item, changed, UPDATE_ONLY, env)

    @classmethod
    def delete(cls, item: Item, env: Env) -> Sequence[Op]:
        """The peer with the flag that removes it."""
        return cls._set(item, {}, REMOVE_ME, env)

    @classmethod
    def _set(cls, item: Item, props: Mapping[str, Any], flags: int, env: Env) -> list[Op]:
        """One message, and more where the networks do not fit into it: an attribute has at most 65,535 bytes."""
        public, allowed = item.props["public_key"], props.get("allowed_ips")
        if allowed is not None:
            flags |= REPLACE_ALLOWED_IPS
            props = {**props, "allowed_ips": allowed[:_AT_ONCE]}
        parts: Parts = (wire.attr(PEER_PUBLIC_KEY, keys.parse(public)), wire.attr_u32(PEER_FLAGS, flags))
        if "preshared_key_file" in props or "preshared_fingerprint" in props:
            proof = props.get("preshared_fingerprint", item.props.get("preshared_fingerprint"))
            parts += key(PEER_PRESHARED_KEY, item.props.get("preshared_key_file"), proof, public)
        for declared in cls.properties.values():
            if declared.at and props.get(declared.name) is not None:
                parts += (wire.attr(declared.number, declared.type.pack(props[declared.name])),)
        dev = env.ifindex(item.netns, item.props["dev"])
        more = range(_AT_ONCE, len(allowed or ()), _AT_ONCE)
        rest = (cls._more(public, (allowed or ())[start : start + _AT_ONCE]) for start in more)
        return [set_device(dev, nest(DEVICE_PEERS, nest(0, peer))) for peer in (parts, *rest)]

    @staticmethod
    def _more(public: str, networks: Sequence[str]) -> Parts:
        packed = wire.attr(PEER_ALLOWED_IPS | wire.NESTED, ALLOWED_IPS.pack(networks))
        return (wire.attr(PEER_PUBLIC_KEY, keys.parse(public)), wire.attr_u32(PEER_FLAGS, UPDATE_ONLY), packed)

    @classmethod
    def commands(cls, action: str, item: Item, changed: Mapping[str, Any], env: Env) -> Sequence[str]:
        """`wg set ... peer`."""
        if action == "finish":
            return []
        props = item.props if action == "create" else changed
        words = f"wg set {quote(item.props['dev'])} peer {item.props['public_key']}"
        if action == "delete":
            return [inside(item.netns, f"{words} remove")]
        if "preshared_key_file" in props or "preshared_fingerprint" in props:
            words += f" preshared-key {quote(item.props.get('preshared_key_file') or '/dev/null')}"
        for name in ("endpoint", "persistent_keepalive"):
            words += f" {cls.properties[name].word} {props[name]}" if props.get(name) is not None else ""
        if props.get("allowed_ips") is not None:
            words += f" allowed-ips {quote(','.join(props['allowed_ips']))}"
        return [inside(item.netns, words)]
