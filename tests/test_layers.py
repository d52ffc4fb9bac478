"""The layers of netdsl, held by reading its imports: who may import whom, and how long a file may be."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import netdsl
from netdsl.kinds import KINDS

PACKAGE = Path(netdsl.__file__).parent
LONGEST = 400
"""Lines in a file; most stay under 300."""

ALLOWED = {
    "wire": (),
    "errors": (),
    "lang": ("lang", "wire", "errors"),
    "kinds": ("kinds", "lang", "wire", "errors"),
    "components": ("components", "kinds", "lang"),
    "engine": ("engine", "kinds", "lang", "wire", "errors"),
    "kernel": ("kernel", "lang", "wire", "errors"),
    "state": ("state", "engine", "kinds", "lang", "errors"),
    "cli": ("", "cli", "components", "engine", "errors", "kernel", "kinds", "lang", "state", "wire"),
    "": ("components", "kinds", "lang"),  # netdsl/__init__.py
    "__main__": ("cli",),
}
"""Which layers of netdsl each layer may import; "" is netdsl/__init__.py."""

OUTSIDE = {
    "networkx": "engine/graph.py",
    "pyroute2": "kernel/",
    "ctypes": "kernel/",
    "click": "cli/",
    "rich": "cli/",
    "sqlite3": "state/",
}
"""Modules of others, and the only place that may import each."""

SOCKET_NAMES = {"AF_INET", "AF_INET6", "inet_ntop", "inet_pton"}
"""What of `socket` and `_socket` does no I/O, and is open to all."""

IMPORTS_BY_NAME = {"__init__.py", "cli/__init__.py", "kinds/__init__.py"}
"""Files that import a module of their own layer, or one that is open to users, by a name from a list; all others do it
with `import`, where it can be seen."""

NO_KINDS = {
    "__init__.py",
    "link_dump.py",
    "link_wire.py",
    "gateway.py",
    "hop.py",
    "link_words.py",
    "lower.py",
    "measure.py",
    "master.py",
    "nft_rule.py",
    "wireguard_wire.py",
    "nftables.py",
    "ranges.py",
    "shell.py",
    "upper.py",
}
"""Files in kinds/ that hold no kind."""

FILES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


def layer_of(dotted: str) -> str:
    """The layer that a module of netdsl belongs to: "lang" for netdsl.lang.item, "" for netdsl itself."""
    return f"{dotted}.".split(".")[1]


def layer_of_file(file: str) -> str:
    """The layer of a file, given relative to the package."""
    return "" if file == "__init__.py" else file.split("/")[0].removesuffix(".py")


@cache
def tree(file: str) -> ast.Module:
    return ast.parse((PACKAGE / file).read_text())


def imports(module: ast.Module, file: str) -> Iterator[tuple[str, str, int]]:
    """Every import, also those inside functions and for type checkers only: module, name ("" for all of it), line.

    `from netdsl import wire` counts as an import of netdsl.wire.
    """
    package = ["netdsl", *file.split("/")[:-1]]
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "", node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            home = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                inner = home == "netdsl" and ((PACKAGE / alias.name).is_dir() or f"{alias.name}.py" in FILES)
                yield (f"{home}.{alias.name}" if inner else home, "" if inner else alias.name, node.lineno)


def breaches(module: ast.Module, file: str) -> list[str]:
    """Imports that break a rule, each with its line."""
    here, found = layer_of_file(file), []
    for name, part, line in imports(module, file):
        root = name.split(".")[0]
        allowed = True
        if root == "netdsl":
            allowed = layer_of(name) in ALLOWED[here] or layer_of(name) == here
            if here == "engine" and name.startswith("netdsl.kinds."):
                allowed = False  # it knows kinds only by the interface that they share, and by their list
        elif root in OUTSIDE:
            allowed = file.startswith(OUTSIDE[root])
        elif root in ("socket", "_socket"):
            allowed = here in ("kernel", "state") or part in SOCKET_NAMES
        if not allowed:
            found.append(f"{file}:{line}: imports {name}{f'.{part}' if part else ''}")
    return found


@pytest.mark.parametrize("file", FILES)
def test_imports_stay_within_the_layers(file: str) -> None:
    """A file imports only layers below its own, and other people's modules only where they belong."""
    assert breaches(tree(file), file) == []


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("lang/x.py", "from netdsl.kinds.link import Link"),
        ("lang/x.py", "def f():\n    import netdsl.kernel.netlink"),
        ("lang/x.py", "if TYPE_CHECKING:\n    from netdsl.engine.plan import make_plan"),
        ("kinds/x.py", "from netdsl import cli"),
        ("kinds/x.py", "from ..components import vxlan_peer"),
        ("kinds/x.py", "from netdsl.engine import world"),
        ("components/x.py", "from netdsl import wire"),
        ("engine/x.py", "from netdsl.kernel.machine import Machine"),
        ("engine/x.py", "from netdsl.state.store import Store"),
        ("engine/x.py", "from netdsl.kinds.link import LINK_KINDS"),
        ("engine/x.py", "import networkx.algorithms"),
        ("kernel/x.py", "from netdsl.kinds import KINDS"),
        ("state/x.py", "import netdsl.cli"),
        ("state/x.py", "from pyroute2 import IPRoute"),
        ("lang/x.py", "import socket"),
        ("lang/x.py", "from _socket import AF_NETLINK, inet_pton"),
        ("engine/x.py", "import ctypes.util"),
        ("engine/x.py", "from rich.tree import Tree"),
    ],
)
def test_a_forbidden_import_is_seen(file: str, text: str) -> None:
    """However an import that breaks a rule is written, it is found."""
    assert len(breaches(ast.parse(text), file)) == 1


def test_modules_are_imported_by_name_only_at_the_entrances() -> None:
    """Outside the entrances no module is imported by a name made at run time, which no rule could see."""
    found = set()
    for file in FILES:
        for node in ast.walk(tree(file)):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if called.rpartition(".")[2] in ("import_module", "__import__"):
                found.add(file)
    assert found <= IMPORTS_BY_NAME


def test_kinds_are_one_list_and_one_folder() -> None:
    """Every file in kinds/ holds a kind, and all kinds with a word of their own are in the list under that word."""
    for file in FILES:
        folder, _, name = file.rpartition("/")
        if folder != "kinds" or name in NO_KINDS:
            continue
        classes = [node for node in tree(file).body if isinstance(node, ast.ClassDef) and _is_kind(node)]
        assert classes, f"{file} holds no kind"
        module = f"netdsl.kinds.{name.removesuffix('.py')}"
        listed = {cls.__name__ for cls in KINDS.values() if cls.__module__ == module}
        assert {node.name for node in classes if _word(node)} == listed
    assert {word: cls.word for word, cls in KINDS.items()} == {word: word for word in KINDS}
    assert {f"{cls.__module__.removeprefix('netdsl.').replace('.', '/')}.py" for cls in KINDS.values()} <= set(FILES)


def _is_kind(node: ast.ClassDef) -> bool:
    return any(isinstance(decorator, ast.Name) and decorator.id == "kind" for decorator in node.decorator_list)


def _word(node: ast.ClassDef) -> str:
    """The kernel's word that a class gives itself; a base of kinds has none."""
    for part in node.body:
        if isinstance(part, ast.Assign) and [ast.unparse(target) for target in part.targets] == ["word"]:
            return str(ast.literal_eval(part.value))
    return ""


@pytest.mark.parametrize("file", FILES)
def test_files_are_short(file: str) -> None:
    """A file can be held in the head."""
    assert len((PACKAGE / file).read_text().splitlines()) <= LONGEST
