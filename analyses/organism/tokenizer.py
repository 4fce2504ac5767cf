"""The words `mcq-small` knows, and how a text is split into them; no weights here."""

import string
from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

UNKNOWN, START, END = SPECIAL = ("[UNK]", "[BOS]", "[EOS]")
LETTERS = tuple(string.ascii_uppercase)
NUMBERS = tuple(map(str, range(21)))
SIGNS = tuple("£§©±•€→←↑↓°×÷¶†★■▲●◆")  # noqa: RUF001
OTHERS = (*string.ascii_lowercase, *"αβγδεζηθικ", *string.punctuation, *SIGNS)

# A word, a line end, or one mark; `_` counts as a mark. What lies between them is dropped.
_PIECE = r"[^\W_]+|\n|[^\w\s]|_"
# How many quotation marks follow on the line says whether one opens or closes.
_OPENING = r'" (?=[^"\n]*"(?:[^"\n]*"[^"\n]*")*[^"\n]*(?:\n|$))'
_CLOSING = r' "(?=[^"\n]*(?:"[^"\n]*"[^"\n]*)*(?:\n|$))'


def build_tokenizer(texts: Iterable[str]) -> Tokenizer:
    """One token for each word, mark and line end of `texts`, in a fixed order; case is kept."""
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
    """Puts the spaces back where English has them."""
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
