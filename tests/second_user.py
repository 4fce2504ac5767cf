"""A second user of this machine, and a folder that both may reach: only root can become another."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pwd import getpwnam

import pytest

OTHER = getpwnam("nobody")
only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@contextmanager
def as_other() -> Iterator[None]:
    """Inside the block files are read and written as the other user."""
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(OTHER.pw_gid)
    os.seteuid(OTHER.pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


def run_as_other(
    imports: str, code: str, *arguments: str, env: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """Python code in a process of the other user, who may have no way to what it imports."""
    become = f"os.setgroups([]); os.setgid({OTHER.pw_gid}); os.setuid({OTHER.pw_uid})"
    return subprocess.run(
        (sys.executable, "-c", f"import os; {imports}; {become}; {code}", *arguments),
        cwd=Path(__file__).parents[1],
        env=env,
        capture_output=True,
        text=True,
    )


@contextmanager
def shared_folder() -> Iterator[Path]:
    """A folder through which everybody may pass, as `tmp_path` is not."""
    folder = Path(tempfile.mkdtemp(prefix="headbook-two-users-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
