"""Names: what is allowed, and how names, MACs and marks are derived."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

try:  # hashlib loads OpenSSL, a tenth of the start of a command, for functions that Python has by itself
    from _blake2 import blake2b
except ImportError:
    from hashlib import blake2b

STACK_NAME = re.compile(r"[a-z0-9_-]{1,64}")
COMPONENT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_NETNS_NAME = re.compile(r"[^/\s\x00-\x1f\x7f]+")
_BAD_IN_IFNAME = re.compile(r"[/:\s\x00-\x1f\x7f]")

IFNAMSIZ = 15
"""Longest interface name in bytes (linux/if.h counts the NUL: 16)."""

NAME_MAX = 255
"""Longest file name in bytes (linux/limits.h)."""

ALTNAME_LONGEST = 127
"""Longest altname in bytes (ALTIFNAMSIZ less the NUL)."""

OLD = "::old"
"""Behind the logical name of a record that has to go while another resource has its name."""
MARK = "netdsl"


BY_PROTOCOL = (MARK,)
"""The marks of what carries our protocol number: it is some stack's, the kernel has no room for which."""


def check_ifname(value: Any) -> str:
    """An interface name that the kernel takes (dev_valid_name)."""
    if not isinstance(value, str):
        raise ValueError(f"an interface name must be a string, not {value!r}")
    if len(value.encode()) > IFNAMSIZ:
        raise ValueError(f"an interface name has at most {IFNAMSIZ} bytes; {value!r} has {len(value.encode())}")
    if not value or value in (".", "..") or _BAD_IN_IFNAME.search(value) or "%" in value:
        why = "it must not be empty, '.', '..' or hold '/', ':', '%' or space"
        raise ValueError(f"{value!r} is no interface name: {why}")
    return value


def check_netns(value: Any) -> str:
    """A netns name: a file name under /run/netns."""
    if not isinstance(value, str) or not _NETNS_NAME.fullmatch(value) or value in (".", ".."):
        raise ValueError(f"{value!r} is no netns name: it must be a file name without '/' and space")
    if len(value.encode()) > NAME_MAX:
        raise ValueError(f"a netns name has at most {NAME_MAX} bytes; {value!r} has {len(value.encode())}")
    return value


def check_text(value: Any) -> str:
    """A free logical name."""
    if not isinstance(value, str) or not value or any(ord(c) < 32 for c in value):
        raise ValueError(f"{value!r} is no name: it must be a string without control characters")
    return value


def check_place(value: Any) -> str:
    """The normal form of a link in whatever netns: "netns/ifname", without a netns for the one that netdsl runs in."""
    netns, _, name = check_text(value).rpartition("/")
    if netns:
        check_netns(netns)
    check_ifname(name)
    return str(value)


def digest(text: str, size: int) -> bytes:
    """A stable hash of so many bytes (BLAKE2b, RFC 7693)."""
    return blake2b(text.encode(), digest_size=size).digest()


def derived_mac(stack: str, netns: str, ifname: str, host: str = "") -> str:
    """A stable unicast, locally administered MAC address.

    `host` is given outside netns that the stack owns, so that one stack on two machines does not repeat itself.
    """
    mac = bytearray(digest(f"{stack}\0{netns}\0{ifname}\0{host}", 6))
    mac[0] = (mac[0] & 0xFC) | 0x02
    return mac.hex(":")


def altname(stack: str, ifname: str) -> str:
    """The altname that marks a link as a stack's own; hashed where it would be too long."""
    name = f"{MARK}:{stack}:{ifname}"
    if len(name.encode()) > ALTNAME_LONGEST:
        name = f"{MARK}:{digest(name, 16).hex()}"
    return name


def marked_by_another(stack: str, ifname: str, marks: Collection[str]) -> bool:
    """Whether a link bears the mark of other stacks and not of this one."""
    return altname(stack, ifname) not in marks and any(mark.startswith(f"{MARK}:") for mark in marks)


def urn(component: str, netns: str, kind: str, name: str) -> str:
    """The logical name of a resource in its stack: component path, netns, kind and name."""
    return f"{component}::{netns}::{kind}::{name}"


def aliased(urn_now: str, alias: str) -> str:
    """The urn that an alias means: a whole one, or another name in the same component and netns, of the same kind."""
    if alias.count("::") >= 3:
        return alias
    return "::".join([*urn_now.split("::", 3)[:3], alias])
