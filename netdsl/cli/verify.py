"""`netdsl verify`, and what `up --verify` does after it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import click

from netdsl.cli import options, render
from netdsl.cli.session import Session, given_params, open_session
from netdsl.errors import Problem, VerifyError
from netdsl.lang.check import Result


@click.command("verify")
@options.stack_argument
@options.program_options
@options.state_dir
@options.as_json
def command(
    stack: str | None,
    name: str | None,
    params: tuple[str, ...],
    params_file: str | None,
    reset_params: bool,
    state_dir: str | None,
    as_json: bool,
) -> int:
    """Try out the checks that a stack declares. Nothing is changed."""
    session = open_session(
        stack,
        state_dir=state_dir,
        name=name,
        given=given_params(params, params_file),
        reset_params=reset_params,
    )
    session.declare()
    if not as_json:
        click.echo(click.style(session.name, bold=True))
        for note in session.notes:
            click.echo(render.note(note))
    results = verify(session)
    if as_json:
        render.print_json(results_json(session.name, results))
    else:
        click.echo("\n".join(table(results)))
    demand(results)
    return 0


def verify(session: Session) -> list[Result]:
    """Try out the checks of the declared stack, all at once."""
    assert session.declared is not None
    if not session.declared.checks:
        return []
    from netdsl.kernel import probe

    return probe.run(session.declared.checks)


def demand(results: Sequence[Result]) -> None:
    """Raise VerifyError with one problem for each check that failed."""
    failed = [result for result in results if not result.ok]
    if failed:
        raise VerifyError(
            Problem(f"check failed: {result.check.title}: {result.detail}", result.check.where, result.fix)
            for result in failed
        )


def table(results: Sequence[Result]) -> Iterator[str]:
    """One line for each check, and one that counts them."""
    if not results:
        yield "no checks are declared"
        return
    titles = [render.escaped(result.check.title) for result in results]
    width = max(map(len, titles))
    for title, result in zip(titles, results, strict=True):
        mark = click.style("ok    ", fg="green") if result.ok else click.style("failed", fg="red")
        yield f"  {mark}  {title:{width}}  {render.escaped(result.detail)}"
    yield f"{sum(result.ok for result in results)} of {len(results)} checks passed"


def results_json(stack: str, results: Sequence[Result]) -> dict[str, Any]:
    """The results as plain data."""
    passed = sum(result.ok for result in results)
    return {
        "version": render.JSON_VERSION,
        "stack": stack,
        "checks": [_as_data(result) for result in results],
        "summary": {"passed": passed, "failed": len(results) - passed},
    }


def _as_data(result: Result) -> dict[str, Any]:
    check = result.check
    return {
        "check": check.word,
        "title": check.title,
        "name": check.name,
        "component": check.component,
        "netns": check.netns,
        "to": check.to,
        "proto": check.proto,
        "port": check.port,
        "size": check.size,
        "within": check.within,
        "ok": result.ok,
        "reached": result.reached,
        "detail": result.detail,
        "ms": round(result.ms, 3),
        "where": render.here(check.where),
    }
