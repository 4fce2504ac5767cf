"""A causal language model that is loaded, verified, and measured through the engine."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Float
from tokenizers import Tokenizer
from torch import Tensor
from transformers import PreTrainedModel

from analyses.checkpoints import contents, refs
from analyses.checkpoints.folders import TOKENIZER, ModelFiles
from analyses.checkpoints.shapes import ModelShape
from analyses.checkpoints.sizes import n_weights
from analyses.engine import (
    batches,
    continuations,
    decomposition,
    memory,
    passes,
    path_patches,
    patterns,
    recording,
    replay_proof,
    rotary,
)
from analyses.engine import replay as replay_engine
from analyses.engine import vectors as vectors_engine
from analyses.engine.anatomy import Anatomy
from analyses.engine.batches import Batch, Read
from analyses.engine.closure import PROOF, TOLERANCE, check_closure
from analyses.engine.continuations import Continuation
from analyses.engine.decomposition import Decomposition
from analyses.engine.interventions import SOURCE, Intervention, Patch, Site
from analyses.engine.lengths import Lengths
from analyses.engine.path_patches import HeadRead, Patches
from analyses.engine.recording import Keep, Recorded
from analyses.engine.replay import Replayed
from analyses.engine.tracing import find_anatomy, own_attention
from analyses.engine.vectors import At, Vectors
from analyses.foreign import DoesNotFit, in_words
from analyses.pretrained import embedding, pretrained, torch_dtype
from analyses.prompts.limits import Limits
from analyses.prompts.tokenization import TokenizedPrompt, tokenizer_of

PROOF_LENGTHS = (7, 4)  # a full row and a padded one


@dataclass(frozen=True, kw_only=True)
class LanguageModel:
    """A language model with its tokenizer and anatomy, verified when it was loaded.

    An analysis gets one as `lm`, beside its `prompts`.

    >>> recorded = lm.record(lm.batch(prompts))
    >>> len(recorded.layers), recorded.layers[0].z.shape  # prompt, head, d_head
    (4, torch.Size([2, 8, 16]))
    """

    model: PreTrainedModel
    shape: ModelShape
    anatomy: Anatomy
    folder: Path
    fingerprint: str  # of the files' contents that are in memory
    tokenizer_json: bytes = field(repr=False)
    memory_budget: int  # bytes that recordings and replays may take
    largest_gap: float  # relative, over all comparisons of the proof at loading
    left_out: tuple[str, ...]  # tensors of its files that its family never uses for text

    @classmethod
    def load(
        cls,
        ref: Path | str,
        *,
        dtype: str = "float32",
        device: str = "cpu",
        expect: str | None = None,
        cache: Path | None = None,
        memory_budget: int | None = None,
    ) -> "LanguageModel":
        """Load and verify the model of a folder, a GGUF file, or `hub:OWNER/NAME@REVISION`.

        `device` may be "auto", which spreads it over all GPUs. `expect` is the fingerprint that it
        must have. `cache` is a folder for converted GGUF files and the hashes of large files;
        without it a GGUF file is refused and every byte is hashed again. `memory_budget` bounds
        what recordings and replays take, in bytes above the loaded model; by default half of what
        is free once the model is loaded.
        """
        files = refs.fetched(str(ref), cache=cache)
        family = files.config.get("model_type")
        with in_words(f"Loading {files.folder}, a {family!r} model,"):
            _check_fits(files, dtype)
            read = contents.of(files, remembered=cache and refs.hashes(cache), expect=expect)
            loaded = pretrained(read, dtype=dtype, device=device)
            model = loaded.model
        with in_words(f"The proof of {files.folder}, a {family!r} model,"):
            ids = _proof_ids(model)
            anatomy = find_anatomy(model, ids)
            lm = cls(
                model=model,
                shape=_shape(model, anatomy),  # as far as it is known before the proof
                anatomy=anatomy,
                folder=files.folder,
                fingerprint=read.fingerprint,
                tokenizer_json=read.tokenizer,
                memory_budget=memory_budget or memory.free_share(embedding(model).device),
                largest_gap=float("nan"),  # known after the proof
                left_out=loaded.left_out,
            )
            gap = lm.prove(ids[0].tolist())
            return replace(lm, largest_gap=gap, shape=lm._shape_with_rotary(ids[0].tolist()))

    @property
    def device(self) -> torch.device:
        """The device of tokens and of recorded values."""
        return embedding(self.model).device

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer that the fingerprint covers; it is shared, so do not change it."""
        return tokenizer_of(self.tokenizer_json, self.folder / TOKENIZER)

    @property
    def n_bytes(self) -> int:
        """The memory that its weights take."""
        return int(cast(Any, self.model).get_memory_footprint())

    def with_free_memory(self) -> "LanguageModel":
        """The same model with a budget of half of what is free now."""
        return replace(self, memory_budget=memory.free_share(self.device))

    @property
    def limits(self) -> Limits:
        """The tokens and lengths that it can read, and was trained to read."""
        return self.anatomy.limits

    @property
    def lengths(self) -> Lengths:
        """The lengths that its rotary angles allow, and which of them may share a batch."""
        return Lengths.of(self.model)

    @property
    def rounding_step(self) -> float:
        """The distance from 1 to the next number of its dtype."""
        return torch.finfo(self.model.dtype).eps

    @property
    def tolerance(self) -> float:
        return TOLERANCE[self.model.dtype]

    def micro_batches(
        self, prompts: Sequence[Read], size: int, *, keep: Keep = Keep.WRITES
    ) -> Iterator[tuple[Read, ...]]:
        """Prompts to record together: `size` of them by number, fewer where memory is short.

        With the same `memory_budget` they do not depend on how a run is cut into parts.
        """

        def recordable(longest: int) -> int:
            return memory.recordable(
                self.anatomy,
                keep,
                longest=longest,
                budget=self.memory_budget,
            )

        lengths = self.lengths
        for together in batches.micro_batches(prompts, size):
            yield from batches.pieces(together, recordable, lengths=lengths)

    def batch(self, prompts: Sequence[TokenizedPrompt]) -> Batch:
        self.lengths.check([len(prompt.input_ids) for prompt in prompts])
        self.limits.check(prompts)
        return batches.padded(prompts, device=self.device)

    def record(self, batch: Batch, *, keep: Keep = Keep.WRITES) -> Recorded:
        memory.give_back(self.device)
        return recording.record(self.model, self.anatomy, batch, keep=keep)

    def replay(
        self,
        recorded: Recorded,
        interventions: Sequence[Intervention],
        label_ids: Tensor,
        *,
        source: Recorded | None = None,
        whole_vocabulary: bool = False,
        as_changes: bool = False,
        progress: Callable[[int], None] | None = None,
    ) -> Replayed:
        """The label logits under each intervention; see `engine.replay`.

        >>> from analyses.engine.interventions import ZERO
        >>> batch = lm.batch(prompts)
        >>> recorded = lm.record(batch, keep=Keep.PREFIX)
        >>> ablation = Intervention((Patch(site=Site.Z, layer=3, head=7, value=ZERO),))
        >>> replayed = lm.replay(recorded, [Intervention(), ablation], batch.label_ids)
        >>> replayed.labels.shape  # intervention, prompt, label
        torch.Size([2, 2, 4])
        >>> torch.allclose(replayed.labels[0], recorded.logits.gather(1, batch.label_ids))
        True
        """
        return replay_engine.replay(
            self.anatomy,
            recorded,
            interventions,
            label_ids,
            source=source,
            whole_vocabulary=whole_vocabulary,
            as_changes=as_changes,
            budget=self.memory_budget,
            progress=progress,
        )

    def path_patches(
        self,
        recorded: Recorded,
        senders: Sequence[Patch],
        layer: int,
        reads: Sequence[HeadRead],
        *,
        source: Recorded | None = None,
    ) -> Mapping[HeadRead, Sequence[Patches]]:
        """The patches that put each sender's change into one read; see `engine.path_patches`.

        >>> batch = lm.batch(prompts)
        >>> recorded = lm.record(batch, keep=Keep.PREFIX)
        >>> from analyses.engine.interventions import ZERO
        >>> senders = [Patch(site=Site.Z, layer=0, head=head, value=ZERO) for head in range(8)]
        >>> found = lm.path_patches(recorded, senders, 3, [(7, Site.Q)])
        >>> [patch.name for patch in found[7, Site.Q][0]]
        ['q of L03.H07']
        >>> paths = [Intervention(patches) for patches in found[7, Site.Q]]
        >>> lm.replay(recorded, paths, batch.label_ids).labels.shape  # sender, prompt, label
        torch.Size([8, 2, 4])
        """
        return path_patches.path_patches(
            self.anatomy,
            recorded,
            senders,
            layer,
            reads,
            source=source,
            budget=self.memory_budget,
        )

    def attention_rows(
        self,
        recorded: Recorded,
        layer: int,
        interventions: Sequence[Intervention] = patterns.UNCHANGED,
        *,
        source: Recorded | None = None,
    ) -> Float[Tensor, "intervention batch head key"]:
        """A layer's attention patterns under each intervention; see `engine.patterns`.

        >>> recorded = lm.record(lm.batch(prompts), keep=Keep.PREFIX)
        >>> (rows,) = lm.attention_rows(recorded, layer=0)
        >>> torch.allclose(rows.sum(-1), torch.ones(2, 8))  # prompt, head
        True
        """
        return patterns.rows(
            self.anatomy,
            recorded,
            layer,
            interventions,
            source=source,
            budget=self.memory_budget,
        )

    def value_norms(self, recorded: Recorded, layer: int) -> Float[Tensor, "batch head key"]:
        """The size of what a layer's heads would write of each key alone; see `engine.patterns`."""
        return patterns.value_norms(self.anatomy, recorded, layer)

    def decompose(self, recorded: Recorded, label_ids: Tensor) -> Decomposition:
        """Each component's share of the label logits; see `engine.decomposition`.

        >>> batch = lm.batch(prompts)
        >>> recorded = lm.record(batch)
        >>> shares = lm.decompose(recorded, batch.label_ids).shares  # prompt, component, label
        >>> logits = recorded.logits.gather(1, batch.label_ids)
        >>> torch.allclose(shares.sum(1), logits, atol=1e-4)
        True
        """
        return decomposition.decompose(self.anatomy, recorded, label_ids, tolerance=self.tolerance)

    def vectors(self, recorded: Recorded, at: At, *, before_rotary: bool) -> Vectors:
        """Queries at the final positions, keys and values at `at`."""
        return vectors_engine.vectors(self.anatomy, recorded, at, before_rotary=before_rotary)

    def queries(self, recorded: Recorded, at: At, *, before_rotary: bool) -> Tensor:
        """Queries at any positions, [batch, layer, place, head, d_head]."""
        return vectors_engine.queries(self.anatomy, recorded, at, before_rotary=before_rotary)

    def mean_log_probs(
        self, pairs: Sequence[Continuation], numbers: Sequence[int] | None = None
    ) -> Float[Tensor, " pair"]:
        """Each continuation's mean log-probability; see `engine.continuations`.

        `numbers` are the prompts that the pairs belong to; by default 0, 1, 2 …
        """
        of = range(len(pairs)) if numbers is None else numbers
        for number, (context, continuation) in zip(of, pairs, strict=True):
            self.limits.check_tokens(number, (*context, *continuation))
        memory.give_back(self.device)
        return continuations.mean_log_probs(
            self.model,
            self.anatomy,
            pairs,
            of,
            budget=self.memory_budget,
        )

    def prove(self, ids: Sequence[int]) -> float:
        """Verify the model and return the largest relative gap; raises `DoesNotClose`.

        Parts add up; replays from every layer equal forward passes; padding and later tokens change
        nothing; attention equals the family's own.
        """
        prompts = [_proof_prompt(ids, length) for length in PROOF_LENGTHS]
        long_final, short_final = (length - 1 for length in PROOF_LENGTHS)
        batch = self.batch(prompts)
        recorded = self.record(batch, keep=Keep.POSITIONS)
        gaps = [self.decompose(recorded, batch.label_ids).largest_gap]
        unchanged = Patch(site=Site.RESID_PRE, layer=0, value=SOURCE)  # through all layers
        replayed = self.replay(
            recorded, [Intervention((unchanged,))], batch.label_ids, source=recorded
        )
        alone = self.record(self.batch(prompts[1:])).logits
        own = self._own_logits(ids)
        for one, other, what in (
            (
                replayed.labels[0],
                recorded.logits.gather(1, batch.label_ids),
                "the logits of replayed final positions and of whole prompts",
            ),
            (recorded.logits[1:], alone, "the logits of a prompt with padding and without"),
            (
                own[:, short_final],
                alone,
                "the logits with later tokens and without (is it causal?)",
            ),
            (
                own[:, long_final],
                recorded.logits[:1],
                "the logits with the model's own attention and with Headbook's",
            ),
        ):
            gap = check_closure(
                one,
                other,
                where="loading",
                what=what,
                numbers=(PROOF,) * len(one),
                tolerance=self.tolerance,
            )
            gaps.append(gap)
        return max(*gaps, self._prove_replays(batch, recorded))

    def _prove_replays(self, batch: Batch, recorded: Recorded) -> float:
        def of_first(interventions: Sequence[Intervention]) -> Tensor:
            labels = batch.label_ids
            return self.replay(recorded, interventions, labels, source=recorded).labels[:, 0]

        return replay_proof.largest_gap(
            self.model,
            self.anatomy,
            batch,
            recorded,
            of_first,
            tolerance=self.tolerance,
            budget=self.memory_budget,
        )

    def _shape_with_rotary(self, ids: Sequence[int]) -> ModelShape:
        recorded = self.record(self.batch([_proof_prompt(ids, len(ids))]), keep=Keep.PREFIX)
        layers = (
            replace(layer.shape, before_rotary=rotary.is_known(layer, recorded, number))
            for number, layer in enumerate(self.anatomy.layers)
        )
        return replace(self.shape, layers=tuple(layers))

    def _own_logits(self, ids: Sequence[int]) -> Float[Tensor, "1 pos d_vocab"]:
        """A plain forward pass with the model's own attention."""
        with own_attention(self.model):
            logits = passes.plain(self.model, torch.tensor([ids], device=self.device))
        return logits.to(self.device, torch.float32)


def _check_fits(files: ModelFiles, dtype: str) -> None:
    """Raises `DoesNotFit` before any byte is hashed: a file may claim any size."""
    n_bytes = n_weights(files) * torch_dtype(dtype).itemsize
    if not memory.machine_holds(n_bytes):
        raise DoesNotFit(f"{files.folder}, {n_bytes / 2**30:.0f} GiB of weights,")


def _proof_prompt(ids: Sequence[int], length: int) -> TokenizedPrompt:
    return TokenizedPrompt(
        number=PROOF, item="", input_ids=tuple(ids[:length]), label_ids=tuple(ids), correct=(0,)
    )


def _shape(model: PreTrainedModel, anatomy: Anatomy) -> ModelShape:
    return ModelShape(
        family=model.config.get_text_config().model_type,
        d_model=len(anatomy.layers[0].W_O.T),
        d_vocab=len(anatomy.unembedding.weight),
        layers=tuple(layer.shape for layer in anatomy.layers),
    )


def _proof_ids(model: PreTrainedModel) -> Tensor:
    """A few tokens that every model has, all different if the vocabulary is large enough."""
    weight = embedding(model)
    apart = max(1, len(weight) // PROOF_LENGTHS[0])
    ids = [(3 + apart * step) % len(weight) for step in range(PROOF_LENGTHS[0])]
    return torch.tensor([ids], device=weight.device)
