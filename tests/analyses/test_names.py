"""A name is one that every reader sees, and no two look the same."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyses import names
from analyses.names import BadLine, BadName

GOOD = [
    *("smollm2", "owner/name@0123abc", "Größe 2", "Δ=0.5 (new)", "DOMAIN\\ada", "a.b-c_d+e"),
    *("日本語", "Привет", "नमस्ते", "สวัสดี", "مرحبا", "שָׁלוֹם", "Tiếng Việt", "🙂 study"),
    "$x$ [bold] *",
]
BAD = {
    "": "is empty",
    "a" * 201: "has 201 characters, and the maximum is 200",
    "a" * 100_000: "has 100000 characters",
    "\x1b[2Ja": "U\\+001B, a control character",
    "a\x00": "U\\+0000, a control character",
    "a\rb": "U\\+000D",
    "a\nb": "U\\+000A",
    "a\x9b31mb": "U\\+009B",
    "a\u202eb": "U\\+202E, an invisible character",
    "a\u2066b": "U\\+2066",
    "a\u200bb": "U\\+200B",
    "a\u200db": "U\\+200D",
    "a\ufeffb": "U\\+FEFF",
    "a\u00adb": "U\\+00AD",
    "a\u2028b": "U\\+2028, a line break",
    "a\u00a0b": "a space other than the plain one",
    "a\u3000b": "a space other than the plain one",
    "a\u3164": "U\\+3164, an invisible character",
    "a\u2800": "U\\+2800, an invisible character",
    "a\ufe0f": "U\\+FE0F, an invisible character",
    "a\U000e0041": "U\\+E0041, an invisible character",
    "a\ue000": "a private-use character",
    "a\u0378": "an unassigned code point",
    "a\udcff": "not valid UTF-8",
    "-rf": "starts with -",
    " a": "starts or ends with a space",
    "a ": "starts or ends with a space",
    "a  b": "two in a row",
    "\u0301a": "accents",
    "a" + "\u0335" * 60: "accents",
}


@pytest.mark.parametrize("name", GOOD)
def test_what_people_write_is_a_name(name: str) -> None:
    assert names.checked("study", name) == unicodedata.normalize("NFC", name)


@pytest.mark.parametrize(("name", "why"), BAD.items(), ids=[ascii(each)[:20] for each in BAD])
def test_what_nobody_can_see_is_no_name(name: str, why: str) -> None:
    with pytest.raises(BadName, match=f"The name of the study.*{why}") as refused:
        names.checked("study", name)
    assert str(refused.value).isascii() or "…" in str(refused.value)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 400


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=300))
def test_a_name_is_printed_as_one_line_of_itself(text: str) -> None:
    """Python's own `isprintable` is the oracle: it knows no list of ours."""
    try:
        name = names.checked("study", text)
    except BadName:
        return
    assert name.isprintable()
    assert 1 <= len(name) <= names.LONGEST
    assert name == name.strip()
    assert name.encode().decode() == name
    assert names.checked("study", name) == name  # kept as it is from then on
    assert unicodedata.is_normalized("NFC", name)


@given(st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=50))
@settings(max_examples=200, deadline=None)
def test_letters_numbers_and_signs_of_every_script_make_names(text: str) -> None:
    seen = "x" + "".join(each for each in text if not names._UNSEEN.match(each))
    assert names.checked("model", seen) == unicodedata.normalize("NFC", seen)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=50))
def test_a_line_is_kept_as_it_is_or_refused(text: str) -> None:
    if text.isprintable() and not names._UNSEEN.search(text):
        assert names.checked_line("column", text) == text
    else:
        with pytest.raises(BadLine):
            names.checked_line("column", text)


def test_names_that_differ_in_case_width_or_spelling_only_look_alike() -> None:
    wide = "".join(chr(ord(each) + 0xFEE0) for each in "demo")
    pairs = [("Demo", "demo"), (wide, "demo"), ("straße", "STRASSE"), ("\ufb01t", "fit")]
    for one, other in pairs:
        assert names.alike(one) == names.alike(other)
    assert names.alike("demo") != names.alike("demo2")
