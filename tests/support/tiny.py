"""Recordings so small that a training takes a second, and the settings that go with them."""

import json
from pathlib import Path

import numpy as np

RATE, N_SAMPLES = 8000, 800
SETTINGS = {
    "audio.sample_rate": RATE,
    "model.input_length": 512,
    "model.size": "n",
    "preprocessing.filter_params.high_freq": 3000,
    "training.epochs": 1,
    "training.batch_size": 8,  # to find one takes as long as to train
}


def options(**changes):
    """SETTINGS as `--set` options; `training__epochs=3` changes one of them."""
    settings = SETTINGS | {key.replace("__", "."): value for key, value in changes.items()}
    return [word for key, value in settings.items() for word in ("--set", f"{key}={json.dumps(value)}")]


def tone_or_noise(label, rng, n_samples=N_SAMPLES, sample_rate=RATE):
    """OK is noise; NG is noise with a tone of 1000 Hz."""
    noise = 0.1 * rng.standard_normal(n_samples)
    return noise + (label == "NG") * 0.2 * np.sin(2 * np.pi * 1000 * np.arange(n_samples) / sample_rate)


def write_json(path, labels, seed=0, n_samples=N_SAMPLES, sample_rate=RATE, **members):
    """One file of the new form with a row for each label."""
    rng = np.random.default_rng(seed)
    rows = [np.round(tone_or_noise(label, rng, n_samples, sample_rate), 5).tolist() for label in labels]
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"waveforms": rows, "labels": labels, "fs": sample_rate, **members}), encoding="utf-8")
    return path


def write_folder(folder, n_files=6, labels=("OK", "NG", "OK", "NG"), **about):
    """A folder of such files, one for each machine."""
    for number in range(n_files):
        write_json(Path(folder) / f"machine_{number}.json", list(labels), seed=number, **about)
    return Path(folder)
