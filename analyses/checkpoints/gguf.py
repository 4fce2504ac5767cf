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


def folder_of(path: Path, *, cache: Path) -> Path:
    """Where the converted model lies, or will lie: named by the file's bytes."""
    return cache / f"gguf-1-{file_sha256(path, remembered=cache / 'hashes')}"


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

    where = {"gguf_file": path.name, "local_files_only": True, "trust_remote_code": False}
    with quiet(), redirect_stderr(StringIO()):  # the reader draws a bar whatever is asked
        try:
            model = AutoModelForCausalLM.from_pretrained(path.parent, dtype=torch.float32, **where)
            tokenizer = AutoTokenizer.from_pretrained(path.parent, **where)
        except Exception as error:  # the reader raises every kind, by what the file lacks
            raise UnreadableGguf(path, error) from error
        quantizer: Any = getattr(model, "hf_quantizer", None)
        if quantizer is not None:  # it only marks the model: the weights already are fp32
            quantizer.remove_quantization_config(model)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
