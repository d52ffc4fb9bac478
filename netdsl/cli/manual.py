"""The reference of kinds, written from their declarations."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence

from netdsl.kinds.link import Link
from netdsl.lang.property import Property
from netdsl.lang.resource import Resource

_HEAD = """# Kinds

Generated from the declarations with `netdsl kinds --markdown`; do not edit.

Each takes a name as its first argument, then properties by keyword, and `netns=` and `opts=`. A property that is not
given is not managed unless the table gives a default. "Replaces" means that the kernel cannot change it in place.
"""


def manual(kinds: Sequence[type[Resource]], *, title: bool = True) -> str:
    """Markdown of all or one of the kinds."""
    return "\n".join(_lines(kinds, title))


def _lines(kinds: Sequence[type[Resource]], title: bool) -> Iterator[str]:
    if title:
        yield _HEAD
        yield "## Properties of all links\n"
        yield from _table(list(Link.properties.values()))
        yield "Links also take `addresses=[...]`, which declares an Address for each.\n"
    for cls in kinds:
        yield f"## {cls.__name__}\n"
        yield inspect.cleandoc(cls.__doc__ or "") + "\n"
        inherited = set(Link.properties) if cls.is_link and title else set()
        own = [p for p in cls.properties.values() if p.name not in inherited and p.init]
        if own:
            yield from _table(own)
        if inherited:
            yield "And the properties of all links.\n"


def _table(properties: list[Property]) -> Iterator[str]:
    yield "| property | type | unit | default | `ip` | replaces | |"
    yield "|---|---|---|---|---|---|---|"
    for p in properties:
        default = "required" if p.required else "" if p.default is None else f"`{p.default}`"
        kind = p.type.name.replace("|", "\\|")
        word = f"`{p.word}`".replace("|", "\\|") if p.word else ""
        yield f"| `{p.name}` | {kind} | {p.unit} | {default} | {word} | {'yes' if p.replace else ''} | {p.doc} |"
    yield ""
