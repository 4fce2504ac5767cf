"""Who is let into MLflow and the app, and what MLflow does for them."""
