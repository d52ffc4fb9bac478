"""Shell completion of arguments."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:  # every command imports this module, and none of them needs that
    from click.shell_completion import CompletionItem


def complete_stack(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Recorded stacks; where none begins so, files."""
    from click.shell_completion import CompletionItem

    from netdsl.state.store import directory, stacks

    folder = directory(ctx.params.get("state_dir") or os.environ.get("NETDSL_STATE_DIR"))
    found = [CompletionItem(name) for name in stacks(folder) if name.startswith(incomplete)]
    return found or [CompletionItem(incomplete, type="file")]


def complete_netns(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Named network namespaces, but those whose names a shell would take for more than a word: it puts them into the
    command line as they are."""
    from shlex import quote

    from click.shell_completion import CompletionItem

    try:
        names = sorted(entry.name for entry in os.scandir(Path("/run/netns")))
    except OSError:
        return []
    return [CompletionItem(name) for name in names if name.startswith(incomplete) and quote(name) == name]


def complete_kind(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Kinds."""
    from click.shell_completion import CompletionItem

    from netdsl.cli.manual import COMPONENTS
    from netdsl.kinds import KINDS

    names = sorted(cls.__name__ for cls in (*KINDS.values(), *COMPONENTS))
    return [CompletionItem(name) for name in names if name.lower().startswith(incomplete.lower())]
