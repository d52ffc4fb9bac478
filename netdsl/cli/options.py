"""Options that several commands share."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

from netdsl.cli.complete import complete_stack

LONGEST = 30 * 86400
"""Seconds that can be waited for."""


def seconds(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """A time such as 30s, 500ms or 2m; a bare number is seconds."""
    if value is None:
        return None
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)?", value, re.ASCII)
    if found is None:
        raise click.BadParameter(f"{value!r} is no time: write it like 30s, 500ms or 2m", ctx, param)
    time = float(found[1]) * {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}[found[2] or "s"]
    if time > LONGEST:
        raise click.BadParameter(f"{value!r} is too long: at most {LONGEST // 86400} days", ctx, param)
    return time


def some_seconds(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """The same, but more than none."""
    found = seconds(ctx, param, value)
    if found == 0:
        raise click.BadParameter(f"{value!r} leaves no time: write it like 30s, 500ms or 2m", ctx, param)
    return found


F = TypeVar("F", bound=Callable[..., Any])

stack_argument = click.argument("stack", required=False, shell_complete=complete_stack)
state_dir = click.option(
    "--state-dir", envvar="NETDSL_STATE_DIR", metavar="DIR", help="Where states are kept. [env: NETDSL_STATE_DIR]"
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")
adopt = click.option("--adopt", is_flag=True, help="Take over what exists already instead of calling it a conflict.")
lock_timeout = click.option(
    "--lock-timeout", callback=seconds, default="0s", metavar="TIME", help="How long to wait for another run, like 30s."
)
yes = click.option("--yes", "-y", is_flag=True, help="Do not ask.")


def program_options(function: F) -> F:
    """What says how the program is run."""
    for option in (
        click.option("--reset-params", is_flag=True, help="Forget recorded parameters; take the defaults."),
        click.option("--params", "params_file", metavar="FILE", help="Read parameters from a TOML file."),
        click.option("-p", "--param", "params", multiple=True, metavar="NAME=VALUE", help="Set a parameter."),
        click.option("--name", metavar="NAME", help="The stack's name, where it is not the function's."),
    ):
        function = option(function)
    return function


def selection_options(function: F) -> F:
    """What of a plan is wanted."""
    for option in (
        click.option("--replace", multiple=True, metavar="NAME", help="Make it anew, although nothing changed."),
        click.option("--exclude", multiple=True, metavar="NAME", help="Leave it alone, and what needs it."),
        click.option("--target", multiple=True, metavar="NAME", help="Only this, with what it needs; * and ? match."),
    ):
        function = option(function)
    return function
