"""What a process can compute on, and with how much memory; torch is not needed to find out."""

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
    """A GPU of this machine, as nvidia-smi lists it."""

    index: str
    uuid: str
    name: str
    memory: int | None  # bytes; None: it shares the host's


@dataclass(frozen=True, kw_only=True)
class Device:
    """A device that a worker computes on."""

    kind: str  # "cpu" or "cuda"
    name: str
    memory: int  # bytes
    uuid: str = ""  # of a GPU


@dataclass(frozen=True, kw_only=True)
class Capability:
    """What a worker computes on, and how much a model and its recordings can take there."""

    devices: tuple[Device, ...]
    spreads: bool  # whether one model may lie on all of the devices
    host_memory: int  # bytes

    @property
    def memory(self) -> int:
        """Bytes for one model and what is recorded of it, at the most."""
        return sum(each.memory for each in self.devices[: None if self.spreads else 1])


def survey(device: str) -> Capability | None:
    """What a worker with that `HEADBOOK_DEVICE` has; None where it cannot be told."""
    visible = seen_by(os.environ, gpus())
    return capability(device, visible, host_memory=host_memory(), cpu=platform.machine())


def capability(
    device: str, gpus: Sequence[Gpu] | None, *, host_memory: int, cpu: str
) -> Capability | None:
    """What a worker has for whom these GPUs are visible; None where they are not known."""
    if device != "cpu" and gpus is None:
        return None
    found = [
        Device(kind="cuda", name=each.name, memory=each.memory, uuid=each.uuid)
        for each in gpus or ()
        if each.memory is not None
    ]
    if device != "cpu" and len(found) < len(gpus or ()):
        return None
    if device == "cpu" or (device == "auto" and not found):
        found = [Device(kind="cpu", name=cpu, memory=host_memory)]
    elif device != "auto":
        number = device.removeprefix("cuda").removeprefix(":") or "0"
        found = found[int(number) :][:1] if number.isdecimal() else []
    if not found:  # it names a device that is not there: the worker itself will say so
        return None
    return Capability(devices=tuple(found), spreads=len(found) > 1, host_memory=host_memory)


def seen_by(environment: Mapping[str, str], gpus: Sequence[Gpu] | None) -> list[Gpu] | None:
    """The GPUs that CUDA_VISIBLE_DEVICES leaves visible, in its order; None: not known."""
    chosen = environment.get("CUDA_VISIBLE_DEVICES")
    if gpus is None or chosen is None:
        return None if gpus is None else list(gpus)
    found = []
    for word in filter(None, map(str.strip, chosen.split(","))):
        if word == "-1":  # CUDA sees none of what follows
            break
        named = [each for each in gpus if each.index == word or each.uuid.startswith(word)]
        if len(named) != 1:  # a slice of a GPU, or a number that nvidia-smi does not know
            return None
        found += named
    return found


def gpus() -> list[Gpu] | None:
    """The GPUs of this machine; None where there may be some that nothing is known of."""
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
    """What nvidia-smi has said; None where that is no list of GPUs."""
    found = []
    for row in csv.reader(text.splitlines(), skipinitialspace=True):
        if len(row) != 4 or not row[0].isdecimal():
            return None
        index, uuid, name, said = row
        memory = int(said) * _MIB if said.isdecimal() else None
        found.append(Gpu(index=index, uuid=uuid, name=name, memory=memory))
    return found


def host_memory() -> int:
    """Bytes that this process may have: of the machine and its swap, or of its control group."""
    machine = psutil.virtual_memory().total + psutil.swap_memory().total
    return min([machine, *group_limits()])


def group_limits(
    groups: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")
) -> Iterator[int]:
    """The limits of the control groups that this process is in, from its own to the root's."""
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
                said = (groups / root / folder / file).read_text().strip()
            except OSError:
                continue
            if said.isdecimal():  # "max": no limit
                yield int(said)
