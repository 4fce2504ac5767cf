"""`headbook distributions`: list prompt distributions, and show the text of every prompt."""

from typing import Annotated, Any

import typer
from rich.table import Column, Table
from rich.text import Text

from analyses.prompts import distributions
from analyses.prompts.pairing import pairs
from analyses.prompts.prompt import Prompt
from analyses.prompts.sources import Difference, Pair, SourceKind
from analyses.prompts.spec import PARTS, DistributionSpec, unusual
from tracker import results
from tracker.cli.options import Fields, options
from tracker.cli.session import open_sessions
from tracker.cli.terminal import AsJson, console, print_json, print_table
from tracker.database.db import transaction
from tracker.domain.options import of_recipe
from tracker.settings.settings import NoDatabase, Settings

MOST_CORRECT = 5  # labels in a heading

app = typer.Typer(help="Prompt distributions.", no_args_is_help=True)

RECIPE = Fields(
    model=DistributionSpec,
    names=[name for name in DistributionSpec.model_fields if name not in PARTS],
    spelled=of_recipe,
)


@app.command("list")
def list_distributions(as_json: AsJson = False) -> None:
    """List the available recipes, and the distributions that runs have used."""
    recipes = distributions.recipes()
    used = _used()
    if as_json:
        print_json({"recipes": recipes, "used": used})
        return
    print_table(["recipe", "items"], [(r.name, r.items) for r in recipes], empty="No recipes.")
    console.print()
    print_table(
        ["used", "made with", "hash", "prompts", "seed", "runs"],
        [(d.name, _made_with(d), d.hash[:12], d.size, d.seed, d.runs) for d in used],
        empty="No distribution has been used yet. Queue a run: headbook submit --help",
    )


def _made_with(line: results.DistributionLine) -> str:
    return ", ".join(f"{field}={value}" for field, value in unusual(line.recipe).items())


def _used() -> list[results.DistributionLine]:
    """The stored distributions, or none without a database: recipes can be shown anyway."""
    try:
        with open_sessions(Settings()) as sessions, transaction(sessions) as session:
            return results.distributions(session)
    except NoDatabase:
        return []


@app.command()
@options(recipe=RECIPE)
def show(
    name: Annotated[str, typer.Argument(help="E.g. facts/chinchilla/ABCD, facts, or ioi/abc.")],
    *,
    recipe: dict[str, Any],
    sources: Annotated[
        SourceKind | None, typer.Option(help="Show each prompt next to its source of this kind.")
    ] = None,
    source_seed: Annotated[int, typer.Option(help="Seed for drawing the sources.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Show every prompt of a distribution, with what is correct.

    Of completions also the candidates, the named spans and the groups; `--sources paired` shows
    each prompt next to its counterfactual.
    """
    settings = Settings()
    built = distributions.build(
        DistributionSpec.parse(name, **recipe),
        roots=settings.data_roots,
        bounds=settings.data_bounds,
    )
    paired = pairs(built, sources, seed=source_seed) if sources else ()
    if as_json:
        print_json(built.to_json() | {"sources": [pair.to_json() for pair in paired]})
        return
    console.print(f"{built.spec.name}  {built.hash}", markup=False)
    for remark in built.remarks:
        console.print(remark, markup=False, highlight=False)
    for prompt in built.prompts:
        console.rule(Text(f"prompt {prompt.number} · {prompt.item} · {_correct(prompt)}"))
        if paired:
            _print_pair(paired[prompt.number])
        else:
            console.print(_whole(prompt), highlight=False)


def _print_pair(pair: Pair) -> None:
    """Print base and source side by side, headed by their differences."""
    table = Table.grid(Column(ratio=1), Column(ratio=1), expand=True, padding=(0, 2))
    differs = ", ".join(kind.value for kind in Difference if kind in pair.differs)
    answer = _correct(pair.source)
    table.add_row(Text("base"), Text(f"source · {answer} · differs in {differs}"))
    table.add_row(_whole(pair.base), _whole(pair.source))
    console.print(table, highlight=False)


def _correct(prompt: Prompt) -> str:
    """The correct labels, of which only the first are named."""
    more = len(prompt.correct) - MOST_CORRECT
    return " | ".join(prompt.correct_labels[:MOST_CORRECT]) + (f" and {more} more" * (more > 0))


def _whole(prompt: Prompt) -> Text:
    """The text, and below it what cannot be seen in it."""
    facts = [f"{name}: {fact}" for name, fact in prompt.facts.items()]
    return Text("\n").join([Text(prompt.text), *(Text(fact, style="dim") for fact in facts)])
