"""What a head patched by TransformerLens costs, in an environment of its own without Headbook.

    PYTHON tests/benchmarks/transformerlens.py FOLDER PROMPTS TOKENS HEADS THREADS

prints the best of three, in seconds, of patching HEADS heads in a full forward pass each.
"""

import sys
import time
from functools import partial
from typing import Any

import torch


def zeroed(z: torch.Tensor, hook: Any, head: int) -> torch.Tensor:
    """z, [batch pos head d_head], without one head's at the final position."""
    z = z.clone()
    z[:, -1, head] = 0
    return z


@torch.no_grad()
def main() -> None:
    from transformer_lens import TransformerBridge
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = sys.argv[1]
    count, length, heads, threads = map(int, sys.argv[2:])
    torch.set_num_threads(threads)
    bridge = TransformerBridge.boot_transformers(
        folder,
        hf_model=AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32),
        tokenizer=AutoTokenizer.from_pretrained(folder),
        dtype=torch.float32,
    )
    random = torch.Generator().manual_seed(0)
    ids = torch.randint(3, 40_000, (count, length), generator=random)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        for number in range(heads):
            name = f"blocks.{number * bridge.cfg.n_layers // heads}.attn.hook_z"
            head = number % bridge.cfg.n_heads
            bridge.run_with_hooks(ids, fwd_hooks=[(name, partial(zeroed, head=head))])
        seconds.append(time.perf_counter() - start)
    print(min(seconds))


if __name__ == "__main__":
    main()
