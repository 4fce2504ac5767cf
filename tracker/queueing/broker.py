"""Sends wake-ups to workers through Celery. Lost or repeated messages do no harm."""

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from celery import Celery
from celery.loaders.app import AppLoader
from structlog import get_logger

from tracker.domain.wakeups import HELP_WITH_RUN, PUBLISH_RUN, TASKS
from tracker.errors import TrackerError
from tracker.secrets.urls import first_line

log = get_logger(__name__)

Wake = Callable[[Celery, UUID], None]

QUEUE = "headbook"

# Without timeouts, a broker that accepts a connection and never answers would block forever.
_REDIS: Mapping[str, Any] = {
    "socket_timeout": 5,
    "socket_connect_timeout": 2,
    "retry_on_timeout": False,
    "health_check_interval": 10,
    "socket_keepalive": True,
    "global_keyprefix": "headbook:",
    "priority_steps": [0],  # a single Redis list, the only one that workers read
}
_AMQP: Mapping[str, Any] = {"read_timeout": 5, "write_timeout": 5, "confirm_publish": True}

SETTINGS: Mapping[str, Any] = {
    "task_serializer": "json",
    "accept_content": ["json"],
    "result_serializer": "json",
    "result_backend": None,
    "task_ignore_result": True,
    "task_default_queue": QUEUE,
    "worker_concurrency": 1,
    "worker_pool": "prefork",
    "worker_pool_start_method": "spawn",  # CUDA does not survive a fork
    # On a busy machine an interpreter takes longer to start than the default of 4 s. Every child
    # would then be killed before it is ready, in an endless loop.
    "worker_proc_alive_timeout": 120.0,
    "worker_max_tasks_per_child": 20,
    "worker_enable_remote_control": False,
    "worker_send_task_events": False,
    "task_send_sent_event": False,
    "broker_connection_timeout": 4,
    "task_publish_retry": True,
    "task_publish_retry_policy": {"max_retries": 1, "interval_start": 0, "interval_max": 0.2},
    "worker_hijack_root_logger": False,
    "worker_redirect_stdouts": False,
}


class RefusedByBroker(TrackerError):
    """The broker answers and rejects the login: a retry will not help."""

    def __init__(self, error: Exception) -> None:
        reason = first_line(error).rstrip(".")
        super().__init__(
            f"The broker rejected the login: {reason}. Check the user, the password and the path "
            "of CELERY_BROKER_URL."
        )


class _Loader(AppLoader):
    """Imports as Python does. Celery's own loader searches the working directory first."""

    def import_from_cwd(self, module: str, imp: Any = None, package: str | None = None) -> Any:
        return (imp or self.import_module)(module, package=package)


class _App(Celery):
    """A Celery app with our two tasks and none of Celery's built-in ones."""

    def finalize(self, auto: bool = False) -> None:
        super().finalize(auto)
        tasks: Any = self._tasks  # type: ignore[attr-defined]
        for name in set(tasks) - set(TASKS):
            del tasks[name]


def celery_app(broker_url: str | None = None) -> Celery:
    """A Celery app with our settings. It connects when the first message is sent."""
    app = _App("headbook", set_as_current=False, loader=_Loader)
    app.conf.update(SETTINGS)
    if broker_url is not None:
        options = _AMQP if broker_url.startswith(("amqp", "pyamqp")) else _REDIS
        url = _verifying(broker_url)
        # With `broker_url` alone, Celery would prefer CELERY_BROKER_URL from the environment.
        app.conf.update(broker_url=url, broker_read_url=url, broker_write_url=url)
        app.conf.update(broker_transport_options=dict(options))
    return app


def _verifying(broker_url: str) -> str:
    """The URL with certificate checks on: by default kombu accepts any certificate (`rediss`)."""

    def verifying_one(url: str) -> str:
        if not url.startswith("rediss://") or "ssl_cert_reqs=" in url:
            return url
        return f"{url}{'&' if '?' in url else '?'}ssl_cert_reqs=required"

    return ";".join(map(verifying_one, broker_url.split(";")))


def check(app: Celery) -> None:
    """Raises `RefusedByBroker` if the login is rejected; an unreachable broker is only logged."""
    from amqp.exceptions import AccessRefused, NotAllowed
    from redis.exceptions import AuthenticationError, NoPermissionError

    try:
        with app.connection_for_read() as connection:
            connection.connect()
    except (AccessRefused, AuthenticationError, NoPermissionError, NotAllowed) as error:
        raise RefusedByBroker(error) from error
    except Exception as error:  # each transport has exceptions of its own
        log.warning("the broker does not answer yet", error=first_line(error))


def unread(app: Celery) -> int:
    """The number of wake-ups that no worker has read yet."""
    pool: Any = app.pool  # a connection pool; the stubs have another type
    with pool.acquire(block=True, timeout=5) as connection:
        # The same declaration as in the workers: RabbitMQ rejects other arguments for an existing
        # queue, and a passive declaration fails on Redis with a key prefix.
        queue: Any = app.amqp.queues[QUEUE].bind(connection.default_channel)
        return int(queue.queue_declare().message_count)


def wake(app: Celery, run_id: UUID) -> None:
    """Tell one worker that a run has work."""
    app.send_task(HELP_WITH_RUN, args=[str(run_id)])


def wake_to_publish(app: Celery, run_id: UUID) -> None:
    """Tell one worker to publish a run that has ended."""
    app.send_task(PUBLISH_RUN, args=[str(run_id)])
