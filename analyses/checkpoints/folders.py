"""A language model as a local folder of safetensors, read and checked without torch."""

import os
import re
import stat
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analyses import bounds, regular_files
from analyses.checkpoints import configs, plain_json
from analyses.checkpoints.plain_json import BrokenJson
from analyses.errors import MayNotBeRead, Refused

CONFIG, TOKENIZER, ADAPTER = "config.json", "tokenizer.json", "adapter_config.json"
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
_SHARD = re.compile(r"\w[\w.-]*\.safetensors", re.ASCII)
_PICKLED = {".bin", ".pt", ".pth", ".ckpt", ".pkl"}
_CONVERT = (
    "convert it once, if you trust it: "
    "AutoModelForCausalLM.from_pretrained(FOLDER).save_pretrained(OTHER_FOLDER)"
)


class NoSuchModel(Refused):
    def __init__(self, ref: str) -> None:
        super().__init__(
            f"Model not found: {ref!r} is neither a folder nor a .gguf file. Give the path of a "
            f"folder with config.json, tokenizer.json and safetensors weights, the path of a GGUF "
            f"file, or hub:OWNER/NAME@REVISION."
        )


class OutsideRoots(Refused):
    def __init__(self, path: Path, roots: Sequence[Path]) -> None:
        super().__init__(
            f"{path} is outside the model roots. Models may be read from: "
            f"{', '.join(map(str, roots))}. Move it there, or add its folder to the roots."
        )


class MissingFile(Refused):
    def __init__(self, folder: Path, name: str, way_out: str) -> None:
        super().__init__(f"{folder} has no {name}; {way_out}.")


class PickledWeights(Refused):
    def __init__(self, folder: Path, found: Sequence[str]) -> None:
        super().__init__(
            f"{folder} has no safetensors, only pickled weights ({', '.join(found)}), which can "
            f"run code when loaded; {_CONVERT}."
        )


class UnmergedAdapter(Refused):
    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"{folder} contains an adapter (adapter_config.json). Merge it into its base model "
            f"(merge_and_unload), save that with save_pretrained and use the new folder."
        )


class LinkLeadsOut(Refused):
    def __init__(self, path: Path, target: Path) -> None:
        super().__init__(
            f"{path} is a symlink to {target}, outside the model's folder. Replace it by the file."
        )


class NotBesideIt(Refused):
    def __init__(self, index: Path, name: str) -> None:
        super().__init__(
            f"{index} refers to weights in {name[:80]!r}. Only safetensors files in its own folder "
            f"are read: move all of them there, and save the index again with plain file names."
        )


@dataclass(frozen=True, kw_only=True)
class ModelFiles:
    """The files of one model. No others are read, and the fingerprint covers all of them."""

    folder: Path
    config: Mapping[str, Any]
    tokenizer: Path
    weights: tuple[Path, ...]
    index: Path | None  # maps tensors to files; None if all weights are in one file


def resolve(ref: str, *, roots: Sequence[Path] = ()) -> Path:
    """The real path of the folder or GGUF file `ref`.

    Raises `NoSuchModel`, `MayNotBeRead`, and `OutsideRoots` if it is not below one of `roots`.
    """
    try:
        path = Path(ref).expanduser().resolve()
        mode = path.stat().st_mode
        exists = stat.S_ISDIR(mode) or (stat.S_ISREG(mode) and path.suffix.lower() == ".gguf")
    except PermissionError as error:
        raise MayNotBeRead(error, ref) from None
    except (OSError, RuntimeError, ValueError):  # no such user, no such path
        exists = False
    if not exists:
        raise NoSuchModel(ref)
    if roots and not any(path.is_relative_to(root.expanduser().resolve()) for root in roots):
        raise OutsideRoots(path, roots)
    return path


def read(folder: Path) -> ModelFiles:
    """The model's files. Raises a `Refused` if one is missing or could run code."""
    try:
        return _read(folder)
    except PermissionError as error:
        raise MayNotBeRead(error, folder) from None


def _read(folder: Path) -> ModelFiles:
    config = read_config(folder)
    if os.path.lexists(folder / ADAPTER):
        raise UnmergedAdapter(folder)
    index, weights = _weights(folder)
    return ModelFiles(
        folder=folder,
        config=config,
        tokenizer=read_tokenizer(folder),
        weights=weights,
        index=index,
    )


def read_config(folder: Path) -> Mapping[str, Any]:
    """The parsed config.json; see `configs.read`."""
    return configs.read(_present(folder, CONFIG, "save the model with save_pretrained"))


def family_of(config: Mapping[str, Any]) -> str:
    """The config's model_type; in a multimodal config, that of the text model."""
    inner = config.get("text_config")
    text = inner if isinstance(inner, Mapping) and "vocab_size" not in config else config
    return str(text.get("model_type", config.get("model_type", "unknown")))


def read_tokenizer(folder: Path) -> Path:
    way_out = "make it with AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)"
    return _present(folder, TOKENIZER, way_out)


def read_index(folder: Path) -> Sequence[str]:
    """The names of the weight files in the index."""
    index = _present(folder, INDEX, "save the model with save_pretrained")
    weight_map = plain_json.read(index, most=bounds.INDEX_BYTES).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise BrokenJson(index, "it has no weight_map")
    names = sorted(set(map(str, weight_map.values())))
    pickled = [name for name in names if Path(name).suffix in _PICKLED]
    if pickled:
        raise PickledWeights(folder, pickled)
    for name in names:
        if not _SHARD.fullmatch(name):
            raise NotBesideIt(index, name)
    bounds.check(index, "its number of files", len(names), bounds.FILES)
    return names


def no_safetensors(folder: Path, names: Collection[str]) -> Refused:
    """The error for a folder without safetensors that has these files."""
    pickled = sorted(name for name in names if Path(name).suffix in _PICKLED)
    if pickled:
        return PickledWeights(folder, pickled)
    return MissingFile(folder, f"{WEIGHTS} or {INDEX}", "save it with save_pretrained")


def _weights(folder: Path) -> tuple[Path | None, tuple[Path, ...]]:
    """The index, if used, and the weight files: `model.safetensors`, or else those it names."""
    if os.path.lexists(folder / WEIGHTS):
        return None, (_present(folder, WEIGHTS, "save the model with save_pretrained"),)
    if os.path.lexists(folder / INDEX):
        way_out = "its index lists that file; copy it there"
        shards = tuple(_present(folder, name, way_out) for name in read_index(folder))
        return folder / INDEX, shards
    raise no_safetensors(folder, [path.name for path in folder.iterdir()])


def _present(folder: Path, name: str, way_out: str) -> Path:
    path = _inside(folder, name)
    try:
        regular_files.check(path)
    except FileNotFoundError:
        raise MissingFile(folder, name, way_out) from None
    return path


def _inside(folder: Path, name: str) -> Path:
    """The path. Raises `LinkLeadsOut` if it is outside the folder and the hub cache's blobs."""
    path, home = folder / name, folder.resolve()
    try:
        target = path.resolve()
    except RuntimeError:  # a symlink loop
        raise LinkLeadsOut(path, path.readlink()) from None
    allowed = [home]
    if home.parent.name == "snapshots" and home.parent.parent.name.startswith("models--"):
        allowed.append(home.parent.parent / "blobs")
    if not any(target.is_relative_to(parent) for parent in allowed):
        raise LinkLeadsOut(path, target)
    return path
