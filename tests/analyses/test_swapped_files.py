"""Other bytes than those that were hashed are never loaded, whenever they take their place."""

import json
import mmap
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_llama import save_tiny_llama

from analyses.checkpoints import contents, folders, hashes, refs
from analyses.checkpoints.contents import Changed, OtherBytes
from analyses.checkpoints.headers import BrokenWeights
from analyses.errors import Refused
from analyses.language_model import LanguageModel
from analyses.pretrained import pretrained
from analyses.regular_files import ChangedWhileRead

pytestmark = pytest.mark.attack(33, "files swapped or changed under a fingerprint")

WEIGHTS, CONFIG, TOKENIZER = "model.safetensors", "config.json", "tokenizer.json"
Swap = Callable[[Path, Path], None]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two models of the same shape and with files of the same sizes."""
    made = tmp_path_factory.mktemp("both")
    for seed, name in enumerate(("ours", "other")):
        save_tiny_llama(made / name, seed=seed)
    return made / "ours", made / "other"


@pytest.fixture
def folder(both: tuple[Path, Path], tmp_path: Path) -> Path:
    return shutil.copytree(both[0], tmp_path / "model")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def times_put_back(path: Path, change: Callable[[], object]) -> None:
    before = path.stat()
    change()
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def in_place(folder: Path, other: Path) -> None:
    """The same inode, size and time of its last change."""
    path = folder / WEIGHTS
    times_put_back(path, lambda: path.write_bytes((other / WEIGHTS).read_bytes()))


def one_byte(folder: Path, _other: Path) -> None:
    path = folder / WEIGHTS

    def change() -> None:
        with path.open("r+b") as file:
            file.seek(-2, 2)
            file.write(b"\x40")

    times_put_back(path, change)


def two_names(folder: Path, _other: Path) -> None:
    """Only the head: two tensors of the same shape change places."""
    path = folder / WEIGHTS
    one, two = b"layers.0.mlp.up_proj", b"layers.1.mlp.up_proj"
    free = b"layers.9.mlp.up_proj"
    content = path.read_bytes().replace(one, free).replace(two, one).replace(free, two)
    times_put_back(path, lambda: path.write_bytes(content))


def another_type(folder: Path, _other: Path) -> None:
    """Only the head: the same bytes as numbers of another kind."""
    path = folder / WEIGHTS
    content = path.read_bytes().replace(b'"F32"', b'"I32"', 1)
    times_put_back(path, lambda: path.write_bytes(content))


def another_inode(folder: Path, other: Path) -> None:
    path = folder / WEIGHTS
    copy = folder / "copy"
    shutil.copy(other / WEIGHTS, copy)
    os.utime(copy, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    copy.replace(path)


def a_hard_link(folder: Path, other: Path) -> None:
    """Written to through another name of the file."""
    os.link(folder / WEIGHTS, folder.with_name("alias"))
    times_put_back(
        folder / WEIGHTS,
        lambda: folder.with_name("alias").write_bytes((other / WEIGHTS).read_bytes()),
    )


def a_link_inside(folder: Path, other: Path) -> None:
    shutil.copy(other / WEIGHTS, folder / "other.safetensors")
    (folder / WEIGHTS).unlink()
    (folder / WEIGHTS).symlink_to("other.safetensors")


def the_folder(folder: Path, other: Path) -> None:
    folder.rename(folder.with_name("old"))
    shutil.copytree(other, folder)


def a_link_for_the_folder(folder: Path, other: Path) -> None:
    folder.rename(folder.with_name("old"))
    folder.symlink_to(other)


def an_index(folder: Path, other: Path) -> None:
    """The weights under another name, and an index that leads to them."""
    (folder / WEIGHTS).unlink()
    shutil.copy(other / WEIGHTS, folder / "a.safetensors")
    index = {"weight_map": dict.fromkeys(load_file(other / WEIGHTS), "a.safetensors")}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def config_says(folder: Path, **fields: object) -> None:
    path = folder / CONFIG
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def another_norm(folder: Path, _other: Path) -> None:
    times_put_back(folder / CONFIG, lambda: config_says(folder, rms_norm_eps=0.5))


def other_angles(folder: Path, _other: Path) -> None:
    rope = {"rope_type": "default", "rope_theta": 20_000.0}
    times_put_back(folder / CONFIG, lambda: config_says(folder, rope_parameters=rope))


def other_words(folder: Path, _other: Path) -> None:
    path = folder / TOKENIZER
    text = path.read_text().replace('"a"', '"\x01"').replace('"b"', '"a"').replace('"\x01"', '"b"')
    times_put_back(path, lambda: path.write_text(text))


OF_WEIGHTS: list[Swap] = [in_place, one_byte, another_inode, a_hard_link]
OF_HEADS: list[Swap] = [two_names, another_type]
OF_THE_REST: list[Swap] = [another_norm, other_angles, other_words]
OF_PLACES: list[Swap] = [a_link_inside, the_folder, a_link_for_the_folder, an_index]


@pytest.mark.parametrize("swap", [*OF_WEIGHTS, *OF_HEADS, *OF_THE_REST, *OF_PLACES])
def test_what_changed_after_it_was_hashed_is_refused(
    both: tuple[Path, Path], folder: Path, cache: Path, swap: Swap
) -> None:
    expected = LanguageModel.load(folder, cache=cache).fingerprint
    swap(folder, both[1])
    with pytest.raises(Changed, match="Restore the files, or submit the run again"):
        LanguageModel.load(folder, expect=expected, cache=cache)


@pytest.mark.parametrize("swap", [*OF_WEIGHTS, a_link_inside, the_folder, a_link_for_the_folder])
def test_what_changes_between_hashing_and_loading_is_not_loaded(
    both: tuple[Path, Path], folder: Path, cache: Path, swap: Swap
) -> None:
    read = contents.of(folders.read(folder), remembered=cache)
    swap(folder, both[1])
    with pytest.raises(OtherBytes, match=r"model\.safetensors has changed since .* add the model"):
        pretrained(read, dtype="float32", device="cpu")


@pytest.mark.parametrize("swap", [*OF_HEADS, *OF_THE_REST])
def test_heads_config_and_tokenizer_stay_those_that_were_hashed(
    both: tuple[Path, Path], folder: Path, swap: Swap
) -> None:
    stored = load_file(folder / WEIGHTS)
    read = contents.of(folders.read(folder), remembered=None)
    swap(folder, both[1])
    model = pretrained(read, dtype="float32", device="cpu").model
    loaded = model.state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in stored.items())
    assert model.config.rms_norm_eps == 1e-6
    assert model.config.rope_parameters["rope_theta"] == 10_000.0
    assert read.tokenizer == (both[0] / TOKENIZER).read_bytes()


def test_one_of_several_files_is_not_anothers(both: tuple[Path, Path], tmp_path: Path) -> None:
    def split(of: Path, folder: Path) -> Path:
        shutil.copytree(of, folder)
        stored = load_file(folder / WEIGHTS)
        (folder / WEIGHTS).unlink()
        where = {name: f"{n % 2}.safetensors" for n, name in enumerate(sorted(stored))}
        for file in sorted(set(where.values())):
            part = {name: stored[name] for name in stored if where[name] == file}
            save_file(part, folder / file, metadata={"format": "pt"})
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
        return folder

    ours, other = (split(of, tmp_path / of.name) for of in both)
    read = contents.of(folders.read(ours), remembered=tmp_path)
    shutil.copy(other / "1.safetensors", ours)
    with pytest.raises(OtherBytes, match=r"1\.safetensors"):
        pretrained(read, dtype="float32", device="cpu")
    with pytest.raises(Changed):
        contents.of(folders.read(ours), remembered=tmp_path, expect=read.fingerprint)


def test_writing_through_a_mapping_is_found_although_no_time_tells(
    both: tuple[Path, Path], folder: Path, cache: Path
) -> None:
    """A page that is dirty already is written to without a trace in the inode."""
    path = folder / WEIGHTS
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[:] = path.read_bytes()  # all pages are dirty
        expected = LanguageModel.load(folder, cache=cache).fingerprint
        before = path.stat()
        mapped[:] = (both[1] / WEIGHTS).read_bytes()
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        with pytest.raises((Changed, OtherBytes)):
            LanguageModel.load(folder, expect=expected, cache=cache)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_model_in_memory_does_not_change_with_its_file(
    both: tuple[Path, Path], folder: Path, dtype: str
) -> None:
    lm = LanguageModel.load(folder, dtype=dtype)
    before = {name: tensor.clone() for name, tensor in lm.model.state_dict().items()}
    in_place(folder, both[1])
    other_words(folder, both[1])
    os.truncate(folder / WEIGHTS, 100)
    for name, tensor in lm.model.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert lm.tokenizer.encode("a").ids == [lm.tokenizer.token_to_id("a")]


@pytest.mark.parametrize("to", [0, 100, 20_000])
def test_a_file_that_is_cut_while_it_is_loaded_ends_no_process(
    folder: Path, cache: Path, to: int
) -> None:
    read = contents.of(folders.read(folder), remembered=cache)
    os.truncate(folder / WEIGHTS, to)
    with pytest.raises(OtherBytes):
        pretrained(read, dtype="float32", device="cpu")
    with pytest.raises(BrokenWeights):
        LanguageModel.load(folder, cache=cache)


def test_a_file_that_is_gone_or_became_a_pipe_is_not_waited_for(folder: Path, cache: Path) -> None:
    read = contents.of(folders.read(folder), remembered=cache)
    (folder / WEIGHTS).unlink()
    with pytest.raises(OtherBytes):
        pretrained(read, dtype="float32", device="cpu")
    os.mkfifo(folder / WEIGHTS)
    with pytest.raises(Refused, match="is a pipe"):
        pretrained(read, dtype="float32", device="cpu")


def test_a_file_that_is_written_to_while_it_is_hashed_is_not_remembered(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = hashes._read_and_hash

    def and_changed(path: Path, file: Any) -> hashes.Hashes:
        read = found(path, file)
        one_byte(folder, folder)
        return read

    monkeypatch.setattr(hashes, "_read_and_hash", and_changed)
    with pytest.raises(ChangedWhileRead, match="changed while it was read"):
        LanguageModel.load(folder, cache=cache)
    assert not (cache / "hashes").exists()


def test_the_hash_of_one_file_says_nothing_of_another(
    both: tuple[Path, Path], folder: Path, cache: Path
) -> None:
    """A note under the name of another file's is not taken for its own, nor is another user's."""
    other = shutil.copytree(both[1], folder.with_name("other"))
    right = [hashes.file_sha256(each / WEIGHTS, remembered=None) for each in (folder, other)]
    for each in (folder, other):
        hashes.file_sha256(each / WEIGHTS, remembered=cache)
    one, two = sorted(cache.iterdir())
    text = one.read_text(), two.read_text()
    one.write_text(text[1])
    two.write_text(text[0])
    found = [hashes.file_sha256(each / WEIGHTS, remembered=cache) for each in (folder, other)]
    assert found == right


@pytest.mark.parametrize("change", ["writable", "foreign", "link", "pipe", "deep", "list"])
def test_a_note_that_others_could_write_is_not_believed(
    folder: Path, cache: Path, change: str
) -> None:
    right = hashes.file_sha256(folder / WEIGHTS, remembered=cache)
    (note,) = cache.iterdir()
    said = json.loads(note.read_text())
    text = json.dumps(said | {"whole": "0" * 64})
    note.write_text({"deep": "[" * 100_000, "list": "[]"}.get(change, text))
    if change == "writable":
        note.chmod(0o666)
    elif change == "foreign":
        if os.geteuid() != 0:
            pytest.skip("only root can give a file away")
        os.chown(note, 12345, 12345)
    elif change == "link":
        note.rename(cache / "elsewhere")
        note.symlink_to(cache / "elsewhere")
    elif change == "pipe":
        note.unlink()
        os.mkfifo(note)
    assert hashes.file_sha256(folder / WEIGHTS, remembered=cache) == right


@pytest.mark.parametrize("swap", [in_place, *OF_THE_REST])
def test_a_tokenizer_is_that_of_the_model_whose_run_is_queued(
    both: tuple[Path, Path], folder: Path, cache: Path, swap: Swap
) -> None:
    expected = LanguageModel.load(folder, cache=cache).fingerprint
    own = refs.tokenizer(str(folder), cache=cache, expect=expected)
    assert own.text == (folder / TOKENIZER).read_bytes()
    swap(folder, both[1])
    if swap is in_place:  # whoever loads the weights hashes them
        assert refs.tokenizer(str(folder), cache=cache, expect=expected) == own
    else:
        with pytest.raises(Changed):
            refs.tokenizer(str(folder), cache=cache, expect=expected)


def test_a_host_without_the_weights_reads_the_tokenizer(folder: Path, cache: Path) -> None:
    expected = LanguageModel.load(folder, cache=cache).fingerprint
    (folder / WEIGHTS).unlink()
    found = refs.tokenizer(str(folder), cache=cache, expect=expected)
    assert found.text == (folder / TOKENIZER).read_bytes()
