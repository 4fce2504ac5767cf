"""`headbook analyses`: which analyses there are, and all that they say of themselves."""

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
            f"{file} is not what the analyses say of themselves. "
            f"Renew it: headbook analyses docs > {file}"
        )


@app.command("list")
def list_analyses(as_json: AsJson = False) -> None:
    """Show every registered analysis with its parameters and metrics, and plugins not used."""
    found = registry.all_analyses()
    if as_json:
        described = [_described(each) for each in found]
        print_json(described + [_described_broken(each) for each in registry.broken()])
        return
    print_table(
        ["analysis", "version", "what it computes", "parameters", "metrics"],
        [
            (a.name, a.version, a.summary, ", ".join(a.params.model_fields), _metrics(a))
            for a in found
        ],
        empty="No analysis is registered. Reinstall headbook: its own are missing.",
    )
    for each in registry.broken():
        typer.echo(each, err=True)


@app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="ANALYSIS", help="Its name.")],
    as_json: AsJson = False,
) -> None:
    """Show what an analysis computes, its parameters, and what its numbers mean."""
    found = registry.find(name)
    if as_json:
        print_json(_described(found))
    else:
        typer.echo(page.section(found))


@app.command()
def docs(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ANALYSIS]...", help="Without any: those of Headbook itself."),
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option(help="Print nothing; fail unless this file is the page.", exists=True),
    ] = None,
) -> None:
    """Print the page about analyses, as Markdown."""
    found = [registry.find(name) for name in names or ()]
    made = page.page(found or registry.shipped(), with_recipe=not found)
    if check is None:
        typer.echo(made, nl=False)
    elif check.read_text(encoding="utf-8") != made:
        _show_difference(check, made)
        raise PageDiffers(check)


def _show_difference(file: Path, made: str) -> None:
    old, new = (text.splitlines(keepends=True) for text in (file.read_text(encoding="utf-8"), made))
    sys.stderr.writelines(difflib.unified_diff(old, new, str(file), "what the analyses say"))


def _metrics(analysis: Analysis) -> str:
    return ", ".join(dict.fromkeys(each.metric for each in analysis.stores))


def _described(analysis: Analysis) -> dict[str, Any]:
    return {
        "name": analysis.name,
        "version": analysis.version,
        "summary": analysis.summary,
        "description": analysis.description,
        "reference": analysis.reference,
        "function": analysis.function,
        "params": analysis.ask(analysis.params.model_json_schema),
        "scores": [asdict(each) for each in analysis.stores],
        "tensors": [asdict(each) for each in analysis.arrays],
        "plots": list(analysis.plots),
        "headline": analysis.headline,
        "conventions": dict(analysis.conventions),
        "package": analysis.origin or None,
        "broken": None,
    }


def _described_broken(broken: Broken) -> dict[str, Any]:
    """A plugin that is not used, with the same keys."""
    nothing: dict[str, Any] = {
        **dict.fromkeys(("version", "summary", "description", "reference", "headline")),
        **{"params": {}, "scores": [], "tensors": [], "plots": [], "conventions": {}},
    }
    return nothing | {
        "name": broken.plugin.name,
        "function": broken.plugin.value,
        "package": broken.plugin.distribution,
        "broken": broken.reason,
    }
