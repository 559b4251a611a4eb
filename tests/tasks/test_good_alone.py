"""What is learnt from good recordings alone: nothing of a bad one gets in, and a fault is found without a knob."""

import json
import warnings

import numpy as np
import pytest
import soundfile
from support.commands import in_process
from support.recorded import fan_axes

import sounddetect as sd
from sounddetect.config import differences

RATE = 8000


def noise(n, seed, level=0.05, length=2000):
    return (level * np.random.default_rng(seed).standard_normal((n, length))).astype("float32")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def trained(good, bad):
    waveforms = [*good, *bad]
    labels = ["OK"] * len(good) + ["NG"] * len(bad)
    recordings = sd.Recordings.from_arrays(waveforms, RATE, labels)
    return sd.train(sd.Config.load(None, {"task": "anomaly"}), recordings, progress=False)


def test_no_bad_recording_reaches_the_fit_or_a_choice(here):
    good = noise(40, 0)
    plain, other = trained(good, noise(40, 1)), trained(good, noise(40, 2, level=0.9, length=9000))
    first, second = (sd.Detector.load(run.path) for run in (plain, other))
    apart = differences(first.config, second.config)
    assert {key for key in apart if not key.startswith(("output", "data.path"))} == set()
    for name, value in first.pipeline.learned().items():
        assert value.equal(second.pipeline.learned()[name]), name
    clips = sd.Recordings.from_arrays(list(noise(5, 3)), RATE)
    np.testing.assert_array_equal(first.predict(clips).anomaly_score, second.predict(clips).anomaly_score)


def test_an_unbalanced_fan_is_found_from_its_axes_whether_files_say_their_rate_or_not(recorded, here):
    for speed in ("low", "med"):
        good, bad = (fan_axes(recorded, speed, weight) for weight in (0, 1))
        for rate in (200, 44100):
            learnt = sd.Recordings.from_arrays(good[:125], rate, ["OK"] * 125)
            run = sd.train(sd.Config.load(), learnt, progress=False)
            config = run.detector.config
            assert (config.task, config.audio.channel, config.preprocessing.normalize) == ("anomaly", "all", False)
            judged = [run.detector.predict(sd.Recordings.from_arrays(part, rate)) for part in (good[125:], bad)]
            scores = [part["anomaly_score"].to_numpy() for part in judged]
            assert np.mean(scores[1][:, None] > scores[0]) > 0.999
            assert (judged[1]["decision"] == "NG").mean() > 0.99 and (judged[0]["decision"] == "NG").mean() < 0.15


def test_evaluation_without_a_bad_recording_reports_false_alarms_and_succeeds(here):
    (here / "data/OK").mkdir(parents=True)
    for number, waveform in enumerate(noise(40, 0)):
        soundfile.write(here / f"data/OK/{number}.wav", waveform, RATE)
    run = sd.train(sd.Config.load(None, {"data.path": "data"}), progress=False)
    assert run.detector.config.task == "anomaly"
    code, out, err = in_process("evaluate", run.path)
    assert code == 0, err
    metrics = json.loads((run.path / "evaluation/metrics.json").read_text(encoding="utf-8"))
    assert "auc" not in metrics and "auc" not in out
    low, high = metrics["false_alarms_per_1000_ci"]
    assert 0 <= low <= metrics["false_alarms_per_1000"] <= high <= 1000


def test_recordings_without_any_label_train_and_are_judged_as_good_ones(here):
    (here / "data").mkdir()
    for number, waveform in enumerate(noise(40, 0)):
        soundfile.write(here / f"data/{number}.wav", waveform, RATE)
    code, out, err = in_process("train", "data", "--run", "run", "--set", "task=anomaly")
    assert code == 0, err
    assert "none of these recordings has a label: they count as OK" in err
    assert "false_alarms_per_1000" in out and out.splitlines()[-1] == "run: run"
    predictions = (here / "run/evaluation/predictions.csv").read_text(encoding="utf-8").splitlines()
    assert len(predictions) > 4 and all(",OK," in line for line in predictions[1:])
    (here / "other").mkdir()
    soundfile.write(here / "other/0.wav", noise(1, 5)[0], RATE)
    code, out, err = in_process("evaluate", "run", "other")     # of these nobody said that they are good
    assert code == 1 and "use predict" in err


def test_recordings_without_a_label_among_labelled_ones_are_named(here):
    recordings = sd.Recordings.from_arrays(list(noise(24, 0)), RATE, ["OK"] * 16 + [None] * 8)
    with pytest.warns(UserWarning, match=r"\d of \d+ training recordings have no label and count as OK, such as array#\d+: label those that are not as NG"):
        sd.train(sd.Config.load(None, {"task": "anomaly"}), recordings, progress=False)
    with warnings.catch_warnings(record=True) as said:     # and nothing of it when all say so
        warnings.simplefilter("always")
        sd.train(sd.Config.load(None, {"task": "anomaly"}), recordings[:16], progress=False)
    assert not [one for one in said if "no label" in str(one.message)]


@pytest.mark.parametrize(
    ("labels", "waveforms", "message"),
    [
        (["NG"] * 6, noise(6, 0), "no recording is good"),
        (["OK"] + ["NG"] * 6, noise(7, 0), "only one recording is good"),
        (["OK"] * 12, 0 * noise(12, 0), "good recordings are silent"),
    ],
)
def test_what_cannot_be_learnt_from_has_one_clear_message(labels, waveforms, message, here):
    recordings = sd.Recordings.from_arrays(list(waveforms), RATE, labels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ValueError, match=message) as failed:
            sd.train(sd.Config.load(None, {"task": "anomaly"}), recordings, progress=False)
    assert "record" in str(failed.value) and "\n" not in str(failed.value)
    assert not list(here.glob("runs/*"))
