"""How the queue stands: runs by state, and workers. It reads the tables themselves."""

from tracker.reports.queue_state import QueueState, counts_by_state, queue_state
from tracker.reports.worker_lines import WorkerLine, workers

__all__ = ["QueueState", "WorkerLine", "counts_by_state", "queue_state", "workers"]
