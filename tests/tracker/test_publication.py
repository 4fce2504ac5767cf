"""Files as they are stored: the same content has the same hash."""

import json

import numpy as np
from safetensors import safe_open

from analyses.results import NamedTensor
from tracker.publication import encoded


def test_the_same_tensor_is_the_same_bytes(tmp_path) -> None:
    values = np.arange(6, dtype=np.float32).reshape(2, 3).T  # not contiguous
    tensor = NamedTensor(values, ("prompt", "label"), {"label": ("A", "B")})
    files = {encoded("logits", tensor) for _ in range(20)}
    assert len(files) == 1
    path = tmp_path / "logits.safetensors"
    path.write_bytes(files.pop())
    with safe_open(path, framework="np") as stored:
        np.testing.assert_array_equal(stored.get_tensor("logits"), values)
        assert json.loads(stored.metadata()["headbook"])["axes"] == ["prompt", "label"]
