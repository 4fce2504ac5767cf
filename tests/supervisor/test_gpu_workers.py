"""Which workers `headbook up` starts on a machine with GPUs, and what each of them sees."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from tracker import devices
from tracker.home.home import Home
from tracker.supervisor import services
from tracker.supervisor.services import Addresses, gpu_workers

GIB = 2**30
ADDRESSES = Addresses(
    database_url="",
    broker_url="",
    mlflow_port=1,
    mlflow_tracking_uri="http://127.0.0.1:1",
    app_port=2,
)
SMI = """#!/bin/sh
echo "0, GPU-a, NVIDIA A10G, 23028"
echo "1, GPU-b, NVIDIA A10G, 23028"
"""


def seen(environments: Mapping[str, Mapping[str, str]]) -> dict[str, tuple[str, str | None]]:
    """Which GPUs each worker sees, and above how many bytes a run is for it."""
    return {
        name: (each["CUDA_VISIBLE_DEVICES"], each.get("HEADBOOK_ONLY_ABOVE"))
        for name, each in environments.items()
    }


def test_each_gpu_has_a_worker_and_one_more_takes_what_fits_into_none_alone() -> None:
    found = gpu_workers(["0", "1"], [16 * GIB, 80 * GIB])
    assert seen(found) == {
        "worker-0": ("0", None),
        "worker-1": ("1", None),
        "worker-all": ("0,1", str(80 * GIB)),
    }
    assert found["worker-all"]["HEADBOOK_DEVICE"] == "auto"
    assert {each["CUDA_DEVICE_ORDER"] for each in found.values()} == {"PCI_BUS_ID"}


@pytest.mark.parametrize(
    ("visible", "memory", "names"),
    [
        ([], [], []),
        (["0"], [80 * GIB], ["worker-0"]),
        (["2", "5"], [], ["worker-0", "worker-1"]),  # nothing is known of their memory
        (["0", "1"], [GIB, None], ["worker-0", "worker-1"]),
        (["0", "1", "2"], [GIB, GIB, GIB], ["worker-0", "worker-1", "worker-2", "worker-all"]),
    ],
)
def test_without_several_gpus_of_known_memory_no_worker_spreads(
    visible: list[str], memory: list[int | None], names: list[str]
) -> None:
    assert list(gpu_workers(visible, memory)) == names


@pytest.fixture
def two_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which nvidia-smi lists two."""
    tool = tmp_path / "nvidia-smi"
    tool.write_text(SMI)
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_workers_are_started_with_what_nvidia_smi_lists(
    two_gpus: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path / "home")
    started = {each.command.name: each.command.env for each in services.workers(home, ADDRESSES)}
    assert seen(started) == {
        "worker-0": ("0", None),
        "worker-1": ("1", None),
        "worker-all": ("0,1", str(23028 * 2**20)),
    }
    for name, spreads in (("worker-0", False), ("worker-all", True)):
        with monkeypatch.context() as patch:
            patch.setenv("CUDA_VISIBLE_DEVICES", started[name]["CUDA_VISIBLE_DEVICES"])
            able = devices.survey("auto")
        assert able is not None
        assert able.spreads == spreads
        assert able.memory == 23028 * 2**20 * (2 if spreads else 1)


def test_a_device_that_a_person_names_has_one_worker(two_gpus: None, tmp_path: Path) -> None:
    for device in ("cpu", "cuda:1"):
        named = Addresses(**vars(ADDRESSES) | {"device": device})
        (only,) = services.workers(Home(tmp_path / "home"), named)
        assert only.command.name == "worker"
        assert "HEADBOOK_ONLY_ABOVE" not in only.command.env
