"""`headbook up | down`, and each process of the stack as a command: worker, dispatch, app."""

import os
from typing import Annotated

import typer

from tracker.access.links import with_token
from tracker.access.policy import AccessPolicy
from tracker.cli.status import UNGUARDED, addresses, links, restarted
from tracker.cli.terminal import AsJson, print_json
from tracker.home.home import Home, StackState
from tracker.secrets.urls import without_psycopg
from tracker.settings.settings import Settings
from tracker.supervisor import control, passwords, services
from tracker.supervisor.options import StackOptions

APP_PORT = 8501  # unless HEADBOOK_APP_PORT is set


def up(
    detach: Annotated[
        bool,
        typer.Option(
            "--detach", "-d", help="Return once the stack is ready, and leave it running."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Start the embedded stack: Postgres, Valkey, MLflow, dispatcher, worker and app.

    DATABASE_URL, CELERY_BROKER_URL and MLFLOW_TRACKING_URI replace the first three.
    """

    def show(state: StackState) -> None:
        if as_json:
            print_json(addresses(state) | {"secret_links": links(state)})
            return
        secret_links = links(state)
        typer.echo(f"app       {secret_links['app']}{'' if state.app_token else UNGUARDED}")
        typer.echo(f"MLflow    {secret_links['mlflow']}")
        if state.reader_url:
            typer.echo(f"SQL       {without_psycopg(state.reader_url)}")
        for note in restarted(control.status(home)) if detach else ():
            typer.echo(note)
        typer.echo("Stop it with: headbook down" if detach else "Stop it with Ctrl-C.")

    home = Home(Settings().home)
    control.up(home, detach=detach, on_ready=show)


def down() -> None:
    """Stop the stack of HEADBOOK_HOME."""
    stopped = control.down(Home(Settings().home))
    typer.echo("Stopped." if stopped else "No stack is running here.")


def worker() -> None:
    """Run a worker until it is stopped."""
    from tracker.working.worker import run_worker

    raise typer.Exit(run_worker(Settings()))


def dispatch() -> None:
    """Run a dispatcher, which wakes workers up, until it is stopped. One is enough."""
    from tracker.database import db
    from tracker.queueing import broker
    from tracker.queueing.dispatcher import dispatch_forever
    from tracker.run_logs import logs

    logs.configure()
    settings = Settings()
    celery, sessions = broker.celery_app(settings.broker()), db.connect(settings.database())
    broker.check(celery)
    db.check(sessions)
    dispatch_forever(
        celery,
        sessions,
        every=settings.dispatch_seconds,
        reap_every=settings.reap_seconds,
        grace=1.5 * settings.heartbeat_seconds,
    )


def app() -> None:
    """Serve the app on 127.0.0.1 until it is stopped; `up` does so for its own stack."""
    settings, options = Settings(), StackOptions.from_environment()
    settings.database()  # raises if no database is configured
    policy = services.app_access(
        options.app_port or APP_PORT,
        token=options.app_token or _own_token(settings),
        asks=options.app_asks,
        app_url=settings.app_url,
    )
    _print_access(policy, token_was_set=options.app_token is not None)
    argv = services.app_argv(policy)
    os.environ.update({"HEADBOOK_HOME": str(settings.home), **policy.environment})
    os.umask(0o077)
    os.chdir(services.APP.parent)  # ignore a .streamlit folder in the working directory
    os.execv(argv[0], argv)


def _own_token(settings: Settings) -> str:
    """The token of the home, which is created if it is missing."""
    home = Home(settings.home)
    home.make()
    return passwords.of_home(home).token


def _print_access(policy: AccessPolicy, *, token_was_set: bool) -> None:
    """Print to stderr how to open the app; a token from the environment is not repeated."""
    address = f"http://127.0.0.1:{policy.port}/"
    if not policy.asks:
        message = (
            f"HEADBOOK_APP_LOGIN is none: anyone who can reach {address} can queue and cancel runs."
        )
    elif token_was_set:
        message = f"The app is at {address}; open it with a link that has HEADBOOK_APP_TOKEN."
    else:
        message = f"The app is at {with_token(address, policy.token)}"
    typer.echo(message, err=True)
