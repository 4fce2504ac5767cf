"""The form goes on among plugins that misbehave, and says which are not used."""

import sys

import bad_plugins
import pytest
from wayward_plugin import WAYWARD

from analyses import registry
from analyses.plugins.loading import PluginAnalyses

from .visiting import words


@pytest.fixture
def plugins(tmp_path, monkeypatch):
    """Some that are broken, one that misbehaves when it is asked, all at once."""
    site = tmp_path / "site"
    site.mkdir()
    bad_plugins.install_all(site, ("raises", "leaves", "sleeps", "says_escapes"))
    bad_plugins.install(site, "wayward", WAYWARD)
    bad_plugins.install(
        site, "odd_form", bad_plugins.ANALYSIS.format(name="odd_form") + ODD.format(name="odd_form")
    )
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HEADBOOK_PLUGIN_SECONDS", "10")
    monkeypatch.setattr(
        registry, "_PLUGINS", PluginAnalyses(registry.imported, registry._as_brought)
    )
    registry.broken()  # a page waits for no trial in this test
    yield
    for name in ("wayward", "odd_form"):
        sys.modules.pop(name, None)


ODD = """
import os
if "HEADBOOK_PLUGIN_TRIAL" not in os.environ:
    times = []
    def schema(*_, **__):
        times.append(1)
        return dict(properties=dict()) if len(times) == 1 else os.sys.exit(0)
    {name}_params.model_json_schema = schema
"""


def test_the_form_is_there_and_says_which_plugins_are_not_used(visit, model, worker, plugins):
    model()
    worker()
    at = visit("queue_form", analysis="attribution")
    assert not at.error
    (unused,) = [each for each in at.expander if each.label == "4 plugins not used"]
    said = words(unused.text)
    assert "The plugin 'raises' of the package raises 1.0 is not used" in said
    assert "it did not return within 10 s" in said
    assert "\x1b" not in said
    assert at.number_input(key="attribution.batch_size").value


def test_one_that_fails_when_the_form_asks_costs_its_own_form_alone(visit, model, worker, plugins):
    model()
    worker()
    at = visit("queue_form", analysis="odd_form")
    assert r"'odd\_form' of the package odd\_form 1.0 called sys.exit(0)" in words(at.error)
    (chosen,) = [each for each in at.selectbox if each.label == "Analysis"]
    chosen.set_value("wayward").run()
    assert not at.error
    assert not at.exception
