"""Reading what `netdsl state export` wrote."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from netdsl.errors import UsageError
from netdsl.lang import naming
from netdsl.lang.item import Item
from netdsl.lang.naming import STACK_NAME
from netdsl.state import rows

VERSION = 1


def read_export(file: str) -> tuple[str, dict[str, Any], list[Item]]:
    """Stack, meta data and resources. Raises UsageError for a file that is no export."""
    try:
        document = json.loads(Path(file).read_text())
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"{file} is no JSON: {error}") from None
    try:
        if document["version"] != VERSION:
            raise UsageError(f"{file} is an export of another version of netdsl: {document['version']}")
        stack, meta = document["stack"], dict(document["meta"])
        if not re.fullmatch(STACK_NAME, stack):
            raise UsageError(f"{file}: {stack!r} is no stack name")
        meta.pop("schema", None)
        items = [_item(entry) for entry in document["resources"]]
        if len({item.urn for item in items}) != len(items) or len({item.key for item in items}) != len(items):
            raise UsageError(f"{file} has one resource twice")
        return stack, meta, items
    except (KeyError, TypeError, ValueError, AttributeError):
        raise UsageError(f"{file} is no export of netdsl's", fix="`netdsl state export -o FILE` writes one.") from None


def _item(entry: dict[str, Any]) -> Item:
    plain = [str(entry[word]) for word in ("urn", "kind", "name", "netns", "component")]
    extra = {word: value for word, value in dict(entry["extra"]).items() if word != "unsettled"}
    rest = (rows.dumps(dict(entry["props"])), rows.dumps(extra) if extra else "{}", rows.dumps(list(entry["after"])))
    options = dict(entry.get("opts", {}))
    kept = rows.dumps(options) if any(options.values()) else "{}"
    found = rows.item((*plain, *rest, str(entry["where"]), kept))
    if found.netns:
        naming.check_netns(found.netns)
    if found.kind.is_link or found.kind.preexisting or found.key[0] == "netns":  # names that become names of files
        found.kind.check_name(found.name)
    return found
