"""Limits on users' data and templates, and on the prompts made from them."""

from dataclasses import asdict, dataclass
from time import monotonic

from analyses.errors import Refused

VARIABLE = "HEADBOOK_DATA_SCALE"
MOST_SCALE = 1000
_MESSAGES = {  # what each bound counts
    "bytes": "has {} bytes of data",
    "entries": "has {} files and folders",
    "rows": "has {} rows",
    "columns": "has {} columns",
    "cells": "has {} cells",
    "row_bytes": "has a row of {} bytes",
    "cell": "has a cell of {} characters",
    "choices": "has a row of {} choices",
    "footer": "has a list of columns of {} bytes",
    "prompt": "has {} characters",
    "text": "makes prompts of {} characters",
    "source": "has {} characters",
    "steps": "takes {} steps for a prompt",
    "work": "takes {} steps for all prompts",
    "memory": "takes {} bytes of memory to read",
    "seconds": "takes {} seconds to read",
}


class Beyond(Refused):
    """A limit was exceeded; `bound` is its name, a field of `Bounds`."""

    def __init__(self, what: object, bound: str, most: int, found: int | None = None) -> None:
        self.bound = bound
        counted = f"more than {most:,}" if found is None else f"{found:,}"
        allowed = "" if found is None else f", and {most:,} are allowed"
        super().__init__(
            f"{what} {_MESSAGES[bound].format(counted)}{allowed}. Use less data, or set {VARIABLE} "
            f"to a number that multiplies every limit on data."
        )


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """The maxima. Unless noted, they apply to everything that a recipe names, taken together."""

    bytes: int = 2**29  # of files on disk, and of decompressed Parquet
    entries: int = 20_000  # files and folders below a folder
    rows: int = 1_000_000
    columns: int = 1_000  # of one file or JSON object
    cells: int = 50_000_000
    row_bytes: int = 2**22  # of one row, including columns that are not needed
    cell: int = 100_000  # characters of one question, choice, answer or subject
    choices: int = 100  # of one row
    footer: int = 2**24  # of one Parquet file
    prompt: int = 200_000  # characters of one prompt
    text: int = 200_000_000  # characters of all prompts
    source: int = 20_000  # characters of a template
    steps: int = 50_000  # of a template, for one prompt
    work: int = 200_000_000  # steps of a template, for all prompts
    memory: int = 2**31  # of the process that reads Parquet
    seconds: int = 300  # of reading

    def scaled(self, by: int) -> "Bounds":
        """Every bound multiplied by `by`."""
        return Bounds(**{name: most * by for name, most in asdict(self).items()})

    def check(self, bound: str, found: int, what: object) -> None:
        """Raises `Beyond` if `found` is above the bound."""
        most: int = getattr(self, bound)
        if found > most:
            raise Beyond(what, bound, most, found)

    def passed(self, bound: str, what: object) -> Beyond:
        """The error to raise if the actual amount is unknown."""
        return Beyond(what, bound, getattr(self, bound))


class Tally:
    """Counts what has been read so far, and checks it against the bounds."""

    def __init__(self, bounds: Bounds, what: object) -> None:
        self.bounds = bounds
        self._what = what
        self._counts = dict.fromkeys(("bytes", "entries", "rows", "cells"), 0)
        self.begin()

    def begin(self) -> None:
        """Start the clock, so that the time of a download does not count."""
        self._ends = monotonic() + self.bounds.seconds

    @property
    def seconds_left(self) -> float:
        return max(0.0, self._ends - monotonic())

    def add(self, bound: str, count: int) -> None:
        """Add to a count. Raises `Beyond`."""
        self._counts[bound] += count
        if self._counts[bound] > getattr(self.bounds, bound):
            raise self.bounds.passed(bound, self._what)

    def add_row(self, cells: int) -> None:
        """Count a row with so many cells. Raises `Beyond`."""
        self.add("rows", 1)
        self.add("cells", cells)
        if not self._counts["rows"] % 1000:
            self.check_time()

    def check_time(self) -> None:
        """Raises `Beyond` if the time is up."""
        if not self.seconds_left:
            raise self.bounds.passed("seconds", self._what)
