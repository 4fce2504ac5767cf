"""One run: its state, scores, events and logs, and how to reproduce it."""

import streamlit as st

from analyses.shown import in_markdown
from app import data, links
from app.views import run_header, run_links, run_logs, run_record, run_scores

run_id = st.query_params.get("id")
if not run_id:
    st.info("No run selected. Choose one from the list.")
    st.page_link("views/runs.py", label="Runs", icon=":material/list:")
    st.stop()

detail = data.run(run_id)
line = detail.line
name = data.name(line)
st.title(in_markdown(f"{name.analysis} · {name.model}"))
subtitle = in_markdown(" · ".join(filter(None, (name.prompts, name.params))))
st.caption(f"{subtitle} · run `{line.id}`")
st.fragment(run_header.header, run_every=None if line.ended else 2)(run_id, line.state)
run_links.draw(detail)

mlflow = data.mlflow_address()
with st.container(horizontal=True, vertical_alignment="center"):
    if not line.ended:
        st.button("Cancel", on_click=run_header.cancel, args=(line.id,), icon=":material/block:")
    address = links.mlflow_run(data.mlflow_pages(), line)
    st.link_button(
        "Open in MLflow", address or "", disabled=address is None, icon=":material/open_in_new:"
    )
    if mlflow is None:
        st.caption("MLflow has no web address here. Set MLFLOW_TRACKING_URI to its http(s) URL.")
    elif not data.responds(mlflow):
        st.caption(
            f":orange[MLflow at {in_markdown(mlflow)} does not respond.] "
            "This page does not need it."
        )
    elif address is None:
        st.caption("MLflow does not have this run yet.")

for warning in detail.notes.warnings:
    st.warning(in_markdown(warning), icon=":material/warning:")

heads, others, events, logs, repro = st.tabs(
    ["Heads", "Other components", "Events", "Logs", "Repro"],
    key="tab",
    on_change="rerun",
    bind="query-params",
)
with heads:
    if heads.open:
        run_scores.heads(detail, data.scores(line.id))
with others:
    if others.open:
        run_scores.others(line, data.scores(line.id))
with events:
    if events.open:
        run_record.events(detail)
with logs:
    if logs.open:
        run_logs.draw(line.id)
with repro:
    if repro.open:
        run_record.repro(detail)
