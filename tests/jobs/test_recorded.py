"""The same on recorded machines: forms, rates, groups, and that something is learnt. The figures are in bench/."""

import warnings

import numpy as np
import pytest
from support.recorded import LABELS, motor_files, rpm, seconds_of, write_fan_json, write_motor_json

import sounddetect as sd


@pytest.fixture(scope="session")
def motors(recorded, tmp_path_factory):
    """Folders `low` and `high`: motors below 1850 revolutions per minute, and the others."""
    folder = tmp_path_factory.mktemp("motors")
    for file in motor_files(recorded):
        write_motor_json(file, folder / ("high" if rpm(file) >= 1850 else "low"))
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Stores and runs go into a fresh folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_new_form_opens_with_counts_rates_and_files_as_groups(motors, recorded, here):
    recordings = sd.load_recordings(motors)
    table = recordings.table
    assert not recordings.problems
    assert len(recordings) == sum(len(seconds_of(file)[0]) for file in motor_files(recorded)) == 240
    assert table["label"].value_counts().to_dict() == {"OK": 140, "NG": 100}
    assert table.groupby("sample_rate")["source"].unique().map(list).to_dict()[44100] == ["low/Healthy_M1_1400.json"]
    assert table.groupby("sample_rate")["source"].nunique().to_dict() == {16000: 23, 44100: 1}
    assert (table["group"] == table["source"]).all() and (table["n_samples"] == table["sample_rate"]).all()
    assert (table["metric"] == "sound pressure").all()


def test_samples_arrive_as_they_were_recorded(motors, recorded, here):
    file = next(file for file in motor_files(recorded) if file.parts[-3:] == ("Bearing", "M4", "1900.wav"))
    recordings = sd.load_recordings(motors / "high").filter(lambda table: table["source"] == "Bearing_M4_1900.json")
    np.testing.assert_allclose(
        np.stack([recordings.read(i)[0] for i in range(len(recordings))]), seconds_of(file)[0], atol=1e-5
    )


def test_legacy_form_opens_at_the_configured_rate(recorded, here):
    files = [file for file in motor_files(recorded) if rpm(file) == 1950]
    for file in files:
        write_motor_json(file, here / "data", form="legacy")
    recordings = sd.load_recordings(here / "data", sample_rate=16000)
    assert len(recordings) == 10 * len(files) and not recordings.problems
    assert (recordings.table["sample_rate"] == 16000).all()
    labels = recordings.table.groupby("source")["label"].unique().map(list).to_dict()
    assert labels == {f"{'_'.join(file.parts[-3:-1])}_1950.json": [LABELS[file.parts[-3]]] for file in files}


def test_vibration_opens(recorded, here):
    recordings = sd.load_recordings(write_fan_json(recorded, here / "fan"))
    assert recordings.table["label"].value_counts().to_dict() == {"OK": 80, "NG": 80} and not recordings.problems
    assert (recordings.table["sample_rate"] == 200).all() and recordings.table["n_samples"].between(150, 250).all()
    gravity = np.array([recording.waveform.mean() for recording in recordings])
    assert ((gravity > 0.8) & (gravity < 1.2)).all()  # g: the fan hangs still on the whole


def test_sound_files_open_as_they_are(recorded, here):
    recordings = sd.load_recordings(recorded / "bldc_motor_audio", labels=LABELS)
    table = recordings.table.set_index("key")
    assert len(table) == 24 and (table["n_channels"] == 2).all() and not recordings.problems
    assert all(table["label"][key] == LABELS[key.split("/")[0]] for key in table.index)
    assert table["sample_rate"]["Healthy/M1/1400.wav"] == 44100
    assert recordings.read(0).shape == (2, table["n_samples"].iloc[0])


def test_folders_without_a_known_name_give_no_labels(recorded, here):
    assert set(sd.load_recordings(recorded / "bldc_motor_audio").labels) == {None}


def test_training_hears_faults_at_speeds_it_has_not_met(motors, here):
    """A check that learning happens: far from chance (0.5), not a figure to be proud of."""
    config = sd.Config.load(
        None,
        {
            "audio.sample_rate": 16000,
            "model.input_length": 8000,
            "model.size": "n",
            "training.epochs": 6,
            "training.lr_scheduler.T_max": 6,
            "training.learning_rate": 0.003,
        },
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run = sd.train(config, sd.load_recordings(motors / "low"), progress=False)
    said = [str(warning.message) for warning in caught]
    assert any("resampled to audio.sample_rate 16000 Hz" in text and "at 44100 Hz" in text for text in said), said
    evaluation = sd.evaluate(run, sd.load_recordings(motors / "high"))
    assert evaluation.metrics["n_groups"] == 8 and evaluation.metrics["auc"] > 0.8
