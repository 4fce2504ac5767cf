"""Stacks with light services, started and ended as a person does."""

import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tracker.home.home import Home
from tracker.supervisor import postgres_place

from .light_stack import SUPERVISOR, clean_environment, wait_ready


@pytest.fixture
def home(tmp_path):
    home = Home(tmp_path / "home")
    yield home
    postgres_place.remove(home)


@pytest.fixture
def start(home):
    """Starts supervisors and ends what is left of them."""
    started = []

    def start(*extra, **environment):
        process = subprocess.Popen(
            (sys.executable, "-c", SUPERVISOR, str(home.root), *extra),
            env=clean_environment() | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=60)


@pytest.fixture
def stack(start):
    process = start()
    wait_ready(process)
    return process


@pytest.fixture
def stranger():
    """A process that is none of ours."""
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def mlflow():
    """An address where something says that it is well."""

    class Health(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Health) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
