"""The reference of kinds, written from their declarations: all of them as Markdown, or one as plain text."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Sequence
from textwrap import TextWrapper
from typing import NamedTuple

import attrs

from netdsl.components.overlay import Overlay
from netdsl.components.vxlan_peer import VxlanPeer
from netdsl.kinds.link import Link
from netdsl.lang.item import Opts
from netdsl.lang.property import Property
from netdsl.lang.resource import Resource

COMPONENTS = (VxlanPeer, Overlay)

_HEAD = """# Kinds

Generated from the declarations with `netdsl kinds --markdown`; do not edit.

A kind takes its name as the first argument, then the properties of its table by keyword, and two more: `netns=`, the
[Netns](#netns) that it is in (absent: that of the link it sits on or of the enclosing `with`, else the one that netdsl
runs in), and [`opts=`](#opts).

- The column "default" says what holds when a property is not given: **required** if it has to be, a value that netdsl
  sets, or in brackets the value that the kernel sets, which netdsl then neither writes nor compares. A property that is
  taken out of the program goes back to the kernel's value, or to the one that it had before the program named it; a
  link where the kernel has no value of its own is made anew.
- The column "change" is empty where the kernel changes the property in place. With "replaces" the object is deleted
  and made again. With "another object" the kernel knows the object by this property: the old one is deleted, a new one
  made.
"""
_ARGUMENT = re.compile(r"^(\w+)  +(.*)$", re.M)
_WIDTH = 100
_ADDRESSES = "declares an Address on the link for each"
_VLANS = 'declares a tagged BridgeVlan on the port for each; "20-29" is a range'
_PVID = "declares the untagged BridgeVlan of the port"


class Row(NamedTuple):
    """One property or argument, as the manual speaks of it. `kernel` is the default that the kernel has for it."""

    name: str
    type: str = ""
    required: bool = False
    default: str = ""
    kernel: str = ""
    word: str = ""
    change: str = ""
    doc: str = ""


def manual(kinds: Sequence[type[Resource]], *, title: bool = True) -> str:
    """Markdown of all kinds; with `title` false the plain text of one."""
    return "\n".join(_reference(kinds) if title else _page(kinds[0]))


def _reference(kinds: Sequence[type[Resource]]) -> Iterator[str]:
    yield _HEAD
    for cls in (*kinds, *COMPONENTS):
        yield f"- [{cls.__name__}](#{cls.__name__.lower()}): {inspect.cleandoc(cls.__doc__ or '').splitlines()[0]}"
    yield "\n## Properties of all links\n"
    yield from _table([_row(Link, p) for p in Link.properties.values()])
    yield f"`addresses=[...]` {_ADDRESSES.replace('Address', '[Address](#address)')}.\n"
    for word, doc in (("vlans=[...]", _VLANS), ("pvid=", _PVID)):
        yield f"`{word}` {doc.replace('BridgeVlan', '[BridgeVlan](#bridgevlan)')}.\n"
    for cls in kinds:
        yield f"## {cls.__name__}\n"
        yield from _words(cls)
        yield from _table(_own(cls))
        if cls.is_link:
            yield "And the [properties of all links](#properties-of-all-links).\n"
    for component in COMPONENTS:
        yield f"## {component.__name__}\n"
        yield from _words(component)
        yield "It is a component: it declares other kinds.\n"
        yield from _table(_arguments(component))
    yield "## Opts\n"
    yield from _words(Opts)
    fields = attrs.fields_dict(Opts)
    yield from _table([Row(n, default=repr(fields[n].default), doc=text) for n, text in listed(Opts).items()])


def component_page(component: type) -> str:
    """Plain text of a component."""
    rows = _arguments(component)
    lines = [f"{component.__name__}\n", *_words(component), *_list(rows, max(len(row.name) for row in rows))]
    return "\n".join(lines)


def _arguments(component: type) -> list[Row]:
    given = inspect.signature(component).parameters
    return [_argument(given[name], text) for name, text in listed(component).items()]


def _page(cls: type[Resource]) -> Iterator[str]:
    yield f"{cls.__name__}\n"
    yield from _words(cls)
    own, common = _own(cls), []
    if cls.is_link:
        shared = [_row(Link, p) for p in Link.properties.values()]
        common = [row for row in shared if row.name not in {row.name for row in own}]
        common.append(Row("addresses", "list of address/prefix", doc=_ADDRESSES))
        common.append(Row("vlans", "list of VLAN IDs and ranges", doc=_VLANS))
        common.append(Row("pvid", "VLAN ID", doc=_PVID))
    width = max((len(row.name) for row in own + common), default=0)
    yield from _list(own, width)
    if common:
        yield "As every link:\n"
        yield from _list(common, width)


def _words(cls: type) -> Iterator[str]:
    """The paragraphs of a docstring, without its list of arguments."""
    paragraphs = inspect.cleandoc(cls.__doc__ or "").split("\n\n")
    yield from (paragraph + "\n" for paragraph in paragraphs if not _ARGUMENT.match(paragraph))


def listed(cls: type) -> dict[str, str]:
    """The arguments that a docstring lists, a line each: "name  what it is"."""
    return dict(_ARGUMENT.findall(inspect.cleandoc(cls.__doc__ or "")))


def _own(cls: type[Resource]) -> list[Row]:
    """A kind's properties beyond those of all links, and its other arguments."""
    common = Link.properties if cls.is_link else {}
    rows = [_row(cls, p) for p in cls.properties.values() if p.init and p != common.get(p.name)]
    return [*rows, *(Row(name, doc=text) for name, text in listed(cls).items())]


def _row(cls: type[Resource], p: Property) -> Row:
    kind = f"{p.type.name}, {p.unit}" if p.unit and p.unit not in p.type.name else p.type.name
    default = "" if p.default is None else str(p.default)
    kernel = "" if default or p.kernel is None else str(p.kernel)
    identity = cls.identity("", "", {name: f"<{name}>" for name in cls.properties})
    change = (
        "another object"
        if f"<{p.name}>" in identity
        else "replaces"
        if p.replace is True
        else "may replace"
        if p.replace
        else ""
    )
    return Row(p.name, kind, p.required, default, kernel, p.word, change, p.doc)


def _argument(p: inspect.Parameter, text: str) -> Row:
    required = p.default is p.empty
    default = "" if required or p.default is None else str(p.default)
    return Row(p.name, str(p.annotation).removesuffix(" | None"), required, default, doc=text)


def _table(rows: Sequence[Row]) -> Iterator[str]:
    """A Markdown table, without the columns that are empty in every row."""
    if not rows:
        return
    heads = ("property", "type", "default", "`ip`", "change", "meaning")
    cells = [
        (f"`{row.name}`", row.type, _default(row), row.word and f"`{row.word}`", row.change, row.doc) for row in rows
    ]
    columns = [i for i in range(len(heads)) if any(line[i] for line in cells)]
    yield "| " + " | ".join(heads[i] for i in columns) + " |"
    yield "|" + "---|" * len(columns)
    for line in cells:
        yield "| " + " | ".join(line[i].replace("|", "\\|") for i in columns) + " |"
    yield ""


def _default(row: Row) -> str:
    if row.required:
        return "**required**"
    return f"`{row.default}`" if row.default else f"(`{row.kernel}`)" if row.kernel else ""


def _list(rows: Sequence[Row], width: int) -> Iterator[str]:
    """The same for a terminal."""
    wrap = TextWrapper(_WIDTH, subsequent_indent=" " * (width + 4))
    for row in rows:
        notes = ["required" if row.required else "", row.type, row.default and f"default {row.default}"]
        notes += [row.kernel and f"kernel default {row.kernel}", row.word and f"ip: {row.word}", row.change]
        said = "; ".join(filter(None, notes))
        yield wrap.fill(f"  {row.name:{width}}  {row.doc.replace('`', '')}{f' [{said}]' if said else ''}")
    if rows:
        yield ""
