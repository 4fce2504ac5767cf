"""The command `headbook`. Quick commands never import torch."""

import sys
from pathlib import Path
from traceback import format_exc

import typer

from analyses.errors import Refused
from analyses.plugins import output
from analyses.shown import in_lines
from tracker.cli import (
    analyses,
    databases,
    demo,
    distributions,
    models,
    publications,
    run_logs,
    runs,
    scores,
    stack,
    status,
    submit,
)
from tracker.cli.streams import use_streams
from tracker.errors import TrackerError
from tracker.home.disk import DiskFull, is_full
from tracker.home.ownership import NotReadable
from tracker.run_logs import log_records
from tracker.secrets.urls import without_credentials
from tracker.settings import environment

app = typer.Typer(
    name="headbook",
    help="Queue circuit analyses of language models and query every head's scores.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(analyses.app, name="analyses")
app.add_typer(models.app, name="models")
app.add_typer(distributions.app, name="distributions")
runs.app.command("logs")(run_logs.logs)
app.add_typer(runs.app, name="runs")
app.add_typer(databases.app, name="db")
for command in (submit.submit, scores.scores, stack.up, stack.down, status.status, stack.worker):
    app.command()(command)
app.command()(publications.publish)
app.command()(demo.demo)
app.command()(stack.dispatch)
app.command()(stack.app)


def main() -> None:
    """Run the command. An error that the user can fix prints one sentence to stderr and exits 1.

    Passwords are removed from everything that is printed, tracebacks included.
    """
    use_streams()
    environment.adopt()
    log_records.without_secrets()
    try:
        app()
    except (TrackerError, Refused) as error:
        message = f"Error: {error}"
    except ModuleNotFoundError:
        raise  # the public package says what to install
    except PermissionError as error:
        message = f"Error: {NotReadable(Path(error.filename))}" if error.filename else format_exc()
    except OSError as error:
        message = f"Error: {DiskFull(error)}" if is_full(error) else format_exc()
    except Exception:
        message = format_exc()
    else:
        return
    finally:
        output.end()
    typer.echo(in_lines(without_credentials(message)), err=True)
    sys.exit(1)
