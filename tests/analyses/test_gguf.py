import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFWriter
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

from analyses.checkpoints import folders, gguf
from analyses.checkpoints.gguf_headers import BrokenGguf

Shape = tuple[int, ...]


def test_smollm2_becomes_a_folder_of_safetensors(smollm2: Path) -> None:
    files = folders.read(smollm2)
    said = ("num_hidden_layers", "num_attention_heads", "num_key_value_heads", "hidden_size")
    assert [files.config[name] for name in said] == [30, 9, 3, 576]


def test_it_is_converted_only_once(smollm2: Path, smollm2_gguf: Path) -> None:
    before = (smollm2 / "model.safetensors").stat().st_mtime_ns
    assert gguf.converted(smollm2_gguf, cache=smollm2.parent) == smollm2
    assert (smollm2 / "model.safetensors").stat().st_mtime_ns == before


def test_a_file_that_is_no_gguf_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(b"GGUF but not really")
    with pytest.raises(BrokenGguf, match=r"broken.gguf cannot be read as GGUF"):
        gguf.converted(path, cache=tmp_path / "cache")
    assert [each.name for each in (tmp_path / "cache").iterdir()] == ["hashes"]


def test_naming_the_folder_needs_no_torch() -> None:
    code = "import sys, analyses.checkpoints.gguf; print('torch' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "False\n"


def test_of_two_that_convert_at_once_one_folder_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, cache = tmp_path / "model.gguf", tmp_path / "cache"
    path.write_bytes(b"GGUF")

    def another_is_faster(_path: Path, making: Path, _sha256: str) -> None:
        (making / "config.json").write_text("ours")
        other = gguf.folder_of(path, cache=cache)
        other.mkdir()
        (other / "config.json").write_text("theirs")

    monkeypatch.setattr(gguf, "_convert", another_is_faster)
    folder = gguf.converted(path, cache=cache)
    assert (folder / "config.json").read_text() == "theirs"
    assert {each.name for each in cache.iterdir()} == {"hashes", folder.name}


def test_a_converted_model_says_what_it_should(smollm2: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(smollm2, local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(smollm2, local_files_only=True)
    ids = tokenizer("The capital of France is", return_tensors="pt")["input_ids"]
    assert tokenizer.decode(model(ids).logits[0, -1].argmax()) == " Paris"


def write_tiny_gguf(path: Path, *, layers: int, stored: int | None = None, **more: Any) -> Path:
    """A llama of that many layers; `more` are texts or lists of its metadata, or tensors."""
    writer = GGUFWriter(path, "llama")
    writer.add_context_length(64)
    writer.add_block_count(layers)
    writer.add_embedding_length(16)
    writer.add_feed_forward_length(24)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_rope_dimension_count(8)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(30)
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd": (30, 16),
        "output": (30, 16),
        "output_norm": (16,),
    }
    square, wide = (16, 16), (24, 16)
    inside: dict[str, tuple[int, ...]] = {
        f"attn_{name}": square for name in ("q", "k", "v", "output")
    }
    inside |= {"ffn_gate": wide, "ffn_up": wide, "ffn_down": wide[::-1]}
    inside |= {"attn_norm": (16,), "ffn_norm": (16,)}
    for layer in range(stored or layers):
        shapes |= {f"blk.{layer}.{name}": shape for name, shape in inside.items()}
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", np.ones(shape, dtype=np.float32))
    for name, value in more.items():
        if isinstance(value, str):
            writer.add_string(name, value)
        elif name.startswith("tokenizer."):
            writer.add_array(name, value)
        else:
            writer.add_tensor(name, np.asarray(value, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        (  # as in the first of several pieces: what is missing would be random numbers
            {"stored": 1},
            gguf.IncompleteGguf,
            r"layers\.1\..* \(9 in all\) are missing",
        ),
        (
            {"stored": 4},
            gguf.UnusedTensors,
            r"blk\.2\.attn_k\.weight.* \(18 in all\)",
        ),
        ({"blk.0.attn_q_norm.weight": [1.0] * 8}, gguf.UnusedTensors, r"q_norm\.weight \(1 in all"),
        ({"blk.0.ffn_up.scale": [2.0]}, gguf.UnusedTensors, r"ffn_up\.scale \(1 in all"),
        ({"rope_freqs.weight": [1.0, 1.0, 4.0, 8.0]}, gguf.OtherRotary, r"rope_freqs\.weight"),
        (
            {"llama.rope.scaling.type": "linear"},
            gguf.OtherRotary,
            r"llama\.rope\.scaling\.type=linear",
        ),
        ({"rope_freqs.weight": [1.0] * 4}, gguf.UnreadableGguf, "tokenizer"),  # all else is right
    ],
    ids=["missing", "layers", "norm", "scale", "rope_freqs", "rope_scaling", "harmless"],
)
def test_a_file_that_would_become_another_model_is_refused(
    tmp_path: Path, changes: dict[str, Any], error: type[Exception], says: str
) -> None:
    """Llama 3.1's scaled angles are in a tensor that is dropped; deeper layers are as well."""
    path = write_tiny_gguf(tmp_path / "tiny.gguf", layers=2, **changes)
    with pytest.raises(error, match=says):
        gguf.converted(path, cache=tmp_path / "cache")


def test_a_tokenizer_that_lies_beside_the_file_is_not_taken_for_its_own(
    tmp_path: Path, tokenizer: Tokenizer
) -> None:
    words = [chr(ord("a") + number) for number in range(26)] + ["<s>", "</s>", "ab", "abc"]
    described: dict[str, Any] = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.tokens": words,
        "tokenizer.ggml.merges": ["a b", "ab c"],
    }
    path = write_tiny_gguf(tmp_path / "tiny.gguf", layers=1, **described)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    made = gguf.converted(path, cache=tmp_path / "cache")
    own = Tokenizer.from_file(str(made / "tokenizer.json"))
    assert own.encode("abcd").tokens == ["abc", "d"]
    assert own.get_vocab(with_added_tokens=False).keys() == set(words)
