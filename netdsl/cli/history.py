"""`netdsl history`."""

from __future__ import annotations

from datetime import datetime

import click

from netdsl.cli import options, render
from netdsl.cli.session import open_session
from netdsl.errors import UsageError
from netdsl.state.history import Past


@click.command("history")
@options.stack_argument
@options.state_dir
@options.as_json
def command(stack: str | None, state_dir: str | None, as_json: bool) -> int:
    """List the past runs of a stack: number, time, user, command, how it ended, what it changed, parameters.

    The number is what `netdsl rollback` takes.
    """
    session = open_session(stack, state_dir=state_dir, needs_program=False)
    if not session.store.exists():
        raise UsageError(f"stack {session.name} is not recorded: it has no history")
    runs = session.store.history()
    if as_json:
        render.print_json(
            {"version": render.JSON_VERSION, "stack": session.name, "runs": [_data(past) for past in runs]}
        )
        return 0
    lines = [(str(p.number), _time(p.started), _user(p), _command(p), status(p), _changed(p), _params(p)) for p in runs]
    widths = [max((len(line[column]) for line in lines), default=0) for column in range(7)]
    for line in lines:
        click.echo("  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip())
    return 0


def status(past: Past) -> str:
    """How a run ended; one that says nothing was killed, or is still under way."""
    return "unfinished" if past.finished is None else past.status


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().isoformat(" ", "seconds")


def _user(past: Past) -> str:
    return render.escaped(str(past.meta.get("user", "")))


def _command(past: Past) -> str:
    return render.escaped(past.command)


def _changed(past: Past) -> str:
    words = {"create": "created", "update": "updated", "replace": "replaced", "delete": "deleted"}
    return ", ".join(f"{past.summary[a]} {word}" for a, word in words.items() if past.summary.get(a)) or "nothing"


def _params(past: Past) -> str:
    return render.escaped(render.params_line(past.meta.get("values", {})))


def _data(past: Past) -> dict[str, object]:
    return {
        "number": past.number,
        "user": past.meta.get("user", ""),
        "command": past.command,
        "started": past.started,
        "finished": past.finished,
        "status": status(past),
        "summary": dict(past.summary),
        "values": past.meta.get("values", {}),
    }
