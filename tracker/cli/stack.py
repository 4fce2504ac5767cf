"""`headbook up | down | status`, and the two processes that a stack runs of ours."""

from typing import Annotated

import typer

from tracker.cli.terminal import AsJson, print_json, print_table
from tracker.home import Home, StackState
from tracker.settings import Settings
from tracker.supervisor import control
from tracker.urls import without_password


def up(
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return once it is ready; it runs on.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Start the embedded stack: Postgres, Valkey, MLflow, dispatcher, worker and app.

    DATABASE_URL, CELERY_BROKER_URL and MLFLOW_TRACKING_URI each replace one of them.
    """

    def show(state: StackState) -> None:
        if as_json:
            print_json(addresses(state))
            return
        typer.echo(f"app       {state.app_url}")
        typer.echo(f"MLflow    {without_password(state.mlflow_tracking_uri)}")
        if state.reader_url:
            typer.echo(f"SQL       {_libpq(state.reader_url)}")
        typer.echo("Stop it with: headbook down" if detach else "Stop it with Ctrl-C.")

    control.up(Home(Settings().home), detach=detach, on_ready=show)


def down() -> None:
    """Stop the stack that runs on the home."""
    stopped = control.down(Home(Settings().home))
    typer.echo("Stopped." if stopped else "No stack runs here.")


def status(as_json: AsJson = False) -> None:
    """Show what runs, with addresses."""
    home = Home(Settings().home)
    found, state = control.status(home), home.running()
    if as_json:
        print_json({"stack": found, "addresses": addresses(state) if state else None})
        return
    typer.echo(f"{found.home}: {found.state}" + (f", pid {found.pid}" if found.pid else ""))
    if found.components:
        print_table(
            ["component", "state", "pid", "address"],
            [(c.name, c.state, c.pid, c.address) for c in found.components],
            empty="",
        )
    if state and state.reader_url:
        typer.echo(f"SQL (read only): {_libpq(state.reader_url)}")


def addresses(state: StackState) -> dict[str, str | None]:
    return {
        "app": state.app_url,
        "mlflow": without_password(state.mlflow_tracking_uri),
        "sql": _libpq(state.reader_url) if state.reader_url else None,
    }


def _libpq(url: str) -> str:
    """The URL as psql and pandas take it."""
    return url.replace("postgresql+psycopg://", "postgresql://", 1)


def worker() -> None:
    """Work on queued runs until stopped."""
    from tracker.worker import run_worker

    raise typer.Exit(run_worker(Settings()))


def dispatch() -> None:
    """Ring workers for what waits in the database, until stopped."""
    from tracker import broker, db, logs
    from tracker.dispatcher import dispatch_forever

    logs.configure()
    settings = Settings()
    dispatch_forever(
        broker.celery_app(settings.broker()),
        db.connect(settings.database()),
        every=settings.dispatch_seconds,
        reap_every=settings.reap_seconds,
        grace=1.5 * settings.heartbeat_seconds,
    )
