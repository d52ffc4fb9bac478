"""What a kind asks of the kernel: plain descriptions of operations; `kernel/` carries them out."""

from __future__ import annotations

from errno import EOPNOTSUPP
from os import strerror
from typing import NamedTuple, Protocol, TypeAlias

from netdsl import wire
from netdsl.lang.item import Item, Key

NETLINK_NETFILTER, NETLINK_GENERIC = 12, 16
"""The netlink protocols of nf_tables and of generic netlink; rtnetlink's is 0."""


class Send(NamedTuple):
    """One rtnetlink message in the item's netns, or another one: type, flags beyond REQUEST, body."""

    kind: int
    flags: int
    body: bytes
    netns: str | None = None

    def message(self, seq: int) -> bytes:
        """With its header, as it is sent."""
        return wire.message(self.kind, wire.F_REQUEST | self.flags, seq, self.body)


class Transaction(NamedTuple):
    """Messages to nf_tables that take effect together or not at all: type, flags beyond REQUEST, body of each."""

    messages: tuple[tuple[int, int, bytes], ...]


class MakeTun(NamedTuple):
    """Create a persistent tun or tap device (linux/if_tun.h). `owner` and `group` are ids, -1 is anybody."""

    name: str
    ifindex: int
    flags: int
    owner: int
    group: int


class KeyFile(NamedTuple):
    """A key of 32 bytes that is in a file: read when it is sent to the kernel, and kept nowhere else.

    proof  what may be told of it (lang/keys.py); when the file holds another key, nothing is sent
    peer   the public key of the peer with whom it is shared; "": it is a private key
    """

    path: str
    proof: str
    peer: str = ""


class Generic(NamedTuple):
    """A message of generic netlink (linux/genetlink.h): the family's name, the command, its version, attributes."""

    family: str
    command: int
    version: int
    body: tuple[bytes | KeyFile, ...]


class Probe(NamedTuple):
    """An operation that shows whether the kernel has something: tried out in a netns that is thrown away.

    what    the kernel's name of it ("ipip")
    option  the kernel option that offers it
    op      what a kernel without it refuses with one of `absent`, and one with it does or refuses otherwise
    before  what has to be there for it, so far as the kernel has that
    """

    what: str
    option: str
    op: Send | Transaction | MakeTun
    absent: tuple[int, ...] = (EOPNOTSUPP,)
    before: tuple[Send, ...] = ()


class WriteSysctl(NamedTuple):
    """Write a value below /proc/sys in the item's netns."""

    path: str
    value: str


class MakeNetns(NamedTuple):
    """Create a named netns whose lo carries the mark before its name appears."""

    name: str
    mark: Send


class DropNetns(NamedTuple):
    """Take a netns' name away; the kernel frees it when nobody holds it."""

    name: str


Call: TypeAlias = Transaction | MakeTun | Generic
"""What is no rtnetlink message, but happens in a netns in its order among them."""

Op: TypeAlias = Send | Call | WriteSysctl | MakeNetns | DropNetns


class Failure(NamedTuple):
    """Why the kernel refused an operation: errno and its own words ("" when it gave none)."""

    errno: int
    message: str = ""

    def __str__(self) -> str:
        words = strerror(self.errno)
        return f"{self.message} ({words})" if self.message else words


class Env(Protocol):
    """What a kind may ask while it encodes."""

    @property
    def stack(self) -> str:
        """The stack's name, for marks."""

    def ifindex(self, netns: str, name: str) -> int:
        """Of a link that exists or that this plan creates. LookupError when there is none."""

    def netns_fd(self, netns: str) -> int:
        """An open descriptor of a netns; valid until the batch is sent."""

    def item(self, key: Key) -> Item:
        """The planned (else the recorded) item of a kernel identity."""
