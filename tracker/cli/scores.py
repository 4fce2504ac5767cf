"""`headbook scores`: print the scores of a run."""

from typing import Annotated

import typer

from analyses.results import Kind
from tracker import results
from tracker.cli.runs import RunId
from tracker.cli.session import open_sessions
from tracker.cli.terminal import AsJson, print_json, print_table
from tracker.database.db import transaction
from tracker.settings.settings import Settings
from tracker.store import runs as store


def scores(
    run: RunId,
    kind: Annotated[Kind | None, typer.Option(help="Only components of this kind.")] = None,
    metric: Annotated[str | None, typer.Option(help="Only this metric.")] = None,
    condition: Annotated[
        str | None, typer.Option(help="Only under this condition; '' for none.")
    ] = None,
    top: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Only the strongest scores of the analysis's headline metric, or of the first "
            "metric listed.",
        ),
    ] = None,
    as_csv: Annotated[
        bool,
        typer.Option(
            "--csv",
            help="Print CSV instead of a table; cells that could be formulas start with '.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the scores of a run, with 95 % intervals."""
    with open_sessions(Settings()) as sessions, transaction(sessions) as session:
        found = store.find_run(session, run)
        lines = results.scores(session, found.id, kind=kind, metric=metric, condition=condition)
    if top is not None:
        lines = results.strongest(lines, top)
    if as_json:
        print_json([results.as_row(line) for line in lines])
    elif as_csv:
        typer.echo(results.as_csv(lines), nl=False)
    else:
        print_scores(lines, empty=f"Run {found.id} has no such scores. It is {found.state}.")


def print_scores(lines: list[results.ScoreLine], *, empty: str) -> None:
    """Print scores with their intervals, and the reason for each missing interval."""
    print_table(
        ["component", "metric", "x", "mean", "ci low", "ci high", "sem", "n"],
        [
            (
                line.component.label,
                line.quantity,
                line.coordinate,
                _short(line.mean),
                _short(line.ci_low),
                _short(line.ci_high),
                _short(line.sem),
                line.n,
            )
            for line in lines
        ],
        empty=empty,
    )
    for sentence in results.without_interval(lines):
        typer.echo(sentence)


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
