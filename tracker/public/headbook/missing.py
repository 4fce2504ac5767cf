"""Explains which package is missing when a part of Headbook cannot be imported.

The Python client needs fewer packages than the rest, and can be installed without them.
"""

from tracker.errors import TrackerError


class NotInstalled(TrackerError, ImportError):
    def __init__(self, package: str) -> None:
        super().__init__(
            f"This needs the package {package!r}, which is not installed here. "
            "`pip install headbook` installs everything that Headbook uses."
        )


def explained(error: ModuleNotFoundError) -> Exception:
    """The error to raise instead: `NotInstalled`, unless a module of our own is missing."""
    package = (error.name or "").partition(".")[0]
    ours = package in ("", "analyses", "app", "headbook", "migrations", "tracker")
    return error if ours else NotInstalled(package)
