"""`python -m tracker.domain [--check] PAGE`: write the state diagram of a run into a page."""

import re
import sys
from pathlib import Path

from tracker.domain.run_moves import diagram

_DIAGRAM = re.compile(r"(?<=```mermaid\n)stateDiagram-v2\n.*?(?=```)", re.DOTALL)


def main(arguments: list[str]) -> int:
    """The exit code: 1 if the page has no diagram, or `--check` finds it out of date."""
    page = Path(arguments[-1])
    text = page.read_text(encoding="utf-8")
    updated, n_diagrams = _DIAGRAM.subn(diagram(), text)
    if not n_diagrams:
        sys.stderr.write(f"{page} has no ```mermaid block that begins with stateDiagram-v2.\n")
        return 1
    if "--check" in arguments:
        if updated != text:
            sys.stderr.write(
                f"The state diagram in {page} differs from tracker/domain/run_moves.py. "
                f"Update it with: python -m tracker.domain {page}\n"
            )
        return int(updated != text)
    page.write_text(updated, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
