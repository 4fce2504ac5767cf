"""The app's data access: the only module that reads settings, opens sessions, calls the tracker.

Every function returns values. Errors that a user can fix are raised as `TrackerError` or
`Refused`; the page shows their message.
"""

import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlencode, urlsplit, urlunsplit
from uuid import UUID

import streamlit as st

from analyses import registry
from analyses.errors import Refused
from analyses.prompts import data_names, distributions, spec
from analyses.prompts.distributions import CompletionDistribution, Recipe
from analyses.prompts.pairing import pairs
from analyses.prompts.prompt import Prompt
from analyses.prompts.sources import Pair, SourceKind
from analyses.prompts.spec import PARTS, DistributionSpec
from analyses.registry import Analysis
from app import links
from app.form_fields import FormField, fields_of
from tracker import reports, results
from tracker.access.policy import TOKEN
from tracker.database import db
from tracker.database.db import Sessions, transaction
from tracker.domain import Model, RunRequest, RunState
from tracker.home.home import Home, StackState
from tracker.queueing import submission
from tracker.queueing.submission import Submitted
from tracker.results.run_names import RunName, name_of
from tracker.settings.settings import NoTrackingServer, Settings, user
from tracker.store import models as model_store
from tracker.store import runs as run_store
from tracker.supervisor import services

NEWEST = 500  # maximum number of runs in the list
TAIL = 500  # maximum number of log lines on a page
MOST_SHOWN = 5  # prompts


class NotOffered(Refused):
    def __init__(self, distribution: str) -> None:
        super().__init__(
            f"Distribution {distribution!r} is not available in the app. Choose one from the list, "
            f"or queue the run from the command line, which can read your files. The app reads "
            f"those in the folders of HEADBOOK_DATA_ROOTS only."
        )


@st.cache_resource(show_spinner=False, on_release=db.close)
def _connected(database_url: str) -> Sessions:
    return db.connect(database_url, pool_size=5)


def _sessions() -> Sessions:
    return _connected(Settings().database())


def is_transient(error: Exception) -> bool:
    """Whether the same call to the database may succeed a little later."""
    return db.passes(error)


def analyses() -> list[Analysis]:
    """Every usable registered analysis, sorted by name."""
    return registry.all_analyses()


def unused_plugins() -> list[str]:
    """One sentence per unused plugin: its name and the reason."""
    return [str(plugin) for plugin in registry.broken()]


def param_fields(analysis: Analysis, chosen: DistributionSpec) -> list[FormField]:
    """The form fields of the analysis's own parameters, with their defaults on the chosen data."""

    def fields() -> list[FormField]:
        usual = analysis.params.usual(chosen)
        return [
            replace(field, default=usual[field.name]) if field.name in usual else field
            for field in fields_of(analysis.params)
        ]

    return analysis.ask(fields)


@st.cache_data(show_spinner=False)
def recipes() -> list[Recipe]:
    """Every shipped prompt distribution."""
    return distributions.recipes()


def request_fields() -> dict[str, FormField]:
    """The form fields that every run has, by name."""
    return {field.name: field for field in fields_of(RunRequest)}


def recipe_fields(analysis: Analysis, chosen: DistributionSpec) -> dict[str, FormField]:
    """The form fields that apply to the chosen data except those that it was chosen by, by name.

    The default split is the one that the analysis needs.
    """
    fields = {field.name: field for field in fields_of(DistributionSpec)}
    fields["split"] = replace(fields["split"], default=analysis.params.usual_split)
    by = (*PARTS, "counterfactual") if chosen.is_shipped else ("data", "layout")
    applying = spec.fields_of(chosen.kind, shipped=chosen.is_shipped)
    return {name: fields[name] for name in applying if name not in by}


def layouts() -> FormField:
    """The form field of what the rows of a user's own data are."""
    return next(field for field in fields_of(DistributionSpec) if field.name == "layout")


def data_roots() -> Sequence[Path]:
    """The folders from which a page may read data; none by default."""
    return Settings().data_roots


def shown(recipe: DistributionSpec) -> list[Pair | Prompt]:
    """The first prompts of a recipe, each with its counterfactual if it has one.

    Raises `NotOffered` as `submit` does.
    """
    _check_offered(recipe)
    built = distributions.build(recipe, roots=data_roots())
    if isinstance(built, CompletionDistribution) and None not in built.counterfactuals:
        return list(pairs(built, SourceKind.PAIRED)[:MOST_SHOWN])
    return list(built.prompts[:MOST_SHOWN])


def models() -> list[Model]:
    """The models that runs can use: the newest of each name."""
    with transaction(_sessions()) as session:
        newest = {model.name: model for model in reversed(model_store.all_models(session))}
    return [newest[name] for name in sorted(newest)]


def workers() -> list[reports.WorkerLine]:
    """The workers with a recent heartbeat."""
    with transaction(_sessions()) as session:
        return [worker for worker in reports.workers(session) if worker.fresh]


def counts() -> Mapping[RunState, int]:
    """The number of runs in each state."""
    with transaction(_sessions()) as session:
        return reports.counts_by_state(session)


def runs(states: Sequence[RunState], analysis: str | None) -> list[results.RunLine]:
    """The newest runs first; empty `states` means every state."""
    with transaction(_sessions()) as session:
        return results.runs(session, states=states, analysis=analysis, limit=NEWEST)


def run(run_id: str) -> results.RunDetail:
    """The run with this id; raises `UnknownRun` if there is none or `run_id` is not a UUID."""
    try:
        parsed = UUID(run_id)
    except ValueError:
        raise run_store.UnknownRun(run_id) from None
    with transaction(_sessions()) as session:
        return results.run_detail(session, parsed)


def name(line: results.RunLine) -> RunName:
    """The display name of a run."""
    return name_of(line)


def log_tail(run_id: UUID) -> results.RunLog:
    """The last lines of a run's log: its events and log records."""
    with transaction(_sessions()) as session:
        return results.run_log(session, run_id, last=TAIL)


def scores(run_id: UUID) -> list[results.ScoreLine]:
    """All scores of a run; empty unless it has succeeded."""
    with transaction(_sessions()) as session:
        return results.scores(session, run_id)


def cancel(run_ids: Sequence[UUID]) -> None:
    """Cancel all of the runs or none; runs that have ended are unchanged."""
    with transaction(_sessions()) as session:
        run_store.cancel_all(session, run_ids)


def submit(request: RunRequest, *, nonce: str) -> Submitted:
    """Queue a run, or return the existing run of the same request.

    Raises `NotOffered` unless the distribution is shipped or comes from the data roots: a page must
    not read other files that its visitor names.
    """
    _check_offered(request.recipe)
    settings = Settings()
    return submission.submit(
        request,
        created_by=user(),
        sessions=_sessions(),
        home=Home(settings.home),
        roots=settings.model_roots,
        data_roots=settings.data_roots,
        nonce=nonce,
    )


def _check_offered(recipe: DistributionSpec) -> None:
    """Raises `NotOffered`. Whether a file is in the data roots is checked when it is read."""
    own = bool(data_roots()) and recipe.data.startswith((data_names.FILE, data_names.FOLDER))
    if not own and recipe.name not in {each.name for each in recipes()}:
        raise NotOffered(recipe.name)


def mlflow_address() -> str | None:
    """MLflow's URL without credentials; None unless the tracking URI is http or https."""
    try:
        parts = urlsplit(Settings().tracking())
    except NoTrackingServer:
        return None
    if parts.scheme not in ("http", "https"):
        return None
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))


def mlflow_pages() -> str | None:
    """The base URL of links to MLflow's pages; None unless the tracking URI is http or https."""
    return links.MLFLOW if _embedded() else mlflow_address()


def mlflow_redirect_url(*, signed_in: bool) -> str:
    """The URL that opens MLflow; a user signed in to this app is signed in there as well."""
    stack = _embedded()
    policy = stack and services.mlflow_access(stack.mlflow_tracking_uri, stack.mlflow_token)
    query = f"?{urlencode({TOKEN: policy.new_link()})}" if policy and signed_in else ""
    return f"{mlflow_address() or ''}/{query}"


def _embedded() -> StackState | None:
    """The stack that runs this MLflow; None if the tracking URI points to another server."""
    settings = Settings()
    stack = settings.stack
    if stack is None or stack.mlflow_token is None:
        return None
    return stack if settings.tracking() == stack.mlflow_tracking_uri else None


@st.cache_data(ttl=10, show_spinner=False)
def responds(url: str) -> bool:
    """Whether a web server responds at `url`, with any status."""
    try:
        with urllib.request.urlopen(url, timeout=1):
            return True
    except urllib.error.HTTPError as response:
        response.close()
        return True
    except (OSError, ValueError):
        return False
