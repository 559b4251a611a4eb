"""What the detector is measured against: logistic regression on log-mel statistics, and a MiniRocket with a ridge classifier.

Both hear each recording at one level (mean 0, standard deviation 1), may learn from all recordings that are not in the test, and
choose how much they distrust large weights by cross-validation over groups. Scores lie in 0 to 1, 0.5 is where each draws its line.
"""
from itertools import combinations

import numpy as np
from scipy.special import expit
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sounddetect.signal.resampling import resample


def waveforms(recordings, sample_rate):
    """All recordings `(recording, time)`, one channel, at one rate and one level; as long as the shortest."""
    found = [resample(recordings.read(i).mean(0), int(recordings.table["sample_rate"].iloc[i]), sample_rate) for i in range(len(recordings))]
    shortest = min(len(waveform) for waveform in found)
    found = np.stack([waveform[:shortest] for waveform in found])
    found = found - found.mean(1, keepdims=True)
    return (found / np.maximum(found.std(1, keepdims=True), 1e-9)).astype(np.float32)


# Log-mel statistics

def log_mel_statistics(waveform, sample_rate, n_mels=64):
    """Mean and standard deviation over time of the log-mel spectrogram `(recording, 2 * mel)` of `(recording, time)`.

    Frames of 1024 samples, half overlapped (64 below 1000 Hz); at most half as many bands as bins.
    """
    n_fft = 1024 if sample_rate > 1000 else 64
    n_mels = min(n_mels, n_fft // 4)
    frequencies = np.fft.rfftfreq(n_fft, 1 / sample_rate)
    edges = 700 * (10 ** (np.linspace(0, np.log10(1 + sample_rate / 2 / 700), n_mels + 2)) - 1)
    lower, centre, upper = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    bank = np.clip(np.minimum((frequencies - lower) / (centre - lower), (upper - frequencies) / (upper - centre)), 0, None)
    features = []
    for samples in waveform:
        frames = np.lib.stride_tricks.sliding_window_view(samples, n_fft)[::n_fft // 2] * np.hanning(n_fft)
        log_mel = np.log(np.abs(np.fft.rfft(frames)) ** 2 @ bank.T + 1e-10)
        features.append(np.concatenate([log_mel.mean(0), log_mel.std(0)]))
    return np.stack(features)


# MiniRocket

class MiniRocket:
    """Shares of positive values of 84 fixed kernels of length 9 at up to 32 dilations, 9996 features.

    After Dempster, Schmidt & Webb (2021), *MiniRocket: a very fast (almost) deterministic transform for time series
    classification*: weights -1 and 2 (three of them), biases from quantiles of the convolution of training waveforms, every
    second pair of kernel and dilation without padding.
    """

    KERNELS = np.array(list(combinations(range(9), 3)))      # where the 2 stands
    N_FEATURES, MAX_DILATIONS = 10_000, 32

    def fit(self, waveform, seed):
        """Choose dilations and biases for `(recording, time)`."""
        per_kernel = self.N_FEATURES // len(self.KERNELS)
        most = np.log2((waveform.shape[1] - 1) / 8)
        exponents = np.linspace(0, most, min(per_kernel, self.MAX_DILATIONS))
        self.dilations, counts = np.unique((2 ** exponents).astype(int), return_counts=True)
        counts = (counts * per_kernel / counts.sum()).astype(int)
        counts[:per_kernel - counts.sum()] += 1
        shape = len(self.dilations), len(self.KERNELS)
        quantiles = iter(np.arange(1, per_kernel * len(self.KERNELS) + 1) * (np.sqrt(5) + 1) / 2 % 1)
        examples = np.random.default_rng(seed).integers(len(waveform), size=shape)
        self.biases = [[None] * shape[1] for _ in range(shape[0])]
        for d, dilation in enumerate(self.dilations):
            parts = self._parts(waveform[np.unique(examples[d])], dilation)
            row = {example: i for i, example in enumerate(np.unique(examples[d]))}
            for k, kernel in enumerate(self.KERNELS):
                output = parts[kernel, row[examples[d, k]]].sum(0)
                self.biases[d][k] = np.quantile(output, [next(quantiles) for _ in range(counts[d])]).astype(np.float32)
        return self

    @staticmethod
    def _parts(waveform, dilation):
        """`(9, recording, time)`: the sum of three of them is the convolution with the kernel that has its 2 there."""
        length = waveform.shape[1]
        padded = np.pad(waveform, ((0, 0), (4 * dilation, 4 * dilation)))
        shifted = np.stack([padded[:, j * dilation:j * dilation + length] for j in range(9)])
        return 3 * shifted - shifted.sum(0) / 3

    def transform(self, waveform):
        """Features `(recording, feature)` of `(recording, time)`, 0 to 1."""
        block = max(1, 16_384 // waveform.shape[1])
        return np.concatenate([self._features(waveform[i:i + block]) for i in range(0, len(waveform), block)])

    def _features(self, waveform):
        features = []
        for d, dilation in enumerate(self.dilations):
            parts = self._parts(waveform, dilation)
            for k, kernel in enumerate(self.KERNELS):
                output = parts[kernel[0]] + parts[kernel[1]] + parts[kernel[2]]
                if (d + k) % 2:
                    output = output[:, 4 * dilation:-4 * dilation]
                features += [[np.count_nonzero(row > bias) / len(row) for row in output] for bias in self.biases[d][k]]
        return np.array(features, np.float32).T


# How both learn

def _score(model, features):
    """0 to 1; the ridge's margin through a logistic function."""
    return model.predict_proba(features)[:, 1] if hasattr(model, "predict_proba") else expit(2 * model.decision_function(features))


def _choose(models, features, truth, groups):
    """The model with the least loss over five folds by group, fitted to all, and its scores of recordings it was not fitted to."""
    folds = list(StratifiedGroupKFold(5, shuffle=True, random_state=0).split(features, truth, groups))
    scores = np.empty((len(models), len(truth)))
    for train, held_out in folds:
        for number, model in enumerate(models):
            scores[number, held_out] = _score(model.fit(features[train], truth[train]), features[held_out])
    best = np.argmin([log_loss(truth, row) for row in scores])
    return models[best].fit(features, truth), scores[best]


def logistic_regression(train, test, sample_rate, seed=0):
    """Scores of the test part, and those of the training part by cross-validation: logistic regression on log-mel statistics."""
    features, tested = (log_mel_statistics(waveforms(part, sample_rate), sample_rate) for part in (train, test))
    models = [make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=5000)) for c in np.logspace(-4, 2, 7)]
    model, validated = _choose(models, features, np.array(train.labels) == "NG", train.table["group"].to_numpy())
    return _score(model, tested), validated


def mini_rocket(train, test, sample_rate, seed=0):
    """The same of MiniRocket and a ridge classifier. The rotation loses nothing: the ridge is the same in fewer dimensions."""
    seen, unseen = waveforms(train, sample_rate), waveforms(test, sample_rate)
    rocket = MiniRocket().fit(seen, seed)
    rotate = make_pipeline(StandardScaler(), PCA())
    features = rotate.fit_transform(rocket.transform(seen))
    models = [RidgeClassifier(alpha=alpha) for alpha in np.logspace(0, 6, 13)]
    model, validated = _choose(models, features, np.array(train.labels) == "NG", train.table["group"].to_numpy())
    return _score(model, rotate.transform(rocket.transform(unseen))), validated


def loudness(recordings):
    """Level of each recording in dB, the mean of its channels."""
    return np.array([10 * np.log10(np.mean(recordings.read(i).mean(0) ** 2) + 1e-12) for i in range(len(recordings))])
