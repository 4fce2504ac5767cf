"""`headbook status`: the processes of the stack, and the state of the queue."""

from typing import TYPE_CHECKING

import typer

from analyses.plurals import counted
from tracker.access.links import with_token
from tracker.cli.terminal import AsJson, print_json, print_table
from tracker.errors import TrackerError
from tracker.home.home import Home, StackState
from tracker.secrets.urls import for_people, without_credentials, without_psycopg
from tracker.settings.settings import NoDatabase, Settings
from tracker.supervisor import control
from tracker.supervisor.control import StackStatus

if TYPE_CHECKING:
    from tracker.reports import QueueState

UNGUARDED = "  (HEADBOOK_APP_LOGIN is none: no login is required)"


def status(as_json: AsJson = False) -> None:
    """Show the processes of the stack with their addresses, and runs by state and workers."""
    settings = Settings()
    home = Home(settings.home)
    stack, state = control.status(home), home.running()
    queue, trouble = _queue(settings)
    if as_json:
        public, secret = (addresses(state), links(state)) if state else (None, None)
        print_json(
            {"stack": stack, "addresses": public, "secret_links": secret}
            | {"queue": queue, "trouble": trouble}
        )
        return
    typer.echo(f"{stack.home}: {stack.state}" + (f", pid {stack.pid}" if stack.pid else ""))
    if stack.components:
        print_table(
            ["component", "state", "pid", "address", "restarts"],
            [(c.name, c.state, c.pid, c.address, c.restarts or "") for c in stack.components],
            empty="",
        )
    for note in restarted(stack):
        typer.echo(note)
    if state:
        secret_links = links(state)
        typer.echo(f"app: {secret_links['app']}{'' if state.app_token else UNGUARDED}")
        typer.echo(f"MLflow: {secret_links['mlflow']}")
    if state and state.reader_url:
        typer.echo(f"SQL (read only): {without_psycopg(state.reader_url)}")
    if trouble:
        typer.echo(f"queue: {trouble}")
    if queue:
        _show(queue)


def _queue(settings: Settings) -> tuple["QueueState | None", str | None]:
    """The queue, or the error of reading it; neither if no database is configured."""
    from tracker import reports
    from tracker.cli.session import open_sessions
    from tracker.database.db import transaction

    try:
        with open_sessions(settings) as sessions, transaction(sessions) as session:
            return reports.queue_state(session), None
    except NoDatabase:
        return None, None
    except TrackerError as error:
        return None, without_credentials(str(error))


def _show(queue: "QueueState") -> None:
    counts = [f"{count} {state}" for state, count in queue.runs.items() if count]
    unpublished = f", {queue.unpublished} not in MLflow yet" if queue.unpublished else ""
    typer.echo(f"runs: {', '.join(counts) or 'none'}{unpublished}")
    if queue.too_large:
        typer.echo(f"{counted(queue.too_large, 'run')} of these wait for a larger worker.")
    print_table(
        ["worker", "device", "memory", "models", "works on", "seen"],
        [
            (
                worker.name,
                worker.device,
                "" if worker.memory is None else f"{worker.memory / 2**30:.1f} GiB",
                worker.loaded_model,
                worker.busy_with,
                f"{worker.last_seen:%H:%M:%S}" + ("" if worker.fresh else ", silent"),
            )
            for worker in queue.workers
        ],
        empty="No workers. Start one: headbook worker",
    )


def restarted(stack: StackStatus) -> list[str]:
    """A sentence for each component that was restarted, with the reason."""
    return [
        f"{component.name} was restarted: {component.last_end} (log: {component.log})"
        for component in stack.components
        if component.last_end
    ]


def addresses(state: StackState) -> dict[str, str | None]:
    return {
        "app": state.app_url,
        "mlflow": for_people(state.mlflow_tracking_uri),
        "sql": without_psycopg(state.reader_url) if state.reader_url else None,
    }


def links(state: StackState, page: str = "") -> dict[str, str]:
    """Links that log in to app and MLflow; they hold secret tokens."""
    return {
        "app": with_token(f"{state.app_url}/{page}", state.app_token),
        "mlflow": _within(for_people(state.mlflow_tracking_uri), state.mlflow_token),
    }


def _within(address: str, token: str | None) -> str:
    return with_token(f"{address}/", token) if token else address
