"""The real command: where it is, in which environment it runs, and how it is started, stopped and looked at."""

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

from support.kills import VARIABLE as KILLED_AT

ROOT = Path(__file__).resolve().parents[2]
IN_PYTHON = [sys.executable, "-c", "from sounddetect.cli.cli import main; main()"]


def environment():
    """The user's, but on one thread, with the package of this checkout, without colours and windows."""
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return os.environ | {
        "PYTHONPATH": paths,
        "OMP_NUM_THREADS": "1",
        "MPLBACKEND": "agg",
        "PYTHONUNBUFFERED": "1",
        "NO_COLOR": "1",
        "COLUMNS": "200",
    }


def program():
    """The installed console script, or the same function where the package is not installed."""
    script = shutil.which("sounddetect", path=str(Path(sys.executable).parent))
    return [script] if script else IN_PYTHON


def run_in(folder, *words):
    """Run a program to its end."""
    return subprocess.run([str(word) for word in words], cwd=folder, env=environment(), capture_output=True, text=True)


def start(folder, *words):
    """Start a program, and do not wait for it."""
    return subprocess.Popen(
        [str(word) for word in words],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def stop_by(process, number, run):
    """Send a signal once the training of `run` has finished an epoch; what it printed."""
    while process.poll() is None and not (run / "results.csv").exists():
        time.sleep(0.01)
    process.send_signal(number)
    out, err = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@cache
def _ready():
    """A process that has the package imported, and of which commands are copies. It ends with this one."""
    many = ROOT / "tests" / "support" / "many_commands.py"
    return subprocess.Popen([sys.executable, many], env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def run_command(folder, *words, variables=None):
    """Run `sounddetect` with these arguments to its end, in a process of its own, without waiting for its imports."""
    ready = _ready()
    ready.stdin.write(json.dumps([str(folder), [str(word) for word in words], environment() | (variables or {})]) + "\n")
    ready.stdin.flush()
    answer = ready.stdout.readline()
    assert answer, f"what runs commands has ended with {ready.wait()}"
    return subprocess.CompletedProcess(words, *json.loads(answer))


def run_killed(folder, number, *words):
    """The same, killed just before the call `number` that changes something below `folder`; with 0 it comes to its end.

    What it returns has `calls`: what was called until then, a line each.
    """
    done = run_command(folder, *words, variables={KILLED_AT: f"{number} {folder}"})
    done.calls = Path(f"{folder}.calls").read_text().splitlines()
    return done


def each(commands):
    """Outcome of each `(folder, words)`, one after the other."""
    return [run_command(folder, *words) for folder, words in commands]


def last_line(text):
    return text.strip().splitlines()[-1] if text.strip() else ""


def weights(run):
    """The learnt weights of a run, byte for byte."""
    return (Path(run) / "model" / "model.safetensors").read_bytes()


def in_process(*words):
    """Exit code, standard output and standard error of a command that runs in this process."""
    from sounddetect.cli.cli import main

    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        try:
            main([str(word) for word in words])
            code = 0
        except SystemExit as end:
            code = end.code or 0
    return code, out.getvalue(), err.getvalue()
