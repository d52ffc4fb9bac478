"""Checks: who is to reach whom once a stack is up. Declared beside resources; nothing here sends a packet."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import Any, ClassVar, Self, TypeAlias, overload

import attrs

from netdsl.errors import joined
from netdsl.lang import naming
from netdsl.lang.declaration import current, user_frame
from netdsl.lang.resource import Namespace, Resource
from netdsl.lang.values import check_cidr, check_ip, is_multicast, is_v6, network_of, u16, u32

End: TypeAlias = str | Resource
"""Where a check goes: an IP address, with or without a prefix length, or a link, whose first address is meant."""

ICMP_LEAST = {4: 28, 6: 48}
"""Bytes of the smallest echo request: the IP header (20 or 40) and the ICMP header."""
SIZE_MOST = 65535
"""Bytes of the largest IP packet (the length field has 16 bits)."""
WITHIN_MOST = 3600
"""Seconds that a check may take at most."""

_PORT = u16(1)
_NOWHERE = {"0.0.0.0": "no host", "::": "no host", "255.255.255.255": "all hosts"}
_LINK_LOCAL = network_of("fe80::/10")
_WORDS = ("source", "to", "port", "size", "within", "name")


class Check:
    """The base of Reachable and Unreachable.

    source  the namespace that is asked from; absent: the one of the enclosing `with`, else the one netdsl runs in
    to      an IP address ("10.0.0.1", also "10.0.0.1/24"), or a link that has addresses
    port    a TCP port to connect to; absent: an ICMP echo
    size    bytes of the whole IP packet that is sent and must not be fragmented on its way (DF)
    within  seconds: how long it is tried
    name    what the check is called; absent: what it says
    """

    reaches: ClassVar[bool]
    """What is wanted."""
    word: ClassVar[str]
    usual: ClassVar[float]
    """Seconds that it is tried by default."""

    @overload
    def __init__(
        self,
        source: Namespace | None,
        to: End,
        *,
        port: int | None = None,
        size: int | None = None,
        within: float | None = None,
        name: str | None = None,
    ) -> None: ...
    @overload
    def __init__(
        self,
        to: End,
        /,
        *,
        port: int | None = None,
        size: int | None = None,
        within: float | None = None,
        name: str | None = None,
    ) -> None: ...
    def __init__(self, source: Any = None, to: Any = None, **given: Any) -> None:
        declaration = current()
        if to is None and not isinstance(source, Namespace):
            source, to = None, source
        self.where, self.component = user_frame(), declaration.component
        self.netns = ""
        """The kernel's name of the netns that is asked from; "" is the one that netdsl runs in."""
        self.to = ""
        self.port: int | None = given.pop("port", None)
        self.size: int | None = given.pop("size", None)
        self.within: float = self.usual if (within := given.pop("within", None)) is None else within
        self.name: str = name if (name := given.pop("name", None)) is not None else ""
        wrong = self._faults(source if source is not None else declaration.netns, to, given)
        for what, fix in wrong:
            declaration.fault(f"{self._called(to)}: {what}", self.where, fix)
        if not wrong:
            declaration.checks.append(self)

    @classmethod
    def plain(
        cls, netns: str, to: str, *, port: int | None = None, size: int | None = None, within: float = 1, name: str = ""
    ) -> Self:
        """One that no program declares; all that is given is right."""
        made = cls.__new__(cls)
        made.netns, made.to, made.port, made.size, made.within, made.name = netns, to, port, size, within, name
        made.where = made.component = ""
        return made

    def brief(self, most: float) -> Self:
        """The same, tried for so many seconds at most."""
        made = copy(self)
        made.within = min(self.within, most)
        return made

    def as_data(self) -> dict[str, Any]:
        """For another process, which makes a check of it by `from_data`."""
        words = ("word", "netns", "to", "port", "size", "within")
        return {**{word: getattr(self, word) for word in words}, "name": self.title}

    def _called(self, to: Any) -> str:
        """How messages about mistakes name it."""
        name = self.name or self.to or (to.name if isinstance(to, Resource) else to)
        return f"{type(self).__name__} {name!r}" if name is not None else type(self).__name__

    def _faults(self, source: Any, to: Any, unknown: dict[str, Any]) -> list[tuple[str, str]]:
        """What is wrong with what the user wrote, and what to do about it; keeps what is right."""
        found: list[tuple[str, str]] = [
            (f"there is no argument {word!r}", f"It has {joined(_WORDS)}.") for word in unknown
        ]
        if isinstance(source, Namespace):
            self.netns = source.name
        elif source is not None:
            found.append((f"source must be a Netns, not {source!r}", "Netns.get(...) refers to one that exists."))
        try:
            self.to = address_of(to)
        except ValueError as error:
            found.append((f"to {error}", ""))
        if self.port is not None:
            try:
                self.port = _PORT.check(self.port)
            except ValueError as error:
                found.append((f"port {error}", ""))
        if self.size is not None and self.port is not None:
            found.append(("size is for an ICMP echo, and with port= there is none", "Leave one of the two out."))
        elif self.size is not None:
            try:
                self.size = u32(ICMP_LEAST[6 if is_v6(self.to) else 4], SIZE_MOST).check(self.size)
            except ValueError as error:
                found.append((f"size {error}", "It is the size of the whole IP packet in bytes."))
        if isinstance(self.within, bool) or not isinstance(self.within, int | float):
            found.append((f"within must be a number of seconds, not {self.within!r}", ""))
        elif not 0 < self.within <= WITHIN_MOST:
            found.append((f"within must be more than 0 and at most {WITHIN_MOST} seconds, not {self.within!r}", ""))
        if self.name != "":
            try:
                self.name = naming.check_text(self.name)
            except ValueError as error:
                found.append((str(error), ""))
        return found

    @property
    def proto(self) -> str:
        """What is sent: "icmp" or "tcp"."""
        return "icmp" if self.port is None else "tcp"

    @property
    def title(self) -> str:
        """Its name, below its component's; without a name what it says."""
        if self.name:
            return f"{self.component}/{self.name}" if self.component else self.name
        verb = "reaches" if self.reaches else "does not reach"
        port = f" at TCP port {self.port}" if self.port is not None else ""
        size = f" with {self.size} bytes" if self.size is not None else ""
        return f"{self.netns or 'this namespace'} {verb} {self.to}{port}{size}"


class Reachable(Check):
    """That an address answers an ICMP echo, or a TCP port accepts a connection; it is tried until it does."""

    reaches = True
    word = "reachable"
    usual = 5.0


class Unreachable(Check):
    """That an address does not answer, or a TCP port takes no connection, as long as it is tried.

    A connection that is refused, and a packet that is too large for the path, are unreachable.
    """

    reaches = False
    word = "unreachable"
    usual = 1.0


CHECKS: dict[str, type[Check]] = {kind.word: kind for kind in (Reachable, Unreachable)}
"""By their words."""


def from_data(found: Mapping[str, Any]) -> Check:
    """The check of which `as_data` came."""
    given = dict(found)
    return CHECKS[given.pop("word")].plain(given.pop("netns"), given.pop("to"), **given)


@attrs.frozen
class Result:
    """What came of a check.

    reached  None where it could not be tried
    detail   how it went, in words
    ms       milliseconds until the answer came, or for which it was tried
    fix      what to do about it, or ""
    """

    check: Check
    reached: bool | None
    detail: str
    ms: float = 0.0
    fix: str = ""

    @property
    def ok(self) -> bool:
        """Whether it is as declared."""
        return self.reached is self.check.reaches


def address_of(to: Any) -> str:
    """The address of one host in normal form; "" of a link whose own mistakes are told already. Raises ValueError."""
    if getattr(to, "is_link", False):
        if to.broken:
            return ""
        if not to.addresses:
            raise ValueError(f"must be an address: {to.title} has none of its own (addresses=)")
        to = to.addresses[0]
    elif to is None:
        raise ValueError("is required: the address to reach")
    address = check_cidr(to).partition("/")[0] if "/" in str(to) else check_ip(to)
    if address in _NOWHERE:
        raise ValueError(f"must be the address of one host; {address} stands for {_NOWHERE[address]}")
    if is_multicast(address):
        raise ValueError(f"must be the address of one host; {address} is a multicast group")
    if is_v6(address) and _LINK_LOCAL.holds(address):
        raise ValueError(f"must be an address that says by itself where it is; {address} is link-local")
    return address
