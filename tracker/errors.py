"""What the tracker refuses. Each message names the thing, the value and the way out."""


class TrackerError(Exception):
    """Something a person can put right; the command line prints the message and exits with 1."""


class NoDatabase(TrackerError):
    def __init__(self, home: object) -> None:
        super().__init__(
            f"No database is known: DATABASE_URL is not set and no stack runs on {home}. "
            "Start one with `headbook up`, or set DATABASE_URL."
        )


class NoBroker(TrackerError):
    def __init__(self, home: object) -> None:
        super().__init__(
            f"No broker is known: CELERY_BROKER_URL is not set and no stack runs on {home}. "
            "Start one with `headbook up`, or set CELERY_BROKER_URL."
        )


class NoTrackingServer(TrackerError):
    def __init__(self, home: object) -> None:
        super().__init__(
            f"No MLflow server is known: MLFLOW_TRACKING_URI is not set and no stack runs on "
            f"{home}. Start one with `headbook up`, or set MLFLOW_TRACKING_URI."
        )
