"""Checks that a model uses every weight in its files: dropping one may change its behaviour.

transformers' own report omits the tensors that it ignores by pattern, and integers are silently
cast to floats, so the files' headers are compared with the model that was built from them.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from torch import Tensor
from transformers import PreTrainedModel
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import (
    WeightConverter,
    WeightRenaming,
    dot_natural_key,
    rename_source_key,
)

from analyses.checkpoints.configs import QuantisedWeights
from analyses.checkpoints.folders import ModelFiles
from analyses.checkpoints.headers import StoredTensor
from analyses.errors import Refused

FLOATS = ("F64", "F32", "F16", "BF16")
# Buffers that models compute themselves; older versions saved them.
_CALCULATED = re.compile(
    r"(^|\.)(rotary_emb\.((original_)?inv_freq|cos_cached|sin_cached)|position_ids"
    r"|(attn|attention)\.(masked_)?bias|num_batches_tracked)$"
)
_SCALE = re.compile(
    r"((^|[._])scales?(_inv|_\d)?|[._]q?zeros|[._]zero_points?|\.g_idx|\.SCB|[._]absmax"
    r"|\.quant_map|\.quant_state\..*|\.qweight|\.weight_packed|\.weight_shape|\.weight_format)$"
)
_TOWERS = {  # encoders of other modalities, by the part of the config that describes them
    "vision_config": re.compile(
        r"^(model\.)?(visual|vision_\w+|multi_modal_projector|embed_vision)\."
    ),
    "audio_config": re.compile(r"^(model\.)?(audio_\w+|embed_audio)\."),
}
_LAYER = re.compile(r"(^|\.)(layers?|h|blocks?)\.(?P<number>\d+)\.")
_PREDICTS_MORE = re.compile(r"eh_proj|enorm|hnorm|shared_head|mtp")


class UnusedWeights(Refused):
    def __init__(self, folder: Path, family: str, names: Collection[str]) -> None:
        super().__init__(
            f"The weights in {folder} do not match its config: {_some(names)} have no place in "
            f"this {family!r} model, so it would run without them. Use the config that was saved "
            f"with these weights (is its number of layers right?), or save the model again."
        )


class StoredUnderTwoNames(Refused):
    def __init__(self, folder: Path, place: str, names: Collection[str]) -> None:
        super().__init__(
            f"The weights in {folder} have several tensors for {place}: {', '.join(names)}. "
            f"It is unclear which one to use. Save the model again."
        )


def _some(names: Collection[str]) -> str:
    return f"{', '.join(sorted(names)[:5])} ({len(names)} in all)"


@dataclass(frozen=True, kw_only=True)
class Placed:
    """Which parameter or buffer of the model each tensor of the files becomes."""

    places: Mapping[str, str]  # name in the files → name in the model
    unused: tuple[str, ...]


def check_all_used(
    model: PreTrainedModel, files: ModelFiles, stored: Mapping[str, StoredTensor]
) -> tuple[str, ...]:
    """The weights that the family leaves out on purpose, since text does not need them.

    Raises `QuantisedWeights`, `UnusedWeights` or `StoredUnderTwoNames`.
    """
    placed = _placed(model, files.folder, stored)
    _check_not_quantised(model, files.folder, stored, placed)
    learned = [name for name in placed.unused if not _CALCULATED.search(name)]
    left_out = _left_out_on_purpose(model, files.config, learned)
    if len(left_out) < len(learned):
        family = str(files.config.get("model_type"))
        raise UnusedWeights(files.folder, family, set(learned) - set(left_out))
    return tuple(left_out)


def _placed(model: PreTrainedModel, folder: Path, names: Iterable[str]) -> Placed:
    """Rename the stored tensors as transformers does when it loads them."""
    state = cast(Any, model).state_dict()
    mapping = get_model_conversion_mapping(model)
    renamings = [each for each in mapping if isinstance(each, WeightRenaming)]
    converters = [each for each in mapping if isinstance(each, WeightConverter)]
    places: dict[str, str] = {}
    unused, renamed = [], []
    for name in sorted(names, key=cast(Any, dot_natural_key)):
        place, converted = rename_source_key(
            name, renamings, converters, model.base_model_prefix, state
        )
        if place not in state and name in state:
            place, converted = rename_source_key(name, [], [], model.base_model_prefix, state)
        if place not in state:
            unused.append(name)
            continue
        places[name] = place
        if converted is None:  # a conversion merges several, such as each expert's
            renamed.append(place)
    for place, count in Counter(renamed).items():
        if count > 1:
            raise StoredUnderTwoNames(folder, place, [n for n in places if places[n] == place])
    return Placed(places=places, unused=tuple(unused))


def _check_not_quantised(
    model: PreTrainedModel, folder: Path, stored: Mapping[str, StoredTensor], placed: Placed
) -> None:
    """Raises `QuantisedWeights` if a float weight is stored as integers, or with scales."""
    state: Mapping[str, Tensor] = cast(Any, model).state_dict()
    integers = [
        name
        for name, tensor in stored.items()
        if tensor.dtype not in FLOATS
        and (
            state[placed.places[name]].is_floating_point()
            if name in placed.places
            else not _CALCULATED.search(name)
        )
    ]
    if integers:
        first = sorted(integers)[0]
        raise QuantisedWeights(folder, f"{first} is {stored[first].dtype} ({len(integers)} in all)")
    scales = [name for name in placed.unused if _SCALE.search(name)]
    if scales:
        raise QuantisedWeights(folder, f"it has scales: {_some(scales)}")


def _left_out_on_purpose(
    model: PreTrainedModel, config: Mapping[str, Any], names: Collection[str]
) -> list[str]:
    """The tensors that the family declares unused, and those of encoders of other modalities.

    A layer beyond the config's number of layers is left out only if it is for multi-token
    prediction; otherwise it may be an ordinary layer of a deeper model.
    """
    patterns = [*(cast(Any, model)._keys_to_ignore_on_load_unexpected or ())]
    towers = [pattern for part, pattern in _TOWERS.items() if config.get(part)]
    marked = {_layer(name) for name in names if _PREDICTS_MORE.search(name)}

    def by_family(name: str) -> bool:
        named = any(_begins_a_word(pattern, name) for pattern in patterns)
        return named and (_layer(name) in marked or not _beyond_last_layer(name, model))

    return [name for name in names if by_family(name) or any(each.search(name) for each in towers)]


def _begins_a_word(pattern: str, name: str) -> bool:
    """Whether the pattern matches at the start of a part of the name.

    Families search anywhere: GPT-2's `attn.bias`, a mask, matches `c_attn.bias` as well.
    """
    starts = (match.start() for match in re.finditer(pattern, name))
    return any(start == 0 or "." in name[start - 1 : start + 1] for start in starts)


def _layer(name: str) -> int | None:
    found = _LAYER.search(name)
    return int(found["number"]) if found else None


def _beyond_last_layer(name: str, model: PreTrainedModel) -> bool:
    layer = _layer(name)
    n_layers = getattr(model.config.get_text_config(), "num_hidden_layers", None)
    return layer is not None and isinstance(n_layers, int) and layer >= n_layers
