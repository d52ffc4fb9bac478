"""Properties: how a kind declares them, each in one place with everything there is to say about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, dataclass_transform

import attrs

from netdsl.lang.item import Gone
from netdsl.lang.values import ValueType

if TYPE_CHECKING:
    from netdsl.lang.resource import Resource

REQUIRED: Any = object()
"""Stands for a value that the user has to give."""
DERIVED: Any = object()
"""The default of a property whose value netdsl chooses where it is not given."""


@attrs.frozen
class Property:
    """Everything about one property; it stands nowhere else.

    name, type, doc, unit
    at, number   where it is in the kernel's message and under which attribute number
    number6      the attribute's number when the value is IPv6, where that differs
    word         what `ip` calls it
    kernel       the value that the kernel gives it on creation (None: it depends)
    replace      a change needs a new object
    anew         whether going from these properties (have) to those (want) needs a new object, where only some do
    flushes      kinds whose objects on this link the kernel drops when it changes
    gone         what happens to this object when the one that the property refers to is deleted
    resend       on a change of any property of the same place this one has to be sent again
    init         whether the constructor takes it; else the kind derives it
    derived      whether netdsl chooses a value where none is given
    seen         whether the kernel shows it; else it is taken to be there as it was recorded
    optional     whether None means that it is not managed, as its annotation has it; else None is the default
    """

    name: str
    type: ValueType
    doc: str
    unit: str = ""
    at: str = ""
    number: int = 0
    number6: int = 0
    word: str = ""
    kernel: Any = None
    replace: bool = False
    anew: Callable[[Mapping[str, Any], Mapping[str, Any]], bool] | None = None
    flushes: tuple[str, ...] = ()
    gone: Gone = Gone.VANISH
    resend: bool = False
    init: bool = True
    seen: bool = True
    required: bool = False
    derived: bool = False
    default: Any = None
    optional: bool = True


def prop(
    type: ValueType,
    *,
    doc: str,
    default: Any = REQUIRED,
    kw_only: bool = True,
    unit: str = "",
    at: str = "",
    number: int = 0,
    number6: int = 0,
    word: str = "",
    kernel: Any = None,
    replace: bool = False,
    anew: Callable[[Mapping[str, Any], Mapping[str, Any]], bool] | None = None,
    flushes: tuple[str, ...] = (),
    gone: Gone = Gone.VANISH,
    resend: bool = False,
    init: bool = True,
    seen: bool = True,
) -> Any:
    """Declare a property of a kind. Without `default` it is required; a default of None means "not managed"."""
    required, derived = default is REQUIRED and init, default is DERIVED
    given = {k: v for k, v in locals().items() if k != "kw_only"}
    return Property("", **{**given, "default": None if default in (REQUIRED, DERIVED) else default})


def argument(*, default: Any = REQUIRED, kw_only: bool = True) -> Any:
    """Declare a constructor argument that is no property of the kernel's object (a name, a short form)."""
    required = default is REQUIRED
    return _Argument(None if required else default, required)


class _Argument(NamedTuple):
    """A constructor argument that is no property."""

    default: Any
    required: bool


_Class = TypeVar("_Class", bound="type[Resource]")


@dataclass_transform(eq_default=False, kw_only_default=True, frozen_default=True, field_specifiers=(prop, argument))
def kind(cls: _Class) -> _Class:
    """Index the properties and arguments that a kind declares in its body, and those of the kinds that it extends.

    Kinds are no attrs classes themselves: attrs would compile a constructor for each, which is never called, and half
    of the time that importing them takes.
    """
    fields: dict[str, Property | _Argument] = {}
    for base in reversed(cls.__mro__[1:]):
        fields.update(vars(base).get("fields", {}))
    for word, declared in list(vars(cls).items()):
        if isinstance(declared, Property | _Argument):
            fields.pop(word, None)
            if isinstance(declared, Property):
                optional = "None" in vars(cls).get("__annotations__", {}).get(word, "")
                declared = attrs.evolve(declared, name=word, optional=optional)
            fields[word] = declared
            delattr(cls, word)
    cls.fields = fields
    cls.properties = {word: declared for word, declared in fields.items() if isinstance(declared, Property)}
    cls.arguments = frozenset(fields) - frozenset(cls.properties) - {"name"}
    cls.defaults = {word: declared.default for word, declared in fields.items()}
    cls.managed = tuple((p.name, p.type.link) for p in cls.properties.values())
    cls.required = tuple(p.name for p in cls.properties.values() if p.required)
    cls.unseen = tuple(p.name for p in cls.properties.values() if not p.seen)
    cls.references = tuple((p.name, p.gone) for p in cls.properties.values() if p.type.link)
    return cls
