"""The state of the queue: runs by state, and workers. Reads the tables, not the views."""

from tracker.reports.queue_state import QueueState, counts_by_state, queue_state
from tracker.reports.worker_lines import WorkerLine, workers

__all__ = ["QueueState", "WorkerLine", "counts_by_state", "queue_state", "workers"]
