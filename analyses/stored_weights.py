"""Whether a model holds every weight of its files; what transformers drops may be the behaviour.

Its own report leaves out what it ignores by pattern, and casts integers to floats without a word,
so the heads of the files are compared with the model that was made of them.
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
# Buffers that models calculate by themselves; older versions saved them.
_CALCULATED = re.compile(
    r"(^|\.)(rotary_emb\.((original_)?inv_freq|cos_cached|sin_cached)|position_ids"
    r"|(attn|attention)\.(masked_)?bias|num_batches_tracked)$"
)
_SCALE = re.compile(
    r"((^|[._])scales?(_inv|_\d)?|[._]q?zeros|[._]zero_points?|\.g_idx|\.SCB|[._]absmax"
    r"|\.quant_map|\.quant_state\..*|\.qweight|\.weight_packed|\.weight_shape|\.weight_format)$"
)
_TOWERS = {  # what reads other things than text, by the part of the config that describes it
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
            f"The weights in {folder} are more than its config says: {_some(names)} have no place "
            f"in this {family!r} model, so it would run without them. Use the config that was "
            f"saved with these weights (is its number of layers right?), or save the model again."
        )


class StoredUnderTwoNames(Refused):
    def __init__(self, folder: Path, place: str, names: Collection[str]) -> None:
        super().__init__(
            f"The weights in {folder} have several tensors for {place}: {', '.join(names)}. "
            f"It is unclear which one counts. Save the model again."
        )


def _some(names: Collection[str]) -> str:
    return f"{', '.join(sorted(names)[:5])} ({len(names)} in all)"


@dataclass(frozen=True, kw_only=True)
class Placed:
    """Where the tensors of the files went."""

    places: Mapping[str, str]  # by the names in the files
    unused: tuple[str, ...]


def check_all_used(
    model: PreTrainedModel, files: ModelFiles, stored: Mapping[str, StoredTensor]
) -> tuple[str, ...]:
    """The tensors that the family leaves out on purpose and that hold weights: text needs none.

    Raises `QuantisedWeights`, `UnusedWeights` and `StoredUnderTwoNames`.
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
    """As transformers renames them when it loads them."""
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
        if converted is None:  # a conversion makes one weight of several, of each expert's say
            renamed.append(place)
    for place, count in Counter(renamed).items():
        if count > 1:
            raise StoredUnderTwoNames(folder, place, [n for n in places if places[n] == place])
    return Placed(places=places, unused=tuple(unused))


def _check_not_quantised(
    model: PreTrainedModel, folder: Path, stored: Mapping[str, StoredTensor], placed: Placed
) -> None:
    """Integers are right only where the model itself has integers, or calculates a buffer."""
    state: Mapping[str, Tensor] = cast(Any, model).state_dict()
    coded = [
        name
        for name, tensor in stored.items()
        if tensor.dtype not in FLOATS
        and (
            state[placed.places[name]].is_floating_point()
            if name in placed.places
            else not _CALCULATED.search(name)
        )
    ]
    if coded:
        first = sorted(coded)[0]
        raise QuantisedWeights(folder, f"{first} is {stored[first].dtype} ({len(coded)} in all)")
    scales = [name for name in placed.unused if _SCALE.search(name)]
    if scales:
        raise QuantisedWeights(folder, f"it has scales: {_some(scales)}")


def _left_out_on_purpose(
    model: PreTrainedModel, config: Mapping[str, Any], names: Collection[str]
) -> list[str]:
    """What the family says it never uses, and the parts of a model that read other than text.

    A layer beyond the config's is one the family leaves out only if it predicts more tokens at
    once; the same number may be a layer like the others of a deeper model.
    """
    patterns = [*(cast(Any, model)._keys_to_ignore_on_load_unexpected or ())]
    towers = [pattern for part, pattern in _TOWERS.items() if config.get(part)]
    marked = {_layer(name) for name in names if _PREDICTS_MORE.search(name)}

    def by_family(name: str) -> bool:
        named = any(_begins_a_word(pattern, name) for pattern in patterns)
        return named and (_layer(name) in marked or not _deeper(name, model))

    return [name for name in names if by_family(name) or any(each.search(name) for each in towers)]


def _begins_a_word(pattern: str, name: str) -> bool:
    """Families search anywhere: GPT-2's `attn.bias`, a mask, is found in `c_attn.bias` as well."""
    starts = (found.start() for found in re.finditer(pattern, name))
    return any(start == 0 or "." in name[start - 1 : start + 1] for start in starts)


def _layer(name: str) -> int | None:
    found = _LAYER.search(name)
    return int(found["number"]) if found else None


def _deeper(name: str, model: PreTrainedModel) -> bool:
    layer = _layer(name)
    n_layers = getattr(model.config.get_text_config(), "num_hidden_layers", None)
    return layer is not None and isinstance(n_layers, int) and layer >= n_layers
