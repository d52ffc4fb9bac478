"""A resource as a row of the state, and back."""

from __future__ import annotations

import json
from json.encoder import c_make_encoder, encode_basestring_ascii  # type: ignore[attr-defined]
from typing import Any

import attrs

from netdsl.errors import StateError
from netdsl.kinds import KINDS
from netdsl.lang.item import DEFAULT_OPTS, Item, Opts

COLUMNS = "urn, kind, name, netns, component, props, extra, after, program, opts"
"""What `row` gives and `item` takes, in this order."""
_PROPS, _EXTRA = 5, 6

_encode = c_make_encoder(None, json.JSONEncoder().default, encode_basestring_ascii, None, ":", ",", False, False, False)


def dumps(value: Any) -> str:
    """JSON without spaces, by one encoder: JSONEncoder.encode makes a new one for every value."""
    return "".join(_encode(value, 0))


def row(item: Item) -> tuple[str, ...]:
    """The columns of one item."""
    return (
        item.urn,
        item.kind.word,
        item.name,
        item.netns,
        item.component,
        dumps(item.props),
        dumps(item.extra) if item.extra else "{}",
        dumps(list(item.after)) if item.after else "[]",
        item.where,
        opts(item.opts),
    )


def opts(given: Opts) -> str:
    """What has to be known of the options when the program is gone."""
    if given is DEFAULT_OPTS:
        return "{}"
    kept: dict[str, Any] = {"protect": given.protect, "retain_on_delete": given.retain_on_delete}
    if given.ignore_changes:
        kept["ignore_changes"] = list(given.ignore_changes)
    return dumps(kept)


def merged(props: str, following: str) -> str:
    """Properties of an object that a killed run may have given those of `following`: all that were ever managed."""
    return dumps({**json.loads(following), **json.loads(props)})


def unsure(props: str, following: str, extra: str) -> str:
    """What is known of such an object, with the properties of which it is not known whether they were ever set."""
    known = json.loads(extra)
    return dumps(
        known | {"unsure": sorted({*known.get("unsure", ()), *(json.loads(following).keys() - json.loads(props))})}
    )


def item(columns: tuple[Any, ...], intent: str | None = None, following: str | None = None) -> Item:
    """The item of some columns; `intent` is what an interrupted run was about to do with it, `following` the properties
    that it was to have then."""
    urn, word, name, netns, component, props, extra, after, program, options = columns
    try:
        kind = KINDS[word]
    except KeyError:
        raise StateError(f"the state holds {urn}, of a kind {word!r} that this netdsl does not know") from None
    properties = json.loads(props if following is None else merged(props, following))
    known = json.loads(extra) if extra != "{}" else {}
    if intent is not None:
        known["unsettled"] = intent
    return Item(
        urn=urn,
        kind=kind,
        name=name,
        netns=netns,
        component=component,
        key=kind.identity(netns, name, properties),
        props=properties,
        needs=kind.needs(netns, name, properties),
        after=tuple(json.loads(after)) if after != "[]" else (),
        where=program,
        opts=DEFAULT_OPTS if options == "{}" else Opts(**json.loads(options)),
        extra=known,
    )


def wanted_again(columns: tuple[Any, ...]) -> Item:
    """The item of a former version of a row: what only that time knew of it, or did not know, is gone."""
    unknown = json.loads(columns[_EXTRA]).get("unsure")
    if unknown:
        props = {word: value for word, value in json.loads(columns[_PROPS]).items() if word not in unknown}
        columns = (*columns[:_PROPS], dumps(props), *columns[_PROPS + 1 :])
    found = item(columns)
    if found.extra.get("adopted"):
        found.opts = attrs.evolve(found.opts, adopt=True)
    found.extra = {}
    return found
