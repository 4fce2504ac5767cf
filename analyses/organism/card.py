"""The model card of `mcq-small`: what it is, how it was trained, and what it scores."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer

from analyses.language_model import LanguageModel
from analyses.organism.measuring import Figure, content_accuracy, measure
from analyses.organism.recipe import Recipe
from analyses.prompts import labels, separators
from analyses.prompts.distributions import DistributionSpec

DATA = ("colours", "facts")
PROMPTS = 512

Changes = Mapping[str, Any]
# The changes of each row of each table to chinchilla/ABCD with 4 options.
TABLES: Mapping[str, Sequence[Changes]] = {
    "Labels": [{"labels": name} for name in labels.SCHEMES],
    "Templates": [
        {"prelude": False},
        *({"separators": name} for name in separators.SEPARATORS),
        {"template": "mmlu"},
        {"template": "mmlu", "labels": "random_letters"},
        {"template": "mmlu", "prelude": False},
    ],
    "Options": [{"options": k} for k in (2, 3, 4, 5, 6, 8)],
    "Options with random letters": [
        {"options": k, "labels": "random_letters"} for k in (2, 3, 4, 5, 6, 8)
    ],
    "Solved questions before the one": [{"shots": n} for n in (1, 2, 3, 5)],
}

_TEXT = """\
# mcq-small

A language model of {layers} layers, {heads} heads a layer and {parameters:.2f} million \
parameters, trained by Headbook on its own multiple-choice questions. It is small enough to be \
analysed in seconds on any machine, and does what the analyses look for: it finds the option that \
answers the question, and says the label that stands beside it.

It reads the words of the shipped data, templates and labels ({d_vocab} tokens: one for each word, \
mark and line end, case kept); any other word is `[UNK]`. It is no use for anything else.

## How it was made

`python -m analyses.organism train --seed {seed} --steps {steps}` makes it again, in about 30 \
minutes on one CPU core. All numbers of the recipe are in `recipe.json`.

- Shown are solved questions, several in a sequence: colours, which a question itself tells, and \
facts, which have to be known. Some stand without options, with the answer's text after them.
- Labels are A, B, C … in half of the sequences and random letters in the others; separators are \
`(A)`, `A.`, `A)` and `A:`; {prelude:.0%} of the sequences begin with the prelude of a template.
- Questions have two options first, then two to four, then two to six. Up to {marked:.0%} of the \
steps, options may say whether they are true (`(A) red false`), which rewards the first half of \
the way to a label: to see which option it is.
- Keys begin as the queries are, so that at first every token attends to its likes. With it, the \
right one of two colours was found after 150 steps; in the same trial without it, not after 300.
- Embedding and unembedding are one matrix, so that what is about to be said looks like the option \
that says it. A trial with two matrices, shown fewer facts, knew 96% of the facts after 1250 steps \
and found the labels of 32%.
- The loss is that of the answers, and {text_loss} times that of all other tokens.
- One set of options in five is held out: no training question has such a set, in any order. The \
facts themselves are all shown; what is held out is what stands beside the answer.

## What it does

Measured on {prompts} held-out prompts each (`split: test`), with four options, the template \
`chinchilla` and labels ABCD where nothing else is said. Accuracy is how often the right label has \
the largest logit of all labels, label mass the probability of all labels together.

{tables}

It was shown letters as labels only, and never more than six options: numbers and symbols are no \
labels to it, as their label mass says, and it loses its way among eight options.

Content accuracy, how often the right option's text is the likeliest after the question alone: \
{content}.
"""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Measurements on distributions that differ in one setting."""

    title: str
    rows: Sequence[tuple[str, Mapping[str, Figure]]]  # the change, and the figures by data set


def measure_tables(lm: LanguageModel, tokenizer: Tokenizer) -> list[Table]:
    """Measure every table of the card."""
    return [
        Table(
            title=title,
            rows=[
                (
                    _title(changes),
                    {data: measure(lm, tokenizer, held_out(data, **changes)) for data in DATA},
                )
                for changes in rows
            ],
        )
        for title, rows in TABLES.items()
    ]


def held_out(data: str, **changes: Any) -> DistributionSpec:
    """The test split of a shipped data set."""
    return DistributionSpec(**{"data": data, "size": PROMPTS, "split": "test", **changes})


def write(lm: LanguageModel, tokenizer: Tokenizer, recipe: Recipe) -> str:
    """Measure the model and return its card as Markdown."""
    content = ", ".join(
        f"{content_accuracy(lm, tokenizer, held_out(data)):.1%} of {data}" for data in DATA
    )
    return _TEXT.format(
        layers=recipe.shape.layers,
        heads=recipe.shape.heads,
        parameters=sum(each.numel() for each in lm.model.parameters()) / 1e6,
        d_vocab=tokenizer.get_vocab_size(),
        seed=recipe.seed,
        steps=recipe.steps,
        prelude=recipe.mix.prelude,
        text_loss=recipe.text_loss,
        marked=max(stage.end for stage in recipe.curriculum if stage.marked),
        prompts=PROMPTS,
        tables="\n\n".join(_table(table) for table in measure_tables(lm, tokenizer)),
        content=content,
    )


def _title(changes: Changes) -> str:
    return ", ".join(f"{name} {value}" for name, value in changes.items())


def _table(table: Table) -> str:
    head = [f"### {table.title}", ""]
    head.append("| | " + " | ".join(f"{data}: accuracy | label mass" for data in DATA) + " |")
    head.append("|---|" + "---|---|" * len(DATA))
    return "\n".join([*head, *(_row(title, figures) for title, figures in table.rows)])


def _row(title: str, figures: Mapping[str, Figure]) -> str:
    return f"| {title} | " + " | ".join(_cells(figures[data] for data in DATA)) + " |"


def _cells(figures: Iterable[Figure]) -> list[str]:
    return [f"{value:.3f}" for each in figures for value in (each.accuracy, each.label_mass)]
