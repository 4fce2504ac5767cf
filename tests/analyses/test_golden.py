"""No analysis gives other numbers than before under the same version."""

import json

import pytest
from golden import FILE, Shipped

from analyses import registry

GOLDEN = json.loads(FILE.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def shipped() -> Shipped:
    return Shipped()


def test_every_analysis_has_its_numbers() -> None:
    ours = {each.name for each in registry.all_analyses() if each.function.startswith("analyses.")}
    assert set(GOLDEN) == ours


@pytest.mark.xdist_group("golden")
@pytest.mark.parametrize("name", GOLDEN)
def test_numbers_change_with_the_version_only(shipped: Shipped, name: str) -> None:
    analysis, golden = registry.find(name), GOLDEN[name]
    assert (analysis.version, registry.ENGINE_VERSION) == (golden["version"], golden["engine"]), (
        "write them anew: python tests/analyses/golden.py"
    )
    assert shipped.numbers(analysis) == pytest.approx(golden["numbers"], rel=1e-3, abs=1e-4), (
        "raise the version of the analysis, then write the numbers anew"
    )
