"""What a run's numbers were computed with: code, libraries, device and flags. Loads torch."""

import platform
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from analyses.language_model import LanguageModel
from analyses.registry import ENGINE_VERSION

_LIBRARIES = ("headbook", "torch", "transformers", "tokenizers", "safetensors", "numpy")


def provenance(lm: LanguageModel | None) -> dict[str, Any]:
    """As JSON values for the run's row; None: no model was loaded."""
    return {
        **_code(),
        "engine_version": ENGINE_VERSION,
        "versions": {library: version(library) for library in _LIBRARIES},
        "python": platform.python_version(),
        "host": platform.node(),
        **(_of_model(lm) if lm else {}),
    }


def _of_model(lm: LanguageModel) -> dict[str, Any]:
    return {
        "device": str(lm.device),
        "device_name": _device_name(lm.device),
        "dtype": str(lm.model.dtype).removeprefix("torch."),
        "attention": lm.model.config._attn_implementation,
        "threads": torch.get_num_threads(),
        "memory_budget": lm.memory_budget,
        "tf32": torch.backends.cuda.matmul.allow_tf32,
        "deterministic": torch.are_deterministic_algorithms_enabled(),
    }


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return platform.processor() or platform.machine()


@cache
def _code() -> dict[str, Any]:
    """The commit of the clone that this runs from, and whether it is modified; None in a wheel."""
    here = Path(__file__).parent
    try:
        commit = _git(here, "rev-parse", "HEAD")
        # The package may be installed inside another clone: only a tracked file counts.
        _git(here, "ls-files", "--error-unmatch", Path(__file__).name)
        changed = bool(_git(here, "status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return {"commit": None, "dirty": None}
    return {"commit": commit, "dirty": changed}


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(folder), *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=10,
    ).stdout.strip()
