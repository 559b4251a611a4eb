"""Detectors and runs of the first edition load, score as before, are judged, gone on with and exported."""

import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import sounddetect as sd
from sounddetect.detector.onnx_detector import OnnxDetector, export_onnx

FILES = Path(__file__).parent / "first_edition"
DETECTORS = {
    "format_1": "format_1",
    "run": "run",
    "run/model": "run",
    "three_classes": "three_classes",
    "detector.onnx": "run",
}


def load(name):
    return OnnxDetector.load(FILES / name) if name.endswith(".onnx") else sd.Detector.load(FILES / name, "cpu")


def scored(detector, monkeypatch):
    """What the detector answers to the stored recordings, named as they were."""
    monkeypatch.chdir(FILES)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "resampled to audio.sample_rate")
        return detector.predict(["recordings", "stereo.wav"])


def written(name):
    """What the first edition answered."""
    return pd.read_csv(FILES / "scores" / f"{name}.csv")


def assert_same(found, wanted, atol=1e-6):
    """The columns that the first edition wrote, in its order; others may have come."""
    scores = [name for name in wanted if wanted[name].dtype == float]
    assert scores and wanted[scores].to_numpy().std() > 0.1, "scores that are all the same tell nothing"
    found = found[list(wanted)]
    np.testing.assert_allclose(found[scores], wanted[scores], rtol=0, atol=atol)
    missing = {"label": {None: np.nan}}
    pd.testing.assert_frame_equal(found.drop(columns=scores).replace(missing), wanted.drop(columns=scores))


@pytest.mark.parametrize("name", DETECTORS)
def test_scores_are_those_of_the_first_edition(name, monkeypatch):
    assert_same(scored(load(name), monkeypatch), written(DETECTORS[name]))


@pytest.mark.parametrize("name", ["format_1", "run", "three_classes"])
def test_saved_again_it_scores_the_same(name, monkeypatch, tmp_path):
    path = load(name).save(tmp_path / "model")
    assert_same(scored(sd.Detector.load(path, "cpu"), monkeypatch), written(name))


@pytest.mark.parametrize("name", ["format_1", "run", "three_classes"])
def test_it_is_exported(name, monkeypatch, tmp_path):
    export_onnx(load(name), tmp_path / "a.onnx")
    assert_same(scored(OnnxDetector.load(tmp_path / "a.onnx"), monkeypatch), written(name), 1e-5)


@pytest.fixture
def run(request, tmp_path, monkeypatch):
    """A copy of a run, beside its recordings as it was then."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(FILES / "recordings", tmp_path / "recordings")
    shutil.copytree(FILES / request.param, tmp_path / request.param)
    data = tmp_path / request.param / "data.json"
    said = data.read_text(encoding="utf-8").replace("/srv/plant", tmp_path.as_posix())
    data.write_text(said, encoding="utf-8")
    return sd.Run(request.param)


def as_numbers(metric):
    return np.array(metric, float)  # None becomes NaN, which is equal to NaN here


@pytest.mark.parametrize("run", ["run"], indirect=True)
def test_run_is_judged_as_before(run):
    evaluation = run.path / "evaluation"
    before = json.loads((evaluation / "metrics.json").read_text(encoding="utf-8"))
    validation = pd.read_csv(evaluation / "validation.csv")
    assert run.finished and len(run.results) == 3
    sd.evaluate(run)
    after = run.metrics
    for name, value in before.items():
        if isinstance(value, str):
            assert after[name] == value
        else:
            np.testing.assert_allclose(as_numbers(after[name]), as_numbers(value), atol=1e-6, err_msg=name)
    assert_same(pd.read_csv(evaluation / "predictions.csv"), pd.read_csv(FILES / "run/evaluation/predictions.csv"))
    pd.testing.assert_frame_equal(pd.read_csv(evaluation / "validation.csv"), validation)
    assert (evaluation / "report.html").exists()


def assert_same_progress(found, before):
    """The rows that were there stay, but for how long they took and in how much memory; epochs of today have further columns."""
    kept = before.columns.drop(["seconds", "memory_mb"])
    pd.testing.assert_frame_equal(found[kept], before[kept])


@pytest.mark.parametrize("run", ["stopped"], indirect=True)
def test_stopped_run_is_gone_on_with(run):
    before = run.results
    assert not run.finished and len(before) == 2
    run = sd.resume(run.path, progress=False)
    assert run.finished and len(run.results) == 4
    assert_same_progress(run.results[:2], before)
    assert run.results["train_loss"].notna().all()
    assert sd.evaluate(run).metrics.keys() >= {"auc", "accuracy"}


@pytest.mark.parametrize("run", ["run"], indirect=True)
def test_finished_run_is_extended(run):
    before = run.results
    run = sd.resume(run.path, {"training.epochs": 5}, progress=False)
    assert run.finished and len(run.results) == 5
    # Its last checkpoint lies within the third epoch, whose other steps are made with the equalizer's numbers of today.
    assert_same_progress(run.results[:2], before[:2])
    assert json.loads((run.path / "model/model.json").read_text())["about"]["run"] == "run"


def test_detector_is_the_base_of_a_transfer(tmp_path, monkeypatch):
    monkeypatch.chdir(FILES)
    settings = {
        "training.mode": "transfer",
        "training.base": str(FILES / "format_1"),
        "data.classes": ["OK", "NG", "hum"],
        "data.path": "recordings",
        "data.cache_dir": str(tmp_path / "cache"),
        "training.epochs": 1,
    }
    run = sd.train(sd.Config.load("settings.yaml", settings), run=tmp_path / "new", progress=False)
    assert run.finished and run.detector.classes == ["OK", "NG", "hum"]
