import hashlib
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from analyses.checkpoints import contents, folders, hashes


@pytest.fixture
def fingerprint(tmp_path: Path):
    def of(folder: Path) -> str:
        return contents.of(folders.read(folder), remembered=tmp_path / "hashes").fingerprint

    return of


def test_two_training_seeds_differ(saved, fingerprint) -> None:
    one, two = saved("llama", "one", seed=0), saved("llama", "two", seed=1)
    assert fingerprint(one) != fingerprint(two)


def test_a_copy_is_the_same_model(saved, fingerprint, tmp_path: Path) -> None:
    folder = saved("llama")
    shutil.copytree(folder, tmp_path / "copy")
    assert fingerprint(tmp_path / "copy") == fingerprint(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_one_changed_byte_is_another_model(saved, fingerprint, name: str) -> None:
    folder = saved("llama")
    before = fingerprint(folder)
    content = bytearray((folder / name).read_bytes())
    content[-3] ^= 1
    (folder / name).write_bytes(bytes(content))
    assert fingerprint(folder) != before


def test_the_order_and_the_writer_of_a_config_do_not_matter(saved, fingerprint) -> None:
    folder = saved("llama")
    before = fingerprint(folder)
    config = json.loads((folder / "config.json").read_text())
    config["transformers_version"] = "9.9"
    reordered = dict(reversed(config.items()))
    (folder / "config.json").write_text(json.dumps(reordered))
    assert fingerprint(folder) == before
    (folder / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 0.5}))
    assert fingerprint(folder) != before


def test_a_file_is_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    first = hashes.file_sha256(path, remembered=tmp_path / "hashes")
    monkeypatch.setattr(hashes, "_read_and_hash", None)
    assert hashes.file_sha256(path, remembered=tmp_path / "hashes") == first


def test_many_may_hash_the_same_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content" * 100_000)
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(
            lambda _: hashes.file_sha256(path, remembered=tmp_path / "hashes"), range(32)
        )
    assert len(set(found)) == 1
    assert [note.suffix for note in (tmp_path / "hashes").iterdir()] == [".json"]


@pytest.mark.parametrize(
    "content", [b"", b"abc", b"\xff" * 40, b"\2" + b"\0" * 7 + b"{}", b"\2" + b"\0" * 7 + b"[]tail"]
)
def test_the_hash_of_a_file_is_that_of_its_bytes_whatever_it_holds(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    found = hashes.file_sha256(path, remembered=None)
    assert found == hashlib.sha256(content).hexdigest()
