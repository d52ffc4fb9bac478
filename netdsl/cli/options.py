"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from netdsl.cli.complete import complete_stack

F = TypeVar("F", bound=Callable[..., Any])

stack_argument = click.argument("stack", required=False, shell_complete=complete_stack)
state_dir = click.option(
    "--state-dir", envvar="NETDSL_STATE_DIR", metavar="DIR", help="Where states are kept. [env: NETDSL_STATE_DIR]"
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")
adopt = click.option("--adopt", is_flag=True, help="Take over what exists already instead of calling it a conflict.")
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
