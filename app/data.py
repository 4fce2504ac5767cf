"""The app's data access: the only module that reads settings, opens sessions and asks the tracker.

Everything here returns values. What a person can put right is raised as a `TrackerError` or
`Refused`, whose message is the sentence to show.
"""

import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import replace
from urllib.parse import urlencode, urlsplit, urlunsplit
from uuid import UUID

import streamlit as st

from analyses import registry
from analyses.errors import Refused
from analyses.prompts import distributions
from analyses.prompts.distributions import Recipe
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

NEWEST = 500  # runs that the list shows at the most
TAIL = 500  # lines of a log that a page shows at the most


class NotOffered(Refused):
    def __init__(self, distribution: str) -> None:
        super().__init__(
            f"The app does not offer prompts from {distribution!r}. Choose one of its list, or "
            f"queue the run from the command line, which may read your files."
        )


@st.cache_resource(show_spinner=False, on_release=db.close)
def _connected(database_url: str) -> Sessions:
    return db.connect(database_url, pool_size=5)


def _sessions() -> Sessions:
    return _connected(Settings().database())


def passes(error: Exception) -> bool:
    """Whether the database may do a little later what it refused."""
    return db.passes(error)


def analyses() -> list[Analysis]:
    """Every registered analysis that can be used, by name."""
    return registry.all_analyses()


def unused_plugins() -> list[str]:
    """The plugins that are not used, each with the reason, in a sentence."""
    return [str(each) for each in registry.broken()]


def param_fields(analysis: Analysis) -> list[FormField]:
    """What a form asks of the analysis itself."""
    return analysis.ask(lambda: fields_of(analysis.params))


@st.cache_data(show_spinner=False)
def recipes() -> list[Recipe]:
    """Every prompt distribution that can be built."""
    return distributions.recipes()


def request_fields() -> dict[str, FormField]:
    """What a form asks of any run, by name."""
    return {field.name: field for field in fields_of(RunRequest)}


def recipe_fields(analysis: Analysis) -> dict[str, FormField]:
    """What a form asks of a shipped distribution apart from its name, by name.

    The split is by default the one that the analysis needs.
    """
    fields = {field.name: field for field in fields_of(DistributionSpec)}
    fields["split"] = replace(fields["split"], default=analysis.params.usual_split)
    return {
        name: field for name, field in fields.items() if name not in PARTS and not field.of_files
    }


def models() -> list[Model]:
    """The models that runs may name: of each name the newest."""
    with transaction(_sessions()) as session:
        newest = {model.name: model for model in reversed(model_store.all_models(session))}
    return [newest[name] for name in sorted(newest)]


def workers() -> list[reports.WorkerLine]:
    """The workers that are up."""
    with transaction(_sessions()) as session:
        return [worker for worker in reports.workers(session) if worker.fresh]


def counts() -> Mapping[RunState, int]:
    """How many runs are in each state."""
    with transaction(_sessions()) as session:
        return reports.counts_by_state(session)


def runs(states: Sequence[RunState], analysis: str | None) -> list[results.RunLine]:
    """The newest runs; no `states` means every state."""
    with transaction(_sessions()) as session:
        return results.runs(session, states=states, analysis=analysis, limit=NEWEST)


def run(run_id: str) -> results.RunDetail:
    """A run by the id in an address; raises `UnknownRun` for what is no id, too."""
    try:
        known = UUID(run_id)
    except ValueError:
        raise run_store.UnknownRun(run_id) from None
    with transaction(_sessions()) as session:
        return results.run_detail(session, known)


def name(line: results.RunLine) -> RunName:
    """What a run is called."""
    return name_of(line)


def log_tail(run_id: UUID) -> results.RunLog:
    """The last lines of what happened to a run and was said about it."""
    with transaction(_sessions()) as session:
        return results.run_log(session, run_id, last=TAIL)


def scores(run_id: UUID) -> list[results.ScoreLine]:
    """All scores of a run; none before it has succeeded."""
    with transaction(_sessions()) as session:
        return results.scores(session, run_id)


def cancel(run_ids: Sequence[UUID]) -> None:
    """Ask runs to stop, all or none; those that have ended stay as they are."""
    with transaction(_sessions()) as session:
        run_store.cancel_all(session, run_ids)


def submit(request: RunRequest, *, nonce: str) -> Submitted:
    """Queue a run, or find the one that stands for the same request.

    Only shipped distributions: a page must not read files that its visitor names.
    """
    if request.recipe.name not in {recipe.name for recipe in recipes()}:
        raise NotOffered(request.recipe.name)
    settings = Settings()
    return submission.submit(
        request,
        created_by=user(),
        sessions=_sessions(),
        home=Home(settings.home),
        roots=settings.model_roots,
        nonce=nonce,
    )


def mlflow_address() -> str | None:
    """Where MLflow's pages are, without a password; None where only its files are known."""
    try:
        parts = urlsplit(Settings().tracking())
    except NoTrackingServer:
        return None
    if parts.scheme not in ("http", "https"):
        return None
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))


def mlflow_pages() -> str | None:
    """What links to MLflow's pages begin with; None where only its files are known."""
    return links.MLFLOW if _embedded() else mlflow_address()


def mlflow_entrance(*, signed_in: bool) -> str:
    """Where a browser enters MLflow: who has signed in to this app is known there, too."""
    stack = _embedded()
    policy = stack and services.mlflow_access(stack.mlflow_tracking_uri, stack.mlflow_token)
    query = f"?{urlencode({TOKEN: policy.new_link()})}" if policy and signed_in else ""
    return f"{mlflow_address() or ''}/{query}"


def _embedded() -> StackState | None:
    """The stack whose MLflow this is; None where a person has named another."""
    settings = Settings()
    stack = settings.stack
    if stack is None or stack.mlflow_token is None:
        return None
    return stack if settings.tracking() == stack.mlflow_tracking_uri else None


@st.cache_data(ttl=10, show_spinner=False)
def answers(address: str) -> bool:
    """Whether a web server is there, whatever it says."""
    try:
        with urllib.request.urlopen(address, timeout=1):
            return True
    except urllib.error.HTTPError as refusal:
        refusal.close()
        return True
    except (OSError, ValueError):
        return False
