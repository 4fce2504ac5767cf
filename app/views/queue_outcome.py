"""What became of the form: the run that stands for it, new or known."""

from uuid import uuid4

import streamlit as st

from analyses.shown import in_markdown
from app import data
from app.refusals import said
from tracker.domain import RunRequest


def submit(request: RunRequest, *, nonce: str) -> None:
    """Queue the run and keep what came of it; the next click is a request of its own."""
    submitted = data.submit(request, nonce=nonce)
    st.session_state["outcome"] = request, submitted
    st.session_state["nonce"] = uuid4().hex
    if submitted.new:
        st.toast(f"Queued {str(submitted.run.id)[:8]}.")


def draw() -> None:
    """Say which run it is and lead there; a known run can be run again."""
    if "outcome" not in st.session_state:
        return
    request, submitted = st.session_state["outcome"]
    run = submitted.run
    with st.container(border=True):
        if submitted.new:
            st.success("The run is queued.", icon=":material/check:")
        else:
            st.info(f"The same run exists already; it is {run.state.value}.")
        if submitted.inputs:
            needed = ", ".join(
                f"{name} ({each.analysis} {str(each.id)[:8]}, {each.state})"
                for name, each in submitted.inputs.items()
            )
            st.caption(f"It needs: {in_markdown(needed)}.")
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
                st.button("Run again", on_click=_again, args=(request,), icon=":material/replay:")


def _again(request: RunRequest) -> None:
    with said():
        submit(request.model_copy(update={"force": True}), nonce=uuid4().hex)
