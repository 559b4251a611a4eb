"""Worked examples of ARCHITECTURE.md: what it says one has to touch is enough."""

import numpy as np
import pytest
import torch
from torch import nn

import sounddetect as sd
from sounddetect import parts


@pytest.fixture
def own_parts():
    """Parts that a test registers are gone after it."""
    before = dict(parts._parts)
    yield
    parts._parts.clear()
    parts._parts.update(before)


class Energy(nn.Module):
    """Energy of 8 stretches of a window: `(batch, channel, 8)`."""

    def forward(self, windows, lengths=None):
        return windows.unfold(-1, windows.shape[-1] // 8, windows.shape[-1] // 8).square().mean(-1)


def test_a_feature_is_one_call(own_parts):
    sd.register_feature("energy", None, lambda settings, inputs: Energy())
    feature = parts.find("feature", "energy").build(None, None)
    assert feature(torch.ones(2, 3, 80)).shape == (2, 3, 8)
    sd.register_network("mine", None, lambda settings, inputs, n_outputs: nn.Linear(8, n_outputs))
    config = sd.Config.load(None, {"features.kind": "energy", "model.architecture": "mine"})
    assert config.features.kind == "energy"


def test_a_network_is_one_call(own_parts):
    sd.register_network("mine", None, lambda settings, inputs, n_outputs: nn.Linear(8, n_outputs), tasks=["classify"])
    part = parts.find("network", "mine")
    assert part.serves("classify") and not part.serves("anomaly")
    assert part.build(None, None, 2)(torch.ones(4, 8)).shape == (4, 2)
    with pytest.raises(ValueError, match="built in"):
        sd.register_network("1d_cnn_attention", None, lambda *given: None)


def test_a_command_is_one_function():
    from typer.testing import CliRunner

    from sounddetect.cli.commands import app

    known = list(app.registered_commands)
    try:

        @app.command()
        def hello():
            print("hello")

        done = CliRunner().invoke(app, ["hello"])
        assert done.exit_code == 0 and done.stdout.strip() == "hello"
    finally:
        app.registered_commands[:] = known


def test_a_panel_is_one_class():
    from sounddetect.workbench.panels import Bench, Panel

    class HelloPanel(Panel):
        name, step = "data", 9  # texts of another panel, for the test

        def code(self):
            return "print('hello')"

    panel = HelloPanel(Bench("en"))
    panel._code_button.value = True
    assert "hello" in panel._code.value


def read_numpy(path):
    return np.load(path), 8000


def build_in_reader(monkeypatch):
    part = parts.Part("reader", "numpy", (".npy",), read_numpy)
    monkeypatch.setattr(parts, "_BUILT_IN", [*parts._BUILT_IN, part])
    parts._parts["reader", "numpy"] = part


@pytest.mark.parametrize("built_in", [False, True])
def test_a_reader_is_one_call(own_parts, monkeypatch, tmp_path, built_in):
    if built_in:
        build_in_reader(monkeypatch)
    else:
        sd.register_reader("numpy", ".npy", read_numpy)
    for label in ("OK", "NG"):
        (tmp_path / "data" / label).mkdir(parents=True)
        np.save(tmp_path / "data" / label / "one.npy", np.linspace(-0.5, 0.5, 800))
    recordings = sd.load_recordings(tmp_path / "data", cache_dir=tmp_path / "cache")
    assert sorted(recordings.labels) == ["NG", "OK"]
    assert set(recordings.table["sample_rate"]) == {8000}


class Level(nn.Module):
    """How far the level of a window is from the mean of good ones."""

    n_passes = 1

    def __init__(self, settings, inputs, n_outputs):
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))
        self.levels = []

    def update(self, features, weight):
        self.levels += features.abs().mean((1, 2))[weight > 0].tolist()

    def finish(self):
        self.mean.fill_(sum(self.levels) / len(self.levels))

    def forward(self, features):
        return (features.abs().mean((1, 2)) - self.mean).abs()[:, None]


def test_an_estimator_is_one_call(own_parts, tmp_path):
    sd.register_estimator("level", None, Level)
    sd.testing.check_part("estimator", "level", {"features.kind": "waveform"}, only=["stream"], folder=tmp_path)


def test_a_task_is_one_class(own_parts, tmp_path):
    from sounddetect.tasks.anomaly import Anomaly

    class Loudest(Anomaly):
        def combine(self, answers, owners):
            return np.array([answers[owners == k].max() for k in range(owners.max() + 1)])

    sd.register_task("loudest", None, Loudest)
    sd.register_estimator("level", None, Level, tasks=["loudest"], features=["waveform"])
    sd.testing.check_part("task", "loudest", {"model.architecture": "level"}, only=["evaluation"], folder=tmp_path)


def mean_gap(scores, is_anomaly, counts):
    """How far the mean score of bad recordings lies above that of good ones, for each draw `(draw, recording)`."""
    bad, good = counts * is_anomaly, counts * ~is_anomaly
    return {"mean_gap": bad @ scores / bad.sum(-1) - good @ scores / good.sum(-1)}


def test_a_metric_is_one_function(monkeypatch, tmp_path):
    from support.tiny import SETTINGS, write_folder

    from sounddetect.judging.intervals import bootstrap_intervals
    from sounddetect.tasks.results import OneScore

    built_in = OneScore.metrics

    def metrics(self, table):
        values, intervals = built_in(self, table)
        scores, is_bad = self.values(table), self.is_anomaly(table)
        ours = mean_gap(scores, is_bad, np.ones((1, len(table))))
        interval = bootstrap_intervals(lambda counts: mean_gap(scores, is_bad, counts), table["group"].to_numpy())
        return values | {"mean_gap": float(ours["mean_gap"][0])}, intervals | interval

    monkeypatch.setattr(OneScore, "metrics", metrics)
    settings = SETTINGS | {"data.cache_dir": str(tmp_path / "cache")}
    known = sd.load_recordings(write_folder(tmp_path / "known"), cache_dir=tmp_path / "cache")
    new = sd.load_recordings(write_folder(tmp_path / "new", 8, n_samples=900), cache_dir=tmp_path / "cache")
    run = sd.train(sd.Config.load(None, settings), known, run=tmp_path / "run", progress=False)
    evaluation = sd.evaluate(run, new)
    scores = evaluation.predictions.groupby("label")["anomaly_score"].mean()
    row = evaluation.table().loc["mean_gap"]
    np.testing.assert_allclose(row["value"], scores["NG"] - scores["OK"])
    assert row["low"] <= row["value"] <= row["high"]
    for file in ("metrics.json", "report.html"):
        assert "mean_gap" in (run.path / "evaluation" / file).read_text(encoding="utf-8")
