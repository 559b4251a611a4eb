"""A detector says which recordings are unlike anything it has learnt from, and keeps saying so when saved, resumed, or read from an older folder."""

import signal
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.tiny import RATE, SETTINGS, tone_or_noise

import sounddetect as sd


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def arrays(n=120, seed=0, gain=1.0, labels=("OK", "NG"), **columns):
    rng = np.random.default_rng(seed)
    labels = [labels[k % len(labels)] for k in range(n)]
    waveforms = [gain * tone_or_noise(label, rng, 1024) for label in labels]
    return sd.Recordings.from_arrays(waveforms, RATE, labels, [f"g{k // 2}" for k in range(n)], **columns)


def coloured(recordings):
    """The same through a microphone that hears little above 1 kHz."""
    heard = [np.convolve(recordings.read(i)[0], np.ones(4) / 4)[:1024] for i in range(len(recordings))]
    return sd.Recordings.from_arrays(heard, RATE, recordings.labels)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("familiarity")
    own = {"training.batch_size": 16, "output.dir": str(folder / "runs"), "data.cache_dir": str(folder / "cache")}
    return sd.Config.load(None, SETTINGS | own)


@pytest.fixture(scope="module")
def run(config):
    return sd.train(config, arrays(), progress=False)


def test_another_microphone_is_foreign_and_unseen_parts_of_the_same_are_not(run):
    fresh = arrays(200, seed=1)
    same, other = run.detector.predict(fresh), run.detector.predict(coloured(fresh))
    assert same.columns.tolist() == ["key", "anomaly_score", "decision", "familiarity", "familiar", "label"]
    assert same["familiar"].mean() >= 0.95
    assert other["familiar"].mean() <= 0.05
    assert (same["familiar"] == (same["familiarity"] >= 0.01)).all()
    assert same["familiarity"].between(0, 1).all()


def test_p_values_of_unseen_recordings_are_spread_evenly(run):
    p = run.detector.predict(arrays(400, seed=2))["familiarity"]
    for level in (0.1, 0.3, 0.5, 0.8):
        assert abs((p <= level).mean() - level) < 0.15, level


def test_windows_and_streams_say_it_too(run):
    recording = coloured(arrays(2, seed=3))
    windows = run.detector.predict(recording.read(0), RATE, per="window")
    assert not windows["familiar"].any() and len(windows) == 2


def test_level_decides_and_can_be_set(run):
    fresh = arrays(100, seed=4)
    strict = run.detector.with_settings({"inference.familiarity": 0.5}).predict(fresh)
    assert 0.2 < strict["familiar"].mean() < 0.8
    plain = run.detector.predict(fresh)
    pd.testing.assert_frame_equal(strict.drop(columns="familiar"), plain.drop(columns="familiar"))


def test_reference_is_saved_with_its_settings_and_what_drift_is_told_by(run, tmp_path):
    fresh = arrays(30, seed=5)
    detector = run.detector
    again = sd.Detector.load(detector.save(tmp_path / "copy"))
    pd.testing.assert_frame_equal(again.predict(fresh), detector.predict(fresh))
    assert {"drift.level", "drift.bands", "drift.scores"} <= set(again.state)
    assert (np.diff(again.state["drift.scores"].numpy(), axis=0) >= 0).all()
    assert again.about["familiarity"]["features"]["n_mels"] > 0


def test_older_folder_says_nothing_of_familiarity(run):
    older = sd.Detector.load(Path(__file__).parent / "log_mel_whole_band" / "model")
    table = older.predict(arrays(4, seed=6).read(0), RATE)
    assert table["familiarity"].isna().all() and table["familiar"].isna().all()
    assert table.to_csv(index=False).splitlines()[1].endswith(",,")


def test_no_recording_of_the_test_part_reaches_it(config, run):
    recordings = arrays()
    is_test = recordings.table["key"].isin(run.parts(recordings).test.table["key"]).to_numpy()
    assert is_test.any()
    changed = [recordings.read(i) * (0 if is_test[i] else 1) for i in range(len(recordings))]
    other = sd.Recordings.from_arrays(changed, RATE, recordings.labels, recordings.table["group"].tolist())
    again = sd.train(config, other, progress=False)
    for name, tensor in run.detector.state.items():
        np.testing.assert_array_equal(tensor, again.detector.state[name], err_msg=name)


def test_resumed_and_extended_runs_have_it(config):
    recordings = arrays(60)

    def interrupt(event):
        if event["event"] == "batch" and event["epoch"] == 2:
            signal.raise_signal(signal.SIGTERM)

    run = sd.train(config.replace({"training.epochs": 2}), recordings, progress=False, listeners=[interrupt])
    assert not run.finished
    run = sd.resume(run.path, recordings=recordings, progress=False)
    first = run.detector.predict(recordings[:4])
    assert first["familiar"].notna().all()
    run = sd.resume(run.path, {"training.epochs": 3}, recordings=recordings, progress=False)
    np.testing.assert_allclose(run.detector.predict(recordings[:4])["familiarity"], first["familiarity"], atol=1e-6)


def test_estimator_learnt_from_good_ones_alone_has_it(config):
    good = arrays(80, labels=("OK",))
    settings = {"task": "anomaly", "model.architecture": "mahalanobis", "features.kind": "log_mel"}
    own = {key: value for key, value in SETTINGS.items() if key != "model.size"}
    run = sd.train(sd.Config.load(None, own | settings | {"output.dir": config.output.dir}), good, progress=False)
    fresh = arrays(100, seed=7, labels=("OK",))
    assert run.detector.predict(fresh)["familiar"].mean() >= 0.93
    assert run.detector.predict(coloured(fresh))["familiar"].mean() <= 0.05


def test_evaluation_writes_it_behind_the_decision(config, run):
    evaluation = sd.evaluate(run, arrays(), errors=0)
    written = pd.read_csv(run.path / "evaluation" / "predictions.csv")
    assert written.columns[:6].tolist() == ["key", "label", "anomaly_score", "decision", "familiarity", "familiar"]
    assert written["familiar"].tolist() == evaluation.predictions["familiar"].tolist()


def test_three_recordings_are_no_crowd(run):
    detector = run.detector
    detector.state = {}
    bare = type(detector)(detector.pipeline, detector.config, "cpu").with_reference(arrays(3))
    assert bare.predict(arrays(2))["familiar"].isna().all()
