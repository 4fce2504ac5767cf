"""The options of a command that makes a prompt distribution, in the words of the recipe."""

from typing import Annotated, Any

import typer

from analyses.prompts.distributions import DistributionSpec

Name = Annotated[str, typer.Argument(help="E.g. facts/chinchilla/ABCD, or facts.")]
SAID = {name: field.description for name, field in DistributionSpec.model_fields.items()}
DEFAULT = DistributionSpec()

Size = Annotated[int, typer.Option("--prompts", help=SAID["size"])]
Seed = Annotated[int, typer.Option("--prompt-seed", help=SAID["seed"])]
Options = Annotated[int, typer.Option("--options", help=SAID["options"])]
Shots = Annotated[int, typer.Option("--shots", help=SAID["shots"])]
Separators = Annotated[str, typer.Option("--separators", help=SAID["separators"])]
Prelude = Annotated[bool, typer.Option("--prelude/--no-prelude", help=SAID["prelude"])]
Split = Annotated[str, typer.Option("--split", help=SAID["split"])]
QuestionColumn = Annotated[str, typer.Option("--question-column", help=SAID["question_column"])]
ChoicesColumns = Annotated[
    list[str] | None, typer.Option("--choices-column", help=SAID["choices_columns"])
]
AnswerColumn = Annotated[str, typer.Option("--answer-column", help=SAID["answer_column"])]
AnswerReading = Annotated[str, typer.Option("--answer-reading", help=SAID["answer_reading"])]
OptionReferences = Annotated[
    str, typer.Option("--option-references", help=SAID["option_references"])
]
SubjectColumn = Annotated[str, typer.Option("--subject-column", help=SAID["subject_column"])]


def _again(option: str, field: str, kind: str, default: str = "") -> Any:
    """The option of a field that may be given again, for a grid; None leaves the default."""
    default = default or str(getattr(DEFAULT, field))
    return typer.Option(option, help=SAID[field], metavar=f"<{kind}>", show_default=default)


Sizes = Annotated[list[int] | None, _again("--prompts", "size", "int")]
Seeds = Annotated[list[int] | None, _again("--prompt-seed", "seed", "int")]
OptionCounts = Annotated[list[int] | None, _again("--options", "options", "int")]
ShotCounts = Annotated[list[int] | None, _again("--shots", "shots", "int")]
SeveralSeparators = Annotated[list[str] | None, _again("--separators", "separators", "str")]
Splits = Annotated[list[str] | None, _again("--split", "split", "str", "as the analysis needs")]


def spec(name: str, *, choices_columns: list[str] | None, **fields: Any) -> DistributionSpec:
    """The recipe of that name; raises `Refused`."""
    columns = choices_columns or DEFAULT.choices_columns
    return DistributionSpec.parse(name, choices_columns=tuple(columns), **fields)
