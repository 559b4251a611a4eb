"""Augmentations of one's own, by name: the same in every repetition, and switched on by the configuration alone."""

import numpy as np
import pytest
import torch
from support.tiny import SETTINGS, write_folder
from torch import nn

import sounddetect as sd
from sounddetect.settings.bricks import Section, setting
from sounddetect.signal.augmentation import uniform


class PolaritySettings(Section):
    """Turn a window upside down."""

    share: float = setting(0.5, "fraction of windows", ge=0, le=1)


class Polarity(nn.Module):
    stage = "waveform"

    def __init__(self, settings):
        super().__init__()
        self.share = settings.share

    def forward(self, waveform, rng):
        return -waveform if rng.random() < self.share else waveform


class HissSettings(Section):
    """Noise on what preprocessing gives."""

    level: float = setting(0.1, "standard deviation", ge=0)


class Hiss(nn.Module):
    stage = "preprocessed"

    def __init__(self, settings):
        super().__init__()
        self.level = settings.level

    def forward(self, windows, seed):
        return windows + self.level * (uniform(seed, windows[0].numel()).view_as(windows) - 0.5)


@pytest.fixture(scope="module", autouse=True)
def registered():
    sd.register_augmentation("polarity", PolaritySettings, Polarity)
    sd.register_augmentation("hiss", HissSettings, Hiss)


@pytest.fixture
def trained(tmp_path):
    write_folder(tmp_path / "data")

    def train(name, **settings):
        given = {f"training.augmentation.{key.replace('__', '.')}": value for key, value in settings.items()}
        fixed = {"data.path": str(tmp_path / "data"), "data.cache_dir": str(tmp_path / "cache"), "device": "cpu"}
        config = sd.Config.load(None, SETTINGS | fixed | {"training.epochs": 2} | given)
        return sd.train(config, run=tmp_path / name, progress=False)

    return train


def weights(run):
    return torch.cat([w.flatten() for w in sd.Detector.load(run.path, "cpu").network.state_dict().values()])


def test_they_change_the_training_and_repeat_exactly(trained):
    plain = trained("plain")
    first, second = (trained(name, polarity__share=0.5, hiss__level=0.3) for name in ("first", "second"))
    assert first.config.training.augmentation.hiss.level == 0.3
    assert torch.equal(weights(first), weights(second))
    assert not torch.allclose(weights(plain), weights(first), atol=1e-4)
    scores = [sd.Detector.load(first.path, "cpu").predict(np.ones(800), 8000).anomaly_score[0] for _ in range(2)]
    assert scores[0] == scores[1]


def test_a_resumed_training_is_the_same_bit_for_bit(trained):
    whole = trained("whole", hiss__level=0.3)
    constant = {"training.lr_scheduler": None}      # else the rate would depend on the number of epochs
    twice = sd.train(whole.config.replace(constant), run=whole.path.parent / "twice", progress=False)
    once = sd.train(whole.config.replace(constant | {"training.epochs": 1}), run=whole.path.parent / "once", progress=False)
    longer = sd.resume(once.path, {"training.epochs": 2}, progress=False)
    columns = ["train_loss", "val_loss"]
    assert longer.results[columns].equals(twice.results[columns])
    assert torch.equal(weights(longer), weights(twice))


def test_settings_are_checked(trained):
    with pytest.raises(ValueError, match=r"hiss.level should be greater than or equal to 0, got -1"):
        trained("wrong", hiss__level=-1)
    with pytest.raises(ValueError, match="unknown key training.augmentation.hisss"):
        trained("wrong", hisss__level=1)
