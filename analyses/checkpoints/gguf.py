"""A GGUF file made into a folder of safetensors, once; only converting loads torch."""

import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

from analyses.checkpoints.gguf_heads import shapes
from analyses.checkpoints.hashes import copied, file_sha256
from analyses.checkpoints.quiet import quiet
from analyses.errors import Refused
from analyses.regular_files import ChangedWhileRead

_ROTARY = "rope_f"  # rope_freqs, rope_factors_long, rope_factors_short: what angles are divided by


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
            f"are missing or of another shape. Use the whole file; one that is split into several "
            f"must be merged first."
        )


class UnusedTensors(Refused):
    def __init__(self, path: Path, names: list[str]) -> None:
        super().__init__(
            f"{path} holds more than its metadata say: {', '.join(names[:3])} ({len(names)} in "
            f"all) have no place in the model that transformers makes of it, so it would run "
            f"without them. Use the original safetensors folder."
        )


class OtherRotary(Refused):
    def __init__(self, path: Path, found: str) -> None:
        super().__init__(
            f"{path} scales its rotary embeddings ({found}), which transformers does not read from "
            f"GGUF files: every angle would be wrong. Use the original safetensors folder."
        )


def folder_of(path: Path, *, cache: Path) -> Path:
    """Where the converted model lies, or will lie: named by the file's bytes."""
    return cache / f"gguf-3-{file_sha256(path, remembered=cache / 'hashes')}"


def converted(path: Path, *, cache: Path) -> Path:
    """The folder with the file's model in fp32, made now if it is not there yet.

    Two processes may do this at once: each makes a folder of its own, one is renamed into place.
    """
    folder = folder_of(path, cache=cache)
    if folder.is_dir():
        return folder
    making = Path(tempfile.mkdtemp(dir=cache, prefix=".converting-"))
    try:
        _convert(path, making, folder.name.rpartition("-")[2])
        making.chmod(0o755)
        try:
            making.rename(folder)
        except OSError:  # another process was first
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return folder


def _convert(path: Path, folder: Path, sha256: str) -> None:
    """`sha256` is that of the file's bytes: of those that are converted."""
    with (
        tempfile.TemporaryDirectory(dir=folder.parent, prefix=".converting-") as alone,
        quiet(),
        redirect_stderr(StringIO()),  # the reader draws a bar whatever is asked
    ):
        # Alone in a folder: another model's tokenizer.json beside the file would be taken for its.
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
    with _sentences(path), no_larger_than(path, shapes):
        loader: Any = AutoModelForCausalLM
        model, report = loader.from_pretrained(
            copy.parent, dtype=torch.float32, output_loading_info=True, **choices
        )
    missing = sorted(str(key) for key in (*report["missing_keys"], *report["mismatched_keys"]))
    if missing:
        raise IncompleteGguf(path, missing)
    _check_all_used(copy, path, model)
    with _sentences(path):
        tokenizer = AutoTokenizer.from_pretrained(copy.parent, **choices)
    quantizer: Any = getattr(model, "hf_quantizer", None)
    if quantizer is not None:  # it only marks the model: the weights already are fp32
        quantizer.remove_quantization_config(model)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@contextmanager
def _sentences(path: Path) -> Iterator[None]:
    """The reader raises every kind of exception, by what the file lacks."""
    try:
        yield
    except (MemoryError, Refused):
        raise
    except Exception as error:
        raise UnreadableGguf(path, error) from error


def _check_all_used(copy: Path, path: Path, model: Any) -> None:
    """The reader skips tensors that it does not know and metadata that it has no name for."""
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
