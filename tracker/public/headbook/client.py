"""The Python client: queue runs and read their scores from programs and notebooks.

Runs and scores are read from Postgres; only `tensor` also uses MLflow. Errors that you can fix are
raised as `TrackerError`, with the message that the command prints.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, overload
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from analyses.errors import shown
from headbook.missing import explained
from tracker import results
from tracker.database import db
from tracker.database.db import BusyDatabase, transaction
from tracker.domain import RunState
from tracker.domain.grid import Grid
from tracker.domain.request import InvalidRequest, RunRequest
from tracker.errors import TrackerError
from tracker.home.home import Home
from tracker.publishing.spool import Spool
from tracker.queueing import submission
from tracker.results import RunLine
from tracker.results.run_requests import request_of
from tracker.results.score_lines import COLUMNS
from tracker.settings.settings import Settings, user
from tracker.store import publications, tensors
from tracker.store import runs as run_store

if TYPE_CHECKING:
    import pandas as pd

Run = RunLine | UUID | str  # a run, its id, or a prefix of its id

_POLL_EVERY = 0.3  # seconds
_OUTAGE = 300.0  # seconds for which `wait` retries while the database is unavailable
_BUSY = 30.0  # seconds for which a change is retried while the database is busy


class NotEnded(TrackerError, TimeoutError):
    def __init__(self, runs: Sequence[RunLine], seconds: float) -> None:
        named = ", ".join(f"{run.id} ({run.state})" for run in runs[:3])
        more = f" and {len(runs) - 3} more" if len(runs) > 3 else ""
        super().__init__(
            f"Timed out after {seconds:g} s: these runs have not ended: {named}{more}. They "
            "continue. Wait for them again, or check `headbook status` if they make no progress."
        )


class NoTensor(TrackerError):
    def __init__(self, run: UUID, name: str, known: Sequence[str]) -> None:
        super().__init__(
            f"Run {run} has no tensor {name!r}. Its tensors: {', '.join(known) or 'none'}."
        )


def connect(database_url: str | None = None, home: str | Path | None = None) -> "Client":
    """A client of the stack on this machine, or of another database.

    Raises `NoDatabase` if no database is configured, and `BadDatabaseUrl` if the URL is not valid.

    >>> with headbook.connect() as client:
    ...     newest = client.runs(limit=5)
    """
    return Client(database_url, home)


class NotARequest(InvalidRequest):
    def __init__(self, given: object) -> None:
        super().__init__(
            f"Not a request: {shown(given)}. Give a RunRequest, a list of them, or a Grid."
        )


class UnknownState(TrackerError):
    def __init__(self, name: object) -> None:
        known = ", ".join(RunState)
        super().__init__(f"Unknown state: {shown(name)}. Known states: {known}.")


class Client:
    """Queues runs, waits for them, and reads their scores and tensors.

    By default it finds its database as the command does: from `DATABASE_URL`, or from the stack of
    `HEADBOOK_HOME` (default: `.headbook` in the working directory). Raises `NoDatabase` if there is
    none. It connects on the first request.
    """

    def __init__(self, database_url: str | None = None, home: str | Path | None = None) -> None:
        given = {"DATABASE_URL": database_url, "home": home}
        self._settings = Settings(**{name: value for name, value in given.items() if value})
        self._home = Home(self._settings.home)
        self._sessions = db.connect(self._settings.database())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; the client opens new ones if it is used again."""
        db.close(self._sessions)

    @overload
    def submit(self, request: RunRequest) -> RunLine: ...

    @overload
    def submit(self, request: Grid | Sequence[RunRequest]) -> list[RunLine]: ...

    def submit(self, request: RunRequest | Grid | Sequence[RunRequest]) -> RunLine | list[RunLine]:
        """Queue one run, or several: all or none. An existing run of the same request is returned.

        Runs that a run needs are queued before it. Raises `InvalidRequest`, before anything is
        written, if a request cannot be run.

        >>> request = headbook.RunRequest(
        ...     analysis="attribution", model="mcq-small", recipe={"name": "facts", "size": 12}
        ... )
        >>> client.submit(request).state.value
        'queued'
        >>> grid = headbook.Grid(
        ...     analysis="behaviour", model="mcq-small", recipe={"name": "facts", "size": [8, 16]}
        ... )
        >>> [run.n_prompts for run in client.submit(grid)]
        [8, 16]
        """
        if isinstance(request, RunRequest):
            return self._submitted([request])[0]
        return self._submitted(_several(request))

    def retry(self, run: Run) -> RunLine:
        """Queue a run again if it failed or was cancelled. Returns the new run.

        A run that has not ended or has succeeded is returned unchanged; to repeat it anyway, submit
        its request with `force`.

        >>> cancelled = client.cancel(client.submit(request))
        >>> client.retry(cancelled).state.value
        'queued'
        """
        return self.submit(request_of(self.run(run)))

    def runs(
        self, *, states: Sequence[RunState] = (), analysis: str | None = None, limit: int = 50
    ) -> list[RunLine]:
        """The newest runs, newest first; by default in every state.

        >>> [run.analysis for run in client.runs(states=[headbook.RunState.SUCCEEDED])]
        ['attribution']
        """
        known = [_state(state) for state in states]
        with transaction(self._sessions) as session:
            return results.runs(session, states=known, analysis=analysis, limit=limit)

    def run(self, run: Run) -> RunLine:
        """The current state of a run, by its id or a prefix of it.

        Raises `UnknownRun`, or `AmbiguousRun` if several ids start with the prefix.

        >>> client.run(str(run.id)[:8]).n_prompts
        8
        """
        return self._lines([self._id(run)])[0]

    def wait(self, run: Run, *, timeout: float | None = None) -> RunLine:
        """Wait until a run has ended, in any state: check `state` and `reason`.

        Outages of the database are waited for. Raises `NotEnded` after `timeout` seconds.

        >>> client.wait(run, timeout=600).state.value
        'succeeded'
        """
        return self.wait_all([run], timeout=timeout)[0]

    def wait_all(self, runs: Sequence[Run], *, timeout: float | None = None) -> list[RunLine]:
        """Wait until all of the runs have ended; they are returned in the same order.

        Raises `NotEnded` after `timeout` seconds, as `wait`.
        """
        ids = [self._id(run) for run in runs]
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            lines = db.repeated(lambda: self._lines(ids), seconds=_OUTAGE)
            unfinished = [line for line in lines if not line.ended]
            if not unfinished:
                return lines
            if end is not None and time.monotonic() >= end:
                raise NotEnded(unfinished, timeout or 0)
            time.sleep(_POLL_EVERY)

    def cancel(self, run: Run) -> RunLine:
        """Cancel a run and the runs that need it; a run that has ended does not change.

        >>> client.cancel(client.submit(request)).state.value
        'cancelled'
        """
        run_id = self._id(run)

        def cancel() -> None:
            with transaction(self._sessions) as session:
                run_store.cancel(session, run_id)

        db.repeated(cancel, seconds=_BUSY, again=_is_busy)
        return self.run(run_id)

    def scores(self, run: Run) -> "pd.DataFrame":
        """Every score of a run with its 95 % interval, one per row; empty until the run succeeds.

        The last column, `varied`, is a dict with the values that `condition` has as text.

        >>> scores = client.scores(run)
        >>> heads = scores[scores["kind"] == "head"].sort_values("mean", key=abs, ascending=False)
        >>> heads[["layer", "index", "metric", "n"]].head(2).values.tolist()
        [[3, 7, 'logit_attribution', 8], [3, 0, 'logit_attribution', 8]]
        >>> scores["varied"].iloc[0]  # nothing: one score of each component and metric
        {}
        """
        try:
            import pandas as pd
        except ModuleNotFoundError as error:
            raise explained(error) from None
        with transaction(self._sessions) as session:
            lines = results.scores(session, self._id(run))
        rows = [{**results.as_row(line), "varied": dict(line.quantity.varied)} for line in lines]
        return pd.DataFrame(rows, columns=[*COLUMNS, "varied"])

    def tensor(self, run: Run, name: str) -> NDArray[np.generic]:
        """A tensor of a run as an array.

        It is read from the files of this home or from MLflow, and checked against the hash in
        Postgres. Raises `NoTensor`, which lists the tensors of the run, if there is no such tensor.

        >>> prompts, components, labels = client.tensor(run, "label_attribution").shape
        >>> prompts, labels
        (8, 4)
        """
        with transaction(self._sessions) as session:
            run_id = self._id(run)
            stored = {tensor.name: tensor for tensor in tensors.tensors(session, run_id)}
            ids = publications.mlflow_ids(session, run_id)
        if name not in stored or ids is None:
            raise NoTensor(run_id, name, list(stored))
        try:
            from tracker.publishing import publication
            from tracker.publishing.artifacts import ArtifactStore
        except ModuleNotFoundError as error:
            raise explained(error) from None
        mlflow = publication.mlflow_client(self._settings.tracking())
        artifacts = ArtifactStore(mlflow=mlflow, spool=Spool(self._home.spool))
        return artifacts.get_nearest(ids, stored[name]).values

    def _submitted(self, requests: Sequence[RunRequest]) -> list[RunLine]:
        settings, person = self._settings, user()
        checked = submission.check(
            requests,
            sessions=self._sessions,
            home=self._home,
            roots=settings.model_roots,
            data_roots=settings.data_roots,
            bounds=settings.data_bounds,
        )

        def record() -> list[submission.Submitted]:
            return submission.record(checked, created_by=person, sessions=self._sessions)

        submitted = db.repeated(record, seconds=_BUSY, again=_is_busy)
        return self._lines([each.run.id for each in submitted])

    def _id(self, run: Run) -> UUID:
        if isinstance(run, RunLine):
            return run.id
        if isinstance(run, UUID):
            return run
        with transaction(self._sessions) as session:
            return run_store.find_run(session, run).id

    def _lines(self, ids: Sequence[UUID]) -> list[RunLine]:
        with transaction(self._sessions) as session:
            by_id = {line.id: line for line in results.runs(session, ids=ids, limit=len(ids))}
        for run_id in ids:
            if run_id not in by_id:
                raise run_store.UnknownRun(run_id)
        return [by_id[run_id] for run_id in ids]


def _several(given: Grid | Sequence[RunRequest]) -> Sequence[RunRequest]:
    if isinstance(given, Grid):
        return given.expand()
    if not isinstance(given, Sequence) or not all(isinstance(each, RunRequest) for each in given):
        raise NotARequest(given)
    return given


def _state(name: str) -> RunState:
    try:
        return RunState(name)
    except ValueError:
        raise UnknownState(name) from None


def _is_busy(error: BaseException) -> bool:
    return isinstance(error, BusyDatabase)
