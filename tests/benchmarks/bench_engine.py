"""What patching every head and MLP of SmolLM2 costs, in units of one plain forward pass.

    python tests/benchmarks/bench_engine.py FOLDER [--transformerlens SECONDS128 SECONDS512]

FOLDER holds SmolLM2-135M as safetensors. A plain forward pass is transformers' own with sdpa, the
same batch, logits of the final position only and no cache; every time is the best of three.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from analyses.engine.attention import NAME
from analyses.engine.batches import Batch
from analyses.engine.interventions import Intervention, Patch, Site
from analyses.engine.recording import Keep
from analyses.language_model import LanguageModel
from analyses.prompts.tokenization import TokenizedPrompt

MEASURED = {"t128": (8, 128), "t512": (4, 512)}
TABLE = (32, 64, 128, 256, 512, 1024)
SAMPLED = 5  # components timed with plain hooks, of all


def best(work: Callable[[], Any], times: int = 3) -> float:
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def prompts(count: int, length: int, seed: int) -> list[TokenizedPrompt]:
    random = torch.Generator().manual_seed(seed)
    return [
        TokenizedPrompt(
            number=number,
            item="",
            input_ids=tuple(torch.randint(3, 40_000, (length,), generator=random).tolist()),
            label_ids=(330, 378, 340, 422),
            correct=0,
        )
        for number in range(count)
    ]


def every_head_and_mlp(lm: LanguageModel) -> list[Intervention]:
    layers = range(lm.shape.n_layers)
    heads = [Patch(site=Site.Z, layer=n, head=h) for n in layers for h in range(lm.shape.n_heads)]
    return [
        Intervention((patch,))
        for patch in [*heads, *(Patch(site=Site.MLP_OUT, layer=n) for n in layers)]
    ]


@torch.no_grad()
def plain_pass(lm: LanguageModel, batch: Batch) -> float:
    lm.model.set_attn_implementation("sdpa")
    try:
        return best(lambda: lm.model(input_ids=batch.input_ids, use_cache=False, logits_to_keep=1))
    finally:
        lm.model.set_attn_implementation(NAME)


@torch.no_grad()
def with_hooks(lm: LanguageModel, batch: Batch) -> float:
    """One head at a time in a full forward pass: a few heads timed, scaled to all components."""
    d_head, n_layers = lm.shape.d_head, lm.shape.n_layers

    def zeroed(_module: Any, args: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        z = args[0].clone()
        z[:, -1, :d_head] = 0
        return (z,)

    def one_each() -> None:
        for number in range(SAMPLED):
            layer = lm.anatomy.layers[number * n_layers // SAMPLED]
            handle = layer.out_proj.register_forward_pre_hook(zeroed)
            try:
                lm.model(input_ids=batch.input_ids, use_cache=False, logits_to_keep=1)
            finally:
                handle.remove()

    return best(one_each) / SAMPLED * len(every_head_and_mlp(lm))


def multiplications(lm: LanguageModel, length: int) -> float:
    """Per prompt: two for each weight and token that a replay cannot do without.

    A head's rider needs its layer's output matrix and MLP and all layers above; an MLP's rider
    the layers above. Scores and weighted values over the prompt come on top.
    """
    layer = lm.anatomy.layers[0]
    whole = sum(weight.numel() for weight in layer.layer.parameters() if weight.dim() > 1)
    mlp = sum(w.numel() for m in layer.mlp for w in m.parameters() if w.dim() > 1)
    attention = 2 * length * len(layer.W_O)
    n_layers, n_heads = lm.shape.n_layers, lm.shape.n_heads
    above = sum(n_layers - 1 - number for number in range(n_layers))
    joins = n_layers * n_heads * (layer.W_O.numel() + mlp)
    return 2.0 * ((n_heads + 1) * above * (whole + attention) + joins)


def speed(rows: int) -> float:
    """Multiplications and additions per second of one matrix product of the model's size."""
    left, right = torch.randn(rows, 576), torch.randn(576, 1536)
    return 2 * rows * 576 * 1536 / best(lambda: left @ right, 20)


def peak_reset() -> int:
    """Forgets the highest memory so far; what is held now, in bytes."""
    Path("/proc/self/clear_refs").write_text("5")
    return memory("VmRSS")


def memory(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise LookupError(field)


def measure(lm: LanguageModel, count: int, length: int) -> dict[str, float]:
    batch = lm.batch(prompts(count, length, 0))
    source = lm.record(lm.batch(prompts(count, length, 1)))
    interventions = every_head_and_mlp(lm)
    plain = plain_pass(lm, batch)
    record = best(lambda: lm.record(batch, keep=Keep.PREFIX))
    recorded = lm.record(batch, keep=Keep.PREFIX)

    def replay(whole_vocabulary: bool) -> float:
        return best(
            lambda: lm.replay(
                recorded,
                interventions,
                batch.label_ids,
                source=source,
                whole_vocabulary=whole_vocabulary,
            )
        )

    seconds = replay(False)
    bound = plain + count * multiplications(lm, length) / speed(count * 150)
    return {
        "plain_s": plain,
        "record_s": record,
        "replay_s": seconds,
        "whole_vocabulary_s": replay(True),
        "passes": (record + seconds) / plain,
        "share_of_bound": bound / (record + seconds),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--transformerlens",
        type=float,
        nargs=2,
        metavar=("SECONDS128", "SECONDS512"),
        help="what TransformerLens took for the same two jobs, in an environment that has it",
    )
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    lm = LanguageModel.load(asked.folder)
    report: dict[str, Any] = {}
    print("prompts x tokens   plain s  record  replay  passes  whole vocabulary")
    for length in TABLE:
        count = next((n for n, t in MEASURED.values() if t == length), max(1, 1024 // length))
        before = peak_reset()
        found = measure(lm, count, length)
        peak = memory("VmHWM") - before
        print(
            f"{count:7d} x {length:<7d} {found['plain_s']:8.3f}"
            f" {found['record_s'] / found['plain_s']:7.2f}"
            f" {found['replay_s'] / found['plain_s']:7.2f} {found['passes']:7.2f}"
            f" {(found['record_s'] + found['whole_vocabulary_s']) / found['plain_s']:9.2f}"
        )
        for name, size in MEASURED.items():
            if size == (count, length):
                hooks = with_hooks(lm, lm.batch(prompts(count, length, 0)))
                total = found["record_s"] + found["replay_s"]
                theirs = asked.transformerlens
                report[name] = {
                    "passes": round(found["passes"], 2),
                    "vs_hooks": round(hooks / total, 1),
                    "vs_transformerlens": theirs
                    and round(theirs[list(MEASURED).index(name)] / total, 1),
                    "record_s": round(found["record_s"], 3),
                    "replay_s": round(found["replay_s"], 3),
                }
                report["peak_mb"] = max(report.get("peak_mb", 0), round(peak / 2**20))
                report["share_of_bound"] = round(
                    min(report.get("share_of_bound", 1.0), found["share_of_bound"]), 2
                )
    print(
        f"Plain hooks: {SAMPLED} heads timed, scaled to {len(every_head_and_mlp(lm))} components."
    )
    print(json.dumps(report))


if __name__ == "__main__":
    main()
