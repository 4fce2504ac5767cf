"""Path effects of one model: seconds, and beside the plain way with hooks.

    python tests/benchmarks/bench_paths.py [FOLDER] [--prompts 64] [--receivers 4] [--reads q k v]

FOLDER holds a model as safetensors with its tokenizer.json; without it, the shipped one is taken.
Receivers are the first heads of the last layers. The plain way takes two forward passes for every
path, one in which all but the sender is frozen and one with the receiver's read replaced. Each is
at least a pass with one hook, of which a sample is timed in the same run and scaled.
"""

import argparse
import json
from pathlib import Path

import torch
from bench_analyses import BATCH, plain_seconds, read_for, timed

from analyses.language_model import LanguageModel
from analyses.methods.paths import PathsParams, paths
from analyses.organism.export import SHIPPED
from analyses.prompts.sources import SourceKind

PASSES = 2  # of a path, the plain way


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=SHIPPED)
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--receivers", type=int, default=4)
    parser.add_argument("--reads", nargs="+", default=["q"])
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    lm = LanguageModel.load(asked.folder)
    prompts = read_for(lm, asked.prompts, "test", [SourceKind.PERMUTE_OPTIONS])
    plain, hooked = plain_seconds(lm, prompts)
    layers = [lm.shape.n_layers - 1 - number // 2 for number in range(asked.receivers)]
    names = tuple(f"{layer}.{number % 2}" for number, layer in enumerate(layers))
    params = PathsParams(receivers=names, reads=asked.reads, batch_size=BATCH)
    _, seconds, peak = timed(lambda: paths(lm, prompts, params, lambda done: None))
    to_one = sum(layer * (lm.shape.n_heads + 1) for layer in layers)
    count = len(asked.reads) * (to_one + max(layers) * (lm.shape.n_heads + 1))  # and into all
    report = {
        "prompts": asked.prompts,
        "receivers": names,
        "paths": count,
        "s": round(seconds, 2),
        "plain_passes": round(seconds / plain, 1),
        "peak_mb": round(peak / 2**20),
        "vs_hooks": round(PASSES * count * hooked / seconds, 1),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
