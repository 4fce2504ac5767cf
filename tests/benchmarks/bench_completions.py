"""What patching completions costs: at the final position, and at each position of each layer.

    python tests/benchmarks/bench_completions.py [FOLDER] [--prompts 64] [--task ioi] [--threads 2]

FOLDER holds a model, such as SmolLM2-135M, as safetensors with its tokenizer.json; without one, a
small random model is made, which only shows that all runs. The plain way is one forward pass of
transformers with a hook, in batches of 8, for every intervention: for patching two for each head
and MLP (total and direct), for the map one for each layer, site and token. A sample of these passes
is timed over the same prompts in the same run, and scaled.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from bench_analyses import BATCH, plain_seconds, timed
from bench_engine import MB
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM

from analyses.language_model import LanguageModel
from analyses.methods.patching import PatchingParams, patching
from analyses.position_maps import SITES, named
from analyses.prompts import tasks
from analyses.prompts.distributions import DistributionSpec, build
from analyses.prompts.examples import Example, examples
from analyses.prompts.pairing import pairs
from analyses.prompts.sources import SourceKind

SMALL: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4}


@contextmanager
def small_model(task: str) -> Iterator[Path]:
    """A random model, whose tokenizer has the candidates of the task."""
    items = tasks.items(task, "")
    words = [f" {each}" for item in items for each in item.asked.candidates]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=2000,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*words, *(item.asked.text for item in items)], trainer)
    with tempfile.TemporaryDirectory() as folder:
        config = LlamaConfig(vocab_size=2000, intermediate_size=48, **SMALL)
        LlamaForCausalLM(config).save_pretrained(folder)
        tokenizer.save(str(Path(folder) / "tokenizer.json"))
        yield Path(folder)


def read_for(lm: LanguageModel, task: str, size: int) -> list[Example]:
    built = build(DistributionSpec(data=task, size=size))
    made = pairs(built, SourceKind.PAIRED)
    sources = {pair.base.number: pair.source for pair in made}
    return examples(lm.tokenizer, built.prompts, {SourceKind.PAIRED: sources})


def shared_positions(prompts: list[Example]) -> float:
    """Tokens of a prompt that its counterfactual has by the same name, on average."""
    counts = [
        len(named(each.places).keys() & named(each.companions[SourceKind.PAIRED].places).keys())
        for each in prompts
    ]
    return sum(counts) / len(counts)


def measure(folder: Path, task: str, size: int) -> None:
    lm = LanguageModel.load(folder)
    prompts = read_for(lm, task, size)
    plain, hooked = plain_seconds(lm, prompts)
    print(
        f"{size} prompts of {task}: a plain pass takes {plain:.2f} s, one with a hook {hooked:.2f}"
    )
    print("                 seconds   passes  peak MB  interventions  vs hooks")
    components = lm.shape.n_layers * (lm.shape.n_heads + 1)
    cells = round(lm.shape.n_layers * len(SITES) * shared_positions(prompts))
    chosen = {"source": "paired", "direction": "denoise", "batch_size": BATCH}
    report = {}
    for name, params, interventions in (
        ("patching", PatchingParams(**chosen), 2 * components),
        ("position map", PatchingParams(positions="each", **chosen), cells),
    ):
        _, seconds, peak = timed(partial(patching, lm, prompts, params, lambda done: None))
        ratio = interventions * hooked / seconds
        print(
            f"{name:14s} {seconds:9.1f} {seconds / plain:8.1f} {peak / MB:8.0f}"
            f" {interventions:14} {ratio:9.1f}",
            flush=True,
        )
        report[name] = {"s": round(seconds, 1), "passes": round(seconds / plain, 1)}
        report[name] |= {"peak_mb": round(peak / MB), "vs_hooks": round(ratio, 1)}
    print(json.dumps(report))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--task", choices=list(tasks.TASKS), default="ioi")
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    if asked.folder is not None:
        measure(asked.folder, asked.task, asked.prompts)
        return
    with small_model(asked.task) as folder:
        measure(folder, asked.task, asked.prompts)


if __name__ == "__main__":
    main()
