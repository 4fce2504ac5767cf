"""The product as a person runs it: a stack on a home of its own, used by its command line."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tracker.home.home import Home, StackState
from tracker.supervisor import postgres_place


class Stack:
    """Commands on one home; `environment` is set for all of them, and for what `up` starts."""

    def __init__(self, home: Path, **environment: str) -> None:
        self.home = home
        self.environment = environment | {"HEADBOOK_HOME": str(home)}

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command, however it ends."""
        return subprocess.run(
            [sys.executable, "-m", "tracker.cli", *words],
            env=os.environ | self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def headbook(self, *words: str) -> str:
        """What a command prints that must succeed."""
        done = self.run(*words)
        assert done.returncode == 0, f"{words}: {done.stdout}\n{done.stderr}"
        return done.stdout

    def refusal(self, *words: str) -> str:
        """What a command says that must fail, and not by a traceback."""
        done = self.run(*words)
        assert done.returncode == 1
        assert done.stderr.startswith("Error: ")
        assert "Traceback" not in done.stderr
        return done.stderr

    def json(self, *words: str) -> Any:
        return json.loads(self.headbook(*words, "--json"))

    def remove(self) -> None:
        """Stop what runs and delete what Postgres may keep outside the home."""
        self.headbook("down")
        postgres_place.remove(Home(self.home))

    @property
    def state(self) -> StackState:
        state = Home(self.home).running()
        assert state is not None
        return state
