"""docs/coverage.md says what is tried on a real kernel, and nothing is left out."""

from __future__ import annotations

from pathlib import Path

import coverage_page
from test_kinds_kernel import CASES, common
from test_properties_kernel import VALUES

from netdsl.kinds import KINDS

PAGE = Path(__file__).parent.parent / "docs" / "coverage.md"


def test_the_page_is_fresh() -> None:
    """docs/coverage.md is what the test cases give."""
    assert PAGE.read_text() == coverage_page.page(), "python tests/coverage_page.py > docs/coverage.md"


def test_every_kind_is_in_it() -> None:
    """Each kind has a line, with a kernel that it is tried on."""
    lines = [line.split(" | ") for line in PAGE.read_text().splitlines() if line.startswith("| [")]
    assert [line[0].split("]")[0][3:] for line in lines] == [cls.__name__ for cls in KINDS.values()]
    assert all(line[1] for line in lines)


def test_every_property_is_tried() -> None:
    """Every property of every kind that a user can set is changed on a real kernel, or its case says why it cannot be
    had there."""
    untried = []
    for word, cls in KINDS.items():
        tried = {*VALUES.get(word, ()), *CASES.get(word, {}).get("values", ()), *common(word)}
        settable = {name for name, declared in cls.properties.items() if declared.init}
        assert coverage_page.unlike(word) <= settable - tried, word
        untried += [f"{word}.{name}" for name in sorted(settable - tried - coverage_page.unlike(word))]
    assert untried == []


def test_every_case_has_drift() -> None:
    """Each kind's case says what is damaged by hand, and healed."""
    assert [word for word, case in CASES.items() if not case.get("drift")] == []
