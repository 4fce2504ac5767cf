"""The page about analyses says all that they say of themselves."""

from collections.abc import Iterator
from typing import Any, Literal

import pytest
from pydantic import Field

from analyses import page, registry
from analyses.registry import Analysis, Params, analysis
from analyses.results import Kind, Measured
from analyses.stored import ScoreDescription, TensorDescription


class ShownParams(Params):
    """Of every type that a form knows."""

    rank: int = Field(3, ge=1, lt=65, title="Rank", description="Of the subspace.")
    share: float | None = Field(None, gt=0, title="Share", description="Of what?")
    heads: tuple[int, ...] = Field((), title="Heads", description="Which | they are.")
    how: Literal["a", "b"] = Field(title="How", description="One way.")
    deep: bool = False


@pytest.fixture
def shown() -> Iterator[Analysis]:
    """An analysis that says something of everything."""

    @analysis(
        "shown",
        version=4,
        params=ShownParams,
        conventions={"position": "the last"},
        reference="Ada 1843",
        stores=[
            ScoreDescription(
                metric="kept",
                meaning="how much is left",
                unit="share",
                better="high",
                where=((Kind.HEAD, "q"), (Kind.MODEL, "")),
                varied=({}, {"of": "{site}", "variant": "placebo"}),
                x="rank",
            )
        ],
        arrays=[TensorDescription(name="bases", axes=("head", "rank", "dim"), meaning="rows")],
        plots={"by_rank": "nowhere:draw"},
    )
    def shown(lm: Any, prompts: Any, params: Any, progress: Any) -> Measured:
        """Shows everything.

        And then some.
        """
        return Measured(scores={})

    yield registry.find("shown")
    del registry._ANALYSES["shown"]


def test_a_parameter_is_a_row_with_its_type_bounds_and_default(shown: Analysis) -> None:
    lines = page.section(shown).splitlines()
    rows = [line for line in lines if line.startswith("| `") and "**" in line]
    assert rows[:5] == [
        "| `rank` | integer, at least 1, below 65 | `3` | **Rank.** Of the subspace. |",
        "| `share` | number, above 0 or nothing | `null` | **Share.** Of what? |",
        "| `heads` | list of integer | `[]` | **Heads.** Which \\| they are. |",
        "| `how` | `a` or `b` | required | **How.** One way. |",
        "| `deep` | boolean | `false` | **Deep.** |",
    ]
    assert [row.split("`")[1] for row in rows[5:]] == ["batch_size", "prompts"]


def test_a_score_is_a_row_with_where_it_is_and_what_it_means(shown: Analysis) -> None:
    assert (
        "| `kept` | `head` at `q`, `model` | *none*, `{site}/placebo` | rank | share | high "
        "| how much is left |"
    ) in page.section(shown).splitlines()


def test_the_rest_is_there_too(shown: Analysis) -> None:
    said = page.section(shown)
    assert said.startswith("## shown\n\nShows everything.\n\nAnd then some.\n\nVersion 4.")
    assert "After Ada 1843." in said
    assert "| `bases` | head, rank, dim | rows |" in said
    assert "| position | the last |" in said
    assert "Pictures: `plots/heads.png`, `plots/by_rank.png`." in said


def test_what_an_analysis_does_not_say_leaves_no_empty_table() -> None:
    said = page.section(registry.find("behaviour"))
    assert "\n\n\n" not in said
    assert "heads.png" not in said
    for heading in ("### Parameters", "### Scores", "### Tensors", "### Conventions"):
        assert heading in said
