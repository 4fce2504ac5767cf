"""Stores prompt distributions with their items and prompts, and reads them back."""

from typing import Any

from sqlalchemy import select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from analyses.prompts import items
from analyses.prompts.distributions import Distribution, DistributionSpec
from analyses.prompts.prompt import CompletionPrompt, Prompt, QuestionPrompt
from analyses.prompts.written import Span
from tracker.tables import DistributionRow, ItemRow, PromptPairRow, PromptRow


def add_distribution(session: Session, distribution: Distribution) -> int:
    """The id of the distribution, which is stored with its items and prompts if it is new."""
    new: int | None = session.scalar(
        insert(DistributionRow)
        .values(
            hash=distribution.hash,
            name=distribution.spec.name,
            spec=distribution.spec.model_dump(mode="json"),
            size=len(distribution.prompts),
        )
        .on_conflict_do_nothing(index_elements=[DistributionRow.hash])
        .returning(DistributionRow.id)
    )
    if new is None:
        # The same questions from another source: record the source that was used last.
        known = session.scalars(
            update(DistributionRow)
            .where(DistributionRow.hash == distribution.hash)
            .values(name=distribution.spec.name, spec=distribution.spec.model_dump(mode="json"))
            .returning(DistributionRow.id)
        )
        return known.one()
    session.execute(
        insert(ItemRow),
        [
            {
                "distribution_id": new,
                "key": item.id,
                "topic": item.topic,
                "question": item.question,
                "answer": item.answer,
                "distractors": list(item.distractors),
            }
            for item in {each.id: each for each in distribution.items}.values()
        ],
    )
    session.execute(
        insert(PromptRow),
        [
            {
                "distribution_id": new,
                "number": prompt.number,
                **stored(prompt),
            }
            for prompt in distribution.prompts
        ],
    )
    return new


def prompts(session: Session, distribution_id: int, start: int, stop: int) -> list[Prompt]:
    """Prompts `start` to `stop` - 1 of a stored distribution, in order."""
    query = (
        select(PromptRow)
        .where(
            PromptRow.distribution_id == distribution_id,
            PromptRow.number >= start,
            PromptRow.number < stop,
        )
        .order_by(PromptRow.number)
    )
    return [to_prompt(row, number=row.number) for row in session.scalars(query)]


def spec(session: Session, distribution_id: int) -> DistributionSpec:
    """The recipe of the distribution."""
    row = session.get_one(DistributionRow, distribution_id)
    return DistributionSpec.model_validate(row.spec)


def asked(session: Session, distribution_id: int) -> list[str]:
    """A key of each prompt's question, in the order of the prompts; equal questions share one."""
    query = (
        select(ItemRow.question, ItemRow.answer, PromptRow.options)
        .join(
            PromptRow,
            tuple_(PromptRow.distribution_id, PromptRow.item_key)
            == tuple_(ItemRow.distribution_id, ItemRow.key),
        )
        .where(PromptRow.distribution_id == distribution_id)
        .order_by(PromptRow.number)
    )
    return [
        items.asked(question, answer if options else "")  # a completion asks one thing only
        for question, answer, options in session.execute(query)
    ]


def to_prompt(row: PromptRow | PromptPairRow, *, number: int) -> Prompt:
    """The prompt of a row, or the source prompt of a pair's row."""
    common: dict[str, Any] = {
        "number": number,
        "item": row.item_key,
        "text": row.text,
        "joint": row.spans["joint"],
        "labels": tuple(row.labels),
        "correct": tuple(row.correct),
    }
    if not row.options:
        named = {name: Span(*where) for name, where in row.spans["named"]}
        return CompletionPrompt(**common, spans=named, by=row.groups)
    return QuestionPrompt(
        **common,
        options=tuple(row.options),
        question_span=Span(*row.spans["question"]),
        label_spans=_spans(row.spans["labels"]),
        option_spans=_spans(row.spans["options"]),
        line_stops=tuple(row.spans["line_stops"]),
    )


def stored(prompt: Prompt) -> dict[str, Any]:
    """The columns of a prompt that a prompt's row and a pair's row have both."""
    return {
        "item_key": prompt.item,
        "text": prompt.text,
        "labels": list(prompt.labels),
        "options": list(prompt.options) if isinstance(prompt, QuestionPrompt) else [],
        "correct": list(prompt.correct),
        "spans": _stored_spans(prompt),
        "groups": dict(prompt.by) if isinstance(prompt, CompletionPrompt) else {},
    }


def _stored_spans(prompt: Prompt) -> dict[str, Any]:
    """The character spans of a prompt's text, as JSON."""
    match prompt:
        case QuestionPrompt():
            return {
                "question": prompt.question_span,
                "labels": prompt.label_spans,
                "options": prompt.option_spans,
                "line_stops": prompt.line_stops,
                "joint": prompt.joint,
            }
        case CompletionPrompt():  # a list, since JSONB does not keep the order of keys
            return {"named": list(prompt.spans.items()), "joint": prompt.joint}
    raise TypeError(f"not a prompt of a known kind: {prompt!r}")


def _spans(pairs: list[list[int]]) -> tuple[Span, ...]:
    return tuple(Span(start, stop) for start, stop in pairs)
