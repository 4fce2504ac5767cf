"""What the documents say is there, and their SQL runs."""

import re
import shutil
from pathlib import Path

import pytest
from sqlalchemy import text

from tracker.cli import app
from tracker.db import Sessions, transaction

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PATHS = re.compile(
    r"(?:\]\(|`)((?:analyses|app|docs|migrations|tests|tracker)/[\w./-]*|LICENSE)[)`]"
)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_path_in_a_document_exists(document: Path) -> None:
    missing = [path for path in PATHS.findall(document.read_text()) if not (ROOT / path).exists()]
    assert missing == []


def test_every_command_in_the_readme_exists() -> None:
    known = {command.name or command.callback.__name__ for command in app.registered_commands}  # type: ignore[union-attr]
    known |= {group.name for group in app.registered_groups}
    named = set(re.findall(r"headbook ([a-z]+)", (ROOT / "README.md").read_text()))
    assert named - known == set()


def test_the_sql_of_the_readme_runs(sessions: Sessions) -> None:
    queries = re.findall(r"```sql\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(queries) == 2
    for query in queries:
        with transaction(sessions) as session:
            session.execute(text(query)).all()


def test_make_knows_the_targets_the_readme_names() -> None:
    assert shutil.which("make")
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`?make (\w+)", (ROOT / "README.md").read_text())) <= targets | {"on"}
