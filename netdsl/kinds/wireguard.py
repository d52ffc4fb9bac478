"""WireGuard: an encrypted tunnel to peers that are known by their public keys (drivers/net/wireguard; wg(8))."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import attrs

from netdsl import wire
from netdsl.errors import Problem
from netdsl.kinds.link import Link
from netdsl.kinds.link_dump import LINKS
from netdsl.kinds.shell import inside, quote
from netdsl.kinds.wireguard_wire import (
    DEVICE_FWMARK,
    DEVICE_LISTEN_PORT,
    DEVICE_PRIVATE_KEY,
    DEVICES,
    KEY_FILE,
    PUBLIC_KEY,
    Parts,
    key,
    set_device,
)
from netdsl.lang.declaration import current
from netdsl.lang.item import Item, Relation, World
from netdsl.lang.naming import digest
from netdsl.lang.ops import Env, Op
from netdsl.lang.property import DERIVED, kind, prop
from netdsl.lang.values import LINK_MAC, u16, u32

_OWN = ("listen_port", "fwmark", "private_key_file", "public_key")


@kind
class WireGuard(Link):
    """An encrypted tunnel to any number of peers, each a WireGuardPeer. It carries bare IP packets over UDP.

    Its private key is in a file that only its owner, and at most a group, may read: `(umask 077; wg genkey >FILE)`. The
    key goes from there to the kernel when the plan is carried out, and nowhere else; what is compared, shown and
    recorded is the public key, which the program may give to others: `site.public_key`. A new key in the file is a
    change like any other.

    The kernel announces no change of its configuration: `watch` finds one only when it looks again by itself.
    """

    word = "wireguard"
    requires = "CONFIG_WIREGUARD"
    dumps = (LINKS, DEVICES)

    mtu: int | None = prop(
        u32(68, 65535), default=None, at="link", number=4, word="mtu", unit="bytes", kernel=1420,
        doc="largest packet that the link takes; an outer packet has 60 bytes more over IPv4, 80 over IPv6",
    )  # fmt: skip
    mac: str = prop(LINK_MAC, default=DERIVED, init=False, doc="MAC address: it has none")
    listen_port: int | None = prop(
        u16(1), default=None, at="wireguard", number=DEVICE_LISTEN_PORT, word="listen-port",
        doc="UDP port; absent: one that the kernel chooses",
    )  # fmt: skip
    fwmark: int | None = prop(
        u32(), default=None, at="wireguard", number=DEVICE_FWMARK, word="fwmark", kernel=0,
        doc="mark of the outer packets, for rules to tell them apart; 0: none",
    )  # fmt: skip
    private_key_file: str | None = prop(
        KEY_FILE, default=None, word="private-key", seen=False,
        doc="the file that holds the private key, in base64; absent: the key is not managed",
    )  # fmt: skip
    public_key: str = prop(
        PUBLIC_KEY, default=DERIVED, init=False, kernel="", doc="what the peers know of the private key"
    )

    def refer(self) -> None:
        """Work out the public key; peers refer to it, so after a mistake there is one that stands for it."""
        super().refer()
        mine = self.__dict__
        if mine["private_key_file"] is not None:
            try:
                mine["public_key"] = current().observer.key_proof(mine["private_key_file"], "")
            except ValueError as wrong:
                self.fault(f"{self.title}: private_key_file {wrong.args[0]}", wrong.args[1])
        if self.broken and mine["public_key"] is None:
            mine["public_key"] = PUBLIC_KEY.unpack(digest(f"{self.netns_name}/{self.name}", 32))

    @property
    def shunned(self) -> Collection[str]:
        """Packets are no frames."""
        return ("bridge", "bond")

    def initial(self, name: str) -> Any:
        """It has no use for ARP and multicast (wg_setup)."""
        return False if name in ("arp", "multicast") else super().initial(name)

    @classmethod
    def relate(cls, item: Item, world: World) -> Relation:
        """A port of its own."""
        port = item.props.get("listen_port")
        for other, props in world.inside(item.netns, "link") if port is not None else ():
            if props.get("listen_port") == port and other < item.key:
                yield Problem(f"{item.title}: listen_port {port} is that of WireGuard {other[2]!r} too", item.where)

    @classmethod
    def announced(cls, item: Item) -> bool:
        """Of its configuration nothing is told."""
        return False

    @classmethod
    def create(cls, item: Item, env: Env) -> Sequence[Op]:
        """It comes up once it has its port: else it would first bind another one."""
        props = {word: value for word, value in item.props.items() if word != "up"}
        made = super().create(attrs.evolve(item, props=props), env)
        return [*made, *cls._configure(item, item.props, env), *cls.state(item, env)]

    @classmethod
    def update(cls, item: Item, changed: Mapping[str, Any], env: Env) -> Sequence[Op]:
        """Configuration, and what all links have."""
        return [*cls._configure(item, changed, env), *super().update(item, changed, env)]

    @classmethod
    def _configure(cls, item: Item, props: Mapping[str, Any], env: Env) -> list[Op]:
        """WG_CMD_SET_DEVICE with those properties that are its."""
        parts: Parts = ()
        if "private_key_file" in props or "public_key" in props:
            proof = props.get("public_key", item.props.get("public_key"))
            parts += key(DEVICE_PRIVATE_KEY, item.props.get("private_key_file"), proof)
        for declared in cls.places()["wireguard"]:
            if props.get(declared.name) is not None:
                parts += (wire.attr(declared.number, declared.type.pack(props[declared.name])),)
        return [set_device(env.ifindex(item.netns, item.name), parts)] if parts else []

    @classmethod
    def commands(cls, action: str, item: Item, changed: Mapping[str, Any], env: Env) -> Sequence[str]:
        """`wg set` before the changes that all links have."""
        found = list(super().commands(action, item, changed, env))
        return [*cls._wg(item, changed), *found] if action == "update" else found

    @classmethod
    def add_command(cls, item: Item, env: Env) -> list[str]:
        """`ip link add`, and `wg set` while it is down."""
        return [*super().add_command(item, env), *cls._wg(item, item.props)]

    @classmethod
    def _wg(cls, item: Item, props: Mapping[str, Any]) -> list[str]:
        words = cls.words("wireguard", props)
        if "private_key_file" in props or "public_key" in props:
            words += f" private-key {quote(item.props.get('private_key_file') or '/dev/null')}"
        return [inside(item.netns, f"wg set {quote(item.name)}{words}")] if words else []
