"""Access control for the servers of a stack: who may use MLflow and the app, and for what."""
