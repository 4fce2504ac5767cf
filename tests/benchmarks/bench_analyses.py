"""What each analysis costs on SmolLM2: time, peak memory, and beside plain hooks.

    python tests/benchmarks/bench_analyses.py FOLDER [--prompts 64] [--only NAME ...]

FOLDER holds SmolLM2-135M as safetensors with its tokenizer.json. A plain forward pass is
transformers' own with sdpa over the same prompts, logits of the final position only. The plain way
of an analysis that patches is one such pass, with a hook, for every intervention; a sample of them
is timed in the same run and scaled.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench_engine import MB, SAMPLED, Peak, hooked_passes, plain_pass

from analyses.confined import COMBINATIONS
from analyses.engine.recording import Keep
from analyses.language_model import LanguageModel
from analyses.methods import (
    attention,
    attribution,
    bases,
    behaviour,
    cumulative,
    label_randomisation,
    patching,
    subspace,
)
from analyses.prompts.distributions import DistributionSpec, build
from analyses.prompts.examples import Example, examples
from analyses.prompts.pairing import pairs
from analyses.prompts.sources import Companion, SourceKind
from analyses.results import Derived, Measured, Result

BATCH = 8
TRAIN = 64  # prompts that bases and effects are learnt from
SWEPT = 9  # heads of the sweep over all heads that are timed, on one batch; then it is scaled


def read_for(
    lm: LanguageModel, size: int, split: str, kinds: Sequence[Companion] = ()
) -> list[Example]:
    built = build(DistributionSpec(data="colours", size=size, split=split))
    made = {kind: pairs(built, kind) for kind in kinds}
    beside = {kind: {pair.base.number: pair.source for pair in made[kind]} for kind in kinds}
    return examples(lm.tokenizer, built.prompts, beside)


def result(measured: Measured, derived: Derived | None = None) -> Result:
    more = derived or Derived()
    means = {key: float(np.nanmean(vector)) for key, vector in measured.scores.items()}
    return Result(
        scores=measured.scores,
        means={**means, **more.numbers},
        tensors={**measured.tensors, **more.tensors},
    )


def timed(work: Callable[[], Any]) -> tuple[Any, float, int]:
    """What it gives, seconds, and bytes at the peak above what was held before."""
    peak = Peak()
    start = time.perf_counter()
    found = work()
    return found, time.perf_counter() - start, peak.so_far()


def plain_seconds(lm: LanguageModel, prompts: Sequence[Example]) -> tuple[float, float]:
    """Over all prompts: a plain forward pass, and one with a hook."""
    plain, hooked = 0.0, 0.0
    for together in lm.micro_batches(prompts, BATCH):
        batch = lm.batch(together)
        start = time.perf_counter()
        plain_pass(lm, batch)
        plain += time.perf_counter() - start
    batch = lm.batch(prompts[:BATCH])
    start = time.perf_counter()
    hooked_passes(lm, batch)
    hooked = (time.perf_counter() - start) / SAMPLED * len(prompts) / len(batch.numbers)
    return plain, hooked


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", nargs="*", default=None)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    lm = LanguageModel.load(asked.folder)
    labels = label_randomisation.LabelRandomisationParams(batch_size=BATCH)
    kinds = (*labels.companions, SourceKind.PERMUTE_OPTIONS)
    prompts = read_for(lm, asked.prompts, "test", kinds)
    train = read_for(lm, TRAIN, "train", [SourceKind.PERMUTE_OPTIONS])
    plain, hooked = plain_seconds(lm, prompts)
    print(
        f"{asked.prompts} prompts: a plain pass takes {plain:.1f} s, one with a hook {hooked:.1f}"
    )
    print("analysis              seconds   passes  peak MB  interventions  vs hooks")
    heads = lm.shape.n_layers * lm.shape.n_heads
    components = heads + lm.shape.n_layers
    report: dict[str, Any] = {}

    def show(name: str, work: Callable[[], Any], interventions: int = 0, scale: float = 1) -> Any:
        if asked.only is not None and name not in asked.only and name not in ("bases", "effects"):
            return None
        found, seconds, peak = timed(work)
        seconds *= scale
        ratio = interventions * hooked / seconds if interventions else None
        said = "" if ratio is None else f"{ratio:9.0f}"
        print(
            f"{name:20s} {seconds:8.1f} {seconds / plain:8.1f} {peak / MB:8.0f}"
            f" {interventions or '':14} {said}",
            flush=True,
        )
        report[name] = {"s": round(seconds, 1), "passes": round(seconds / plain, 1)}
        report[name] |= {"peak_mb": round(peak / MB), "vs_hooks": ratio and round(ratio)}
        return found

    def call(method: Any, params: Any, on: Sequence[Example] = prompts, **inputs: Any) -> Measured:
        measured: Measured = method(lm, on, params, lambda done: None, **inputs)
        return measured

    batch = {"batch_size": BATCH}
    learn = bases.BasesParams(**batch)
    vectors = show("bases", lambda: call(bases.bases, learn, train))
    patches = patching.PatchingParams(**batch)
    effects = show("effects", lambda: call(patching.patching, patches, train))
    inputs = {"bases": result(vectors, bases.derive(vectors, learn)), "effects": result(effects)}
    show("behaviour", lambda: call(behaviour.behaviour, behaviour.BehaviourParams(**batch)))
    show(
        "attribution", lambda: call(attribution.attribution, attribution.AttributionParams(**batch))
    )
    show("attention", lambda: call(attention.attention, attention.AttentionParams(**batch)))
    show("patching", lambda: call(patching.patching, patches), 2 * components)
    most = cumulative.CumulativeParams(most=components, **batch)
    show("cumulative", lambda: call(cumulative.cumulative, most, inputs=inputs), components + 1)
    sweep = subspace.SubspaceParams(**batch)
    ranks = len(sweep.all_ranks(lm.shape.d_head))
    of_a_head = len(COMBINATIONS) * (2 * ranks + len(sweep.placebo_ranks) * (sweep.placebos + 1))
    show(
        "subspace",
        lambda: call(subspace.subspace, sweep, inputs=inputs),
        (sweep.strongest + 1) * (of_a_head + 1),
    )
    show(
        "label_randomisation",
        lambda: call(label_randomisation.label_randomisation, labels, inputs=inputs),
        (labels.strongest + 1) * (len(labels.mutations) + 1 + 3),
    )
    show(
        "all heads, all ranks",
        lambda: swept(lm, prompts, inputs["bases"]),
        heads * of_a_head,
        scale=heads / SWEPT * len(prompts) / BATCH,
    )
    print(json.dumps(report))


def swept(lm: LanguageModel, prompts: Sequence[Example], learnt: Result) -> None:
    """A sample of single heads, over all ranks and placebos, on one batch."""
    step = lm.shape.n_layers * lm.shape.n_heads // SWEPT
    names = [divmod(number * step, lm.shape.n_heads) for number in range(SWEPT)]
    params = subspace.SubspaceParams(
        heads=tuple(f"{layer}.{head}" for layer, head in names), batch_size=BATCH
    )
    first = next(lm.micro_batches(prompts, BATCH, keep=Keep.PREFIX))
    subspace.subspace(lm, first, params, lambda done: None, inputs={"bases": learnt})


if __name__ == "__main__":
    main()
