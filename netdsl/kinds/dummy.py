"""Dummy: a link that drops whatever is sent through it (drivers/net/dummy.c)."""

from __future__ import annotations

from typing import Any

from netdsl.kinds.link import Link
from netdsl.lang.property import kind


@kind
class Dummy(Link):
    """A link without a wire: what is sent through it is dropped. It often holds an address that is always there."""

    word = "dummy"
    requires = "CONFIG_DUMMY"

    def initial(self, name: str) -> Any:
        """It comes without ARP and multicast (dummy_setup)."""
        return False if name in ("arp", "multicast") else super().initial(name)
