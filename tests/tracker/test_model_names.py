"""A model has one name, which only a command of its own changes, for everybody and on record."""

import platform
import shutil
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text
from stack import Stack

from analyses.errors import Refused
from analyses.names import BadName
from analyses.prompts.distributions import DistributionSpec
from tracker.database.db import Sessions, transaction
from tracker.domain import InvalidRequest, Model, RunRequest
from tracker.home.home import Home
from tracker.queueing import models, submission
from tracker.results import runs as run_lines
from tracker.settings.settings import user
from tracker.store import models as store
from tracker.store import publications, studies
from tracker.store.models import NamedOtherwise, NameTaken, UnknownModel
from tracker.store.studies import StudyLooksAlike
from tracker.tables import PublicationRow
from tracker.working import worker

from .conftest import MakeRun


def names_of(sessions: Sessions) -> list[str]:
    with transaction(sessions) as session:
        return [model.name for model in store.all_models(session)]


@pytest.fixture
def cli(sessions: Sessions, database_url: str, tmp_path: Path) -> Stack:
    return Stack(tmp_path / "home", DATABASE_URL=database_url)


@pytest.fixture
def copy(model_folder: Path, tmp_path: Path) -> Path:
    """The same weights in another place."""
    return Path(shutil.copytree(model_folder, tmp_path / "copy"))


def add(
    folder: Path,
    sessions: Sessions,
    home: Home,
    *,
    name: str | None = None,
    dtype: str = "float32",
) -> Model:
    return models.add_model(
        str(folder), name=name, dtype=dtype, home=home, roots=(), sessions=sessions
    )


def test_adding_a_model_again_under_another_name_renames_nothing(
    tiny: Model, model_folder: Path, copy: Path, sessions: Sessions, home: Home
) -> None:
    for folder in (model_folder, copy):
        with pytest.raises(NamedOtherwise) as refused:
            add(folder, sessions, home, name="my model")
        assert "already exists as 'tiny'" in str(refused.value)
        assert "headbook models rename tiny 'my model'" in str(refused.value)
    assert names_of(sessions) == ["tiny"]


def test_a_copy_that_nobody_named_has_the_name_of_its_weights(
    tiny: Model, copy: Path, sessions: Sessions, home: Home
) -> None:
    assert add(copy, sessions, home).name == "tiny"


def test_the_same_weights_in_another_dtype_may_have_another_name(
    tiny: Model, model_folder: Path, sessions: Sessions, home: Home
) -> None:
    assert add(model_folder, sessions, home, name="tiny half", dtype="bfloat16").name == "tiny half"
    assert names_of(sessions) == ["tiny half", "tiny"]


@pytest.mark.parametrize("name", ["tiny", "TINY", "\uff54\uff49\uff4e\uff59"])
def test_other_weights_do_not_take_a_name_nor_one_that_looks_like_it(
    tiny: Model, copy: Path, sessions: Sessions, home: Home, name: str
) -> None:
    weights = copy / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-3] ^= 1
    weights.write_bytes(content)
    with pytest.raises(NameTaken, match="is already taken"):
        add(copy, sessions, home, name=name)
    assert names_of(sessions) == ["tiny"]


@pytest.fixture
def facts(model: Model) -> dict[str, Any]:
    return {name: getattr(model, name) for name in Model.__dataclass_fields__ if name != "id"}


def test_weights_that_older_versions_gave_two_names_keep_both(
    facts: dict[str, Any], sessions: Sessions
) -> None:
    with transaction(sessions) as session:
        other = store.add_model(session, **facts | {"ref": "/copy"})
        session.execute(text(f"UPDATE headbook.model SET name = 'copy' WHERE id = {other.id}"))
    for ref, name in (("/copy", "copy"), (facts["ref"], "tiny")):
        identity = {each: facts[each] for each in store.WEIGHTS} | {"ref": ref}
        with transaction(sessions) as session:
            assert store.name_of_weights(session, **identity) == name
            assert store.add_model(session, **facts | identity | {"name": name}).name == name
    with pytest.raises(NamedOtherwise, match="as 'copy'"), transaction(sessions) as session:
        store.add_model(session, **facts | {"ref": "/copy", "name": "tiny"})
    assert names_of(sessions) == ["copy", "tiny"]


def test_a_name_that_older_versions_gave_to_two_models_can_be_added_again(
    facts: dict[str, Any], sessions: Sessions
) -> None:
    other = facts | {"ref": "/other", "fingerprint": "e" * 64, "name": "other"}
    with transaction(sessions) as session:
        store.add_model(session, **other)
        session.execute(text("UPDATE headbook.model SET name = 'tiny'"))
    with transaction(sessions) as session:
        assert store.add_model(session, **other | {"name": "tiny"}).name == "tiny"


def test_a_later_revision_on_the_hub_takes_over_the_name(
    facts: dict[str, Any], sessions: Sessions
) -> None:
    for digit in "ab":
        revision = digit * 40
        later = {"ref": f"hub:o/m@{revision}", "revision": revision, "fingerprint": digit * 64}
        with transaction(sessions) as session:
            store.add_model(session, **facts | later | {"name": "m"})
    assert names_of(sessions) == ["m", "m", "tiny"]


def test_a_renamed_model_is_renamed_in_its_runs_and_it_is_kept_who_did_it(
    model: Model, make_run: MakeRun, sessions: Sessions
) -> None:
    runs = [make_run(), make_run()]
    with transaction(sessions) as session:
        session.execute(text("UPDATE headbook.publication SET state = 'published', due_at = now()"))
        renaming = store.rename(session, "tiny", "small", renamed_by="ada")
    assert (renaming.models, renaming.runs) == (1, 2)
    with transaction(sessions) as session:
        assert {line.model for line in run_lines(session)} == {"small"}
        kept = session.execute(text("SELECT * FROM results.model_renamings")).one()
        assert (kept.renamed_by, kept.old_name, kept.new_name) == ("ada", "tiny", "small")
        assert set(session.scalars(select(PublicationRow.state))) == {"pending"}
        assert set(publications.pending(session)) <= {run.id for run in runs}
        with pytest.raises(UnknownModel, match="Known models: small"):
            store.model_named(session, "tiny")


def test_a_name_is_not_taken_by_renaming(model: Model, sessions: Sessions) -> None:
    facts = {name: getattr(model, name) for name in Model.__dataclass_fields__ if name != "id"}
    with transaction(sessions) as session:
        store.add_model(session, **facts | {"name": "b", "ref": "/b", "fingerprint": "e" * 64})
    for new in ("b", "B"):
        with pytest.raises(NameTaken), transaction(sessions) as session:
            store.rename(session, "tiny", new, renamed_by="ada")
    with pytest.raises(BadName), transaction(sessions) as session:
        store.rename(session, "tiny", "a\u202eb", renamed_by="ada")
    with transaction(sessions) as session:
        assert store.rename(session, "tiny", "Tiny", renamed_by="ada").new == "Tiny"
    assert names_of(sessions) == ["b", "Tiny"]


def test_the_command_says_what_it_changed(cli: Stack, make_run: MakeRun) -> None:
    make_run()
    said = cli.headbook("models", "rename", "tiny", "tiny one")
    assert said.strip() == "Renamed tiny to tiny one, in 1 model and 1 run."
    told = cli.json("models", "rename", "tiny one", "tiny")
    assert told == {"old": "tiny one", "new": "tiny", "models": 1, "runs": 1}
    assert "U+001B" in cli.refusal("models", "rename", "tiny", "a\x1b[31mb")


def test_a_study_does_not_look_like_another(make_run: MakeRun, sessions: Sessions) -> None:
    run = make_run()
    with transaction(sessions) as session:
        first = studies.add_to_study(session, name="Scan", created_by="ada", runs=[run.id])
        again = studies.add_to_study(session, name="Scan", created_by="ada", runs=[run.id])
    assert first == again
    with pytest.raises(StudyLooksAlike), transaction(sessions) as session:
        studies.add_to_study(session, name="scan", created_by="ada", runs=[run.id])


BAD = ("a\x1b[31mb", "a\u202eb", "a\u200bb", "a\nb", "a" * 5000, "a\udce9")


@pytest.mark.parametrize(
    "bad", BAD, ids=["escape", "override", "zero width", "lines", "long", "byte"]
)
def test_every_door_refuses_what_cannot_be_a_name(
    tiny: Model,
    sessions: Sessions,
    home: Home,
    model_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    bad: str,
) -> None:
    asked = {"analysis": "attribution", "model": "tiny", "recipe": DistributionSpec(size=8)}
    for field in ("analysis", "model", "study"):
        with pytest.raises((BadName, InvalidRequest)):
            RunRequest(**asked | {field: bad})
    request = RunRequest(**asked)
    with pytest.raises(BadName):
        submission.submit(request, created_by=bad, sessions=sessions, home=home)
    for field in ("question_column", "answer_column", "subject_column"):
        with pytest.raises(Refused):
            DistributionSpec(**{field: bad})
    for spec in ({"data": f"file:/{bad}"}, {"choices_columns": ("choices", bad)}):
        with pytest.raises(Refused):
            DistributionSpec(**spec)
    with pytest.raises(BadName):
        add(model_folder, sessions, home, name=bad)
    monkeypatch.setenv("LOGNAME", bad)
    with pytest.raises(BadName, match="LOGNAME"):
        user()
    monkeypatch.setattr(platform, "node", lambda: bad)
    with pytest.raises(BadName, match="host"):
        worker._host()
