"""What must be reached after a run as before it: `up --confirm-within TIME --probe TARGET`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from netdsl.cli.session import Session
from netdsl.errors import GuardError, Problem, UsageError, VerifyError
from netdsl.kernel import probe
from netdsl.lang.check import CHECKS, Check, Reachable, Result
from netdsl.lang.values import check_ip, u16

CHECKS_OF_STACK = "checks"
"""The target that means the stack's own checks."""
SECONDS = 2.0
"""For which each is tried at once."""

_PORT = u16(1)


@attrs.frozen
class Target:
    """What `--probe` names: an address, asked for an echo or, with a port, for a TCP connection."""

    netns: str
    address: str
    port: int | None


def parse(text: str) -> Target:
    """A target: `10.0.0.1`, `host`, `10.0.0.1:22`, `[fe80::1]:22`, each also as `NETNS@...`. Raises UsageError."""
    netns, at, rest = text.rpartition("@")
    host, port = rest, ""
    if rest.startswith("["):
        host, _, after = rest[1:].partition("]")
        port = after.removeprefix(":")
    elif rest.count(":") == 1:
        host, _, port = rest.partition(":")
    try:
        number = _PORT.check(int(port) if port.isdecimal() else port) if port else None
    except ValueError as error:
        raise UsageError(f"--probe {text}: the port {error}") from error
    if not host or (at and not netns) or (rest.endswith(":") and rest.count(":") == 1):
        raise UsageError(f"--probe {text!r} names nothing to reach", fix="Give an address, a host name or HOST:PORT.")
    try:
        return Target(netns, check_ip(host), number)
    except ValueError:
        pass
    try:
        return Target(netns, probe.resolve(host), number)
    except OSError as error:
        raise UsageError(f"--probe {text}: {host} has no address: {error.strerror}") from error


def wanted(targets: Sequence[str]) -> dict[str, Target | None]:
    """The targets by what was given for them; None for the stack's own checks. Raises UsageError."""
    return {text: None if text == CHECKS_OF_STACK else parse(text) for text in targets}


def chosen(session: Session, targets: Mapping[str, Target | None]) -> list[Check]:
    """What is to be reached: the targets, which must answer now, and those of the stack's checks that pass now.

    Raises VerifyError when a target does not answer already before the run, and GuardError when nothing is left to try.
    """
    asked: list[Check] = [
        Reachable.plain(target.netns, target.address, port=target.port, name=text)
        for text, target in targets.items()
        if target is not None
    ]
    own: list[Check] = []
    if CHECKS_OF_STACK in targets:
        assert session.declared is not None
        own = [check.brief(SECONDS) for check in session.declared.checks]
    results = probe.run([*asked, *own])
    failing = [result for result in results[: len(asked)] if not result.ok]
    if failing:
        raise VerifyError(
            Problem(
                f"--probe {result.check.title}: {result.detail}, already before the run",
                fix="Only what answers before can show that the run broke nothing.",
            )
            for result in failing
        )
    passing = [result.check for result in results if result.ok]
    if not passing:
        raise GuardError(
            "--probe checks: none of the stack's checks passes before the run",
            fix="Give --probe an address, or leave it out and confirm with `netdsl confirm`.",
        )
    return passing


def try_out(checks: Sequence[Check]) -> list[Result]:
    """What came of the checks."""
    return probe.run(checks)


def as_data(check: Check) -> dict[str, Any]:
    """A check for another process."""
    return {"word": check.word, "netns": check.netns, "to": check.to, "port": check.port, "size": check.size}


def from_data(found: Mapping[str, Any]) -> Check:
    """Of `as_data`."""
    kind = CHECKS[found["word"]]
    return kind.plain(found["netns"], found["to"], port=found["port"], size=found["size"], within=SECONDS)
