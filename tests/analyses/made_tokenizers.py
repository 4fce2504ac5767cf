"""Tokenizers of three kinds, trained on shipped prompts and on texts that lay traps."""

import json

from tokenizers import (
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from analyses.prompts.distributions import DistributionSpec, build

WORDS = """
A a B (A) (B B) A. A: I ( ) Answer: {label} é naïve Noël 東京 日本語 🙂 👩‍🚀 Q x² — ... 1 10 ß ﬁ
""".split()  # noqa: SIM905 - a list would be a column of forty lines
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
CORPUS = [
    *("What is the capital of France? Paris Rome New York naïve Noël don't " + " ".join(WORDS),)
    * 5,
    *[prompt.text for prompt in build(DistributionSpec(size=40, template="mmlu")).prompts],
]


def words() -> Tokenizer:
    made = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(Regex(r"[().:]"), "isolated")]
    )
    made.train_from_iterator(
        [*CORPUS, *LETTERS, *"123456789"],
        trainers.WordLevelTrainer(special_tokens=["[UNK]"], show_progress=False),
    )
    return made


def gpt2() -> Tokenizer:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    letters = [f" {letter} ({letter}" for letter in LETTERS] * 9
    made.train_from_iterator(CORPUS + letters, trainer)
    return made


def unigram() -> Tokenizer:
    """As sentencepiece's: spaces are ▁, text is normalised, a newline is a token, <s> in front."""
    made = Tokenizer(models.Unigram())
    made.normalizer = normalizers.NFKC()
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split("\n", "isolated"),
            pre_tokenizers.Split(Regex(r"[().:]"), "isolated"),
            pre_tokenizers.Metaspace(prepend_scheme="never"),
        ]
    )
    made.decoder = decoders.Metaspace(prepend_scheme="never")
    trainer = trainers.UnigramTrainer(
        vocab_size=600,
        special_tokens=["<unk>", "<s>"],
        unk_token="<unk>",
        initial_alphabet=sorted(set("".join(CORPUS)) | set(LETTERS)),
        show_progress=False,
    )
    made.train_from_iterator(CORPUS, trainer)
    ours = [f"▁{letter}" for letter in LETTERS]
    trained = json.loads(made.to_str())["model"]["vocab"]
    pieces = [(piece, score) for piece, score in trained if piece not in ours]
    pieces += [(piece, -4.0) for piece in ours]
    made.model = models.Unigram(pieces, unk_id=0)
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    return made


MADE = {"words": words, "gpt2": gpt2, "unigram": unigram}
