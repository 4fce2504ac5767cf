"""`headbook submit`: queue runs, and wait for them if asked."""

import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from analyses.errors import Refused, shown
from analyses.prompts.distributions import DistributionSpec
from tracker.cli import recipe
from tracker.cli.grid import Cell, cells
from tracker.cli.queueing import foresee, queue
from tracker.cli.recipe import DEFAULT
from tracker.cli.terminal import AsJson, print_json
from tracker.cli.waiting import exit_unless_succeeded
from tracker.domain import Priority
from tracker.errors import TrackerError
from tracker.queueing.planned_runs import usual_split
from tracker.queueing.submission import InvalidRequest, Request
from tracker.settings.settings import user

PARAM = "-p "  # before the name of a parameter, among options
SPEC = {  # options of the recipe that may have several values, and its fields
    "--prompts": "size",
    "--prompt-seed": "seed",
    "--options": "options",
    "--shots": "shots",
    "--separators": "separators",
    "--split": "split",
}


class NotAParam(TrackerError):
    def __init__(self, given: str) -> None:
        super().__init__(f"The parameter {shown(given)} is not of the form NAME=VALUE.")


class TooDeep(TrackerError):
    def __init__(self, written: str) -> None:
        super().__init__(
            f"The value {shown(written)} has lists or objects too deep inside each other. No "
            f"parameter is written so: `headbook analyses show NAME` says how each is."
        )


def submit(
    analysis: Annotated[str, typer.Argument(help="Name of the analysis.")],
    model: Annotated[
        list[str], typer.Option(metavar="<str>", help="Name of a model that was added.")
    ],
    distribution: Annotated[
        list[str], typer.Option(metavar="<str>", help="E.g. facts/chinchilla/ABCD, or facts.")
    ],
    prompts: recipe.Sizes = None,
    prompt_seed: recipe.Seeds = None,
    options: recipe.OptionCounts = None,
    shots: recipe.ShotCounts = None,
    separators: recipe.SeveralSeparators = None,
    prelude: recipe.Prelude = DEFAULT.prelude,
    split: recipe.Splits = None,
    question_column: recipe.QuestionColumn = DEFAULT.question_column,
    choices_column: recipe.ChoicesColumns = None,
    answer_column: recipe.AnswerColumn = DEFAULT.answer_column,
    answer_reading: recipe.AnswerReading = DEFAULT.answer_reading,
    subject_column: recipe.SubjectColumn = DEFAULT.subject_column,
    option_references: recipe.OptionReferences = DEFAULT.option_references,
    param: Annotated[
        list[str] | None,
        typer.Option("--param", "-p", metavar="NAME=VALUE", help="A parameter of the analysis."),
    ] = None,
    seed: Annotated[
        list[int] | None,
        typer.Option(metavar="<int>", help="Seed of the bootstrap.", show_default="0"),
    ] = None,
    priority: Annotated[Priority, typer.Option(help="How soon.")] = Priority.NORMAL,
    study: Annotated[str | None, typer.Option(help="Name of a group to put the runs in.")] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Run again although the same run exists.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be queued.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the runs have ended.")] = False,
    as_json: AsJson = False,
) -> None:
    """Queue a run, or a grid of them: an option that is given again is tried with each value.

    `--model a --model b -p rank=1 -p rank=2` are four runs, queued all or none. Every option may be
    given again that says what is run: --model, --distribution, --prompts, --prompt-seed, --options,
    --shots, --separators, --split, --seed, and -p with the same name.

    Prompts are of split 'test' for an analysis that learns from split 'train', and of both for
    others, unless --split is given.

    The same run is never queued twice: its fingerprint finds the first one. Runs that a run needs
    are queued before it. With --wait the exit code is not 0 when a run did not succeed.
    """
    given: dict[str, Sequence[Any] | None] = {
        "--model": model,
        "--distribution": distribution,
        "--prompts": prompts,
        "--prompt-seed": prompt_seed,
        "--options": options,
        "--shots": shots,
        "--separators": separators,
        "--split": split or [_usual_split(analysis, quiet=as_json)],
        "--seed": seed,
    }
    columns = {
        "prelude": prelude,
        "question_column": question_column,
        "choices_columns": choices_column,
        "answer_column": answer_column,
        "answer_reading": answer_reading,
        "subject_column": subject_column,
        "option_references": option_references,
    }
    requests = [
        Request(
            analysis=analysis,
            model=cell.chosen["--model"],
            distribution=_spec(cell, **columns),
            params=_params(cell),
            seed=cell.chosen.get("--seed", 0),
            priority=priority,
            created_by=user(),
            study=study,
            force=force,
            cell=cell.name,
        )
        for cell in cells({**given, **_by_name(param or [])})
    ]
    if dry_run:
        _print_json(foresee(requests, quiet=as_json), as_json=as_json)
        return
    queued = queue(requests, wait=wait, quiet=as_json)
    _print_json(queued, as_json=as_json)
    if wait:
        exit_unless_succeeded([each.run for each in queued])


def _usual_split(analysis: str, *, quiet: bool) -> str:
    """What the analysis needs, said aloud where it is not what most need."""
    usual = usual_split(analysis)
    if usual != DEFAULT.split and not quiet:
        typer.echo(f"The prompts are of split {usual!r}, as {analysis} needs them.")
    return usual


def _by_name(given: Sequence[str]) -> dict[str, list[str]]:
    """The values of each parameter, as they were written; raises `NotAParam`."""
    found: dict[str, list[str]] = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals or not name:
            raise NotAParam(each)
        found.setdefault(PARAM + name, []).append(value)
    return found


def _params(cell: Cell) -> dict[str, Any]:
    return {
        option.removeprefix(PARAM): _value(written)
        for option, written in cell.chosen.items()
        if option.startswith(PARAM)
    }


def _value(written: str) -> Any:
    """JSON, or the text itself where it is none; raises `TooDeep`."""
    try:
        return json.loads(written)
    except RecursionError:
        raise TooDeep(written) from None
    except ValueError:
        return written


def _spec(cell: Cell, **columns: Any) -> DistributionSpec:
    """The recipe of a cell; raises `InvalidRequest`, which names it."""
    chosen = {field: cell.chosen[option] for option, field in SPEC.items() if option in cell.chosen}
    try:
        return recipe.spec(cell.chosen["--distribution"], **chosen, **columns)
    except Refused as error:
        raise InvalidRequest(f"{cell.name}: {error}" if cell.name else str(error)) from error


def _print_json(found: Sequence[object], *, as_json: bool) -> None:
    """A list for a grid; the run alone where there is one."""
    if as_json:
        print_json(found if len(found) > 1 else found[0])
