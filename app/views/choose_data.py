"""The choice of the data of a run: a shipped distribution, or files of the user's own."""

import streamlit as st

from analyses.plurals import counted
from analyses.prompts import tasks
from analyses.prompts.spec import DistributionSpec
from analyses.shown import in_markdown, one_line
from app import data
from app.refusals import show_errors
from app.widgets import ask

OWN = "Your own data"


def ask_for_it() -> DistributionSpec:
    """Ask for the data; the page stops until they are named."""
    items = {recipe.name: recipe.items for recipe in data.recipes()}
    offered = [*items, OWN] if data.data_roots() else list(items)
    distribution = st.selectbox(
        "Prompt distribution",
        offered,
        format_func=one_line,
        key="distribution",
        bind="query-params",
        filter_mode="contains",
        help="Questions / template / labels, or completions / counterfactual.",
    )
    if distribution == OWN:
        return _own()
    chosen = DistributionSpec.parse(distribution)
    st.caption(in_markdown(_about(chosen, items[distribution])))
    return chosen


def _own() -> DistributionSpec:
    roots = ", ".join(map(str, data.data_roots()))
    name = st.text_input(
        "Data",
        key="own.data",
        placeholder="file:/path/pairs.jsonl",
        help=in_markdown(f"file:/path or folder:/path, below {roots}."),
    )
    layout = ask([data.layouts()], key="own")
    if not name:
        st.info("Name a file or a folder.")
        st.stop()
    with show_errors(then=lambda _: st.stop()):
        return DistributionSpec(data=name, **layout)


def _about(chosen: DistributionSpec, items: int) -> str:
    if chosen.kind == "questions":
        return (
            f"{counted(items, 'question')}; with more prompts than that, questions repeat with "
            "other options."
        )
    task = tasks.task(chosen.data)
    changed = task.meanings[chosen.counterfactual]
    return (
        f"{counted(items, 'completion')}. {task.about} ({task.reference}.) Counterfactual: "
        f"{changed}."
    )
