"""The Python client: what the command does with runs and their scores, for programs and notebooks.

Runs and scores are in Postgres; `tensor` alone asks MLflow too. What a person can put right is
raised as a `TrackerError` with the sentence that the command prints.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, overload
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from headbook.missing import explained
from tracker import results
from tracker.database import db
from tracker.database.db import BusyDatabase, transaction
from tracker.domain import RunState
from tracker.domain.grid import Grid
from tracker.domain.request import RunRequest
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

Run = RunLine | UUID | str  # a run, its id, or how its id begins

_LOOK_EVERY = 0.3  # seconds
_OUTAGE = 300.0  # seconds that `wait` goes on while the database is away
_BUSY = 30.0  # seconds that a change is tried again while the database is busy


class NotEnded(TrackerError, TimeoutError):
    def __init__(self, runs: Sequence[RunLine], seconds: float) -> None:
        named = ", ".join(f"{run.id} ({run.state})" for run in runs[:3])
        more = f" and {len(runs) - 3} more" if len(runs) > 3 else ""
        super().__init__(
            f"After {seconds:g} s these runs have not ended: {named}{more}. They go on; wait for "
            "them again, or look at `headbook status` where nothing moves."
        )


class NoTensor(TrackerError):
    def __init__(self, run: UUID, name: str, known: Sequence[str]) -> None:
        super().__init__(
            f"Run {run} has no tensor {name!r}. Its tensors: {', '.join(known) or 'none'}."
        )


def connect(database_url: str | None = None, home: str | Path | None = None) -> "Client":
    """A client of the stack that runs on this machine, or of another database.

    >>> with headbook.connect() as client:
    ...     newest = client.runs(limit=5)
    """
    return Client(database_url, home)


class Client:
    """Queues runs, follows them, and reads what they measured.

    Without arguments it finds its database as the command does: by `DATABASE_URL`, or by the stack
    that runs on `HEADBOOK_HOME`, `.headbook` below the working directory where that is not set.
    Raises `NoDatabase` where there is none. Nothing is sent before the first request.
    """

    def __init__(self, database_url: str | None = None, home: str | Path | None = None) -> None:
        given = {"DATABASE_URL": database_url, "home": home}
        self._settings = Settings(**{name: each for name, each in given.items() if each})
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
        """Queue a run, or several of them, all or none; a run that stands for a request is found.

        Runs that a run needs are queued before it. Raises `InvalidRequest`, which names what was
        wrong, before anything is written.

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
        return self._submitted(request.expand() if isinstance(request, Grid) else request)

    def retry(self, run: Run) -> RunLine:
        """Queue again what a run was asked to do, if it failed or was cancelled.

        A run that has not ended, or has succeeded, is the answer itself; submit its request with
        `force` to run it once more all the same.

        >>> cancelled = client.cancel(client.submit(request))
        >>> client.retry(cancelled).state.value
        'queued'
        """
        return self.submit(request_of(self.run(run)))

    def runs(
        self, *, states: Sequence[RunState] = (), analysis: str | None = None, limit: int = 50
    ) -> list[RunLine]:
        """The newest runs, the newest first; no `states` means every state.

        >>> [run.analysis for run in client.runs(states=[headbook.RunState.SUCCEEDED])]
        ['attribution']
        """
        with transaction(self._sessions) as session:
            return results.runs(session, states=states, analysis=analysis, limit=limit)

    def run(self, run: Run) -> RunLine:
        """The run as it is now, by its id or how that begins.

        >>> client.run(str(run.id)[:8]).n_prompts
        8
        """
        return self._lines([self._id(run)])[0]

    def wait(self, run: Run, *, timeout: float | None = None) -> RunLine:
        """The run once it has ended, in whichever state: look at `state` and `reason`.

        Raises `NotEnded` after `timeout` seconds. A database that is away is waited for.

        >>> client.wait(run, timeout=600).state.value
        'succeeded'
        """
        return self.wait_all([run], timeout=timeout)[0]

    def wait_all(self, runs: Sequence[Run], *, timeout: float | None = None) -> list[RunLine]:
        """The runs once all of them have ended, in their order; as `wait`."""
        ids = [self._id(run) for run in runs]
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            seen = db.repeated(lambda: self._lines(ids), seconds=_OUTAGE)
            open_ = [line for line in seen if not line.ended]
            if not open_:
                return seen
            if end is not None and time.monotonic() >= end:
                raise NotEnded(open_, timeout or 0)
            time.sleep(_LOOK_EVERY)

    def cancel(self, run: Run) -> RunLine:
        """Ask a run to stop, and with it those that need it; one that has ended stays as it is.

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
        """Every score of a run with its 95 % interval, a row each; none before it has succeeded.

        >>> scores = client.scores(run)
        >>> heads = scores[scores["kind"] == "head"].sort_values("mean", key=abs, ascending=False)
        >>> heads[["layer", "index", "metric", "n"]].head(2).values.tolist()
        [[3, 7, 'logit_attribution', 8], [3, 0, 'logit_attribution', 8]]
        """
        try:
            import pandas as pd
        except ModuleNotFoundError as error:
            raise explained(error) from None
        with transaction(self._sessions) as session:
            found = results.scores(session, self._id(run))
        return pd.DataFrame([results.as_row(line) for line in found], columns=list(COLUMNS))

    def tensor(self, run: Run, name: str) -> NDArray[np.generic]:
        """A tensor of a run as an array; `NoTensor` names those that there are.

        It is read from MLflow and checked against the hash that Postgres holds, or taken from the
        files of this home.

        >>> prompts, components, labels = client.tensor(run, "label_attribution").shape
        >>> prompts, labels
        (8, 4)
        """
        with transaction(self._sessions) as session:
            run_id = self._id(run)
            stored = {each.name: each for each in tensors.tensors(session, run_id)}
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
            bounds=settings.data_bounds,
        )

        def record() -> list[submission.Submitted]:
            return submission.record(checked, created_by=person, sessions=self._sessions)

        found = db.repeated(record, seconds=_BUSY, again=_is_busy)
        return self._lines([each.run.id for each in found])

    def _id(self, run: Run) -> UUID:
        if isinstance(run, RunLine):
            return run.id
        if isinstance(run, UUID):
            return run
        with transaction(self._sessions) as session:
            return run_store.find_run(session, run).id

    def _lines(self, ids: Sequence[UUID]) -> list[RunLine]:
        with transaction(self._sessions) as session:
            found = {line.id: line for line in results.runs(session, ids=ids, limit=len(ids))}
        for each in ids:
            if each not in found:
                raise run_store.UnknownRun(each)
        return [found[each] for each in ids]


def _is_busy(error: BaseException) -> bool:
    return isinstance(error, BusyDatabase)
