"""Queue a run: choose an analysis, a model, prompts and parameters."""

from typing import Any
from uuid import uuid4

import streamlit as st

from analyses.plurals import counted
from analyses.shown import in_markdown, one_line, plain
from app import data, phrases
from app.refusals import show_errors
from app.views import choose_data, prompts, queue_outcome, request_code
from app.widgets import ask
from tracker.domain import RunRequest

st.title("Queue a run")
models = {model.name: model for model in data.models()}
if not models:
    st.info(
        "No models yet. Add one with the command below. REF is a folder with safetensors, or a "
        "GGUF file; a worker loads and proves the model before its first run."
    )
    st.code("headbook models add REF", language="bash")
    st.stop()
if not data.workers():
    st.warning(phrases.NO_WORKER, icon=":material/hourglass_empty:")

analyses = {analysis.name: analysis for analysis in data.analyses()}
left, right = st.columns(2)
with left:
    name = st.selectbox(
        "Analysis", list(analyses), key="analysis", bind="query-params", format_func=one_line
    )
    st.caption(in_markdown(analyses[name].summary))
    if unused := data.unused_plugins():
        with st.expander(f"{counted(len(unused), 'plugin')} not used"):
            for reason in unused:
                st.text(plain(reason))
with right:
    chosen = choose_data.ask_for_it()

fields = data.request_fields()
recipe_fields = data.recipe_fields(analyses[name], chosen)
# Defaults differ by data of completions, so each has widgets of its own.
of_data = "" if chosen.kind == "questions" else f".{chosen.data}"
split = {"split": recipe_fields.pop("split")}
choices: dict[str, Any] = {"analysis": name}
with st.form(f"queue.{name}"):
    first, second = st.columns(2)
    with first:
        choices["model"] = st.selectbox(
            "Model",
            list(models),
            filter_mode="contains",
            format_func=lambda name: one_line(phrases.model(models[name])),
        )
        recipe = ask([recipe_fields.pop("size"), recipe_fields.pop("seed")], key="recipe")
        choices |= ask([fields["seed"]], key="request")
    with second:
        choices["parameters"] = ask(
            data.param_fields(analyses[name], chosen), key=f"{name}{of_data}"
        )
        choices |= ask([fields["priority"], fields["study"]], key="request")
    if (usual := analyses[name].params.usual_split) != "all":
        st.caption(f"Prompts come from the {usual!r} split, as {in_markdown(name)} requires.")
    with st.expander("Prompt options"):
        # One key per analysis: a split chosen for one analysis may be invalid for another.
        recipe |= ask(list(split.values()), key=f"recipe.{name}")
        recipe |= ask(list(recipe_fields.values()), key="recipe")
    submitted = st.form_submit_button("Queue", type="primary", icon=":material/send:")

request = None
with show_errors():
    request = RunRequest(**choices, recipe={**chosen.said, **recipe})
if request and submitted:
    st.session_state.pop("outcome", None)
    with show_errors():
        queue_outcome.submit(request, nonce=st.session_state.setdefault("nonce", uuid4().hex))
queue_outcome.draw()
if request:
    prompts.draw(request.recipe)
    st.caption("The same run from a shell, as last submitted:")
    request_code.draw(request)
