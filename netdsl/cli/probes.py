"""What must be reached after a run as before it: `up --confirm-within TIME --probe TARGET`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from netdsl.cli.session import Session
from netdsl.errors import GuardError, Problem, UsageError, VerifyError
from netdsl.kernel import probe
from netdsl.lang.check import Check, Reachable, Result, address_of
from netdsl.lang.values import check_ip, u16

CHECKS_OF_STACK = "checks"
"""The target that means the stack's own checks."""
SECONDS = 2.0
"""For which each is tried at once, at most."""

_PORT = u16(1)


@attrs.frozen
class Target:
    """What `--probe` names: an address, asked for an echo or, with a port, for a TCP connection."""

    netns: str
    address: str
    port: int | None


def parse(text: str) -> Target:
    """A target: `10.0.0.1`, `host`, `10.0.0.1:22`, `[2001:db8::1]:22`, each also as `NETNS@...`. Raises UsageError.

    A name is looked up here and now, before the run, from the namespace that netdsl runs in.
    """
    netns, at, rest = text.rpartition("@")
    host, port = _divided(rest)
    if not host or port == "" or (at and not netns):
        raise UsageError(f"--probe {text!r} names nothing to reach", fix="Give an address, a host name or HOST:PORT.")
    try:
        number = None if port is None else _PORT.check(int(port) if port.isdecimal() else port)
    except ValueError as error:
        raise UsageError(f"--probe {text}: the port {error}") from error
    address = _looked_up(text, host)
    try:
        return Target(netns, address_of(address), number)
    except ValueError as error:
        raise UsageError(f"--probe {text}: it {error}") from error


def _divided(rest: str) -> tuple[str, str | None]:
    """Host and port of `HOST`, `HOST:PORT` or `[HOST]:PORT`; None: no port is given."""
    if rest.startswith("["):
        host, closed, after = rest[1:].partition("]")
        if not closed or (after and not after.startswith(":")):
            return "", None
        return host, after[1:] if after else None
    if rest.count(":") == 1:
        host, _, port = rest.partition(":")
        return host, port
    return rest, None


def _looked_up(text: str, host: str) -> str:
    try:
        return check_ip(host)
    except ValueError:
        pass
    try:
        return probe.resolve(host)
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no host name"
        raise UsageError(f"--probe {text}: {host} has no address: {why}") from error


def wanted(targets: Sequence[str]) -> dict[str, Target | None]:
    """The targets by what was given for them; None for the stack's own checks. Raises UsageError."""
    return {text: None if text == CHECKS_OF_STACK else parse(text) for text in targets}


def chosen(session: Session, targets: Mapping[str, Target | None]) -> tuple[list[Check], list[Result]]:
    """What is to be reached: the targets, which must answer now, and those of the stack's checks that pass now.

    Gives the stack's checks that do not pass now as well. Raises VerifyError when a target does not answer already
    before the run, and GuardError when nothing is left to try.
    """
    asked: list[Check] = [
        Reachable.plain(target.netns, target.address, port=target.port, within=SECONDS, name=_called(text, target))
        for text, target in targets.items()
        if target is not None
    ]
    own: list[Check] = []
    if CHECKS_OF_STACK in targets:
        assert session.declared is not None
        own = [check.brief(SECONDS) for check in session.declared.checks]
    results = probe.run([*asked, *own])
    failing = [result for result in results if not result.ok]
    dead = [result for result in results[: len(asked)] if not result.ok]
    if dead:
        raise VerifyError(
            Problem(
                f"--probe {result.check.title}: {result.detail}, already before the run",
                fix="Only what answers before can show that the run broke nothing.",
            )
            for result in dead
        )
    passing = [result.check for result in results if result.ok]
    if not passing:
        raise GuardError(
            "--probe checks: none of the stack's checks passes before the run",
            fix="Give --probe an address, or leave it out and confirm with `netdsl confirm`.",
        )
    return passing, failing


def _called(text: str, target: Target) -> str:
    """What was given, and where a name leads."""
    return text if target.address in text else f"{text} ({target.address})"


def try_out(checks: Sequence[Check], seconds: float) -> list[str]:
    """What failed, and why; with nothing the checks pass. It takes so many seconds, unless an Unreachable takes longer:
    that one is not cut short, since then it would pass too easily."""
    brief = [check.brief(seconds) if check.reaches else check for check in checks]
    return [f"{result.check.title}: {result.detail}" for result in probe.run(brief) if not result.ok]
