"""`netdsl state`."""

from __future__ import annotations

import sys
from typing import Any

import attrs
import click

from netdsl.cli import options, recover, render
from netdsl.cli.saved import write_private
from netdsl.cli.session import Session, open_session
from netdsl.cli.show import as_data
from netdsl.errors import UsageError, joined
from netdsl.kernel.machine import Machine
from netdsl.lang import naming
from netdsl.lang.item import Item
from netdsl.state.confirm import require_none
from netdsl.state.export import read_export
from netdsl.state.lock import locked
from netdsl.state.store import Recorded, Store, directory


@click.group("state")
def command() -> None:
    """Look into the state of a stack."""


command.add_command(recover.command)


@command.command("list")
@options.stack_argument
@options.state_dir
def list_resources(stack: str | None, state_dir: str | None) -> int:
    """List the logical names of all resources."""
    for item in open_session(stack, state_dir=state_dir, needs_program=False).recorded.items:
        click.echo(render.escaped(item.urn))
    return 0


@command.command("show")
@click.argument("urn")
@options.stack_argument
@options.state_dir
def show_resource(urn: str, stack: str | None, state_dir: str | None) -> int:
    """Print one resource as the state has it; URN is its logical name, or the end of one."""
    session = open_session(stack, state_dir=state_dir, needs_program=False)
    render.print_json(as_data(the_one(session, urn)))
    return 0


def the_one(session: Session, urn: str) -> Item:
    """The one recorded resource that a name means. Raises UsageError for none or several."""
    items = session.recorded.items
    found = [item for item in items if item.urn == urn] or [item for item in items if item.name == urn]
    found = found or [item for item in items if item.urn.endswith(urn)]
    if len(found) != 1:
        what = "no resource" if not found else f"{len(found)} resources"
        raise UsageError(f"stack {session.name} has {what} {urn!r}", fix="`netdsl state list` shows them all.")
    return found[0]


@command.command("export")
@options.stack_argument
@options.state_dir
@click.option("--output", "-o", metavar="FILE", help="Write to a file (mode 0600) instead of stdout.")
def export(stack: str | None, state_dir: str | None, output: str | None) -> int:
    """Print the whole state as versioned JSON."""
    session = open_session(stack, state_dir=state_dir, needs_program=False)
    document: dict[str, Any] = {
        "version": render.JSON_VERSION,
        "stack": session.name,
        "meta": session.recorded.meta,
        "resources": [whole(item) for item in session.recorded.items],
    }
    if output is None:
        render.print_json(document)
        return 0
    write_private(output, document)
    return 0


def whole(item: Item) -> dict[str, object]:
    """A resource with all that the state knows of it."""
    found = as_data(item) | {"where": item.where}
    if item.opts.ignore_changes:
        found["opts"] = {
            "protect": item.opts.protect,
            "retain_on_delete": item.opts.retain_on_delete,
            "ignore_changes": list(item.opts.ignore_changes),
        }
    return found


@command.command("mv")
@click.argument("old")
@click.argument("new")
@options.stack_argument
@options.state_dir
@options.lock_timeout
def move(old: str, new: str, stack: str | None, state_dir: str | None, lock_timeout: float) -> int:
    """Give a resource the logical name that the program has for it now, so that it is not made anew.

    OLD is its logical name, or the end of one; NEW a whole logical name (component::netns::kind::name), or only another
    name in the same component. Most moves need no command: a resource whose kernel identity stays is found by it.
    """
    session = open_session(stack, state_dir=state_dir, needs_program=False)
    with locked(session.folder, session.name, "state mv", lock_timeout):
        require_none(session.folder, session.name)
        session.reload()
        item = the_one(session, old)
        urn = naming.aliased(item.urn, new)
        component, netns, word, name = urn.split("::", 3)
        if (netns, word) != (item.netns, item.kind.word):
            raise UsageError(f"{old!r} stays a {item.kind.word} in netns {item.netns!r}; {new!r} is something else")
        try:
            naming.check_text(name)
        except ValueError as wrong:
            raise UsageError(str(wrong)) from None
        if not all(naming.COMPONENT_NAME.fullmatch(part) for part in component.split("/") if component):
            raise UsageError(f"{component!r} is no component")
        if item.kind.identity(netns, name, item.props) != item.key:
            raise UsageError(
                f"{item.title}: its name is its kernel identity; the kernel's object would not be called {name!r}",
                fix="Only components, and names that are free text, can change.",
            )
        if any(other.urn == urn for other in session.recorded.items):
            raise UsageError(f"stack {session.name} has a resource {urn!r} already")
        session.store.rename(item.urn, attrs.evolve(item, urn=urn, name=name, component=component))
    click.echo(f"{render.escaped(item.urn)} is {render.escaped(urn)} now")
    return 0


@command.command("rm")
@click.argument("urns", nargs=-1, required=True, metavar="URN...")
@click.option("--stack", help="The stack, where several are recorded.")
@options.state_dir
@options.yes
@options.lock_timeout
@click.option("--force", is_flag=True, help="Also where other recorded resources stand on it.")
def remove(
    urns: tuple[str, ...], stack: str | None, state_dir: str | None, yes: bool, lock_timeout: float, force: bool
) -> int:
    """Forget resources without deleting them: the kernel keeps them, and they are foreign from then on."""
    session = open_session(stack, state_dir=state_dir, needs_program=False)
    with locked(session.folder, session.name, "state rm", lock_timeout):
        require_none(session.folder, session.name)
        session.reload()
        items = [the_one(session, urn) for urn in urns]
        going = {item.key for item in items}
        users = [
            other.title
            for other in session.recorded.items
            if other.key not in going and any(need.key in going for need in other.needs)
        ]
        if users and not force:
            raise UsageError(
                f"{joined([item.title for item in items])} cannot be forgotten alone: {joined(users[:5])} stand on it",
                fix="Name these too, or give --force.",
            )
        if not yes:
            confirm_on_terminal(f"Forget {joined([render.escaped(item.urn) for item in items])}?")
        session.machine.sweep(item.name for item in items if item.key[0] == "netns")
        session.store.forget(item.urn for item in items)
    for item in items:
        click.echo(f"forgotten: {render.escaped(item.urn)}")
    return 0


@command.command("import")
@click.argument("file", metavar="FILE")
@options.state_dir
@options.yes
@options.lock_timeout
def take_back(file: str, state_dir: str | None, yes: bool, lock_timeout: float) -> int:
    """Make a state of what `netdsl state export` wrote; one that is there already is replaced.

    What it says is compared with the kernel by the next plan, as always.
    """
    stack, meta, items = read_export(file)
    folder = directory(state_dir)
    store = Store(folder, stack)
    session = Session(stack, folder, store, Recorded(meta, items), Machine())
    session.check_machine()
    with locked(folder, stack, "state import", lock_timeout):
        require_none(folder, stack)
        if store.exists() and store.load().items and not yes:
            confirm_on_terminal(
                f"Replace the state of stack {stack}, which has {len(store.load().items)} resources, and its history?"
            )
        store.replace_all(items, meta, "state import")
    click.echo(f"stack {stack}: {len(items)} resources")
    for note in session.notes:
        click.echo(render.note(note))
    return 0


def confirm_on_terminal(question: str) -> None:
    """Ask; without a terminal or a yes nothing is done."""
    if not sys.stdin.isatty():
        raise UsageError("this needs a confirmation", fix="Run it on a terminal, or give --yes.")
    if click.prompt(question, type=click.Choice(["yes", "no"]), default="no", show_default=False) != "yes":
        raise UsageError("not confirmed; nothing was touched")
