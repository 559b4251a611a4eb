"""Notebooks as `nbdev_test` runs them, each in a process of its own; large libraries, and the package, are imported once and not by each of them."""

import multiprocessing
import os
import signal
import sys
import tempfile
from functools import cache
from pathlib import Path

from support.commands import ROOT, environment

NOTEBOOKS = ROOT / "nbs"
LEFT_OUT = ["slow", "cuda"]  # flags of cells; `tst_flags` in settings.ini
PATIENCE = 900  # seconds after which a notebook is taken for hanging
# In this order: PyTorch's compiler comes with the first optimizer; of the package itself, what most notebooks import.
LIBRARIES = [
    *("torch", "torch._dynamo", "numpy", "pandas", "scipy.signal", "sklearn.metrics", "matplotlib.pyplot", "pydantic", "nbdev.test"),
    *("sounddetect.evaluation.evaluation", "sounddetect.jobs.training_runs", "sounddetect.cli.cli", "sounddetect.workbench.workbench"),
]


def all_notebooks():
    """Paths below nbs/, without copies that Jupyter keeps."""
    return [path for path in sorted(NOTEBOOKS.rglob("*.ipynb")) if ".ipynb_checkpoints" not in path.parts]


def name(path):
    return path.relative_to(NOTEBOOKS).with_suffix("").as_posix()


@cache
def _processes():
    """A clean process with the libraries imported, of which each notebook gets a copy."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LIBRARIES)
    return context


def _run(path, flags, draws, log):
    with open(log, "w", buffering=1, encoding="utf-8") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        sys.stdout = sys.stderr = file
        os.setsid()  # so that what it has started can be ended with it
        os.environ["PYTHONPATH"] = environment()["PYTHONPATH"]
        from nbdev.test import test_nb

        from support.pictures import draw_nothing
        from support.widgets import raise_from_clicks

        raise_from_clicks()
        if not draws:
            draw_nothing()
        passed, _ = test_nb(path, skip_flags=LEFT_OUT, force_flags=flags, basepath=ROOT)
        file.flush()
        os._exit(0 if passed else 1)


def run_notebook(path, flags=(), draws=True):
    """Run a notebook from top to bottom, each picture a dot unless it `draws`; what it said where it failed, else None."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log.txt"
        process = _processes().Process(target=_run, args=(path, flags, draws, log))
        process.start()
        process.join(PATIENCE)
        if process.is_alive():
            os.killpg(process.pid, signal.SIGKILL)
            return f"it hangs: killed after {PATIENCE} s\n{log.read_text(encoding='utf-8')[-3000:]}"
        return log.read_text(encoding="utf-8")[-8000:] + f"\nexit code {process.exitcode}" if process.exitcode else None
