"""Models from a hub, over HTTP, with the hub's own client."""

import json
import shutil
from pathlib import Path

import pytest
from local_hub import COMMIT, NOBODY, LocalHub, use_hub_at

from analyses.checkpoints import contents, folders, refs
from analyses.checkpoints.configs import CustomCode
from analyses.checkpoints.folders import NoSuchModel, PickledWeights
from analyses.checkpoints.hub import BadHubRef, CorruptDownload, NotDownloaded, Unpinned, parse
from analyses.hub import HubUnreachable, NotOnHub
from analyses.language_model import LanguageModel


@pytest.fixture
def ref(hub_server: LocalHub, saved) -> str:
    """A model on the hub, with files beside it that nobody needs."""
    folder = saved("llama")
    (folder / "pytorch_model.bin").write_bytes(b"pickled")
    (folder / "modeling_llama.py").write_text("raise SystemExit")
    (folder / "consolidated.safetensors").write_bytes(b"the same once more")
    hub_server.models["owner/llama"] = folder
    return hub_server.ref("owner/llama")


def test_a_model_is_loaded_at_its_revision(ref: str, loaded, tmp_path: Path) -> None:
    lm = LanguageModel.load(ref, cache=tmp_path)
    loaded.append(lm)
    assert lm.folder.name == COMMIT
    assert lm.shape.n_layers == 2


def test_only_what_is_read_is_downloaded(ref: str, hub_server: LocalHub, tmp_path: Path) -> None:
    files = refs.fetched(ref, cache=tmp_path)
    assert {path.name for path in files.folder.iterdir()} == {
        "config.json",
        "tokenizer.json",
        "model.safetensors",
    }
    assert not [path for path in hub_server.asked if path.endswith((".bin", ".py"))]


def test_its_fingerprint_is_that_of_the_same_files_in_a_folder(
    ref: str, hub_server: LocalHub, tmp_path: Path
) -> None:
    of_hub = contents.of(refs.fetched(ref, cache=tmp_path), remembered=None)
    local = contents.of(folders.read(hub_server.models["owner/llama"]), remembered=None)
    assert of_hub.fingerprint == local.fingerprint


def test_what_was_downloaded_needs_no_network(
    ref: str, hub_server: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NotDownloaded, match="headbook models add hub:owner/llama@"):
        refs.tokenizer(ref, cache=tmp_path)
    first = refs.fetched(ref, cache=tmp_path)
    use_hub_at(NOBODY, monkeypatch)
    assert refs.fetched(ref, cache=tmp_path) == first
    assert refs.tokenizer(ref, cache=tmp_path).path == first.tokenizer


def test_weights_in_several_files_are_those_the_index_names(
    ref: str, hub_server: LocalHub, tmp_path: Path, loaded
) -> None:
    folder = tmp_path / "split"
    lm = LanguageModel.load(hub_server.models["owner/llama"])
    lm.model.save_pretrained(folder, max_shard_size="20KB")
    shutil.copy(hub_server.models["owner/llama"] / "tokenizer.json", folder)
    hub_server.models["owner/split"] = folder
    files = refs.fetched(hub_server.ref("owner/split"), cache=tmp_path)
    assert len(files.weights) > 1
    loaded.append(LanguageModel.load(files.folder))


@pytest.mark.parametrize(("place", "whence"), [(-1, 2), (3, 0)])
def test_a_file_that_is_not_what_the_hub_lists_is_refused(
    ref: str, tmp_path: Path, place: int, whence: int
) -> None:
    (weights,) = refs.fetched(ref, cache=tmp_path).weights
    with weights.resolve().open("r+b") as blob:
        blob.seek(place, whence)
        blob.write(b"!")
    with pytest.raises(CorruptDownload, match=r"model\.safetensors differs from the file.*Delete"):
        refs.fetched(ref, cache=tmp_path)


def test_code_and_pickles_are_refused_before_the_weights_are_downloaded(
    ref: str, hub_server: LocalHub, tmp_path: Path
) -> None:
    folder = hub_server.models["owner/llama"]
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModel": "x.Y"}}))
    with pytest.raises(CustomCode, match="never run"):
        refs.fetched(ref, cache=tmp_path)
    assert not [path for path in hub_server.asked if path.endswith(".safetensors")]
    pickled = tmp_path / "pickled"
    shutil.copytree(folder, pickled, ignore=shutil.ignore_patterns("*.safetensors"))
    (pickled / "config.json").write_text(json.dumps(config))
    hub_server.models["owner/pickled"] = pickled
    with pytest.raises(PickledWeights, match=r"pytorch_model\.bin"):
        refs.fetched(hub_server.ref("owner/pickled"), cache=tmp_path)


def test_what_the_hub_does_not_have_is_refused(
    ref: str, hub_server: LocalHub, tmp_path: Path
) -> None:
    for wrong in (hub_server.ref("owner/other"), f"hub:owner/llama@{'a' * 40}"):
        with pytest.raises(NotOnHub, match="hf auth login"):
            refs.fetched(wrong, cache=tmp_path)


def test_a_hub_that_does_not_answer_is_named(
    ref: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_hub_at(NOBODY, monkeypatch)
    with pytest.raises(HubUnreachable, match="not on this machine and cannot be downloaded"):
        refs.fetched(ref, cache=tmp_path)


def test_a_download_that_breaks_off_is_named_and_goes_on_later(
    ref: str, hub_server: LocalHub, tmp_path: Path
) -> None:
    hub_server.cut = True
    with pytest.raises(HubUnreachable, match="cannot be downloaded from the hub"):
        refs.fetched(ref, cache=tmp_path)
    hub_server.cut = False
    assert refs.fetched(ref, cache=tmp_path).weights


@pytest.mark.parametrize("revision", ["", "@main", "@v1.0", f"@{'a' * 39}", f"@{'A' * 40}"])
def test_a_revision_that_can_move_is_refused(revision: str) -> None:
    with pytest.raises(Unpinned, match="40 hex digits"):
        parse(f"hub:owner/name{revision}")


@pytest.mark.parametrize(
    "ref", ["", "name", "a/b/c", "../x", "a b/c", "a--b/c", "é/b", "a/b.git", "-a/b"]
)
def test_what_is_no_name_is_refused(ref: str) -> None:
    with pytest.raises(BadHubRef, match="hub:"):
        parse(f"hub:{ref}@{COMMIT}")


def test_a_name_without_the_prefix_is_a_path(tmp_path: Path) -> None:
    with pytest.raises(NoSuchModel, match="hub:OWNER/NAME@REVISION"):
        refs.fetched(f"owner/name@{COMMIT}", cache=tmp_path)
