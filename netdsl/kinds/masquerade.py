"""Masquerade: what leaves gets the address of its link (nft_masq; net/netfilter/nf_nat_masquerade.c)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from netdsl.kinds.link import Link
from netdsl.kinds.nft_rule import SUBNET
from netdsl.kinds.nftables import KINDS_OF_TABLE, Translation
from netdsl.lang.declaration import Declaration
from netdsl.lang.item import Gone
from netdsl.lang.property import kind, prop
from netdsl.lang.values import reference


@kind
class Masquerade(Translation):
    """Source addresses become that of the outgoing link: containers reach the world through their node.

    Its name is that of an nf_tables table that holds nothing else. Without addresses it counts for IPv4 and IPv6.
    """

    word = "masquerade"
    matches: ClassVar[Mapping[str, tuple[str, str]]] = {
        "dev": ("oifname", "=="),
        "src": ("saddr", "=="),
        "except_dst": ("daddr", "!="),
    }
    example: ClassVar[Mapping[str, Any]] = {"dev": "lo"}

    dev: Link | None = prop(
        reference("a link"), default=None, gone=Gone.STAY, word="oifname", kernel="",
        doc="only what leaves by this link",
    )  # fmt: skip
    src: str | None = prop(SUBNET, default=None, word="saddr", kernel="", doc="only what comes from this network")
    except_dst: str | None = prop(
        SUBNET, default=None, word="daddr !=", kernel="",
        doc="but not what goes to this network, as between containers",
    )  # fmt: skip

    def complete(self, declaration: Declaration) -> None:
        """It must not take everything there is."""
        self.check_families()
        if self.dev is None and self.src is None:
            self.fault(f"{self.title}: dev or src is required, else all that leaves would be masqueraded")

    @classmethod
    def verdict(cls, props: Mapping[str, Any]) -> tuple[Any, ...]:
        """The link's address."""
        return ("masquerade",)

    @classmethod
    def read_verdict(cls, verdict: tuple[Any, ...]) -> dict[str, Any]:
        """Nothing beyond itself."""
        if verdict != ("masquerade",):
            raise ValueError
        return {}


KINDS_OF_TABLE.append(Masquerade)
