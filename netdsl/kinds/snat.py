"""Snat: what leaves gets a fixed source address (nft_nat; net/netfilter/nf_nat_core.c)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from netdsl.kinds.link import Link
from netdsl.kinds.nft_rule import SUBNET
from netdsl.kinds.nftables import KINDS_OF_TABLE, Translation
from netdsl.lang.declaration import Declaration
from netdsl.lang.item import Gone
from netdsl.lang.property import kind, prop
from netdsl.lang.values import IP, reference


@kind
class Snat(Translation):
    """Source addresses become one that is given. Its name is that of an nf_tables table that holds nothing else."""

    word = "snat"
    matches: ClassVar[Mapping[str, tuple[str, str]]] = {
        "dev": ("oifname", "=="),
        "src": ("saddr", "=="),
        "except_dst": ("daddr", "!="),
    }
    example: ClassVar[Mapping[str, Any]] = {"to": "192.0.2.1"}

    to: str = prop(IP, word="snat to", doc="the new source address")
    dev: Link | None = prop(
        reference("a link"), default=None, gone=Gone.STAY, word="oifname", kernel="",
        doc="only what leaves by this link",
    )  # fmt: skip
    src: str | None = prop(SUBNET, default=None, word="saddr", kernel="", doc="only what comes from this network")
    except_dst: str | None = prop(
        SUBNET, default=None, word="daddr !=", kernel="", doc="but not what goes to this network"
    )

    def complete(self, declaration: Declaration) -> None:
        """It must not take everything there is."""
        self.check_families()
        if self.dev is None and self.src is None:
            self.fault(f"{self.title}: dev or src is required, else all that leaves would get the address {self.to}")

    @classmethod
    def verdict(cls, props: Mapping[str, Any]) -> tuple[Any, ...]:
        """The address."""
        return ("snat", props["to"], None)

    @classmethod
    def read_verdict(cls, verdict: tuple[Any, ...]) -> dict[str, Any]:
        """The address."""
        word, to, port = verdict
        if word != "snat" or port is not None:
            raise ValueError
        return {"to": to}


KINDS_OF_TABLE.append(Snat)
