"""Reading what `netdsl state export` wrote. It may come from anywhere: what is wrong in it is told, not recorded."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from netdsl.errors import UsageError
from netdsl.lang import naming
from netdsl.lang.item import Item
from netdsl.lang.naming import COMPONENT_NAME, STACK_NAME
from netdsl.state import rows

VERSION = 1

_META = {
    **dict.fromkeys(("program", "boot_id", "host"), str),
    **dict.fromkeys(("values", "outputs"), dict),
    "cookie": int,
}
"""What is kept of the meta data, and what each is."""
_EXTRA = {"ifindex": int, "cookie": int, "adopted": bool, "held": bool, "found": dict, "unsure": list}
_OPTS = {"protect": bool, "retain_on_delete": bool, "ignore_changes": list}
_IFINDEX_MOST = 2**31 - 1
_COOKIE_MOST = 2**64 - 1


def read_export(file: str) -> tuple[str, dict[str, Any], list[Item]]:
    """Stack, meta data and resources. Raises UsageError for a file that is no export."""
    try:
        document = json.loads(Path(file).read_text())
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{file} is no JSON: {error}") from None
    try:
        if document["version"] != VERSION:
            raise UsageError(f"{file} is an export of another version of netdsl: {document['version']}")
        stack, meta = document["stack"], _meta(document["meta"])
        if not re.fullmatch(STACK_NAME, stack):
            raise UsageError(f"{file}: {stack!r} is no stack name")
        items = _without_doomed(document["resources"], [_item(file, entry) for entry in document["resources"]])
        if len({item.urn for item in items}) != len(items) or len({item.key for item in items}) != len(items):
            raise UsageError(f"{file} has one resource twice")
        return stack, {"stack": stack, **meta}, items
    except (KeyError, TypeError, ValueError, AttributeError):
        raise UsageError(f"{file} is no export of netdsl's", fix="`netdsl state export -o FILE` writes one.") from None


def _without_doomed(entries: list[dict[str, Any]], items: list[Item]) -> list[Item]:
    """Of two records of one identity, as a killed run leaves them, the one that it was not about to take away."""
    times = Counter(item.key for item in items)
    doomed = [times[i.key] > 1 and e["extra"].get("unsettled") == "delete" for e, i in zip(entries, items, strict=True)]
    return [item for item, goes in zip(items, doomed, strict=True) if not goes]


def _typed(given: Mapping[str, Any], types: Mapping[str, type]) -> dict[str, Any]:
    """Those of these words that are given. Raises TypeError unless each is what it has to be."""
    found = {word: given[word] for word in types if word in given}
    if any(type(value) is not types[word] for word, value in found.items()):
        raise TypeError
    return found


def _meta(given: Mapping[str, Any]) -> dict[str, Any]:
    found = _typed(given, _META)
    if ("boot_id" in found) != ("cookie" in found):  # one without the other does not say where the stack is
        raise KeyError
    return found


def _item(file: str, entry: dict[str, Any]) -> Item:
    texts = _typed(entry, dict.fromkeys(("urn", "kind", "name", "netns", "component", "where"), str))
    plain = [texts[word] for word in ("urn", "kind", "name", "netns", "component")]
    extra, options = _typed(entry["extra"], _EXTRA), _typed(entry.get("opts", {}), _OPTS)
    if not 0 < extra.get("ifindex", 1) <= _IFINDEX_MOST or not 0 <= extra.get("cookie", 0) <= _COOKIE_MOST:
        raise ValueError
    after, unsure, ignored = entry["after"], extra.get("unsure", []), options.get("ignore_changes", [])
    if not isinstance(after, list) or not all(isinstance(word, str) for word in (*after, *unsure, *ignored)):
        raise TypeError
    rest = (rows.dumps(dict(entry["props"])), rows.dumps(extra) if extra else "{}", rows.dumps(after))
    kept = rows.dumps(options) if any(options.values()) else "{}"
    found = rows.item((*plain, *rest, texts["where"], kept))
    _check(file, found)
    return found


def _check(file: str, item: Item) -> None:
    """Raise for what no program could have declared."""
    kind = item.kind
    if item.urn.partition(naming.OLD)[0] != naming.urn(item.component, item.netns, kind.word, item.name):
        raise ValueError
    if not all(COMPONENT_NAME.fullmatch(part) for part in item.component.split("/") if item.component):
        raise ValueError
    if item.netns:
        naming.check_netns(item.netns)
    if item.kind.is_link or item.kind.preexisting or item.key[0] == "netns":  # names that become names of files
        kind.check_name(item.name)
    else:
        naming.check_text(item.name)
    for word in kind.required:
        item.props[word]
    for props in (item.props, item.extra.get("found", {})):
        for word, value in props.items():
            try:
                if props is item.props or value not in (None, ""):
                    kind.properties[word].type.check_recorded(value)
            except ValueError as wrong:
                raise UsageError(f"{file}: {item.title}: {word} {wrong}") from None
