"""The training loop: deterministic given the recipe, also if it is interrupted and resumed."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Float
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM

from analyses.errors import Refused
from analyses.organism.recipe import Recipe
from analyses.organism.sequences import Batch, Sampler
from analyses.organism.tokenizer import END, START


class OtherRecipe(Refused):
    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} was saved with a different recipe and cannot be resumed with this one. Choose "
            f"another folder with --out, or start again without --resume."
        )


@dataclass(frozen=True, kw_only=True)
class Losses:
    """Mean cross-entropy in nats: of the answers, and of all other tokens."""

    answers: float
    text: float


class Training:
    """A model, its optimizer and the number of completed steps."""

    def __init__(self, recipe: Recipe, tokenizer: Tokenizer, sampler: Sampler) -> None:
        self.recipe = recipe
        self.step = 0
        self.model = _new_model(recipe, tokenizer)
        self._sampler = sampler
        self._optimizer = _optimizer(self.model, recipe)

    def advance(self) -> Losses:
        """Take one optimization step."""
        for group in self._optimizer.param_groups:
            group["lr"] = self.recipe.rate_at(self.step)
        answers, text = losses(self.model, self._sampler.batch(self.step))
        (answers + self.recipe.text_loss * text).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip)
        self._optimizer.step()
        self._optimizer.zero_grad()
        self.step += 1
        return Losses(answers=answers.item(), text=text.item())

    def run(self, after: Callable[[int, Losses], None], *, until: int | None = None) -> None:
        """Train for all remaining steps, or up to step `until`; call `after` with each step."""
        stop = self.recipe.steps if until is None else min(until, self.recipe.steps)
        while self.step < stop:
            after(self.step, self.advance())

    def save(self, path: Path) -> None:
        """Save everything that the next step depends on."""
        state = {
            "recipe": self.recipe.to_json(),
            "step": self.step,
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
        }
        partial = path.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(path)

    def resume(self, path: Path) -> None:
        """Restore the state saved at `path`; raises `OtherRecipe` if its recipe differs."""
        state = torch.load(path, weights_only=True)
        if state["recipe"] != self.recipe.to_json():
            raise OtherRecipe(path)
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]


def losses(model: LlamaForCausalLM, batch: Batch) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Mean cross-entropy of the answers, and of all other tokens except the first of a row."""
    hidden = model.model(batch.ids[:, :-1], use_cache=False).last_hidden_state
    logits = model.lm_head(hidden)
    each = cross_entropy(logits.flatten(0, 1), batch.ids[:, 1:].flatten(), reduction="none")
    answers = batch.answers[:, 1:].flatten()
    return each[answers].mean(), each[~answers].mean()


def _new_model(recipe: Recipe, tokenizer: Tokenizer) -> LlamaForCausalLM:
    torch.manual_seed(recipe.seed)
    shape = recipe.shape
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=shape.d_model,
        intermediate_size=shape.d_mlp,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        max_position_embeddings=shape.positions,
        bos_token_id=tokenizer.token_to_id(START),
        eos_token_id=tokenizer.token_to_id(END),
        initializer_range=shape.spread,
        # With tied embeddings, the residual before an answer resembles that word's embedding, which
        # helps to find the word among the options.
        tie_word_embeddings=True,
    )
    model = LlamaForCausalLM(config)
    _attend_to_same_tokens(model)
    return model


@torch.no_grad()
def _attend_to_same_tokens(model: LlamaForCausalLM) -> None:
    """Initialise keys equal to queries, so that at first each position attends to similar ones.

    Matching an option with the same word in the question is slow to learn otherwise. After the
    mimetic initialisation of Trockman and Kolter 2023 (arXiv 2305.09828).
    """
    for layer in model.model.layers:
        attention = cast(Any, layer).self_attn
        attention.q_proj.weight.normal_(std=model.config.hidden_size**-0.5)
        attention.k_proj.weight.copy_(attention.q_proj.weight)


def _optimizer(model: LlamaForCausalLM, recipe: Recipe) -> torch.optim.AdamW:
    matrices = [each for each in model.parameters() if each.ndim > 1]
    scales = [each for each in model.parameters() if each.ndim == 1]
    groups: list[dict[str, Any]] = [
        {"params": matrices, "weight_decay": recipe.weight_decay},
        {"params": scales, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(cast(Any, groups), lr=recipe.learning_rate, betas=recipe.betas)
