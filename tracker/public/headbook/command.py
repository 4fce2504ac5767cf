"""The command `headbook`: looks whether it can run here, then hands over to `tracker.cli`."""

import sys

from headbook import own_packages


def main() -> None:
    """Run the command; what is in its way is one sentence on stderr and exit code 1."""
    try:
        own_packages.check()
        from tracker.cli import main as run

        run()
    except own_packages.ForeignPackage as error:
        sys.exit(f"Error: {error}")
    except ModuleNotFoundError as error:
        from headbook.missing import NotInstalled, explained

        if not isinstance(said := explained(error), NotInstalled):
            raise
        sys.exit(f"Error: {said}")
