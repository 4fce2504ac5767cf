"""`headbook models`: add, check, rename and list language models."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from analyses.checkpoints import refs
from analyses.checkpoints.folders import family_of
from analyses.plurals import counted
from tracker.cli.patience import while_busy
from tracker.cli.session import open_sessions
from tracker.cli.terminal import AsJson, console, print_json, print_table
from tracker.database.db import transaction
from tracker.domain import Model, ProofState
from tracker.home.home import Home
from tracker.settings.settings import Settings, user
from tracker.store import models as store

if TYPE_CHECKING:
    from analyses.checkup import Answers, Checkup

app = typer.Typer(help="Language models.", no_args_is_help=True)

_PROOF = {
    ProofState.UNPROVED: "The next free worker proves it; runs of it can be queued.",
    ProofState.PROVING: "A worker is proving it; runs of it can be queued.",
    ProofState.PROVED: "Every layer closes.",
    ProofState.REFUSED: "It was refused.",
}


@app.command()
def add(
    ref: Annotated[
        str,
        typer.Argument(help="A shipped model, a folder, a GGUF file, or hub:OWNER/NAME@REVISION."),
    ],
    name: Annotated[
        str | None,
        typer.Option(help="Its name; default: the name these weights already have, or the file's."),
    ] = None,
    dtype: Annotated[
        str, typer.Option(help="Type of the weights in memory: float32, bfloat16, float16.")
    ] = "float32",
    here: Annotated[
        bool, typer.Option("--here", help="Load and prove it in this process, not on a worker.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Add a model: hash its weights, and have a worker prove that every layer closes.

    Its runs can be queued immediately; they start once a worker has proved the model.
    """
    settings = Settings()
    with open_sessions(settings) as sessions:
        with transaction(sessions) as session:  # fail early if the database cannot be used
            store.all_models(session)
        from analyses.foreign import in_free_memory  # loads torch
        from tracker.queueing.models import add_model, record_model

        status = "hashing, loading and proving …" if here else "hashing …"
        with in_free_memory(ref), console.status(status):
            model = (add_model if here else record_model)(
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
        f"{model.name}: {model.family}, {model.n_layers} layers of {_heads(model)} heads, "
        f"fingerprint {model.fingerprint[:12]}. {_PROOF[model.proof]}"
    )


@app.command()
def check(
    ref: Annotated[
        str,
        typer.Argument(help="A shipped model, a folder, a GGUF file, or hub:OWNER/NAME@REVISION."),
    ],
    dtype: Annotated[str, typer.Option(help="float32, bfloat16, float16.")] = "float32",
    prompts: Annotated[int, typer.Option(min=2, max=1000, help="Prompts per distribution.")] = 64,
    as_json: AsJson = False,
) -> None:
    """Check whether every layer closes, how well the model answers, and what not to trust."""
    settings = Settings()
    cache = Home(settings.home).models
    from analyses import checkup  # loads torch with the model
    from analyses.engine.closure import DoesNotClose
    from analyses.foreign import in_free_memory, in_words
    from analyses.language_model import LanguageModel

    with in_words(f"Reading {ref}"):
        files = refs.fetched(ref, cache=cache, roots=settings.model_roots)
    with in_free_memory(ref), console.status("loading and proving …") as status:
        try:
            lm = LanguageModel.load(files.folder, dtype=dtype, cache=cache)
            found = checkup.check(
                lm, prompts=prompts, progress=lambda name: status.update(f"asking {name} …")
            )
        except DoesNotClose as error:
            found = checkup.Checkup(
                family=family_of(files.config),
                closes=False,
                largest_gap=error.gap,
                behaviour={},
                distrust=(str(error),),
            )
    if as_json:
        print_json(found)
    else:
        _print_checkup(ref, found)
    if not found.closes:
        raise typer.Exit(1)


def _print_checkup(ref: str, found: "Checkup") -> None:
    closes = "every layer closes" if found.closes else "it does not close"
    typer.echo(
        f"{ref}: {found.family}; {closes}, the largest relative gap is {found.largest_gap:.1e}."
    )
    if found.behaviour:
        typer.echo()
        print_table(
            ["distribution", "n", "accuracy", "chance", "knows", "label mass"],
            [
                (
                    name,
                    each.n,
                    _with_interval(each, "accuracy"),
                    f"{each.chance:.2f}",
                    _with_interval(each, "content_accuracy"),
                    _with_interval(each, "label_mass"),
                )
                for name, each in found.behaviour.items()
            ],
            empty="",
        )
    for sentence in found.distrust:
        typer.echo(f"\nNot to be trusted: {sentence}")


def _heads(model: Model) -> str:
    return _span([layer.n_heads for layer in model.layers])


def _kv_heads(model: Model) -> str:
    return _span([layer.n_kv_heads for layer in model.layers])


def _span(of_layers: Sequence[int]) -> str:
    """`8`, or `4 to 8` if layers differ."""
    least, most = min(of_layers), max(of_layers)
    return str(most) if least == most else f"{least} to {most}"


def _with_interval(answers: "Answers", name: str) -> str:
    """A mean and its 95 % interval, if it has them: `0.812 (0.703 to 0.906)`."""
    mean = getattr(answers, name)
    if mean is None:
        return ""
    ends = answers.intervals.get(name)
    interval = f" ({ends[0]:.3f} to {ends[1]:.3f})" if ends else ""
    return f"{mean:.3f}{interval}"


@app.command()
def rename(
    old: Annotated[str, typer.Argument(help="Current name of the model.")],
    new: Annotated[str, typer.Argument(help="New name; no other model may have it.")],
    as_json: AsJson = False,
) -> None:
    """Rename a model for everybody, past runs included.

    The view results.model_renamings records who renamed it and when. Runs that are already in
    MLflow keep the old name in their parameter `model`: MLflow parameters cannot be changed.
    """
    with open_sessions(Settings()) as sessions:

        def rename_once() -> store.Renaming:
            with transaction(sessions) as session:
                return store.rename(session, old, new, renamed_by=user())

        renaming = while_busy(rename_once)
    if as_json:
        print_json(renaming)
        return
    typer.echo(
        f"Renamed {renaming.old} to {renaming.new}, in {counted(renaming.models, 'model')} and "
        f"{counted(renaming.runs, 'run')}."
    )


@app.command("list")
def list_models(as_json: AsJson = False) -> None:
    """List the models, newest first."""
    with open_sessions(Settings()) as sessions, transaction(sessions) as session:
        models = store.all_models(session)
    if as_json:
        print_json(models)
        return
    print_table(
        ["model", "proof", "family", "layers", "heads", "kv heads", "d_model", "dtype", "ref"],
        [
            (
                m.name,
                m.proof,
                m.family,
                m.n_layers,
                _heads(m),
                _kv_heads(m),
                m.d_model,
                m.dtype,
                m.ref,
            )
            for m in models
        ],
        empty="No models yet. Add one: headbook models add FOLDER",
    )


@app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="MODEL", help="Name of the model.")],
    as_json: AsJson = False,
) -> None:
    """Show a model: its source, its sizes, and whether it is proved."""
    with open_sessions(Settings()) as sessions, transaction(sessions) as session:
        model = store.model_named(session, name)
    if as_json:
        print_json(model)
        return
    facts = {
        "model": model.name,
        "proof": model.proof + (f": {model.proof_reason}" if model.proof_reason else ""),
        "ref": model.ref,
        "revision": model.revision,
        "fingerprint": model.fingerprint,
        "dtype": model.dtype,
        "memory": "" if model.n_bytes is None else f"{model.n_bytes / 2**30:.2f} GiB of weights",
        "family": model.family,
        "layers": model.n_layers,
        "heads": _heads(model),
        "kv heads": _kv_heads(model),
        "d_model": model.d_model,
    }
    print_table(["", ""], facts.items(), empty="")
