"""From a file to a stack function; whatever goes wrong in the user's code is told with the user's line."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from importlib.machinery import EXTENSION_SUFFIXES, SOURCE_SUFFIXES, ExtensionFileLoader, FileFinder, SourceFileLoader
from pathlib import Path
from typing import Any

import click

import netdsl
from netdsl.cli import trust
from netdsl.errors import NetdslError, Problem, StackError, UsageError, joined
from netdsl.lang.stack import Stack

_PACKAGE = str(Path(netdsl.__file__).parent) + "/"
_BEFORE = set(sys.modules)
"""What netdsl itself has imported."""


def is_file(argument: str) -> bool:
    """Whether an argument means a file rather than a recorded stack."""
    path = argument.partition(".py:")[0] + ".py" if ".py:" in argument else argument
    return path.endswith(".py") or "/" in path


def load(argument: str) -> Stack[..., Any]:
    """The stack of `file.py` or `file.py:name`."""
    text, colon, name = argument.partition(".py:")
    path = Path(f"{text}.py" if colon else argument).resolve()
    if not path.is_file():
        raise UsageError(f"there is no file {argument if not colon else text + '.py'}")
    found = {s.name: s for s in vars(_module(path)).values() if isinstance(s, Stack) and _made_in(s, path)}
    if not found:
        raise StackError(
            [Problem("no stack in this file", str(path), "Decorate a function with @stack (from netdsl import stack).")]
        )
    if colon:
        if name not in found:
            raise UsageError(f"{path.name} has no stack {name!r}", fix=f"It has {joined(sorted(found))}.")
        return found[name]
    if len(found) > 1:
        names = joined([f"{path.name}:{name}" for name in sorted(found)], "or")
        raise UsageError(f"{path.name} has several stacks", fix=f"Choose one: {names}.")
    return next(iter(found.values()))


def _made_in(stack: Stack[..., Any], path: Path) -> bool:
    return Path(stack.file) == path


def look_at_imports() -> None:
    """Warn of modules of the program that others could have written."""
    trust.warn(trust.modules_of(_BEFORE, _interpreters()))


class _AsWritten(SourceFileLoader):
    """Compiles what the file says now. Bytecode is told from its source by size and by the second of its last change,
    and a program that was edited just now may have the same."""

    def get_code(self, fullname: str) -> Any:
        """Of the source, without looking for bytecode or leaving any."""
        try:
            return self.source_to_code(self.get_data(self.path), self.path)
        except ValueError as error:  # null bytes, in Python before 3.11.4
            raise SyntaxError(str(error)) from error


def _module(path: Path) -> Any:
    trust.warn([path])
    folder = str(path.parent)
    extensions = (ExtensionFileLoader, EXTENSION_SUFFIXES)
    sys.path_importer_cache[folder] = FileFinder(folder, extensions, (_AsWritten, SOURCE_SUFFIXES))
    name = path.stem if path.stem not in sys.modules else f"stack_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path, loader=_AsWritten(name, str(path)))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    with users_code(path):
        spec.loader.exec_module(module)
    look_at_imports()
    return module


@contextmanager
def users_code(path: Path) -> Iterator[None]:
    """While code of this program runs: its directory is the first to be searched for modules, and only then, since what
    netdsl imports later is never meant to come from there; what it prints goes to stderr; and an exception becomes an
    error that points at the user's line, or at the file."""
    folder = str(path.parent)
    sys.path.insert(0, folder)
    try:
        with _prints_aside():
            yield
    except (NetdslError, KeyboardInterrupt):
        raise
    except SyntaxError as error:
        where = f"{error.filename}:{error.lineno}" if error.filename else str(path)
        raise StackError([Problem(f"the file does not parse: {error.msg}", where)]) from error
    except BaseException as error:
        import traceback

        frames = [f for f in traceback.extract_tb(error.__traceback__) if not _internal(f.filename)]
        where = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
        words = str(error) or "no message"
        raise StackError([Problem(f"the program failed: {type(error).__name__}: {words}", where)]) from error
    finally:
        with suppress(ValueError):  # the program itself may have taken it out
            sys.path.remove(folder)


@contextmanager
def _prints_aside() -> Iterator[None]:
    """Give stderr to whoever writes to stdout, other processes included, in the order in which they do: on stdout only
    the command's own output is expected, which may be JSON or a script."""
    if sys.stdout is None or sys.stderr is None:  # one of them was closed
        yield
        return
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):  # which waits for no more than the end of a line
            yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def _internal(filename: str) -> bool:
    return filename.startswith(_interpreters())


def _interpreters() -> tuple[str, ...]:
    # Where the standard library is, and what is installed beside netdsl's own dependencies; sysconfig would tell
    # it too, but takes longer to be imported than all the rest of looking.
    return _PACKAGE, "<frozen", f"{Path(os.__file__).parent}/", f"{Path(click.__file__).parent.parent}/"
