"""Components: groups of resources under a name."""

from __future__ import annotations

from typing import Self

from netdsl.lang import naming
from netdsl.lang.declaration import current, user_frame
from netdsl.lang.item import DEFAULT_OPTS, Opts


class Component:
    """A group of resources. A subclass declares its resources inside `with self:` in its constructor.

    What is declared inside belongs to the component; a Netns inside gets the component's name in front of its own.
    """

    def __init__(self, name: str) -> None:
        declaration = current()
        self.where = user_frame()
        self.name = name
        if not isinstance(name, str) or not naming.COMPONENT_NAME.fullmatch(name):
            declaration.fault(
                f"{name!r} is no component name: letters, digits, '_', '.' and '-', starting with one of the first two",
                self.where,
            )
            self.name = "invalid"
        self.path = f"{declaration.component}/{self.name}" if declaration.component else self.name
        if declaration.collects and self.path in declaration.component_names:
            declaration.fault(f"two components are named {self.path!r}", self.where, "Give one of them another name.")
        declaration.component_names.add(self.path)

    def inherited(self, opts: object) -> Opts:
        """The options that also hold for what the component stands for; anything else than Opts is told."""
        if isinstance(opts, Opts):
            return opts.inherited()
        kind = type(self).__name__
        current().fault(f"{kind} {self.name!r}: opts must be Opts(...), not {opts!r}", self.where)
        return DEFAULT_OPTS

    def __enter__(self) -> Self:
        declaration = current()
        declaration.components.append(self)
        declaration.component = self.path
        return self

    def __exit__(self, *_: object) -> None:
        declaration = current()
        declaration.components.pop()
        declaration.component = declaration.components[-1].path if declaration.components else ""


def prefixed(name: str) -> str:
    """A netns name with the names of the nested stacks around it in front."""
    return "-".join([component.name for component in current().components] + [name])
