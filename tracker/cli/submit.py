"""`headbook submit`: queue a run, and wait for it if asked."""

import json
import time
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tracker import reports, submission
from tracker.cli import recipe
from tracker.cli.recipe import DEFAULT
from tracker.cli.session import open_sessions
from tracker.cli.terminal import AsJson, console, print_json
from tracker.db import Sessions, transaction
from tracker.domain import Priority, RunState
from tracker.errors import TrackerError
from tracker.home import Home
from tracker.settings import Settings, user

_LOOK_EVERY = 0.3  # seconds


class NotAParam(TrackerError):
    def __init__(self, given: str) -> None:
        super().__init__(f"The parameter {given!r} is not of the form NAME=VALUE.")


def submit(
    analysis: Annotated[str, typer.Argument(help="Name of the analysis.")],
    model: Annotated[str, typer.Option(help="Name of a model that was added.")],
    distribution: Annotated[str, typer.Option(help="E.g. facts/chinchilla/ABCD, or facts.")],
    prompts: recipe.Size = DEFAULT.size,
    prompt_seed: recipe.Seed = DEFAULT.seed,
    options: recipe.Options = DEFAULT.options,
    shots: recipe.Shots = DEFAULT.shots,
    separators: recipe.Separators = DEFAULT.separators,
    prelude: recipe.Prelude = DEFAULT.prelude,
    split: recipe.Split = DEFAULT.split,
    question_column: recipe.QuestionColumn = DEFAULT.question_column,
    choices_column: recipe.ChoicesColumns = None,
    answer_column: recipe.AnswerColumn = DEFAULT.answer_column,
    subject_column: recipe.SubjectColumn = DEFAULT.subject_column,
    param: Annotated[
        list[str] | None,
        typer.Option("--param", "-p", metavar="NAME=VALUE", help="A parameter; may be repeated."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
    priority: Annotated[Priority, typer.Option(help="How soon.")] = Priority.NORMAL,
    study: Annotated[str | None, typer.Option(help="Name of a group to put the run in.")] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Run again although the same run exists.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the run has ended.")] = False,
    as_json: AsJson = False,
) -> None:
    """Queue a run. The same run is never queued twice: its fingerprint finds the first one.

    With --wait the exit code is not 0 when the run did not succeed.
    """
    queued = queue(
        submission.Request(
            analysis=analysis,
            model=model,
            distribution=recipe.spec(
                distribution,
                size=prompts,
                seed=prompt_seed,
                options=options,
                shots=shots,
                separators=separators,
                prelude=prelude,
                split=split,
                question_column=question_column,
                choices_columns=choices_column,
                answer_column=answer_column,
                subject_column=subject_column,
            ),
            params=dict(_param(each) for each in param or []),
            seed=seed,
            priority=priority,
            created_by=user(),
            study=study,
            force=force,
        ),
        wait=wait,
        quiet=as_json,
    )
    if as_json:
        print_json(queued)
    if wait:
        exit_unless_succeeded(queued.run)


@dataclass(frozen=True, kw_only=True)
class Queued:
    """The run that stands for a request, as it was last seen."""

    new: bool
    run: reports.RunLine


def queue(request: submission.Request, *, wait: bool, quiet: bool = False) -> Queued:
    """Queue a run, say so unless `quiet`, and wait for its end if asked."""
    settings = Settings()
    with open_sessions(settings) as sessions:
        submitted = submission.submit(
            request,
            sessions=sessions,
            home=Home(settings.home),
            roots=settings.model_roots,
        )
        run = submitted.run
        if not quiet:
            said = "queued" if submitted.new else f"is there already, {run.state}"
            typer.echo(f"{run.id}: {said}")
        line = _wait(run.id, sessions, quiet=quiet) if wait else _line(run.id, sessions)
    return Queued(new=submitted.new, run=line)


def exit_unless_succeeded(run: reports.RunLine) -> None:
    """Exit code 1, with the reason, for a run that has ended in another way."""
    if run.state is not RunState.SUCCEEDED:
        typer.echo(f"Error: the run is {run.state}: {run.reason}", err=True)
        raise typer.Exit(1)


def _param(given: str) -> tuple[str, Any]:
    name, equals, value = given.partition("=")
    if not equals or not name:
        raise NotAParam(given)
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _line(run_id: UUID, sessions: Sessions) -> reports.RunLine:
    with transaction(sessions) as session:
        return reports.runs(session, ids=[run_id])[0]


def _wait(run_id: UUID, sessions: Sessions, *, quiet: bool) -> reports.RunLine:
    """Show a bar until the run has ended."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, TimeElapsedColumn(), console=console, disable=quiet) as progress:
        line = _line(run_id, sessions)
        shown = progress.add_task("", total=line.n_prompts)
        while True:
            what = line.reason if line.reason and not line.ended else line.state.value
            progress.update(shown, completed=line.done, description=what)
            if line.ended:
                return line
            time.sleep(_LOOK_EVERY)
            line = _line(run_id, sessions)
