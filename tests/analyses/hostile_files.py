"""Hostile files in a model's folder: special files, links, indexes, adapters. All are refused."""

import json
import os
import pickle
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from hostile import Canary, make_special

Spoil = Callable[[Path], None]
_KINDS = ("pipe", "folder", "socket", "device", "endless", "loop", "nowhere")
_INDEX = "model.safetensors.index.json"


def _special(name: str, kind: str, folder: Path) -> None:
    make_special(folder / name, kind)


def _link_out(name: str, folder: Path) -> None:
    outside = folder.with_name("outside")
    (folder / name).rename(outside)
    (folder / name).symlink_to(outside)


def _indexed(*names: object) -> Spoil:
    """Weights under other names, which an index gives."""

    def spoil(folder: Path) -> None:
        (folder / "model.safetensors").rename(folder / "weights.safetensors")
        where = {f"tensor {number}": name for number, name in enumerate(names)}
        (folder / _INDEX).write_text(json.dumps({"weight_map": where}))
        (folder / "weights.bin").write_bytes(pickle.dumps(Canary(folder)))
        (folder / "sub").mkdir()
        (folder / "sub" / "w.safetensors").write_bytes(b"")
        (folder.parent / "w.safetensors").write_bytes((folder / "weights.safetensors").read_bytes())

    return spoil


def _index_says(text: str) -> Spoil:
    def spoil(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        (folder / _INDEX).write_text(text)

    return spoil


def _special_index(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    make_special(folder / _INDEX, "pipe")


def _only(name: str) -> Spoil:
    def spoil(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        (folder / name).write_bytes(pickle.dumps(Canary(folder)))

    return spoil


def _zipped(folder: Path) -> None:
    """As torch.save writes it, under the name of safetensors."""
    with zipfile.ZipFile(folder / "model.safetensors", "w") as file:
        file.writestr("archive/data.pkl", pickle.dumps(Canary(folder)))


def _adapter(folder: Path) -> None:
    said = {"base_model_name_or_path": "owner/name", "peft_type": "LORA"}
    (folder / "adapter_config.json").write_text(json.dumps(said))


def _adapter_alone(folder: Path) -> None:
    _adapter(folder)
    (folder / "config.json").unlink()


def _not_the_hubs_blobs(folder: Path) -> None:
    """Any folder may be called so; only in the hub's cache do links lead to the blobs beside."""
    blobs = folder.parents[1] / "blobs"
    blobs.mkdir(exist_ok=True)
    (folder / "model.safetensors").rename(blobs / "weights")
    (folder / "model.safetensors").symlink_to(blobs / "weights")


FILES: dict[str, Spoil] = {
    f"{name}: {kind}": partial(_special, name, kind)
    for name in ("config.json", "tokenizer.json", "model.safetensors")
    for kind in _KINDS
    if kind != "device" or os.geteuid() == 0
} | {
    "config.json: a link out": partial(_link_out, "config.json"),
    "tokenizer.json: a link out": partial(_link_out, "tokenizer.json"),
    "model.safetensors: a link out": partial(_link_out, "model.safetensors"),
    "blobs of no cache": _not_the_hubs_blobs,
    "an index of a pickle": _indexed("weights.bin"),
    "an index of both": _indexed("weights.safetensors", "weights.bin"),
    "an index upwards": _indexed("../w.safetensors"),
    "an index of another place": _indexed("/tmp/w.safetensors"),
    "an index downwards": _indexed("sub/w.safetensors"),
    "an index of all": _indexed("*.safetensors"),
    "an index of code": _indexed("modeling_evil.py"),
    "an index of the config": _indexed("config.json"),
    "an index of numbers": _indexed(1, None, {}),
    "an index of control characters": _indexed("\x1b[2J.safetensors"),
    "an index of too many": _indexed(*(f"{number}.safetensors" for number in range(2_000))),
    "an index without a map": _index_says("{}"),
    "an index of a list": _index_says('{"weight_map": []}'),
    "an index without end": _index_says('{"weight_map": {"a":' * 200_000),
    "a large index": _index_says(" " * (65 * 2**20)),
    "an index that is a pipe": _special_index,
    "only pickles": _only("pytorch_model.bin"),
    "only a checkpoint": _only("model.ckpt"),
    "only arguments": _only("training_args.bin"),
    "a pickle called safetensors": _only("model.safetensors"),
    "an archive called safetensors": _zipped,
    "an adapter": _adapter,
    "an adapter alone": _adapter_alone,
    "an adapter that is not there": lambda folder: (folder / "adapter_config.json").symlink_to("x"),
}
