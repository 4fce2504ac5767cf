import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from gguf import GGUFReader, GGUFWriter
from gguf.scripts.gguf_new_metadata import copy_with_new_metadata
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

from analyses.checkpoints import folders, gguf
from analyses.checkpoints.shapes import shape_of


def test_smollm2_becomes_a_folder_of_safetensors(smollm2: Path) -> None:
    files = folders.read(smollm2)
    shape = shape_of(files.config)
    assert (shape.n_layers, shape.n_heads, shape.n_kv_heads, shape.d_model) == (30, 9, 3, 576)


def test_it_is_converted_only_once(smollm2: Path, smollm2_gguf: Path) -> None:
    before = (smollm2 / "model.safetensors").stat().st_mtime_ns
    assert gguf.converted(smollm2_gguf, cache=smollm2.parent) == smollm2
    assert (smollm2 / "model.safetensors").stat().st_mtime_ns == before


def test_a_file_that_is_no_gguf_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(b"GGUF but not really")
    with pytest.raises(gguf.UnreadableGguf, match=r"broken.gguf"):
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

    def another_is_faster(_path: Path, making: Path) -> None:
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


def test_a_file_without_all_weights_is_refused(smollm2_gguf: Path, tmp_path: Path) -> None:
    """As the first of several pieces is: what is missing would be random numbers."""
    reader = GGUFReader(smollm2_gguf)
    reader.tensors = [each for each in reader.tensors if not each.name.startswith("blk.29.")]
    path = tmp_path / "piece.gguf"
    copy_with_new_metadata(reader, GGUFWriter(path, "llama"), {}, [])
    with pytest.raises(gguf.IncompleteGguf, match=r"layers\.29\..* \(9 in all\) are missing"):
        gguf.converted(path, cache=tmp_path / "cache")
    assert [each.name for each in (tmp_path / "cache").iterdir()] == ["hashes"]


def test_a_tokenizer_that_lies_beside_the_file_is_not_taken_for_its_own(
    smollm2_gguf: Path, smollm2: Path, tmp_path: Path, tokenizer: Tokenizer
) -> None:
    path = tmp_path / smollm2_gguf.name
    shutil.copy(smollm2_gguf, path)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    made = gguf.converted(path, cache=tmp_path / "cache")
    assert (made / "tokenizer.json").read_bytes() == (smollm2 / "tokenizer.json").read_bytes()
