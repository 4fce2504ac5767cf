"""What a worker can do, from what nvidia-smi, CUDA_VISIBLE_DEVICES and control groups say."""

from pathlib import Path

import psutil
import pytest

from tracker import devices
from tracker.devices import Capability, Gpu

GIB = 2**30
LISTED = """\
0, GPU-8f4e, NVIDIA H100 80GB HBM3, 81559
1, GPU-11aa, NVIDIA A10G, 23028
"""
BIG = Gpu(index="0", uuid="GPU-8f4e", name="NVIDIA H100 80GB HBM3", memory=81559 * 2**20)
SMALL = Gpu(index="1", uuid="GPU-11aa", name="NVIDIA A10G", memory=23028 * 2**20)


def test_gpus_are_read_from_what_nvidia_smi_lists() -> None:
    assert devices.listed_gpus(LISTED) == [BIG, SMALL]
    assert devices.listed_gpus("") == []
    shares = Gpu(index="0", uuid="GPU-1", name="NVIDIA GB10", memory=None)
    assert devices.listed_gpus("0, GPU-1, NVIDIA GB10, [N/A]\n") == [shares]
    assert capability("auto", [shares]) is None
    assert devices.listed_gpus("No devices were found\n") is None


@pytest.mark.parametrize(
    ("said", "visible"),
    [
        (None, [BIG, SMALL]),
        ("1,0", [SMALL, BIG]),
        ("GPU-11", [SMALL]),
        ("", []),
        ("1,-1,0", [SMALL]),
        ("MIG-5f2c", None),
        ("7", None),
    ],
)
def test_a_worker_sees_the_gpus_that_are_visible(said: str | None, visible: object) -> None:
    environment = {} if said is None else {"CUDA_VISIBLE_DEVICES": said}
    assert devices.seen_by(environment, [BIG, SMALL]) == visible
    assert devices.seen_by(environment, None) is None


def capability(device: str, gpus: list[Gpu] | None) -> Capability | None:
    return devices.capability(device, gpus, host_memory=64 * GIB, cpu="x86_64")


@pytest.mark.parametrize(
    ("device", "gpus", "names", "memory"),
    [
        ("auto", [BIG, SMALL], [BIG.name, SMALL.name], BIG.memory + SMALL.memory),
        ("auto", [SMALL], [SMALL.name], SMALL.memory),
        ("auto", [], ["x86_64"], 64 * GIB),
        ("cpu", [BIG], ["x86_64"], 64 * GIB),
        ("cpu", None, ["x86_64"], 64 * GIB),
        ("cuda", [BIG, SMALL], [BIG.name], BIG.memory),
        ("cuda:1", [BIG, SMALL], [SMALL.name], SMALL.memory),
    ],
)
def test_a_model_may_take_the_memory_of_the_devices_it_can_lie_on(
    device: str, gpus: list[Gpu] | None, names: list[str], memory: int
) -> None:
    found = capability(device, gpus)
    assert found is not None
    assert [each.name for each in found.devices] == names
    assert found.memory == memory
    assert found.spreads == (len(names) > 1)
    assert found.host_memory == 64 * GIB


@pytest.mark.parametrize(
    ("device", "gpus"), [("auto", None), ("cuda", None), ("cuda:2", [BIG, SMALL]), ("tpu", [BIG])]
)
def test_what_cannot_be_told_is_not_guessed(device: str, gpus: list[Gpu] | None) -> None:
    assert capability(device, gpus) is None


@pytest.mark.parametrize(
    ("own", "files", "limits"),
    [
        ("0::/job/step", {"job/memory.max": "4096", "job/step/memory.max": "max"}, [4096]),
        ("0::/", {"memory.max": "2048"}, [2048]),
        (
            "11:cpu:/x\n7:memory:/job",
            {"memory/job/memory.limit_in_bytes": "512", "memory/memory.limit_in_bytes": "9223372"},
            [512, 9223372],
        ),
        ("0::/gone", {}, []),
    ],
)
def test_a_control_group_and_those_around_it_limit_the_memory(
    tmp_path: Path, own: str, files: dict[str, str], limits: list[int]
) -> None:
    for name, said in files.items():
        file = tmp_path / "groups" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{said}\n")
    (tmp_path / "own").write_text(f"{own}\n")
    assert list(devices.group_limits(tmp_path / "groups", tmp_path / "own")) == limits
    assert list(devices.group_limits(tmp_path / "groups", tmp_path / "nothing")) == []


def test_this_machine_has_no_more_memory_than_it_has() -> None:
    machine = psutil.virtual_memory().total + psutil.swap_memory().total
    assert 0 < devices.host_memory() <= machine
