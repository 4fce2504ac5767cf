"""Completions come back from Postgres as they went in, and an older schema does not take them."""

import pytest
from alembic import command
from alembic.config import Config
from plain_connection import connect
from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError

from analyses.prompts import distributions, pairing
from analyses.prompts.distributions import CompletionDistribution, DistributionSpec
from analyses.prompts.sources import SourceKind
from tracker.database import schema
from tracker.database.db import Sessions, transaction
from tracker.store import distributions as distribution_store
from tracker.store import pairs as pair_store

SIZE = 12


@pytest.fixture(params=["ioi", "ioi/abc", "greater_than"])
def built(request: pytest.FixtureRequest) -> CompletionDistribution:
    made = distributions.build(DistributionSpec.parse(request.param, size=SIZE))
    assert isinstance(made, CompletionDistribution)
    return made


def stored(sessions: Sessions, *made: distributions.Distribution) -> list[int]:
    with transaction(sessions) as session:
        return [distribution_store.add_distribution(session, each) for each in made]


def downgrade(url: str, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", "migrations:")
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            config.attributes["connection"] = connection
            command.downgrade(config, revision)
    finally:
        engine.dispose()


@pytest.mark.parametrize("kind", [SourceKind.PAIRED, SourceKind.RESAMPLE])
def test_completions_and_their_sources_come_back_as_they_were_stored(
    sessions: Sessions, built: CompletionDistribution, kind: SourceKind
) -> None:
    """With spans in their order, which the names of groups of keys follow."""
    (number,) = stored(sessions, built)
    made = pairing.pairs(built, kind, seed=3)
    with transaction(sessions) as session:
        pair_store.add_pairs(session, number, made, seed=3)
    with transaction(sessions) as session:
        prompts = distribution_store.prompts(session, number, 0, SIZE)
        found = pair_store.pairs(session, kind, number, 2, 9, seed=3)
        spec = distribution_store.spec(session, number)
    assert prompts == list(built.prompts)
    assert found == list(made[2:9])
    assert spec == built.spec
    assert [prompt.to_json() for prompt in prompts] == [each.to_json() for each in built.prompts]
    assert [list(dict(prompt.parts)) for prompt in prompts] == [
        list(dict(each.parts)) for each in built.prompts
    ]
    assert [list(dict(pair.source.parts)) for pair in found] == [
        list(dict(each.source.parts)) for each in made[2:9]
    ]


def test_the_text_asked_and_its_correct_candidates_count_as_the_item(
    sessions: Sessions, built: CompletionDistribution
) -> None:
    (number,) = stored(sessions, built)
    with transaction(sessions) as session:
        asked = distribution_store.asked(session, number)
    assert len(set(asked)) == len({prompt.text for prompt in built.prompts}) == SIZE


def test_an_older_schema_is_refused_while_completions_are_stored_and_nothing_changes(
    sessions: Sessions, database_url: str
) -> None:
    made = distributions.build(DistributionSpec(data="ioi", size=SIZE))
    (number,) = stored(sessions, made)
    said = "Runs on completions are stored, which earlier versions cannot read. Restore a backup"
    with pytest.raises(DBAPIError, match=said):
        downgrade(database_url, "0021")
    with transaction(sessions) as session:
        assert distribution_store.prompts(session, number, 0, SIZE) == list(made.prompts)


def test_questions_keep_their_correct_option_down_and_up(
    sessions: Sessions, database_url: str
) -> None:
    questions = distributions.build(DistributionSpec(size=SIZE))
    (number,) = stored(sessions, questions)
    made = pairing.pairs(questions, SourceKind.PERMUTE_OPTIONS)
    with transaction(sessions) as session:
        pair_store.add_pairs(session, number, made, seed=0)
    downgrade(database_url, "0021")
    with connect(database_url) as connection:
        for table, expected in (
            ("prompt", [prompt.correct for prompt in questions.prompts]),
            ("prompt_pair", [pair.source.correct for pair in made]),
        ):
            query = f"SELECT correct FROM headbook.{table} ORDER BY number"
            assert connection.execute(query).fetchall() == expected
    schema.migrate(database_url, "head")
    with transaction(sessions) as session:
        assert distribution_store.prompts(session, number, 0, SIZE) == list(questions.prompts)
        kind = SourceKind.PERMUTE_OPTIONS
        assert pair_store.pairs(session, kind, number, 0, SIZE, seed=0) == list(made)
