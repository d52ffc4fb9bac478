"""Words of the equivalent `ip`, `bridge` and `sysctl` commands."""

from __future__ import annotations

import shlex
from typing import Any


def quote(text: str) -> str:
    r"""One word for a shell. What a terminal would act on is spelt out, for `printf` to make it again.

    >>> quote("br0"), quote("$(reboot)"), quote("a" + chr(27))
    ('br0', "'$(reboot)'", '"$(printf %b \'a\\0033\')"')
    """
    if text.isprintable():
        return shlex.quote(text)
    spelt = "".join(c if c.isprintable() and c != "\\" else _octal(c) for c in text)
    return f'"$(printf %b {shlex.quote(spelt)})"'


def _octal(c: str) -> str:
    return "".join(f"\\0{byte:03o}" for byte in c.encode(errors="surrogateescape"))


def netns_option(netns: str) -> str:
    """`-n NETNS `, or nothing for the namespace that the command runs in."""
    return f"-n {quote(netns)} " if netns else ""


def ip(netns: str, words: str) -> str:
    """An `ip` command in a netns."""
    return f"ip {netns_option(netns)}{words}"


def inside(netns: str, command: str) -> str:
    """Any command in a netns."""
    return f"ip netns exec {quote(netns)} {command}" if netns else command


def option(word: str, value: Any) -> str:
    """One option with a space in front.

    A word "[no]x" is a flag, "[x]" one that can only be given, "x 0|1" takes a digit, another boolean on or off.
    Without a word there is no option.

    >>> option("[no]learning", False), option("stp_state 0|1", True), option("hairpin", True), option("mtu", 1400)
    (' nolearning', ' stp_state 1', ' hairpin on', ' mtu 1400')
    >>> option("[gbp]", True), option("[gbp]", False), option("srcport", ("1", "2"))
    (' gbp', '', ' srcport 1 2')
    """
    if not word:
        return ""
    if word.startswith("[no]"):
        return f" {'' if value else 'no'}{word[4:]}"
    if word.startswith("["):
        return f" {word[1:-1]}" if value else ""
    if isinstance(value, tuple):
        return "".join([f" {word}", *(f" {quote(str(part))}" for part in value)])
    if word.endswith(" 0|1"):
        return f" {word[:-4]} {int(value)}"
    if isinstance(value, bool):
        return f" {word} {'on' if value else 'off'}"
    return f" {word} {quote(str(value))}"
