import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import AutoTokenizer

from analyses.prompts.distributions import DistributionSpec, build
from analyses.prompts.prompt import QuestionPrompt
from analyses.prompts.tokenization import (
    EmptyPrompt,
    UnreadableTokenizer,
    load_tokenizer,
    tokenize,
    tokenize_all,
)
from analyses.prompts.unreadable import LabelIsNotOneToken, LabelIsUnknown, SameTokens
from analyses.prompts.written import Span

TEXT = "Answer: ("


@pytest.fixture
def prompt():
    def make(text: str = TEXT, labels: tuple[str, ...] = ("A", "B")) -> QuestionPrompt:
        return QuestionPrompt(
            number=7,
            item="sky",
            text=text,
            joint="",
            labels=labels,
            options=tuple(f"option {label}" for label in labels),
            correct=(1,),
            question_span=Span(0, 0),
            label_spans=(),
            option_spans=(),
            line_stops=(),
        )

    return make


@pytest.fixture
def llama_tokenizer() -> Tokenizer:
    """As Llama's: spaces are ▁, one is put in front, and a text begins with <s>."""
    words = ["<unk>", "<s>", "</s>", "▁", "A", "B", "▁A", ":", "(", "r", "▁(", "n", "s", "w", "e"]
    vocabulary = {word: number for number, word in enumerate(words)}
    made = Tokenizer(models.BPE(vocabulary, [("▁", "A"), ("▁", "(")], unk_token="<unk>"))
    made.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse()])
    made.add_special_tokens(["<s>", "</s>"])
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    return made


def test_a_label_is_the_token_that_continues_the_prompt(tokenizer: Tokenizer, prompt) -> None:
    tokenized = tokenize(tokenizer, prompt())
    assert tokenizer.decode(list(tokenized.input_ids)) == TEXT
    assert [tokenizer.decode([id]) for id in tokenized.label_ids] == ["A", "B"]
    assert (tokenized.number, tokenized.item, tokenized.correct) == (7, "sky", (1,))


def test_a_text_begins_as_the_tokenizer_wants_it(llama_tokenizer: Tokenizer, prompt) -> None:
    tokenized = tokenize(llama_tokenizer, prompt())
    assert tokenized.input_ids[0] == 1
    assert [llama_tokenizer.id_to_token(id) for id in tokenized.label_ids] == ["A", "B"]


def test_with_a_leading_space_it_is_another_label(llama_tokenizer: Tokenizer, prompt) -> None:
    tokenized = tokenize(llama_tokenizer, prompt("Answer:", labels=(" A", "A")))
    assert [llama_tokenizer.id_to_token(id) for id in tokenized.label_ids] == ["▁A", "A"]


def test_no_end_of_text_stands_after_a_prompt(llama_tokenizer: Tokenizer, prompt) -> None:
    plain = tokenize(llama_tokenizer, prompt())
    llama_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    assert tokenize(llama_tokenizer, prompt()) == plain


def test_the_tokens_are_those_of_transformers(
    smollm2: Path, llama_tokenizer: Tokenizer, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    ours = {"smollm2": load_tokenizer(smollm2 / "tokenizer.json")}
    ours |= {"llama": llama_tokenizer, "gpt2": tokenizer}
    for name, each in ours.items():
        folder = smollm2 if name == "smollm2" else tmp_path / name
        if name != "smollm2":
            folder.mkdir()
            each.save(str(folder / "tokenizer.json"))
            config = '{"tokenizer_class": "PreTrainedTokenizerFast"}'
            (folder / "tokenizer_config.json").write_text(config)
        theirs = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        for made in build(DistributionSpec(size=4)).prompts if name == "smollm2" else []:
            assert list(tokenize(each, made).input_ids) == theirs(made.text)["input_ids"]
        text = "Answer: (A) red ("
        assert each.encode(text).ids == theirs(text)["input_ids"]


def test_a_label_of_two_tokens_is_refused_by_name(tokenizer: Tokenizer, prompt) -> None:
    with pytest.raises(LabelIsNotOneToken, match=r"'AQ'.*'A', 'Q'"):
        tokenize(tokenizer, prompt(labels=("A", "AQ")))


def test_a_label_that_melts_into_the_prompt_is_refused(llama_tokenizer: Tokenizer, prompt) -> None:
    with pytest.raises(LabelIsNotOneToken, match="'A'"):
        tokenize(llama_tokenizer, prompt("Answer: "))


def test_an_empty_label_is_refused(tokenizer: Tokenizer, prompt) -> None:
    with pytest.raises(LabelIsNotOneToken):
        tokenize(tokenizer, prompt(labels=("A", "")))


def test_an_unknown_label_is_refused(llama_tokenizer: Tokenizer, prompt) -> None:
    with pytest.raises(LabelIsUnknown, match="'Ω'"):
        tokenize(llama_tokenizer, prompt(labels=("A", "Ω")))


def test_labels_that_are_the_same_token_are_refused(tokenizer: Tokenizer, prompt) -> None:
    with pytest.raises(SameTokens, match=r"prompt 7: the labels 'A' and 'A' are both \['A'\]"):
        tokenize(tokenizer, prompt(labels=("A", "A")))


@pytest.fixture
def uncased_tokenizer() -> Tokenizer:
    """One that knows no letter case, and no compatible or composed characters."""
    words = ["red", "blue", "1", "é", "a", "b", "("]
    vocabulary = {word: number for number, word in enumerate(words)}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="red"))
    made.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return made


@pytest.mark.parametrize("options", [("red", "Red"), ("①", "1"), ("é", "e\u0301")])
def test_options_that_are_the_same_tokens_are_refused_all_together(
    uncased_tokenizer: Tokenizer, prompt, options: tuple[str, str]
) -> None:
    def asked(number: int, *options: str):
        return replace(prompt("( (", labels=("a", "b")), number=number, options=options)

    told_apart = [asked(2, "red", "blue"), asked(3, "1", "é")]
    assert len(tokenize_all(uncased_tokenizer, told_apart)) == 2
    prompts = [*told_apart, asked(4, *options), asked(5, *reversed(options))]
    with pytest.raises(SameTokens, match=r"as the same tokens \(2 found\)") as refused:
        tokenize_all(uncased_tokenizer, prompts, where=lambda each: f"x.csv line {each.number}")
    one, other = options
    said = str(refused.value).splitlines()[1:]
    assert said[0].startswith(f"  x.csv line 4: the options {one!r} and {other!r} are both [")
    assert said[1].startswith(f"  x.csv line 5: the options {other!r} and {one!r} are both [")


def test_a_prompt_without_tokens_is_refused(tokenizer: Tokenizer, prompt) -> None:
    with pytest.raises(EmptyPrompt):
        tokenize(tokenizer, prompt(""))


def test_padding_and_cutting_of_a_saved_tokenizer_are_off(
    tokenizer: Tokenizer, prompt, tmp_path: Path
) -> None:
    expected = tokenize(tokenizer, prompt())
    other = Tokenizer.from_str(tokenizer.to_str())
    other.enable_padding(length=50)
    other.enable_truncation(2)
    other.save(str(tmp_path / "tokenizer.json"))
    assert tokenize(load_tokenizer(tmp_path / "tokenizer.json"), prompt()) == expected


def test_a_broken_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(UnreadableTokenizer, match=r"tokenizer.json"):
        load_tokenizer(tmp_path / "tokenizer.json")


def test_tokenizing_needs_no_torch() -> None:
    heavy = "{'torch', 'transformers'} & set(sys.modules)"
    code = f"import sys, analyses.prompts.tokenization; print({heavy})"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "set()\n"
