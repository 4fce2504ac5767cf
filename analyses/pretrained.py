"""Loads a checkpoint as a model of transformers, or raises an error that says why not."""

import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel
from transformers.models.auto.auto_factory import _get_model_class

from analyses.checkpoints.building import no_larger_than
from analyses.checkpoints.contents import Contents
from analyses.checkpoints.folders import CONFIG
from analyses.checkpoints.quiet import quiet
from analyses.checkpoints.shapes import LayerShape, ModelShape
from analyses.engine.attention import NAME
from analyses.engine.tracing import NoAttentionInterface
from analyses.errors import Refused
from analyses.foreign import is_out_of_memory, said_by
from analyses.stored_tensors import StoredTensors
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
            f"{folder} does not fit into the memory of the GPUs: parts of it would be placed on "
            f"{', '.join(sorted(places))}. Use more or larger GPUs, a smaller dtype, or device cpu."
        )


class SizesNotSaid(Refused):
    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(
            f"The config in {folder} does not say {name}, so that nothing can be queued before the "
            "model was proved. Prove it here, with --here."
        )


class IncompleteWeights(Refused):
    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        super().__init__(
            f"The weights in {folder} do not match its config: {', '.join(names[:5])} "
            f"({len(names)} in all) are missing or have another shape. Save the model again."
        )


@dataclass(frozen=True)
class Pretrained:
    model: PreTrainedModel
    left_out: tuple[str, ...]  # tensors of the files that the family never uses for text


def pretrained(contents: Contents, *, dtype: str, device: str) -> Pretrained:
    """The model of a checkpoint, in evaluation mode, with the engine's attention function.

    transformers gets the config and the tensors that the fingerprint covers, and no folder.
    `device` may be "auto", which spreads it over all GPUs. Raises `UnknownDtype`,
    `NotALanguageModel`, `MuchLarger`, `IncompleteWeights`, `UnusedWeights`, `QuantisedWeights`,
    `OtherBytes`, `TooLarge`, and `NoAttentionInterface`.
    """
    files = contents.files
    placed: dict[str, Any] = {"device_map": "auto"} if device == "auto" else {}
    family = str(files.config.get("model_type"))
    model: PreTrainedModel
    tensors = StoredTensors(contents)
    with quiet(), _alone(contents.config) as alone:
        try:
            with no_larger_than(files.folder, [each.shape for each in contents.stored.values()]):
                kind, config = _kind(_config(alone))
                model, report = kind.from_pretrained(
                    None,
                    config=config,
                    state_dict=tensors.state_dict(),
                    dtype=torch_dtype(dtype),
                    attn_implementation=NAME,
                    local_files_only=True,
                    output_loading_info=True,
                    ignore_mismatched_sizes=True,  # reported, and refused below
                    **placed,
                )
        except Exception as error:  # a wrong config may raise anything
            error = tensors.failure or error
            if isinstance(error, Refused) or is_out_of_memory(error):
                raise error
            if placed and "offloaded to the disk" in str(error):  # what does not fit into memory
                raise TooLarge(files.folder, ["disk"]) from None
            if error.args == (NAME,):  # a family with attention functions of its own
                raise NoAttentionInterface(family) from None
            raise NotALanguageModel(files.folder, family, error) from error
    if tensors.failure:
        raise tensors.failure
    missing = [*report["missing_keys"], *(str(key) for key in report["mismatched_keys"])]
    if missing:
        raise IncompleteWeights(files.folder, sorted(missing))
    left_out = check_all_used(model, files, contents.stored)
    if not model._can_set_attn_implementation():
        raise NoAttentionInterface(family)
    _check_placed(model, files.folder)
    model.requires_grad_(False)
    model.train(False)
    if not placed:
        cast(Any, model).to(device)
    return Pretrained(model, left_out)


def expected_shape(contents: Contents) -> ModelShape:
    """The sizes that the config says, for all layers alike; loading shows how the model runs.

    Raises `NotALanguageModel` and `SizesNotSaid`.
    """
    files = contents.files
    with quiet(), _alone(contents.config) as alone:
        try:
            _, config = _kind(_config(alone))
        except Exception as error:  # a config can be wrong in every way
            family = str(files.config.get("model_type"))
            raise NotALanguageModel(files.folder, family, error) from error
    config = config.get_text_config()

    def size(name: str, default: int = 0) -> int:
        said = getattr(config, name, None)
        most = max(said) if isinstance(said, list | tuple) and said else said
        if not isinstance(most, int) and not default:
            raise SizesNotSaid(files.folder, name)
        return most if isinstance(most, int) and most > 0 else default

    heads, d_model = size("num_attention_heads"), size("hidden_size")
    d_head = size("head_dim", d_model // heads)
    kv_heads = size("num_key_value_heads", heads)
    layer = LayerShape(n_heads=heads, n_kv_heads=kv_heads, d_qk=d_head, d_v=d_head)
    return ModelShape(
        family=config.model_type,
        d_model=d_model,
        d_vocab=size("vocab_size"),
        layers=(layer,) * size("num_hidden_layers"),
    )


def torch_dtype(name: str) -> torch.dtype:
    """Raises `UnknownDtype`."""
    if name not in DTYPES:
        raise UnknownDtype(name)
    return DTYPES[name]


@contextmanager
def _alone(config: bytes) -> Iterator[str]:
    """A folder with the config alone, so that transformers finds no other files beside it."""
    with tempfile.TemporaryDirectory(prefix="headbook-config-") as folder:
        Path(folder, CONFIG).write_bytes(config)
        yield folder


def _config(folder: str) -> PretrainedConfig:
    config: PretrainedConfig = cast(Any, AutoConfig).from_pretrained(
        folder, trust_remote_code=False, local_files_only=True
    )
    return config


def _kind(config: PretrainedConfig) -> tuple[Any, PretrainedConfig]:
    """The class that AutoModelForCausalLM chooses, with the text config where it needs that."""
    known: Any = AutoModelForCausalLM
    if type(config) not in known._model_mapping:
        raise ValueError(f"{type(config).__name__} is not a config of a causal language model")
    kind: Any = cast(Any, _get_model_class)(config, known._model_mapping)
    parts: Any = config.sub_configs
    of_text = parts.get("text_config")
    if of_text is not None and kind.config_class == of_text:
        config = config.get_text_config()
    return kind, config


def _check_placed(model: PreTrainedModel, folder: Path) -> None:
    """Raises `TooLarge` for offloaded weights, which the engine cannot read."""
    places = {str(place) for place in (getattr(model, "hf_device_map", None) or {}).values()}
    if "disk" in places or ("cpu" in places and len(places) > 1):
        raise TooLarge(folder, places)


def embedding(model: PreTrainedModel) -> Tensor:
    """The token embedding, [d_vocab, d_model]."""
    weight: Tensor = cast(Any, model).get_input_embeddings().weight
    return weight
