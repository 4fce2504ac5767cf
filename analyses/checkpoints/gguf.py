"""Converts a GGUF file to a folder of safetensors, once; only the conversion imports torch."""

import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

from analyses.checkpoints.gguf_headers import shapes
from analyses.checkpoints.hashes import copied, file_sha256
from analyses.checkpoints.quiet import quiet
from analyses.errors import Refused
from analyses.regular_files import ChangedWhileRead

_ROTARY = "rope_f"  # rope_freqs, rope_factors_long, rope_factors_short: divisors of the angles


class UnreadableGguf(Refused):
    def __init__(self, path: Path, error: Exception) -> None:
        super().__init__(
            f"{path} cannot be converted to safetensors: {type(error).__name__}: {error}. Use a "
            f"GGUF file of a family that transformers reads, or the original safetensors folder."
        )


class IncompleteGguf(Refused):
    def __init__(self, path: Path, names: list[str]) -> None:
        super().__init__(
            f"{path} does not hold the whole model: {', '.join(names[:3])} ({len(names)} in all) "
            f"are missing or have another shape. Use the complete file; merge a split file first."
        )


class UnusedTensors(Refused):
    def __init__(self, path: Path, names: list[str]) -> None:
        super().__init__(
            f"{path} holds tensors that transformers does not load: {', '.join(names[:3])} "
            f"({len(names)} in all), so the model would run without them. Use the original "
            f"safetensors folder."
        )


class OtherRotary(Refused):
    def __init__(self, path: Path, found: str) -> None:
        super().__init__(
            f"{path} scales its rotary embeddings ({found}), which transformers does not read from "
            f"GGUF files: every angle would be wrong. Use the original safetensors folder."
        )


def folder_of(path: Path, *, cache: Path) -> Path:
    """The folder of the converted model, which may not exist yet; named by the file's hash."""
    return cache / f"gguf-3-{file_sha256(path, remembered=cache / 'hashes')}"


def converted(path: Path, *, cache: Path) -> Path:
    """The folder with the model in fp32; converts the file unless the folder already exists.

    Safe in several processes at once: each writes a folder of its own, and one is renamed into
    place.
    """
    folder = folder_of(path, cache=cache)
    if folder.is_dir():
        return folder
    draft = Path(tempfile.mkdtemp(dir=cache, prefix=".converting-"))
    try:
        _convert(path, draft, folder.name.rpartition("-")[2])
        draft.chmod(0o755)
        try:
            draft.rename(folder)
        except OSError:  # another process was first
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


def _convert(path: Path, folder: Path, sha256: str) -> None:
    """Raises `ChangedWhileRead` unless the bytes that are converted have this hash."""
    with (
        tempfile.TemporaryDirectory(dir=folder.parent, prefix=".converting-") as alone,
        quiet(),
        redirect_stderr(StringIO()),  # the reader always draws a progress bar
    ):
        # In a folder of its own: transformers would take any tokenizer.json beside the file.
        copy = Path(alone, "model.gguf")
        if copied(path, copy) != sha256:
            raise ChangedWhileRead(path)
        _save_as_safetensors(copy, folder, path, shapes=shapes(copy, path))


def _save_as_safetensors(
    copy: Path, folder: Path, path: Path, *, shapes: Collection[tuple[int, ...]]
) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from analyses.checkpoints.building import no_larger_than

    choices = {"gguf_file": copy.name, "local_files_only": True, "trust_remote_code": False}
    with _unreadable(path), no_larger_than(path, shapes):
        loader: Any = AutoModelForCausalLM
        model, report = loader.from_pretrained(
            copy.parent, dtype=torch.float32, output_loading_info=True, **choices
        )
    missing = sorted(str(key) for key in (*report["missing_keys"], *report["mismatched_keys"]))
    if missing:
        raise IncompleteGguf(path, missing)
    _check_all_used(copy, path, model)
    with _unreadable(path):
        tokenizer = AutoTokenizer.from_pretrained(copy.parent, **choices)
    quantizer: Any = getattr(model, "hf_quantizer", None)
    if quantizer is not None:  # only marks the model: the weights already are fp32
        quantizer.remove_quantization_config(model)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@contextmanager
def _unreadable(path: Path) -> Iterator[None]:
    """Inside the block, any exception of the reader becomes `UnreadableGguf`."""
    try:
        yield
    except (MemoryError, Refused):
        raise
    except Exception as error:
        raise UnreadableGguf(path, error) from error


def _check_all_used(copy: Path, path: Path, model: Any) -> None:
    """Raises `UnusedTensors` or `OtherRotary`: the reader skips tensors and metadata silently."""
    from gguf import GGUFReader
    from transformers import modeling_gguf_pytorch_utils as reading

    reader = GGUFReader(copy)
    architecture = reader.fields["general.architecture"].contents()
    processor: Any = reading.TENSOR_PROCESSORS.get(architecture, reading.TensorProcessor)
    known = reading.get_gguf_hf_weights_map(model, processor(config={}))
    unused = [
        tensor
        for tensor in reader.tensors
        if tensor.name not in known and tensor.name.removesuffix(".weight") not in known
    ]
    rotary = [tensor for tensor in unused if tensor.name.startswith(_ROTARY)]
    scaled = [tensor.name for tensor in rotary if (tensor.data != 1).any()]
    others = sorted(tensor.name for tensor in unused if not tensor.name.startswith(_ROTARY))
    if others:
        raise UnusedTensors(path, others)
    kind = reader.fields.get(f"{architecture}.rope.scaling.type")
    if kind is not None and kind.contents() != "none" and not _scales(model.config):
        scaled.append(f"{kind.name}={kind.contents()}")
    if scaled:
        raise OtherRotary(path, ", ".join(scaled))


def _scales(config: Any) -> bool:
    rotary = getattr(config, "rope_parameters", None) or {}
    return bool(rotary.get("rope_type", "default") != "default")
