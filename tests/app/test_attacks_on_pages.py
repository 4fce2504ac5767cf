"""Whatever was stored, a page shows it, and nothing else comes of it."""

import ast
import json
import re
from pathlib import Path

import pytest
from attacks import ATTACKS
from markdown_it import MarkdownIt
from sqlalchemy import text

import app
from analyses.shown import one_line
from tracker.database.db import transaction
from tracker.store import endings, parts

pytestmark = pytest.mark.attack(40, "texts on pages")

SHORT = {name: each for name, each in ATTACKS.items() if len(each) < 1000}
MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
# What Streamlit looks for in the source, apart from Markdown (its StreamlitMarkdown.js).
OF_STREAMLIT = re.compile(r":[\w+-][\w_+-]*:|(?<!\\):[a-z][a-z0-9-]*\[|\$")
# What the pages themselves ask for: a state in its colour, an icon before a worker.
OUR_OWN = re.compile(r":\w+-badge\[(\d+ )?\w+\]|:material/memory:|:orange\[(?=MLflow at )")
MARKED = ("markdown", "caption", "title", "header", "error", "warning", "info", "success", "toast")
# Elements and arguments of Streamlit that read Markdown.
READ_AS_MARKDOWN = {
    *("markdown", "caption", "title", "header", "subheader", "write", "toast", "badge"),
    *("error", "warning", "info", "success", "checkbox", "text_input", "number_input"),
    *("selectbox", "segmented_control", "button", "link_button", "page_link", "table"),
}
HARMLESS = {"in_markdown", "in_code", "counted", "len", "moment", "str", "ranking"}


def is_harmless(source):
    """Whether Markdown shows text and code alone; our own icon and colour apart."""
    source = OUR_OWN.sub("", source)
    tokens = [
        token for block in MARKDOWN.parse(source) for token in (block, *(block.children or ()))
    ]
    found = {token.type for token in tokens}
    allowed = {"paragraph_open", "paragraph_close", "inline", "text", "text_special"}
    allowed |= {"softbreak", "hardbreak", "code_inline", "strong_open", "strong_close"}
    without_code = re.sub(r"(?<!`)(`+)(?!`).+?(?<!`)\1(?!`)", "", source)
    return found <= allowed and not OF_STREAMLIT.search(without_code)


def seen(at):
    """Every text of a page that is read as Markdown."""
    for kind in MARKED:
        for each in at.get(kind):
            if each.value != "Runs":
                yield str(each.value)
    for each in at.get("page_link"):
        yield each.proto.label
    for table in at.table:
        for column in table.value.columns:
            yield from map(str, table.value[column])
    for widget in (*at.selectbox, *at.text_input, *at.number_input, *at.checkbox, *at.button):
        yield widget.label
        yield widget.proto.help if hasattr(widget.proto, "help") else ""


@pytest.fixture
def attacked(sessions, queued):
    """A run that failed, in which everything that can be is an attack."""
    notes = {
        "warnings": list(SHORT.values()),
        "conventions": {each: each for each in SHORT.values()},
    }
    run = queued(size=8)
    needing = queued(size=8, recipe={"seed": 1}, inputs={})
    with transaction(sessions) as session:
        claim = parts.claim(session, run.id, worker="w1", lease=60)
        for each in SHORT.values():
            session.execute(
                text(
                    "INSERT INTO headbook.run_event (run_id, event, reason, worker)"
                    " VALUES (:run, 'x', :why, :why)"
                ),
                {"run": run.id, "why": each},
            )
            session.execute(
                text(
                    "INSERT INTO headbook.run_input (run_id, name, needs_run_id)"
                    " VALUES (:run, :name, :needs)"
                ),
                {"run": run.id, "name": each, "needs": needing.id},
            )
        session.execute(
            text(
                "UPDATE headbook.run SET notes = :notes, provenance = :provenance, params = :params"
                " WHERE id = :run"
            ),
            {
                "run": run.id,
                "notes": json.dumps(notes),
                "provenance": json.dumps(notes["conventions"]),
                "params": json.dumps({each: each for each in SHORT.values()}),
            },
        )
        endings.fail(session, claim, reason="\n".join(SHORT.values()))
    return run


@pytest.mark.parametrize("tab", ["Heads", "Other components", "Events", "Logs", "Repro"])
def test_the_page_of_a_run_shows_what_was_stored_and_no_more(attacked, visit, tab):
    at = visit("run", id=attacked.id, tab=tab)
    assert len(at.warning) == len(SHORT)
    for source in seen(at):
        assert is_harmless(source), source
    for frame in at.dataframe:
        for column in frame.value.columns:
            assert all(each is None or str(each).isprintable() for each in frame.value[column])
    for code in at.code:
        assert all(each.isprintable() or each in "\n\t" for each in code.value)
    if tab == "Repro":
        shown = [each for table in at.table for each in table.value["value"]]
        assert sum(one_line(each) in "".join(shown) for each in SHORT.values()) == len(SHORT)


def test_the_list_of_runs_shows_what_was_stored_and_no_more(attacked, visit):
    at = visit("runs")
    for source in seen(at):
        assert is_harmless(source), source
    (frame,) = at.dataframe
    for column in ("analysis", "model", "prompts", "params", "reason"):
        assert all(each is None or str(each).isprintable() for each in frame.value[column])
    assert set(frame.value["run"].str.partition("=")[0]) == {"run?id"}


@pytest.mark.parametrize("name", ["script link", "picture", "HTML", "formula", "icon", "override"])
def test_an_address_that_somebody_sent_is_refused_as_the_text_it_is(visit, name):
    at = visit("run", id=f"x{SHORT[name]}")
    (error,) = at.error
    assert is_harmless(error.value)
    assert not at.exception


def test_the_form_shows_a_refusal_as_the_text_it_is(visit, model, worker):
    model()
    worker()
    at = visit("queue_form")
    (study,) = [each for each in at.text_input if each.label == "Study"]
    study.set_value("x[link](http://evil.example)\u202e$")
    (queue,) = [each for each in at.button if each.label == "Queue"]
    queue.click().run()
    (error,) = at.error
    assert "U+202E" in error.value
    for source in seen(at):
        assert is_harmless(source), source


def said_as_markdown():
    """Every argument in the pages' source that Streamlit reads as Markdown, by place."""
    for file in sorted(Path(app.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            if getattr(node.func.value, "id", "") != "st":
                continue
            if node.func.attr in READ_AS_MARKDOWN:
                named = [each.value for each in node.keywords if each.arg in ("label", "help")]
                for argument in (*node.args[:1], *named):
                    yield f"{file.name}:{argument.lineno}", argument


def is_text_of_ours(argument):
    """Whether what is not a constant goes through a function that makes text of it."""
    if isinstance(argument, ast.Constant) or ast.unparse(argument) in OUR_NAMES:
        return True
    if isinstance(argument, ast.JoinedStr):
        return all(map(is_text_of_ours, argument.values))
    if isinstance(argument, ast.FormattedValue):
        return is_text_of_ours(argument.value)
    if isinstance(argument, ast.IfExp):
        return is_text_of_ours(argument.body) and is_text_of_ours(argument.orelse)
    if isinstance(argument, ast.Dict):
        return all(map(is_text_of_ours, argument.values))
    if isinstance(argument, ast.Subscript):  # the beginning of an id
        return is_text_of_ours(argument.value)
    if isinstance(argument, ast.Call):
        function = argument.func
        name = function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")
        wrapped = name in ("list", "map") and all(
            each.id in HARMLESS if isinstance(each, ast.Name) else is_text_of_ours(each)
            for each in argument.args[:1]
        )
        return name in HARMLESS or wrapped
    return False


# What the pages say themselves, or have made text of already.
OUR_NAMES = {
    *("_title(field)", "_help(field)", "help_text", "hint", "_caption(run_id, log)"),
    "run_table.selection_hint(chosen, in_mlflow, mlflow)",
    *(
        "len(linked) - MAX_LINKS",
        "title",
        "subtitle",
        "text",
        "label",
        "line.id",
        "line.state.value",
        "run.state.value",
        "what",
    ),
    *("phrases.NO_WORKER", "usual", "data.NEWEST", "run.id"),
}


def test_every_text_that_a_page_reads_as_markdown_is_made_text_of():
    found = dict(said_as_markdown())
    assert len(found) > 30
    assert [where for where, argument in found.items() if not is_text_of_ours(argument)] == []
