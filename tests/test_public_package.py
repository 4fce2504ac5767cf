"""`import headbook`: what it offers, what it loads, and whose packages it stands on."""

import ast
import os
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import headbook
from headbook.own_packages import NAMES

FOLDER = Path(headbook.__file__).parent
ROOT = Path(__file__).parents[1]
HEADBOOK = Path(sys.executable).with_name("headbook")
PLANTED = "raise SystemExit('imported from where one stands')"
SERVERS_AND_MODELS = {"celery", "matplotlib", "mlflow", "pandas", "streamlit", "torch"}


def python(
    code: str, cwd: Path = Path("/"), **environment: str
) -> subprocess.CompletedProcess[str]:
    """An interpreter as a person starts it: it imports from the folder where it stands."""
    # A command that a test has run in this process leaves PYTHONSAFEPATH behind.
    own = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    return subprocess.run(
        (sys.executable, "-c", code),
        cwd=cwd,
        env=own | environment,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    ("code", "unloaded"),
    [
        ("headbook.__version__", SERVERS_AND_MODELS | {"numpy", "pydantic", "sqlalchemy"}),
        ("headbook.analysis, headbook.Client", SERVERS_AND_MODELS),
    ],
)
def test_it_loads_what_is_used_and_no_more(code: str, unloaded: set[str]) -> None:
    said = python(f"import sys, headbook; {code}; print(*set(sys.modules) & {unloaded})")
    assert (said.stdout.split(), said.stderr) == ([], "")


def test_the_lazy_names_are_those_that_a_type_checker_sees() -> None:
    typed = {
        alias.asname: (each.module, alias.name)
        for each in ast.walk(ast.parse((FOLDER / "__init__.py").read_text()))
        if isinstance(each, ast.ImportFrom)
        for alias in each.names
        if alias.asname
    }
    assert {*typed, "__version__"} == set(headbook.__all__) == set(dir(headbook))
    for name, (module, attribute) in typed.items():
        assert getattr(headbook, name) is getattr(import_module(str(module)), attribute)


def test_a_name_that_it_lacks_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'anlysis'"):
        headbook.anlysis  # noqa: B018


@pytest.mark.parametrize("name", NAMES)
def test_a_package_of_our_names_where_one_stands_is_refused_and_not_imported(
    name: str, tmp_path: Path
) -> None:
    (tmp_path / name).mkdir()
    planted = tmp_path / name / "__init__.py"
    planted.write_text(PLANTED)
    said = python("import headbook; headbook.connect", cwd=tmp_path).stderr
    assert f"`import {name}` finds {planted}, which is not Headbook's. Rename it" in said
    assert "where one stands" not in said


def test_the_command_runs_there_and_says_so_where_the_path_leads_there(tmp_path: Path) -> None:
    for name in NAMES:
        (tmp_path / f"{name}.py").write_text(PLANTED)
    command = (HEADBOOK, "analyses", "show", "attention")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    misled = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, env=misled, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: Headbook cannot run: `import analyses` finds {tmp_path}")
    assert "remove its folder from PYTHONPATH" in done.stderr


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """The packages side by side, as a wheel installs them; only their first files."""
    shutil.copytree(FOLDER, tmp_path / "headbook", ignore=shutil.ignore_patterns("__pycache__"))
    for name in NAMES:
        (tmp_path / name).mkdir()
        shutil.copy(ROOT / name / "__init__.py", tmp_path / name)
    return tmp_path


def test_a_distribution_that_has_overwritten_one_of_ours_is_named(site: Path) -> None:
    check = "from headbook import own_packages; own_packages.check()"
    assert python(check, PYTHONPATH=str(site)).stderr == ""
    (site / "tracker" / "__init__.py").write_text(PLANTED)
    info = site / "package_tracker-2.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: package-tracker\nVersion: 2.1\n")
    (info / "RECORD").write_text("tracker/__init__.py,,\n")
    said = python(check, PYTHONPATH=str(site)).stderr
    assert f"`import tracker` finds {site}/tracker/__init__.py, which is not Headbook's" in said
    assert "It belongs to package-tracker 2.1. Uninstall that and reinstall headbook" in said
