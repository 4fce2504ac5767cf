import json
from pathlib import Path

import pytest

from analyses.checkpoints import folders
from analyses.checkpoints.configs import CustomCode, QuantisedWeights
from analyses.checkpoints.folders import (
    LinkLeadsOut,
    MissingFile,
    NoSuchModel,
    OutsideRoots,
    PickledWeights,
    UnmergedAdapter,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """As little as a model can be; nothing is loaded from it."""
    made = tmp_path / "models" / "small"
    made.mkdir(parents=True)
    (made / "config.json").write_text('{"model_type": "llama"}')
    (made / "tokenizer.json").write_text("{}")
    (made / "model.safetensors").write_bytes(b"weights")
    return made


def test_a_whole_folder_is_read(folder: Path) -> None:
    files = folders.read(folder)
    assert files.weights == (folder / "model.safetensors",)
    assert files.index is None


def test_weights_in_several_files_are_those_the_index_names(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "b.safetensors")
    (folder / "a.safetensors").write_bytes(b"weights")
    (folder / "stray.safetensors").write_bytes(b"not of this model")
    index = {"weight_map": {"x": "b.safetensors", "y": "a.safetensors", "z": "b.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert [path.name for path in folders.read(folder).weights] == [
        "a.safetensors",
        "b.safetensors",
    ]
    (folder / "a.safetensors").unlink()
    with pytest.raises(MissingFile, match=r"a\.safetensors"):
        folders.read(folder)


def test_a_path_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    for ref in (tmp_path / "nowhere", tmp_path / "notes.txt"):
        with pytest.raises(NoSuchModel, match=r"neither a folder nor a \.gguf file"):
            folders.resolve(str(ref))


@pytest.mark.parametrize("ref", ["~nosuchuser/x", "a\0b", "x" * 5000])
def test_a_path_that_cannot_be_is_refused(ref: str) -> None:
    with pytest.raises(NoSuchModel, match="Give the path"):
        folders.resolve(ref)


@pytest.mark.parametrize(
    ("config", "error"),
    [({"auto_map": 1}, CustomCode), ({"quantization_config": "int4"}, QuantisedWeights)],
)
def test_a_config_of_another_form_is_still_refused(folder: Path, config, error) -> None:
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(error):
        folders.read(folder)


def test_a_model_must_lie_below_a_root(folder: Path, tmp_path: Path) -> None:
    assert folders.resolve(str(folder), roots=[tmp_path / "models"]) == folder
    with pytest.raises(OutsideRoots, match="elsewhere"):
        folders.resolve(str(folder), roots=[tmp_path / "elsewhere"])


def test_a_link_below_a_root_counts_where_it_leads(folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(folder)
    with pytest.raises(OutsideRoots):
        folders.resolve(str(root / "link"), roots=[root])


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_folder_without_a_file_says_how_to_make_it(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(MissingFile, match=rf"has no {name}.*save_pretrained"):
        folders.read(folder)


def test_pickled_weights_are_refused_and_ignored_beside_safetensors(folder: Path) -> None:
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    assert folders.read(folder).weights == (folder / "model.safetensors",)
    (folder / "model.safetensors").unlink()
    with pytest.raises(PickledWeights, match=r"pytorch_model.bin.*save_pretrained"):
        folders.read(folder)


@pytest.mark.parametrize(
    ("config", "error"),
    [
        ({"auto_map": {"AutoModelForCausalLM": "modeling.Model"}}, CustomCode),
        ({"quantization_config": {"quant_method": "gptq"}}, QuantisedWeights),
    ],
)
def test_a_config_with_code_or_quantised_weights_is_refused(
    folder: Path, config: dict[str, object], error: type[Exception]
) -> None:
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(error):
        folders.read(folder)


def test_an_adapter_is_refused(folder: Path) -> None:
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(UnmergedAdapter, match="merge"):
        folders.read(folder)


def test_a_file_that_is_a_link_out_of_the_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"weights")
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to(tmp_path / "secret")
    with pytest.raises(LinkLeadsOut, match="secret"):
        folders.read(folder)


def test_the_hub_cache_may_link_to_its_blobs(folder: Path, tmp_path: Path) -> None:
    repo = tmp_path / "models--owner--name"
    blobs, snapshot = repo / "blobs", repo / "snapshots" / "0123"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for path in folder.iterdir():
        (blobs / path.name).write_bytes(path.read_bytes())
        (snapshot / path.name).symlink_to(blobs / path.name)
    assert folders.read(snapshot).folder == snapshot
