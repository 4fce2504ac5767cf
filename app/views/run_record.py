"""The events of a run, and everything that its numbers depend on."""

from collections.abc import Mapping

import streamlit as st

from analyses.plurals import counted
from analyses.prompts.spec import unusual
from analyses.shown import in_code, in_markdown, one_line
from app import phrases
from app.refusals import show_errors
from app.views import request_code
from tracker.results import RunDetail
from tracker.results.run_requests import request_of


def events(detail: RunDetail) -> None:
    """Show the events of the run and its parts, in order."""
    st.dataframe(
        [
            {
                "at": phrases.moment(event.at),
                "part": "the run" if event.part is None else f"part {event.part}",
                "event": _cell(event.event),
                "worker": _cell(event.worker),
                "reason": _cell(event.reason),
            }
            for event in detail.events
        ],
        hide_index=True,
    )


def _cell(text: str | None) -> str | None:
    return None if text is None else one_line(text)


def repro(detail: RunDetail) -> None:
    """Show everything that the numbers depend on, and the request that reproduces them."""
    line = detail.line
    st.markdown("**Run again from a shell**")
    with show_errors():
        request_code.draw(request_of(line, force=True))
    left, right = st.columns(2)
    with left:
        _facts(
            "Request",
            {
                "analysis": f"{line.analysis} version {line.analysis_version}",
                "model": f"{line.model}, {line.dtype}",
                "distribution": f"{line.distribution}, {counted(line.n_prompts, 'prompt')}",
                "prompt seed": line.recipe["seed"],
                **unusual(line.recipe),
                "bootstrap seed": line.seed,
                **line.params,
                "studies": ", ".join(detail.studies.values()),
                "queued": f"{phrases.moment(line.created_at)} by {line.created_by}",
                "ended": phrases.moment(line.finished_at),
            },
        )
        _facts(
            "Fingerprints",
            {
                "run": detail.fingerprint,
                "model": detail.model_fingerprint,
                "model revision": line.model_revision,
                "distribution": line.distribution_hash,
            },
        )
    with right:
        _facts("Environment", detail.provenance)
        _facts("Conventions", detail.notes.conventions)


def _facts(title: str, facts: Mapping[str, object]) -> None:
    st.markdown(f"**{title}**")
    present = {name: value for name, value in facts.items() if value not in (None, "")}
    if present:
        st.table(
            {
                "name": list(map(in_markdown, present)),
                "value": list(map(in_code, present.values())),
            },
            border="horizontal",
            hide_index=True,
            hide_header=True,
        )
    else:
        st.caption("Available once the run has started.")
