"""Reads a row of a file of completions whose columns are texts, candidates and spans."""

from analyses.prompts.bad_rows import Unusable
from analyses.prompts.cells import Cells
from analyses.prompts.pair_columns import PairColumns
from analyses.prompts.pair_spans import written_spans
from analyses.prompts.written_pairs import WrittenPair, WrittenText

CANDIDATES = "candidates"


def read(cells: Cells, columns: PairColumns, usual: PairColumns) -> WrittenPair:
    """The pair of a row; columns that have their usual names may be missing. Raises `Unusable`."""
    prompt = cells.cell(columns.prompt)
    asked = WrittenText(
        text=cells.exact(prompt, columns.prompt),
        correct=_texts(cells, columns.correct),
        others=_texts(cells, columns.others),
        spans=written_spans(cells, columns.spans, usual.spans, prompt),
    )
    return WrittenPair(asked=asked, counterfactual=_counterfactual(cells, columns, usual))


def _counterfactual(cells: Cells, columns: PairColumns, usual: PairColumns) -> WrittenText | None:
    text = cells.given(columns.counterfactual, usual.counterfactual)
    own = {
        column: cells.given(column, name)
        for column, name in (
            (columns.counterfactual_correct, usual.counterfactual_correct),
            (columns.counterfactual_others, usual.counterfactual_others),
            (columns.counterfactual_spans, usual.counterfactual_spans),
        )
    }
    given = [column for column, value in own.items() if value is not None]
    if text is None:
        if given:
            raise Unusable(f"it has {given[0]!r}, but no {columns.counterfactual!r}")
        return None
    correct, others, _ = (column in given for column in own)
    if others and not correct:
        raise Unusable(
            f"it has {columns.counterfactual_others!r}, but no {columns.counterfactual_correct!r}"
        )
    return WrittenText(
        text=cells.exact(text, columns.counterfactual),
        correct=_texts(cells, columns.counterfactual_correct) if correct else (),
        others=_texts(cells, columns.counterfactual_others) if others else (),
        spans=written_spans(cells, columns.counterfactual_spans, usual.counterfactual_spans, text),
    )


def _texts(cells: Cells, column: str) -> tuple[str, ...]:
    """The text in a cell, or those of its list, which is JSON in a CSV file."""
    value = cells.cell(column)
    if isinstance(value, str) and value.lstrip().startswith("["):
        decoded = cells.decoded(value, column)
        value = decoded if isinstance(decoded, list) else value
    values = cells.checked_list(value, column, CANDIDATES) if isinstance(value, list) else [value]
    if not values:
        raise Unusable(f"{column!r} is empty, and at least one candidate is needed")
    return tuple(cells.exact(each, column) for each in values)
