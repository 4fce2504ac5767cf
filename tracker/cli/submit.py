"""`headbook submit`: queue runs, and wait for them with `--wait`."""

import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from analyses.errors import shown
from analyses.prompts.spec import DistributionSpec
from tracker.cli.options import Fields, options
from tracker.cli.queueing import foresee, queue
from tracker.cli.terminal import AsJson, print_json
from tracker.cli.waiting import exit_unless_succeeded
from tracker.domain import Grid, InvalidRequest, RunRequest, grid, study_file
from tracker.domain.options import of_recipe
from tracker.domain.request import study_yaml
from tracker.errors import TrackerError


class NotAParam(TrackerError):
    def __init__(self, given: str) -> None:
        super().__init__(f"Invalid parameter {shown(given)}. Write it as NAME=VALUE.")


class TooDeep(TrackerError):
    def __init__(self, written: str) -> None:
        super().__init__(
            f"The value {shown(written)} has lists or objects that are nested too deeply. "
            f"`headbook analyses show NAME` shows what each parameter accepts."
        )


class IncompleteRequest(TrackerError):
    def __init__(self, missing: Sequence[str]) -> None:
        super().__init__(
            f"Missing: {', '.join(missing)}. Name an analysis, a --model and a --distribution, or "
            "a study file with --file."
        )


class FileWithOptions(TrackerError):
    def __init__(self, fields: Sequence[str]) -> None:
        super().__init__(
            "--file cannot be combined with other options of a run: a study file describes its "
            f"runs completely. Leave out --file, or: {', '.join(fields)}."
        )


class Printed(StrEnum):
    COMMAND = "command"
    PYTHON = "python"
    YAML = "yaml"


RECIPE = Fields(
    model=DistributionSpec,
    names=list(DistributionSpec.model_fields),
    several=list(DistributionSpec.model_fields),
    spelled=of_recipe,
    usual={"split": "as the analysis needs"},
)
TERMS = Fields(model=RunRequest, names=("seed", "priority", "study", "force"), several=grid.VARIED)


def _help(field: str) -> str | None:
    return RunRequest.model_fields[field].description


@options(recipe=RECIPE, terms=TERMS)
def submit(
    analysis: Annotated[str | None, typer.Argument(help=_help("analysis"))] = None,
    model: Annotated[list[str] | None, typer.Option(metavar="<str>", help=_help("model"))] = None,
    distribution: Annotated[
        list[str] | None,
        typer.Option(
            metavar="<str>",
            help="Data, template and labels together: facts/mmlu/ABCD. Of completions: ioi/abc.",
        ),
    ] = None,
    *,
    recipe: dict[str, Any],
    param: Annotated[
        list[str] | None,
        typer.Option("--param", "-p", metavar="NAME=VALUE", help="A parameter of the analysis."),
    ] = None,
    terms: dict[str, Any],
    file: Annotated[
        Path | None, typer.Option("--file", help="Queue the requests of this study file (YAML).")
    ] = None,
    printed: Annotated[
        Printed | None,
        typer.Option("--print", help="Only print the requests: as commands, Python or YAML."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be queued.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the runs have ended.")] = False,
    as_json: AsJson = False,
) -> None:
    """Queue a run, or a grid of runs: repeat an option to try each of its values.

    `--model a --model b -p rank=1 -p rank=2` queues four runs, all or none. Options that describe
    the run and take a value can be repeated, and so can -p with the same name. The
    exceptions are --choices-column and --group-column: each one adds a column.

    Unless --split is given, an analysis that learns from split 'train' runs on split 'test'; other
    analyses run on both.

    The same run is never queued twice: its fingerprint finds the existing one. Runs that a run
    needs are queued before it. With --wait the exit code is 1 if a run did not succeed.

    A study file lists requests and grids in YAML; `--print yaml` writes one.
    """
    if distribution:
        recipe["name"] = distribution
    fields = {
        "analysis": analysis,
        "model": model,
        "recipe": recipe,
        "parameters": _parameters(param or []),
    }
    given = {field: value for field, value in fields.items() if value} | terms
    requests = _of_file(file, given) if file else _of_options(given)
    if printed:
        typer.echo(_written(requests, printed))
    elif dry_run:
        _print_json(foresee(requests, quiet=as_json), as_json=as_json)
    else:
        queued = queue(requests, wait=wait, quiet=as_json)
        _print_json(queued, as_json=as_json)
        if wait:
            exit_unless_succeeded([each.run for each in queued])


def _of_options(given: Mapping[str, Any]) -> tuple[RunRequest, ...]:
    required = {"an analysis": "analysis" in given, "--model": "model" in given}
    required["--distribution"] = bool({"name", "data"} & given.get("recipe", {}).keys())
    if not all(required.values()):
        raise IncompleteRequest([what for what, is_given in required.items() if not is_given])
    return Grid(**given).expand()


def _of_file(path: Path, given: Mapping[str, Any]) -> tuple[RunRequest, ...]:
    """The requests of a study file. Raises `InvalidRequest`, which names the file."""
    if given:
        raise FileWithOptions(list(given))
    try:
        with path.open("rb") as file:
            return study_file.read(file.read(study_file.MOST_BYTES + 1))
    except OSError as error:
        raise InvalidRequest(f"{path}: {error.strerror}.") from error
    except InvalidRequest as error:
        raise InvalidRequest(f"{path}: {error}") from error


def _parameters(given: Sequence[str]) -> dict[str, list[Any]]:
    """The values of each parameter. Raises `NotAParam` and `TooDeep`."""
    values: dict[str, list[Any]] = {}
    for argument in given:
        name, equals, text = argument.partition("=")
        if not equals or not name:
            raise NotAParam(argument)
        values.setdefault(name, []).append(_value(text))
    return values


def _value(text: str) -> Any:
    """The value of a JSON text, or the text itself if it is not JSON. Raises `TooDeep`."""
    try:
        return json.loads(text)
    except RecursionError:
        raise TooDeep(text) from None
    except ValueError:
        return text


def _written(requests: Sequence[RunRequest], form: Printed) -> str:
    match form:
        case Printed.COMMAND:
            return "\n".join(each.as_command() for each in requests)
        case Printed.YAML:
            return study_yaml(requests).rstrip()
    code = [each.as_python() for each in requests]
    return code[0] if len(code) == 1 else f"[{', '.join(code)}]"


def _print_json(runs: Sequence[object], *, as_json: bool) -> None:
    """Print a list of runs, or a single run as an object."""
    if as_json:
        print_json(runs if len(runs) > 1 else runs[0])
