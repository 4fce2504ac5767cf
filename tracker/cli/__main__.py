"""`python -m tracker.cli` is `headbook`."""

from tracker.cli import main

main()
