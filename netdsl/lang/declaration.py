"""One run of a stack function: collects resources and mistakes. Nothing here touches the kernel."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from netdsl.errors import Problem, StackError

if TYPE_CHECKING:
    from netdsl.lang.check import Check
    from netdsl.lang.component import Component
    from netdsl.lang.resource import Namespace, Resource

_PACKAGE = str(Path(__file__).parent.parent) + "/"


class Observer(Protocol):
    """Reads what exists at plan time, for `Link.get`, `Netns.get`, `StackReference` and keys in files."""

    def link(self, netns: str, name: str) -> Mapping[str, Any] | None:
        """Properties of a link (mac, mtu, ...), or None."""

    def netns(self, name: str) -> bool:
        """Whether a netns of that name exists."""

    def outputs(self, stack: str) -> Mapping[str, Any] | None:
        """The outputs of a recorded stack, or None."""

    def key_proof(self, path: str, peer: str) -> str:
        """What may be told of the key in a file (lang/keys.py).

        Raises ValueError: what is wrong with the file, and what to do about it.
        """


class _Blind:
    """The observer where there is no kernel to look at."""

    def link(self, netns: str, name: str) -> Mapping[str, Any] | None:
        return None

    def netns(self, name: str) -> bool:
        return False

    def outputs(self, stack: str) -> Mapping[str, Any] | None:
        return None

    def key_proof(self, path: str, peer: str) -> str:
        raise ValueError(f"{path} cannot be read: there is no machine to look at", "")


@attrs.define(eq=False, repr=False)
class Declaration:
    """What a stack function has declared so far.

    collects  mistakes are collected, not raised
    adopts    every resource is taken over where it exists already
    adopted   logical names of those that were taken over before
    """

    stack: str
    host: str = ""
    observer: Observer = attrs.field(factory=_Blind)
    collects: bool = True
    adopts: bool = False
    adopted: Collection[str] = ()
    resources: list[Resource] = attrs.field(factory=list)
    checks: list[Check] = attrs.field(factory=list)
    problems: list[Problem] = attrs.field(factory=list)
    netns_stack: list[Namespace] = attrs.field(factory=list)
    components: list[Component] = attrs.field(factory=list)
    component: str = ""
    component_names: set[str] = attrs.field(factory=set)

    @property
    def netns(self) -> Namespace | None:
        """The netns of the enclosing `with`."""
        return self.netns_stack[-1] if self.netns_stack else None

    def add(self, resource: Resource) -> None:
        """Take a resource in."""
        self.resources.append(resource)

    def fault(self, what: str, where: str, fix: str = "") -> None:
        """Record a mistake; outside a stack it is raised at once."""
        problem = Problem(what, where, fix)
        if not self.collects:
            raise StackError([problem])
        self.problems.append(problem)


_loose = Declaration("loose", collects=False)
_running: list[Declaration] = []


def current() -> Declaration:
    """The declaration under way; outside a stack one that raises mistakes at once and keeps nothing of use."""
    if _running:
        return _running[-1]
    _loose.resources.clear()
    _loose.checks.clear()
    return _loose


@contextmanager
def declaring(declaration: Declaration) -> Iterator[Declaration]:
    """Make a declaration the current one."""
    _running.append(declaration)
    try:
        yield declaration
    finally:
        _running.pop()


def user_frame() -> str:
    """file:line of the nearest caller outside the package."""
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if not name.startswith(_PACKAGE):
            return f"{name}:{frame.f_lineno}"
        if frame.f_back is None:
            break
        frame = frame.f_back
    return ""
