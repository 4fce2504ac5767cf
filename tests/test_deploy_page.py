"""docs/deploy.md against the code: variables, times, commands, units."""

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from cluster import PAGE, of_page

from tracker.database import db
from tracker.database.rights import limits
from tracker.publishing import spool_cleanup
from tracker.queueing import broker
from tracker.settings.settings import Settings
from tracker.store import publications, runs
from tracker.supervisor.postgres import ADDRESS_SPACE, SETTINGS
from tracker.working import deadline, unfinished_parts

TEXT = PAGE.read_text()
IN_WORDS = {  # defaults that are no value
    "memory_budget": "half of the free memory",
    "model_cache": "a quarter of memory",
    "only_above": "none",
    "model_roots": "empty",
    "data_roots": "empty",
    "app_url": "that of the local stack",
}
OF_THE_STACK = {
    *("HEADBOOK_APP_PORT", "HEADBOOK_MLFLOW_PORT", "HEADBOOK_POSTGRES_USER"),
    *("HEADBOOK_APP_TOKEN", "HEADBOOK_APP_LOGIN"),
}


def rows(heading: str) -> dict[str, list[str]]:
    """The other cells of a table's rows by their first."""
    section = TEXT.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    cells = [
        [cell.strip() for cell in line.strip("| ").split(" | ")]
        for line in section.splitlines()
        if line.startswith("| ")
    ]
    return {first.strip("`"): others for first, *others in cells[1:]}


def test_every_variable_is_told_with_its_default() -> None:
    told = {name: default.strip("`") for name, (default, _) in rows("Environment").items()}
    expected = {}
    for name, field in Settings.model_fields.items():
        variable = str(field.validation_alias or f"HEADBOOK_{name.upper()}")
        if variable.startswith("HEADBOOK_"):
            expected[variable] = IN_WORDS.get(
                name,
                f"{field.default:g}"
                if isinstance(field.default, float | int)
                else str(field.default),
            )
        else:
            expected[variable] = "the local stack"
    assert {name: default for name, default in told.items() if name not in OF_THE_STACK} == expected
    assert told.keys() >= OF_THE_STACK


def test_the_variables_that_the_stack_alone_reads_are_told() -> None:
    options = Path("tracker/supervisor/options.py")
    read = set(re.findall(r'"(HEADBOOK_\w+)"', (PAGE.parents[1] / options).read_text()))
    assert read - {"HEADBOOK_DEVICE"} == OF_THE_STACK


def test_the_times_are_those_of_the_code() -> None:
    lease, reap = (Settings.model_fields[f"{name}_seconds"].default for name in ("lease", "reap"))
    said = {what: others[0] for what, others in rows("Time").items()}
    limits = {name: value.removesuffix("s") for name, value in db.LIMITS.items()}
    for what, value in {
        "lost worker": f"lease + reap: at most {lease + reap}",
        "cannot renew": f"{deadline.SHARE * lease:g}",
        "makes no progress": f"1, 2, 4 … {runs._LONGEST_WAIT}",
        "publication that failed": f"1, 2, 4 … {publications._LONGEST_WAIT}",
        "waits for MLflow": f"{unfinished_parts._MLFLOW_WAIT:g}",
        "waiting for a lock": f"{limits['transaction_timeout']}, {limits['lock_timeout']}",
        "idle transaction": limits["idle_in_transaction_session_timeout"],
        "retries a transaction": f"{db.PATIENCE:g}",
        "timeout for the broker": str(broker._REDIS["socket_timeout"]),
        "spool keeps": f"{spool_cleanup.KEPT:g}",
    }.items():
        (found,) = [seconds for row, seconds in said.items() if what in row]
        assert found == value, what


def test_the_limits_of_readers_are_those_of_the_code() -> None:
    section = TEXT.split("| limit of a reader |", 1)[1].split("\n\n", 1)[0]
    said = dict(re.findall(r"^\| ([^|]+?) \| (\d+) ", section, re.MULTILINE))
    limit = {name: value.removesuffix("s") for name, value in limits.SETTINGS.items()}
    reserved = int(SETTINGS["reserved_connections"]) + 3  # of the superuser
    assert said == {
        "connections of `headbook_reader`": str(limits.CONNECTIONS),
        "connections of all readers together": str(int(SETTINGS["max_connections"]) - reserved),
        "a statement": limit["statement_timeout"],
        "a transaction": limit["transaction_timeout"],
        "an idle transaction": limit["idle_in_transaction_session_timeout"],
        "an idle session": limit["idle_session_timeout"],
        "temporary files of a session": limits.TEMP_FILES.removesuffix("MB"),
        "memory of a session": str(ADDRESS_SPACE // 2**20),
    }


def test_the_unit_is_one_that_systemd_takes(tmp_path: Path) -> None:
    unit = of_page("ini")
    parsed = configparser.RawConfigParser(strict=True)
    parsed.optionxform = str  # type: ignore[assignment,method-assign]
    parsed.read_string(unit)
    assert parsed["Service"]["KillMode"] == "mixed"
    assert parsed["Service"]["Restart"] == "always"
    verify = shutil.which("systemd-analyze")
    if verify is None:
        pytest.skip("systemd-analyze is not here")
    file = tmp_path / "headbook-worker@.service"
    file.write_text(unit.replace("/opt/headbook/bin/headbook", "/bin/true"))
    instance = tmp_path / "headbook-worker@0.service"
    instance.symlink_to(file)
    done = subprocess.run((verify, "verify", str(instance)), capture_output=True, text=True)
    about_it = [line for line in done.stderr.splitlines() if "headbook" in line]
    assert (about_it, done.returncode) == ([], 0)
