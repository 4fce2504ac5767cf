"""A supervisor whose services are light, and what tests do with it and its processes."""

import os
import signal
from contextlib import suppress

import psutil

from tracker.supervisor import control, sessions

# A supervisor with light services: `web` answers on the app's port, `family` has a child that
# ignores SIGTERM, in the way of a worker that hangs. Arguments: the home, and the code of one more,
# which has to announce itself.
SUPERVISOR = """
import sys
from pathlib import Path
from tracker.errors import TrackerError
from tracker.home.home import Home
from tracker.supervisor import control, services
from tracker.supervisor.component import Service
from tracker.supervisor.process import Command

FAMILY = '''
import subprocess, sys, time
code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
subprocess.Popen([sys.executable, "-c", code])
time.sleep(600)
'''

def make_services(home, addresses):
    def command(name, *argv):
        env = services._environment(home, addresses)
        return Command(name=name, argv=(sys.executable, *argv), env=env, log=home.log(name))
    def service(*words, **more):
        return Service(command=command(*words), **more)
    port = str(addresses.app_port)
    return [
        service("family", "-c", FAMILY),
        service("web", "-m", "http.server", port, "--bind", "127.0.0.1", "-d", str(home.artifacts),
                ready=services.answers(addresses.app_url), address=addresses.app_url),
        *(services.announcing(home, command("extra", "-c", code)) for code in sys.argv[2:]),
    ]

def say(state):
    heavy = {"torch", "mlflow", "streamlit", "celery", "transformers"} & sys.modules.keys()
    print("ready", sorted(heavy), flush=True)

try:
    control.up(Home(Path(sys.argv[1])), on_ready=say, make_services=make_services)
except TrackerError as error:
    sys.exit(str(error))
"""


def clean_environment():
    mine = ("DATABASE_URL", "CELERY_BROKER_URL", "MLFLOW_TRACKING_URI")
    return {k: v for k, v in os.environ.items() if k not in mine and "HEADBOOK" not in k}


def wait_ready(process):
    line = process.stdout.readline()
    assert line.startswith("ready"), process.stderr.read()
    return line


def end(process, number=signal.SIGTERM):
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    return said


def family_of(process):
    return psutil.Process(process.pid).children(recursive=True)


def still_there(processes):
    return [process for process in processes if sessions.alive(process)]


def command_lines(processes):
    """Of those that have not ended meanwhile: Postgres starts and ends its own."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            yield " ".join(process.cmdline())


def component(home, name):
    return next((c for c in control.status(home).components if c.name == name), None)
