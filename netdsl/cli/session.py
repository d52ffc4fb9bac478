"""What every command starts from: which stack, which program, which state, which machine."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from netdsl.cli import program, trust
from netdsl.engine import deploy
from netdsl.engine.observe import LiveObserver
from netdsl.engine.plan import EVERYTHING
from netdsl.engine.select import Selection
from netdsl.errors import StateError, UsageError, joined
from netdsl.kernel.machine import Machine
from netdsl.kinds import LINKS
from netdsl.kinds.link import Link
from netdsl.lang.item import Item
from netdsl.lang.naming import STACK_NAME
from netdsl.lang.params import resolve
from netdsl.lang.stack import Declared, Stack, declare
from netdsl.state import store as states
from netdsl.state.store import Recorded, Store


@attrs.define(eq=False, repr=False)
class Session:
    """One stack on this machine.

    program   "path:function", absolute
    values    the parameters that were given, now or before (what persists)
    adopts    take over whatever exists already
    selection what of the plan is wanted
    notes     what the user should know before reading the plan
    """

    name: str
    folder: Path
    store: Store
    recorded: Recorded
    machine: Machine
    stack: Stack[..., Any] | None = None
    program: str = ""
    values: dict[str, Any] = attrs.field(factory=dict)
    adopts: bool = False
    selection: Selection = EVERYTHING
    notes: list[str] = attrs.field(factory=list)
    declared: Declared | None = None

    def reload(self) -> None:
        """Read the state again (after the lock was taken) if it changed: another run may have put another file in its
        place."""
        if self.store.stamp() == self.recorded.stamp:
            return
        self.store.close()
        self.recorded = self.store.load()
        self._forget_cookies()

    def _forget_cookies(self) -> None:
        """Cookies are counted anew in each boot: one from before may be a stranger's now."""
        if self.recorded.meta.get("boot_id", "") != self.machine.boot_id():
            for item in self.recorded.items:
                item.extra.pop("cookie", None)

    def declare(self) -> Declared:
        """Run the program."""
        assert self.stack is not None
        host = self.recorded.meta.get("host") or self.machine.host_id()
        observer = LiveObserver(self.machine, LINKS, Link.properties, self.outputs_of)
        adopted = {item.urn for item in self.recorded.items if item.extra.get("adopted")}
        with program.users_code(Path(self.stack.file)):
            self.declared = declare(
                self.stack, self.name, self.values, host=host, observer=observer, adopts=self.adopts, adopted=adopted
            )
        program.look_at_imports()
        return self.declared

    def outputs_of(self, stack: str) -> Mapping[str, Any] | None:
        """The outputs of another recorded stack, or None."""
        other = Store(self.folder, stack)
        if not re.fullmatch(STACK_NAME, stack) or not other.exists():
            return None
        try:
            found: Mapping[str, Any] = other.meta().get("outputs", {})
            return found
        finally:
            other.close()

    def preview(self, *, offline: bool = False) -> deploy.Preview:
        """Declare and plan."""
        items, recorded = self.declare().items, self.recorded.items
        found = deploy.preview(self.machine, self.name, items, recorded, offline=offline, selection=self.selection)
        found.plan.notes[:0] = [*self.notes, *self.losses(found)]
        return found

    def losses(self, found: deploy.Preview) -> list[str]:
        """What of other stacks goes with what the plan deletes."""
        from netdsl.cli.neighbours import losses

        return [problem.what for problem in losses(self, found.plan)]

    def preview_of(self, items: list[Item]) -> deploy.Preview:
        """Plan the way to these items, whatever the program says."""
        if items:
            found = deploy.preview(self.machine, self.name, items, self.recorded.items)
        else:
            found, _ = deploy.plan_destroy(self.machine, self.name, self.recorded.items)
        found.plan.notes = [*self.notes, *self.losses(found)]
        return found

    def meta(self) -> dict[str, Any]:
        """What the state keeps beside the resources."""
        found: dict[str, Any] = {
            "stack": self.name,
            "boot_id": self.machine.boot_id(),
            "cookie": self.machine.cookie(""),
            "host": self.recorded.meta.get("host") or self.machine.host_id(),
        }
        if self.program:
            found |= {"program": self.program, "values": self.values}
        return found

    def check_machine(self) -> None:
        """Refuse a state from another namespace; notice a restart."""
        meta = self.recorded.meta
        if "boot_id" not in meta:
            return
        if meta["boot_id"] != self.machine.boot_id():
            self._forget_cookies()
            self.notes.append("The machine was restarted since the last run: what the stack made is gone with it.")
        elif meta["cookie"] != self.machine.cookie(""):
            raise StateError(
                f"the state of stack {self.name} belongs to another network namespace than the one netdsl runs in",
                fix="Run netdsl where the stack was brought up, or choose another state with --state-dir.",
            )


def open_session(
    argument: str | None,
    *,
    state_dir: str | None,
    name: str | None = None,
    needs_program: bool = True,
    given: Mapping[str, Any] | None = None,
    reset_params: bool = False,
    adopts: bool = False,
    selection: Selection = EVERYTHING,
) -> Session:
    """Find the stack that an argument means, and check that program and state belong together."""
    folder = states.directory(state_dir)
    if name is not None:
        check_name(name)
    argument = argument or _only_stack(folder, name)
    trust.warn([folder])  # the records name the programs
    stack = None
    if program.is_file(argument):
        stack = program.load(argument)
        stack_name = name or stack.name
    else:
        stack_name = argument
    check_name(stack_name)
    store = Store(folder, stack_name)
    if stack is None and not store.exists():
        raise UsageError(f"there is no stack {stack_name!r}", fix=_known(folder))
    recorded = store.load()
    session = Session(stack_name, folder, store, recorded, Machine(), stack, adopts=adopts, selection=selection)
    if stack is not None:
        session.program = f"{stack.file}:{stack.name}"
        _check_owner(session)
    elif needs_program:
        session.program = recorded.meta.get("program", "")
        if not session.program:
            raise UsageError(f"no program is recorded for stack {stack_name}", fix="Give its file instead of its name.")
        session.stack = program.load(session.program)
    if session.stack is not None:
        session.values = _values(session, given or {}, reset_params)
    session.check_machine()
    return session


def check_name(name: str) -> None:
    """Raise UsageError for what is no stack's name: it is part of the names of files."""
    if not re.fullmatch(STACK_NAME, name):
        fix = "Lower case letters, digits, '_' and '-', at most 64; set it with --name."
        raise UsageError(f"{name!r} is no stack name", fix=fix)


def _only_stack(folder: Path, name: str | None) -> str:
    if name:
        return name
    known = states.stacks(folder)
    if len(known) != 1:
        raise UsageError("which stack? Give a file or the name of a recorded stack", fix=_known(folder))
    return known[0]


def _known(folder: Path) -> str:
    known = states.stacks(folder)
    return f"Recorded in {folder}: {joined(known)}." if known else f"None is recorded in {folder}."


def _check_owner(session: Session) -> None:
    owner = session.recorded.meta.get("program", session.program)
    if owner != session.program:
        raise StateError(
            f"stack {session.name} is recorded as the program {owner}; this one is {session.program}",
            fix="Give this one another name with --name, or destroy the other first.",
        )


def _values(session: Session, given: Mapping[str, Any], reset: bool) -> dict[str, Any]:
    assert session.stack is not None
    params = session.stack.params
    before = {} if reset else session.recorded.meta.get("values", {})
    kept = {name: value for name, value in before.items() if name in params}
    for name in sorted(set(before) - set(kept)):
        session.notes.append(f"Parameter {name} is no longer one of the stack's; its recorded value is dropped.")
    return resolve(params, {**kept, **given}, session.stack.where)


def given_params(pairs: tuple[str, ...], file: str | None) -> dict[str, Any]:
    """Values of --params FILE and, over them, of -p name=value."""
    found: dict[str, Any] = {}
    if file is not None:
        import tomllib

        try:
            found.update(tomllib.loads(Path(file).read_text()))
        except OSError as error:
            raise UsageError(f"{file} cannot be read: {error.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UsageError(f"{file} is no TOML file: {error}") from None
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise UsageError(f"-p takes name=value, not {pair!r}")
        found[name] = value
    return found
