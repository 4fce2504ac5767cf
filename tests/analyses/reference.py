"""The slow truth: one full forward pass per intervention and prompt, with plain hooks.

Prompts run alone, without padding; attention is written out head by head. Nothing of the engine's
replay is used: only which module is which.
"""

import inspect
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from copy import copy
from typing import Any

import torch
from torch import Tensor
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, eager_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from analyses.engine.interventions import (
    Apply,
    Constant,
    FromSource,
    Intervention,
    Patch,
    Path,
    Site,
)
from analyses.language_model import LanguageModel
from analyses.prompts.tokenization import TokenizedPrompt

NAME = "reference"
HeadRead = tuple[int, int, Site]  # layer, head, and whether its q, k or v
Seen = dict[tuple[Site, int], Tensor]  # a site's activations in one pass: [pos, …]


def logits_under(
    lm: LanguageModel,
    interventions: Sequence[Intervention],
    prompts: Sequence[TokenizedPrompt],
    sources: Sequence[TokenizedPrompt] | None = None,
) -> Tensor:
    """The final position's logits [intervention, prompt, d_vocab]."""
    rows = []
    with attending(lm):
        for row, prompt in enumerate(prompts):
            base = Pass(lm, prompt.input_ids, row)
            source = Pass(lm, sources[row].input_ids, row) if sources is not None else None
            rows.append([_one(lm, each, prompt, row, base, source) for each in interventions])
    return torch.stack([torch.stack(row) for row in rows], dim=1)


@contextmanager
def attending(lm: LanguageModel) -> Iterator[None]:
    """In the block the model calls the attention function `NAME`, which each pass is in turn."""
    before = lm.model.config._attn_implementation
    if before == NAME:
        yield
        return
    ALL_ATTENTION_FUNCTIONS.register(NAME, ALL_ATTENTION_FUNCTIONS[before])
    ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, eager_mask)
    lm.model.set_attn_implementation(NAME)
    try:
        yield
    finally:
        lm.model.set_attn_implementation(before)


def _one(lm, intervention, prompt, row, base: "Pass", source: "Pass | None") -> Tensor:
    if intervention.path is Path.TOTAL:
        return Pass(lm, prompt.input_ids, row, intervention.patches, source).logits
    change = torch.zeros(lm.shape.d_model)
    by_layer = defaultdict(list)
    for patch in intervention.patches:
        by_layer[patch.layer].append(patch)
    for layer, patches in by_layer.items():
        in_attention = [
            patch
            for patch in patches
            if patch.site not in (Site.MLP_OUT, Site.RESID_PRE, Site.RESID_POST)
        ]
        if in_attention:
            changed = Pass(lm, prompt.input_ids, row, in_attention, source)
            at = (Site.ATTN_OUT, layer)
            change += (changed.seen[at] - base.seen[at])[-1].float()
        for patch in patches:
            if patch not in in_attention:
                changed = Pass(lm, prompt.input_ids, row, [patch], source)
                at = (patch.site, layer)
                change += (changed.seen[at] - base.seen[at])[-1].float()
    last = len(lm.anatomy.layers) - 1
    total = base.seen[Site.RESID_POST, last].float().clone()
    total[-1] += change

    def replaced(_module: Any, _args: Any, output: Any) -> Any:
        if isinstance(output, tuple):
            return (total[None].to(output[0].dtype), *output[1:])
        return total[None].to(output.dtype)

    handle = lm.anatomy.layers[last].layer.register_forward_hook(replaced)
    try:
        return Pass(lm, prompt.input_ids, row).logits
    finally:
        handle.remove()


def logits_of_paths(
    lm: LanguageModel,
    paths: Sequence[tuple[Patch, Sequence[HeadRead]]],
    prompts: Sequence[TokenizedPrompt],
    sources: Sequence[TokenizedPrompt],
) -> Tensor:
    """The final position's logits [path, prompt, d_vocab]; a path leads from a sender to reads.

    For each read there is a pass in which every write below is put back to what it was, at every
    position, but the sender's. What the head reads in that pass replaces what it reads in the last
    pass, at the sender's positions.
    """
    rows = []
    for row, prompt in enumerate(prompts):
        base, source = Pass(lm, prompt.input_ids, row), Pass(lm, sources[row].input_ids, row)
        rows.append([_of_path(sender, reads, base, source) for sender, reads in paths])
    return torch.stack([torch.stack(row) for row in rows], dim=1)


def _of_path(sender: Patch, reads: Sequence[HeadRead], base: "Pass", source: "Pass") -> Tensor:
    at = [base.length - 1] if sender.at is None else list(sender.at[base.row])
    patches = []
    for layer, head, site in reads:
        frozen = _all_frozen_but(sender, layer, base, source)
        patches += [_replacement(frozen, layer, head, site, position) for position in at]
    return Pass(base.lm, base.input_ids, base.row, patches).logits


def _all_frozen_but(sender: Patch, layer: int, base: "Pass", source: "Pass") -> "Pass":
    if sender.layer >= layer:
        return base
    written = Site.MLP_OUT if sender.head is None else Site.ATTN_OUT, sender.layer
    changed = Pass(base.lm, base.input_ids, base.row, [sender], source)
    kept = copy(base)
    kept.seen = base.seen | {written: changed.seen[written]}
    everywhere = ((),) * base.row + (tuple(range(base.length)),)
    put_back = [
        Patch(site=site, layer=below, at=everywhere)
        for below in range(layer)
        for site in (Site.ATTN_OUT, Site.MLP_OUT)
    ]
    return Pass(base.lm, base.input_ids, base.row, put_back, kept)


def _replacement(frozen: "Pass", layer: int, head: int, site: Site, position: int) -> Patch:
    vectors = frozen.seen[site, layer]
    group = head * vectors.shape[1] // frozen.lm.anatomy.layers[layer].shape.n_heads
    at = ((),) * frozen.row + ((position,),)
    return Patch(site=site, layer=layer, head=head, value=Constant(vectors[position, group]), at=at)


class Pass:
    """One forward pass of one prompt with patches; all it gave is in `logits` and `seen`."""

    def __init__(
        self,
        lm: LanguageModel,
        input_ids: Sequence[int],
        row: int,
        patches: Sequence[Patch] = (),
        source: "Pass | None" = None,
    ) -> None:
        self.lm, self.row, self.patches, self.source = lm, row, patches, source
        self.input_ids, self.length = input_ids, len(input_ids)
        self.seen: Seen = {}
        self.before_rotary: Seen = {}
        self.angles: dict[int, tuple[Tensor, Tensor]] = {}
        self.peeking = False
        # Queries and keys before their rotation: of what is patched there, and of a source.
        self.peeks = not patches or any(patch.before_rotary for patch in patches)
        with torch.no_grad(), self._everything_hooked():
            output = lm.model(torch.tensor([input_ids]), use_cache=False)
        self.logits = output.logits[0, -1].float()

    @contextmanager
    def _everything_hooked(self) -> Iterator[None]:
        with attending(self.lm), ExitStack() as hooks:
            ALL_ATTENTION_FUNCTIONS.register(NAME, self._attention)
            for number in range(len(self.lm.anatomy.layers)):
                for handle in self._hooks(number):
                    hooks.callback(handle.remove)
            yield

    def _hooks(self, number: int) -> Iterator[Any]:
        layer = self.lm.anatomy.layers[number]
        multiplier = self.lm.anatomy.residual_multiplier

        def enters(_module: Any, args: Any, kwargs: Any) -> Any:
            resid = args[0] if args else kwargs["hidden_states"]
            changed = self._patched(Site.RESID_PRE, number, resid[0])[None]
            if args:
                return (changed, *args[1:]), kwargs
            return args, kwargs | {"hidden_states": changed}

        def gives_z(_module: Any, args: Any) -> Any:
            heads = layer.shape.n_heads
            z = args[0].reshape(self.length, heads, -1)
            return (self._patched(Site.Z, number, z).reshape(args[0].shape), *args[1:])

        def writes(site: Site, times: float = 1.0) -> Any:
            def hook(_module: Any, _args: Any, output: Any) -> Any:
                value = output[0] if isinstance(output, tuple) else output
                new = self._patched(site, number, times * value.reshape(self.length, -1)) / times
                new = new.reshape(value.shape)
                return (new, *output[1:]) if isinstance(output, tuple) else new

            return hook

        def asked(module: Any, args: Any, kwargs: Any) -> None:
            rotates = kwargs.get("position_embeddings") is not None
            if rotates and self.peeks and not self.peeking:
                self._peek(number, module, args, kwargs)

        yield layer.layer.register_forward_pre_hook(enters, with_kwargs=True)
        yield layer.attention.register_forward_pre_hook(asked, with_kwargs=True)
        yield layer.out_proj.register_forward_pre_hook(gives_z)
        writer = layer.out_proj if layer.post_norm is None else layer.post_norm
        yield writer.register_forward_hook(writes(Site.ATTN_OUT, multiplier))
        *before, mlp = layer.mlp
        given: list[Tensor] = []
        for module in before:
            yield module.register_forward_hook(lambda _module, _args, output: given.append(output))
        written = writes(Site.MLP_OUT, multiplier)

        def last(module: Any, args: Any, output: Any) -> Any:
            others = sum(given)
            given.clear()
            return written(module, args, output + others) - others

        yield mlp.register_forward_hook(last if before else written)
        yield layer.layer.register_forward_hook(writes(Site.RESID_POST))

    def _peek(self, number: int, module: Any, args: Any, kwargs: Any) -> None:
        """The same attention at angle 0, only to see its queries and keys."""
        cos, sin = kwargs["position_embeddings"]
        self.angles[number] = (cos, sin)
        flat = (torch.ones_like(cos), torch.zeros_like(sin))
        self.peeking = True
        try:
            module.forward(*args, **kwargs | {"position_embeddings": flat})
        finally:
            self.peeking = False

    def _turned(self, number: int, x: Tensor) -> Tensor:
        """[pos, d] queries or keys, rotated by the model's own function."""
        attention = self.lm.anatomy.layers[number].attention
        if not getattr(attention, "use_rope", True):
            return x
        own = sys.modules[type(attention).__module__].apply_rotary_pos_emb
        share = (self.lm.model.config.rope_parameters or {}).get("partial_rotary_factor", 1.0)
        dims = int(x.shape[-1] * share)
        rotated = x[None, None, :, :dims]
        if "q" in inspect.signature(own).parameters:
            turned = own(rotated, rotated, *self.angles[number])[0][0, 0]
        else:  # of queries or keys alone
            turned = own(rotated, *self.angles[number])[0, 0]
        return torch.cat([turned, x[:, dims:]], dim=-1)

    def _attention(self, module, query, key, value, attention_mask, scaling=None, **others):
        """softmax(cap(q·k scaling)) v, one head after the other."""
        number = next(
            n for n, layer in enumerate(self.lm.anatomy.layers) if layer.attention is module
        )
        q, k, v = (x[0].transpose(0, 1) for x in (query, key, value))
        if self.peeking:  # keys of a layer below, which has rotated them already
            for below in range(number):
                if torch.equal(k, self.seen.get((Site.K, below), torch.empty(0))):
                    k = self.before_rotary[Site.K, below]
        into = self.before_rotary if self.peeking else self.seen
        into[Site.Q, number], into[Site.K, number], into[Site.V, number] = q, k, v
        q = self._patched(Site.Q, number, q)
        scaling = scaling or q.shape[-1] ** -0.5
        group = q.shape[1] // k.shape[1]
        sinks, softcap = others.get("s_aux"), others.get("softcap")
        mask = torch.full((len(q), len(q)), torch.finfo(q.dtype).min).triu(1).to(q.dtype)
        if attention_mask is not None:
            mask = attention_mask[0, 0]
        z = []
        for head in range(q.shape[1]):

            def attend(keys, values, head=head):
                scores = (q[:, head] @ keys.T) * scaling
                if softcap is not None:
                    scores = softcap * torch.tanh(scores / softcap)
                scores = scores + mask
                if sinks is not None:
                    scores = torch.cat([scores, sinks[head].expand(len(q), 1).to(scores)], dim=-1)
                return scores.float().softmax(-1)[:, : len(q)].to(values.dtype) @ values

            keys, values = k[:, head // group], v[:, head // group]
            of_head = attend(keys, values)
            read_k = self._reads(Site.K, number, head, keys)
            read_v = self._reads(Site.V, number, head, values)
            if read_k is not keys or read_v is not values:
                of_head[-1] = attend(read_k, read_v)[-1]
            z.append(of_head)
        return torch.stack(z, dim=1)[None], None

    def _reads(self, site: Site, number: int, head: int, x: Tensor) -> Tensor:
        for patch in self.patches:
            if (patch.site, patch.layer, patch.head) == (site, number, head) and not self.peeking:
                at = list(range(self.length)) if patch.at is None else list(patch.at[self.row])
                x = self._replaced(patch, x, at, self._in_source(patch, at))
        return x

    def _patched(self, site: Site, number: int, x: Tensor) -> Tensor:
        """[pos, …] with this site's patches made."""
        if self.peeking:
            return x
        x = x.clone()
        for patch in self.patches:
            if (patch.site, patch.layer) == (site, number):
                at = [self.length - 1] if patch.at is None else list(patch.at[self.row])
                of_source = self._in_source(patch, at)
                if patch.at is None and self.source is not None:
                    of_source = [self.source.length - 1]
                here = x if patch.head is None else x[:, patch.head]
                here[:] = self._replaced(patch, here, at, of_source)
        self.seen[site, number] = x
        return x

    def _kv_head(self, patch: Patch, vectors: Tensor) -> int:
        return patch.head * vectors.shape[1] // self.lm.anatomy.layers[patch.layer].shape.n_heads

    def _in_source(self, patch: Patch, at: list[int]) -> list[int]:
        elsewhere = isinstance(patch.value, FromSource) and patch.value.at
        return list(elsewhere[self.row]) if elsewhere else at

    def _replaced(self, patch: Patch, x: Tensor, at: list[int], of_source: list[int]) -> Tensor:
        """[pos, d] with the patch's value at the positions `at`."""
        x = x.clone()
        turns = patch.before_rotary and patch.site is not Site.V
        if not at:
            return x
        if isinstance(patch.value, FromSource):
            assert self.source is not None
            found = self.source.before_rotary if turns else self.source.seen
            values = found[patch.site, patch.layer]
            if patch.head is not None:
                values = values[:, self._kv_head(patch, values)]
            new = values[of_source]
        elif isinstance(patch.value, Apply):
            here = x
            if turns:
                before = self.before_rotary[patch.site, patch.layer]
                here = before[:, self._kv_head(patch, before)]
            new = patch.value.function(here[at][None].float())[0]
        else:
            value = patch.value.value
            new = value[self.row] if value.dim() > 1 else value
        if not turns:
            x[at] = new.to(x.dtype).expand(x[at].shape)
            return x
        whole = torch.zeros_like(x)
        whole[at] = new.to(x.dtype).expand(x[at].shape)
        x[at] = self._turned(patch.layer, whole)[at]
        return x
