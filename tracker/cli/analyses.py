"""`headbook analyses`: list the registered analyses and describe each of them."""

import difflib
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from analyses import page, registry
from analyses.plugins.discovery import Broken
from analyses.registry import Analysis
from tracker.cli.terminal import AsJson, print_json, print_table
from tracker.errors import TrackerError

app = typer.Typer(help="The registered analyses.", no_args_is_help=True)


class PageDiffers(TrackerError):
    def __init__(self, file: Path) -> None:
        super().__init__(
            f"{file} is out of date: it differs from the descriptions of the analyses. "
            f"Regenerate it: headbook analyses docs > {file}"
        )


@app.command("list")
def list_analyses(as_json: AsJson = False) -> None:
    """List the registered analyses with their parameters and metrics, and any broken plugins."""
    registered = registry.all_analyses()
    if as_json:
        described = [_described(analysis) for analysis in registered]
        print_json(described + [_described_broken(plugin) for plugin in registry.broken()])
        return
    print_table(
        ["analysis", "version", "what it computes", "parameters", "metrics"],
        [
            (a.name, a.version, a.summary, ", ".join(a.params.model_fields), _metrics(a))
            for a in registered
        ],
        empty="No analyses are registered, not even Headbook's own. Reinstall headbook.",
    )
    for plugin in registry.broken():
        typer.echo(plugin, err=True)


@app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="ANALYSIS", help="Its name.")],
    as_json: AsJson = False,
) -> None:
    """Show what an analysis computes, its parameters, and what its scores mean."""
    analysis = registry.find(name)
    if as_json:
        print_json(_described(analysis))
    else:
        typer.echo(page.section(analysis))


@app.command()
def docs(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ANALYSIS]...", help="Default: Headbook's own analyses."),
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option(help="Print nothing; fail if this file is out of date.", exists=True),
    ] = None,
) -> None:
    """Print the reference page of the analyses, as Markdown."""
    named = [registry.find(name) for name in names or ()]
    expected = page.page(named or registry.shipped(), with_recipe=not named)
    if check is None:
        typer.echo(expected, nl=False)
    elif (current := check.read_text(encoding="utf-8")) != expected:
        _show_diff(check, current, expected)
        raise PageDiffers(check)


def _show_diff(file: Path, current: str, expected: str) -> None:
    old, new = (text.splitlines(keepends=True) for text in (current, expected))
    sys.stderr.writelines(difflib.unified_diff(old, new, str(file), "expected"))


def _metrics(analysis: Analysis) -> str:
    return ", ".join(dict.fromkeys(stored.metric for stored in analysis.stores))


def _described(analysis: Analysis) -> dict[str, Any]:
    return {
        "name": analysis.name,
        "version": analysis.version,
        "summary": analysis.summary,
        "description": analysis.description,
        "reference": analysis.reference,
        "function": analysis.function,
        "params": analysis.ask(analysis.params.model_json_schema),
        "scores": [asdict(stored) for stored in analysis.stores],
        "tensors": [asdict(stored) for stored in analysis.arrays],
        "plots": list(analysis.plots),
        "headline": analysis.headline,
        "conventions": dict(analysis.conventions),
        "package": analysis.origin or None,
        "broken": None,
    }


def _described_broken(broken: Broken) -> dict[str, Any]:
    """A plugin that could not be loaded, under the keys of `_described`."""
    empty: dict[str, Any] = {
        **dict.fromkeys(("version", "summary", "description", "reference", "headline")),
        **{"params": {}, "scores": [], "tensors": [], "plots": [], "conventions": {}},
    }
    return empty | {
        "name": broken.plugin.name,
        "function": broken.plugin.value,
        "package": broken.plugin.distribution,
        "broken": broken.reason,
    }
