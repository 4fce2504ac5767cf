"""The MLflow routes that are served: those that workers and MLflow's own pages need.

The server has several hundred others, which read files that a request names, call other servers
and language models, and run commands.
"""

import re

_VERSION_2 = r"/(?:ajax-)?api/2\.0/mlflow/"
_VERSION_3 = r"/(?:ajax-)?api/3\.0/mlflow/"
_FILES = r"/(?:ajax-)?api/2\.0/mlflow-artifacts/artifacts"

_READ = (
    r"/(?:version|get-artifact|favicon\.ico)?",
    r"/static-files/.+",
    _VERSION_2 + r"experiments/(?:get|get-by-name|search)",
    _VERSION_2 + r"runs/get",
    _VERSION_2 + r"artifacts/list",
    _VERSION_2 + r"metrics/get-history(?:-bulk)?(?:-interval)?",
    _VERSION_2 + r"(?:registered-models|model-versions)/(?:get|search)",
    _VERSION_3 + r"(?:server-info|ui-telemetry|workspaces|datasets/search)",
    _VERSION_3 + r"(?:scorers|label-schemas|review-queues)/list",
    _FILES + r"(?:/.+)?",
)
_POSTED = (
    r"/graphql",  # the pages read runs by it
    _VERSION_2 + r"experiments/(?:create|update|delete|restore|search|search-datasets)",
    _VERSION_2 + r"experiments/(?:set|delete)-experiment-tag",
    _VERSION_2 + r"runs/(?:create|update|delete|restore|search|set-tag|delete-tag)",
    _VERSION_2 + r"runs/log-(?:metric|parameter|batch|inputs)",
    _VERSION_2 + r"logged-models/search",
    _VERSION_3 + r"(?:traces/search|traces/metrics|issues/search|datasets/search|ui-telemetry)",
)


def _one_of(paths: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(paths))


_OFFERED = {
    "GET": _one_of(_READ),
    "HEAD": _one_of(_READ),
    "POST": _one_of(_POSTED),
    "PUT": _one_of((_FILES + r"/.+",)),
    "DELETE": _one_of((_FILES + r"/.+",)),
}


def offered(method: str, path: str) -> bool:
    """Whether a request for this route is passed on to MLflow."""
    paths = _OFFERED.get(method)
    return paths is not None and paths.fullmatch(path) is not None
