"""Outputs: what a stack function returns, as plain values that can be recorded and printed."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

from netdsl.lang.component import Component
from netdsl.lang.resource import Resource


def plain(outputs: Any) -> dict[str, Any]:
    """A return value as a mapping; what is none is called "result". ValueError names what cannot be recorded."""
    if outputs is None:
        return {}
    if not isinstance(outputs, Mapping):
        outputs = {"result": outputs}
    return {str(name): _plain(value, str(name), (id(outputs),)) for name, value in outputs.items()}


def _plain(value: Any, name: str, around: tuple[int, ...]) -> Any:
    """One value; `around` are the ids of those that it is in."""
    if value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and isfinite(value)):
        return value
    if isinstance(value, Resource):
        return value.urn
    if isinstance(value, Component):
        return value.path
    if id(value) in around:
        raise ValueError(f"output {name!r} contains itself")
    around = (*around, id(value))
    if isinstance(value, Mapping):
        return {str(word): _plain(part, f"{name}.{word}", around) for word, part in value.items()}
    if isinstance(value, set | frozenset):
        value = sorted(value, key=str)  # else it would be another one in each run
    if isinstance(value, list | tuple):
        return [_plain(part, f"{name}[{place}]", around) for place, part in enumerate(value)]
    words = next(base for base in type(value).__mro__ if "__str__" in vars(base))
    if words is object or isinstance(value, float):
        raise ValueError(f"output {name!r} cannot be recorded: {value!r}")
    return str(value)  # addresses and paths of the standard library, and the like
