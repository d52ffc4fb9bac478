"""docs/coverage.md says what is tried on a real kernel, and nothing is left out."""

from __future__ import annotations

from pathlib import Path

import coverage_page

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
