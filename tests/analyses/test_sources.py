"""For every prompt a source that differs in what its kind says, and in nothing else."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from questions import SOURCES, base_and_source, questions

from analyses.errors import Refused
from analyses.prompts.distributions import DistributionSpec, build
from analyses.prompts.labels import SCHEMES
from analyses.prompts.mutations import Mutation, NoMutation
from analyses.prompts.pairing import pairs
from analyses.prompts.sources import Difference, SourceKind
from analyses.prompts.streams import Stream

LIST = "list:α,β,γ,δ,ε,ζ,η,θ,ι,κ"  # noqa: RUF001 - Greek is meant
QUESTION, OPTIONS, LABELS, POSITION, LABEL, SHOTS, WORDING, _ = Difference

SPECS = st.builds(
    DistributionSpec,
    data=st.sampled_from(["facts", "colours"]),
    template=st.sampled_from(["chinchilla", "mmlu"]),
    labels=st.sampled_from([*SCHEMES, LIST]),
    options=st.integers(2, 10),
    shots=st.integers(0, 2),
    size=st.integers(12, 24),
    seed=st.integers(0, 9),
)
laws = settings(max_examples=25, deadline=None)


def compared(pair):
    """What differs between the prompts, read from the prompts themselves."""
    one, other = base_and_source(pair)
    ask = [each.text[slice(*each.question_span)] for each in (one, other)]
    differs = {
        QUESTION: ask[0] != ask[1],
        OPTIONS: one.options != other.options,
        LABELS: one.labels != other.labels,
        POSITION: one.correct != other.correct,
        LABEL: one.labels[one.correct_option] != other.labels[other.correct_option],
    }
    return {each for each, true in differs.items() if true}


def answer(prompt):
    return prompt.options[prompt.correct_option]


@laws
@given(SPECS, st.sampled_from(SOURCES), st.integers(0, 3))
def test_pairs_are_complete_repeatable_and_store_what_differs(spec, kind, seed):
    built = build(spec)
    made = pairs(built, kind, seed=seed)
    assert [pair.base for pair in made] == list(built.prompts)
    assert made == pairs(build(spec), kind, seed=seed)
    for pair in made:
        assert pair.kind is kind
        assert pair.differs - {SHOTS} == compared(pair)
        assert (SHOTS in pair.differs) <= (kind is SourceKind.RESAMPLE and spec.shots > 0)
        two = spec.options == 2 and kind is SourceKind.POSITION_SYMBOL
        assert LABEL in pair.differs or two
        assert pair.base.text != pair.source.text
        _, source = base_and_source(pair)
        assert len(set(source.labels)) == len(set(source.options)) == spec.options
        assert tuple(source.text[slice(*span)] for span in source.label_spans) == source.labels
        assert tuple(source.text[slice(*span)] for span in source.option_spans) == source.options
        assert source.joint == pair.base.joint


def test_other_shots_are_told():
    built = build(DistributionSpec(shots=2, size=12))
    assert all(SHOTS in pair.differs for pair in pairs(built, SourceKind.RESAMPLE))


@laws
@given(SPECS)
def test_resample_takes_a_prompt_of_the_distribution(spec):
    built = build(spec)
    for pair in pairs(built, SourceKind.RESAMPLE):
        assert pair.source == built.prompts[pair.source.number]
        assert pair.source.number != pair.base.number


@laws
@given(SPECS)
def test_permuted_options_are_the_same_under_the_same_labels(spec):
    for pair in pairs(build(spec), SourceKind.PERMUTE_OPTIONS):
        base, source = base_and_source(pair)
        assert pair.differs == {OPTIONS, POSITION, LABEL}
        assert sorted(source.options) == sorted(base.options)
        assert answer(source) == answer(base)


@laws
@given(SPECS)
def test_randomised_labels_are_letters_that_the_base_has_not(spec):
    for pair in pairs(build(spec), SourceKind.RANDOMISE_LABELS):
        assert pair.differs == {LABELS, LABEL}
        assert not set(pair.source.labels) & set(pair.base.labels)
        assert all(label.isascii() and label.isupper() for label in pair.source.labels)


@laws
@given(SPECS)
def test_position_and_symbol_lead_to_different_options(spec):
    for pair in pairs(build(spec), SourceKind.POSITION_SYMBOL):
        base, source = base_and_source(pair)
        assert pair.differs == {OPTIONS, LABELS, POSITION, LABEL} or (
            # With two options the labels are swapped as well, so the symbol stays.
            spec.options == 2 and pair.differs == {OPTIONS, LABELS, POSITION}
        )
        assert sorted(source.labels) == sorted(base.labels)
        assert sorted(source.options) == sorted(base.options)
        assert answer(source) == answer(base)
        by_position = source.correct_option
        by_symbol = base.labels.index(source.labels[by_position])
        assert by_position != by_symbol
        assert by_position != base.correct_option
        if spec.options > 2:
            assert by_symbol != base.correct_option


def test_another_seed_or_distribution_draws_other_sources():
    built = build(DistributionSpec(options=6, size=40))
    again = build(DistributionSpec(options=6, size=40, seed=1))
    for kind in SOURCES:
        first = [pair.source.text for pair in pairs(built, kind)]
        assert first != [pair.source.text for pair in pairs(built, kind, seed=1)]
        assert first != [pair.source.text for pair in pairs(again, kind)]


def test_sources_reach_every_other_position():
    built = build(DistributionSpec(options=4, size=400))
    for kind in (SourceKind.RESAMPLE, SourceKind.PERMUTE_OPTIONS, SourceKind.POSITION_SYMBOL):
        both = map(base_and_source, pairs(built, kind))
        moves = [(base.correct_option, source.correct_option) for base, source in both]
        assert set(moves) == {(a, b) for a in range(4) for b in range(4) if a != b}
        assert min(moves.count(move) for move in set(moves)) > 15


def test_shots_stay_as_they_are():
    built = build(DistributionSpec(shots=2, size=12))
    for kind in set(SOURCES) - {SourceKind.RESAMPLE, SourceKind.RANDOMISE_LABELS}:
        for pair in pairs(built, kind):
            if kind is SourceKind.PERMUTE_OPTIONS:
                base, source = base_and_source(pair)
                start = base.question_span.start
                assert source.text[:start] == base.text[:start]


def test_other_labels_stand_in_the_solved_questions_too():
    (pair, *_) = pairs(build(DistributionSpec(shots=1)), SourceKind.RANDOMISE_LABELS)
    for old, new in zip(pair.base.labels, pair.source.labels, strict=True):
        assert pair.base.text.count(f"\n({old}) ") == pair.source.text.count(f"\n({new}) ") == 2
        assert f"\n({old}) " not in pair.source.text


def test_a_distribution_with_one_correct_label_has_nothing_to_resample():
    with pytest.raises(Refused, match=r"of 1 prompt, none has a correct label other than"):
        pairs(build(DistributionSpec(size=1)), SourceKind.RESAMPLE)


@laws
@given(SPECS, st.sampled_from(Mutation), st.integers(0, 3))
def test_a_mutation_asks_the_same_with_other_labels_or_words(spec, mutation, seed):
    built = build(spec)
    if {Mutation.NUMBERS: "numbers", Mutation.SYMBOLS: "symbols"}.get(mutation) == spec.labels:
        with pytest.raises(NoMutation):
            pairs(built, mutation, seed=seed)
        return
    made = pairs(built, mutation, seed=seed)
    assert made == pairs(build(spec), mutation, seed=seed)
    worded = mutation in (Mutation.OTHER_SEPARATORS, Mutation.NO_PRELUDE)
    for pair in made:
        base, source = base_and_source(pair)
        assert source.options == base.options
        assert source.correct == base.correct
        assert base.text != source.text
        assert pair.differs - {LABEL} == ({WORDING} if worded else {LABELS})
        if mutation is Mutation.SHUFFLED:
            assert sorted(pair.source.labels) == sorted(pair.base.labels)


def test_what_cannot_be_told_otherwise_is_refused():
    with pytest.raises(NoMutation, match="already have no prelude"):
        pairs(build(DistributionSpec(prelude=False)), Mutation.NO_PRELUDE)
    with pytest.raises(NoMutation, match="labels already are 1, 2, 3, 4"):
        pairs(build(DistributionSpec(labels="numbers")), Mutation.NUMBERS)


def test_resample_is_the_first_prompt_from_a_random_one_on_with_another_label(tmp_path):
    """Held against a look at one prompt after the other; nearly all have the same answer."""
    path = tmp_path / "x.jsonl"
    choices = ["one", "two", "All of the above"]
    rows = [
        {"question": f"q{n}?", "choices": choices, "answer": 2 if n % 9 else n // 9 % 2}
        for n in range(40)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    fields = {"options": 3, "size": 40, "option_references": "keep", "answer_reading": "from_0"}
    built = questions(DistributionSpec(data=f"file:{path}", **fields))
    labels = [plan.correct_label for plan in built.plans]
    assert labels.count("C") == 35
    for seed in range(5):
        for pair in pairs(built, SourceKind.RESAMPLE, seed=seed):
            start = Stream(built.hash, "resample", seed, pair.base.number).below(40)
            others = ((start + step) % 40 for step in range(40))
            first = next(n for n in others if labels[n] != labels[pair.base.number])
            assert pair.source.number == first
