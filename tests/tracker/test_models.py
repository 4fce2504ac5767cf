"""A model is added when it was read, hashed and proved; what cannot be is refused in a sentence."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from sqlalchemy import update
from transformers import AutoConfig, AutoModelForCausalLM

from analyses.checkpoints.quiet import quiet
from analyses.checkpoints.shapes import LayerShape
from analyses.errors import Refused
from tracker.database.db import Sessions, transaction
from tracker.domain import Model
from tracker.home.home import Home
from tracker.publishing.artifacts import ArtifactStore
from tracker.publishing.publication import mlflow_client
from tracker.publishing.spool import Spool
from tracker.queueing import models
from tracker.store import models as store
from tracker.tables import ModelRow
from tracker.working.context import WorkerContext


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


LLAMA = LayerShape(n_heads=4, n_kv_heads=2, d_qk=8, d_v=8)


def test_a_model_is_stored_with_the_shape_that_ran(
    model_folder: Path, sessions: Sessions, home: Home, tmp_path: Path
) -> None:
    """Queries of 20 dimensions and values of 16, where `head_dim` says 8."""
    folder = tmp_path / "latent"
    save_latent(folder)
    shutil.copy(model_folder / "tokenizer.json", folder)
    added = add(folder, sessions, home)
    assert (added.n_heads, added.n_kv_heads, added.d_head) == (4, 4, 20)
    latent = LayerShape(n_heads=4, n_kv_heads=4, d_qk=20, d_v=16, before_rotary=False)
    assert added.layers == (latent, latent)
    with transaction(sessions) as session:
        assert store.model(session, added.id) == added


def test_a_model_without_shapes_is_taken_as_its_numbers_say_until_it_is_added_again(
    model_folder: Path, sessions: Sessions, home: Home
) -> None:
    first = add(model_folder, sessions, home)
    assert first.shapes == (LLAMA, LLAMA)
    forget_shapes(first, sessions, n_kv_heads=4)
    with transaction(sessions) as session:
        before = store.model(session, first.id)
    assert before.shapes is None
    assert before.layers == (replace(LLAMA, n_kv_heads=4),) * 2
    assert add(model_folder, sessions, home) == first


def test_a_worker_that_proves_a_model_without_shapes_stores_them(
    tiny: Model, sessions: Sessions, home: Home
) -> None:
    bench = WorkerContext(
        name="w1",
        sessions=sessions,
        aside=sessions,
        artifacts=ArtifactStore(  # nothing is asked of it
            mlflow=mlflow_client("http://127.0.0.1:9"), spool=Spool(home.spool)
        ),
        home=home,
        roots=(),
        device="cpu",
    )
    forget_shapes(tiny, sessions, n_kv_heads=4)
    with transaction(sessions) as session:
        before = store.model(session, tiny.id)
    bench.language_model(before)
    with transaction(sessions) as session:
        assert store.model(session, tiny.id) == tiny


def forget_shapes(model: Model, sessions: Sessions, **wrong: int) -> None:
    """As a model stands that was added before they were kept."""
    with transaction(sessions) as session:
        session.execute(
            update(ModelRow)
            .where(ModelRow.id == model.id)
            .values(shapes=None, n_embeddings=None, **wrong)
        )


def save_latent(folder: Path) -> None:
    """A small model with multi-head latent attention."""
    sizes = {"q_lora_rank": None, "kv_lora_rank": 16, "qk_nope_head_dim": 12, "v_head_dim": 16}
    experts = {"n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
    config = AutoConfig.for_model(
        "deepseek_v3",
        **{"hidden_size": 32, "num_hidden_layers": 2, "vocab_size": 300, "intermediate_size": 48},
        **{"num_attention_heads": 4, "num_key_value_heads": 4, "qk_rope_head_dim": 8},
        **{"first_k_dense_replace": 1, "n_group": 1, "topk_group": 1},
        **{"bos_token_id": 1, "eos_token_id": 2},
        **sizes,
        **experts,
    )
    torch.manual_seed(0)
    with quiet():
        AutoModelForCausalLM.from_config(config).save_pretrained(folder)


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
    return "needs custom code"


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
    with pytest.raises(Refused, match="is outside the model roots"):
        add(model_folder, sessions, home, roots=(tmp_path,))
    assert add(model_folder, sessions, home, roots=(model_folder.parent,)).name == "tiny"
