"""Reads runs, logs, distributions and scores from the views of schema `results`."""

from tracker.results.distribution_lines import DistributionLine, distributions
from tracker.results.log_lines import BEGINNING, EVENT, LogLine, RunLog, as_text, run_log
from tracker.results.run_details import LinkedRun, RunDetail, RunEvent, run_detail
from tracker.results.run_lines import RunLine, runs
from tracker.results.score_lines import (
    ScoreLine,
    as_csv,
    as_row,
    scores,
    strongest,
    without_interval,
)

__all__ = [
    "BEGINNING",
    "EVENT",
    "DistributionLine",
    "LinkedRun",
    "LogLine",
    "RunDetail",
    "RunEvent",
    "RunLine",
    "RunLog",
    "ScoreLine",
    "as_csv",
    "as_row",
    "as_text",
    "distributions",
    "run_detail",
    "run_log",
    "runs",
    "scores",
    "strongest",
    "without_interval",
]
