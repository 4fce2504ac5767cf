"""The command line of the trainer."""

import sys

import typer

from analyses.errors import Refused
from analyses.organism.cli import app

try:
    app(prog_name="python -m analyses.organism")
except Refused as error:
    typer.echo(f"Error: {error}", err=True)
    sys.exit(1)
