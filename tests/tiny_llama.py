"""A small random llama that reads any text, for tests that run an analysis for real."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM

from analyses.checkpoints.quiet import quiet


def save_tiny_llama(
    folder: Path,
    *,
    seed: int,
    unknown: str = "",
    layers: int = 2,
    positions: int = 1024,
    fewer_rows: int = 0,
) -> None:
    """Layers of four heads, two key-value heads; one token a byte, none for those `unknown`.

    Its embedding may have fewer rows than there are tokens.
    """
    alphabet = sorted(set(pre_tokenizers.ByteLevel.alphabet()) - set(unknown))
    vocabulary = {"<s>": 0} | {symbol: number for number, symbol in enumerate(alphabet, start=1)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(vocabulary) - fewer_rows,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=positions,
        bos_token_id=0,
        eos_token_id=0,
    )
    model = LlamaForCausalLM(config)
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    with quiet():
        model.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
