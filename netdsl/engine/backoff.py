"""How often something is tried again that keeps coming back. Pure."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

FIRST, MOST = 1.0, 600.0
"""Seconds of rest after the first try, doubled with each further one, and at most."""
CALM = 30.0
"""Seconds that something has to stay away, beyond its rest, for its tries to be forgotten."""
OFTEN = 3
"""Tries after which it is worth saying that it keeps coming back."""


@attrs.define
class _Tries:
    count: int = 0
    due: float = 0.0


@attrs.define
class Backoff:
    """Tries by name."""

    _tries: dict[str, _Tries] = attrs.field(factory=dict)

    def due(self, name: str) -> float:
        """When it may be tried again."""
        return self._tries[name].due if name in self._tries else 0.0

    def tried(self, names: Iterable[str], now: float) -> list[str]:
        """Note a try; returns those that have come back often."""
        often = []
        for name in names:
            tries = self._tries.setdefault(name, _Tries())
            if now > tries.due + CALM:
                tries.count = 0
            tries.count += 1
            tries.due = now + min(MOST, FIRST * 2.0 ** min(tries.count - 1, 20))
            if tries.count >= OFTEN:
                often.append(name)
        return often
