"""`headbook runs`: list, show and cancel runs."""

from collections.abc import Sequence
from typing import Annotated

import typer

from analyses.prompts.spec import in_short
from tracker import results
from tracker.cli.patience import while_busy
from tracker.cli.session import open_sessions
from tracker.cli.terminal import AsJson, console, print_json, print_table
from tracker.database.db import Sessions, transaction
from tracker.domain import Run, RunState
from tracker.results import RunLine
from tracker.results.run_names import name_of
from tracker.settings.settings import Settings
from tracker.store import runs as store

app = typer.Typer(help="Runs.", no_args_is_help=True)

MOST_LINKS = 8  # linked runs that are listed by name

RunId = Annotated[str, typer.Argument(metavar="RUN", help="Id of the run, or a prefix of it.")]


@app.command("list")
def list_runs(
    state: Annotated[
        list[RunState] | None, typer.Option(help="Only runs in this state; may be repeated.")
    ] = None,
    analysis: Annotated[str | None, typer.Option(help="Only runs of this analysis.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Maximum number of runs.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List the newest runs."""
    with open_sessions(Settings()) as sessions, transaction(sessions) as session:
        runs = results.runs(session, states=state or [], analysis=analysis, limit=limit)
    if as_json:
        print_json(runs)
        return
    print_table(
        ["run", "analysis", "model", "prompts", "params", "state", "measured", "seconds", "why"],
        [_row(line) for line in runs],
        empty="No runs match these filters."
        if state or analysis
        else "No runs yet. Queue one: "
        "headbook submit attribution --model MODEL --distribution facts",
    )


def _row(line: RunLine) -> tuple[object, ...]:
    name = name_of(line)
    return (
        str(line.id)[:8],
        name.analysis,
        name.model,
        name.prompts,
        name.params,
        line.state,
        f"{line.done}/{line.n_prompts}",
        "" if line.seconds is None else f"{line.seconds:.1f}",
        line.reason,
    )


@app.command()
def show(run: RunId, as_json: AsJson = False) -> None:
    """Show a run: its request, its progress, and the environment it was measured in."""
    with open_sessions(Settings()) as sessions, transaction(sessions) as session:
        detail = results.run_detail(session, store.find_run(session, run).id)
    if as_json:
        print_json(detail)
        return
    line = detail.line
    facts = {
        "run": line.id,
        "name": name_of(line),
        "state": line.state + (f": {line.reason}" if line.reason else ""),
        "analysis": f"{line.analysis} version {line.analysis_version}",
        "params": ", ".join(f"{key}={value}" for key, value in line.params.items()),
        "model": f"{line.model} at {line.model_revision[:12]}, {line.dtype}",
        "distribution": f"{in_short(line.recipe, line.distribution_hash)}, "
        f"hash {line.distribution_hash[:12]}",
        "prompts": f"{line.done} of {line.n_prompts} measured, attempt {line.attempt}",
        "seed": line.seed,
        "fingerprint": detail.fingerprint,
        "studies": ", ".join(detail.studies.values()),
        "needs": _linked(detail.inputs),
        "needed by": _linked(detail.dependants),
        "mlflow": line.mlflow_run_id,
        **({"not in mlflow": detail.not_published} if detail.not_published else {}),
        **{f"measured with {key}": value for key, value in detail.provenance.items()},
        "note: conventions": dict(detail.notes.conventions),
        "note: warnings": list(detail.notes.warnings),
        "note: headline": detail.notes.headline,
    }
    print_table(["", ""], facts.items(), empty="")
    console.print()
    print_table(
        ["at", "part", "event", "worker", "why"],
        [(f"{e.at:%Y-%m-%d %H:%M:%S}", e.part, e.event, e.worker, e.reason) for e in detail.events],
        empty="",
    )


def _linked(runs: Sequence[results.LinkedRun]) -> str:
    linked = [f"{run.name}: {str(run.id)[:8]} ({run.analysis}), {run.state}" for run in runs]
    more = [f"{len(linked) - MOST_LINKS} more"] if len(linked) > MOST_LINKS else []
    return "; ".join(linked[:MOST_LINKS] + more)


@app.command()
def cancel(run: RunId) -> None:
    """Cancel a run, and with it the runs that need it.

    A part in progress stops after its current batch.
    """
    with open_sessions(Settings()) as sessions:
        found = while_busy(lambda: _cancelled(sessions, run))
    typer.echo(f"{found.id}: {found.state}" + ("" if found.finished_at else ", asked to stop"))


def _cancelled(sessions: Sessions, run: str) -> Run:
    with transaction(sessions) as session:
        return store.cancel(session, store.find_run(session, run).id)
