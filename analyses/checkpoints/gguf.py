"""A GGUF file made into a folder of safetensors, once; only converting loads torch."""

import shutil
import tempfile
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

from analyses.checkpoints.fingerprints import file_sha256
from analyses.checkpoints.quiet import quiet
from analyses.errors import Refused


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


def folder_of(path: Path, *, cache: Path) -> Path:
    """Where the converted model lies, or will lie: named by the file's bytes."""
    return cache / f"gguf-2-{file_sha256(path, remembered=cache / 'hashes')}"


def converted(path: Path, *, cache: Path) -> Path:
    """The folder with the file's model in fp32, made now if it is not there yet.

    Two processes may do this at once: each makes a folder of its own, one is renamed into place.
    """
    folder = folder_of(path, cache=cache)
    if folder.is_dir():
        return folder
    making = Path(tempfile.mkdtemp(dir=cache, prefix=".converting-"))
    try:
        _convert(path, making)
        making.chmod(0o755)
        try:
            making.rename(folder)
        except OSError:  # another process was first
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return folder


def _convert(path: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    choices = {"gguf_file": path.name, "local_files_only": True, "trust_remote_code": False}
    with (
        tempfile.TemporaryDirectory(dir=folder.parent, prefix=".converting-") as alone,
        quiet(),
        redirect_stderr(StringIO()),  # the reader draws a bar whatever is asked
    ):
        # Alone in a folder: another model's tokenizer.json beside the file would be taken for its.
        Path(alone, path.name).symlink_to(path)
        try:
            loader: Any = AutoModelForCausalLM
            model, report = loader.from_pretrained(
                alone, dtype=torch.float32, output_loading_info=True, **choices
            )
            tokenizer = AutoTokenizer.from_pretrained(alone, **choices)
        except MemoryError:
            raise
        except Exception as error:  # the reader raises every kind, by what the file lacks
            raise UnreadableGguf(path, error) from error
        missing = sorted(str(key) for key in (*report["missing_keys"], *report["mismatched_keys"]))
        if missing:
            raise IncompleteGguf(path, missing)
        quantizer: Any = getattr(model, "hf_quantizer", None)
        if quantizer is not None:  # it only marks the model: the weights already are fp32
            quantizer.remove_quantization_config(model)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
