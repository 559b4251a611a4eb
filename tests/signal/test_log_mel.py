"""The log-mel spectrogram is that of librosa, whose values are stored."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from sounddetect.config import Config, Memory
from sounddetect.signal.features import LogMel
from sounddetect.signal.inputs import Inputs
from sounddetect.signal.mel import mel_weights
from sounddetect.signal.settings import LogMelSettings

# `melspectrogram(center=True, pad_mode="constant")` and `power_to_db(amin=1e-10, top_db=80)` of `sound()`,
# at some rows and frames.
STORED = json.loads((Path(__file__).parent / "librosa_log_mel.json").read_text())["cases"]
RATE = 44_100


@pytest.fixture(scope="module")
def sound():
    """Five seconds: noise that swells, a tone that comes and goes, another that rises."""
    time, rng = np.arange(5 * RATE) / RATE, np.random.default_rng(7)
    noise = 0.1 * rng.standard_normal(len(time)) * np.linspace(0.02, 1, len(time))
    tone = 0.5 * np.sin(2 * np.pi * 440 * time) * (time % 1 < 0.3)
    return (noise + tone + 0.2 * np.sin(2 * np.pi * (500 + 1500 * time) * time)).astype(np.float32)


def log_mel(given, **further):
    own = {"fmin": "f_min", "fmax": "f_max"}
    shared = {own.get(name, name): value for name, value in given.items() if name not in ("htk", "norm")}
    scale = {"mel_scale": "htk" if given["htk"] else "slaney", "mel_norm": given["norm"] or "none"}
    return LogMel(LogMelSettings(**shared, **scale, **further), Inputs((1, 5 * RATE), RATE, (0, RATE / 2), Memory()))


@pytest.mark.parametrize("name", STORED)
def test_power_and_decibels_are_those_of_librosa(name, sound):
    stored = STORED[name]
    at = np.ix_(stored["rows"], stored["frames"])
    module, uncut = log_mel(stored["settings"]), log_mel(stored["settings"], top_db=None)
    decibels, all_of_it = (one(torch.from_numpy(sound)[None, None])[0, 0].numpy() for one in (module, uncut))
    assert list(decibels.shape) == stored["shape"] and len(stored["rows"]) == 8
    np.testing.assert_allclose(decibels[at], stored["db"], atol=1e-3, rtol=0)
    power = 10 ** (all_of_it[at].astype(float) / (20 / stored["settings"]["power"]))
    expected = np.array(stored["power"])
    is_loud = expected > 1e-8 * expected.max()
    assert is_loud.mean() > 0.9
    np.testing.assert_allclose(power[is_loud], expected[is_loud], rtol=1e-4)


@pytest.mark.parametrize("name", STORED)
def test_weights_are_those_of_librosa(name):
    given = STORED[name]["settings"]
    weights = mel_weights(
        given["n_fft"],
        RATE,
        given["n_mels"],
        given["fmin"],
        given["fmax"],
        "htk" if given["htk"] else "slaney",
        given["norm"] is not None,
    )
    np.testing.assert_allclose(weights.sum(0)[STORED[name]["rows"]], STORED[name]["bank"], rtol=1e-5)


def test_clips_of_esc_have_the_usual_picture():
    assert STORED["slaney"]["shape"] == STORED["htk"]["shape"] == [128, 431]


def test_more_bands_than_bins_can_fill_are_refused_before_training():
    settings = {"features.kind": "log_mel", "features.n_fft": 1024, "features.n_mels": 256, "audio.sample_rate": RATE}
    with pytest.raises(ValueError, match=r"features.n_mels is 256, and band 3, .* Hz apart: \d+ bands fit; or set a larger"):
        Config.load(None, settings).resolve()
    fitting = Config.load(None, {**settings, "features.n_mels": "auto"}).resolve()
    weights = mel_weights(1024, RATE, fitting.features.n_mels, fitting.features.f_min, fitting.features.f_max)
    assert (weights.sum(0) > 0).all()


def test_settings_of_before_mean_what_they_meant(sound):
    """Detectors that were saved without the newer keys."""
    older = {"n_fft": 2048, "win_length": 2048, "hop_length": 512, "n_mels": 128, "f_min": 0.0, "f_max": 22050.0}
    inputs, window = Inputs((1, 5 * RATE), RATE, (0, RATE / 2), Memory()), torch.from_numpy(sound)[None, None]
    given = STORED["slaney"]["settings"]
    torch.testing.assert_close(LogMel(LogMelSettings(**older), inputs)(window), log_mel(given)(window), rtol=0, atol=0)
