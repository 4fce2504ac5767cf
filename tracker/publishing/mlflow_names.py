"""Names and values as long as MLflow's columns take them, and no two alike that were not."""

import hashlib
from collections.abc import Mapping

from analyses.shown import plain

RUN_NAME = "mlflow.runName"
USER = "mlflow.user"

KEY = 250  # characters: of params, metrics and tags
DATASET = 500
PARAM = 6000
_TAG = 5000  # 8000 in newer ones
_COLUMNS = {RUN_NAME: 250, USER: 256}  # tags that have a column of their own as well
_HASH = 12


def shortened(text: str, most: int) -> str:
    """The text, or what fits of its two ends with a hash of all of it in between.

    A metric's name may hold letters, digits and `_-. :/` only, so the gap is dots.
    """
    if len(text) <= most:
        return text
    middle = f"..{hashlib.sha256(text.encode()).hexdigest()[:_HASH]}.."
    left = most - len(middle)
    return text[: left - left // 2] + middle + text[len(text) - left // 2 :]


def tags(given: Mapping[str, str]) -> dict[str, str]:
    """Tags that MLflow takes, and shows as they are."""
    return {key: shortened(plain(each), _COLUMNS.get(key, _TAG)) for key, each in given.items()}


def params(given: Mapping[str, str]) -> dict[str, str]:
    """Params that MLflow takes, and shows as they are."""
    return {shortened(key, KEY): shortened(plain(each), PARAM) for key, each in given.items()}
