"""What other users of this machine, and the pages of others, get out of our servers: nothing.

MLflow and the app run as the stack starts them. Each attack differs from the others in kind.
"""

import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from http_asking import Answer, Ask, ask, handshake
from mlflow_login import LOGIN, mlflow_at
from second_user import as_other, only_root, shared_folder

from tracker.home.home import Home
from tracker.supervisor import ports, services, waiting
from tracker.supervisor.process import Process
from tracker.supervisor.services import Addresses

from .http_attacks import (
    API,
    BY_OTHER_PAGES,
    EVIL,
    FILES,
    LISTED,
    SIGNED_IN,
    STRANGERS_AT_APP,
    STRANGERS_AT_MLFLOW,
    TOKEN,
)

pytestmark = [
    pytest.mark.attack(35, "requests to MLflow and the app"),
    pytest.mark.xdist_group("requests"),
]

SECRET = "what no request may read"
REFUSED = (400, 401, 403, 404, 405)


@dataclass(frozen=True)
class Servers:
    """Both, the folder in which they keep nothing, and what MLflow holds."""

    home: Home
    elsewhere: Path  # with a file that is nobody's business
    mlflow: int
    app: int
    run: str  # with a file, and links beside it
    planted: str  # a run whose files are elsewhere, from before
    pids: tuple[int, ...]

    def sent(self, asked: Ask, at: str) -> Answer:
        """The request, with what it names filled in."""
        return ask(self.port(at), replace(asked, **self._filled(asked)))

    def port(self, at: str) -> int:
        return self.mlflow if at == "mlflow" else self.app

    def cookie(self, at: str) -> str:
        """What a browser gets for the link with the token."""
        answer = ask(self.port(at), Ask(target=f"/?token={TOKEN}"))
        return (answer.header("set-cookie") or "none=none").partition(";")[0]

    def _filled(self, asked: Ask) -> dict[str, Any]:
        names = {
            "RUN": self.run,
            "PLANTED": self.planted,
            "ELSEWHERE": str(self.elsewhere),
            "MLFLOW_PORT": str(self.mlflow),
            "APP_PORT": str(self.app),
        }
        found = {"target": asked.target, "body": asked.body}
        for name, value in names.items():
            found = {key: text.replace(f"<{name}>", value) for key, text in found.items()}
            asked = replace(
                asked,
                headers={k: v and v.replace(f"<{name}>", value) for k, v in asked.headers.items()},
            )
        return {**found, "headers": asked.headers}


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with shared_folder() as made:
        yield made


@pytest.fixture(scope="module")
def servers(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, database_url: str
) -> Iterator[Servers]:
    """On a home whose folder keeps nobody out, so that what is in it has to."""
    home = Home(folder / "home")
    home.root.mkdir(mode=0o755)
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "secrets.json").write_text(SECRET)
    home.logs.mkdir()
    home.artifacts.mkdir(mode=0o700)
    addresses = Addresses(
        database_url=database_url,
        broker_url="redis://127.0.0.1:9/0",
        mlflow_backend="sqlite:///mlflow.db",
        mlflow_port=(mlflow := ports.free()),
        mlflow_tracking_uri=mlflow_at(mlflow),
        app_port=(app := ports.free()),
        token=TOKEN,
    )
    running = []
    try:
        for service in (services.mlflow_server(home, addresses), services.app(home, addresses)):
            running.append(Process(service.command))
            waiting.until(service.ready, process=running[-1], seconds=120)
        run = with_a_file_and_links(home, mlflow, elsewhere)
        planted = planted_run(home, mlflow, elsewhere)
        pids = tuple(process.pid for process in running)
        yield Servers(home, elsewhere, mlflow, app, run, planted, pids)
    finally:
        for process in running:
            process.stop()


def said_by_programs(port: int, target: str, body: str, method: str = "POST") -> Answer:
    return ask(port, Ask(target=target, method=method, headers=LOGIN.header, body=body))


def made_run(port: int, name: str) -> str:
    """A run of a new experiment, made as workers do."""
    made = said_by_programs(port, f"{API}/experiments/create", f'{{"name": "{name}"}}')
    experiment = re.findall(r'"experiment_id": "(\d+)"', made.body)[0]
    run = said_by_programs(port, f"{API}/runs/create", f'{{"experiment_id": "{experiment}"}}')
    return str(re.findall(r'"run_id": "(\w+)"', run.body)[0])


def with_a_file_and_links(home: Home, port: int, elsewhere: Path) -> str:
    run = made_run(port, "runs with links")
    put = said_by_programs(port, f"{FILES}/1/{run}/artifacts/own.txt", "ours", "PUT")
    assert put.status == 200
    (folder,) = home.artifacts.glob(f"*/{run}/artifacts")
    (folder / "link.txt").symlink_to(elsewhere / "secrets.json")
    (folder / "folder").symlink_to(elsewhere)
    return run


def planted_run(home: Home, port: int, elsewhere: Path) -> str:
    """As if it had been made before anybody looked at where files are."""
    run = made_run(port, "planted")
    with sqlite3.connect(home.root / "mlflow.db") as database:
        place = f"file://{elsewhere}"
        database.execute(
            "UPDATE experiments SET artifact_location = ? WHERE name = 'planted'", (place,)
        )
        database.execute("UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?", (place, run))
    database.close()
    return run


@pytest.mark.parametrize("name", STRANGERS_AT_MLFLOW)
def test_a_stranger_gets_nothing_from_mlflow(servers: Servers, name: str) -> None:
    answer = servers.sent(STRANGERS_AT_MLFLOW[name], "mlflow")
    assert answer.status in REFUSED
    assert_nothing_told(answer)


@pytest.mark.parametrize("name", STRANGERS_AT_APP)
def test_a_stranger_gets_nothing_from_the_app(servers: Servers, name: str) -> None:
    answer = servers.sent(STRANGERS_AT_APP[name], "app")
    assert answer.status in REFUSED
    assert_nothing_told(answer)


def assert_nothing_told(answer: Answer) -> None:
    assert answer.header("set-cookie") is None
    assert answer.header("location") is None
    assert len(answer.body) < 200
    assert not re.search("experiment_id|ours|streamlit|<html", answer.body, re.IGNORECASE)


@pytest.mark.parametrize(("at", "other"), [("mlflow", "app"), ("app", "mlflow")])
def test_a_cookie_of_one_server_is_none_of_another(servers: Servers, at: str, other: str) -> None:
    _, _, value = servers.cookie(other).partition("=")
    name, _, _ = servers.cookie(at).partition("=")
    assert servers.sent(Ask(headers={"Cookie": f"{name}={value}"}), at).status == 401


@pytest.mark.parametrize("name", BY_OTHER_PAGES)
def test_a_page_of_somebody_else_may_not_use_a_cookie(servers: Servers, name: str) -> None:
    at, asked = BY_OTHER_PAGES[name]
    with_cookie = replace(asked, headers={**asked.headers, "Cookie": servers.cookie(at)})
    assert servers.sent(with_cookie, at).status == 403


@pytest.mark.parametrize("at", ["mlflow", "app"])
def test_no_page_of_another_port_frames_ours(servers: Servers, at: str) -> None:
    answer = servers.sent(Ask(headers={"Cookie": servers.cookie(at)}), at)
    assert (answer.status, answer.header("x-frame-options")) == (200, "SAMEORIGIN")


@pytest.mark.parametrize("at", ["mlflow", "app"])
@pytest.mark.parametrize("path", ["//{}", "///{}", "/%2f%2f{}", "/\\{}", "/%5c{}", "/x/..//{}"])
def test_the_link_with_the_token_leads_to_no_other_server(
    servers: Servers, at: str, path: str
) -> None:
    answer = servers.sent(Ask(target=f"{path.format(EVIL)}/?token={TOKEN}"), at)
    location = answer.header("location") or "/"
    assert re.fullmatch(r"/(?![/\\]).*", location)
    assert TOKEN not in location


@pytest.mark.parametrize("name", SIGNED_IN)
def test_who_is_let_in_reaches_no_other_files_and_no_other_server(
    servers: Servers, name: str
) -> None:
    asked = SIGNED_IN[name]
    answer = servers.sent(replace(asked, headers={**LOGIN.header, **asked.headers}), "mlflow")
    assert SECRET not in answer.body
    assert answer.status in REFUSED
    assert [each.name for each in servers.elsewhere.iterdir()] == ["secrets.json"]
    assert not list(servers.home.root.rglob("new.txt"))


def test_the_query_of_the_pages_lists_no_other_folder(servers: Servers) -> None:
    for run, listed in ((servers.run, ["own.txt"]), (servers.planted, [])):
        query = LISTED.replace("<OF>", run)
        answer = said_by_programs(servers.mlflow, "/graphql", query)
        assert re.findall(r'"path": ?"([^"]*)"', answer.body) == listed, answer.body


def test_a_folder_is_listed_without_its_links(servers: Servers) -> None:
    target = f"{API}/artifacts/list?run_id={servers.run}"
    answer = ask(servers.mlflow, Ask(target=target, headers=LOGIN.header))
    assert re.findall(r'"path": "([^"]*)"', answer.body) == ["own.txt"]


def test_the_cookie_of_the_link_opens_pages_and_stream(servers: Servers) -> None:
    for at in ("mlflow", "app"):
        cookie = servers.cookie(at)
        assert servers.sent(Ask(headers={"Cookie": cookie}), at).status == 200
        assert TOKEN not in cookie
    own = f"http://127.0.0.1:{servers.app}"
    stream = handshake("/_stcore/stream", Cookie=servers.cookie("app"), Origin=own)
    assert servers.sent(stream, "app").status == 101


def test_the_cookie_is_kept_from_scripts_and_the_token_from_the_next_server(
    servers: Servers,
) -> None:
    answer = ask(servers.app, Ask(target=f"/run?id=1&token={TOKEN}&tab=logs"))
    assert (answer.status, answer.header("location")) == (303, "/run?id=1&tab=logs")
    assert answer.header("referrer-policy") == "no-referrer"
    assert answer.header("cache-control") == "no-store"
    said = (answer.header("set-cookie") or "").lower()
    assert "httponly" in said
    assert "samesite=lax" in said


def test_what_is_open_to_all_says_nothing(servers: Servers) -> None:
    assert servers.sent(Ask(target="/health"), "mlflow").body == "OK"
    assert servers.sent(Ask(target="/_stcore/health"), "app").body == "ok"


def test_files_of_mlflow_are_its_users_alone(servers: Servers) -> None:
    made = [servers.home.root / "mlflow.db", *servers.home.artifacts.rglob("*")]
    modes = {path: path.lstat().st_mode & 0o077 for path in made if not path.is_symlink()}
    assert len(modes) >= 4
    assert not any(modes.values())


@only_root
def test_another_user_reads_neither_a_file_nor_the_secrets_of_a_process(servers: Servers) -> None:
    files = [path for path in servers.home.root.rglob("*") if path.is_file()]
    secret = [Path(f"/proc/{pid}/environ") for pid in servers.pids]
    assert {"mlflow.db", "own.txt", "mlflow.log", "app.log"} <= {path.name for path in files}
    assert all(TOKEN in path.read_text() for path in secret)
    with as_other():
        stolen = Ask(target="/get-artifact?path=secrets.json&run_uuid=<PLANTED>")
        assert servers.sent(stolen, "mlflow").status == 401
        assert [path for path in (*files, *secret) if readable(path)] == []


def readable(path: Path) -> bool:
    try:
        path.read_bytes()
    except OSError:  # not allowed, or ended meanwhile
        return False
    return True


def test_no_log_and_no_argument_holds_a_secret(servers: Servers) -> None:
    """After all of the above, tokens in addresses included."""
    said = "".join(log.read_text(errors="replace") for log in servers.home.logs.iterdir())
    assert said
    for secret in (TOKEN, LOGIN.password, *(servers.cookie(at) for at in ("mlflow", "app"))):
        assert secret not in said
    lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if readable(path)]
    ours = [line for line in lines if str(servers.mlflow).encode() in line]
    assert ours
    assert not [line for line in ours if TOKEN.encode() in line or LOGIN.password.encode() in line]
