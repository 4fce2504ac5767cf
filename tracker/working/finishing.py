"""The end of a run: puts the vectors of its parts together, and stores scores and tensors."""

from collections.abc import Iterable, Mapping
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from analyses import bootstrap, registry
from analyses.bootstrap import Statistics
from analyses.errors import Refused
from analyses.knowledge import KNOWN
from analyses.quantities import NOTHING
from analyses.registry import Analysis, Params
from analyses.results import MODEL, Derived, Measured, NamedTensor, NotANumber, ScoreKey
from analyses.stored import Meanings
from tracker import results
from tracker.database.db import Sessions, patiently, transaction
from tracker.domain import PartClaim, Run
from tracker.domain.run_notes import RunNotes
from tracker.errors import TrackerError
from tracker.publishing import mlflow_runs, spool_cleanup
from tracker.publishing.artifacts import ArtifactStore
from tracker.publishing.mlflow_errors import MlflowUnavailable
from tracker.publishing.mlflow_pause import MlflowPaused
from tracker.publishing.spool import CannotKeep
from tracker.store import distributions, endings, parts, publications, runs, scores, tensors
from tracker.store.parts import LeaseLost
from tracker.store.tensors import StoredTensor
from tracker.working.heartbeat import Beat
from tracker.working.missing_ratios import missing_ratios
from tracker.working.part_tensors import JoinedTensors

Vectors = Mapping[ScoreKey, NDArray[np.float32]]
Scores = dict[ScoreKey, tuple[Statistics, NDArray[np.float32] | None]]

MUTATION = "mutation"  # of the prompts, where it is varied
LEAST_LABEL_MASS = 0.5
LARGEST_NOOP_EFFECT = 0.05  # logits


class NotHere(TrackerError):
    """This worker cannot do the part; another may be able to."""


def analysis_of(run: Run) -> Analysis:
    """The analysis in the version the run was queued for; raises `NotHere`."""
    try:
        analysis = registry.find(run.analysis)
    except (registry.UnknownAnalysis, registry.BrokenPlugin) as error:
        raise NotHere(str(error)) from error
    wanted = run.analysis_version, run.engine_version
    installed = analysis.version, registry.ENGINE_VERSION
    if wanted != installed:
        raise NotHere(
            f"The run was queued for version {wanted[0]} of {run.analysis!r} on engine "
            f"{wanted[1]}; this worker has {installed[0]} on {installed[1]}. Update it, or queue "
            "the run again."
        )
    return analysis


def origin_of(run: Run) -> str:
    """The package of a run's analysis; empty if it is one of ours, or unknown."""
    try:
        return registry.find(run.analysis).origin
    except Refused:
        return ""


def finish(
    claim: PartClaim,
    beat: Beat,
    sessions: Sessions,
    artifacts: ArtifactStore,
    *,
    lease: float,
) -> None:
    """Turn what the parts have measured into the run's scores and tensors, in one transaction.

    While requests to MLflow are paused, a run with tensors waits without a try. Raises
    `MlflowUnavailable` or `CannotKeep` while the tensors cannot be stored.
    """
    with transaction(sessions) as session:
        run = runs.run(session, claim.run_id)
        items = distributions.asked(session, run.distribution_id)
        vectors = scores.joined_part_scores(session, run)
    joined = JoinedTensors(sessions, run, beat)
    analysis = analysis_of(run)
    params = analysis.ask(lambda: analysis.checked(run.params))
    derived = analysis.derive(Measured(scores=vectors, tensors=joined), params)
    derived.check()
    beat(0)
    found = with_statistics(vectors, items, analysis, params, seed=run.seed)
    found |= with_numbers(derived, vectors, items, seed=run.seed)
    found = without_declared(found, analysis)
    _check_finite(found)
    beat(0)

    def commit(session: Session, stored: list[StoredTensor]) -> None:
        parts.fence(session, claim, lease=lease)
        scores.insert_scores(session, run.id, run.model_id, found)
        tensors.insert_tensors(session, run.id, stored)
        endings.finish_run(session, claim, notes=notes(analysis, params, found))

    kept = [name for name in joined if name not in {*derived.used_up, *derived.tensors}]
    try:
        stored: list[StoredTensor] = []
        if kept or derived.tensors:
            # Lazily, since a tensor of the parts is read from the database when it is looked up.
            named = chain(((name, joined[name]) for name in kept), derived.tensors.items())
            with artifacts.pause.after_failure():
                stored = _store_tensors(run, named, beat, sessions, artifacts)
        patiently(sessions, lambda session: commit(session, stored))
    except MlflowPaused:
        raise
    except (LeaseLost, MlflowUnavailable):
        # Our files may have overwritten those that another worker has stored meanwhile.
        patiently(sessions, lambda session: publications.reopen(session, run.id))
        raise


def _check_finite(found: Scores) -> None:
    """Raise `NotANumber` for a mean, or a number derived from means, that is not finite."""
    for key, (stats, _) in found.items():
        if stats.mean is not None and not np.isfinite(stats.mean):
            raise NotANumber(
                f"number {key.quantity.metric!r} of {key.component.label}", stats.mean, None
            )


def with_numbers(derived: Derived, vectors: Vectors, items: list[str], *, seed: int) -> Scores:
    """The numbers derived from all prompts, with intervals over those that any score counts."""
    if not derived.numbers:
        return {}
    draws = bootstrap.draw(items, seed=seed)
    measured = [~np.isnan(each) for key, each in vectors.items() if key != KNOWN]
    counted: NDArray[np.bool_] = np.any(measured, axis=0)
    found = bootstrap.number_statistics(derived.numbers, derived.resampled(draws), counted, draws)
    return {key: (stats, None) for key, stats in found.items()}


def without_declared(found: Scores, analysis: Analysis) -> Scores:
    """The same scores; those that have no interval by declaration of the analysis have none."""
    meanings = Meanings(analysis.stores)
    declared = {key for key in found if (said := meanings.of(key)) and said.no_interval}
    return {
        key: (stats.without_interval if key in declared else stats, values)
        for key, (stats, values) in found.items()
    }


def with_statistics(
    vectors: Vectors, items: list[str], analysis: Analysis, params: Params, *, seed: int
) -> Scores:
    """Each vector with its mean and interval, and the summaries of the analysis."""
    if not vectors:
        return {}
    keys = list(vectors)
    values = np.stack(list(vectors.values()))
    draws = bootstrap.draw(items, seed=seed)
    proportion = [key == KNOWN or analysis.is_proportion(key) for key in keys]
    each = bootstrap.statistics(values, draws, proportion=proportion)
    found: Scores = {key: (stats, vectors[key]) for key, stats in zip(keys, each, strict=True)}
    ratios = analysis.ratios(keys)
    # A summary may divide by any score: those that may be zero are withheld from it.
    unsure = {under for _, under in ratios.values() if _may_be_zero(found[under][0])}
    chosen = [row for row, key in enumerate(keys) if analysis.summarised(key) and key not in unsure]
    summary = bootstrap.summary_statistics(
        lambda means: analysis.summarise(means, params),
        [keys[row] for row in chosen],
        values[chosen],
        draws,
    )
    shares = bootstrap.ratio_statistics(ratios, keys, values, draws)
    return found | {key: (stats, None) for key, stats in (summary | shares).items()}


def _may_be_zero(of: Statistics) -> bool:
    if of.mean is None or of.ci_low is None or of.ci_high is None:
        return True
    return of.ci_low <= 0 <= of.ci_high


def notes(analysis: Analysis, params: Params, found: Scores) -> RunNotes:
    """The conventions behind the numbers, and warnings for readers."""
    means = {key: stats.mean for key, (stats, _) in found.items() if stats.mean is not None}
    warnings = [*_without_labels(params, found), *analysis.warns(means, params)]
    statistics = {key: stats for key, (stats, _) in found.items()}
    measured = [key for key, (_, values) in found.items() if values is not None]
    known = found.get(KNOWN)
    if known is not None and known[0].mean is not None:
        warnings.append(
            f"Only prompts whose answer the model knows count: {round(known[0].mean * known[0].n)} "
            f"of {known[0].n}. The others are skipped."
        )
    return RunNotes(
        conventions={**analysis.conventions, **bootstrap.CONVENTIONS},
        warnings=(
            *warnings,
            *_moving_by_themselves(found),
            *missing_ratios(statistics, analysis.ratios(measured)),
        ),
        headline=analysis.headline,
        scores=tuple(analysis.stores),
    )


def _without_labels(params: Params, found: Scores) -> list[str]:
    """Where the unpatched model often answers with something other than a label."""
    own = "source" if getattr(params, "direction", "") == "denoise" else "base"
    warnings = []
    for key, (stats, _) in found.items():
        varied = key.quantity.varied
        as_it_is = varied in (NOTHING, {"of": own}) or MUTATION in varied
        if (key.component, key.quantity.metric) != (MODEL, "label_mass") or not as_it_is:
            continue
        if stats.mean is not None and stats.mean < LEAST_LABEL_MASS:
            said = f" ({varied.text})" if MUTATION in varied else ""
            warnings.append(
                f"The labels together have a probability of {stats.mean:.2f} on average{said}, "
                f"under {LEAST_LABEL_MASS}: the model often answers with something that is no "
                "label."
            )
    return warnings


def _moving_by_themselves(found: Scores) -> list[str]:
    """Where a replay without any change differs from the recorded run."""
    warnings = []
    for key, (_, values) in found.items():
        if key.quantity.metric != "noop_effect" or values is None or np.isnan(values).all():
            continue
        size = float(np.nanmean(np.abs(values)))
        if size > LARGEST_NOOP_EFFECT:
            varied = key.quantity.varied
            said = f" ({varied.text})" if MUTATION in varied else ""
            warnings.append(
                f"When the final position is computed again with nothing changed, its logit "
                f"difference differs by {size:.2f} on average{said}: by rounding, or because other "
                "experts are chosen. Effects do not include it, but they are those of a slightly "
                "different run. Add the model in float32 to compare."
            )
    return warnings


def _store_tensors(
    run: Run,
    named: Iterable[tuple[str, NamedTensor]],
    beat: Beat,
    sessions: Sessions,
    artifacts: ArtifactStore,
) -> list[StoredTensor]:
    with transaction(sessions) as session:
        detail = results.run_detail(session, run.id)
    ids = mlflow_runs.ensured(sessions, artifacts.mlflow, detail)
    stored = []
    for name, tensor in named:
        beat(0)
        try:
            each = artifacts.put(ids, name, tensor)
        except CannotKeep:
            if not spool_cleanup.sweep(sessions, artifacts.spool, most_bytes=0):
                raise
            each = artifacts.put(ids, name, tensor)
        stored.append(each)
    return stored
