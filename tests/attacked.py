"""An attack in a process of its own, which the system ends when it takes too much."""

import multiprocessing
import os
import resource
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from io import StringIO
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from analyses.errors import Refused
from analyses.prompts.bounds import Bounds
from analyses.prompts.distributions import DistributionSpec, build
from tracker.errors import TrackerError

MOST_SECONDS = 10  # of processor time, after which the system ends it
MOST_MEMORY = 1200  # MiB, of the process and of each that it starts
_SPACE = 2**33  # bytes of addresses

# One clean process from which each attack is forked: to import anew would take most of the time.
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["attacked", "analyses.registry", "tracker.cli"])


class Ended(NamedTuple):
    """What it said, and what it took."""

    said: str  # the refusal, or an empty text where nothing was refused
    seconds: float  # of processor time
    memory: int  # MiB at the most


def attack(work: Callable[..., Any], *arguments: Any) -> Ended:
    """Run it; fails where the system had to end it, or where it raised what is no refusal."""
    ours, theirs = _processes.Pipe(duplex=False)
    process = _processes.Process(target=_run, args=(theirs, work, arguments))
    process.start()
    theirs.close()
    with ours:
        try:
            ended: Ended | str = ours.recv()
        except EOFError:
            process.join()
            raise AssertionError(f"It was ended by {process.exitcode}") from None
    process.join()
    assert isinstance(ended, Ended), ended
    assert ended.memory < MOST_MEMORY, f"It took {ended.memory} MiB"
    return ended


def built(fields: dict[str, Any], bounds: dict[str, int] | None = None) -> None:
    """Make the prompts of a recipe, within the usual bounds but for some."""
    spec = DistributionSpec(**({"options": 2, "size": 1} | fields))
    build(spec, bounds=Bounds(**bounds or {}))


def _run(pipe: Connection, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (MOST_SECONDS, MOST_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (_SPACE, _SPACE))
    said = ""
    try:
        work(*arguments)
    except (Refused, TrackerError) as refused:
        said = f"{type(refused).__name__}: {refused}"
    except BaseException:
        pipe.send(traceback.format_exc()[-3000:])
        return
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    used = [resource.getrusage(kind) for kind in kinds]
    pipe.send(
        Ended(
            said=said,
            seconds=sum(each.ru_utime + each.ru_stime for each in used),
            memory=max(each.ru_maxrss for each in used) // 1024,
        )
    )


def commanded(
    arguments: Sequence[str], environment: Mapping[str, str], stdin: str = os.devnull
) -> None:
    """Run a command, which says on stderr what is wrong and ends; what it says is raised."""
    from tracker import cli

    os.environ |= environment
    sys.stdin = open(stdin)  # noqa: SIM115 - as long as the process
    sys.argv = ["headbook", *arguments]
    sys.stderr = StringIO()
    try:
        cli.main()
    except SystemExit as ended:
        said = sys.stderr.getvalue()
        assert "Traceback" not in said, said[-3000:]
        if ended.code:
            raise TrackerError(said) from None


def checked(analysis: str, params: Mapping[str, Any]) -> None:
    """Let an analysis check its parameters."""
    from analyses import registry

    registry.find(analysis).checked(params)
