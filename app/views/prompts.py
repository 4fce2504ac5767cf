"""The first prompts of a recipe, next to their counterfactuals."""

import streamlit as st

from analyses.prompts.prompt import Prompt
from analyses.prompts.sources import Pair
from analyses.prompts.spec import DistributionSpec
from analyses.shown import in_markdown, plain
from app import data
from app.refusals import show_errors


def draw(recipe: DistributionSpec) -> None:
    """Show the first prompts, once they are asked for."""
    if not st.toggle("Show the first prompts", key="prompts"):
        return
    with show_errors():
        for each in data.shown(recipe):
            if isinstance(each, Pair):
                asked, counterfactual = st.columns(2)
                with asked:
                    _draw(each.base, "Prompt")
                with counterfactual:
                    _draw(each.source, "Counterfactual")
            else:
                _draw(each, "Prompt")


def _draw(prompt: Prompt, title: str) -> None:
    st.caption(in_markdown(f"{title} {prompt.number} · {prompt.item}"))
    st.code(plain(prompt.text), language=None, wrap_lines=True)
    st.caption(in_markdown(" · ".join(f"{name}: {fact}" for name, fact in _facts(prompt).items())))


def _facts(prompt: Prompt) -> dict[str, str]:
    return {"correct": " | ".join(prompt.correct_labels), **prompt.facts}
