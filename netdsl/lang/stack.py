"""`@stack`: a function that declares resources, run on its own or inside another stack."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

import attrs

from netdsl.errors import Problem, StackError
from netdsl.lang.component import Component
from netdsl.lang.declaration import Declaration, Observer, current, declaring, user_frame
from netdsl.lang.item import Item
from netdsl.lang.outputs import plain
from netdsl.lang.params import Param, params_of
from netdsl.lang.primitives import duplicates, items_of

if TYPE_CHECKING:
    from netdsl.lang.check import Check

P = ParamSpec("P")
R = TypeVar("R")


class Stack(Generic[P, R]):
    """A stack function. Calling it with a name inside another stack makes it a component there."""

    def __init__(self, function: Callable[P, R]) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.name = function.__name__
        self.doc = inspect.getdoc(function) or ""
        code = inspect.unwrap(function).__code__
        self.file = code.co_filename
        self.where = f"{code.co_filename}:{code.co_firstlineno}"
        self._flags = code.co_flags

    @functools.cached_property
    def params(self) -> dict[str, Param]:
        """What can be set with -p."""
        return params_of(self.function)

    def __call__(self: Stack[P, R], name: str, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Declare the stack's resources inside the current one, under a component's name."""
        if not current().collects:
            raise StackError(
                [Problem(f"stack {self.name} was called outside a stack", user_frame(), "Run it with `netdsl up`.")]
            )
        with Component(name):
            return self.run(*args, **kwargs)

    def run(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function. StackError if that would not run it: a generator or a coroutine begins later."""
        asynchronous = self._flags & (inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR)
        if asynchronous or self._flags & inspect.CO_GENERATOR:
            how = "is asynchronous" if asynchronous else "is a generator: it has yield in it"
            fix = "A stack is a plain function: what it constructs is declared."
            raise StackError([Problem(f"stack {self.name} {how}", self.where, fix)])
        return self.function(*args, **kwargs)


def stack(function: Callable[P, R]) -> Stack[P, R]:
    """Make a function a stack."""
    return Stack(function)


@attrs.frozen(eq=False, repr=False)
class Declared:
    """What one run of a stack function gave.

    items    the primitive resources
    params   every plain parameter's value, defaults included
    outputs  the return value
    plain    the same as plain values by name, which can be recorded
    checks   what is to be true once it is up
    """

    items: list[Item]
    params: Mapping[str, Any]
    outputs: Any
    plain: dict[str, Any]
    checks: list[Check]


def declare(
    stack: Stack[..., Any],
    name: str,
    values: Mapping[str, Any],
    *,
    host: str = "",
    observer: Observer | None = None,
    adopts: bool = False,
    adopted: Collection[str] = (),
) -> Declared:
    """Run a stack function with typed parameter values.

    Raises StackError with every mistake that the run found.
    """
    missing = [p.name for p in stack.params.values() if p.required and p.name not in values]
    if missing:
        raise StackError(
            [Problem(f"parameter {n} has no default", stack.where, f"Give it with -p {n}=...") for n in missing]
        )
    declaration = Declaration(name, host) if observer is None else Declaration(name, host, observer)
    declaration.adopts, declaration.adopted = adopts, adopted
    with declaring(declaration):
        try:
            outputs = stack.run(**values)
        except Exception:
            if declaration.problems:  # a mistake told is worth more than what it brought about
                raise StackError(declaration.problems) from None
            raise
        for resource in declaration.resources:
            resource.finished()
    items = items_of(declaration.resources)
    problems = [*declaration.problems, *duplicates(items)]
    recordable = {}
    try:
        recordable = plain(outputs)
    except ValueError as wrong:
        fix = "Return texts, numbers, resources, or mappings and lists of them."
        problems.append(Problem(f"stack {stack.name}: {wrong}", stack.where, fix))
    if problems:
        raise StackError(problems)
    params = {p.name: values.get(p.name, p.default) for p in stack.params.values()}
    return Declared(items, params, outputs, recordable, declaration.checks)
