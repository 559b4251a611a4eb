"""What all tests share: an environment without a tracking server, the command as a fixture, recorded data where there is any."""

import os
import signal
from pathlib import Path

import pytest
from support.commands import program, run_in

# Started in the background, a shell has us ignore Ctrl-C, and the programs that we start would inherit it.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Who has set ClearML up wants to see trainings there, not tests.
for variable in [variable for variable in os.environ if variable.startswith("CLEARML_")]:
    del os.environ[variable]
os.environ["CLEARML_CONFIG_FILE"] = os.devnull


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
