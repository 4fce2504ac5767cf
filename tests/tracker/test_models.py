"""A model is added when it was read, hashed and proved; what cannot be is refused in a sentence."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from analyses.checkpoints.quiet import quiet
from analyses.errors import Refused
from tracker import models
from tracker.db import Sessions, transaction
from tracker.domain import Model
from tracker.home import Home
from tracker.store import models as store


def add(folder: Path, sessions: Sessions, home: Home, *, roots: tuple[Path, ...] = ()) -> Model:
    return models.add_model(
        str(folder), name=None, dtype="float32", home=home, roots=roots, sessions=sessions
    )


def test_a_model_is_known_by_its_bytes_not_by_its_name(
    model_folder: Path, sessions: Sessions, home: Home, tmp_path: Path
) -> None:
    first = add(model_folder, sessions, home)
    again = add(model_folder, sessions, home)
    assert (again.id, again.name) == (first.id, "tiny")
    copy = tmp_path / "copy"
    shutil.copytree(model_folder, copy)
    elsewhere = add(copy, sessions, home)
    assert elsewhere.fingerprint == first.fingerprint
    weights = copy / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-3] ^= 1
    weights.write_bytes(content)
    changed = add(copy, sessions, home)
    assert changed.fingerprint != first.fingerprint
    assert (changed.n_layers, changed.n_heads, changed.n_kv_heads, changed.d_head) == (2, 4, 2, 8)
    with transaction(sessions) as session:
        assert store.model_named(session, "copy").id == changed.id  # the newest of a name


def without_safetensors(folder: Path) -> str:
    (folder / "model.safetensors").unlink()
    return "has no model.safetensors"


def only_pickled(folder: Path) -> str:
    torch.save({}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    return r"only pickled weights \(pytorch_model.bin\).*save_pretrained"


def own_code(folder: Path) -> str:
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModelForCausalLM": "evil.Evil"}
    (folder / "config.json").write_text(json.dumps(config))
    return "asks for code of its own"


def other_attention(folder: Path) -> str:
    config = AutoConfig.for_model(
        "gptj", n_embd=32, n_layer=2, n_head=4, n_positions=64, rotary_dim=8, vocab_size=257
    )
    with quiet():
        AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return "attention interface"


@pytest.mark.parametrize("spoil", [without_safetensors, only_pickled, own_code, other_attention])
def test_a_model_that_cannot_be_trusted_is_refused_and_not_recorded(
    model_folder: Path, sessions: Sessions, home: Home, tmp_path: Path, spoil: object
) -> None:
    folder = tmp_path / "spoilt"
    shutil.copytree(model_folder, folder)
    says = spoil(folder)  # type: ignore[operator]
    with pytest.raises(Refused, match=f"(?i){says}"):
        add(folder, sessions, home)
    with transaction(sessions) as session:
        assert store.all_models(session) == []


def test_models_outside_the_configured_roots_are_refused(
    model_folder: Path, sessions: Sessions, home: Home, tmp_path: Path
) -> None:
    with pytest.raises(Refused, match="does not lie below a model root"):
        add(model_folder, sessions, home, roots=(tmp_path,))
    assert add(model_folder, sessions, home, roots=(model_folder.parent,)).name == "tiny"
