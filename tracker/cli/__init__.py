"""The command `headbook`. Quick commands never import torch."""

import sys

import typer

from analyses.errors import Refused
from tracker import environment
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
from tracker.errors import TrackerError

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
    """Run the command; what a person can put right is one sentence on stderr and exit code 1."""
    environment.adopt()
    try:
        app()
    except (TrackerError, Refused) as error:
        typer.echo(f"Error: {error}", err=True)
        sys.exit(1)
