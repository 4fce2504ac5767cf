"""The environment of the app, and models, workers and runs for its pages to show."""

import json
import os
import sys
from uuid import uuid4

import numpy as np
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from analyses import bootstrap
from analyses.prompts import distributions
from analyses.prompts.distributions import DistributionSpec
from analyses.quantities import Quantity
from analyses.results import MODEL, Component, Kind, ScoreKey
from tracker.database.db import transaction
from tracker.domain import Priority
from tracker.domain.run_notes import RunNotes
from tracker.results import ScoreLine
from tracker.store import distributions as distribution_store
from tracker.store import endings, models, parts, publications, runs, scores
from tracker.store import workers as worker_store

from .visiting import MAIN

N_LAYERS, N_HEADS = 3, 4


@pytest.fixture(autouse=True)
def main_module(monkeypatch):
    """Streamlit puts a page in its place, which processes that later tests start would run."""
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])


@pytest.fixture
def settings(sessions, database_url, tmp_path, monkeypatch):
    """The environment that the app reads; its connections are given back afterwards."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("HEADBOOK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    yield os.environ
    st.cache_data.clear()
    st.cache_resource.clear()


@pytest.fixture
def model(sessions):
    def add(name="tiny", ref="/nowhere"):
        with transaction(sessions) as session:
            return models.add_model(
                session,
                name=name,
                ref=str(ref),
                revision="0" * 40,
                dtype="float32",
                fingerprint=uuid4().hex * 2,
                family="llama",
                n_layers=N_LAYERS,
                n_heads=N_HEADS,
                n_kv_heads=2,
                d_model=16,
                d_head=4,
                d_vocab=100,
            )

    return add


@pytest.fixture
def real_model(model, tmp_path):
    """A model whose tokenizer is there, which is all that queueing a run looks at."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    folder = tmp_path / "model"
    folder.mkdir()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({each: number for number, each in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
    (folder / "model.safetensors").touch()
    return model("real", folder)


@pytest.fixture
def queued(sessions, model):
    """A run that waits."""

    def make(of=None, size=8, recipe=None, **asked):
        of = of or model()
        built = distributions.build(DistributionSpec(size=size, **recipe or {}))
        with transaction(sessions) as session:
            return runs.insert_run(
                session,
                fingerprint=uuid4().hex * 2,
                bounds=[(0, size)],
                priority=Priority.NORMAL,
                analysis="attribution",
                analysis_version=1,
                engine_version=1,
                params={"batch_size": 8, "prompts": "all"},
                model_id=of.id,
                distribution_id=distribution_store.add_distribution(session, built),
                seed=0,
                n_prompts=size,
                created_by="somebody",
                **asked,
            )

    return make


@pytest.fixture
def succeeded(sessions, queued):
    """A run with scores of every head; L01.H02 is the strongest."""

    def make(run=None, *, shape=(N_LAYERS, N_HEADS), warnings=(), mlflow=None):
        run = run or queued()
        with transaction(sessions) as session:
            claim = parts.claim(session, run.id, worker="here:1", lease=60)
            endings.finish_part(session, claim, provenance={"torch": "2.13.0", "device": "cpu"})
            claim = parts.claim(session, run.id, worker="here:1", lease=60)
            scores.insert_scores(session, run.id, run.model_id, made_up(run.n_prompts, shape))
            notes = RunNotes(conventions={"position": "the last token"}, warnings=tuple(warnings))
            if mlflow:
                publications.set_mlflow_ids(
                    session,
                    run.id,
                    publications.MlflowIds(experiment_id=mlflow[0], run_id=mlflow[1]),
                )
            endings.finish_run(session, claim, notes=notes)
            return runs.run(session, run.id)

    return make


def made_up(size, shape):
    random = np.random.Generator(np.random.PCG64(0))
    heads = [
        Component(kind=Kind.HEAD, layer=layer, index=index) for layer, index in np.ndindex(shape)
    ]
    mlps = [Component(kind=Kind.MLP, layer=layer) for layer in range(shape[0])]
    ends = [Component(kind=Kind.EMBED), Component(kind=Kind.UNEMBED)]
    bias = [Component(kind=Kind.ATTN_BIAS, layer=layer) for layer in range(shape[0])]
    means = {each: random.normal(0, 0.1) for each in (*heads, *mlps, *ends, *bias)}
    means[Component(kind=Kind.HEAD, layer=1, index=2)] = 2.0
    keys = {ScoreKey(each, Quantity("logit_attribution")): mean for each, mean in means.items()}
    for number, metric in enumerate(("logit_diff", "accuracy", "label_mass", "loss")):
        keys[ScoreKey(MODEL, Quantity(metric))] = 0.2 * (number + 1)
    draws = bootstrap.draw([str(n) for n in range(size)], seed=0, resamples=50)
    values = np.stack([random.normal(mean, 0.05, size) for mean in keys.values()])
    found = bootstrap.statistics(values.astype(np.float32), draws)
    return {
        key: (statistics, vector.astype(np.float32))
        for key, statistics, vector in zip(keys, found, values, strict=True)
    }


@pytest.fixture
def visit(settings):
    """Opens a page of the app, as a browser does with the page's address."""

    def open_page(page="runs", **query):
        at = AppTest.from_file(MAIN, default_timeout=20)
        if page != "runs":
            at.run().switch_page(f"views/{page}.py")
        for name, value in query.items():
            at.query_params[name] = str(value)
        at.run()
        assert not at.exception
        return at

    return open_page


@pytest.fixture
def worker(sessions):
    def seen():
        with transaction(sessions) as session:
            worker_store.seen(session, name="here:1", host="here", pid=1, device="cpu")

    return seen


@pytest.fixture
def score():
    """Makes the score of a head."""

    def score(layer, index, mean):
        return ScoreLine(
            component=Component(kind=Kind.HEAD, layer=layer, index=index),
            quantity=Quantity("logit_attribution"),
            x=0.0,
            n=8,
            skipped=0,
            mean=mean,
            sem=0.1,
            ci_low=None if mean is None else mean - 0.2,
            ci_high=None if mean is None else mean + 0.2,
        )

    return score
