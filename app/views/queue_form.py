"""Queue a run: an analysis, a model, prompts, and what the analysis lets one choose."""

from typing import Any
from uuid import uuid4

import streamlit as st

from analyses.plurals import counted
from analyses.shown import in_markdown, one_line, plain
from app import data, phrases
from app.refusals import said
from app.views import queue_outcome, request_code
from app.widgets import ask
from tracker.domain import RunRequest

st.title("Queue a run")
models = {model.name: model for model in data.models()}
if not models:
    st.info(
        "No model was added yet. REF is a folder with safetensors, or a GGUF file; "
        "a worker loads and proves it before its first run."
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

fields = data.request_fields()
recipe_fields = data.recipe_fields(analyses[name])
split = {"split": recipe_fields.pop("split")}
asked: dict[str, Any] = {"analysis": name}
with st.form(f"queue.{name}"):
    first, second = st.columns(2)
    with first:
        asked["model"] = st.selectbox(
            "Model",
            list(models),
            filter_mode="contains",
            format_func=lambda name: one_line(phrases.model(models[name])),
        )
        recipe = ask([recipe_fields.pop("size"), recipe_fields.pop("seed")], key="recipe")
        asked |= ask([fields["seed"]], key="request")
    with second:
        asked["parameters"] = ask(data.param_fields(analyses[name]), key=name)
        asked |= ask([fields["priority"], fields["study"]], key="request")
    if (usual := analyses[name].params.usual_split) != "all":
        st.caption(f"The prompts are of split {usual!r}, as {in_markdown(name)} needs them.")
    with st.expander("How the prompts are made"):
        # Of its own for each analysis: what was chosen for one may be refused by another.
        recipe |= ask(list(split.values()), key=f"recipe.{name}")
        recipe |= ask(list(recipe_fields.values()), key="recipe")
    sent = st.form_submit_button("Queue", type="primary", icon=":material/send:")

request = None
with said():
    request = RunRequest(**asked, recipe={"name": distribution, **recipe})
if request and sent:
    st.session_state.pop("outcome", None)
    with said():
        queue_outcome.submit(request, nonce=st.session_state.setdefault("nonce", uuid4().hex))
queue_outcome.draw()
if request:
    st.caption("The same from a shell, as the form was last sent:")
    request_code.draw(request)
