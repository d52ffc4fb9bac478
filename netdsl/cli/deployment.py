"""What `up` and `destroy` have in common: show, ask, look again, apply, record, report."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import click

from netdsl.cli import render
from netdsl.cli.interrupt import gently
from netdsl.cli.progress import progress
from netdsl.cli.session import Session
from netdsl.engine import deploy
from netdsl.engine.change import Action, Plan
from netdsl.engine.outcome import Outcome
from netdsl.errors import ApplyError, Interrupted, ReadBackError, UsageError, joined

MANY = 200
"""Changes above which `up` prints the counts and leaves the list to "details"."""


class Deployment:
    """One run of a command that changes the kernel."""

    def __init__(self, session: Session, verb: str, *, yes: bool, as_json: bool, details: bool) -> None:
        self.session = session
        self.verb = verb
        self.yes = yes
        self.as_json = as_json
        self.details = details
        self.stopped = False
        self.recorded: Callable[[bool], None] = lambda clean: None
        """Called when it is recorded what was done, and told whether that is all; before anything is printed, since a
        terminal may have stopped reading."""

    def params(self) -> dict[str, Any]:
        """The parameters in force."""
        return dict(self.session.declared.params) if self.session.declared is not None else {}

    def show(self, plan: Plan, *, details: bool = False) -> None:
        """Print the plan."""
        if self.as_json:
            render.print_event("plan", **render.plan_json(plan, self.params()))
            return
        values = render.params_line(self.params())
        click.echo(click.style(self.session.name, bold=True) + (f"  {values}" if values else ""))
        for note in plan.notes:
            click.echo(render.note(note))
        if details or len(plan.pending) <= MANY:
            click.echo("\n".join(render.plan_lines(plan)))
        click.echo(render.summary(plan))

    def confirm(self, preview: deploy.Preview, again: Callable[[], deploy.Preview]) -> deploy.Preview:
        """Ask; after a yes look at the kernel again, and ask again if it moved."""
        if self.yes:
            return preview
        if self.as_json or not sys.stdin.isatty():
            raise UsageError(f"{self.verb} needs a confirmation", fix="Run it on a terminal, or give --yes.")
        while True:
            choice = click.Choice(["yes", "no", "details"])
            answer = click.prompt(f"{self.verb}?", type=choice, default="no", show_default=False)
            if answer == "details":
                self.show(preview.plan, details=True)
                continue
            if answer == "no":
                raise UsageError("not confirmed; nothing was touched")
            now = again()
            if not now.plan.pending or now.plan.fingerprint() == preview.plan.fingerprint():
                return now
            click.echo(click.style("The kernel has changed meanwhile; the plan is now:", fg="yellow"))
            preview = now
            self.show(preview.plan)

    def carry_out(self, preview: deploy.Preview, outputs: dict[str, Any]) -> None:
        """Record intents, apply, read back, record results, report."""
        session, plan = self.session, preview.plan
        changes = plan.pending
        meta = session.meta()
        if plan.writes:
            session.machine.require_rights(netns=any(c.item.key[0] == "netns" and c.writes for c in changes))
        session.store.begin(self.verb, meta)
        with gently() as stopped, progress(self.verb, len(changes)) as advance:
            # An error in here leaves the intents as they are: the next run looks what came of them.
            outcome, read_back = deploy.apply(
                session.machine, preview, intend=session.store.intend, progress=advance, stopped=stopped
            )
            self.stopped = stopped()
        problems, clean = [], False
        session.machine.sweep(c.item.name for c in changes if c.item.key[0] == "netns" and c.action is Action.FORGET)
        try:
            problems = read_back.problems(outcome)
            clean = outcome.clean and not problems
        finally:
            session.store.finish(
                changes,
                outcome.records(),
                {**meta, "outputs": outputs},
                status=outcome.status if not problems else "partly",
                summary=outcome.counts(plan),
            )
            self.recorded(clean)
        self.report(plan, outcome, outputs, clean=clean)
        if outcome.undone:
            raise Interrupted(
                f"interrupted: {len(outcome.undone)} changes were not made; what was done is recorded",
                fix=f"Run `netdsl {self.verb}` again to go on.",
            )
        if not outcome.clean:
            raise ApplyError(outcome.problems())
        if problems:
            raise ReadBackError(problems)

    def tidy(self) -> None:
        """A state without resources is none."""
        if not self.session.store.load().items:
            self.session.store.remove()

    def report(self, plan: Plan, outcome: Outcome, outputs: dict[str, Any], *, clean: bool = True) -> None:
        """Say what was done."""
        counts = outcome.counts(plan)
        if self.as_json:
            status = "done" if clean else "interrupted" if outcome.undone else "partly"
            failed = [{"urn": c.item.urn, "error": why} for c, why, _ in outcome.failed.values()]
            skipped = [{"urn": c.item.urn, "needs": title} for c, title in outcome.skipped.values()]
            named = {"failed": failed, "skipped": skipped, "held": outcome.held}
            render.print_event("result", status=status, summary=counts, **named, outputs=outputs)
            return
        words = {"create": "created", "update": "updated", "replace": "replaced", "delete": "deleted"}
        done = [f"{counts[action]} {word}" for action, word in words.items() if counts[action]]
        if outcome.held:
            names = joined(outcome.held[:5])
            more = f" and {len(outcome.held) - 5} more" if len(outcome.held) > 5 else ""
            click.echo(render.note(f"released, but not let go of by the kernel yet: netns {names}{more}"))
        nothing = "nothing to do in the kernel" if clean else "nothing"
        click.echo(f"done: {', '.join(done) or nothing}")
        for line in render.output_lines(outputs):
            click.echo(f"  {line}")
