"""Errors, cross-validation and comparison as people use them: commands, folders, what is refused."""

import contextlib
import io
import json
import signal
import subprocess
import time
from collections import namedtuple
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.commands import environment, program
from support.tiny import SETTINGS, options, write_folder, write_json

import sounddetect as sd
from sounddetect.cli.cli import main
from sounddetect.jobs.cross_validation import CrossValidation

Finished = namedtuple("Finished", "returncode stdout stderr")
FOLDS_FILES = {"folds.csv", "predictions.csv", "metrics.json"}


@pytest.fixture(scope="module")
def plant(tmp_path_factory):
    """Six machines, two runs that share their split, and a cross-validation of two folds."""
    folder = tmp_path_factory.mktemp("plant")
    write_folder(folder / "data")
    config = sd.Config.load(None, SETTINGS | {"data.path": str(folder / "data"), "data.cache_dir": str(folder / "cache")})
    for name, rate in (("a", 0.001), ("b", 0.01)):
        run = sd.train(config.replace({"training.learning_rate": rate}), run=folder / "runs" / name, progress=False)
        sd.evaluate(run)
    sd.cross_validate(config, folds=2, run=folder / "runs" / "folds", progress=False)
    return folder


@pytest.fixture
def command(plant, monkeypatch):
    """A command in this process: a dozen new ones would take a minute to import torch."""
    monkeypatch.chdir(plant)

    def run(*words):
        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
            try:
                main(list(words))
                code = 0
            except SystemExit as end:
                code = end.code or 0
        return Finished(code, out.getvalue(), err.getvalue())

    return run


def test_evaluate_fills_errors(plant, command):
    """All good ones are said to be bad and the other way round: everything is misjudged."""
    wrong = plant / "wrong"
    for file in sorted((plant / "data").glob("*.json")):
        content = json.loads(file.read_text())
        content["labels"] = [{"OK": "NG", "NG": "OK"}[label] for label in content["labels"]]
        content["waveforms"] = [(np.array(row) * 0.9).tolist() for row in content["waveforms"]]
        wrong.mkdir(exist_ok=True)
        (wrong / file.name).write_text(json.dumps(content))
    done = command("evaluate", "runs/a", "wrong", "--errors", "2")
    assert done.returncode == 0, done.stderr
    errors = plant / "runs" / "a" / "evaluation" / "errors"
    table = pd.read_csv(errors / "errors.csv", keep_default_na=False)
    predictions = pd.read_csv(plant / "runs" / "a" / "evaluation" / "predictions.csv")
    assert len(table) == (predictions.label != predictions.decision).sum() > 10
    assert f"misjudged: {len(table)}, 2 of them drawn" in done.stdout
    assert [name for name in table.picture if name] == sorted(path.name for path in errors.glob("0*.png"))
    surest = (predictions.anomaly_score - 0.5).abs()[predictions.label != predictions.decision]
    assert np.isclose(abs(table.anomaly_score[0] - 0.5), surest.max(), atol=1e-6)
    assert all(Path(source).name in {file.name for file in wrong.iterdir()} for source in table.source)
    assert pd.read_csv(errors / "errors_by_source.csv").errors.sum() == len(table)
    assert command("evaluate", "runs/a", "--errors", "-1").returncode == 2
    again = command("evaluate", "runs/a", "--json", "--errors", "0")     # its own test part again
    assert json.loads(again.stdout)["n"] == len(sd.Run(plant / "runs" / "a").data["split"]["test"])
    assert not list(errors.glob("0*.png"))


def test_face_has_errors(plant):
    run = sd.Run(plant / "runs" / "a")
    recordings = sd.load_recordings(plant / "data", cache_dir=plant / "cache")
    predictions = sd.evaluate(run.detector, recordings).predictions
    turned = predictions.assign(label=predictions.label.map({"OK": "NG", "NG": "OK"}))
    case = next(sd.error_cases(run.detector, recordings, turned))
    assert case.key in set(recordings.table.key) and "<audio" in case._repr_html_()
    assert sd.errors_by_source(turned).errors.sum() == (turned.label != turned.decision).sum()


def test_folds_are_complete_runs_without_leaks(plant):
    done = CrossValidation(plant / "runs" / "folds")
    assert {path.name for path in done.path.iterdir()} == FOLDS_FILES | {"config.yaml", "data.json", "fold-1", "fold-2"}
    recordings = sd.load_recordings(plant / "data", cache_dir=plant / "cache")
    group = dict(zip(recordings.table.key, recordings.table.group))
    for number, run in enumerate(done.runs, 1):
        assert run.finished and (run.path / "evaluation" / "metrics.json").exists()
        parts = [{group[key] for key in run.data["split"][part]} for part in ("train", "validation", "test")]
        assert sum(map(len, parts)) == len(set.union(*parts)) == 6
        assert {group[key] for key in done.predictions.key[done.predictions.fold == number]} == parts[2]
    assert sorted(done.predictions.key) == sorted(recordings.table.key)
    assert done.table.index.tolist() == ["1", "2", "mean over folds", "deviation over folds", "pooled", "pooled, low", "pooled, high"]


def test_cross_validation_is_no_unfinished_run(plant, command):
    assert "no unfinished run" in command("resume").stderr
    (plant / "runs" / "folds" / "metrics.json").rename(plant / "metrics.json")
    try:
        assert "no unfinished run" in command("resume").stderr
        for words in (("resume", "runs/folds"), ("evaluate", "runs/folds")):
            refused = command(*words)
            assert refused.returncode == 1 and "sounddetect cross-validate --run" in refused.stderr and "Traceback" not in refused.stderr
    finally:
        (plant / "metrics.json").rename(plant / "runs" / "folds" / "metrics.json")


def test_stopped_cross_validation_goes_on(plant, command):
    """SIGTERM in the second fold: 75 and the line that goes on; then the same files as without a stop."""
    words = ["cross-validate", "data", "--folds", "2", "--run", "runs/stopped", *options(data__cache_dir="cache", training__epochs=1)]
    process = subprocess.Popen([*program(), *words], cwd=plant, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not (plant / "runs/stopped/fold-2/log.txt").exists():
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate()
    if process.returncode != 0:                          # it may have been quicker than the signal
        assert process.returncode == 75, err
        assert "sounddetect cross-validate --run" in err and out.splitlines()[-1] == f"run: {Path('runs/stopped')}"
    first = (plant / "runs/stopped/fold-1/model/model.safetensors").stat().st_mtime_ns
    done = command("cross-validate", "--run", "runs/stopped")
    assert done.returncode == 0, done.stderr
    assert (plant / "runs/stopped/fold-1/model/model.safetensors").stat().st_mtime_ns == first
    for name in FOLDS_FILES:
        assert (plant / "runs/stopped" / name).read_bytes() == (plant / "runs/folds" / name).read_bytes(), name
    assert (plant / "runs/stopped/doubts/doubts.csv").exists()


def test_refused_cross_validation_leaves_nothing(plant, command):
    for words, said in ((["--folds", "9"], "a split into 9 parts needs 9"), (["--set", "audio.channel=3"], "audio.channel is 3")):
        refused = command("cross-validate", "data", "--run", "runs/never", *words, *options(data__cache_dir="cache"))
        assert refused.returncode == 1 and said in refused.stderr and "Traceback" not in refused.stderr
        assert not (plant / "runs/never").exists()
    assert command("cross-validate", "data", "--run", "runs/a", *options()).returncode == 1
    assert (plant / "runs/a/model/model.json").exists()


def test_compare(plant, command):
    done = command("compare", "runs/a", "runs/b", "--json")
    assert done.returncode == 0, done.stderr
    content = json.loads(done.stdout)
    n_test = len(sd.Run(plant / "runs" / "a").data["split"]["test"])
    assert [row["n"] for row in content["tests"]] == [n_test]
    assert content["settings"] == [{"setting": "training.learning_rate", "a": 0.001, "b": 0.01}]
    text = command("compare", "runs/a", "runs/b", "runs/folds")
    assert text.returncode == 0 and f"on {n_test} common recordings" in text.stdout and "learning_rate" in text.stdout
    for words in (("compare", "runs/a"), ("compare", "runs/a", "runs/a"), ("compare", "runs/a", "data")):
        refused = command(*words)
        assert refused.returncode == 1 and "Traceback" not in refused.stderr and refused.stderr.startswith("error: ")


def test_compare_on_new_recordings(plant, command):
    for number in range(3):
        write_json(plant / "new" / f"machine_{number}.json", ["OK", "NG"], seed=50 + number)
    done = command("compare", "runs/a", "runs/b", "--data", "new", "--data", "data", "--json")
    assert done.returncode == 0, done.stderr
    content = json.loads(done.stdout)
    assert content["tests"][0]["n"] == 6 + len(sd.Run(plant / "runs" / "a").data["split"]["test"])
    assert any("were left out" in note for note in content["notes"])
