"""StackReference: what another stack has given out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from netdsl.lang.declaration import current, user_frame


class StackReference:
    """The outputs of another stack, as its last `up` left them.

    name     its name, as `netdsl list` shows it
    outputs  by name; those of nested stacks are mappings
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.outputs: Mapping[str, Any] = {}
        declaration, where = current(), user_frame()
        if not isinstance(name, str) or not name:
            declaration.fault(f"StackReference: a stack's name must be a string, not {name!r}", where)
            return
        found = declaration.observer.outputs(name) if name != declaration.stack else None
        if name == declaration.stack:
            declaration.fault(f"StackReference: stack {name!r} cannot read its own outputs", where)
        elif found is None:
            declaration.fault(
                f"StackReference: there is no stack {name!r} in the state directory",
                where,
                "Bring it up first; `netdsl list` shows those that are there.",
            )
        self.outputs = _Outputs(name, found or {}, found is None)

    def __repr__(self) -> str:
        return f"<StackReference {self.name!r}>"


class _Outputs(dict[str, Any]):
    """Outputs that tell at the user's line what is missing."""

    def __init__(self, stack: str, found: Mapping[str, Any], broken: bool) -> None:
        super().__init__(found)
        self._stack, self._broken = stack, broken

    def __missing__(self, name: str) -> Any:
        if not self._broken:
            known = ", ".join(sorted(self)) or "none"
            current().fault(f"stack {self._stack!r} has no output {name!r}; it has: {known}", user_frame())
        return ""
