"""Key files for tests: made in a stack's own folder, or thought up where nothing is read."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from netdsl.lang import keys

MAKE_KEYS = """
import base64, hashlib, os
def text(name):
    "A key that follows from a name."
    return base64.b64encode(hashlib.sha256(name.encode()).digest()).decode()
def key(name):
    "A file with it, beside the program."
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), name)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        print(text(name), file=file)
    return path
"""
"""Statements for a program."""


def named(name: str) -> bytes:
    """The key that `key(name)` writes."""
    return sha256(name.encode()).digest()


def public(name: str) -> str:
    """Its public key."""
    return keys.proof(named(name))


class ThoughtUp:
    """An observer that sees nothing but key files, each with the key that follows from its name."""

    def link(self, netns: str, name: str) -> Mapping[str, Any] | None:
        return None

    def netns(self, name: str) -> bool:
        return False

    def outputs(self, stack: str) -> Mapping[str, Any] | None:
        return None

    def key_proof(self, path: str, peer: str) -> str:
        return keys.proof(named(path.rpartition("/")[2]), peer)
