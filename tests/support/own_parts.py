"""Parts that a researcher might bring in a module: importing it registers them."""

import torch
from torch import nn

import sounddetect as sd
from sounddetect.settings.bricks import FeatureSettings, LossSettings, ModelSettings, setting
from sounddetect.tasks.anomaly import Anomaly


class StretchesSettings(FeatureSettings):
    """Energy of stretches of a window."""

    n_stretches: int = setting(8, "stretches in a window", ge=1)


class Stretches(nn.Module):
    """Energy of stretches in dB: `(batch, channel, time)` to `(batch, channel, stretch)`."""

    def __init__(self, n_stretches):
        super().__init__()
        self.n_stretches = n_stretches

    def forward(self, windows, lengths=None):
        size = windows.shape[-1] // self.n_stretches
        stretches = windows[..., : size * self.n_stretches].unflatten(-1, (self.n_stretches, size))
        return 10 * stretches.square().mean(-1).clamp_min(1e-6).log10()


class PoolingSettings(ModelSettings):
    """Two layers over features averaged in time."""

    width: int = setting(16, "of the hidden layer", ge=1)


class Pooling(nn.Module):
    def __init__(self, settings, inputs, n_outputs):
        super().__init__()
        rows = inputs.shape[0] * (inputs.shape[1] if len(inputs.shape) == 3 else 1)
        self.hidden = nn.Linear(2 * rows, settings.width)
        self.last = nn.Linear(settings.width, n_outputs)

    def embed(self, features):
        rows = features.flatten(1, -2)
        pooled = torch.cat([rows.mean(-1), rows.square().mean(-1).add(1e-6).sqrt()], 1)
        return self.hidden(pooled).relu()

    def forward(self, features):
        return self.last(self.embed(features))


class FocalSettings(LossSettings):
    """Cross-entropy that cares less for what is easy."""

    gamma: float = setting(2.0, "how much less", ge=0)


def build_focal(settings):
    def focal(output, target):
        log_probability = (output.log_softmax(-1) * target).sum(-1)
        return -((1 - log_probability.exp()) ** settings.gamma) * log_probability

    return focal


class Loudest(Anomaly):
    """As `anomaly`, but a recording is as unusual as its most unusual window."""

    def combine(self, answers, owners):
        return torch.zeros(int(owners.max()) + 1).scatter_reduce(
            0, torch.from_numpy(owners).long(), torch.from_numpy(answers).float(), "amax", include_self=False
        ).numpy()


class LevelSettings(ModelSettings):
    """How far the level of a window is from that of good ones."""


class Level(nn.Module):
    """An estimator of two numbers, fitted in two passes."""

    n_passes = 2

    def __init__(self, inputs):
        super().__init__()
        self.register_buffer("centre", torch.zeros(()))
        self.register_buffer("spread", torch.ones(()))
        self.register_buffer("is_centred", torch.zeros((), dtype=torch.bool))
        self._sum, self._weight = 0.0, 0.0

    def _level(self, features):
        return features.float().flatten(1).square().mean(1).add(1e-9).log()

    def update(self, features, weight):
        level = self._level(features)
        values = (level - self.centre).square() if self.is_centred else level
        self._sum += float((values * weight).sum())
        self._weight += float(weight.sum())

    def finish(self):
        mean = self._sum / self._weight
        if self.is_centred:
            self.spread.fill_(max(mean, 1e-6) ** 0.5)
        else:
            self.centre.fill_(mean)
            self.is_centred.fill_(True)
        self._sum, self._weight = 0.0, 0.0

    def forward(self, features):
        return ((self._level(features) - self.centre) / self.spread).square()[:, None]


sd.register_feature("stretches", StretchesSettings, lambda settings, inputs: Stretches(settings.n_stretches))
sd.register_network("pooling", PoolingSettings, Pooling, tasks=["classify"])
sd.register_loss("focal", FocalSettings, build_focal, tasks=["classify"])
sd.register_estimator("level", LevelSettings, lambda settings, inputs, n_outputs: Level(inputs), tasks=["anomaly", "loudest"])
sd.register_task("loudest", None, Loudest)
