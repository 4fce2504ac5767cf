"""Scores of parts come together in the order of the prompts, bit by bit."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from sqlalchemy import func, select, text

from analyses.bootstrap import Statistics
from analyses.quantities import Quantity, Varied
from analyses.results import MODEL, Component, Kind, Measured, NamedTensor, NotANumber, ScoreKey
from analyses.stored import ScoreDescription
from tracker import results
from tracker.database.db import BusyDatabase, Sessions, passes, transaction
from tracker.domain import Model
from tracker.domain.run_notes import RunNotes
from tracker.store import endings, part_tensors, parts, scores
from tracker.tables import ComponentRow, PartScoreRow, PartTensorRow

from .conftest import MakeRun
from .part_work import claim, write

HEAD = Component(kind=Kind.HEAD, layer=1, index=3)
KEYS = [
    ScoreKey(HEAD, Quantity("logit_attribution")),
    ScoreKey(MODEL, Quantity("accuracy", "z", {"of": "q", "variant": "placebo"}), x=0.5),
]


def test_vectors_of_parts_are_joined_with_every_bit_and_every_gap(
    sessions: Sessions, make_run: MakeRun, model: Model
) -> None:
    run = make_run()
    whole = {key: np.random.default_rng(1).normal(size=8).astype(np.float32) for key in KEYS}
    skipped = np.isin(np.arange(8), [2, 5])
    claims = [claim(sessions, run.id) for _ in range(2)]
    for each in reversed(claims):  # whichever part ends first
        mine = slice(each.start, each.stop)
        measured = Measured(
            scores={key: values[mine] for key, values in whole.items()},
            skipped={KEYS[0]: skipped[mine]},
        )
        with transaction(sessions) as session:
            scores.insert_part_scores(session, each, model.id, measured)
    whole[KEYS[0]][skipped] = np.nan
    with transaction(sessions) as session:
        joined = scores.joined_part_scores(session, run)
    assert sorted(joined) == sorted(KEYS)
    for key in KEYS:
        np.testing.assert_array_equal(joined[key], whole[key])


def test_a_number_that_is_none_is_not_stored_unless_its_prompt_was_skipped(
    sessions: Sessions, make_run: MakeRun, model: Model
) -> None:
    run = make_run()
    claim(sessions, run.id)
    second = claim(sessions, run.id)
    values = np.array([1, np.nan, np.inf, 2], dtype=np.float32)
    skipped = {KEYS[0]: np.array([False, True, False, False])}
    measured = Measured(scores={KEYS[0]: values}, skipped=skipped)
    with (
        transaction(sessions) as session,
        pytest.raises(NotANumber, match=r"inf for score .* of L01.H03 of prompt 6"),
    ):
        scores.insert_part_scores(session, second, model.id, measured)
    with transaction(sessions) as session:
        assert scores.joined_part_scores(session, run) == {}


def test_scores_that_cannot_be_written_in_time_can_be_written_later(
    sessions: Sessions, model: Model
) -> None:
    """They are copied by the driver itself; its errors are known for what they are as well."""

    def slowly() -> Iterator[tuple[object, ...]]:
        time.sleep(0.3)
        yield model.id, "head", 0, 0

    def write() -> None:
        with transaction(sessions) as session:
            session.execute(text("SET LOCAL statement_timeout = '100ms'"))
            columns = ["model_id", "kind", "layer", "index"]
            scores.copy_rows(session, ComponentRow, columns, slowly())

    with pytest.raises(BusyDatabase) as raised:
        write()
    assert passes(raised.value)


def test_a_part_without_a_score_has_skipped_its_prompts(
    sessions: Sessions, make_run: MakeRun, model: Model
) -> None:
    run = make_run()
    for _ in range(2):
        each = claim(sessions, run.id)
        if each.start:
            values = np.arange(each.stop - each.start, dtype=np.float32)
            with transaction(sessions) as session:
                scores.insert_part_scores(
                    session, each, model.id, Measured(scores={KEYS[0]: values})
                )
    with transaction(sessions) as session:
        joined = scores.joined_part_scores(session, run)[KEYS[0]]
    np.testing.assert_array_equal(joined, [*[np.nan] * 4, 0, 1, 2, 3])


def test_scores_replace_what_parts_had_measured_when_the_run_succeeds(
    sessions: Sessions, make_run: MakeRun, model: Model
) -> None:
    run = make_run(bounds=[(0, 8)])
    values = np.arange(8, dtype=np.float32)
    first = claim(sessions, run.id)
    written = write(sessions, first, {"shares": NamedTensor(values, ("prompt",))})
    with transaction(sessions) as session:
        scores.insert_part_scores(session, first, model.id, Measured(scores={KEYS[0]: values}))
        part_tensors.insert_part_tensors(session, first, written)
        endings.finish_part(session, first, provenance={})
    last = claim(sessions, run.id)
    found = Statistics(n=8, skipped=0, mean=3.5, sem=0.8, ci_low=2.0, ci_high=5.0)
    size = Statistics(n=8, skipped=0, mean=4.0, sem=None, ci_low=None, ci_high=None)
    with transaction(sessions) as session:
        found_scores = {KEYS[0]: (found, values), KEYS[1]: (size, None)}
        scores.insert_scores(session, run.id, model.id, found_scores)
        endings.finish_run(session, last, notes=RunNotes())
    with transaction(sessions) as session:
        lines = results.scores(session, run.id)
        left = [
            session.scalar(select(func.count()).select_from(table))
            for table in (PartScoreRow, PartTensorRow)
        ]
    assert left == [0, 0]
    assert [(line.component, line.mean, line.ci_low) for line in lines] == [
        (HEAD, 3.5, 2.0),
        (MODEL, 4.0, None),
    ]


def test_the_headline_comes_first_and_of_its_sites_what_heads_give(
    sessions: Sessions, make_run: MakeRun, model: Model
) -> None:
    run = make_run(bounds=[(0, 8)])
    ends = [claim(sessions, run.id)]
    with transaction(sessions) as session:
        endings.finish_part(session, ends[0], provenance={})
    keys = [
        ScoreKey(HEAD, Quantity(metric, site))
        for metric in ("direct", "total")
        for site in ("q", "z")
    ]
    found = Statistics(n=8, skipped=0, mean=1.0, sem=None, ci_low=None, ci_high=None)
    last = claim(sessions, run.id)
    with transaction(sessions) as session:
        scores.insert_scores(session, run.id, model.id, dict.fromkeys(keys, (found, None)))
        endings.finish_run(session, last, notes=RunNotes(headline=Quantity("total")))
    with transaction(sessions) as session:
        lines = results.scores(session, run.id)
    assert [(line.quantity.metric, line.quantity.site) for line in lines] == [
        ("total", "z"),
        ("total", "q"),
        ("direct", "z"),
        ("direct", "q"),
    ]


def test_components_are_recorded_once(sessions: Sessions, make_run: MakeRun, model: Model) -> None:
    for _ in range(2):
        run = make_run(bounds=[(0, 8)])
        with transaction(sessions) as session:
            claimed = parts.claim(session, run.id, worker="w", lease=60)
            assert claimed is not None
            vector = np.zeros(8, dtype=np.float32)
            measured = Measured(scores=dict.fromkeys(KEYS, vector))
            scores.insert_part_scores(session, claimed, model.id, measured)
    with transaction(sessions) as session:
        assert session.scalar(select(func.count()).select_from(ComponentRow)) == 2


def of_head(index: int, metric: str, condition: str = "", x: float = 0.0) -> ScoreKey:
    component = Component(kind=Kind.HEAD, layer=0, index=index)
    return ScoreKey(component, Quantity(metric, varied=Varied.read(condition)), x=x)


Store = Callable[..., list[results.ScoreLine]]


@pytest.fixture
def stored(sessions: Sessions, make_run: MakeRun, model: Model) -> Store:
    """The lines of a run that has succeeded with these means; keywords are what it notes."""

    def store(means: Mapping[ScoreKey, float], **notes: Any) -> list[results.ScoreLine]:
        run = make_run(bounds=[(0, 8)])
        first = claim(sessions, run.id)
        with transaction(sessions) as session:
            endings.finish_part(session, first, provenance={})
        last = claim(sessions, run.id)
        found = {
            key: (Statistics(n=8, skipped=0, mean=mean, sem=0, ci_low=mean, ci_high=mean), None)
            for key, mean in means.items()
        }
        with transaction(sessions) as session:
            scores.insert_scores(session, run.id, model.id, found)
            endings.finish_run(session, last, notes=RunNotes(**notes))
        with transaction(sessions) as session:
            return results.scores(session, run.id)

    return store


SAID = (
    ScoreDescription(
        metric="order", meaning="", better="low", where=((Kind.HEAD, ""),), no_interval="why"
    ),
    ScoreDescription(metric="known", meaning="", better="high", where=((Kind.HEAD, ""),)),
    ScoreDescription(metric="effect", meaning="", where=((Kind.HEAD, ""),)),
    ScoreDescription(metric="gained", meaning="", where=((Kind.HEAD, ""),), x="the rank"),
)


@pytest.mark.parametrize(
    ("metric", "means", "first"),
    [
        ("order", (3.0, 1.0, 2.0), [1, 2, 0]),  # the first is the strongest
        ("known", (0.5, -1.0, 0.9), [2, 0, 1]),
        ("effect", (0.5, -1.0, 0.9), [1, 2, 0]),  # of either sign
        ("unsaid", (0.5, -1.0, 0.9), [1, 2, 0]),
    ],
)
def test_the_strongest_are_those_of_which_it_is_better(
    stored: Store, metric: str, means: tuple[float, ...], first: list[int]
) -> None:
    lines = stored({of_head(index, metric): mean for index, mean in enumerate(means)}, scores=SAID)
    assert [line.component.index for line in results.strongest(lines, 3)] == first


def test_the_strongest_are_of_the_headline_and_of_no_other_metric_beside_it(stored: Store) -> None:
    means = {
        **{of_head(index, "order"): 100.0 - index for index in range(3)},
        **{of_head(index, "effect", "accuracy"): 50.0 for index in range(3)},
        **{of_head(index, "effect", "logit_diff"): float(index) for index in range(3)},
    }
    lines = stored(means, headline=Quantity("effect", varied={"of": "logit_diff"}), scores=SAID)
    best = results.strongest(lines, 9)
    assert [(line.quantity.condition, line.mean) for line in best] == [
        ("logit_diff", 2.0),
        ("logit_diff", 1.0),
        ("logit_diff", 0.0),
    ]
    assert results.without_interval(lines) == ["order has no interval: why."]
    assert results.as_row(lines[-1])["no_interval"] == "why"


def test_a_coordinate_of_zero_is_one_where_the_analysis_says_so(stored: Store) -> None:
    """Of what nothing is said, as of runs of long ago, the other scores of the kind tell."""
    means = {
        of_head(0, "gained"): 0.0,
        of_head(0, "effect"): 1.0,
        **{of_head(0, "by_rank", x=rank): 1.0 for rank in (0.0, 1.0)},
        of_head(1, "by_rank"): 1.0,
        of_head(0, "plain"): 1.0,
    }
    lines = stored(means, scores=SAID)
    shown = {(line.quantity.metric, line.component.index, line.coordinate) for line in lines}
    assert shown == {
        ("gained", 0, "0"),
        ("effect", 0, ""),
        ("by_rank", 0, "0"),
        ("by_rank", 0, "1"),
        ("by_rank", 1, "0"),
        ("plain", 0, ""),
    }
