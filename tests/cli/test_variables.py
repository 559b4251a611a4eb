"""A MAT file holds several variables: which one is the recording is said once, in training, and again only where it is another."""

import io

import numpy as np
import pandas as pd
import pytest
from scipy.io import savemat
from support.commands import in_process as command
from support.tiny import RATE, SETTINGS, tone_or_noise

import sounddetect as sd
from sounddetect.detector.model_folder import description_of, read_settings


@pytest.fixture(scope="module")
def plant(tmp_path_factory):
    """A run on the variable `drive`; beside it lies `fan`, which holds something else."""
    root, rng = tmp_path_factory.mktemp("plant"), np.random.default_rng(0)
    for number in range(16):
        label = ["OK", "NG"][number % 2]
        (root / "data" / label).mkdir(parents=True, exist_ok=True)
        two = {name: tone_or_noise(label, rng)[:, None] for name in ("drive", "fan")}
        savemat(root / "data" / label / f"{number}.mat", two | {"fs": float(RATE)})
    own = {"data.path": str(root / "data"), "data.cache_dir": str(root / "cache"), "data.variable": "drive"}
    sd.train(sd.Config.load(None, SETTINGS | own), run=root / "run", progress=False)
    return root


def scores(plant, *words):
    code, out, err = command("predict", plant / "run", plant / "data", *words)
    assert code == 0, err
    return pd.read_csv(io.StringIO(out))


def test_the_model_folder_knows_the_variable(plant):
    of_drive = scores(plant)
    assert len(of_drive) == 16
    pd.testing.assert_frame_equal(scores(plant, "--variable", "drive"), of_drive)
    assert not np.allclose(scores(plant, "--variable", "fan")["anomaly_score"], of_drive["anomaly_score"])
    code, out, _ = command("predict", plant / "run", plant / "data", "--out", plant / "scores", "--variable", "fan")
    assert code == 0 and "16 recordings scored, 0 damaged" in out


def test_a_variable_that_is_not_there_is_named(plant):
    code, _, err = command("predict", plant / "run", plant / "data" / "OK" / "0.mat", "--variable", "pump")
    assert code == 1 and "no variable is called pump" in err and "drive" in err, err


@pytest.mark.parametrize(("given", "kept"), [
    ({"data.signal": {"path": "a", "variable": "ecg"}}, "ecg"),
    ({"data.signal": {"path": "a", "variable": "ecg"}, "data.noisy": {"path": "b", "variable": "seat"}}, "seat"),
    ({"data.signal": {"path": "a", "variable": "ecg"}, "data.variable": "belt"}, "belt"),
    ({"data.signal": "a"}, None),
])  # fmt: skip
def test_a_denoiser_keeps_the_variable_that_it_will_be_given(given, kept):
    config = sd.Config.load(None, {"task": "denoise", "audio.sample_rate": 1000, **given}).resolve()
    assert read_settings(description_of(config, {}), "model.json")[0].data.variable == kept
