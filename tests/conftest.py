"""What all tests share: an environment without a tracking server, the command as a fixture, recorded data where there is any."""

import os
import signal
import subprocess
from pathlib import Path

import pytest
from support.commands import ROOT, run_command
from support.pictures import drawing_nothing

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
        return run_command(cwd, *arguments)

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


# --- pictures ----------------------------------------------------------------------------------------------------------

# Households whose tests train and evaluate, but look at no picture: drawing takes half the time of a small training.
BLIND = ("cli/", "config/", "data/", "detector/", "jobs/", "tasks/", "testing/", "tracking/")
LOOKED_AT = ("cli/test_foreign_names.py", "cli/test_older_denoising.py", "cli/test_page.py")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """Fixtures included, draw nothing where nobody looks; the commands that a test runs neither."""
    if not item.place.startswith(BLIND) or item.place in LOOKED_AT:
        return (yield)
    with drawing_nothing():
        return (yield)


# --- which tests, and in which order ---------------------------------------------------------------------------------

# Files whose tests start commands, servers or a browser, or train: `make quick` leaves them out.
SLOW = {
    "cli/test_absurd.py",
    "cli/test_adapting.py",
    "cli/test_commands.py",
    "cli/test_errors.py",
    "cli/test_foreign_names.py",
    "cli/test_judging.py",
    "cli/test_page.py",
    "config/test_older_configs.py",
    "data/test_corpus.py",
    "data/test_damage.py",
    "detector/test_deployment.py",
    "detector/test_first_edition.py",
    "detector/test_log_mel.py",
    "evaluation/test_dcase.py",
    "evaluation/test_report.py",
    "house/test_wheel.py",
    "jobs/test_arrays.py",
    "jobs/test_disk.py",
    "jobs/test_engines.py",
    "jobs/test_interruptions.py",
    "jobs/test_kills.py",
    "jobs/test_object_storage.py",
    "jobs/test_ray_cluster.py",
    "jobs/test_recorded.py",
    "jobs/test_shared_search.py",
    "service/test_page.py",
    "service/test_service.py",
    "tasks/test_denoising.py",
    "testing/test_contract.py",
    "tracking/test_tracking.py",
    "workbench/test_browser.py",
    "workbench/test_choices.py",
    "workbench/test_colab.py",
    "workbench/test_hostile_names.py",
    "workbench/test_twelve_in_browser.py",
    "workbench/test_workbench.py",
}
NOTEBOOKS = "notebooks/test_notebooks.py"
BROWSER = "workbench/test_browser.py"
# The longest first, so that no worker begins one when the other has nothing left to do.
LONGEST = [
    *(BROWSER, "cli/test_commands.py", "jobs/test_interruptions.py", "service/test_service.py", "testing/test_contract.py"),
    *("data/test_damage.py", "cli/test_absurd.py", "workbench/test_workbench.py", "workbench/test_colab.py", "service/test_page.py"),
    *("tracking/test_tracking.py", "jobs/test_disk.py", "07_training/", "tutorials/", "10_jobs/", "11a_cli/", "11b_workbench/"),
]


def pytest_addoption(parser):
    parser.addoption("--changed", action="store_true", help="of the notebooks, only those that differ from main")


def changed_files():
    """Files that differ from where this branch left main, or that git does not know yet."""

    def git(*words):
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True).stdout.split("\n")

    base = next(filter(None, [git("merge-base", "HEAD", name)[0] for name in ("origin/main", "main")]), "HEAD")
    return {name for name in [*git("diff", "--name-only", base), *git("ls-files", "-o", "--exclude-standard")] if name}


def pytest_itemcollected(item):
    name = item.path.relative_to(ROOT / "tests").as_posix()
    item.place = name
    if name in SLOW:
        item.add_marker("slow")
    if name == NOTEBOOKS:
        item.place = item.callspec.params["path"].relative_to(ROOT / "nbs").as_posix()


def pytest_collection_modifyitems(config, items):
    """The longest first; with `--changed` only notebooks that differ."""
    changed = changed_files() if config.getoption("--changed") else None
    tests, left_out = [], []
    for item in items:
        is_notebook = item.place.endswith(".ipynb")
        skipped = is_notebook and changed is not None and f"nbs/{item.place}" not in changed
        (left_out if skipped else tests).append(item)
    config.hook.pytest_deselected(items=left_out)
    first = {id(item): next((n for n, part in enumerate(LONGEST) if part in item.place), len(LONGEST)) for item in tests}
    items[:] = sorted(tests, key=lambda item: first[id(item)])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Tests of a file stay together, since they share what is dear to make: in browsers a front; notebooks go one by one, to whoever is free."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file, _, test = nodeid.partition("::")
            if file.endswith(NOTEBOOKS):
                return nodeid
            return file + test[test.find("[") :] if file.endswith(BROWSER) else file

    return ByFile(config, log) if config.getvalue("dist") == "loadscope" else None
