"""What all tests share: the recorded data, where there is any, and the real command."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# Started in the background, a shell has us ignore Ctrl-C, and the programs that we start would inherit it.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

IN_PYTHON = [sys.executable, "-c", "from sounddetect.cli.cli import main; main()"]

# Who has set ClearML up wants to see trainings there, not tests.
for variable in [variable for variable in os.environ if variable.startswith("CLEARML_")]:
    del os.environ[variable]
os.environ["CLEARML_CONFIG_FILE"] = os.devnull


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


@pytest.fixture
def command(tmp_path):
    """`command("train", "data", ...)` runs `sounddetect train data ...` in a fresh folder."""

    def run(*arguments, cwd=tmp_path):
        return run_in(cwd, *program(), *arguments)

    return run


@pytest.fixture(scope="session")
def recorded():
    """Folder with recorded data. It is not part of the package, because its licences do not allow that."""
    folder = os.environ.get("SOUNDDETECT_TEST_DATA")
    if not folder:
        pytest.skip("SOUNDDETECT_TEST_DATA is not set: no recorded data to test on")
    if not Path(folder).is_dir():
        pytest.fail(f"SOUNDDETECT_TEST_DATA is {folder}, which is no folder")
    return Path(folder)
