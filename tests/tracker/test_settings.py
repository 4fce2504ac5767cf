"""The environment is read once, and says what is missing."""

import os
from pathlib import Path

import psutil
import pytest

from tracker.home.home import Home, StackState
from tracker.settings.settings import (
    BadEnvironment,
    NoBroker,
    NoDatabase,
    NoTrackingServer,
    Settings,
)


def state(pid: int, started: float) -> StackState:
    return StackState(
        pid=pid,
        started=started,
        database_url="postgresql+psycopg://worker@/headbook",
        broker_url="redis+socket:///run/valkey.sock",
        mlflow_tracking_uri="http://127.0.0.1:5000",
        app_url="http://127.0.0.1:8501",
        owner_url="postgresql+psycopg://owner@/headbook",
    )


def test_without_a_stack_or_a_url_the_way_out_is_named(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    for ask, error, variable in (
        (settings.database, NoDatabase, "DATABASE_URL"),
        (settings.broker, NoBroker, "CELERY_BROKER_URL"),
        (settings.tracking, NoTrackingServer, "MLFLOW_TRACKING_URI"),
    ):
        with pytest.raises(error, match=f"headbook up.*{variable}"):
            ask()


def test_the_stack_on_the_home_is_found_and_a_given_url_goes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    me = psutil.Process()
    Home(tmp_path).write_state(state(me.pid, me.create_time()))
    assert Settings(home=tmp_path).database() == "postgresql+psycopg://worker@/headbook"
    assert Settings(home=tmp_path).owner_database() == "postgresql+psycopg://owner@/headbook"
    monkeypatch.setenv("DATABASE_URL", "postgres://me@db/mine")
    assert Settings(home=tmp_path).database() == "postgresql+psycopg://me@db/mine"
    assert Settings(home=tmp_path).owner_database() == "postgresql+psycopg://me@db/mine"


def test_a_stale_state_file_is_no_stack_even_when_its_pid_lives(tmp_path: Path) -> None:
    Home(tmp_path).write_state(state(os.getpid(), started=1.0))
    assert Home(tmp_path).running() is None


def test_the_state_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.write_state(state(1, 1.0))
    assert home.state_file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", ["model_roots", "data_roots"])
def test_roots_are_a_path_list(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(f"HEADBOOK_{name.upper()}", "/models:/more models")
    assert getattr(Settings(), name) == (Path("/models"), Path("/more models"))


def test_a_memory_budget_is_a_size_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().memory_budget is None
    monkeypatch.setenv("HEADBOOK_MEMORY_BUDGET", "300MB")
    assert Settings().memory_budget == 300_000_000
    monkeypatch.setenv("HEADBOOK_MEMORY_BUDGET", "much")
    with pytest.raises(BadEnvironment, match="HEADBOOK_MEMORY_BUDGET is 'much'"):
        Settings()


def test_a_lease_that_does_not_outlast_two_heartbeats_is_refused() -> None:
    with pytest.raises(
        BadEnvironment,
        match=r"HEADBOOK_HEARTBEAT_SECONDS is .*HEADBOOK_LEASE_SECONDS=8 must outlast two",
    ):
        Settings(lease_seconds=8)
