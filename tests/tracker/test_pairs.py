"""Pairs come back from Postgres as they went in, and places of older prompts are filled in."""

import json
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from plain_connection import connect
from questions import SOURCES
from sqlalchemy import create_engine, func, select
from sqlalchemy.exc import IntegrityError

from analyses import bootstrap
from analyses.prompts import distributions, items, pairing
from analyses.prompts.distributions import DistributionSpec
from analyses.prompts.sources import SourceKind
from tracker.database import schema
from tracker.database.db import Sessions, transaction
from tracker.store import distributions as distribution_store
from tracker.store import pairs as pair_store
from tracker.tables import PromptPairRow, PromptRow

SPEC = DistributionSpec(
    data="colours", template="mmlu", labels="random_letters", options=5, shots=1, size=12
)


@pytest.mark.parametrize("kind", SOURCES)
def test_pairs_come_back_as_they_were_stored(sessions: Sessions, kind: SourceKind) -> None:
    built = distributions.build(SPEC)
    made = {seed: pairing.pairs(built, kind, seed=seed) for seed in (0, 2**40)}
    with transaction(sessions) as session:
        stored = distribution_store.add_distribution(session, built)
        for seed, pairs in made.items():
            pair_store.add_pairs(session, stored, pairs, seed=seed)
    with transaction(sessions) as session:
        for seed, pairs in made.items():
            found = pair_store.pairs(session, kind, stored, 3, 9, seed=seed)
            assert found == list(pairs[3:9])
        assert pair_store.pairs(session, kind, stored, 0, 12, seed=1) == []
        assert distribution_store.prompts(session, stored, 0, 12) == list(built.prompts)


def test_pairs_are_stored_once(sessions: Sessions) -> None:
    built = distributions.build(SPEC)
    made = pairing.pairs(built, SourceKind.RESAMPLE)
    for _ in range(2):
        with transaction(sessions) as session:
            stored = distribution_store.add_distribution(session, built)
            pair_store.add_pairs(session, stored, made, seed=0)
    with transaction(sessions) as session:
        assert session.scalar(select(func.count()).select_from(PromptPairRow)) == 12


def test_a_pair_needs_its_prompt(sessions: Sessions) -> None:
    made = pairing.pairs(distributions.build(SPEC), SourceKind.RESAMPLE)
    with pytest.raises(IntegrityError, match="prompt_pair"), transaction(sessions) as session:
        pair_store.add_pairs(session, 7, made, seed=0)


def test_an_item_that_is_asked_twice_is_stored_once(sessions: Sessions) -> None:
    built = distributions.build(DistributionSpec(data="colours", options=2, size=600))
    with transaction(sessions) as session:
        stored = distribution_store.add_distribution(session, built)
        told = distribution_store.asked(session, stored)
        assert told == [items.asked(each.question, each.answer) for each in built.items]


def test_rows_that_ask_the_same_count_as_one_item(sessions: Sessions, tmp_path: Path) -> None:
    """Under other ids, beside other options, in other letter case and spaces."""
    rows = [
        {"id": n, "question": question, "choices": ["blood", f"a{n}", f"b{n}"], "answer": "A"}
        for n, question in enumerate(["Which is red?", "which  is red? ", "WHICH IS RED?"] * 7)
    ]
    rows += [{"question": "Which is red?", "choices": ["a poppy", "snow", "ash"], "answer": "A"}]
    path = tmp_path / "x.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    spec = DistributionSpec(data=f"file:{path}", options=3, size=len(rows))
    built = distributions.build(spec)
    with transaction(sessions) as session:
        stored = distribution_store.add_distribution(session, built)
        told = distribution_store.asked(session, stored)
    assert len({each.id for each in built.items}) == 22
    assert bootstrap.draw(told, seed=0).n_items == 2  # a poppy is another answer


@pytest.mark.parametrize("data", ["facts", "colours"])
def test_every_shipped_question_is_an_item_of_its_own(data: str) -> None:
    shipped = items.load_items(data)
    assert len({items.asked(each.question, each.answer) for each in shipped}) == len(shipped)


def downgrade(url: str, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", "migrations:")
    engine = create_engine(url)
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, revision)
    engine.dispose()


def test_places_of_older_prompts_are_filled_in(sessions: Sessions, database_url: str) -> None:
    built = distributions.build(DistributionSpec(size=5))
    with transaction(sessions) as session:
        stored = distribution_store.add_distribution(session, built)
    downgrade(database_url, "0005")
    with connect(database_url) as connection:
        keys = connection.execute(
            "SELECT DISTINCT jsonb_object_keys(spans) FROM headbook.prompt ORDER BY 1"
        ).fetchall()
    assert keys == [("labels",), ("options",)]
    schema.migrate(database_url, "head")
    with transaction(sessions) as session:
        assert distribution_store.prompts(session, stored, 0, 5) == list(built.prompts)
        assert session.scalar(select(func.count()).select_from(PromptRow)) == 5
