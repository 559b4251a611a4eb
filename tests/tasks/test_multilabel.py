"""Two faults at once: from a manifest with several labels to a saved detector, its report and its refusals."""

import json
import shutil
import warnings

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
from typer.testing import CliRunner

import sounddetect as sd
from sounddetect.cli.cli import app

RATE, TONES = 8000, {"low": 500, "high": 2000}     # Hz
SETTINGS = {
    "features.kind": "log_mel", "features.n_mels": 16, "model.size": "n", "model.input_length": 1024, "training.epochs": 14,
    "training.batch_size": 8, "audio.sample_rate": RATE, "device": "cpu", "clearml.enabled": False, "training.validation_split": 0.3,
}


def waveform(there, seed):
    """Noise, with a tone for each of its labels."""
    rng, time = np.random.default_rng(seed), np.arange(2048) / RATE
    tones = sum(0.3 * np.sin(2 * np.pi * TONES[name] * time + rng.uniform(0, 6)) for name in there)
    return (0.1 * rng.standard_normal(2048) + tones).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Forty recordings, and a manifest that writes several labels in each of the ways that people do."""
    folder = tmp_path_factory.mktemp("machines")
    lines = ["path,label,group"]
    for k in range(40):
        there = [name for j, name in enumerate(TONES) if k >> j & 1]
        sf.write(folder / f"{k:02d}.wav", waveform(there, k), RATE, "FLOAT")
        written = {0: "none", 1: "".join(there), 2: ("low;high", "high | low", '"low,high"')[k % 3]}[len(there)]
        lines.append(f"{k:02d}.wav,{written},machine {k // 4}")
    (folder / "manifest.csv").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="module")
def config(folder):
    return sd.Config.load(None, SETTINGS | {
        "data.path": str(folder), "data.classes": "auto", "data.cache_dir": str(folder / ".cache"), "output.dir": str(folder.parent / "runs")})


@pytest.fixture(scope="module")
def run(config):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return sd.train(config, run=f"{config.output.dir}/both", progress=False)


@pytest.fixture(scope="module")
def evaluation(run):
    return sd.evaluate(run)


def test_all_spellings_are_the_same_set(folder, config):
    recordings = sd.load_recordings(folder, config)
    assert recordings.table["label"].value_counts().to_dict() == {"none": 10, "low": 10, "high": 10, "high;low": 10}


def test_labels_say_which_task_it_is(run):
    assert (run.config.task, run.config.data.classes) == ("multilabel", ["high", "low"])
    assert {"val_mean_average_precision", "val_f1", "val_accuracy"} <= set(run.results)


def test_both_tones_are_told_of_a_mixture_and_none_of_noise(run):
    """Scores are probabilities each for itself: of a mixture both are high, of noise both are low."""
    sounds = {name: waveform(there, 100) for name, there in (("both", TONES), ("low", ["low"]), ("high", ["high"]), ("none", []))}
    told = pd.concat([run.detector.predict(sound, RATE).assign(really=name) for name, sound in sounds.items()]).set_index("really")
    assert told["decision"].to_dict() == {"both": "high;low", "low": "low", "high": "high", "none": "none"}
    total = told[["high", "low"]].sum(axis=1)
    assert total["both"] > 1.3 and total["none"] < 0.7


def test_thresholds_of_each_class_are_saved(run, tmp_path):
    thresholds = run.detector.config.inference.thresholds
    assert set(thresholds) == {"high", "low"} and thresholds == {
        name: choice["value"] for name, choice in run.detector.about["thresholds"].items()}
    shutil.copytree(run.path / "model", tmp_path / "model")
    assert sd.Detector.load(tmp_path / "model", "cpu").scores == run.detector.scores
    severe = run.detector.with_settings({"inference.thresholds": {"high": 1.0, "low": 1.0}})
    assert set(severe.predict(waveform(TONES, 100), RATE)["decision"]) == {"none"}


def test_evaluation_and_report_have_a_row_a_class(run, evaluation):
    folder = run.path / "evaluation"
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["mean_average_precision"] > 0.9 and len(metrics["mean_average_precision_ci"]) == 2
    rows = pd.read_csv(folder / "per_class.csv", index_col="class")
    assert rows.index.tolist() == ["high", "low"] and {"threshold", "average_precision_low", "auc_high"} <= set(rows)
    there = evaluation.predictions["label"].str.contains("high")
    assert rows.loc["high", "n"] == there.sum() == evaluation.confusion[0, :2].sum()
    report = (folder / "report.html").read_text()
    assert "mAP" in report and (folder / "label_curves.png").exists()
    assert list(pd.read_csv(folder / "predictions.csv", keep_default_na=False))[:5] == ["key", "label", "high", "low", "decision"]


def test_the_threshold_of_one_class_is_chosen_by_name(run, tmp_path):
    """By command: the class that is named decides otherwise, the other one as before."""
    own = tmp_path / "run"
    shutil.copytree(run.path, own)
    before = sd.Run(own).detector.config.inference.thresholds
    said = CliRunner().invoke(app, ["threshold", str(own), "--class", "high", "--value", "1"])
    assert said.exit_code == 0 and said.stdout.startswith("high (with it: bad, without it: good): threshold 1 (fixed)")
    detector = sd.Run(own).detector
    assert detector.config.inference.thresholds == {"high": 1.0, "low": before["low"]}
    assert set(detector.predict(waveform(TONES, 100), RATE)["decision"]) == {"low"}
    assert (own / "evaluation" / "threshold.png").exists()
    table = CliRunner().invoke(app, ["threshold", str(own)]).stdout
    assert "high" in table and "low" in table and "best_f1" in table


@pytest.mark.parametrize(("options", "message"), [
    (["--value", "0.5"], "a threshold of its own, and say which one: high, low"),
    (["--value", "0.5", "--class", "hum"], "'hum' is none of them: high, low"),
    (["--class", "hum"], "'hum' is none of them: high, low"),
])
def test_a_class_without_a_threshold_is_refused(run, options, message):
    before = run.detector.config.inference.thresholds
    refused = CliRunner().invoke(app, ["threshold", str(run.path), *options])
    assert isinstance(refused.exception, ValueError) and message in str(refused.exception)
    assert run.detector.config.inference.thresholds == before


def test_auto_weights_of_a_rare_class_stand_in_the_run(folder, config):
    """They are measured on the training part alone, and what trains again from the run's configuration has the same ones."""
    recordings = sd.load_recordings(folder, config)
    high = np.flatnonzero(recordings.table["label"] == "high")
    rare = recordings[np.setdiff1d(np.arange(len(recordings)), high)]
    weighted = config.replace({"training.loss_function.pos_weight": "auto", "training.epochs": 1, "training.validation_split": 0.4})
    trained = sd.train(weighted, rare, progress=False)
    learnt = rare.filter(lambda table: table["key"].isin(trained.data["split"]["train"])).table["label"]
    n_high = learnt.str.contains("high").sum()
    assert trained.config.training.loss_function.pos_weight["high"] == pytest.approx((len(learnt) - n_high) / n_high)


def test_good_ones_do_not_adapt_it(run, folder):
    with pytest.raises(ValueError, match="without a threshold cannot be adapted"):
        run.detector.adapt(str(folder))


@pytest.mark.parametrize(("task", "message"), [
    ("classify", "task: classify takes one class of each.*task: multilabel"),
    ("anomaly", "task: anomaly takes one class of each.*task: multilabel"),
])
def test_tasks_of_one_class_name_the_one_that_takes_several(task, message):
    labels = ["OK", "NG", "OK;NG", "none"] * 6
    recordings = sd.Recordings.from_arrays([waveform([], k) for k in range(24)], RATE, labels)
    with pytest.raises(ValueError, match=message):
        sd.train(sd.Config.load(None, SETTINGS | {"task": task}), recordings, progress=False)


def test_a_classifier_of_one_class_refuses_files_with_several(folder, config):
    with pytest.raises(ValueError, match="label 'low;high' is not one of high, low.* task: multilabel"):
        sd.load_recordings(folder, config.replace({"task": "classify", "data.classes": ["high", "low"]}))


def test_two_simulated_faults_at_once(tmp_path):
    """The manifest names one fault, two, or none, and both are in the sound: what is added is the sum of what each adds."""
    files = sd.simulate(tmp_path / "data", 16, seed=1, form="multilabel", sample_rate=16000, duration=0.2)
    labels = pd.read_csv(files[0].parent / "manifest.csv", keep_default_na=False)["label"]
    assert labels.str.count(";").max() == 1 and (labels == "none").sum() == 4
    from sounddetect.data.simulation import _machine, _rng, _sound

    machine = _machine(0, 0)

    def sound(fault):
        return _sound(_rng(0, "scene", 0), machine, 20, fault, _rng(0, "fault", 0), 16000, 16000, -6.0)[0]

    bearing, both = sound("bearing") - sound(None), sound("bearing;rub") - sound(None)
    assert np.std(bearing) > 0 and np.std(both - bearing) > 0.2 * np.std(bearing)
