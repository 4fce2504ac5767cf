"""What people look at: lists and details for the command line and the app, read in one go."""

from tracker.reports.distribution_lines import DistributionLine, distributions
from tracker.reports.log_lines import BEGINNING, EVENT, LogLine, RunLog, as_text, run_log
from tracker.reports.queue_state import QueueState, counts_by_state, queue_state
from tracker.reports.run_details import LinkedRun, RunDetail, RunEvent, run_detail
from tracker.reports.run_lines import RunLine, runs
from tracker.reports.score_lines import (
    ScoreLine,
    as_csv,
    as_row,
    scores,
    strongest,
    without_interval,
)
from tracker.reports.worker_lines import WorkerLine, workers

__all__ = [
    "BEGINNING",
    "EVENT",
    "DistributionLine",
    "LinkedRun",
    "LogLine",
    "QueueState",
    "RunDetail",
    "RunEvent",
    "RunLine",
    "RunLog",
    "ScoreLine",
    "WorkerLine",
    "as_csv",
    "as_row",
    "as_text",
    "counts_by_state",
    "distributions",
    "queue_state",
    "run_detail",
    "run_log",
    "runs",
    "scores",
    "strongest",
    "without_interval",
    "workers",
]
