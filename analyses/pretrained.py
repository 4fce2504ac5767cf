"""A checkpoint's weights as a model of transformers, or a sentence that says why not."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from analyses.checkpoints.folders import ModelFiles
from analyses.checkpoints.headers import stored_tensors
from analyses.checkpoints.quiet import quiet
from analyses.engine.attention import NAME
from analyses.engine.tracing import NoAttentionInterface
from analyses.errors import Refused
from analyses.foreign import is_out_of_memory, said_by
from analyses.stored_weights import check_all_used

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class UnknownDtype(Refused):
    def __init__(self, dtype: str) -> None:
        super().__init__(f"No dtype {dtype!r}. Choose one of {', '.join(DTYPES)}.")


class NotALanguageModel(Refused):
    def __init__(self, folder: Path, family: str, error: Exception) -> None:
        super().__init__(
            f"{folder}, a {family!r} model, cannot be loaded as a causal language model: "
            f"{said_by(error)}. Use a model that AutoModelForCausalLM knows."
        )


class TooLarge(Refused):
    def __init__(self, folder: Path, places: Collection[str]) -> None:
        super().__init__(
            f"{folder} does not fit into the memory of the GPUs: parts of it would lie on "
            f"{', '.join(sorted(places))}. Use more or larger GPUs, a smaller dtype, or device cpu."
        )


class IncompleteWeights(Refused):
    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        super().__init__(
            f"The weights in {folder} are not those of its config: {', '.join(names[:5])} "
            f"({len(names)} in all) are missing or of another shape. Save the model again."
        )


@dataclass(frozen=True)
class Pretrained:
    model: PreTrainedModel
    left_out: tuple[str, ...]  # tensors of the files that the family never uses for text


def pretrained(files: ModelFiles, *, dtype: str, device: str) -> Pretrained:
    """The model of a checkpoint, in evaluation mode, with attention that the engine can see.

    `device` may be "auto", which spreads it over all GPUs. Raises `UnknownDtype`,
    `NotALanguageModel`, `IncompleteWeights`, `UnusedWeights`, `QuantisedWeights`, `TooLarge`, and
    `NoAttentionInterface`.
    """
    if dtype not in DTYPES:
        raise UnknownDtype(dtype)
    stored = stored_tensors(files)
    placed: dict[str, Any] = {"device_map": "auto"} if device == "auto" else {}
    family = str(files.config.get("model_type"))
    model: PreTrainedModel
    with quiet():
        try:
            model, report = cast(Any, AutoModelForCausalLM).from_pretrained(
                files.folder,
                dtype=DTYPES[dtype],
                attn_implementation=NAME,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # they are in the report, and refused below
                **placed,
            )
        except Exception as error:  # a config can be wrong in every way
            if is_out_of_memory(error):
                raise
            if error.args == (NAME,):  # a family with a table of its own for attention
                raise NoAttentionInterface(family) from None
            raise NotALanguageModel(files.folder, family, error) from error
    missing = [*report["missing_keys"], *(str(key) for key in report["mismatched_keys"])]
    if missing:
        raise IncompleteWeights(files.folder, sorted(missing))
    left_out = check_all_used(model, files, stored)
    if not model._can_set_attn_implementation():
        raise NoAttentionInterface(family)
    _check_placed(model, files.folder)
    model.requires_grad_(False)
    model.train(False)
    if not placed:
        cast(Any, model).to(device)
    return Pretrained(model, left_out)


def _check_placed(model: PreTrainedModel, folder: Path) -> None:
    """Weights that wait elsewhere until they are used cannot be looked at."""
    places = {str(place) for place in (getattr(model, "hf_device_map", None) or {}).values()}
    if "disk" in places or ("cpu" in places and len(places) > 1):
        raise TooLarge(folder, places)


def embedding(model: PreTrainedModel) -> Tensor:
    """The token embedding, [d_vocab, d_model]."""
    weight: Tensor = cast(Any, model).get_input_embeddings().weight
    return weight
