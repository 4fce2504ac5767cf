"""Escapes untrusted text for output: on terminals, in Markdown, in spreadsheets.

Names, reasons, data and error messages are stored unescaped. Every output calls one of these
functions, once.
"""

import re

TALLEST = 200  # lines shown of a text
LONGEST = 4_000  # characters shown of a line

# Control characters, invisible ones, those that change the reading direction, Unicode line breaks,
# surrogates, variation selectors and tags.
_UNSAFE = re.compile(
    r"\r(?!\n)|"
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ud800-\udfff\ufe00-\ufe0e\ufeff\uffa0"
    "\ufff9-\ufffb\U000e0000-\U000e0fff]"
)
_BREAKS = re.compile(r"[ \t\r]*\n\s*")
_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n|%]")
# What Markdown would read as more than text: CommonMark, Streamlit's dialect, and Showdown, which
# MLflow uses.
_MARKUP = re.compile(r"[\\`*_\[\]~|>#]|:|(?<=:material)/|^[-+=]|^\d+(?=[.)])|[<&$]")
_EMOJI = re.compile(r"[\w+-]+")
_ENTITIES = {"<": "&lt;", "&": "&amp;", "$": "&#36;"}


def plain(text: object) -> str:
    """The text with control and invisible characters escaped as in Python, such as `\\x1b`.

    Newlines and tabs stay.
    """
    return _UNSAFE.sub(_escaped, str(text))


def in_json(document: str) -> str:
    """An equivalent JSON document in which every character is visible."""

    def escaped(found: re.Match[str]) -> str:
        units = found[0].encode("utf-16-be", "surrogatepass").hex()
        return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))

    return _UNSAFE.sub(escaped, document)


def one_line(text: object, *, most: int = LONGEST) -> str:
    """The text as `plain`, in one line of at most `most` characters."""
    line = _BREAKS.sub(" ", str(text)[: 4 * most].strip()).replace("\t", " ")
    return _cut(plain(line), most)


def in_lines(text: object) -> str:
    """The text as `plain`, with long lines, and lines beyond `TALLEST`, cut."""
    lines = str(text).split("\n")
    more = [f"… {len(lines) - TALLEST} more lines"] if len(lines) > TALLEST else []
    return "\n".join([*(_cut(plain(line.rstrip("\r"))) for line in lines[:TALLEST]), *more])


def in_markdown(text: object) -> str:
    """The text as Markdown that renders as plain text: no image, formula, icon or HTML.

    The only links are bare URLs.
    """
    lines = (one_line(line) for line in str(text).strip().split("\n")[:TALLEST])
    # Two spaces at the end of a line are a line break.
    return "  \n".join(_MARKUP.sub(_as_text, line) for line in lines)


def in_code(text: object) -> str:
    """The text as a Markdown code span, whatever backticks it contains."""
    line = one_line(text)
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{pad}{line}{pad}{fence}" if line else ""


def in_csv(value: object) -> object:
    """A CSV cell: text that a spreadsheet would take for a formula gets a leading apostrophe."""
    if not isinstance(value, str):
        return value
    return ("'" if _FORMULA.match(value) else "") + plain(value)


def _cut(line: str, most: int = LONGEST) -> str:
    return line if len(line) <= most else line[: most - 1] + "…"


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _is_markup(line: str, at: int) -> bool:
    """Whether the colon starts or ends `:name:`, or starts a directive."""
    name = line[line.rfind(":", 0, at) + 1 : at]
    return bool(line[at + 1 : at + 2].strip()) or bool(_EMOJI.fullmatch(name))


def _as_text(found: re.Match[str]) -> str:
    markup = found[0]
    if markup == ":" and not _is_markup(found.string, found.start()):
        return markup
    return markup + "\\" if markup.isdigit() else _ENTITIES.get(markup, f"\\{markup}")
