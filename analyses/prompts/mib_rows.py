"""Reads a row of the Mechanistic Interpretability Benchmark (Mueller et al. 2025).

A row has a prompt, its answer, and several columns `…_counterfactual`, each an object with a prompt
and an answer of its own. An answer is one of

    choices: [text, …], answerKey: index              ioi
    choices: {label: [text, …], …}, answerKey: index  copycolors_mcqa, arc_easy, arc_challenge
    label: text                                       arithmetic_addition, arithmetic_subtraction

A list of choices is the candidates. Otherwise the candidates are the answers of the prompt and of
its counterfactual, as in the benchmark's circuit track.
"""

from typing import NamedTuple

from analyses.errors import shown
from analyses.prompts.bad_rows import Unusable
from analyses.prompts.cells import Cells
from analyses.prompts.pair_columns import PairColumns
from analyses.prompts.pair_rows import CANDIDATES
from analyses.prompts.pair_spans import written_spans
from analyses.prompts.written_pairs import WrittenPair, WrittenText

LABEL = "label"
# Those of the benchmark's circuit track: of ioi, of questions with choices, of arithmetic.
COUNTERFACTUALS = ("s2_io_flip_counterfactual", "symbol_counterfactual", "random_counterfactual")


class LeftOut(Exception):
    """Why the benchmark leaves a row out."""


class _Answer(NamedTuple):
    correct: str
    others: tuple[str, ...]  # none, if those of the counterfactual are meant


def read(cells: Cells, columns: PairColumns, usual: PairColumns) -> WrittenPair:
    """The pair of a row. Raises `Unusable` or `LeftOut`."""
    prompt = cells.cell(columns.prompt)
    of_prompt = _answer(cells, columns)
    inside = _counterfactual(cells, columns)
    try:
        other_prompt = inside.exact(inside.cell(columns.prompt), columns.prompt)
        of_other = _answer(inside, columns)
    except Unusable as reason:
        raise Unusable(f"in its counterfactual, {reason}") from None
    if not (of_prompt.others and of_other.others):
        if of_prompt.correct.strip() == of_other.correct.strip():
            raise LeftOut("their counterfactual has the same answer")
        of_prompt = of_prompt._replace(others=(of_other.correct,))
        of_other = of_other._replace(others=())  # the candidates are those of the prompt
    return WrittenPair(
        asked=WrittenText(
            text=cells.exact(prompt, columns.prompt),
            correct=(of_prompt.correct,),
            others=of_prompt.others,
            spans=written_spans(cells, columns.spans, usual.spans, prompt),
        ),
        counterfactual=WrittenText(
            text=other_prompt,
            correct=(of_other.correct,),
            others=of_other.others,
            spans=written_spans(
                cells, columns.counterfactual_spans, usual.counterfactual_spans, other_prompt
            ),
        ),
    )


def _counterfactual(cells: Cells, columns: PairColumns) -> Cells:
    column = columns.counterfactual
    if not column:
        column = next((each for each in COUNTERFACTUALS if each in cells.row.values), "")
    if not column:
        raise Unusable(f"it has none of the columns {', '.join(map(repr, COUNTERFACTUALS))}")
    inside = cells.inside(column)
    if inside is None or inside.row.values.get(columns.prompt) is None:
        raise LeftOut("they have no counterfactual")
    return inside


def _answer(cells: Cells, columns: PairColumns) -> _Answer:
    if columns.others not in cells.row.values:
        return _Answer(cells.exact(cells.cell(LABEL), LABEL), ())
    choices = cells.cell(columns.others)
    if isinstance(choices, str):  # in a CSV file
        choices = cells.decoded(choices, columns.others)
    symbols = isinstance(choices, dict)
    found = choices.get(LABEL) if symbols else choices
    values = cells.checked_list(found, columns.others, CANDIDATES)
    texts = [cells.exact(each, columns.others) for each in values]
    index = _index(cells.cell(columns.correct), columns.correct, len(texts))
    others = () if symbols else (*texts[:index], *texts[index + 1 :])
    return _Answer(texts[index], others)


def _index(value: object, column: str, count: int) -> int:
    text = str(value)
    if isinstance(value, (int, str)) and text.isascii() and text.isdecimal() and len(text) < 4:
        index = int(text)
        if index < count:
            return index
    raise Unusable(f"{column!r} is {shown(value)}, and the choices are 0 to {count - 1}")
