"""A home in a folder whose name means something else in an address."""

from pathlib import Path

import pytest
from mlflow_login import mlflow_at

from tracker.home.home import Home
from tracker.publishing import publication
from tracker.supervisor import ports, services, waiting
from tracker.supervisor.process import Process
from tracker.supervisor.services import Addresses
from tracker.supervisor.stack import SQLITE


@pytest.mark.servers
def test_mlflow_keeps_everything_in_a_home_of_any_name(tmp_path: Path) -> None:
    """`%20` is no space in it, and `?` and `#` end no path."""
    home, port = Home(tmp_path / "a b%20c#d?é"), ports.free()
    home.logs.mkdir(parents=True)
    home.artifacts.mkdir()
    addresses = Addresses(
        database_url="",
        broker_url="",
        mlflow_backend=SQLITE,
        mlflow_port=port,
        mlflow_tracking_uri=mlflow_at(port),
        app_port=0,
    )
    service = services.mlflow_server(home, addresses)
    process = Process(service.command)
    try:
        waiting.until(service.ready, process=process, seconds=120)
        client = publication.mlflow_client(mlflow_at(port))
        run = client.create_run(client.create_experiment("odd"))
        client.log_text(run.info.run_id, "kept", "some/a b.txt")
    finally:
        process.stop()
    assert list(tmp_path.iterdir()) == [home.root]
    assert (home.root / "mlflow.db").is_file()
    (kept,) = home.artifacts.rglob("a b.txt")
    assert kept.read_text() == "kept"
