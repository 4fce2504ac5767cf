"""The app's entry page: its name and its navigation."""

import streamlit as st

from app import retry
from app.refusals import show_errors
from tracker.run_logs import log_records

log_records.without_secrets()
# For an unexpected error the page shows the stack trace only; the message is in the log.
st.set_option("client.showErrorDetails", "stacktrace")

# An emoji needs no download; a material icon would be fetched from another server.
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
with show_errors(then=retry.when_database_is_back):
    page.run()
