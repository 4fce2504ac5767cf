"""Path effects on completions: seconds, and beside the plain way with hooks.

    python tests/benchmarks/bench_paths.py [FOLDER] [--prompts 64] [--receivers 4] [--reads q k v]

FOLDER holds a model, such as SmolLM2-135M, as safetensors with its tokenizer.json; without one, a
small random model is made, which only shows that all runs. Receivers are heads of the last layers.
The plain way takes two forward passes for every path, one in which all but the sender is frozen and
one with the receiver's read replaced. Each takes at least as long as a pass with one hook, of which
a sample is timed in the same run and scaled.
"""

import argparse
import json
from pathlib import Path

import torch
from bench_analyses import BATCH, plain_seconds, timed
from bench_completions import read_for, small_model
from bench_engine import MB

from analyses.language_model import LanguageModel
from analyses.methods.paths import PathsParams, paths
from analyses.prompts import tasks
from analyses.prompts.distributions import DistributionSpec

PASSES = 2  # of a path, the plain way


def measure(folder: Path, task: str, size: int, receivers: int, reads: list[str]) -> None:
    lm = LanguageModel.load(folder)
    prompts = read_for(lm, task, size)
    plain, hooked = plain_seconds(lm, prompts)
    layers = [lm.shape.n_layers - 1 - number // 2 for number in range(receivers)]
    names = tuple(f"{layer}.{number % 2}" for number, layer in enumerate(layers))
    chosen = {**PathsParams.usual(DistributionSpec(data=task)), "batch_size": BATCH}
    params = PathsParams(receivers=names, reads=tuple(reads), **chosen)
    _, seconds, peak = timed(lambda: paths(lm, prompts, params, lambda done: None))
    together = [max(layers)] if receivers > 1 else []
    count = len(reads) * sum(layers + together) * (lm.shape.n_heads + 1)
    report = {
        "prompts": size,
        "task": task,
        "receivers": names,
        "paths": count,
        "s": round(seconds, 1),
        "plain_passes": round(seconds / plain, 1),
        "peak_mb": round(peak / MB),
        "vs_hooks": round(PASSES * count * hooked / seconds, 1),
    }
    print(json.dumps(report))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--task", choices=list(tasks.TASKS), default="ioi")
    parser.add_argument("--receivers", type=int, default=4)
    parser.add_argument("--reads", nargs="+", default=["q"])
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    chosen = asked.task, asked.prompts, asked.receivers, asked.reads
    if asked.folder is not None:
        measure(asked.folder, *chosen)
        return
    with small_model(asked.task) as folder:
        measure(folder, *chosen)


if __name__ == "__main__":
    main()
