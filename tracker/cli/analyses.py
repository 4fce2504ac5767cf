"""`headbook analyses`: which analyses there are."""

import typer

from analyses import registry
from tracker.cli.terminal import AsJson, print_json, print_table

app = typer.Typer(help="The registered analyses.", no_args_is_help=True)


@app.command("list")
def list_analyses(as_json: AsJson = False) -> None:
    """Show every registered analysis with its parameters."""
    found = registry.all_analyses()
    if as_json:
        print_json(
            [
                {
                    "name": each.name,
                    "version": each.version,
                    "summary": each.summary,
                    "function": each.function,
                    "params": each.params.model_json_schema(),
                    "conventions": dict(each.conventions),
                }
                for each in found
            ]
        )
        return
    print_table(
        ["analysis", "version", "what it computes", "parameters"],
        [(a.name, a.version, a.summary, ", ".join(a.params.model_fields)) for a in found],
        empty="No analysis is registered. Reinstall headbook: its own are missing.",
    )
