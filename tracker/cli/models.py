"""`headbook models`: the language models that runs may name."""

from typing import Annotated

import typer

from tracker.cli.session import open_sessions
from tracker.cli.terminal import AsJson, console, print_json, print_table
from tracker.db import transaction
from tracker.home import Home
from tracker.settings import Settings
from tracker.store import models as store

app = typer.Typer(help="Language models.", no_args_is_help=True)


@app.command()
def add(
    ref: Annotated[
        str,
        typer.Argument(help="A folder with safetensors, a GGUF file, or hub:OWNER/NAME@REVISION."),
    ],
    name: Annotated[
        str | None, typer.Option(help="What to call it; default: the file's name.")
    ] = None,
    dtype: Annotated[
        str, typer.Option(help="Type of the weights in memory: float32, bfloat16, float16.")
    ] = "float32",
    as_json: AsJson = False,
) -> None:
    """Add a model: hash its weights, load it, and prove that every layer closes."""
    settings = Settings()
    with open_sessions(settings) as sessions:
        with transaction(sessions) as session:  # no proof for a database that cannot take it
            store.all_models(session)
        from tracker.models import add_model  # loads torch

        with console.status("hashing, loading and proving …"):
            model = add_model(
                ref,
                name=name,
                dtype=dtype,
                home=Home(settings.home),
                roots=settings.model_roots,
                sessions=sessions,
            )
    if as_json:
        print_json(model)
        return
    typer.echo(
        f"{model.name}: {model.family}, {model.n_layers} layers of {model.n_heads} heads, "
        f"fingerprint {model.fingerprint[:12]}. Every layer closes."
    )


@app.command("list")
def list_models(as_json: AsJson = False) -> None:
    """Show every model that was added, the newest first."""
    with open_sessions(Settings()) as sessions, transaction(sessions) as session:
        found = store.all_models(session)
    if as_json:
        print_json(found)
        return
    print_table(
        ["model", "family", "layers", "heads", "kv heads", "d_model", "dtype", "revision", "ref"],
        [
            (
                m.name,
                m.family,
                m.n_layers,
                m.n_heads,
                m.n_kv_heads,
                m.d_model,
                m.dtype,
                m.revision[:12],
                m.ref,
            )
            for m in found
        ],
        empty="No model yet. Add one: headbook models add FOLDER",
    )
