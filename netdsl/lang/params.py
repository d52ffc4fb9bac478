"""A stack's parameters: from annotations, and from text, TOML and recorded values back to typed ones."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from netdsl.errors import UsageError, joined

_WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
_PLAIN = (bool, int, float, str)


@attrs.frozen
class Param:
    """One parameter that can be set from outside.

    type      its annotation (str, int, float, bool, Literal, list of these, or one of these or None)
    default   its default, or inspect.Parameter.empty
    """

    name: str
    type: Any
    default: Any

    @property
    def required(self) -> bool:
        """Whether a value has to be given."""
        return self.default is inspect.Parameter.empty


def params_of(function: Callable[..., Any]) -> dict[str, Param]:
    """The parameters of a stack function that hold plain values.

    One whose annotation is something else (a resource to compose with) can only be set by a caller in Python.
    """
    found = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        annotation = _annotation(function, parameter)
        if annotation is inspect.Parameter.empty and isinstance(parameter.default, _PLAIN):
            annotation = type(parameter.default)
        if _is_plain(annotation):
            found[parameter.name] = Param(parameter.name, annotation, parameter.default)
    return found


def resolve(params: Mapping[str, Param], given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Typed values of what was given (text from the command line, values from TOML or the state).

    Raises UsageError for an unknown name or a value of the wrong type.
    """
    unknown = sorted(set(given) - set(params))
    if unknown:
        has = f"It has {joined(sorted(params))}." if params else "It has none."
        raise UsageError(f"the stack has no parameter {unknown[0]!r}", where=where, fix=has)
    typed = {}
    for name, value in given.items():
        try:
            typed[name] = convert(params[name].type, value)
        except ValueError as wrong:
            raise UsageError(f"parameter {name}: {wrong}", where=where) from None
    return typed


def convert(wanted: Any, value: Any) -> Any:
    """One value as its annotation wants it; ValueError says what would be right."""
    origin = typing.get_origin(wanted)
    if origin in (typing.Union, types.UnionType):
        return _convert_union(wanted, value)
    if origin is typing.Literal:
        return _convert_literal(wanted, value)
    if origin in (list, tuple, Sequence):
        inner = typing.get_args(wanted)[0]
        parts = [part for part in value.split(",") if part] if isinstance(value, str) else value
        if not isinstance(parts, list | tuple):
            raise ValueError(f"must be a list, not {value!r}")
        return [convert(inner, part) for part in parts]
    if wanted is bool:
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in _WORDS:
            return _WORDS[value.lower()]
        raise ValueError(f"must be true or false, not {value!r}")
    if wanted is int:
        return _convert_int(value)
    if wanted is float:
        try:
            if isinstance(value, bool):
                raise ValueError
            return float(value)
        except (TypeError, ValueError):
            raise ValueError(f"must be a number, not {value!r}") from None
    if not isinstance(value, str):
        raise ValueError(f"must be a string, not {value!r}")
    return value


def _convert_int(value: Any) -> int:
    try:
        if isinstance(value, bool | float):
            raise ValueError
        return int(value, 0) if isinstance(value, str) else int(value)
    except (TypeError, ValueError):
        raise ValueError(f"must be a whole number, not {value!r}") from None


def _convert_union(wanted: Any, value: Any) -> Any:
    options = typing.get_args(wanted)
    if type(None) in options and (value is None or value in ("", "none")):
        return None
    wrong = ValueError("")
    for option in options:
        if option is not type(None):
            try:
                return convert(option, value)
            except ValueError as error:
                wrong = error
    raise wrong


def _convert_literal(wanted: Any, value: Any) -> Any:
    options = typing.get_args(wanted)
    for option in options:
        if (type(value) is type(option) and value == option) or (isinstance(value, str) and value == str(option)):
            return option
    raise ValueError(f"must be one of {', '.join(map(str, options))}, not {value!r}")


def _annotation(function: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    """A parameter's annotation, evaluated by itself: another's may be a name that only type checkers import."""
    if not isinstance(parameter.annotation, str):
        return parameter.annotation
    holder = type("holder", (), {"__annotations__": {parameter.name: parameter.annotation}})
    try:
        return typing.get_type_hints(holder, inspect.unwrap(function).__globals__)[parameter.name]
    except NameError:
        return object


def _is_plain(annotation: Any) -> bool:
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        return all(option is type(None) or _is_plain(option) for option in typing.get_args(annotation))
    if origin is typing.Literal:
        return all(isinstance(option, _PLAIN) for option in typing.get_args(annotation))
    if origin in (list, tuple, Sequence) and typing.get_args(annotation):
        return all(option is Ellipsis or option in _PLAIN for option in typing.get_args(annotation))
    return annotation in _PLAIN
