"""A package that is not installed, where a part of Headbook needs it.

The Python client alone needs less than the rest, and may be installed without it.
"""

from tracker.errors import TrackerError


class NotInstalled(TrackerError, ImportError):
    def __init__(self, package: str) -> None:
        super().__init__(
            f"This needs the package {package!r}, which is not installed here. "
            "`pip install headbook` installs everything that Headbook uses."
        )


def explained(error: ModuleNotFoundError) -> Exception:
    """What to raise instead: `NotInstalled`, unless a module of our own is missing."""
    package = (error.name or "").partition(".")[0]
    ours = package in ("", "analyses", "app", "headbook", "migrations", "tracker")
    return error if ours else NotInstalled(package)
