import json
from pathlib import Path

import pytest

from analyses.checkpoints import folders
from analyses.checkpoints.shapes import ModelShape, UnknownShape, shape_of


def test_grouped_queries_and_a_head_size_of_its_own(saved) -> None:
    config = folders.read(saved("gemma2")).config
    assert shape_of(config) == ModelShape(
        family="gemma2", n_layers=2, n_heads=4, n_kv_heads=2, d_model=32, d_head=16, d_vocab=60
    )


def test_gpt2_calls_everything_differently(saved) -> None:
    config = folders.read(saved("gpt2")).config
    assert shape_of(config) == ModelShape(
        family="gpt2", n_layers=2, n_heads=4, n_kv_heads=4, d_model=32, d_head=8, d_vocab=60
    )


def test_a_text_model_inside_another_counts(saved: object, tmp_path: Path) -> None:
    text = {"model_type": "llama", "num_hidden_layers": 3, "num_attention_heads": 4}
    text |= {"hidden_size": 32, "vocab_size": 60, "num_key_value_heads": 1}
    shape = shape_of({"model_type": "mixed", "text_config": json.loads(json.dumps(text))})
    assert (shape.family, shape.n_layers, shape.n_kv_heads, shape.d_head) == ("llama", 3, 1, 8)


def test_multi_query_attention_has_one_key_head() -> None:
    config = {"n_layer": 2, "n_head": 4, "n_embd": 32, "vocab_size": 60, "multi_query": True}
    assert shape_of(config).n_kv_heads == 1


def test_a_config_without_a_number_of_layers_is_refused() -> None:
    with pytest.raises(UnknownShape, match="n_layers"):
        shape_of({"hidden_size": 8, "vocab_size": 3, "num_attention_heads": 2})
