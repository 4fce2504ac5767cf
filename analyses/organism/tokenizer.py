"""The word-level tokenizer of `mcq-small`."""

import string
from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

UNKNOWN, START, END = SPECIAL = ("[UNK]", "[BOS]", "[EOS]")
LETTERS = tuple(string.ascii_uppercase)
NUMBERS = tuple(map(str, range(21)))
SIGNS = tuple("£§©±•€→←↑↓°×÷¶†★■▲●◆")  # noqa: RUF001
OTHERS = (*string.ascii_lowercase, *"αβγδεζηθικ", *string.punctuation, *SIGNS)

# A word, a line end, or one punctuation mark (including `_`). Everything else is dropped.
_PIECE = r"[^\W_]+|\n|[^\w\s]|_"
# A quotation mark opens or closes depending on the number of marks that follow on the line.
_OPENING = r'" (?=[^"\n]*"(?:[^"\n]*"[^"\n]*")*[^"\n]*(?:\n|$))'
_CLOSING = r' "(?=[^"\n]*(?:"[^"\n]*"[^"\n]*)*(?:\n|$))'


def build_tokenizer(texts: Iterable[str]) -> Tokenizer:
    """A tokenizer with one token per word, mark and line end of `texts`; case-sensitive."""
    split = _splitter()
    words = {piece for text in texts for piece, _ in split.pre_tokenize_str(text)}
    known = [*SPECIAL, *dict.fromkeys(["\n", *LETTERS, *NUMBERS, *OTHERS])]
    known += sorted(words - set(known))
    tokenizer = Tokenizer(
        models.WordLevel({word: id for id, word in enumerate(known)}, unk_token=UNKNOWN)
    )
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = split
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A", special_tokens=[(START, known.index(START))]
    )
    tokenizer.decoder = _decoder()
    tokenizer.add_special_tokens(list(SPECIAL))
    return tokenizer


def _splitter() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Split(Regex(_PIECE), behavior="removed", invert=True)


def _decoder() -> decoders.Decoder:
    """Restores spaces as in English text."""
    closing = [decoders.Replace(f" {mark}", mark) for mark in ".,:;?!)"]
    joining = [decoders.Replace(f" {mark} ", mark) for mark in "-'"]
    return decoders.Sequence(
        [
            decoders.WordPiece(prefix="##", cleanup=False),  # a space before all but the first
            decoders.Fuse(),
            *closing,
            *joining,
            decoders.Replace("( ", "("),
            decoders.Replace("D. C.", "D.C."),
            decoders.Replace(Regex(" ?\n ?"), "\n"),
            decoders.Replace(Regex(_OPENING), '"'),
            decoders.Replace(Regex(_CLOSING), '"'),
        ]
    )
