"""The workbench without a browser: the driver notebook from top to bottom, its texts, and what happens to it when things go wrong."""

import ast
import json
import re
import subprocess
import sys
import time

import nbformat
import numpy as np
import pytest
import soundfile
from nbclient import NotebookClient
from support.commands import ROOT, environment

from sounddetect.data.inspection.findings import SEVERITIES
from sounddetect.workbench.texts import TEXTS

APP = ROOT / "sounddetect" / "workbench"
PANELS = sorted(APP.glob("*_panel.py")) + [APP / name for name in ("panels.py", "choices.py", "space_table.py", "folder_browser.py", "live_training.py", "workbench.py", "guide.py",
                                                             "listening.py", "roles.py", "mixtures.py", "cleaning.py", "handing_out.py")]
TINY = {"EPOCHS": 2, "SIZE": "n", "simulated": 24, "blocking": True}


def driver(**parameters):
    """The driver notebook, with a cell of parameters after the tagged one, as papermill puts it."""
    notebook = nbformat.read(ROOT / "nbs" / "colab.ipynb", 4)
    tagged = [i for i, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    source = "\n".join(f"{name} = {value!r}" for name, value in parameters.items())
    notebook.cells.insert(tagged[0] + 1, nbformat.v4.new_code_cell(source))
    return notebook


def run_in_kernel(notebook, folder, *questions):
    """Run a notebook in `folder`; what each of `questions` (Python expressions) prints at its end."""
    for question in questions:
        notebook.cells.append(nbformat.v4.new_code_cell(f"print({question})"))
    client = NotebookClient(notebook, timeout=300, kernel_name="python3", store_widget_state=False)
    client.execute(cwd=str(folder), env=environment())
    return ["".join(output.get("text", "") for output in cell.outputs).strip() for cell in notebook.cells[-len(questions) :]]


# --- the driver ------------------------------------------------------------------------------------------------------


def test_driver_goes_from_nothing_to_an_archive(tmp_path):
    notebook = driver(**TINY)
    phase, errors, n, archive = run_in_kernel(
        notebook,
        tmp_path,
        "workbench.train.phase",
        "[name for name, panel in workbench.panels.items() if 'sd-error' in panel.message.value]",
        "len(workbench.bench.evaluation.predictions)",
        "workbench.home.download() and sorted(path.name for path in workbench.bench.folder.glob('downloads/*.zip'))",
    )
    assert (phase, errors) == ("finished", "[]")
    assert int(n) > 0 and re.fullmatch(r"\['sounddetect_[\d-]+\.zip'\]", archive)
    (run,) = (tmp_path / "runs").iterdir()
    assert (run / "model" / "model.json").exists() and (run / "evaluation" / "metrics.json").exists()
    # Nothing but panels is shown: no warning, no traceback, no progress bar.
    shown = [output for cell in notebook.cells[:-4] for output in cell.get("outputs", [])]
    assert {output["output_type"] for output in shown} <= {"display_data", "execute_result"}, shown


def test_driver_without_recordings_says_so_and_runs_on(tmp_path):
    message, phase = run_in_kernel(
        driver(**TINY | {"DATA": str(tmp_path / "nowhere"), "LANG": "ja"}),
        tmp_path,
        "workbench.data.message.value",
        "workbench.train.phase",
    )
    assert "sd-error" in message and "nowhere" in message and "見つかりません" in message and "Traceback" not in message
    assert phase == "idle"


def test_driver_holds_no_logic_and_no_output():
    """Parameters, calls, and the one line that installs."""
    cells = nbformat.read(ROOT / "nbs" / "colab.ipynb", 4).cells
    for cell in (cell for cell in cells if cell.cell_type == "code"):
        assert not cell.outputs
        assert cell.metadata["cellView"] == "form" and cell.metadata["jupyter"]["source_hidden"], "folded away for whoever reads no Python"
        assert cell.source.startswith("# @title "), "which is what Colab shows instead"
        code = re.sub(r"(?m)^(\s*)[%!].*$", r"\1pass", cell.source)
        kinds = {type(node) for node in ast.walk(ast.parse(code))}
        assert not kinds & {ast.For, ast.While, ast.FunctionDef, ast.Try, ast.With, ast.ClassDef}
        assert "if IN_COLAB" in cell.source or ast.If not in kinds


def test_every_step_is_told_in_both_languages():
    cells = [cell.source for cell in nbformat.read(ROOT / "nbs" / "colab.ipynb", 4).cells if cell.cell_type == "markdown"]
    steps = [source for source in cells if re.match(r"## \d+\. ", source)]
    assert [int(re.match(r"## (\d+)", source)[1]) for source in steps] == list(range(1, 11))
    for source in steps:
        heading, *paragraphs = source.split("\n\n")
        assert re.match(r"## \d+\. [A-Z][\w ]+ / \S", heading)
        assert re.search("[ぁ-ん]", paragraphs[-1]) and not re.search("[ぁ-ん]", paragraphs[0])


# --- texts -----------------------------------------------------------------------------------------------------------


def strings(path):
    """Text constants and f-strings (as patterns) of a module, docstrings left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(re.escape(part.value) if isinstance(part, ast.Constant) else r"[\w.]+" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            yield re.escape(node.value)


def test_every_text_is_used_and_every_key_is_there():
    written = {pattern for path in PANELS for pattern in strings(path)}
    used = {key for key in TEXTS for pattern in written if "\\." in pattern and re.fullmatch(pattern, key)}
    generic = r"[\w.]+\.[\w.]+"  # `f"{panel}.{name}"` would match them all
    assert generic not in written
    assert not set(TEXTS) - used, "texts that no panel shows"
    panels = "|".join({key.partition(".")[0] for key in TEXTS})
    states = {f"train.state.{state}" for state in ("idle", "preparing", "running", "stopping", "stopped", "finished", "failed")}
    assert states | {f"check.severity.{severity}" for severity in SEVERITIES} <= set(TEXTS)
    keys = {key for path in PANELS for key in re.findall(rf'"((?:{panels})\.[a-z_.]+)"', path.read_text(encoding="utf-8"))}
    assert keys - set(TEXTS) == {"data.cache_dir", "data.classes", "data.clip_duration", "data.columns", "data.group_by", "data.labels", "data.noise",
                                      "data.noisy", "data.path", "data.signal", "data.skip_bad"} - set(TEXTS)  # settings


def test_panels_hold_no_text_of_their_own():
    """What a user reads comes from the table: no Japanese in a panel, and no words for a widget."""
    for path in PANELS:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.keyword) and node.arg in ("description", "tooltip", "placeholder") and isinstance(node.value, ast.Constant):
                value = str(node.value.value)
                assert value in TEXTS or "=" in value, f"{path.name}: {value}"
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not re.search("[ぁ-んァ-ン一-龥]", node.value), f"{path.name}: {node.value}"


# --- interruptions ---------------------------------------------------------------------------------------------------

BEGIN = """
import sys, time
import sounddetect as sd
workbench = sd.Workbench("en", sys.argv[1], blocking=False)
workbench.plan.size.value, workbench.plan.epochs.value, workbench.data.count.value = "n", 500, 24
workbench.show("data", count=24)
workbench.show("train")
end = time.time() + 120
while workbench.train.live is None or not workbench.train.live.rows: assert time.time() < end; time.sleep(0.02)
print("running", flush=True)
time.sleep(300)
"""


def test_a_kernel_that_dies_in_mid_training_is_gone_on_with(tmp_path):
    from sounddetect.workbench.workbench import Workbench

    with subprocess.Popen([sys.executable, "-c", BEGIN, str(tmp_path)], env=environment(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "running\n"
        process.kill()
    (run,) = (tmp_path / "runs").iterdir()
    workbench = Workbench("en", tmp_path)
    train = workbench.train
    assert run.name in train.message.value and not train.buttons["resume"].disabled and train.phase == "idle"
    workbench.show("train", start=True)
    assert train.phase == "idle", "what waits to be gone on with is not overtaken by a new training"
    train.buttons["resume"].click()
    train.buttons["resume"].click()
    until(lambda: train.live.state == "running" and train.live.rows)
    again = Workbench("ja", tmp_path)  # the cells were run again, or the page was loaded anew
    assert again.train.live is train.live and again.train.buttons["start"].disabled
    asked, stops = [], train.live._stop_work
    train.live.stops_by(asked.append)  # a training in a long step, which does not hear it yet
    again.train.buttons["stop"].click()
    assert (asked, train.live.state) == (["stop"], "stopping"), "a click waits for nothing"
    stops("stop")
    assert again.train.wait(240) and train.wait(240)
    assert (train.phase, again.train.phase) == ("stopped", "stopped")
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [run.name]
    epochs = [json.loads(line) for line in (run / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    numbers = [event["epoch"] for event in epochs if event["event"] == "epoch"]
    assert numbers == sorted(numbers) and numbers[0] == 1


def until(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_no_panel_prints():
    """What is printed from a thread lands below whatever cell ran last."""
    for path in [*PANELS, APP / "updates.py"]:
        calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
        assert not [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"], path.name


# --- only good recordings --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("labelled", [True, False], ids=["in a folder OK", "without labels"])
def test_only_good_recordings_lead_to_a_detector(tmp_path, labelled):
    """The commonest plant: nobody has recorded a fault yet. Every panel leads on, none refuses."""
    from sounddetect.workbench.workbench import Workbench

    at = tmp_path / "plant" / ("OK" if labelled else "")
    good_recordings(at, 40)
    workbench = Workbench("en", tmp_path, blocking=True)
    workbench.plan.window.value = 0.1
    workbench.show("data", path=str(tmp_path / "plant"))
    if not labelled:
        assert workbench.data.good_button.layout.display == ""
        workbench.data.good_button.click()
    assert workbench.bench.plan is not None and workbench.plan.size.disabled
    workbench.train.buttons["start"].click()
    assert workbench.bench.run.config.task == "anomaly"
    workbench.try_it.score_button.click()
    for name in ("download", "report", "onnx"):
        workbench.home.buttons[name].click()
        assert "sd-good" in workbench.home.message.value
    said = {name: panel.message.value for name, panel in workbench.panels.items()}
    assert not [name for name, message in said.items() if "sd-error" in message], said
    assert "anomaly score" in workbench.try_it.table.value.replace("_", " ")


def good_recordings(folder, n):
    """Short noise of one machine, no two alike."""
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(n):
        noise = np.random.default_rng(k).normal(scale=0.1, size=8000)
        soundfile.write(folder / f"rec_{k:02d}.wav", noise, 16000)
