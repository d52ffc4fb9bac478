"""Fixtures for all tests."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from sandbox import Sandbox

# A test run that a shell put into the background ignores Ctrl-C, and so would all that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def make_sandbox(tmp_path: Path) -> Iterator[Callable[[], Sandbox]]:
    """Make as many sandboxes as a test asks for, each with a state directory of its own; all end with the test."""
    with ExitStack() as sandboxes:
        made = 0

        def make() -> Sandbox:
            nonlocal made
            made += 1
            return sandboxes.enter_context(Sandbox(tmp_path / f"netdsl-state-{made}"))

        yield make


@pytest.fixture
def sandbox(make_sandbox: Callable[[], Sandbox]) -> Sandbox:
    """User, mount, net and uts namespaces of the test's own, which end with it."""
    return make_sandbox()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that use a sandbox, for `-m "not kernel"`."""
    for item in items:
        if "make_sandbox" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.kernel)
