"""Packages with plugins that misbehave, as pip would leave them, each in a way of its own."""

from collections.abc import Iterable
from pathlib import Path
from textwrap import dedent

ANALYSIS = '''
from analyses.registry import Params, analysis
from analyses.results import MODEL, Measured, ScoreKey

class {name}_params(Params):
    """None of its own."""

@analysis({name!r}, version=1, params={name}_params)
def {name}(lm, prompts, params, progress):
    """How many there are."""
    return Measured(scores={{}})
'''

# What is done when the module is imported, and a part of the reason for which it is not used.
BROKEN: dict[str, tuple[str, str]] = {
    "raises": ("raise ValueError('no luck')", "it raised ValueError('no luck')"),
    "lacks_a_module": ("import does_not_exist", "No module named 'does_not_exist'"),
    "is_no_python": ("def (:", "it raised SyntaxError"),
    "exits": ("import sys; sys.exit(0)", "it called sys.exit(0)"),
    "interrupts": ("raise KeyboardInterrupt", "it raised KeyboardInterrupt"),
    "leaves": ("import os; os._exit(0)", "it ends its process with exit code 0"),
    "kills_itself": ("import os; os.kill(os.getpid(), 9)", "it ends its process by SIGKILL"),
    "crashes": ("import ctypes; ctypes.string_at(0)", "it ends its process by SIGSEGV"),
    "kills_its_parent": ("import os; os.kill(os.getppid(), 9)", "it kills its parent process"),
    "sleeps": ("import time; time.sleep(1e6)", "it did not return within"),
    "keeps_the_lock": (
        "import re; re.match(r'(a+)+$', 'a' * 64 + 'b')",
        "it did not return within",
    ),
    "asks": ("input('Are you sure? ')", "it raised EOFError"),
    "recurses": ("def again(): again()\nagain()", "it raised RecursionError"),
    "eats_memory": ("kept = bytes(2**36)", "it raised MemoryError"),
    "fills_the_disk": (
        "import tempfile\nwith tempfile.TemporaryFile() as f: f.truncate(2**40)",
        "File too large",
    ),
    "leaves_a_thread": (
        "import threading, time\n"
        "threading.Thread(target=time.sleep, args=(1e6,), name='ticker').start()",
        "it leaves a thread running ('ticker')",
    ),
    "leaves_a_process": (
        "import subprocess; kept = subprocess.Popen(['sleep', '1000000'])",
        "it leaves a process running",
    ),
    "leaves_a_daemon": (
        "import os\n"
        "if (pid := os.fork()) == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        "        os.execvp('sleep', ['sleep', '1000000'])\n"
        "    os._exit(0)\n"
        "os.waitpid(pid, 0)",
        "it leaves a process running",
    ),
    "forks": ("import os; os.fork()", "it leaves a process running"),
    "closes_every_file": ("import os; os.closerange(0, 4096)", "or closes all its files"),
    "closes_the_streams": ("import os; os.close(1); os.close(2)", "the standard streams"),
    "replaces_open": ("import builtins; builtins.open = None", "it replaces the builtin 'open'"),
    "sets_a_handler": (
        "import signal; signal.signal(15, signal.SIG_IGN)",
        "of the main interpreter",
    ),
    "hangs_at_the_end": (
        "import atexit, time; atexit.register(time.sleep, 1e6)",
        "registered with atexit",
    ),
    "leaves_at_the_end": (
        "import atexit, os; atexit.register(os._exit, 3)",
        "exit code 3 in what it",
    ),
    "registers_nothing": ("", "it registers no analysis"),
    "takes_our_name": (ANALYSIS.format(name="attribution"), "Two analyses are named 'attribution'"),
    "has_no_name": (ANALYSIS.replace("{name!r}", "'\\x1b[31mred'").format(name="red"), "\\x1b[31m"),
    "has_a_long_name": (
        ANALYSIS.replace("{name!r}", "'x' * 100_000").format(name="long"),
        "cannot be registered: a name has up to 64",
    ),
    "has_no_version": (
        ANALYSIS.replace("version=1", "version='1.0'").format(name="textual"),
        "its version is '1.0'",
    ),
    "has_no_params": (
        ANALYSIS.replace("params={name}_params", "params=dict").format(name="dicts"),
        "not a subclass of Params",
    ),
    "says_escapes": (
        ANALYSIS.replace("How many", "\\x1b]0;owned\\x07How many").format(name="says"),
        "cannot be printed",
    ),
    "has_no_schema": (
        ANALYSIS.replace(
            '"""None of its own."""',
            "model_config = dict(arbitrary_types_allowed=True)\n    what: object().__class__ = "
            "None\n    which: __import__('threading').Thread = None",
        ).format(name="schemaless"),
        "Cannot generate a JsonSchema",
    ),
    "has_a_default_that_hangs": (
        ANALYSIS.replace(
            '"""None of its own."""',
            "x: int = __import__('pydantic').Field(\n"
            "        default_factory=lambda: __import__('time').sleep(1e6))",
        ).format(name="hanging_default"),
        "it did not return within",
    ),
}

# What is done when the module is imported, or at the end, and does no harm.
HARMLESS: dict[str, str] = {
    "counts": ANALYSIS.format(name="counts"),
    "prints": ANALYSIS.format(name="prints")
    + dedent(
        """
        import ctypes, os, sys, warnings
        print("NOISE" * 10_000)
        sys.__stdout__.write("NOISE")
        os.write(1, b"NOISE")
        ctypes.CDLL(None).puts(b"NOISE")
        ctypes.CDLL(None).fflush(None)
        os.system("echo NOISE")
        warnings.warn("NOISE")
        """
    ),
    "prints_at_the_end": ANALYSIS.format(name="prints_at_the_end")
    + dedent(
        """
        import atexit, os
        atexit.register(print, "NOISE")
        atexit.register(os.write, 1, b"NOISE")
        """
    ),
    "changes_the_process": ANALYSIS.format(name="changes_the_process")
    + dedent(
        """
        import gc, locale, logging, os, random, socket, sys, warnings
        import io
        import numpy as np
        os.chdir("/")
        os.umask(0)
        os.environ["DATABASE_URL"] = "postgresql://elsewhere/"
        os.environ.pop("PATH")
        sys.path.insert(0, "/elsewhere")
        sys.stdout = io.StringIO()
        sys.excepthook = lambda *_: None
        sys.setrecursionlimit(5000)
        logging.disable()
        logging.getLogger().addHandler(logging.NullHandler())
        warnings.simplefilter("error")
        locale.setlocale(locale.LC_ALL, "C")
        random.seed(0)
        np.random.seed(0)
        np.seterr(all="raise")
        socket.setdefaulttimeout(1e-6)
        gc.disable()
        """
    ),
    "asks_for_analyses": ANALYSIS.format(name="asks_for_analyses")
    + "from analyses import registry\nassert registry.all_analyses() and not registry.broken()\n",
}

RIVALS = {name: ANALYSIS.format(name="twice") for name in ("rival_a", "rival_b")}


def install(folder: Path, name: str, source: str, *, value: str | None = None) -> None:
    """What pip leaves behind for a package with one module and one entry point."""
    (folder / f"{name}.py").write_text(source)
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[headbook.analyses]\n{name} = {value or name}\n")


def install_all(folder: Path, names: Iterable[str] = ()) -> None:
    """Every plugin of this module, or some of those that are broken, at once."""
    chosen = tuple(names)
    for name, (source, _) in BROKEN.items():
        if not chosen or name in chosen:
            good = "" if "analysis" in source or name == "registers_nothing" else ANALYSIS
            install(folder, name, f"{good.format(name=name)}\n{source}\n")
    for name, source in () if chosen else (*HARMLESS.items(), *RIVALS.items()):
        install(folder, name, source)
