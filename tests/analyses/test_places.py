"""Every place is the token it says, for tokenizers of four kinds and texts that lay traps."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_tokenizers import LETTERS, MADE, WORDS
from questions import questions
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

from analyses.errors import Refused
from analyses.prompts.distributions import DistributionSpec, build
from analyses.prompts.items import Item
from analyses.prompts.labels import SCHEMES
from analyses.prompts.locating import places
from analyses.prompts.plans import Plan, Question
from analyses.prompts.prompt import prompt_of
from analyses.prompts.question_places import QuestionPlaces
from analyses.prompts.separators import SEPARATORS
from analyses.prompts.templates import wording
from analyses.prompts.tokenization import (
    tokenize,
    tokenize_all,
)
from analyses.prompts.unreadable import LabelIsNotOneToken, LabelIsUnknown, PartIsUnknown


@pytest.fixture(params=[*MADE, "smollm2"])
def tokenizer(request, tokenizers):
    return tokenizers[request.param]


def prompt(ask="Is it A?", options=("A", "a B"), labels=("A", "B"), separators="(A)", shots=()):
    item = Item(id="x", topic="A (B)", question=ask, answer=options[0], distractors=options[1:])
    plan = Plan(
        asked=Question(item=item, options=tuple(options), correct=0), shots=shots, labels=labels
    )
    return prompt_of(0, plan, wording("mmlu", separators=separators, prelude=True).write(plan))


def question_places(tokenizer, made) -> QuestionPlaces:
    found = places(tokenizer, made)
    assert isinstance(found, QuestionPlaces)
    return found


def check(tokenizer, made):
    """Compare the places with a reading of the text up to each character, one by one."""
    read = tokenize(tokenizer, made)
    found = question_places(tokenizer, made)
    encoding = tokenizer.encode(made.text, add_special_tokens=False)
    before = len(read.input_ids) - len(encoding.ids)

    def held(token):
        return range(*encoding.offsets[token - before])

    def holders(start, stop):
        return [
            number + before
            for number in range(len(encoding.ids))
            if set(held(number + before)) & set(range(start, stop))
        ]

    def decoded(first, last):
        return tokenizer.decode(list(read.input_ids[first : last + 1]), skip_special_tokens=False)

    assert found.final == len(read.input_ids) - 1
    question = holders(*made.question_span)
    assert (found.question_first, found.question_last) == (question[0], question[-1])
    line_start = made.question_span.stop
    for index, each in enumerate(found.options):
        label, option = made.label_spans[index], made.option_spans[index]
        assert holders(*label) == [each.label]
        assert decoded(each.label, each.label).strip() == made.labels[index]
        assert holders(*option) == list(range(each.content_first, each.content_last + 1))
        assert each.bracket == each.label + 1
        assert decoded(each.bracket, each.bracket).strip() in (")", ".", ":")
        stop = made.line_stops[index]
        inside = [n for n in range(before, found.final + 1) if held(n) and held(n)[-1] < stop]
        assert each.option_end == max(each.content_last, inside[-1])
        assert line_start <= held(each.label)[0]
        line_start = option.stop
    return found


@pytest.mark.parametrize("separators", sorted(SEPARATORS))
@pytest.mark.parametrize("shots", [0, 2])
def test_places_of_shipped_prompts(tokenizer, separators, shots):
    spec = DistributionSpec(separators=separators, shots=shots, size=20)
    for made in questions(spec).prompts:
        if all(option_is_known(tokenizer, option) for option in made.options):
            check(tokenizer, made)


def option_is_known(tokenizer, option):
    return not {"[UNK]", "<unk>"} & set(tokenizer.encode(option).tokens)


@settings(max_examples=60, deadline=None)
@given(
    ask=st.lists(st.sampled_from(WORDS), min_size=1, max_size=8).map(" ".join),
    options=st.lists(
        st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map(" ".join),
        min_size=2,
        max_size=6,
        unique=True,
    ),
    separators=st.sampled_from(sorted(SEPARATORS)),
    letters=st.permutations(LETTERS),
    which=st.sampled_from(["words", "gpt2", "unigram", "smollm2"]),
)
def test_no_text_misleads(tokenizers, ask, options, separators, letters, which):
    tokenizer = tokenizers[which]
    labels = tuple(letters[: len(options)])
    check(tokenizer, prompt(ask, options, labels, separators))


@settings(max_examples=60, deadline=None)
@given(
    ask=st.text(min_size=1, max_size=30),
    options=st.lists(st.text(min_size=1, max_size=12), min_size=2, max_size=4, unique=True),
    separators=st.sampled_from(sorted(SEPARATORS)),
    which=st.sampled_from(["gpt2", "smollm2"]),
)
def test_any_text_at_all(tokenizers, ask, options, separators, which):
    tokenizer = tokenizers[which]
    texts = [text for text in options if text.strip() == text and is_read_whole(tokenizer, text)]
    if len(texts) > 1 and ask.strip() == ask and is_read_whole(tokenizer, ask):
        check(tokenizer, prompt(ask, texts, tuple("ABCD"[: len(texts)]), separators))


def is_read_whole(tokenizer, text):
    """SmolLM2 lacks some bytes of rare characters, and leaves them out without a word."""
    return tokenizer.decode(tokenizer.encode(text).ids) == text


def test_an_option_of_which_a_tokenizer_drops_a_part_is_refused(tokenizers):
    dropped = "\U00040000"
    assert not is_read_whole(tokenizers["smollm2"], dropped)
    with pytest.raises(Refused, match="offsets are unreliable"):
        places(tokenizers["smollm2"], prompt("Is it?", ("red", f"blue {dropped}")))


def slow_label_ids(tokenizer, made):
    """Each label's id, from reading the whole text again with the label behind it."""
    plain = tokenizer.encode(made.text, add_special_tokens=False).ids
    ids = []
    for label in made.labels:
        longer = tokenizer.encode(made.text + made.joint + label, add_special_tokens=False).ids
        assert longer[:-1] == plain
        ids.append(longer[-1])
    return tuple(ids)


@pytest.mark.parametrize(
    ("labels", "template"),
    [
        ("random_letters", "chinchilla"),
        ("random_letters", "mmlu"),
        ("shuffled", "mmlu"),
        ("numbers", "chinchilla"),
    ],
)
def test_remembered_labels_are_those_of_the_whole_text(tokenizer, labels, template):
    spec = DistributionSpec(labels=labels, template=template, options=3, size=60)
    known = [
        made
        for made in questions(spec).prompts
        if all(option_is_known(tokenizer, each) for each in (*made.options, *made.labels))
    ]
    for made, read in zip(known, tokenize_all(tokenizer, known), strict=True):
        assert read.label_ids == slow_label_ids(tokenizer, made)
    assert len(known) > 3


def test_a_newline_is_the_end_of_an_option_where_it_is_a_token(tokenizers):
    made = prompt("Is it?", ("Paris", "Rome"))
    for name in ("gpt2", "smollm2", "unigram"):
        for each in check(tokenizers[name], made).options:
            assert each.option_end == each.content_last + 1
    for each in check(tokenizers["words"], made).options:
        assert each.option_end == each.content_last


def test_a_newline_that_melts_into_the_text_leaves_the_last_token_of_the_option():
    vocabulary = ["A", "B", ". ", "x", "y", "x\n", "Answer:", " A", " B", "?", "\n", "\nB", "p"]
    tokenizer = Tokenizer(models.WordLevel({each: n for n, each in enumerate(vocabulary)}))
    pattern = r"x\n|\nB|Answer:| [AB]|\. |[^z]"
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), "isolated")
    tokenizer.decoder = decoders.Fuse()

    def read(options):
        item = Item(id="x", topic="", question="?", answer=options[0], distractors=options[1:])
        plan = Plan(
            asked=Question(item=item, options=options, correct=0), shots=(), labels=("A", "B")
        )
        made = wording("mmlu", separators="A.", prelude=False).write(plan)
        return question_places(tokenizer, prompt_of(0, plan, made))

    first, second = read(("x", "y")).options  # ? \n A . x\n B . y \n Answer:
    assert (first.content_first, first.content_last, first.option_end) == (4, 4, 4)
    assert (second.label, second.content_last, second.option_end) == (5, 7, 8)
    first, second = read(("y", "x")).options  # ? \n A . y \nB . x\n Answer:
    assert (first.content_last, first.option_end) == (4, 4)
    assert (second.label, second.content_last, second.option_end) == (5, 7, 7)


def test_a_label_that_shares_its_token_is_refused_by_name():
    tokenizer = Tokenizer(
        models.WordLevel(
            {"x": 0, "y": 1, "(A": 2, "(B": 3, ")": 4, "(": 5, "A": 6, "B": 7, "Answer:": 8, "?": 9}
        )
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(")", "isolated")]
    )
    item = Item(id="x", topic="", question="?", answer="x", distractors=("y",))
    plan = Plan(
        asked=Question(item=item, options=("x", "y"), correct=0), shots=(), labels=("A", "B")
    )
    made = prompt_of(0, plan, wording("mmlu", separators="(A)", prelude=False).write(plan))
    with pytest.raises(Refused, match=r"label 'A' of prompt 0 .* it is read as \['\(A'\]"):
        places(tokenizer, made)


def test_a_label_of_two_tokens_in_its_line_is_refused_by_name(tokenizers):
    made = prompt(labels=("A", "QZX"))
    with pytest.raises(Refused, match=r"label 'QZX' of prompt 0"):
        places(tokenizers["smollm2"], made)
    with pytest.raises(LabelIsNotOneToken, match="'QZX'"):
        tokenize(tokenizers["smollm2"], made)


def test_an_unknown_option_or_label_is_refused_and_other_unknown_tokens_are_counted(tokenizers):
    tokenizer = tokenizers["words"]
    assert tokenize(tokenizer, prompt("Is it A?", ("A", "a"))).unknown == known_unknown(tokenizer)
    more = prompt("Is it zzz zzz A?", ("A", "a"))
    assert tokenize(tokenizer, more).unknown == known_unknown(tokenizer) + 2
    with pytest.raises(PartIsUnknown, match=r"option 'zzz' of prompt 0: it reads \['\[UNK\]'\]"):
        tokenize(tokenizer, prompt("Is it A?", ("A", "zzz")))
    with pytest.raises(LabelIsUnknown, match="'ζ'"):
        tokenize(tokenizer, prompt("Is it A?", ("A", "a"), labels=("A", "ζ")))


def known_unknown(tokenizer):
    """The unknown tokens of the prompt without the question's own trouble."""
    plain = prompt("Is it A?", ("A", "a")).text
    return tokenizer.encode(plain).tokens.count("[UNK]")


def test_every_scheme_has_places_in_a_real_tokenizer(tokenizers):
    for labels in SCHEMES:
        for made in build(DistributionSpec(labels=labels, size=10)).prompts:
            check(tokenizers["smollm2"], made)
