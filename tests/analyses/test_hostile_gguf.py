"""GGUF files that were made to do harm, or are swapped, are refused and leave nothing behind."""

from pathlib import Path

import pytest
from hostile import watched
from hostile_gguf import FILES
from test_gguf import write_tiny_gguf

from analyses.checkpoints import gguf, refs
from analyses.errors import Refused
from analyses.regular_files import ChangedWhileRead

pytestmark = pytest.mark.attack(33, "hostile GGUF files")


@pytest.fixture(scope="module", autouse=True)
def converted_once(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What converting imports is not a file's doing."""
    folder = tmp_path_factory.mktemp("first")
    with pytest.raises(gguf.UnreadableGguf):  # it has no tokenizer
        gguf.converted(write_tiny_gguf(folder / "a.gguf", layers=2), cache=folder)


@pytest.mark.parametrize("name", FILES)
def test_a_hostile_file_is_refused_in_a_sentence(tmp_path: Path, name: str) -> None:
    (tmp_path / "in").mkdir()
    path, cache = tmp_path / "in" / "model.gguf", tmp_path / "cache"
    FILES[name](path)
    with watched(path.parent), pytest.raises(Refused, match=r"model\.gguf") as refused:
        refs.fetched(str(path), cache=cache)
    assert len(str(refused.value)) < 1_500
    assert {each.name for each in cache.iterdir()} <= {"hashes"}


def test_a_file_that_changed_since_it_was_hashed_is_not_converted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, cache = write_tiny_gguf(tmp_path / "model.gguf", layers=2), tmp_path / "cache"
    named = gguf.folder_of(path, cache=cache)
    write_tiny_gguf(path, layers=3)
    monkeypatch.setattr(gguf, "folder_of", lambda _path, cache: named)
    with pytest.raises(ChangedWhileRead, match=r"model\.gguf was changed while it was read"):
        gguf.converted(path, cache=cache)
    assert [each.name for each in cache.iterdir()] == ["hashes"]
