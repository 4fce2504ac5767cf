"""How text that came from outside is shown: on terminals, in Markdown, in spreadsheets.

Names, reasons, data and what libraries raise are stored as they came. Each door through which they
go out calls one of these, once.
"""

import re

TALLEST = 200  # lines of a text
LONGEST = 4_000  # characters of a line

# Control characters, what has no glyph or turns the reading order, line breaks of Unicode, halves
# of surrogate pairs, variation selectors and tags.
_STEERS = re.compile(
    r"\r(?!\n)|"
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ud800-\udfff\ufe00-\ufe0e\ufeff\uffa0"
    "\ufff9-\ufffb\U000e0000-\U000e0fff]"
)
_BREAKS = re.compile(r"[ \t\r]*\n\s*")
_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n|%]")
# What Markdown, and Streamlit's own of it, would read as more than text; in the words of both
# CommonMark and Showdown, which MLflow uses.
_MARKUP = re.compile(r"[\\`*_\[\]~|>#]|:|(?<=:material)/|^[-+=]|^\d+(?=[.)])|[<&$]")
_EMOJI = re.compile(r"[\w+-]+")
_ENTITIES = {"<": "&lt;", "&": "&amp;", "$": "&#36;"}


def plain(text: object) -> str:
    """The text with every character seen: those that would steer what shows it are spelled.

    Spelled as in Python, such as `\\x1b`. Line ends and tabs stay.
    """
    return _STEERS.sub(_spelled, str(text))


def in_json(document: str) -> str:
    """A JSON document that means the same and shows every character of it."""

    def escaped(found: re.Match[str]) -> str:
        units = found[0].encode("utf-16-be", "surrogatepass").hex()
        return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))

    return _STEERS.sub(escaped, document)


def one_line(text: object, *, most: int = LONGEST) -> str:
    """The same in a line of at most so many characters."""
    line = _BREAKS.sub(" ", str(text)[: 4 * most].strip()).replace("\t", " ")
    return _cut(plain(line), most)


def in_lines(text: object) -> str:
    """The same in the lines it has, each of them and all together of a length to read."""
    lines = str(text).split("\n")
    more = [f"… {len(lines) - TALLEST} more lines"] if len(lines) > TALLEST else []
    return "\n".join([*(_cut(plain(line.rstrip("\r"))) for line in lines[:TALLEST]), *more])


def in_markdown(text: object) -> str:
    """The text as Markdown that shows nothing but the text: no picture, formula, icon or HTML.

    Of links there are only those of addresses to themselves.
    """
    lines = (one_line(line) for line in str(text).strip().split("\n")[:TALLEST])
    # Two spaces at the end of a line are a line break.
    return "  \n".join(_MARKUP.sub(_as_text, line) for line in lines)


def in_code(text: object) -> str:
    """The text as a code span of Markdown, whatever backticks it holds."""
    line = one_line(text)
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{pad}{line}{pad}{fence}" if line else ""


def in_csv(value: object) -> object:
    """A cell of a CSV file: a text that a spreadsheet would calculate begins with an apostrophe."""
    if not isinstance(value, str):
        return value
    return ("'" if _FORMULA.match(value) else "") + plain(value)


def _cut(line: str, most: int = LONGEST) -> str:
    return line if len(line) <= most else line[: most - 1] + "…"


def _spelled(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _may_be_more(line: str, at: int) -> bool:
    """Whether a colon begins or ends `:name:`, or begins a directive."""
    name = line[line.rfind(":", 0, at) + 1 : at]
    return bool(line[at + 1 : at + 2].strip()) or bool(_EMOJI.fullmatch(name))


def _as_text(found: re.Match[str]) -> str:
    markup = found[0]
    if markup == ":" and not _may_be_more(found.string, found.start()):
        return markup
    return markup + "\\" if markup.isdigit() else _ENTITIES.get(markup, f"\\{markup}")
