"""Times, durations and states in words."""

from datetime import UTC, datetime

from analyses.plurals import counted
from tracker.domain import Model, ProofState
from tracker.reports import WorkerLine
from tracker.results import RunLine

NO_WORKER = "No worker is running, so queued runs wait. Start one with `headbook worker`."


def moment(at: datetime | None) -> str:
    """A time in UTC, to the second."""
    return "" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def utc(at: datetime) -> datetime:
    """The time in UTC as a naive datetime, which Streamlit's tables expect."""
    return at.astimezone(UTC).replace(tzinfo=None)


def duration(seconds: float | None) -> str:
    """A duration in words: `4.2 s`, `3 min 05 s`, `2 h 10 min`; empty for None."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def progress(line: RunLine) -> str:
    """The progress of a run, with the reason of its state, its attempt and its duration."""
    attempt = f"attempt {line.attempt} of {line.max_attempts}" if line.attempt > 1 else ""
    stopping = "cancellation requested" if line.stopping else ""
    details = filter(None, (stopping, line.reason, attempt, duration(line.seconds)))
    return " · ".join((f"{line.done} of {counted(line.n_prompts, 'prompt')} measured", *details))


def model(of: Model) -> str:
    """The name of a model, followed by the state of its proof unless it is proved."""
    return of.name if of.proof is ProofState.PROVED else f"{of.name} ({of.proof})"


def worker(line: WorkerLine) -> str:
    """The name and device of a worker, and the run that it is working on."""
    activity = f"working on {line.busy_with[:8]}" if line.busy_with else "idle"
    return f"{line.name} on {line.device}, {activity}"
