"""The command `headbook`: checks that it can run in this environment, then calls `tracker.cli`."""

import sys

from headbook import own_packages


def main() -> None:
    """Run the command. A missing or foreign package prints one sentence to stderr and exits 1."""
    try:
        own_packages.check()
        from tracker.cli import main as run

        run()
    except own_packages.ForeignPackage as error:
        sys.exit(f"Error: {error}")
    except ModuleNotFoundError as error:
        from headbook.missing import NotInstalled, explained

        if not isinstance(explanation := explained(error), NotInstalled):
            raise
        sys.exit(f"Error: {explanation}")
