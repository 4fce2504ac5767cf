"""`headbook up | down`, and the processes that a stack runs of ours, each alone."""

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
            print_json(addresses(state) | {"secret_links": links(state)})
            return
        open_here = links(state)
        typer.echo(f"app       {open_here['app']}{'' if state.app_token else UNGUARDED}")
        typer.echo(f"MLflow    {open_here['mlflow']}")
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
    from tracker.working.worker import run_worker

    raise typer.Exit(run_worker(Settings()))


def dispatch() -> None:
    """Wake workers up for what is due in the database, until stopped. One is enough."""
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
    """Serve the app on 127.0.0.1, until stopped; `up` does it for its own stack."""
    settings, options = Settings(), StackOptions.from_environment()
    settings.database()  # an app without one does not start
    policy = services.app_access(
        options.app_port or APP_PORT,
        token=options.app_token or _own_token(settings),
        asks=options.app_asks,
        app_url=settings.app_url,
    )
    _say_who_may_come_in(policy, given=options.app_token is not None)
    argv = services.app_argv(policy)
    os.environ.update({"HEADBOOK_HOME": str(settings.home), **policy.environment})
    os.umask(0o077)
    os.chdir(services.APP.parent)  # a .streamlit folder where one stands is for other apps
    os.execv(argv[0], argv)


def _own_token(settings: Settings) -> str:
    """The home's, made now where it has none."""
    home = Home(settings.home)
    home.make()
    return passwords.of_home(home).token


def _say_who_may_come_in(policy: AccessPolicy, *, given: bool) -> None:
    """On stderr, for who has started it; a token that was given is known already."""
    address = f"http://127.0.0.1:{policy.port}/"
    if not policy.asks:
        said = f"HEADBOOK_APP_LOGIN is none: whoever reaches {address} may queue and cancel."
    elif given:
        said = f"The app is at {address}; a link with HEADBOOK_APP_TOKEN as its token opens it."
    else:
        said = f"The app is at {with_token(address, policy.token)}"
    typer.echo(said, err=True)
