"""Numbers as names, and lists of numbers and ranges, as short forms take them: [10, "20-29"]."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

_RANGE = re.compile(r"([0-9]+)-([0-9]+)", re.ASCII)


def numeral(name: Any, what: str, least: int, most: int) -> str:
    """A number, or a string of digits, as a name in normal form. Raises ValueError; `what` names it there.

    >>> numeral(7, "a VNI", 1, 9), numeral("07", "a VNI", 1, 9)
    ('7', '7')
    """
    digits = isinstance(name, str) and name.isascii() and name.isdigit()
    if not digits and (isinstance(name, bool) or not isinstance(name, int)):
        raise ValueError(f"{what} must be a whole number, not {name!r}")
    if not least <= int(name) <= most:
        raise ValueError(f"{what} must be between {least} and {most}, not {name}")
    return str(int(name))


def expand(numbers: Any, check: Callable[[Any], str], what: str) -> Iterator[str]:
    """Each number in its normal form, which `check` gives. Raises ValueError; `what` names the numbers in it.

    >>> list(expand([7, "10-12"], str, "VLAN IDs"))
    ['7', '10', '11', '12']
    """
    if isinstance(numbers, str) or not isinstance(numbers, Sequence):
        raise ValueError(f'must be a list of {what} and ranges like "20-29", not {numbers!r}')
    for part in numbers:
        ends = _RANGE.fullmatch(part) if isinstance(part, str) else None
        if ends is None:
            yield check(part)
            continue
        first, last = (int(check(end)) for end in ends.groups())
        if first > last:
            raise ValueError(f"a range goes from the lower number to the higher, not {part}")
        yield from map(str, range(first, last + 1))
