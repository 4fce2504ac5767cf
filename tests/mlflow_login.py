"""The login of the MLflow servers that tests start, as the stack gives its own one."""

from tracker.secrets.logins import Login

LOGIN = Login(user="headbook", password="known-to-the-tests")


def mlflow_at(port: int) -> str:
    """The address of a server of this machine, with the login."""
    return LOGIN.within(f"http://127.0.0.1:{port}")
