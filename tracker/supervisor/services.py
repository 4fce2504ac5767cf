"""The Python services of a stack: MLflow, the dispatcher, a worker per device, and the app."""

import os
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

import tracker
from tracker import devices
from tracker.access.policy import AccessPolicy
from tracker.home import readiness
from tracker.home.home import Home
from tracker.secrets import logins
from tracker.settings import environment
from tracker.supervisor.component import Service
from tracker.supervisor.process import Command

APP = Path(tracker.__file__).parents[1] / "app" / "serve.py"
CLI = (*environment.PYTHON, "-m", "tracker.cli")
HOSTS = ("127.0.0.1", "localhost")
WORKER_GRACE = 20.0  # seconds: a worker releases its part between two batches


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """What the services need to know about each other. The URLs contain passwords."""

    database_url: str = field(repr=False)
    broker_url: str = field(repr=False)
    mlflow_backend: str | None = field(default=None, repr=False)  # None: an external server is used
    mlflow_port: int
    mlflow_tracking_uri: str = field(repr=False)  # of the embedded server: with the workers' login
    app_port: int
    token: str | None = field(default=None, repr=False)  # in people's sign-in links
    app_asks: bool = True  # whether the app requires the token
    device: str = "auto"

    @property
    def app_url(self) -> str:
        return f"http://127.0.0.1:{self.app_port}"


def all_of(home: Home, addresses: Addresses) -> list[Service]:
    """In starting order; they are stopped in reverse."""
    mlflow = [mlflow_server(home, addresses)] if addresses.mlflow_backend else []
    return [
        *mlflow,
        dispatcher(home, addresses),
        *workers(home, addresses),
        app(home, addresses),
    ]


def mlflow_server(home: Home, addresses: Addresses) -> Service:
    """One process without job runners: MLflow's defaults use 1.9 GB and leave orphans."""
    port = addresses.mlflow_port
    hosts = (f"127.0.0.1:{port}", f"localhost:{port}")
    address, _ = logins.apart(addresses.mlflow_tracking_uri)
    policy = mlflow_access(addresses.mlflow_tracking_uri, addresses.token)
    return Service(
        command=Command(
            name="mlflow",
            argv=(
                *(*environment.PYTHON, "-m", "tracker.access.mlflow_server", "--port", str(port)),
                # A relative path: MLflow parses paths as URLs, in which %20 is a space.
                *("--artifacts", f"./{home.artifacts.name}"),
            ),
            env=environment.without_secrets(os.environ)
            | policy.environment
            | {
                "MLFLOW_BACKEND_STORE_URI": addresses.mlflow_backend or "",  # contains a password
                "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(hosts),
                "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": ",".join(f"http://{host}" for host in hosts),
                "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
                "MLFLOW_DISABLE_TELEMETRY": "true",
                "MLFLOW_SQLALCHEMYSTORE_POOL_SIZE": "5",
                "MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW": "5",
            },
            cwd=home.root,
            log=home.log("mlflow"),
        ),
        ready=answers(f"{address}/health"),
        address=address,
    )


def dispatcher(home: Home, addresses: Addresses) -> Service:
    """Ready once it has scanned the queue."""
    return announcing(
        home,
        Command(
            name="dispatcher",
            argv=(*CLI, "dispatch"),
            env=_environment(home, addresses),
            cwd=home.root,
            log=home.log("dispatcher"),
        ),
    )


def workers(home: Home, addresses: Addresses) -> list[Service]:
    """One per GPU, and one for models that need several; one on the CPU where there is no GPU."""
    visible = cuda_devices() if addresses.device == "auto" else []
    known = devices.seen_by(os.environ, devices.gpus()) if len(visible) > 1 else None
    of_gpus = gpu_workers(visible, [each.memory for each in known or ()])
    return [
        _worker(name, home, addresses, device)
        for name, device in (of_gpus or {"worker": {}}).items()
    ]


def gpu_workers(visible: Sequence[str], memory: Sequence[int | None]) -> dict[str, dict[str, str]]:
    """The environment of each worker by its name, of GPUs as CUDA_VISIBLE_DEVICES names them.

    Each GPU has a worker that sees nothing else. Where their memory is known, one more sees them
    all, and takes what fits into none of them alone.
    """
    order = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}  # numbers are those of nvidia-smi
    found = {
        f"worker-{number}": {**order, "CUDA_VISIBLE_DEVICES": device}
        for number, device in enumerate(visible)
    }
    sizes = [each for each in memory if each is not None]
    if len(visible) > 1 and len(sizes) == len(visible):
        found["worker-all"] = {
            **order,
            "CUDA_VISIBLE_DEVICES": ",".join(visible),
            "HEADBOOK_DEVICE": "auto",
            "HEADBOOK_ONLY_ABOVE": str(max(sizes)),
        }
    return found


def app(home: Home, addresses: Addresses) -> Service:
    policy = app_access(addresses.app_port, token=addresses.token, asks=addresses.app_asks)
    return Service(
        command=Command(
            name="app",
            argv=app_argv(policy),
            env=_environment(home, addresses) | policy.environment,
            cwd=APP.parent,
            log=home.log("app"),
        ),
        ready=answers(f"{addresses.app_url}/_stcore/health"),
        address=addresses.app_url,
    )


def mlflow_access(uri: str, token: str | None) -> AccessPolicy:
    """The policy of the MLflow at this address, whose URL contains the programs' login."""
    address, login = logins.apart(uri)
    port = urlsplit(address).port or 0
    return AccessPolicy(name="mlflow", port=port, hosts=HOSTS, token=token, login=login)


def app_access(
    port: int, *, token: str | None, asks: bool, app_url: str | None = None
) -> AccessPolicy:
    """The app's policy: it is reached as localhost, or by the host of `app_url`."""
    outside = urlsplit(app_url or "")
    return AccessPolicy(
        name="app",
        port=port,
        hosts=(*HOSTS, *([outside.hostname] if outside.hostname else [])),
        token=token,
        asks=asks,
        origin=f"{outside.scheme}://{outside.netloc}".lower() if outside.hostname else None,
    )


def app_argv(policy: AccessPolicy) -> tuple[str, ...]:
    """The command that serves the app."""
    return (
        *(*environment.PYTHON, "-m", "streamlit", "run", str(APP)),
        *("--server.headless", "true", "--server.address", "127.0.0.1"),
        *("--server.port", str(policy.port)),
        *(word for host in policy.hosts for word in ("--server.allowedHosts", host)),
        *("--server.fileWatcherType", "none", "--browser.gatherUsageStats", "false"),
        *("--client.toolbarMode", "viewer"),
        # A person's own ~/.streamlit/config.toml could change these: address and certificates.
        *("--server.baseUrlPath", "", "--server.sslCertFile", "", "--server.sslKeyFile", ""),
        *("--global.developmentMode", "false", "--server.enableXsrfProtection", "true"),
    )


def answers(url: str) -> Callable[[], bool]:
    """Whether a local HTTP server reports that it is healthy; never asked through a proxy."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ask() -> bool:
        try:
            with direct.open(url, timeout=1) as response:
                return bool(response.status == 200)
        except (OSError, ValueError):
            return False

    return ask


def announcing(home: Home, command: Command) -> Service:
    """A service whose process reports by itself that it is ready."""
    file = home.root / f"{command.name}.ready"
    env = {**command.env, readiness.VARIABLE: str(file)}
    return Service(command=replace(command, env=env), ready=lambda: readiness.announced(file))


def cuda_devices() -> list[str]:
    """The GPUs as CUDA_VISIBLE_DEVICES names them, without importing torch."""
    if (chosen := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [device.strip() for device in chosen.split(",") if device.strip() not in ("", "-1")]
    return [each.index for each in devices.gpus() or ()]


def _worker(name: str, home: Home, addresses: Addresses, device: Mapping[str, str]) -> Service:
    """Ready once its row is in the database."""
    return announcing(
        home,
        Command(
            name=name,
            argv=(*CLI, "worker"),
            env=_environment(home, addresses) | dict(device),
            cwd=home.root,
            log=home.log(name),
            grace=WORKER_GRACE,
        ),
    )


def _environment(home: Home, addresses: Addresses) -> dict[str, str]:
    return environment.made(os.environ) | {
        "HEADBOOK_HOME": str(home.root),
        "HEADBOOK_APP_URL": addresses.app_url,
        "DATABASE_URL": addresses.database_url,
        "CELERY_BROKER_URL": addresses.broker_url,
        "MLFLOW_TRACKING_URI": addresses.mlflow_tracking_uri,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PYTHONUNBUFFERED": "1",
    }
