"""What a worker does once in its life, done at import: for a process that others are forked from.

A model is loaded and recorded, so that what libraries prepare at their first use is there. All of
that is on one thread: a fork would not take others along.
"""

import gc
import sys
import tempfile
from importlib import import_module
from pathlib import Path

import torch
from sqlalchemy.orm import configure_mappers

from analyses import registry
from analyses.language_model import LanguageModel
from analyses.prompts.distributions import DistributionSpec, build
from analyses.prompts.examples import examples
from analyses.prompts.tokenization import load_tokenizer

from . import stories

# The server of forks looks for modules in the working directory, not where pytest does.
sys.path.append(str(Path(__file__).parents[1]))
from tiny_llama import save_tiny_llama

_LATER = ("analyses.pictures.heads", "mlflow.tracking.request_header.registry", "pyarrow.parquet")


def warm() -> None:
    """Leave behind what is prepared once, and nothing that each process has to look through."""
    torch.set_num_threads(1)
    configure_mappers()
    registry.all_analyses()
    for name in _LATER:
        import_module(name)
    with tempfile.TemporaryDirectory(prefix="headbook-") as folder:
        save_tiny_llama(Path(folder), seed=0)
        lm = LanguageModel.load(folder)
        tokenizer = load_tokenizer(Path(folder) / "tokenizer.json")
        prompts = examples(tokenizer, build(DistributionSpec(size=2)).prompts, {})
        stories.logits(lm, prompts, stories.LogitsParams(), lambda done: None)
    gc.collect()
    gc.freeze()


warm()
