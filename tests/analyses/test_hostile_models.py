"""Model folders that were made to do harm are refused in a sentence, and do nothing before that."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hostile import Canary, watched
from hostile_configs import CONFIGS
from hostile_files import FILES
from hostile_weights import TOKENIZERS, WEIGHTS
from tiny_llama import save_tiny_llama

from analyses.checkpoints import refs
from analyses.errors import Refused
from analyses.language_model import LanguageModel
from analyses.prompts.tokenization import load_tokenizer

pytestmark = pytest.mark.attack(33, "hostile model folders")

TABLES: dict[str, Any] = {"config": CONFIGS, "files": FILES, "weights": WEIGHTS}
REFUSED = {
    f"{kind}, {name}": spoil for kind, table in TABLES.items() for name, spoil in table.items()
}
EVIL = "open('canary', 'w')\nraise SystemExit"


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model like any other, with code and a pickle beside it that nobody needs."""
    folder = tmp_path_factory.mktemp("good") / "model"
    save_tiny_llama(folder, seed=0)
    LanguageModel.load(folder)  # what is imported once is not the folder's doing
    return folder


@pytest.fixture
def folder(good: Path, tmp_path: Path) -> Path:
    made = tmp_path / "snapshots" / "model"
    shutil.copytree(good, made)
    (made / "modeling_evil.py").write_text(EVIL)
    (made / "adapter_model.bin").write_bytes(pickle.dumps(Canary(made)))
    return made


@pytest.mark.parametrize("name", REFUSED)
def test_a_hostile_folder_is_refused_in_a_sentence(folder: Path, name: str) -> None:
    REFUSED[name](folder)
    with watched(folder), pytest.raises(Refused) as refused:
        LanguageModel.load(folder)
    assert str(refused.value).endswith((".", ".gguf file."))
    assert len(str(refused.value)) < 1_500


@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_hostile_tokenizer_is_refused_in_a_sentence(folder: Path, name: str) -> None:
    TOKENIZERS[name](folder)
    with watched(folder), pytest.raises(Refused, match=r"tokenizer\.json"):
        load_tokenizer(refs.tokenizer(str(folder), cache=folder.parent).path)


def _write(name: str, content: object) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))

    return spoil


IGNORED: dict[str, Callable[[Path], object]] = {
    "a way to generate": _write("custom_generate/generate.py", EVIL),
    "what it generates with": _write("generation_config.json", "[" * 100_000),
    "a tokenizer with code": _write(
        "tokenizer_config.json",
        {"tokenizer_class": "Evil", "auto_map": {"AutoTokenizer": ["modeling_evil.Evil", None]}},
    ),
    "a processor with code": _write(
        "processor_config.json", {"auto_map": {"AutoProcessor": "modeling_evil.Evil"}}
    ),
    "a template": _write("chat_template.jinja", "{{ ''.__class__.__mro__[1].__subclasses__() }}"),
    "more templates": _write("additional_chat_templates/evil.jinja", "{% for _ in x %}"),
    "a package": _write("__init__.py", EVIL),
    "a module of a library's name": _write("torch.py", EVIL),
    "what a start of Python runs": _write("sitecustomize.py", EVIL),
    "an index beside the weights": _write(
        "model.safetensors.index.json", {"weight_map": {"a": "adapter_model.bin"}}
    ),
    "an index of pickles": _write(
        "pytorch_model.bin.index.json", {"weight_map": {"a": "adapter_model.bin"}}
    ),
    "a vocabulary": lambda folder: (folder / "vocab.pkl").write_bytes(pickle.dumps(Canary(folder))),
    "pickled weights": lambda folder: torch.save(Canary(folder), folder / "pytorch_model.bin"),
    "a stray adapter": lambda folder: (folder / "adapter_model.safetensors").write_bytes(b"x"),
}


@pytest.mark.parametrize("name", IGNORED)
def test_what_a_model_does_not_need_is_never_opened(
    good: Path, folder: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    IGNORED[name](folder)
    monkeypatch.chdir(folder)
    with watched(folder):
        lm = LanguageModel.load(folder)
    for ours, theirs in zip(
        lm.model.parameters(), LanguageModel.load(good).model.parameters(), strict=True
    ):
        assert torch.equal(ours, theirs)
