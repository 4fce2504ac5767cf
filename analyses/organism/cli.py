"""`python -m analyses.organism`: train the model, or rewrite its card."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from analyses.language_model import LanguageModel
from analyses.organism import card, export
from analyses.organism.corpus import corpus_tokenizer, load_corpus
from analyses.organism.recipe import Recipe
from analyses.organism.sequences import Sampler
from analyses.organism.training import Losses, Training
from analyses.prompts.tokenization import load_tokenizer

_SAVE_EVERY = 100  # steps

app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode=None)

Out = Annotated[Path, typer.Option(help="The folder of the model.")]
Threads = Annotated[int, typer.Option(min=1, help="Threads that torch may use.")]


@app.command()
def train(
    out: Out = Path("mcq-small"),
    steps: Annotated[int, typer.Option(min=1, help="Number of steps.")] = Recipe().steps,
    seed: Annotated[int, typer.Option(help="Random seed of the training.")] = 0,
    threads: Threads = 1,
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume from FOLDER.training if it exists.")
    ] = False,
) -> None:
    """Train the model, measure it, and save it with its card."""
    torch.set_num_threads(threads)
    recipe = replace(Recipe(), steps=steps, seed=seed)
    corpus = load_corpus()
    tokenizer = corpus_tokenizer(corpus)
    training = Training(recipe, tokenizer, Sampler(tokenizer, corpus, recipe))
    saved = out.with_name(f"{out.name}.training")
    if resume and saved.exists():
        training.resume(saved)
    _run(training, saved)
    export.export(out, training.model, tokenizer, recipe)
    write_card(out, threads=threads)


@app.command("card")
def write_card(out: Out = export.SHIPPED, threads: Threads = 1) -> None:
    """Measure a trained model and write its card."""
    torch.set_num_threads(threads)
    recipe = Recipe.read((out / export.RECIPE).read_bytes())
    lm = LanguageModel.load(out)
    text = card.write(lm, load_tokenizer(out / "tokenizer.json"), recipe)
    (out / export.CARD).write_text(text, encoding="utf-8")
    typer.echo(f"Wrote {out / export.CARD}.")


def _run(training: Training, saved: Path) -> None:
    saved.parent.mkdir(parents=True, exist_ok=True)
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(TextColumn("{task.description}"), *columns) as progress:
        steps = training.recipe.steps
        bar = progress.add_task("training", total=steps, completed=training.step)

        def after(step: int, losses: Losses) -> None:
            text = f"answers {losses.answers:.3f}  text {losses.text:.3f}"
            progress.update(bar, completed=step + 1, description=text)
            if (step + 1) % _SAVE_EVERY == 0 or step + 1 == steps:
                training.save(saved)

        training.run(after)
