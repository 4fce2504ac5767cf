"""The app's frame: its name and its pages."""

import streamlit as st

from app import again
from app.refusals import said
from tracker.run_logs import log_records

log_records.without_secrets()
# Of an error that nobody foresaw the page shows where it was; the log has what it says.
st.set_option("client.showErrorDetails", "stacktrace")

# An emoji is drawn in place; a material icon would be fetched from outside.
st.set_page_config(page_title="Headbook", page_icon="📓", layout="wide")
page = st.navigation(
    [
        st.Page("views/runs.py", title="Runs", icon=":material/list:", default=True),
        st.Page(
            "views/queue_form.py", title="Queue a run", icon=":material/add:", url_path="queue"
        ),
        st.Page("views/run.py", title="Run", url_path="run", visibility="hidden"),
    ],
    position="top",
)
with said(again=again.when_the_database_answers):
    page.run()
