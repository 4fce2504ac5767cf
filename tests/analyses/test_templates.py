"""A prompt reads to the letter as its template says, and knows where everything in it stands."""

import pytest
from questions import questions

from analyses.errors import Refused
from analyses.prompts.distributions import DistributionSpec, build
from analyses.prompts.items import Item
from analyses.prompts.plans import Plan, Question
from analyses.prompts.templates import wording

CHINCHILLA = (
    "A highly knowledgeable and intelligent AI answers multiple-choice questions about geography."
    "\n\n"
)
MMLU = "The following are multiple choice questions (with answers) about geography.\n\n"


def question(ask, answer, *others, correct=1, topic="geography"):
    item = Item(id=f"x/{ask}", topic=topic, question=ask, answer=answer, distractors=others)
    return Question(
        item=item, options=(*others[:correct], answer, *others[correct:]), correct=correct
    )


FRANCE = question("What is the capital of France?", "Paris", "Rome")
SPAIN = question("What is the capital of Spain?", "Madrid", "Lisbon", correct=0)


def plan(asked=FRANCE, *shots, labels=("A", "B")):
    return Plan(asked=asked, shots=shots, labels=labels)


@pytest.mark.parametrize(
    ("template", "separators", "text"),
    [
        (
            "chinchilla",
            "auto",
            CHINCHILLA + FRANCE.item.question + "\n(A) Rome\n(B) Paris\nAnswer: (",
        ),
        ("chinchilla", "A.", CHINCHILLA + FRANCE.item.question + "\nA. Rome\nB. Paris\nAnswer:"),
        ("mmlu", "auto", MMLU + FRANCE.item.question + "\nA. Rome\nB. Paris\nAnswer:"),
        ("mmlu", "(A)", MMLU + FRANCE.item.question + "\n(A) Rome\n(B) Paris\nAnswer: ("),
        ("mmlu", "A)", MMLU + FRANCE.item.question + "\nA) Rome\nB) Paris\nAnswer:"),
        ("mmlu", "A:", MMLU + FRANCE.item.question + "\nA: Rome\nB: Paris\nAnswer:"),
    ],
)
@pytest.mark.parametrize("prelude", [True, False])
def test_a_prompt_reads_as_its_template_says(template, separators, text, prelude):
    written = wording(template, separators=separators, prelude=prelude).write(plan())
    assert written.text == (text if prelude else text.partition("\n\n")[2])
    assert written.joint == ("" if text.endswith("(") else " ")


def test_solved_questions_stand_under_one_prelude_before_the_one_asked():
    written = wording("chinchilla", separators="auto", prelude=True).write(plan(FRANCE, SPAIN))
    assert written.text == (
        f"{CHINCHILLA}What is the capital of Spain?\n(A) Madrid\n(B) Lisbon\nAnswer: (A)\n\n"
        "What is the capital of France?\n(A) Rome\n(B) Paris\nAnswer: ("
    )
    written = wording("mmlu", separators="auto", prelude=False).write(plan(FRANCE, SPAIN, SPAIN))
    assert written.text == (
        "What is the capital of Spain?\nA. Madrid\nB. Lisbon\nAnswer: A\n\n" * 2
        + "What is the capital of France?\nA. Rome\nB. Paris\nAnswer:"
    )


@pytest.mark.parametrize("template", ["chinchilla", "mmlu"])
def test_spans_cut_out_question_labels_options_and_lines(template):
    written = wording(template, separators="auto", prelude=True).write(plan(FRANCE, SPAIN))
    cut = [written.text[slice(*span)] for span in (*written.label_spans, *written.option_spans)]
    assert cut == ["A", "B", "Rome", "Paris"]
    assert written.text[slice(*written.question_span)] == FRANCE.item.question
    assert written.question_span.start > written.text.index("Lisbon")
    assert [written.text[:stop].splitlines()[-1][-5:] for stop in written.line_stops] == [
        " Rome",
        "Paris",
    ]
    assert all(written.text[stop - 1] == "\n" for stop in written.line_stops)


def test_spans_do_not_mistake_the_question_for_an_option():
    tricky = question("(A) A {option}?", "A", "{label} A", topic="{label}")
    written = wording("chinchilla", separators="auto", prelude=True).write(plan(tricky))
    start = written.text.index("\n(A) {label} A\n(B) A\n")
    assert "questions about {label}." in written.text
    assert [span.start - start for span in written.label_spans] == [2, 16]
    assert [span.start - start for span in written.option_spans] == [5, 19]


def test_the_shots_of_a_distribution_are_other_items_of_the_same_topic():
    for each in questions(DistributionSpec(size=200, shots=5)).plans:
        shots = [shot.item.id for shot in each.shots]
        assert len({each.asked.item.id, *shots}) == 6
        assert {shot.item.topic for shot in each.shots} == {each.asked.item.topic}
        for shot in each.shots:
            assert shot.options[shot.correct] == shot.item.answer
            assert set(shot.options) - {shot.item.answer} < set(shot.item.distractors)


def test_more_shots_than_there_are_items_are_refused_with_their_number(tmp_path):
    path = tmp_path / "two.jsonl"
    row = '{{"question": "{}?", "choices": ["x", "y"], "answer": 0}}\n'
    path.write_text(row.format("one") + row.format("two"))
    spec = DistributionSpec(data=f"file:{path}", options=2, shots=1, size=2)
    assert len(questions(spec).plans[0].shots) == 1
    with pytest.raises(Refused, match=r"2 shots are not possible.* has 1 others"):
        build(spec.model_copy(update={"shots": 2}))
