"""Direct logit attribution by TransformerLens, in an environment of its own without Headbook.

    PYTHON tests/benchmarks/transformerlens_attribution.py FOLDER < prompts.json

Reads prompts as {"ids": [...], "labels": [...], "correct": n} and prints, as JSON, every head's
share of the logit difference of each.
"""

import json
import sys
from typing import Any

import torch


@torch.no_grad()
def heads_of(bridge: Any, prompt: dict[str, Any]) -> dict[str, float]:
    _, cache = bridge.run_with_cache(torch.tensor([prompt["ids"]]))
    stack, names = cache.stack_head_results(layer=-1, pos_slice=-1, return_labels=True)
    shares = torch.stack(
        [cache.logit_attrs(stack, pos_slice=-1, tokens=label) for label in prompt["labels"]], -1
    )
    others = len(prompt["labels"]) - 1
    weights = torch.full((others + 1,), -1 / others)
    weights[prompt["correct"]] = 1
    return dict(zip(names, (shares[:, 0] @ weights).tolist(), strict=True))


def main() -> None:
    from transformer_lens import TransformerBridge
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = sys.argv[1]
    bridge = TransformerBridge.boot_transformers(
        folder,
        hf_model=AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32),
        tokenizer=AutoTokenizer.from_pretrained(folder),
        dtype=torch.float32,
    )
    bridge.enable_compatibility_mode()
    print(json.dumps([heads_of(bridge, prompt) for prompt in json.load(sys.stdin)]))


if __name__ == "__main__":
    main()
