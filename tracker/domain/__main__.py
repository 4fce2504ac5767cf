"""`python -m tracker.domain [--check] PAGE`: the state diagram of a run, written into a page."""

import re
import sys
from pathlib import Path

from tracker.domain.run_moves import diagram

_DIAGRAM = re.compile(r"(?<=```mermaid\n)stateDiagram-v2\n.*?(?=```)", re.DOTALL)


def main(arguments: list[str]) -> int:
    """1 where `--check` finds another diagram in the page."""
    page = Path(arguments[-1])
    text = page.read_text(encoding="utf-8")
    drawn, found = _DIAGRAM.subn(diagram(), text)
    if not found:
        sys.stderr.write(f"{page} has no ```mermaid block that begins with stateDiagram-v2.\n")
        return 1
    if "--check" in arguments:
        if drawn != text:
            sys.stderr.write(
                f"The state diagram in {page} differs from tracker/domain/run_moves.py. "
                f"Renew it with: python -m tracker.domain {page}\n"
            )
        return int(drawn != text)
    page.write_text(drawn, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
