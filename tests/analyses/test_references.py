"""Options that name others stay where they are, or their questions are skipped and counted."""

import json

import pytest
from questions import SOURCES, questions

from analyses.errors import Refused
from analyses.prompts.distributions import DistributionSpec, build
from analyses.prompts.pairing import pairs
from analyses.prompts.question_sources import OptionsKeepTheirOrder
from analyses.prompts.references import order_of
from analyses.prompts.sources import SourceKind

KEEP = {"option_references": "keep"}


@pytest.mark.parametrize(
    ("option", "letters"),
    [
        ("All of the above", False),
        ("none of the above.", False),
        ("None of the other choices", False),
        ("All of these answers are correct", False),
        ("Two of the above", False),
        ("Both A and B", True),
        ("both (a) and (b)", True),
        ("Neither A nor B", True),
        ("A, B, and C", True),
        ("A and C only", True),
        ("A only", True),
        ("All of the above except C", True),
        ("Options B & D", True),
    ],
)
def test_an_option_names_others_by_their_places_or_their_letters(option, letters) -> None:
    found = order_of(["oak", "rose", option, "moss"], 2)
    assert found is not None
    assert (found.place, found.letters) == (2, letters)


@pytest.mark.parametrize(
    "option",
    ["blood", "A", "Vitamin A and vitamin B", "Both lungs", "I and II only", "A cat and a dog",
     "All of the cells above the membrane", "A and F", "Neither party", "both a cat and a dog",
     "Each other", "any other", "Some others"],
)  # fmt: skip
def test_an_option_that_names_no_other_is_free(option) -> None:
    assert order_of(["oak", "rose", option, "moss"], 0) is None


def spec_of(tmp_path, rows, **fields):
    path = tmp_path / "x.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return DistributionSpec(data=f"file:{path}", size=fields.pop("size", len(rows)), **fields)


def row(n: int, *last: str, answer: str) -> dict[str, object]:
    choices = [f"{n} {each}" for each in "abcd"][: 4 - len(last)] + list(last)
    return {"question": f"{n}?", "choices": choices, "answer": answer}


ROWS = [
    *(row(n, answer="C") for n in range(8)),
    row(8, "All of the above", answer="D"),
    row(9, "Both A and B", "None of the above", answer="C"),
]


def test_they_are_skipped_and_counted_unless_they_are_to_be_kept(tmp_path) -> None:
    built = questions(spec_of(tmp_path, ROWS, size=8))
    assert built.skipped == 2
    assert built.remarks[-1] == "Questions skipped, since one of their options names others: 2."
    assert not [each for prompt in built.prompts for each in prompt.options if "above" in each]
    with pytest.raises(
        Refused, match=r"has 8 items, .* 8 different prompts .*\. 2 more are skipped"
    ):
        build(spec_of(tmp_path, ROWS))


@pytest.mark.parametrize("seed", range(5))
def test_kept_options_stay_in_the_order_of_the_file(tmp_path, seed: int) -> None:
    built = questions(spec_of(tmp_path, ROWS, seed=seed, **KEEP))
    assert (built.skipped, len(built.prompts)) == (0, 10)
    assert "stay in their order, since one of them names others: 2." in built.remarks[-1]
    by_question = {plan.asked.item.question: plan.asked for plan in built.plans}
    for n, place in ((8, 3), (9, 2)):
        asked = by_question[f"{n}?"]
        assert list(asked.options) == ROWS[n]["choices"]
        assert asked.correct == place
    free = [by_question[f"{n}?"].correct for n in range(8)]
    assert sorted(free) == [0, 0, 1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize(
    ("fields", "skipped"),
    [
        ({"labels": "ABCD"}, 0),
        ({"labels": "list:A,B,C,D"}, 0),
        ({"labels": "numbers"}, 1),  # there is no A and no B
        ({"labels": "shuffled"}, 1),
        ({"options": 3}, 2),  # what is above is not all there
    ],
)
def test_what_an_option_says_of_others_must_be_true_of_the_prompt(
    tmp_path, fields, skipped: int
) -> None:
    built = build(spec_of(tmp_path, ROWS, size=10 - skipped, **KEEP, **fields))
    assert built.skipped == skipped


def test_solved_questions_keep_their_order_too(tmp_path) -> None:
    rows = [row(n, "All of the above", answer="D") for n in range(6)]
    for plan in questions(spec_of(tmp_path, rows, shots=2, **KEEP)).plans:
        assert all(shot.options[shot.correct] == "All of the above" for shot in plan.shots)
        assert all(shot.correct == 3 for shot in plan.shots)


@pytest.mark.parametrize("kind", SOURCES)
def test_a_source_that_would_make_them_false_is_refused(tmp_path, kind: SourceKind) -> None:
    built = build(spec_of(tmp_path, ROWS, **KEEP))
    if kind is SourceKind.RESAMPLE:
        assert len(pairs(built, kind)) == 10
        return
    number = 1 if kind is SourceKind.RANDOMISE_LABELS else 2
    with pytest.raises(OptionsKeepTheirOrder, match=rf"^{number} of 10 prompts.*skip"):
        pairs(built, kind)


def test_data_without_such_options_is_the_same_whatever_is_asked(tmp_path) -> None:
    for fields in ({}, {"data": "colours", "shots": 2}):
        spec = DistributionSpec(size=6, **fields)
        assert build(spec.model_copy(update=KEEP)).hash == build(spec).hash
    free = spec_of(tmp_path, ROWS[:8])
    assert build(free.model_copy(update=KEEP)).hash == build(free).hash
