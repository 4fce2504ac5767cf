"""Whatever a text is, what is shown of it is the text."""

import csv
import io
import json
import re
from typing import Any

import pytest
from attacks import ATTACKS
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token
from matplotlib.text import Text

from analyses import shown
from analyses.pictures import drawing

every_attack = pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
# A reader of Markdown that is not ours, with GitHub's tables and strikethrough.
MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
TEXT = {"text", "text_special", "softbreak", "hardbreak"}
# What Streamlit's pages look for in the source, apart from Markdown (its StreamlitMarkdown.js).
OF_STREAMLIT = re.compile(r":[\w+-][\w_+-]*:|:material/|(?<!\\):[a-z][a-z0-9-]*\[|\$")


def is_seen(text: str) -> bool:
    return all(each.isprintable() or each in "\n\t" for each in text)


def read_as_markdown(source: str) -> str:
    """The text of Markdown that is nothing else, a line break for each of its lines."""
    blocks = MARKDOWN.parse(source)
    assert {block.type for block in blocks} <= {"paragraph_open", "inline", "paragraph_close"}
    paragraphs = [block.children or () for block in blocks if block.type == "inline"]
    assert {token.type for tokens in paragraphs for token in tokens} <= TEXT
    return "\n".join("".join(map(_text, tokens)) for tokens in paragraphs)


def _text(token: Token) -> str:
    return "\n" if token.type.endswith("break") else token.content


@every_attack
def test_every_character_of_a_text_is_seen(attack: str) -> None:
    assert is_seen(shown.plain(attack))
    line = shown.one_line(attack)
    assert line.isprintable()
    assert len(line) <= shown.LONGEST
    assert is_seen(shown.in_lines(attack))
    assert shown.plain(shown.plain(attack)) == shown.plain(attack)


@every_attack
def test_markdown_of_a_text_is_the_text(attack: str) -> None:
    source = shown.in_markdown(attack)
    lines = [shown.one_line(line) for line in attack.strip().split("\n")]
    read = read_as_markdown(source)
    assert read.split("\n") == [line for line in lines if line]
    assert not OF_STREAMLIT.search(source)


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from("ab1 *_`[]()<>!#$:|~\\/&;-=+.\n\"'{}^%@"), max_size=60))
def test_markdown_of_any_signs_is_those_signs(text: str) -> None:
    source = shown.in_markdown(text)
    lines = [shown.one_line(line) for line in text.strip().split("\n")]
    assert [line for line in read_as_markdown(source).split("\n") if line] == [
        line for line in lines if line
    ]
    assert not OF_STREAMLIT.search(source)


@every_attack
def test_a_code_span_holds_the_text_and_ends_with_it(attack: str) -> None:
    (paragraph,) = [block for block in MARKDOWN.parse(shown.in_code(attack)) if block.children]
    assert paragraph.children is not None
    (code,) = paragraph.children
    assert code.type == "code_inline"
    assert code.content.strip() == shown.one_line(attack)


@every_attack
def test_no_cell_of_csv_is_calculated_and_numbers_stay_numbers(attack: str) -> None:
    text = io.StringIO()
    csv.writer(text).writerow(map(shown.in_csv, [attack, -1.5, 3, None]))
    (row,) = csv.reader(io.StringIO(text.getvalue()))
    assert row[1:] == ["-1.5", "3", ""]
    assert row[0].lstrip()[0] not in "=+-@\uff1d\t\r|%"
    assert row[0].removeprefix("'") == shown.plain(attack)


@every_attack
def test_json_says_the_same_and_steers_nothing(attack: str) -> None:
    written = shown.in_json(json.dumps({attack: attack}, ensure_ascii=False))
    assert is_seen(written)
    assert json.loads(written) == {attack: attack}


@pytest.mark.filterwarnings("ignore:Glyph 65309", "ignore:constrained_layout not applied")
def test_a_picture_is_drawn_with_texts_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    attacks = [each for each in ATTACKS.values() if len(each) < 1000]
    drawn: list[str] = []
    draw = Text.draw

    def seen(text: Text, *arguments: Any, **more: Any) -> None:
        drawn.append(text.get_text())
        assert not text.get_parse_math()
        draw(text, *arguments, **more)

    monkeypatch.setattr(Text, "draw", seen)
    with drawing.styled():
        figure, axes = drawing.canvas()
        for number, attack in enumerate(attacks):
            axes.plot([0, number], label=f"a{attack}")
            axes.text(0, number, attack)
        axes.set_xticks(range(len(attacks)), attacks)
        axes.set(xlabel=attacks[0], title=attacks[1])
        axes.legend()
        content = drawing.png(figure, title="\n".join(attacks))
    assert content.startswith(b"\x89PNG")
    assert all(map(is_seen, drawn))
    for attack in attacks:
        said = shown.plain(attack).replace("\t", " ")
        assert drawn.count(said) >= 2  # in the picture and under it
        assert f"a{said}" in drawn  # in the legend
