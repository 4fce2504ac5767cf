"""Finds the devices and the memory that a process can use, without torch."""

import csv
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

_MIB = 2**20
_FIELDS = "index,uuid,name,memory.total"
_LIMITS = {"": "memory.max", "memory": "memory/memory.limit_in_bytes"}  # cgroup v2, v1


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """A GPU of this machine, as listed by nvidia-smi."""

    index: str
    uuid: str
    name: str
    memory: int | None  # bytes; None: it shares the host's memory


@dataclass(frozen=True, kw_only=True)
class Device:
    """A device that a worker computes on."""

    kind: str  # "cpu" or "cuda"
    name: str
    memory: int  # bytes
    uuid: str = ""  # GPUs only


@dataclass(frozen=True, kw_only=True)
class Capability:
    """The devices of a worker, and the memory for a model and its recordings."""

    devices: tuple[Device, ...]
    spreads: bool  # whether one model may be spread over all of the devices
    host_memory: int  # bytes

    @property
    def memory(self) -> int:
        """Maximum bytes for one model and its recorded activations."""
        return sum(device.memory for device in self.devices[: None if self.spreads else 1])


def survey(device: str) -> Capability | None:
    """The capability of a worker with that `HEADBOOK_DEVICE`; None if it cannot be determined."""
    visible = seen_by(os.environ, gpus())
    return capability(device, visible, host_memory=host_memory(), cpu=platform.machine())


def capability(
    device: str, gpus: Sequence[Gpu] | None, *, host_memory: int, cpu: str
) -> Capability | None:
    """The capability of a worker that sees these GPUs; None if it cannot be determined.

    `gpus` None means that the GPUs are not known; `host_memory` is in bytes, and `cpu` is the name
    of the processor.
    """
    if device != "cpu" and gpus is None:
        return None
    devices = [
        Device(kind="cuda", name=gpu.name, memory=gpu.memory, uuid=gpu.uuid)
        for gpu in gpus or ()
        if gpu.memory is not None
    ]
    if device != "cpu" and len(devices) < len(gpus or ()):
        return None
    if device == "cpu" or (device == "auto" and not devices):
        devices = [Device(kind="cpu", name=cpu, memory=host_memory)]
    elif device != "auto":
        number = device.removeprefix("cuda").removeprefix(":") or "0"
        devices = devices[int(number) :][:1] if number.isdecimal() else []
    if not devices:  # no such device: the worker reports it when it starts
        return None
    return Capability(devices=tuple(devices), spreads=len(devices) > 1, host_memory=host_memory)


def seen_by(environment: Mapping[str, str], gpus: Sequence[Gpu] | None) -> list[Gpu] | None:
    """The GPUs that CUDA_VISIBLE_DEVICES leaves visible, in its order; None: not known."""
    chosen = environment.get("CUDA_VISIBLE_DEVICES")
    if gpus is None or chosen is None:
        return None if gpus is None else list(gpus)
    visible = []
    for word in filter(None, map(str.strip, chosen.split(","))):
        if word == "-1":  # CUDA ignores everything after it
            break
        matches = [gpu for gpu in gpus if gpu.index == word or gpu.uuid.startswith(word)]
        if len(matches) != 1:  # a MIG slice, or an index that nvidia-smi does not list
            return None
        visible += matches
    return visible


def gpus() -> list[Gpu] | None:
    """The GPUs of this machine; None if there may be GPUs that cannot be listed."""
    if not (tool := shutil.which("nvidia-smi")):
        others = [*Path("/dev").glob("nvidia[0-9]*"), *Path("/dev").glob("kfd")]
        return None if others else []
    command = (tool, f"--query-gpu={_FIELDS}", "--format=csv,noheader,nounits")
    try:
        listed = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return listed_gpus(listed.stdout) if listed.returncode == 0 else None


def listed_gpus(text: str) -> list[Gpu] | None:
    """The GPUs in the output of nvidia-smi; None if it is not a list of GPUs."""
    listed = []
    for row in csv.reader(text.splitlines(), skipinitialspace=True):
        if len(row) != 4 or not row[0].isdecimal():
            return None
        index, uuid, name, mib = row
        memory = int(mib) * _MIB if mib.isdecimal() else None
        listed.append(Gpu(index=index, uuid=uuid, name=name, memory=memory))
    return listed


def host_memory() -> int:
    """Bytes that this process may use: the machine's memory and swap, or its cgroup's limit."""
    machine = psutil.virtual_memory().total + psutil.swap_memory().total
    return min([machine, *group_limits()])


def group_limits(
    groups: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")
) -> Iterator[int]:
    """Memory limits in bytes of the cgroups of this process, from its own up to the root."""
    try:
        lines = [line.split(":", 2) for line in own.read_text().splitlines()]
    except OSError:
        return
    for _, kinds, path in lines:
        if kinds not in _LIMITS:
            continue
        root, _, file = _LIMITS[kinds].rpartition("/")
        inside = Path(path.strip("/"))
        for folder in (inside, *inside.parents):
            try:
                limit = (groups / root / folder / file).read_text().strip()
            except OSError:
                continue
            if limit.isdecimal():  # "max": no limit
                yield int(limit)
