"""Times, durations and states in words."""

from datetime import UTC, datetime

from analyses.plurals import counted
from tracker.domain import Model, ProofState
from tracker.reports import WorkerLine
from tracker.results import RunLine

NO_WORKER = "No worker is up: queued runs wait. Start one with `headbook worker`."


def moment(at: datetime | None) -> str:
    """A time in UTC, to the second."""
    return "" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def utc(at: datetime) -> datetime:
    """The time in UTC without saying so, as Streamlit's tables want it."""
    return at.astimezone(UTC).replace(tzinfo=None)


def duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def standing(line: RunLine) -> str:
    """How far a run is, and why it is where it is."""
    attempt = f"attempt {line.attempt} of {line.max_attempts}" if line.attempt > 1 else ""
    stopping = "asked to stop" if line.stopping else ""
    said = filter(None, (stopping, line.reason, attempt, duration(line.seconds)))
    return " · ".join((f"{line.done} of {counted(line.n_prompts, 'prompt')} measured", *said))


def model(of: Model) -> str:
    """Its name, and that it is not proved where it is not."""
    return of.name if of.proof is ProofState.PROVED else f"{of.name} ({of.proof})"


def worker(line: WorkerLine) -> str:
    doing = f"works on {line.busy_with[:8]}" if line.busy_with else "idle"
    return f"{line.name} on {line.device}, {doing}"
