"""Which tokens of a prompt belong together."""

import pytest
from questions import questions

from analyses.language_model import LanguageModel
from analyses.prompts.distributions import DistributionSpec, build
from analyses.prompts.locating import places
from analyses.prompts.question_places import OptionPlaces, QuestionPlaces
from analyses.prompts.tokenization import tokenize


@pytest.fixture(scope="module")
def words():
    """The tokenizer of the shipped model, for which a token is a word."""
    return LanguageModel.load("mcq-small").tokenizer


def test_each_token_belongs_to_the_first_group_that_claims_it() -> None:
    """The first option's bracket is its content's first token, and its content ends its line."""
    found = QuestionPlaces(
        number=0,
        question_first=1,
        question_last=3,
        options=(
            OptionPlaces(label=5, bracket=6, content_first=6, content_last=7, option_end=7),
            OptionPlaces(label=8, bracket=9, content_first=10, content_last=11, option_end=12),
        ),
        final=14,
    )
    assert found.key_groups((0,)) == {
        "labels": {5, 8},
        "contents": {6, 7, 10, 11},
        "brackets": {9},
        "ends": {12},
        "question": {1, 2, 3},
        "last": {13, 14},
        "rest": {0, 4},
        "correct_label": {5},
        "other_labels": {8},
        "label_0": {5},
        "label_1": {8},
        "correct_content": {6, 7},
    }


@pytest.mark.parametrize("shots", [0, 2])
@pytest.mark.parametrize("separators", ["(A)", "A.", "A:"])
def test_the_groups_part_the_tokens_of_every_prompt(tokenizer, separators: str, shots: int) -> None:
    spec = DistributionSpec(separators=separators, shots=shots, size=12)
    for prompt in build(spec).prompts:
        where = places(tokenizer, prompt)
        assert isinstance(where, QuestionPlaces)
        found = where.parting()
        every = sorted(token for tokens in found.values() for token in tokens)
        assert every == list(range(where.final + 1))
        assert all(found[name] for name in ("labels", "brackets", "contents", "question", "last"))


def test_the_groups_hold_the_words_they_say(words) -> None:
    spec = DistributionSpec.parse("colours/mmlu/shuffled", shots=1, options=5, size=10)
    for prompt in questions(spec).prompts:
        ids = tokenize(words, prompt).input_ids
        said = {
            name: [words.decode([ids[token]], skip_special_tokens=False) for token in sorted(group)]
            for name, group in places(words, prompt).key_groups(prompt.correct).items()
        }
        right = prompt.labels[prompt.correct_option]
        assert said["labels"] == list(prompt.labels)
        assert said["correct_label"] == [right]
        assert sorted(said["other_labels"]) == sorted({*prompt.labels} - {right})
        assert [said[f"label_{index}"] for index in range(5)] == [[one] for one in prompt.labels]
        assert said["brackets"] == ["."] * 5
        assert said["ends"] == ["\n"] * 5
        assert said["contents"] == " ".join(prompt.options).split()
        assert said["correct_content"] == prompt.options[prompt.correct_option].split()
        assert said["question"][-1] == "?"
        assert said["last"] == ["Answer", ":"]
        assert said["rest"][0] == "[BOS]"
