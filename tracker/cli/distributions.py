"""`headbook distributions`: prompt distributions, down to the text of every prompt."""

from typing import Annotated

import typer

from analyses.prompts import distributions
from analyses.prompts.distributions import DistributionSpec
from tracker import reports
from tracker.cli.session import open_sessions
from tracker.cli.terminal import AsJson, console, print_json, print_table
from tracker.db import transaction
from tracker.errors import NoDatabase
from tracker.settings import Settings

app = typer.Typer(help="Prompt distributions.", no_args_is_help=True)

Size = Annotated[int, typer.Option("--prompts", help="How many prompts.")]
Seed = Annotated[int, typer.Option("--prompt-seed", help="Another seed draws other questions.")]


@app.command("list")
def list_distributions(as_json: AsJson = False) -> None:
    """Show the recipes there are, and the distributions that were used."""
    recipes = distributions.recipes()
    used = _used()
    if as_json:
        print_json({"recipes": recipes, "used": used})
        return
    print_table(["recipe", "items"], [(r.name, r.items) for r in recipes], empty="No recipes.")
    console.print()
    print_table(
        ["used", "hash", "prompts", "seed", "runs"],
        [(d.name, d.hash[:12], d.size, d.seed, d.runs) for d in used],
        empty="None was used yet. Queue a run: headbook submit --help",
    )


def _used() -> list[reports.DistributionLine]:
    """The stored distributions; recipes can be looked at without a database."""
    try:
        with open_sessions(Settings()) as sessions, transaction(sessions) as session:
            return reports.distributions(session)
    except NoDatabase:
        return []


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="E.g. facts/chinchilla/ABCD, or facts.")],
    prompts: Size = 64,
    prompt_seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Show every prompt of a distribution: text, labels, options, correct position."""
    built = distributions.build(DistributionSpec.parse(name, size=prompts, seed=prompt_seed))
    if as_json:
        print_json(built.to_json())
        return
    console.print(f"{built.spec.name}  {built.hash}", markup=False)
    for prompt in built.prompts:
        answer = prompt.labels[prompt.correct]
        console.rule(f"prompt {prompt.number} · {prompt.item} · {answer}")
        console.print(prompt.text, markup=False, highlight=False)
