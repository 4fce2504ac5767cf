"""What patching every head and MLP of SmolLM2 costs, in units of one plain forward pass.

    python tests/benchmarks/bench_engine.py FOLDER [--transformerlens PYTHON]

FOLDER holds SmolLM2-135M as safetensors; PYTHON is the interpreter of an environment with
TransformerLens 4.3. A plain forward pass is transformers' own with sdpa, the same batch, logits of
the final position only and no cache. Every time is the best of three, taken in turns, so that a
noisy moment strikes all alike.
"""

import argparse
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from analyses.engine import memory
from analyses.engine.attention import NAME
from analyses.engine.batches import Batch
from analyses.engine.interventions import Intervention, Patch, Site
from analyses.engine.recording import Keep
from analyses.language_model import LanguageModel
from analyses.prompts.tokenization import TokenizedPrompt

MEASURED = {"t128": (8, 128), "t512": (4, 512)}
TABLE = ((8, 32), (8, 64), (8, 128), (4, 256), (4, 512), (1, 1024))
SAMPLED = 5  # heads timed in a full forward pass each, of all components
BUDGET = 300 * 2**20
TIMES = 3
MB = 2**20


def best_of(*works: Callable[[], float | None], times: int = TIMES) -> list[float]:
    """The shortest time of each, in seconds, taken in turns; what a work returns is its time."""
    seconds: list[list[float]] = [[] for _ in works]
    for _ in range(times):
        for work, taken in zip(works, seconds, strict=True):
            start = time.perf_counter()
            own = work()
            taken.append(time.perf_counter() - start if own is None else own)
    return [min(taken) for taken in seconds]


def prompts(count: int, length: int, seed: int) -> list[TokenizedPrompt]:
    random = torch.Generator().manual_seed(seed)
    return [
        TokenizedPrompt(
            number=number,
            item="",
            input_ids=tuple(torch.randint(3, 40_000, (length,), generator=random).tolist()),
            label_ids=(330, 378, 340, 422),
            correct=(0,),
        )
        for number in range(count)
    ]


def every_head_and_mlp(lm: LanguageModel) -> list[Intervention]:
    layers = range(lm.shape.n_layers)
    heads = [Patch(site=Site.Z, layer=n, head=h) for n in layers for h in range(lm.shape.n_heads)]
    mlps = [Patch(site=Site.MLP_OUT, layer=n) for n in layers]
    return [Intervention((patch,)) for patch in (*heads, *mlps)]


@contextmanager
def plain_attention(lm: LanguageModel) -> Iterator[None]:
    lm.model.set_attn_implementation("sdpa")
    try:
        yield
    finally:
        lm.model.set_attn_implementation(NAME)


@torch.no_grad()
def plain_pass(lm: LanguageModel, batch: Batch) -> None:
    with plain_attention(lm):
        lm.model(input_ids=batch.input_ids, use_cache=False, logits_to_keep=1)


def hooked_passes(lm: LanguageModel, batch: Batch) -> None:
    """One head at a time in a full forward pass, for a sample of heads."""
    d_head, n_layers = lm.shape.d_head, lm.shape.n_layers

    def zeroed(_module: Any, args: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        z = args[0].clone()
        z[:, -1, :d_head] = 0
        return (z,)

    for number in range(SAMPLED):
        layer = lm.anatomy.layers[number * n_layers // SAMPLED]
        handle = layer.out_proj.register_forward_pre_hook(zeroed)
        try:
            plain_pass(lm, batch)
        finally:
            handle.remove()


def transformerlens(python: str, folder: Path, count: int, length: int, threads: int) -> float:
    """Seconds for the sample of heads, in an environment that has it."""
    script = Path(__file__).with_name("transformerlens.py")
    sizes = map(str, (count, length, SAMPLED, threads))
    said = subprocess.run(
        [python, script, folder, *sizes], check=True, stdout=subprocess.PIPE, text=True
    )
    return float(said.stdout.splitlines()[-1])


def multiplications(lm: LanguageModel, length: int) -> float:
    """Per prompt: two for each weight and token that a replay cannot do without.

    A head's branch needs its layer's output matrix and MLP and all layers above; an MLP's branch
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


def void(_result: object) -> None:
    pass


def speed(rows: int) -> float:
    """Multiplications and additions per second of one matrix product of the model's size."""
    left, right = torch.randn(rows, 576), torch.randn(576, 1536)
    return 2 * rows * 576 * 1536 / best_of(lambda: void(left @ right), times=20)[0]


class Peak:
    """The highest memory of this process since now, above what it held, in bytes."""

    def __init__(self) -> None:
        memory.give_back(torch.device("cpu"))  # what was freed is not there to be used again
        Path("/proc/self/clear_refs").write_text("5")
        self.before = self._memory("VmRSS")

    def so_far(self) -> int:
        return self._memory("VmHWM") - self.before

    def _memory(self, field: str) -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def measure(lm: LanguageModel, count: int, length: int) -> dict[str, float]:
    """Seconds of each step, and the highest memory; in as many batches as the budget asks for."""
    every = prompts(count, length, 0)
    plain_batch = lm.batch(every)
    plain_pass(lm, plain_batch)
    peak = Peak()
    sources = prompts(count, length, 1)
    batches = [
        (lm.batch(base), lm.batch(sources[base[0].number : base[-1].number + 1]))
        for base in lm.micro_batches(every, count, keep=Keep.PREFIX)
    ]
    interventions = every_head_and_mlp(lm)

    def record() -> None:
        for batch, _ in batches:
            lm.record(batch, keep=Keep.PREFIX)

    def replay(**choices: Any) -> float:
        """Without the time of the recordings, one of which is held at a time."""
        seconds = 0.0
        for batch, source in batches:
            recorded, of_source = lm.record(batch, keep=Keep.PREFIX), lm.record(source)
            start = time.perf_counter()
            lm.replay(recorded, interventions, batch.label_ids, source=of_source, **choices)
            seconds += time.perf_counter() - start
        return seconds

    plain, recorded, labels_only, vocabulary = best_of(
        lambda: plain_pass(lm, plain_batch),
        record,
        replay,
        lambda: replay(whole_vocabulary=True),
    )
    bound = plain + count * multiplications(lm, length) / speed(count * 150)
    return {
        "plain": plain,
        "record": recorded,
        "replay": labels_only,
        "vocabulary": recorded + vocabulary,
        "total": recorded + labels_only,
        "peak": peak.so_far(),
        "share_of_bound": bound / (recorded + labels_only),
    }


def line(count: int, length: int, found: dict[str, float]) -> str:
    passes = {name: seconds / found["plain"] for name, seconds in found.items()}
    return (
        f"{count:7d} x {length:<6d} {found['plain']:8.3f} {passes['record']:7.2f}"
        f" {passes['replay']:7.2f} {passes['total']:6.2f} {passes['vocabulary']:17.2f}"
        f" {found['peak'] / MB:8.0f}"
    )


def beside_others(
    lm: LanguageModel, found: dict[str, float], count: int, length: int, python: str | None
) -> dict[str, float | None]:
    """One size's entry in the report: ratios to a full forward pass for every component."""
    batch = lm.batch(prompts(count, length, 0))
    scale = len(every_head_and_mlp(lm)) / SAMPLED / found["total"]
    (hooks,) = best_of(lambda: hooked_passes(lm, batch))
    theirs = python and transformerlens(python, lm.folder, count, length, torch.get_num_threads())
    return {
        "passes": round(found["total"] / found["plain"], 2),
        "vs_hooks": round(hooks * scale, 1),
        "vs_transformerlens": round(theirs * scale, 1) if theirs else None,
        "record_s": round(found["record"], 3),
        "replay_s": round(found["replay"], 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--transformerlens", metavar="PYTHON", help="an interpreter that has it")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    lm = LanguageModel.load(asked.folder)
    frugal = replace(lm, memory_budget=BUDGET)
    print("In plain forward passes; peaks are above the loaded model.")
    print("prompts x tokens  plain s  record  replay   both  whole vocabulary  peak MB")
    report: dict[str, Any] = {}
    measured = []
    for count, length in TABLE:
        found = measure(lm, count, length)
        print(line(count, length, found), flush=True)
        for name, size in MEASURED.items():
            if size == (count, length):
                print(line(count, length, measure(frugal, count, length)), "at 300 MB", flush=True)
                report[name] = beside_others(lm, found, count, length, asked.transformerlens)
                measured.append(found)
    report["peak_mb"] = round(max(found["peak"] for found in measured) / MB)
    report["share_of_bound"] = round(min(found["share_of_bound"] for found in measured), 2)
    print(
        f"Others: {SAMPLED} heads timed, scaled to {len(every_head_and_mlp(lm))} components. "
        f"Share of bound by size: "
        + ", ".join(f"{found['share_of_bound']:.2f}" for found in measured)
    )
    print(json.dumps(report))


if __name__ == "__main__":
    main()
