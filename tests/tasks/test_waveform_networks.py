"""Every network from waveform to waveform, built in: lengths, levels, and the ends of windows."""

import numpy as np
import pytest
import torch

import sounddetect as sd
from sounddetect import parts
from sounddetect.models.capabilities import Transfers
from sounddetect.tasks.protocol import task_of

NETWORKS = [name for name in parts.names("network") if parts.find("network", name).built_in
            and parts.find("network", name).tasks == ("denoise",)]
VARIANTS = [(name, {}) for name in NETWORKS] + [
    ("wave_unet", {"model.steps": "strided"}),
    ("wave_unet", {"model.transformer_layers": 1}),
    ("wave_unet", {"model.causal": True}),
    ("wave_autoencoder", {"model.transformer_layers": 1}),
    ("pixel_shuffle_autoencoder", {"model.transformer_layers": 2, "model.transformer_heads": 8}),
]


def built(name, settings, n_samples=2048):
    torch.manual_seed(3)
    config = sd.Config.load(None, {"task": "denoise", "model.architecture": name, "model.size": "n", "model.input_length": n_samples,
                                   "audio.sample_rate": 1000, "preprocessing.filter_params.high_freq": 475} | settings)
    return task_of(config.resolve()).build().network.eval()


def test_all_of_them_are_here():
    assert set(NETWORKS) >= {"wave_unet", "wave_autoencoder", "pixel_shuffle_autoencoder", "two_stage_transformer", "diffusion"}


@pytest.mark.parametrize(("name", "settings"), VARIANTS)
def test_windows_keep_length_and_level_and_answer_alone(name, settings):
    for n_samples in (2048, 777):
        network, windows = built(name, settings, n_samples), torch.randn(3, 1, n_samples)
        with torch.no_grad():
            output = network(windows)
            assert output.shape == windows.shape
            torch.testing.assert_close(network(64 * windows), 64 * output)
            assert not network(0 * windows).any()
            torch.testing.assert_close(network(windows[1:2]), output[1:2], atol=1e-5, rtol=1e-4)
    assert isinstance(network, Transfers) and len(network.layers) >= 3


@pytest.mark.parametrize(("name", "settings"), VARIANTS)
def test_nothing_grows_at_the_ends(name, settings):
    """Ramps and sines that are cut anywhere, as windows of longer recordings are."""
    time = torch.arange(2048) / 1000
    signals = [time - time.mean(), *(torch.sin(2 * np.pi * f * time + phase) for f, phase in ((0.3, 1), (3, 2), (40, 0.5)))]
    network = built(name, settings)
    with torch.no_grad():
        answers = network(torch.stack(signals)[:, None])[:, 0]
    ends, inside = torch.cat([answers[:, :64], answers[:, -64:]], 1), answers[:, 64:-64]
    inside = inside.abs().amax(1)
    assert (ends.abs().amax(1) < 1.5 * inside + 0.05).all(), (ends.abs().amax(1), inside)


@pytest.mark.parametrize("name", NETWORKS)
def test_checkpointing_changes_nothing_but_memory(name):
    windows, gradients = torch.randn(2, 1, 512), []
    for again in (False, True):
        network = built(name, {"memory.gradient_checkpointing": again}, 512).train()
        network(windows).square().sum().backward()
        gradients.append([p.grad for p in network.parameters()])
    for one, other in zip(*gradients):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(("settings", "message"), [
    ({"model.architecture": "two_stage_transformer", "model.heads": 5}, "model.heads needs to divide 32, got 5"),
    ({"model.architecture": "wave_unet", "model.transformer_layers": 1, "model.transformer_heads": 9}, "transformer_heads needs to divide"),
    ({"model.architecture": "wave_unet", "model.transformer_layers": 1, "model.causal": True}, "look ahead"),
    ({"model.architecture": "wave_autoencoder", "model.kernel_size": 8}, "odd, got 8"),
])
def test_settings_that_do_not_fit_have_one_message(settings, message):
    with pytest.raises(ValueError, match=message):
        task_of(sd.Config.load(None, {"task": "denoise", "audio.sample_rate": 1000} | settings).resolve()).build()
