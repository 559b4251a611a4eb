"""Coefficients of the wavelet loss beside stored ones of PyWavelets, which is no requirement."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from sounddetect.tasks.settings import WaveletLossSettings
from sounddetect.tasks.waveform_losses import morlet_kernels, wavelet, wavelet_coefficients

STORED = json.loads((Path(__file__).parent / "pywavelets_morlet.json").read_text(encoding="utf-8"))
WAVEFORM = torch.tensor(STORED["waveform"])


@pytest.mark.parametrize("scale", sorted(map(int, STORED["rows"])))
def test_coefficients_are_those_of_pywavelets(scale):
    found = wavelet_coefficients(WAVEFORM, morlet_kernels(36))
    np.testing.assert_allclose(found[scale - 1], STORED["rows"][str(scale)], atol=1e-4)


def test_every_scale_has_the_magnitude_it_should_have():
    found = wavelet_coefficients(WAVEFORM, morlet_kernels(36)).abs().mean(-1)
    np.testing.assert_allclose(found, STORED["mean_magnitudes"], atol=1e-4)


def test_the_loss_from_silence_is_the_mean_of_all_magnitudes():
    loss = wavelet(WaveletLossSettings())(torch.zeros(1, 1, len(WAVEFORM)), WAVEFORM[None, None])
    np.testing.assert_allclose(loss, [np.mean(STORED["mean_magnitudes"])], rtol=1e-4)
