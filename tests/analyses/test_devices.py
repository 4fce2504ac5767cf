"""The same numbers wherever a model lies."""

import pytest
import torch
from kinds import HEAD, KINDS, LENGTHS, SOURCE_LENGTHS, alone, confined
from torch.testing import assert_close
from transformers.integrations import accelerate

from analyses.engine import memory
from analyses.engine.interventions import Intervention, Patch, Site
from analyses.engine.recording import Keep
from analyses.language_model import LanguageModel
from analyses.pretrained import TooLarge

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


def numbers(lm: LanguageModel, prompts) -> torch.Tensor:
    made = prompts([*LENGTHS, *SOURCE_LENGTHS])
    batch = lm.batch(made[:3])
    recorded, source = (
        lm.record(lm.batch(each), keep=Keep.POSITIONS) for each in (made[:3], made[3:])
    )
    lm.decompose(recorded, batch.label_ids)
    interventions = [
        each for kind in ("heads", "writes", "reads", "elsewhere") for each in KINDS[kind](lm)
    ]
    found = lm.replay(
        recorded, interventions, batch.label_ids, source=source, whole_vocabulary=True
    )
    rows = lm.attention_rows(recorded, 1, reading(lm)), lm.value_norms(recorded, 1)
    return torch.cat([each.flatten() for each in (found.labels, found.logsumexp, *rows)]).cpu()


def reading(lm: LanguageModel) -> list[Intervention]:
    """A query and keys of layer 1 confined to a subspace, before rotary embedding if there is."""
    rotary = lm.model.config.model_type != "gpt2"
    low = confined(lm.shape.d_head)
    return alone(
        *(
            Patch(site=site, layer=1, head=HEAD, value=low, before_rotary=rotary)
            for site in (Site.Q, Site.K)
        )
    )


@pytest.fixture
def on_both(saved, loaded, prompts):
    def compare(family: str, device: str, dtype: str = "float32") -> tuple[torch.Tensor, ...]:
        folder = saved(family)
        both = [LanguageModel.load(folder, device=each, dtype=dtype) for each in ("cpu", device)]
        loaded.extend(both)
        return tuple(numbers(lm, prompts) for lm in both)

    return compare


@pytest.mark.parametrize("family", ["gemma2", "gpt2", "llama"])
def test_a_model_placed_by_itself_gives_the_same_numbers(on_both, family: str) -> None:
    """On all GPUs where there are some, else on the CPU."""
    here, placed = on_both(family, "auto")
    assert_close(placed, here, atol=1e-4, rtol=0)


def test_a_model_for_which_there_is_no_room_is_refused(
    saved, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts of it would wait on a disk until they are used."""
    monkeypatch.setattr(accelerate, "get_max_memory", lambda *_args, **_kwargs: {"cpu": 20_000})
    with pytest.raises(TooLarge, match="parts of it would be placed on disk"):
        LanguageModel.load(saved("llama"), device="auto")


@CUDA
@pytest.mark.gpu
@pytest.mark.parametrize("family", ["gemma2", "gpt2", "gpt_oss", "llama", "olmo2", "qwen2_moe"])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("bfloat16", 0.1)])
def test_a_gpu_gives_the_same_numbers(on_both, family: str, dtype: str, tolerance: float) -> None:
    here, there = on_both(family, "cuda", dtype)
    assert_close(there, here, atol=tolerance, rtol=0)


@CUDA
@pytest.mark.gpu
def test_a_gpus_budget_is_a_share_of_its_free_memory() -> None:
    free, whole = torch.cuda.mem_get_info()
    assert 0 < memory.free_share(torch.device("cuda")) <= 0.6 * free <= whole


def test_without_a_budget_it_is_a_share_of_what_is_free(load) -> None:
    assert load("llama").memory_budget > 2**20
