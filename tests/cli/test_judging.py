"""`runs`, `report`, `threshold` and `config` as people type them, and sizes of networks beside a configuration file."""

import json

import pytest
import yaml
from support.commands import ROOT, each
from support.tiny import RATE, SETTINGS, options, write_folder, write_json

import sounddetect as sd


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Six machines, a run that was judged on its test part, and good recordings of two machines more."""
    folder = tmp_path_factory.mktemp("place")
    write_folder(folder / "data")
    for number in (8, 9):
        write_json(folder / f"good/machine_{number}.json", ["OK"] * 10, seed=number)
    own = {"data.path": str(folder / "data"), "data.cache_dir": str(folder / ".cache"), "training.epochs": 3}
    run = sd.train(sd.Config.load(None, SETTINGS | own), run=folder / "runs/first", progress=False)
    sd.evaluate(run)
    return folder


def ask(folder, *commands):
    return each([(folder, line.split()) for line in commands])


def test_runs_lists_what_is_there(place):
    table, as_json = ask(place, "runs", "runs runs --json")
    assert table.returncode == 0, table.stderr
    assert "first" in table.stdout and "finished" in table.stdout
    (row,) = json.loads(as_json.stdout)
    metrics = json.loads((place / "runs/first/evaluation/metrics.json").read_text())
    assert (row["path"], row["state"], row["task"], row["epochs"]) == ("first", "finished", "classify", 3)
    assert row["auc"] == metrics["auc"]


def test_runs_of_a_folder_that_is_not_there(place):
    (missing,) = ask(place, "runs nowhere")
    assert missing.returncode == 1 and "nowhere" in missing.stderr and "Traceback" not in missing.stderr


def test_threshold_without_a_rule_only_shows_what_there_is_to_choose(place):
    before = (place / "runs/first/model/model.json").read_bytes()
    on_validation, on_given = ask(place, "threshold runs/first", "threshold runs/first good")
    assert on_validation.returncode == on_given.returncode == 0, on_validation.stderr + on_given.stderr
    assert "false_alarm" in on_validation.stdout and "false_alarm" in on_given.stdout
    assert on_validation.stdout != on_given.stdout
    assert (place / "runs/first/model/model.json").read_bytes() == before


def test_threshold_on_given_recordings_moves_the_threshold_and_report_follows(place):
    (moved,) = ask(place, "threshold runs/first good --false-alarm-rate 0.2")
    assert moved.returncode == 0, moved.stderr
    assert "good" in moved.stdout and "sounddetect evaluate runs/first" in moved.stdout
    detector = sd.Detector.load(place / "runs/first")
    assert detector.threshold != 0.5
    assert (detector.predict(place / "good")["decision"] == "NG").mean() <= 0.2
    report = place / "runs/first/evaluation/report.html"
    report.unlink()
    (written,) = ask(place, "report runs/first")
    assert written.returncode == 0, written.stderr
    assert f"threshold {detector.threshold:.4g}" in written.stdout and report.exists()
    metrics = json.loads((place / "runs/first/evaluation/metrics.json").read_text())
    assert metrics["threshold"] == pytest.approx(detector.threshold)


def test_report_of_a_run_that_was_never_judged(place):
    config = sd.Run(place / "runs/first").config.replace({"training.epochs": 1})
    sd.train(config, run=place / "more/second", progress=False)
    (refused,) = ask(place, "report more/second")
    assert refused.returncode == 1 and "sounddetect evaluate more/second" in refused.stderr


def test_config_prints_a_file_that_loads(place):
    plain, anomaly, unknown = ask(place, "config", "config --task anomaly", "config --architecture none")
    assert plain.returncode == anomaly.returncode == 0, plain.stderr + anomaly.stderr
    assert yaml.safe_load(plain.stdout) == yaml.safe_load((ROOT / "config.yaml").read_text())
    (place / "anomaly.yaml").write_text(anomaly.stdout)
    said = sd.Config.load(place / "anomaly.yaml")
    assert (said.task, said.features.kind) == ("anomaly", "log_mel")
    assert unknown.returncode == 1 and "1d_cnn_attention" in unknown.stderr


WRITTEN_OUT = """
model:
  architecture: 1d_cnn_attention
  cnn_layers: [{filters: 64, kernel_size: 63}, {filters: 64, kernel_size: 15}]
  attention: {hidden_dim: 64, num_heads: 4}
  fully_connected: [{units: 64, dropout: 0.3}]
"""


@pytest.mark.parametrize("file", ["config.yaml", "config_colab.yaml", "written_out.yaml"])
def test_a_size_replaces_the_layers_of_a_configuration_file(place, file):
    text = WRITTEN_OUT if file == "written_out.yaml" else (ROOT / file).read_text(encoding="utf-8")
    (place / file).write_text(text, encoding="utf-8")
    quick = options()           # with model.size=n among them
    commands = [["train", "data", "--config", file, *quick, "--run", f"sized/{file}"], ["plan", "--config", file, "--set", "model.size=n"]]
    trained, planned = each([(place, words) for words in commands])
    assert trained.returncode == planned.returncode == 0, trained.stderr + planned.stderr
    config = sd.Run(place / "sized" / file).config
    assert (config.model.size, config.audio.sample_rate) == ("n", RATE)
    assert not config.model.cnn_layers
