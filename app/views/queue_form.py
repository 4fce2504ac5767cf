"""Queue a run: an analysis, a model, prompts, and what the analysis lets one choose."""

from typing import Any
from uuid import uuid4

import streamlit as st

from analyses.plurals import counted
from analyses.prompts.spec import MOST_PROMPTS
from analyses.shown import in_markdown, one_line, plain
from app import commands, data, phrases
from app.refusals import said
from app.views import queue_outcome
from app.widgets import ask, seed
from tracker.domain import Priority

st.title("Queue a run")
models = [model.name for model in data.models()]
if not models:
    st.info(
        "No model was added yet. REF is a folder with safetensors, or a GGUF file; "
        "the model is loaded and proved before it is added."
    )
    st.code("headbook models add REF", language="bash")
    st.stop()
if not data.workers():
    st.warning(phrases.NO_WORKER, icon=":material/hourglass_empty:")

analyses = {each.name: each for each in data.analyses()}
items = {recipe.name: recipe.items for recipe in data.recipes()}
left, right = st.columns(2)
with left:
    name = st.selectbox(
        "Analysis", list(analyses), key="analysis", bind="query-params", format_func=one_line
    )
    st.caption(in_markdown(analyses[name].summary))
    if unused := data.unused_plugins():
        with st.expander(f"{counted(len(unused), 'plugin')} not used"):
            for why in unused:
                st.text(plain(why))
with right:
    distribution = st.selectbox(
        "Prompts from",
        list(items),
        format_func=one_line,
        key="distribution",
        bind="query-params",
        filter_mode="contains",
        help="Questions / words around them / names of the options.",
    )
    st.caption(
        f"{counted(items[distribution], 'question')}; more prompts ask them again beside other "
        "options."
    )

asked: dict[str, Any] = {"analysis": name, "distribution": distribution}
with st.form(f"queue.{name}"):
    first, second = st.columns(2)
    with first:
        asked["model"] = st.selectbox("Model", models, filter_mode="contains", format_func=one_line)
        asked["size"] = st.number_input(
            "Number of prompts", 1, MOST_PROMPTS, min(64, items[distribution])
        )
        asked["prompt_seed"] = seed("Prompt seed", help="Another seed draws other questions.")
        asked["seed"] = seed("Bootstrap seed", help="Of the resamples behind the intervals.")
    with second:
        asked["params"] = ask(data.param_fields(analyses[name]), key=name)
        asked["priority"] = Priority(
            st.selectbox("Priority", [each.value for each in Priority], index=1)
        )
        asked["study"] = (
            st.text_input("Study", help="Name of a group to put the run in; may be empty.").strip()
            or None
        )
    if (usual := analyses[name].params.usual_split) != "all":
        st.caption(f"The prompts are of split {usual!r}, as {in_markdown(name)} needs them.")
    with st.expander("How the prompts are made"):
        # Of its own for each analysis: what was chosen for one may be refused by another.
        split = ask([data.split_field(analyses[name])], key=f"recipe.{name}")
        asked["recipe"] = ask(data.recipe_fields(), key="recipe") | split
    sent = st.form_submit_button("Queue", type="primary", icon=":material/send:")

if sent:
    st.session_state.pop("outcome", None)
    with said():
        queue_outcome.submit(asked, nonce=st.session_state.setdefault("nonce", uuid4().hex))
queue_outcome.draw()
st.caption("The same from a shell, as the form was last sent:")
st.code(plain(commands.submit(**asked)), language="bash", wrap_lines=True)
