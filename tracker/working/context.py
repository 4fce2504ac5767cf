"""The context of one worker process: connections, limits, loaded models and inputs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from sqlalchemy.orm import Session

from analyses.checkpoints import folders, refs
from analyses.checkpoints.hub import CorruptDownload
from analyses.checkpoints.sizes import n_weights
from analyses.hub import HubUnreachable, NotOnHub
from analyses.language_model import LanguageModel
from analyses.pretrained import DTYPES
from analyses.results import Result
from tracker.database.db import Sessions, patiently, transaction
from tracker.domain import Model
from tracker.home.home import Home
from tracker.publishing.artifacts import ArtifactStore
from tracker.store import models as model_store
from tracker.store import workers
from tracker.working import run_inputs
from tracker.working.finishing import NotHere
from tracker.working.heartbeat import Beat, Limits, StopRequest
from tracker.working.loaded_models import LoadedModels
from tracker.working.run_inputs import InputGone

# Another host may have the model: in another folder, or with another login.
_ONLY_HERE = (
    folders.NoSuchModel,
    folders.OutsideRoots,
    folders.MissingFile,
    HubUnreachable,
    NotOnHub,
    CorruptDownload,
)


@dataclass
class WorkerContext:
    """What one worker process works with; it caches models, and the inputs of one run."""

    name: str
    sessions: Sessions
    aside: Sessions  # for heartbeats and logs, so that a busy pool never costs a lease
    artifacts: ArtifactStore
    home: Home
    roots: Sequence[Path]
    device: str
    limits: Limits = field(default_factory=Limits)
    app_url: str | None = None
    large_runs_only: bool = False  # smaller workers need the GPUs once these are done
    memory_budget: int | None = None  # bytes beside the loaded model; None: a share of free memory
    stop: StopRequest = field(default_factory=StopRequest)
    avoid: dict[UUID, float] = field(default_factory=dict)  # runs, each until a monotonic time
    no_proof_before: float = 0.0  # monotonic; then others have had a try
    loaded: LoadedModels = field(default_factory=LoadedModels)
    inputs: tuple[UUID, Mapping[str, Result]] | None = None  # of one run

    def language_model(self, model: Model) -> LanguageModel:
        """The model in memory, loaded now unless it is there.

        Raises `ModelRefused`, `Refused` and `NotHere`.
        """
        model_store.check_proof(model)
        cached = self.loaded.get(model)
        if cached is not None:
            return cached if self.memory_budget else cached.with_free_memory()
        try:
            files = refs.fetched(model.ref, cache=self.home.models, roots=self.roots)
        except _ONLY_HERE as error:
            raise NotHere(str(error)) from error
        self.loaded.make_room(n_weights(files) * DTYPES[model.dtype].itemsize, self.device)
        loaded = LanguageModel.load(
            files.folder,
            dtype=model.dtype,
            device=self.device,
            expect=model.fingerprint,
            cache=self.home.models,
            memory_budget=self.memory_budget,
        )
        self.loaded.add(model, loaded)
        # Unknown for models added by an older version.
        if None in (model.shapes, model.n_embeddings, model.n_bytes):
            with transaction(self.sessions) as session:
                of = loaded.shape, loaded.limits
                model_store.record_facts(session, model.id, *of, n_bytes=loaded.n_bytes)
        return loaded

    def show(self, *, busy_with: UUID | None) -> None:
        """Record what this worker is busy with, and the models in its memory."""
        used = self.loaded.last_used

        def record(session: Session) -> None:
            workers.works_on(
                session,
                name=self.name,
                run_id=None if busy_with is None else str(busy_with),
                loaded_model=", ".join(self.loaded.names) or None,
                device=None if used is None else str(used.device),
            )

        patiently(self.sessions, record)

    def inputs_of(self, run_id: UUID, beat: Beat) -> Mapping[str, Result]:
        """The results that the run needs, cached for its other parts.

        Raises as `run_inputs.load` does, but `NotHere` for a lost tensor, since another worker may
        have a copy.
        """
        if self.inputs is None or self.inputs[0] != run_id:
            self.inputs = None
            try:
                loaded = run_inputs.load(self.sessions, self.artifacts, run_id, beat)
                self.inputs = run_id, loaded
            except InputGone as error:
                raise NotHere(str(error)) from error
        return self.inputs[1]
