"""Dnat: what arrives for one address or port goes on to another (nft_nat; net/netfilter/nf_nat_core.c)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from netdsl.kinds.link import Link
from netdsl.kinds.nft_rule import PROTOCOLS, SUBNET
from netdsl.kinds.nftables import KINDS_OF_TABLE, PREROUTING, Translation
from netdsl.lang.declaration import Declaration
from netdsl.lang.item import Gone
from netdsl.lang.property import kind, prop
from netdsl.lang.values import IP, be16, choice, reference

WITH_PORTS = ("tcp", "udp", "dccp", "sctp", "udplite")


@kind
class Dnat(Translation):
    """Destination addresses become another one: a port of the node leads to a container.

    It counts for what arrives from outside the netns, not for what is sent in it. Its name is that of an nf_tables
    table that holds nothing else.
    """

    word = "dnat"
    hook = PREROUTING
    matches: ClassVar[Mapping[str, tuple[str, str]]] = {
        "dev": ("iifname", "=="),
        "src": ("saddr", "=="),
        "dst": ("daddr", "=="),
        "proto": ("l4proto", "=="),
        "port": ("dport", "=="),
    }
    example: ClassVar[Mapping[str, Any]] = {"to": "192.0.2.1", "proto": "tcp", "port": 80}

    to: str = prop(IP, word="dnat to", doc="the new destination address")
    to_port: int | None = prop(be16(1), default=None, kernel="", doc="the new destination port; absent: it stays")
    dev: Link | None = prop(
        reference("a link"), default=None, gone=Gone.STAY, word="iifname", kernel="",
        doc="only what arrives by this link",
    )  # fmt: skip
    src: str | None = prop(SUBNET, default=None, word="saddr", kernel="", doc="only what comes from this network")
    dst: str | None = prop(
        SUBNET, default=None, word="daddr", kernel="", doc="only what goes to this address or network"
    )
    proto: str | None = prop(choice(*PROTOCOLS), default=None, word="l4proto", kernel="", doc="only this protocol")
    port: int | None = prop(be16(1), default=None, word="dport", kernel="", doc="only what goes to this port")

    def complete(self, declaration: Declaration) -> None:
        """Ports are those of a protocol; it must not take everything there is."""
        self.check_families()
        for word in ("port", "to_port"):
            if getattr(self, word) is not None and self.proto not in WITH_PORTS:
                self.fault(f"{self.title}: {word} needs a proto that has ports: {', '.join(WITH_PORTS)}")
        if all(getattr(self, word) is None for word in type(self).matches):
            self.fault(f"{self.title}: dev, src, dst, proto or port is required, else all that arrives would be led on")

    @classmethod
    def verdict(cls, props: Mapping[str, Any]) -> tuple[Any, ...]:
        """Address and port."""
        return ("dnat", props["to"], props.get("to_port") or None)

    @classmethod
    def read_verdict(cls, verdict: tuple[Any, ...]) -> dict[str, Any]:
        """Address and port."""
        word, to, port = verdict
        if word != "dnat":
            raise ValueError
        return {"to": to} if port is None else {"to": to, "to_port": port}


KINDS_OF_TABLE.append(Dnat)
