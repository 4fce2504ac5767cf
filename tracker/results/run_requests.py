"""The request that a recorded run answers."""

from analyses.prompts.spec import DistributionSpec
from tracker.domain import RunRequest
from tracker.results.run_lines import RunLine


def request_of(line: RunLine, *, force: bool = False) -> RunRequest:
    """The request; raises `Refused` and `InvalidRequest` where it could not be made today."""
    return RunRequest(
        analysis=line.analysis,
        model=line.model,
        recipe=DistributionSpec(**line.recipe),
        parameters=line.params,
        seed=line.seed,
        force=force,
    )
