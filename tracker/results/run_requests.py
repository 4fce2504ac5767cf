"""Recreates the request of a recorded run."""

from analyses.prompts.spec import DistributionSpec
from tracker.domain import RunRequest
from tracker.results.run_lines import RunLine


def request_of(line: RunLine, *, force: bool = False) -> RunRequest:
    """The request of a run. Raises `Refused` or `InvalidRequest` if it is no longer valid."""
    return RunRequest(
        analysis=line.analysis,
        model=line.model,
        recipe=DistributionSpec(**line.recipe),
        parameters=line.params,
        seed=line.seed,
        force=force,
    )
