"""The outcome of submitting the form: the new run, or the existing one."""

from uuid import uuid4

import streamlit as st

from analyses.shown import in_markdown
from app import data
from app.refusals import show_errors
from tracker.domain import RunRequest


def submit(request: RunRequest, *, nonce: str) -> None:
    """Queue the run and store the outcome; the next click gets a new nonce."""
    submitted = data.submit(request, nonce=nonce)
    st.session_state["outcome"] = request, submitted
    st.session_state["nonce"] = uuid4().hex
    if submitted.new:
        st.toast(f"Queued {str(submitted.run.id)[:8]}.")


def draw() -> None:
    """Show the run with a link to its page; an existing run can be run again."""
    if "outcome" not in st.session_state:
        return
    request, submitted = st.session_state["outcome"]
    run = submitted.run
    with st.container(border=True):
        if submitted.new:
            st.success("The run is queued.", icon=":material/check:")
        else:
            st.info(f"This run already exists; it is {run.state.value}.")
        if submitted.inputs:
            inputs = ", ".join(
                f"{name} ({needed.analysis} {str(needed.id)[:8]}, {needed.state})"
                for name, needed in submitted.inputs.items()
            )
            st.caption(f"It needs: {in_markdown(inputs)}.")
        for remark in submitted.remarks:
            st.caption(in_markdown(remark))
        with st.container(horizontal=True, vertical_alignment="center"):
            st.page_link(
                "views/run.py",
                label=f"Open run {str(run.id)[:8]}",
                icon=":material/arrow_forward:",
                query_params={"id": str(run.id)},
            )
            if not submitted.new:
                st.button(
                    "Run again", on_click=_run_again, args=(request,), icon=":material/replay:"
                )


def _run_again(request: RunRequest) -> None:
    with show_errors():
        submit(request.model_copy(update={"force": True}), nonce=uuid4().hex)
