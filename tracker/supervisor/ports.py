"""Ports on 127.0.0.1: the requested ones, the previous ones (people keep links), or free ones."""

import json
import socket
from dataclasses import asdict, dataclass
from pathlib import Path

from tracker.home import own_files
from tracker.home.home import Home
from tracker.supervisor.errors import PortInUse
from tracker.supervisor.options import StackOptions


@dataclass(frozen=True, kw_only=True)
class Ports:
    app: int
    mlflow: int


def choose(home: Home, options: StackOptions) -> Ports:
    """Raises `PortInUse` if a requested port is taken."""
    file = home.root / "ports.json"
    last = _last(file)
    if options.app_port and options.app_port == options.mlflow_port:
        raise PortInUse(options.app_port, "HEADBOOK_MLFLOW_PORT")
    app = _one(options.app_port, last.app, "HEADBOOK_APP_PORT")
    mlflow = _one(options.mlflow_port, last.mlflow, "HEADBOOK_MLFLOW_PORT")
    if app == mlflow and options.mlflow_port:
        app = free()
    elif app == mlflow:
        mlflow = free()
    ports = Ports(app=app, mlflow=mlflow)
    own_files.write_text(file, json.dumps(asdict(ports)))
    return ports


def _last(file: Path) -> Ports:
    """The previous ports; zeros if the file is missing or corrupt."""
    try:
        found = Ports(**json.loads(own_files.read_text(file) or "{}"))
    except (ValueError, TypeError):
        return Ports(app=0, mlflow=0)
    known = all(type(port) is int and 0 <= port < 65536 for port in (found.app, found.mlflow))
    return found if known else Ports(app=0, mlflow=0)


def _one(asked: int | None, last: int, variable: str) -> int:
    if asked and not _is_free(asked):
        raise PortInUse(asked, variable)
    return asked or (last if last and _is_free(last) else free())


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the servers do
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
