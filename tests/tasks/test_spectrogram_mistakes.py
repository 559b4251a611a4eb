"""What cannot be learnt from spectrograms is refused before training, with one message that names the key."""

import warnings

import numpy as np
import pytest

import sounddetect as sd

SETTINGS = {"features.kind": "log_mel", "model.size": "n", "training.epochs": 1, "clearml.enabled": False, "device": "cpu"}
MIXED = ["a", "b", "c"] * 4


@pytest.mark.parametrize(("settings", "labels", "message"), [
    ({"training.augmentation.spec_augment.frequency_width": 1.2}, MIXED, r"spec_augment\.frequency_width .*equal to 1, got 1.2"),
    ({"training.augmentation.spec_augment.time_width": -0.1}, MIXED, r"spec_augment\.time_width .*equal to 0, got -0.1"),
    ({"training.augmentation.random_crop.time": 1.5}, MIXED, r"random_crop\.time .*equal to 1, got 1.5"),
    ({"features.n_mels": 500, "features.n_fft": 512}, MIXED, "n_mels is 500.* lies between two bins .* set a larger features.n_fft"),
    ({"features.n_fft": 1024, "model.input_length": 512}, MIXED, r"a frame has 1,024 samples .*a window 512 .*leave features\.n_fft"),
    ({}, [*MIXED, "d"], "d comes from 1 group, a split into 3 parts needs 3"),
])
def test_mistakes_have_one_message(tmp_path, settings, labels, message):
    rng = np.random.default_rng(0)
    recordings = sd.Recordings.from_arrays([0.1 * rng.standard_normal((1, 8000)) for _ in labels], 16000, labels)
    with pytest.raises(ValueError, match=message), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config = sd.Config.load(None, SETTINGS | settings | {"data.cache_dir": str(tmp_path / "cache")})
        sd.train(config, recordings, run=tmp_path / "run", progress=False)
