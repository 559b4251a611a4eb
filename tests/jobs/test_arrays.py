"""Recordings from arrays go wherever recordings from files go, and a run says when it needs them again."""

import signal
import warnings

import numpy as np
import pytest
from support.tiny import RATE, SETTINGS, tone_or_noise, write_folder, write_json

import sounddetect as sd


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def arrays(n_machines=6, seed=0, **columns):
    rng = np.random.default_rng(seed)
    labels = ["OK", "NG", "OK", "NG"] * n_machines
    waveforms = [tone_or_noise(label, rng) for label in labels]
    machines = [f"machine {k // 4}" for k in range(len(labels))]
    return sd.Recordings.from_arrays(waveforms, RATE, labels, machines, **columns)


@pytest.fixture
def config(tmp_path):
    own = {"training.batch_size": 8, "output.dir": str(tmp_path / "runs"), "data.cache_dir": str(tmp_path / "cache")}
    return sd.Config.load(None, SETTINGS | own)


def test_arrays_are_checked_trained_on_judged_and_scored(config):
    recordings = arrays()
    assert sd.check_recordings(recordings, config).ok
    run = sd.train(config, recordings, progress=False)
    assert sum(map(len, run.data["split"].values())) == len(recordings)
    test = run.parts(recordings).test
    evaluation = sd.evaluate(run, recordings, errors=0)
    assert set(evaluation.predictions["key"]) == set(test.table["key"])
    scores = run.detector.predict(recordings[:3])
    assert scores["key"].tolist() == ["array#0", "array#1", "array#2"]
    assert sd.plan(config, recordings).to_dict()


def test_run_on_arrays_says_what_it_needs_to_go_on(config):
    recordings = arrays()

    def interrupt(event):
        if event["event"] == "batch" and event["epoch"] == 2:
            signal.raise_signal(signal.SIGTERM)

    run = sd.train(config.replace({"training.epochs": 3}), recordings, progress=False, listeners=[interrupt])
    assert not run.finished
    for again in (lambda: sd.resume(run.path, progress=False), lambda: sd.evaluate(run)):
        with pytest.raises(ValueError, match=r"came from no file, such as arrays.*resume\(path, recordings=recordings\)"):
            again()
    flipped = recordings.with_columns(label=["NG" if label == "OK" else "OK" for label in recordings.labels])
    with pytest.raises(ValueError, match=r"begun with other labels: array#\d+ was (OK|NG) and is (OK|NG)"):
        sd.resume(run.path, recordings=flipped, progress=False)
    assert sd.resume(run.path, recordings=recordings[::-1], progress=False).finished


def test_arrays_beside_files(config, tmp_path):
    files = sd.load_recordings(write_folder(tmp_path / "data"), config)
    both = sd.concatenate(files, arrays(2, seed=9))
    run = sd.train(config, both, progress=False)
    keys = {key for part in run.data["split"].values() for key in part}
    assert {"machine_0.json#0", "array#0"} <= keys
    with pytest.raises(ValueError, match="came from no file"):
        sd.evaluate(run)                    # the files alone are not what it was trained on
    assert sd.evaluate(run, both, errors=0).metrics["n"] == len(run.data["split"]["test"])


def test_two_folders_with_equal_names_are_resumed_from_their_files(config, tmp_path):
    for seed in range(6):
        write_json(tmp_path / "ab"[seed // 3] / f"machine_{seed % 3}.json", ["OK", "NG", "OK", "NG"], seed)
    parts = [sd.load_recordings(tmp_path / name, config) for name in "ab"]
    both = sd.concatenate(parts)
    assert both.table["key"].is_unique and both.table["group"].nunique() == 6
    run = sd.train(config, both, progress=False)
    test = sd.evaluate(run, errors=0).predictions
    assert len(test) == len(run.data["split"]["test"])
    assert sd.resume(run.path, {"training.epochs": 2}, progress=False).finished


def test_own_groups_folds_and_parts_are_obeyed(config):
    pairs = [f"pair {k // 8}" for k in range(24)]
    recordings = arrays().with_columns(group=pairs)
    run = sd.train(config.replace({"data.test_split": 0.34, "training.validation_split": 0.5}), recordings, progress=False)
    of_key = dict(zip(recordings.table["key"], pairs))
    parts = [{of_key[key] for key in run.data["split"][name]} for name in ("train", "validation", "test")]
    assert [len(part) for part in parts] == [1, 1, 1] and len(set.union(*parts)) == 3
    assert set(run.parts(arrays()).test.table["group"]) == parts[2]      # the groups of the run, not those of today

    given = arrays(split=["train"] * 12 + ["validation"] * 8 + ["test"] * 4)
    run = sd.train(config, given, progress=False)
    assert run.data["split"]["test"] == [f"array#{k}" for k in range(20, 24)]

    folded = arrays(fold=lambda table: table.index // 8)
    cross_validation = sd.cross_validate(config, folded)
    assert cross_validation.predictions.groupby("fold")["key"].count().tolist() == [8, 8, 8]
    assert len(cross_validation.predictions) == 24
