"""Export a trained model to the files that are shipped, with their hashes."""

import json
from pathlib import Path

from tokenizers import Tokenizer
from transformers import LlamaForCausalLM

from analyses.checkpoints.hashes import file_sha256
from analyses.checkpoints.quiet import quiet
from analyses.organism.recipe import Recipe
from analyses.organism.tokenizer import END, START, UNKNOWN

SHIPPED = Path(__file__).parents[1] / "models" / "mcq-small"
RECIPE, SUMS, CARD = "recipe.json", "SHA256SUMS", "README.md"
_SUMMED = ("config.json", "model.safetensors", RECIPE, "tokenizer.json", "tokenizer_config.json")


def export(folder: Path, model: LlamaForCausalLM, tokenizer: Tokenizer, recipe: Recipe) -> None:
    """Write the model to `folder` in the format of transformers, with its recipe and hashes."""
    folder.mkdir(parents=True, exist_ok=True)
    with quiet():
        model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    (folder / "model.safetensors").chmod(0o644)  # safetensors makes it readable by its owner only
    tokenizer.save(str(folder / "tokenizer.json"))
    _write(folder / "tokenizer_config.json", _tokenizer_config(recipe))
    _write(folder / RECIPE, recipe.to_json())
    sums = (f"{file_sha256(folder / name, remembered=None)}  {name}\n" for name in _SUMMED)
    (folder / SUMS).write_text("".join(sums), encoding="ascii")


def _tokenizer_config(recipe: Recipe) -> dict[str, object]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": recipe.shape.positions,
        "bos_token": START,
        "eos_token": END,
        "pad_token": END,
        "unk_token": UNKNOWN,
        "clean_up_tokenization_spaces": False,
    }


def _write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
