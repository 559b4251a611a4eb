"""The driver notebook on a stand-in for Colab, from top to bottom, and an environment with exactly Colab's versions."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from configparser import ConfigParser

import nbformat
import pandas as pd
import pytest
from nbclient import NotebookClient
from support import browser
from support.commands import ROOT, environment

from sounddetect.training.checkpoint import load_checkpoint

STAND_IN = """
import sys, threading, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from support import colab_stand_in as stand_in
stand_in.install({root!r})
"""
QUICK = {"blocking": True, "simulated": 48, "SIZE": "n", "EPOCHS": 2, "USE_DRIVE": True}


def run_notebook(root, parameters=None, before="", after=""):
    """The outputs of all cells, and what was asked of Colab: `before` runs before the first cell, `after` at the end."""
    notebook = nbformat.read(ROOT / "nbs" / "colab.ipynb", 4)
    (place,) = [i for i, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", [])]
    settings = "\n".join(f"{name} = {value!r}" for name, value in (QUICK | (parameters or {})).items())
    notebook.cells.insert(place + 1, nbformat.v4.new_code_cell(settings))
    notebook.cells.insert(0, nbformat.v4.new_code_cell(STAND_IN.format(tests=str(ROOT / "tests"), root=str(root)) + before))
    notebook.cells.append(nbformat.v4.new_code_cell(after))
    notebook.cells.append(nbformat.v4.new_code_cell("import json; print(json.dumps(stand_in.calls))"))
    (root / "content").mkdir(parents=True, exist_ok=True)
    kernel = {"kernel_name": "python3", "timeout": 300, "resources": {"metadata": {"path": str(root / "content")}}}
    NotebookClient(notebook, **kernel).execute(env=environment())
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return outputs, json.loads(outputs[-1]["text"]), notebook


def shown(notebook):
    """Text of all widgets that the notebook holds at its end."""
    states = notebook.metadata.get("widgets", {}).get("application/vnd.jupyter.widget-state+json", {}).get("state", {})
    return "\n".join(str(state["state"].get("value", "")) for state in states.values())


AWAY = """
def go_away_and_come_back():
    drive = Path({root!r}) / "drive" / "MyDrive"
    while not list(drive.glob("**/results.csv")): time.sleep(0.02)
    drive.rename(drive.with_name("away"))
    drive.write_text("transport endpoint is not connected")
    time.sleep(1)
    drive.unlink()
    drive.with_name("away").rename(drive)
    stand_in.calls.append(("back",))
threading.Thread(target=go_away_and_come_back, daemon=True).start()
"""


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """A session in which Drive goes away during the training and comes back; its folder, what was asked of Colab, what was shown."""
    root = tmp_path_factory.mktemp("colab")
    after = "workbench.home.download(); workbench.home.wait(60)"
    outputs, calls, notebook = run_notebook(root, {"EPOCHS": 40, "simulated": 160}, AWAY.format(root=str(root)), after)
    return root, calls, notebook


def the_run(root):
    (run,) = [path.parent for path in (root / "drive" / "MyDrive").glob("**/runs/*/config.yaml")]
    return run


def test_install_leaves_torch_and_numpy_alone_and_comes_from_the_badges_branch(session):
    _, calls, notebook = session
    parser = ConfigParser(delimiters=["="])
    parser.read(ROOT / "settings.ini", encoding="utf-8")
    address = "git+https://github.com/{user}/{repo}@{branch}".format(**parser["DEFAULT"])
    badge = "colab.research.google.com/github/{user}/{repo}/blob/{branch}/nbs/colab.ipynb".format(**parser["DEFAULT"])
    (line,) = [call[1] for call in calls if call[0] == "pip"]
    wanted = [word for word in shlex.split(re.sub(r"-c \S+", "", line))[1:] if not word.startswith("-")]
    assert wanted == [f"sounddetect[tune] @ {address}"]
    assert badge in notebook.cells[1].source
    commands = [call[1] for call in calls if call[0] == "system"]
    assert not any(re.search(r"\binstall\b", command) for command in commands)


def test_a_drive_that_goes_away_and_comes_back_costs_nothing(session):
    root, calls, _ = session
    run = the_run(root)
    assert ["back"] in calls and ["mount", str(root / "drive")] in calls
    rows = pd.read_csv(run / "results.csv")
    assert rows["epoch"].tolist() == list(range(1, len(rows) + 1)) and len(rows) > 5
    events = [json.loads(line)["event"] for line in (run / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    assert events.count("epoch") == len(rows) and events[-1] == "stop"
    assert (run / "model" / "model.json").exists() and (run / "evaluation" / "metrics.json").exists()
    assert load_checkpoint(run / "weights" / "last.pt")["progress"]["epoch"] == len(rows) + 1  # the copy caught up


def test_the_detector_is_handed_to_the_browser(session):
    root, calls, _ = session
    (archive,) = [call[1] for call in calls if call[0] == "download"]
    assert archive.endswith(".zip") and (root / "content" / archive).exists()


def test_a_new_session_finds_the_run_on_drive_and_goes_on(session):
    root, _, _ = session
    run = the_run(root)
    shutil.rmtree(root / "disk")  # the machine is a new one,
    shutil.rmtree(root / "content")
    shutil.rmtree(run / "model")  # and the old one was taken before the training had ended
    n_epochs = len(pd.read_csv(run / "results.csv"))
    after = "print('found:', workbench.train.message.value)\nworkbench.train.resume()\nprint('then:', workbench.train.phase, workbench.train.message.value)"
    outputs, _, _ = run_notebook(root, {"EPOCHS": 40}, after=after)
    said = "".join(output.get("text", "") for output in outputs)
    assert re.search(rf"found: .*{run.name}", said) and "then: finished" in said, said
    assert (run / "model" / "model.json").exists() and len(pd.read_csv(run / "results.csv")) == n_epochs
    assert the_run(root) == run  # "Run all" did not begin another one beside it


def test_a_drive_that_cannot_be_opened_is_named_and_stops_nothing_else(tmp_path):
    before = "stand_in.failing['mount'] += [stand_in.KNOWN['not authorised']] * 5"
    outputs, _, notebook = run_notebook(tmp_path, {"START": False, "simulated": 24}, before)
    text = shown(notebook) + "".join(output.get("text", "") for output in outputs)
    assert "pop-ups" in text or "ポップアップ" in text, re.findall(".*Drive.*", text)
    assert not any(output["output_type"] == "error" for output in outputs)


# --- Colab's versions ------------------------------------------------------------------------------------------------


def in_colab_environment(*words, **more):
    python = browser.COLAB / "bin" / "python"
    if not python.exists():
        browser.missing(f"no environment with Colab's versions at {browser.COLAB.name}: run `make .venv-colab`")
    return subprocess.run([str(python), *map(str, words)], capture_output=True, text=True, **more)


def pins(path):
    lines = (line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    pairs = (line.split("==") for line in lines if line)
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in pairs}


def test_the_lock_has_what_colab_publishes():
    published, locked = pins(ROOT / "tools" / "colab_pins.txt"), pins(ROOT / "tests" / "workbench" / "constraints-colab.txt")
    shared = published.keys() & locked.keys() - {"torch"}
    assert len(shared) >= 15
    assert {name: locked[name] for name in shared} == {name: published[name] for name in shared}


def test_the_environment_has_exactly_these_versions():
    code = "import json, importlib.metadata as m; print(json.dumps({d.name: d.version for d in m.distributions()}))"
    done = in_colab_environment("-I", "-c", code)
    found = {re.sub(r"[-_.]+", "-", name).lower(): version.partition("+")[0] for name, version in json.loads(done.stdout).items()}
    locked = pins(ROOT / "tests" / "workbench" / "constraints-colab.txt")
    assert {name: found.get(name) for name in locked} == locked


def test_installed_beside_colabs_versions_it_builds_the_workbench(tmp_path):
    """A wheel, with all that it requires already there: pip has nothing else to fetch, nothing to replace."""
    wheel = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    source = tmp_path / "source"
    kept = ("setup.py", "settings.ini", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE")
    source.mkdir()
    for name in kept:
        shutil.copy(ROOT / name, source / name)
    shutil.copytree(ROOT / "sounddetect", source / "sounddetect", ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run([*wheel[:-1], str(source)], check=True, capture_output=True)
    (built,) = tmp_path.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "--python", str(browser.COLAB)]
    if not browser.COLAB.exists():
        browser.missing("no environment with Colab's versions: run `make .venv-colab`")
    dry = subprocess.run([*pip, "install", "--dry-run", "--no-index", "--quiet", "--report", "-", str(built)], capture_output=True, text=True)
    assert dry.returncode == 0, dry.stderr
    assert [item["metadata"]["name"] for item in json.loads(dry.stdout)["install"]] == ["sounddetect"]
    site = tmp_path / "site"
    subprocess.run([*pip, "install", "--no-deps", "--no-index", "--quiet", "--target", str(site), str(built)], check=True)
    code = f"import sys; sys.path.insert(0, {str(site)!r}); import sounddetect as sd, ipywidgets; workbench = sd.Workbench('ja'); print(sd.__file__, ipywidgets.__version__, *workbench.panels)"
    done = in_colab_environment("-I", "-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    place, version, *panels = done.stdout.split()
    assert place.startswith(str(site)) and version == "7.7.1" and {"data", "train", "results", "home"} <= set(panels)
