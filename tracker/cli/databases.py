"""`headbook db`: the schema of the database."""

import typer

from tracker import schema
from tracker.settings import Settings

app = typer.Typer(help="The database.", no_args_is_help=True)


@app.command()
def upgrade() -> None:
    """Bring the database to the schema of this version. Safe to run again."""
    settings = Settings()
    schema.upgrade(settings.owner_database())
    typer.echo("The database has the schema of this version.")
