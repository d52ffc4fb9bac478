"""The command line: one file a command, imported when it is called."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from importlib import import_module
from typing import NoReturn

import click

from netdsl.errors import NetdslError

COMMANDS = {
    "plan": ("plan", "Show what would change."),
    "up": ("up", "Make the kernel what the stack says."),
    "verify": ("verify", "Try out the checks that a stack declares."),
    "destroy": ("destroy", "Take away exactly what the stack made."),
    "refresh": ("refresh", "Let the record say what is in the kernel."),
    "watch": ("watch", "Report drift as it happens, or heal it."),
    "confirm": ("confirm", "Let a run stand that would else be undone."),
    "history": ("history", "List the past runs of a stack."),
    "rollback": ("rollback", "Return to what a stack was after an earlier run."),
    "import": ("import_", "Take over single objects that exist already."),
    "outputs": ("outputs", "Print a stack's outputs."),
    "show": ("show", "Print what a stack owns, with all properties."),
    "exec": ("exec_", "Run a command inside a netns."),
    "list": ("list_", "List the recorded stacks."),
    "graph": ("graph", "Print the dependency graph as DOT or Mermaid."),
    "state": ("state", "Look into the state, or mend it."),
    "kinds": ("kinds", "The manual of all kinds."),
    "completion": ("completion", "Print the shell completion script."),
}
"""Command -> module and help line, so that --help imports no command."""


class Lazy(click.Group):
    """A group whose commands are imported when they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import the command's module."""
        if name not in COMMANDS:
            return None
        command: click.Command = import_module(f"netdsl.cli.{COMMANDS[name][0]}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The help lines from the table."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


PLAIN = False if os.environ.get("NO_COLOR") else None
"""False where colours are unwanted (no-color.org); None: colours on a terminal only."""


@click.group(
    cls=Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110, "color": PLAIN}
)
@click.version_option(None, "--version", message="netdsl %(version)s", package_name="netdsl")
def netdsl() -> None:
    """Infrastructure as code for the Linux network stack.

    A stack is a Python function that declares netns, bridges, veth pairs, tunnels and routes. STACK is its file
    (`lab.py`, or `lab.py:name` where a file has several), or the name of one that was brought up before; it can be
    left out when there is only one.
    """


def main() -> NoReturn:
    """Run a command and exit: 0 done, 1 error, 2 usage or no confirmation, 3 changes pending, 4 partly applied,
    5 locked, 130 interrupted."""
    try:
        code = netdsl.main(standalone_mode=False)
    except click.exceptions.Exit as error:
        code = error.exit_code
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except click.Abort:
        code = 130
    except KeyboardInterrupt:
        code = 130
    except NetdslError as error:
        from netdsl.cli.render import print_error

        print_error(error, color=PLAIN)
        code = error.exit_code
    except BrokenPipeError:
        code = 0
    except OSError as error:  # of what is written to; the layers below tell their own in words of their own
        code = _unwritten(error)
    _end(code if isinstance(code, int) else 0)


def _end(code: int) -> NoReturn:
    """Exit without taking the interpreter apart, which frees object by object what the kernel frees at once: a
    thirtieth of an `up`. All that matters is on disk by then."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:  # who read the output has left
        pass
    except OSError as error:
        code = code or _unwritten(error)
    os._exit(code)


def _unwritten(error: OSError) -> int:
    with suppress(OSError):
        os.write(2, f"error: the output cannot be written: {error.strerror}\n".encode())
    return 1
