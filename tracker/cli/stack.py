"""`headbook up | down`, and the processes that a stack runs of ours, each alone."""

import os
from typing import Annotated

import typer

from tracker.cli.status import addresses, restarted
from tracker.cli.terminal import AsJson, print_json
from tracker.home import Home, StackState
from tracker.settings import Settings
from tracker.supervisor import control, services
from tracker.supervisor.options import StackOptions
from tracker.urls import without_password, without_psycopg

APP_PORT = 8501  # where HEADBOOK_APP_PORT names no other


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
            typer.echo(f"SQL       {without_psycopg(state.reader_url)}")
        for note in restarted(control.status(home)) if detach else ():
            typer.echo(note)
        typer.echo("Stop it with: headbook down" if detach else "Stop it with Ctrl-C.")

    home = Home(Settings().home)
    control.up(home, detach=detach, on_ready=show)


def down() -> None:
    """Stop the stack that runs on the home."""
    stopped = control.down(Home(Settings().home))
    typer.echo("Stopped." if stopped else "No stack runs here.")


def worker() -> None:
    """Work on queued runs until stopped."""
    from tracker.worker import run_worker

    raise typer.Exit(run_worker(Settings()))


def dispatch() -> None:
    """Ring workers for what waits in the database, until stopped. One is enough."""
    from tracker import broker, db, logs
    from tracker.dispatcher import dispatch_forever

    logs.configure()
    settings = Settings()
    rings, sessions = broker.celery_app(settings.broker()), db.connect(settings.database())
    broker.check(rings)
    db.check(sessions)
    dispatch_forever(
        rings,
        sessions,
        every=settings.dispatch_seconds,
        reap_every=settings.reap_seconds,
        grace=1.5 * settings.heartbeat_seconds,
    )


def app() -> None:
    """Serve the app on 127.0.0.1, until stopped; `up` does it for its own stack."""
    settings, options = Settings(), StackOptions.from_environment()
    settings.database()  # an app without one does not start
    argv = services.app_argv(options.app_port or APP_PORT, app_url=settings.app_url)
    os.environ["HEADBOOK_HOME"] = str(settings.home)
    os.chdir(services.APP.parent)  # a .streamlit folder where one stands is for other apps
    os.execv(argv[0], argv)
