"""The built package, once for all tests of the whole product."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("analyses", "app", "migrations", "tracker")


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # what an earlier build left beside the code must not get in
    for package in PACKAGES:
        shutil.copytree(ROOT / package, source / package)
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, source)
    build = (sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(source))
    done = subprocess.run(build, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    (built,) = folder.glob("headbook-*.whl")
    return built


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """The folder of a project that uses the names of our packages, and of what we build on."""
    folder = tmp_path / "somebody's project"
    for name in PACKAGES:
        (folder / name).mkdir(parents=True)
    for name in ("app/__init__", "migrations/__init__", "migrations/env", "tracker", "streamlit"):
        (folder / f"{name}.py").write_text("raise SystemExit('imported from where one stands')")
    return folder
