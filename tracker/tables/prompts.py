"""Prompt distributions, with the text of every prompt and the item behind it."""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Integer,
    Text,
)
from sqlalchemy import text as sql
from sqlalchemy.orm import Mapped, mapped_column

from analyses.names import LONGEST_LINE
from analyses.prompts.mutations import Mutation
from analyses.prompts.sources import SourceKind
from tracker.tables.metadata import NOW, Id, Instant, Json, Row, is_name, one_of


class DistributionRow(Row):
    __tablename__ = "distribution"
    __table_args__ = (
        CheckConstraint(is_name("name", most=3 * LONGEST_LINE + 2), name="name"),
        {"comment": "A prompt distribution: a hashed recipe that yields prompts."},
    )

    id: Mapped[Id] = mapped_column(BigInteger, comment="Number of the distribution.")
    hash: Mapped[str] = mapped_column(
        unique=True, comment="sha256 over recipe, items, template and prompts."
    )
    name: Mapped[str] = mapped_column(
        comment="data/template/labels, or data/counterfactual of completions, for people."
    )
    spec: Mapped[Json] = mapped_column(comment="The recipe: every field of it.")
    size: Mapped[int] = mapped_column(comment="Number of prompts.")
    created_at: Mapped[Instant] = mapped_column(server_default=NOW, comment="When first used.")


class ItemRow(Row):
    __tablename__ = "item"
    __table_args__ = (
        {"comment": "One question with its answer and distractors; prompts are made from items."},
    )

    distribution_id: Mapped[int] = mapped_column(
        ForeignKey(DistributionRow.id), primary_key=True, comment="The distribution it is used in."
    )
    key: Mapped[str] = mapped_column(
        primary_key=True, comment="Name of the item, e.g. capitals/France."
    )
    topic: Mapped[str] = mapped_column(comment="What the question is about.")
    question: Mapped[str] = mapped_column(comment="The question.")
    answer: Mapped[str] = mapped_column(comment="The true answer.")
    distractors: Mapped[list[str]] = mapped_column(
        ARRAY(Text), comment="Answers of the same kind that are false here."
    )


class PromptRow(Row):
    __tablename__ = "prompt"
    __table_args__ = (
        ForeignKeyConstraint(
            ["distribution_id", "item_key"], [ItemRow.distribution_id, ItemRow.key]
        ),
        {"comment": "One prompt, as the model reads it."},
    )

    distribution_id: Mapped[int] = mapped_column(
        ForeignKey(DistributionRow.id), primary_key=True, comment="The distribution it belongs to."
    )
    number: Mapped[int] = mapped_column(
        primary_key=True,
        autoincrement=False,
        comment="Place in the distribution, from 0; score.values[number + 1] belongs to it.",
    )
    item_key: Mapped[str] = mapped_column(comment="The item it was made from.")
    text: Mapped[str] = mapped_column(comment="The whole text, up to where a label continues it.")
    labels: Mapped[list[str]] = mapped_column(
        ARRAY(Text), comment="What may continue the text: symbols of the options, or candidates."
    )
    options: Mapped[list[str]] = mapped_column(
        ARRAY(Text), comment="Texts of the options; none of a completion."
    )
    correct: Mapped[list[int]] = mapped_column(
        ARRAY(Integer), comment="Indices of the correct labels, from 0: one or several."
    )
    spans: Mapped[Json] = mapped_column(
        comment="Characters [start, stop) of the question and of each label and option in the "
        "text, or of the named parts of a completion; where each option's line stops; what joins a "
        "label to the text."
    )
    groups: Mapped[Json] = mapped_column(
        server_default=sql("'{}'"),
        comment="Groups of completions that it belongs to, such as its template.",
    )


class PromptPairRow(Row):
    __tablename__ = "prompt_pair"
    __table_args__ = (
        ForeignKeyConstraint(
            ["distribution_id", "number"], [PromptRow.distribution_id, PromptRow.number]
        ),
        one_of("kind", SourceKind, Mutation),
        {"comment": "A source of activations for a prompt, or the same question told otherwise."},
    )

    distribution_id: Mapped[int] = mapped_column(
        BigInteger,
        primary_key=True,
        autoincrement=False,
        comment="The distribution of the base prompt.",
    )
    number: Mapped[int] = mapped_column(
        primary_key=True, autoincrement=False, comment="The base prompt's place in it."
    )
    kind: Mapped[str] = mapped_column(
        primary_key=True,
        comment="How the companion was made: resample, paired, permute_options, shuffled …",
    )
    seed: Mapped[int] = mapped_column(
        BigInteger, primary_key=True, autoincrement=False, comment="Which draw of sources."
    )
    source_number: Mapped[int] = mapped_column(
        comment="The prompt that the source is or, unless it was resampled, is a change of."
    )
    differs: Mapped[list[str]] = mapped_column(
        ARRAY(Text),
        comment="What differs: question, options, labels, position, label, shots, wording, text.",
    )
    item_key: Mapped[str] = mapped_column(comment="The item that the source asks.")
    text: Mapped[str] = mapped_column(comment="The source's whole text.")
    labels: Mapped[list[str]] = mapped_column(
        ARRAY(Text), comment="What may continue it: symbols of its options, or candidates."
    )
    options: Mapped[list[str]] = mapped_column(
        ARRAY(Text), comment="Texts of its options; none of a completion."
    )
    correct: Mapped[list[int]] = mapped_column(
        ARRAY(Integer), comment="Indices of its correct labels, from 0: one or several."
    )
    spans: Mapped[Json] = mapped_column(comment="Places in its text, as those of a prompt.")
    groups: Mapped[Json] = mapped_column(
        server_default=sql("'{}'"), comment="Groups of completions that it belongs to."
    )
