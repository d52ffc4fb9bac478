"""`netdsl up`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from netdsl.cli import options, render
from netdsl.cli.deployment import Deployment
from netdsl.cli.saved import Saved, is_saved
from netdsl.cli.session import Session, given_params, open_session
from netdsl.cli.undo import Before, roll_back
from netdsl.engine.outcome import Outcome
from netdsl.engine.select import Selection
from netdsl.errors import Interrupted, NetdslError, Problem, RollbackError, RolledBack, UsageError, VerifyError
from netdsl.state.confirm import require_none
from netdsl.state.lock import locked

if TYPE_CHECKING:
    from netdsl.cli.guardian import Guard
    from netdsl.cli.probes import Target
    from netdsl.lang.check import Check


@click.command("up")
@options.stack_argument
@options.program_options
@options.selection_options
@options.state_dir
@options.adopt
@options.as_json
@options.yes
@options.lock_timeout
@click.option("--rollback-on-failure", is_flag=True, help="Undo everything if anything fails.")
@click.option(
    "--confirm-within",
    callback=options.some_seconds,
    metavar="TIME",
    help="Undo everything unless `netdsl confirm` follows in this time, like 60s.",
)
@click.option(
    "--probe",
    "probes",
    multiple=True,
    metavar="TARGET",
    help="With --confirm-within: the run confirms itself as soon as all probes pass, which must have passed before it, "
    "and is undone if they do not in time. An address or host (ICMP echo), HOST:PORT (TCP), either after NETNS@, "
    "or the word `checks` for those of the stack's own that pass before. Can be given several times.",
)
@click.option("--details", is_flag=True, help="Print every change, however many.")
@click.option("--verify", "verified", is_flag=True, help="Try out the stack's checks afterwards.")
def command(
    stack: str | None,
    name: str | None,
    params: tuple[str, ...],
    params_file: str | None,
    reset_params: bool,
    target: tuple[str, ...],
    exclude: tuple[str, ...],
    replace: tuple[str, ...],
    state_dir: str | None,
    adopt: bool,
    as_json: bool,
    yes: bool,
    lock_timeout: float,
    rollback_on_failure: bool,
    confirm_within: float | None,
    probes: tuple[str, ...],
    details: bool,
    verified: bool,
) -> int:
    """Show the plan, ask, and make it so.

    STACK may also be a plan that `netdsl plan --out FILE.json` wrote; it is refused when anything moved since.
    """
    saved = Saved(stack) if stack is not None and is_saved(stack) else None
    selection = Selection(target, exclude, replace)
    if saved is None:
        session = open_session(
            stack,
            state_dir=state_dir,
            name=name,
            given=given_params(params, params_file),
            reset_params=reset_params,
            adopts=adopt,
            selection=selection,
        )
    elif name or params or params_file or reset_params or adopt or selection:
        raise UsageError("a saved plan has its parameters and options in it", fix="Give them to `netdsl plan --out`.")
    else:
        session = saved.open(state_dir)
    if probes and confirm_within is None:
        raise UsageError(
            "--probe is for --confirm-within", fix="Say how long the probes may take: --confirm-within 60s."
        )
    targets = _targets(probes)
    guard: Guard | None = None
    with locked(session.folder, session.name, "up", lock_timeout):
        require_none(session.folder, session.name)
        session.reload()
        run = Deployment(session, "up", yes=yes, as_json=as_json, details=details)
        preview = session.preview()
        if saved is not None:
            saved.check(session, preview)
        run.show(preview.plan, details=details)
        assert session.declared is not None
        outputs = session.declared.plain
        if preview.plan.pending:
            before = Before.now(session)
            preview = run.confirm(preview, session.preview)
            within = confirm_within if preview.plan.writes else None
            with guarded(run, before.number, within, targets, verified) as guard:
                try:
                    run.carry_out(preview, outputs)
                    if verified:
                        _verify(session, as_json)
                except Interrupted:
                    raise
                except NetdslError as error:
                    if not (rollback_on_failure and session.store.begun):
                        raise
                    raise roll_back(session, before, error, as_json=as_json) from error
        else:
            if as_json:
                run.report(preview.plan, Outcome(), outputs)
            meta = {**session.meta(), "outputs": outputs}
            if any(session.recorded.meta.get(key) != value for key, value in meta.items()):
                session.store.put_meta(meta)
            if verified:
                _verify(session, as_json)
    if guard is not None:
        _await(guard, session.name, as_json)
    return 0


@contextmanager
def guarded(
    run: Deployment, number: int, within: float | None, targets: Mapping[str, Target | None], verified: bool
) -> Iterator[Guard | None]:
    """Start a guardian that goes back to a run unless this one is confirmed in time; None: do without.

    With `verified`, what is done within has a part still when all is recorded.
    """
    if within is None:
        yield None
        return
    from netdsl.cli.guardian import Guard

    session = run.session
    guard = Guard(session.folder, session.name, number, within, _probes(session, targets))
    run.recorded = lambda clean: guard.say("applied whole" if clean and not verified else "applied")
    try:
        yield guard
        guard.say("applied whole")
    except RolledBack:
        guard.say("abandoned")
        raise
    except NetdslError as error:
        if session.store.begun:  # some of it was done at least
            guard.say("applied")
            error.problems += (Problem(f"what was done is {deadline(session.name, within)}"),)
        else:
            guard.say("abandoned")
        raise
    except BaseException:
        guard.say("applied")
        raise


def deadline(name: str, within: float) -> str:
    """What happens when nobody confirms."""
    return f"undone in {within:g} s unless you run: netdsl confirm {name}"


def _targets(probes: Sequence[str]) -> Mapping[str, Target | None]:
    if not probes:
        return {}
    from netdsl.cli.probes import wanted

    return wanted(probes)


def _probes(session: Session, targets: Mapping[str, Target | None]) -> Sequence[Check]:
    """What is to pass after the run; says which of the stack's checks are left out."""
    if not targets:
        return ()
    from netdsl.cli.probes import chosen

    passing, failing = chosen(session, targets)
    for result in failing:
        why = render.escaped(f"{result.check.title}: {result.detail}")
        click.echo(f"note: not asked for after the run, since it fails before: {why}", err=True)
    return passing


def _await(guard: Guard, name: str, as_json: bool) -> None:
    """Say how the run can be confirmed; with probes wait for what comes of them. Raises VerifyError if it is undone."""
    if not guard.probes:
        if not as_json:
            click.echo(deadline(name, guard.within))
        return
    verdict, reasons = guard.verdict()
    by = {"passed": "probes", "confirmed": "hand"}.get(verdict)
    if as_json and verdict:
        if by:
            render.print_event("confirmed", by=by)
        else:
            render.print_event(verdict, reasons=reasons)
    late = f"not all probes passed within {guard.within:g} s"
    history = f"`netdsl history {name}` shows it."
    if verdict == "undone":
        failing = [Problem(f"probe failed: {reason}") for reason in reasons]
        raise VerifyError([Problem(f"{late}: the run was undone", fix=history), *failing])
    if by is None:
        what = f"{late}, and the run could not be undone" if reasons else "the guardian of the run was killed"
        raise RollbackError([Problem(what, fix=history), *map(Problem, reasons)])
    if not as_json:
        click.echo("confirmed: all probes pass" if by == "probes" else "confirmed by hand")


def _verify(session: Session, as_json: bool) -> None:
    """Try out the checks, show what came of them, and raise VerifyError when one failed."""
    from netdsl.cli.verify import demand, results_json, table, verify

    results = verify(session)
    if as_json:
        render.print_event("checks", **results_json(session.name, results))
    else:
        click.echo("\n".join(table(results)))
    demand(results)
