"""Plugins that misbehave when they are imported: named with the reason, and all else goes on."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import spec_from_file_location
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bad_plugins
import pytest

from analyses.plugins import verdict_cache
from analyses.plugins.discovery import Plugin

pytestmark = [
    pytest.mark.attack(39, "plugins that misbehave when they are imported"),
    pytest.mark.xdist_group("bad plugins"),
    pytest.mark.slow,  # all are tried at once
]

SECONDS = "8"
SHIPPED = {"attention", "attribution", "behaviour", "bases", "patching", "subspace"}


class Installed:
    """A folder of packages, and commands that find them."""

    def __init__(self, folder: Path, seconds: str = SECONDS) -> None:
        self.site = folder / "site"
        self.site.mkdir()
        self.environment = {
            "PYTHONPATH": str(self.site),
            "XDG_CACHE_HOME": str(folder / "cache"),
            "HEADBOOK_HOME": str(folder / "home"),
            "HEADBOOK_PLUGIN_SECONDS": seconds,
            "DATABASE_URL": "",
        }

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "tracker.cli", *words],
            env=os.environ | self.environment,
            capture_output=True,
            text=True,
        )

    def python(self, code: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | self.environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def listed(self) -> Mapping[str, Any]:
        done = self.run("analyses", "list", "--json")
        assert done.returncode == 0, done.stderr
        return {each["name"]: each for each in json.loads(done.stdout)}


@pytest.fixture(scope="module")
def all_at_once(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    made = Installed(tmp_path_factory.mktemp("plugins"))
    bad_plugins.install_all(made.site)
    bad_plugins.install(made.site, "lacks_what_it_names", "", value="lacks_what_it_names:nothing")
    bad_plugins.install(made.site, "names_no_module", "", value="rm -rf / #")
    counting = made.site / "counts.py"
    mark = f"open({str(made.site.parent / 'imports')!r}, 'a').write('.')\n"
    counting.write_text(counting.read_text() + mark)
    return made


@pytest.fixture(scope="module")
def found(all_at_once: Installed) -> Mapping[str, Any]:
    """What the first command finds, which tries them all."""
    return all_at_once.listed()


def imports(installed: Installed) -> int:
    """How often the plugin `counts` was imported."""
    file = installed.site.parent / "imports"
    return len(file.read_text()) if file.exists() else 0


@pytest.mark.parametrize("name", bad_plugins.BROKEN)
def test_a_broken_plugin_is_named_with_the_reason(found: Mapping[str, Any], name: str) -> None:
    assert bad_plugins.BROKEN[name][1] in found[name]["broken"]
    assert found[name]["package"] == f"{name} 1.0"
    assert found[name]["broken"].isprintable()


@pytest.mark.parametrize("name", bad_plugins.HARMLESS)
def test_what_does_no_harm_is_used(found: Mapping[str, Any], name: str) -> None:
    assert (found[name]["broken"], found[name]["package"]) == (None, f"{name} 1.0")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("lacks_what_it_names", "has no attribute 'nothing'"),
        ("names_no_module", "'rm -rf / #', which is not a module"),
    ],
)
def test_a_declaration_that_names_nothing_costs_that_package_alone(
    found: Mapping[str, Any], name: str, reason: str
) -> None:
    assert reason in found[name]["broken"]


def test_our_own_are_there_whatever_else_is(found: Mapping[str, Any]) -> None:
    assert found.keys() >= SHIPPED
    assert found["attribution"]["function"].startswith("analyses.methods.")
    assert found["attribution"]["package"] is None


def test_of_two_that_register_one_name_none_wins(found: Mapping[str, Any]) -> None:
    assert "twice" not in found
    for name in ("rival_a", "rival_b"):
        assert "'rival_a' of rival_a 1.0 (rival_a:twice)" in found[name]["broken"]
        assert "'rival_b' of rival_b 1.0 (rival_b:twice)" in found[name]["broken"]


def test_a_person_sees_them_apart_from_the_table(
    all_at_once: Installed, found: Mapping[str, Any]
) -> None:
    done = all_at_once.run("analyses", "list")
    assert done.returncode == 0
    assert "NOISE" not in done.stdout
    assert "The plugin 'raises' of the package raises 1.0 is not used" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [("show",), ("docs",)])
def test_a_broken_one_is_refused_with_its_reason(
    all_at_once: Installed, found: Mapping[str, Any], words: tuple[str, ...]
) -> None:
    done = all_at_once.run("analyses", *words, "raises")
    assert done.returncode == 1
    assert "Analysis 'raises' is not available" in done.stderr
    assert "no luck" in done.stderr


def test_one_that_two_bring_is_refused_with_both_names(
    all_at_once: Installed, found: Mapping[str, Any]
) -> None:
    done = all_at_once.run("submit", "twice", "--model", "m", "--distribution", "facts")
    assert done.returncode == 1
    assert "rival_a 1.0" in done.stderr
    assert "rival_b 1.0" in done.stderr


def test_a_plugin_is_tried_once_and_only_imported_where_it_is_asked_for(
    all_at_once: Installed, found: Mapping[str, Any]
) -> None:
    before = imports(all_at_once)
    assert before >= 2  # in a trial, and by the command
    all_at_once.python("from analyses import registry; registry.find('counts')")
    assert imports(all_at_once) == before + 1
    for code in (
        "from analyses import registry; registry.find('behaviour')",
        "from analyses import registry; registry.find('prints')",
        "from analyses import registry; registry.broken()",
        "from analyses.plugins.discovery import packages; assert 'counts' in packages()",
    ):
        all_at_once.python(code)
    for words in (("--help",), ("analyses", "docs"), ("analyses", "show", "patching")):
        assert all_at_once.run(*words).returncode == 0
    assert imports(all_at_once) == before + 1


def test_what_a_plugin_changes_of_the_process_is_put_back(
    all_at_once: Installed, found: Mapping[str, Any]
) -> None:
    looks = """
import gc, locale, logging, os, random, socket, sys, warnings
import numpy as np
from analyses import registry
registry.broken()  # the trials need no random numbers of this process
def look():
    mask = os.umask(0o77)
    os.umask(mask)
    return (os.getcwd(), dict(os.environ), mask, sys.stdout, sys.excepthook,
            sys.getrecursionlimit(), logging.root.manager.disable, list(logging.root.handlers),
            list(warnings.filters), locale.setlocale(locale.LC_ALL), random.getstate(),
            str(np.random.get_state()), np.geterr(), socket.getdefaulttimeout(), gc.isenabled())
path, before = list(sys.path), look()
assert registry.find("changes_the_process").origin == "changes_the_process 1.0"
assert look() == before
assert sys.path == [*path, "/elsewhere"]
"""
    all_at_once.python(looks)


SECOND_TIME = """
import os, sys, time
if "HEADBOOK_PLUGIN_TRIAL" not in os.environ:
    {misbehave}
"""


@pytest.mark.parametrize(
    ("misbehave", "reason"),
    [
        ("raise OSError('not here')", "raised OSError('not here')"),
        ("sys.exit(0)", "called sys.exit(0)"),
        ("raise GeneratorExit", "raised GeneratorExit()"),
        ("time.sleep(1e6)", "did not return within 5 s"),
        ("while True: pass", "did not return within 5 s"),
    ],
    ids=["raises", "exits", "ends", "sleeps", "spins"],
)
def test_one_that_was_good_in_its_trial_alone_is_isolated_too(
    tmp_path: Path, misbehave: str, reason: str
) -> None:
    installed = Installed(tmp_path, seconds="5")
    source = SECOND_TIME.format(misbehave=misbehave) + bad_plugins.ANALYSIS.format(name="later")
    bad_plugins.install(installed.site, "later", source)
    found = installed.listed()
    assert f"its trial succeeded, but in this process it {reason}" in found["later"]["broken"]
    assert found.keys() >= SHIPPED


def test_a_plugin_that_was_mended_is_used_and_one_that_broke_is_known_by_its_analyses(
    tmp_path: Path,
) -> None:
    installed = Installed(tmp_path)
    bad_plugins.install(installed.site, "changing", "raise ValueError('not yet')")
    assert "not yet" in installed.listed()["changing"]["broken"]
    good = bad_plugins.ANALYSIS.format(name="hopeful")
    (installed.site / "changing.py").write_text(good)
    assert installed.listed()["hopeful"]["broken"] is None
    (installed.site / "changing.py").write_text("raise ValueError('no more')")
    refused = installed.run("submit", "hopeful", "--model", "m", "--distribution", "facts")
    assert refused.returncode == 1
    assert "Analysis 'hopeful' is not available" in refused.stderr
    assert "no more" in refused.stderr


def test_a_change_of_an_editable_install_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its modules lie beside no path: a finder of its own, as setuptools writes it, knows them."""
    source = tmp_path / "editable_analyses.py"
    source.write_text("")
    finder = SimpleNamespace(
        find_spec=lambda name, *_: (
            spec_from_file_location(name, source) if name == source.stem else None
        )
    )
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, finder])
    plugin = Plugin(name="editable", value=source.stem, distribution="editable 1.0")
    before = verdict_cache._state(plugin)
    source.write_text("# an analysis more")
    assert verdict_cache._state(plugin) != before


def test_a_cache_that_others_may_write_to_is_not_believed(tmp_path: Path) -> None:
    installed = Installed(tmp_path)
    bad_plugins.install(installed.site, "sly", "raise ValueError('no luck')")
    assert "no luck" in installed.listed()["sly"]["broken"]
    (kept,) = (tmp_path / "cache" / "headbook" / "plugins").iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    forged = json.loads(kept.read_text()) | {"reason": "", "names": {"sly": "sly:sly"}}
    kept.write_text(json.dumps(forged))
    kept.parent.chmod(0o777)
    assert "no luck" in installed.listed()["sly"]["broken"]


def test_packages_that_build_on_one_another_are_both_used(tmp_path: Path) -> None:
    installed = Installed(tmp_path)
    bad_plugins.install(installed.site, "below", bad_plugins.ANALYSIS.format(name="below"))
    above = "import below as _\n" + bad_plugins.ANALYSIS.format(name="above")
    bad_plugins.install(installed.site, "above", above)
    asked = "from analyses import registry; print(registry.find({!r}).origin)"
    both = f"{asked.format('above')}; {asked.format('below')}"
    assert installed.python(both).split("\n")[:2] == ["above 1.0", "below 1.0"]
