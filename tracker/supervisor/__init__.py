"""The embedded stack: one process that starts, watches and stops everything on one machine.

Nothing here imports torch, mlflow, streamlit or celery: they run as children.
"""
