"""A plugin that misbehaves when it is used: its run ends with a reason that names it, alone."""

import gc
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import bad_plugins
import numpy as np
import pytest
import torch
from stored_runs import detail, vectors
from wayward_plugin import WAYWARD

from analyses import registry
from analyses.plugins import answers, discovery
from analyses.plugins.loading import PluginAnalyses
from tracker.domain import RunState
from tracker.queueing.submission import InvalidRequest
from tracker.results import RunLine
from tracker.working.context import WorkerContext
from tracker.working.execution import work

from .conftest import Submit

pytestmark = pytest.mark.attack(39, "plugins that misbehave when they are used")

PACKAGE = "the package wayward 1.0"
FAILS = {  # what it does where, and a part of the reason that its run has
    "measure:raises": "ended with ZeroDivisionError: division by zero",
    "measure:exits": "called sys.exit(0)",
    "measure:interrupts": "raised KeyboardInterrupt()",
    "measure:ends": "raised GeneratorExit()",
    "measure:nothing": "returned a NoneType, not a Measured",
    "measure:number": "returned a int, not a Measured",
    "measure:text": "returned a str, not a NamedTensor",
    "measure:unkeyed": "under 'one', which is not a ScoreKey",
    "measure:endless_map": "more than 1000 scores",
    "measure:escapes": r"'\x1b[31mred' in its name",
    "measure:calculates": "'=1+1' in its name",
    "measure:long": "in its name, which may have up to 200",
    "measure:deep": "the invalid layer and index (1000000000, 0)",
    "measure:far": "a score at x = inf",
    "summarise:raises": "ended with ZeroDivisionError",
    "summarise:exits": "called sys.exit(0)",
    "summarise:nothing": "`summarise` of the analysis returned a NoneType, not a Mapping",
    "summarise:not_finite": "returned nan for number 'odd' of MODEL",
    "summarise:no_number": "returned 'many' as the 'odd', which is not a number",
    "summarise:endless_map": "more than 1000 scores",
    "summarise:escapes": r"'\x1b[31mred' in its name",
    "derive:exits": "called sys.exit(0)",
    "derive:unkeyed": "returned a dict, not a Derived",
    "warns:endless": "`warns` of the analysis returned more than 100 warnings",
    "warns:text": "`warns` of the analysis returned a str, not a list of them",
    "warns:number": "`warns` of the analysis returned a int, not a Iterable",
    "warns:interrupts": "raised KeyboardInterrupt()",
    "ratios:unknown": "for 'share', not two of the run's scores",
    "ratios:exits": "called sys.exit(0)",
    "ratios:number": "`ratios` of the analysis returned a int, not a Mapping",
}
SUCCEEDS = ("measure:changes", "measure:says", "measure:forks", "derive:resampling", "draw:exits")
REFUSED = {  # when a run is to be queued
    "validator:raises": "raised ZeroDivisionError",
    "validator:exits": "called sys.exit(0)",
    "check:interrupts": "raised KeyboardInterrupt()",
    "check:ends": "raised GeneratorExit()",
    "places:raises": "raised ZeroDivisionError",
    "needs:number": "raised TypeError",
    "needs:exits": "called sys.exit(0)",
    "companions:raises": "raised ZeroDivisionError",
}


@pytest.fixture(scope="module")
def wayward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The plugin is installed, for this process too."""
    folder = tmp_path_factory.mktemp("wayward")
    bad_plugins.install(folder, "wayward", WAYWARD)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        patch.setattr(registry, "_PLUGINS", PluginAnalyses(registry.imported, registry._as_brought))
        discovery.packages.cache_clear()
        assert registry.find("wayward").origin == "wayward 1.0"
        yield
    discovery.packages.cache_clear()
    del sys.modules["wayward"]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "MOST_SCORES", 1000)


def worked_on(submit: Submit, bench: WorkerContext, ways: Any) -> dict[str, RunLine]:
    """How runs have ended that were queued and worked on together, by what was done in them."""
    queued = {
        way: submit(analysis="wayward", params={"way": way}, prompts_per_part=8).run.id
        for way in ways
    }
    work(bench, hint=None)
    return {way: detail(bench.sessions, each).line for way, each in queued.items()}


def test_what_a_plugin_does_wrong_ends_its_run_with_a_reason_that_names_it(
    submit: Submit, bench: WorkerContext, wayward: None, few: None
) -> None:
    ours = submit().run
    ended = worked_on(submit, bench, FAILS)
    said = {way: str(line.reason) for way, line in ended.items()}
    assert {way: text for way, text in said.items() if FAILS[way] not in text} == {}
    assert {way: text for way, text in said.items() if PACKAGE not in text} == {}
    assert {line.state for line in ended.values()} == {RunState.FAILED}
    assert all(text.isprintable() for text in said.values())
    assert detail(bench.sessions, ours.id).line.state is RunState.SUCCEEDED


def process() -> tuple[object, ...]:
    """What others in this process rely on."""
    return (
        *(os.getcwd(), dict(os.environ), sys.stdout, random.getstate(), gc.isenabled()),
        *(str(np.random.get_state()), torch.get_default_dtype(), torch.is_grad_enabled()),
        *(str(torch.get_rng_state()), os.getpid()),
    )


def test_what_a_plugin_changes_while_it_measures_is_put_back(
    submit: Submit,
    bench: WorkerContext,
    wayward: None,
    few: None,
    capfd: pytest.CaptureFixture[str],
) -> None:
    path, before = list(sys.path), process()
    ended = worked_on(submit, bench, SUCCEEDS)
    assert process() == before
    assert sys.path == [*path, "/elsewhere"]
    sys.path.remove("/elsewhere")
    assert {way: (line.state, line.published) for way, line in ended.items()} == dict.fromkeys(
        SUCCEEDS, (RunState.SUCCEEDED, True)
    )
    for line in ended.values():
        ((_, ones),) = vectors(bench.sessions, line.id).items()
        assert list(ones) == [1.0] * 8


@pytest.mark.parametrize("way", REFUSED)
def test_what_it_does_wrong_when_a_run_is_queued_refuses_that_run(
    submit: Submit, wayward: None, way: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        submit(analysis="wayward", params={"way": way})
    assert REFUSED[way] in str(refused.value)
    assert PACKAGE in str(refused.value)


@pytest.mark.parametrize("place", ["validator", "check", "needs", "places"])
def test_a_question_that_is_never_answered_is_given_up(
    submit: Submit, wayward: None, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setenv("HEADBOOK_PLUGIN_SECONDS", "0.5")
    with pytest.raises(InvalidRequest, match=f"{PACKAGE} did not return within 0.5 s"):
        submit(analysis="wayward", params={"way": f"{place}:hangs"})
    assert submit().new


def test_a_picture_that_is_never_drawn_costs_the_run_that_picture_alone(
    submit: Submit, bench: WorkerContext, wayward: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "PICTURE_SECONDS", 0.5)
    ended = worked_on(submit, bench, ["draw:hangs"])["draw:hangs"]
    assert (ended.state, ended.published) == (RunState.SUCCEEDED, True)


def test_what_a_plugin_prints_while_it_is_asked_is_no_output(
    submit: Submit, wayward: None, capfd: pytest.CaptureFixture[str]
) -> None:
    submit(analysis="wayward", params={"way": "check:says"})
    printed = capfd.readouterr()
    assert printed.out == ""
    assert printed.err.count("said by the plugin") == 2


ENDED_BY_ANOTHER = """
import os, signal, time
from billiard import common
from analyses.plugins import answers
common.reset_signals(full=True)  # as in a worker's child
def measure():
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)
answers.measuring(measure)()
"""


def test_who_ends_the_process_of_a_worker_is_not_taken_for_the_plugin() -> None:
    """The run is taken up again by another; it does not fail."""
    ended = subprocess.run([sys.executable, "-c", ENDED_BY_ANOTHER], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (256 - 241, "")
