"""What the detector is measured against: loudness alone, and logistic regression on log-mel means."""
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sounddetect.signal.resampling import prepare


def log_mel_means(recordings, sample_rate, n_mels=64):
    """Mean over time of the log-mel spectrogram of each recording `(recording, mel)`, each brought to the same level."""
    n_fft = 1024 if sample_rate > 1000 else 64
    frequencies = np.fft.rfftfreq(n_fft, 1 / sample_rate)
    n_mels = min(n_mels, n_fft // 4)
    mel = np.linspace(0, 2595 * np.log10(1 + sample_rate / 2 / 700), n_mels + 2)
    edges = 700 * (10 ** (mel / 2595) - 1)
    lower, centre, upper = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    bank = np.clip(np.minimum((frequencies - lower) / (centre - lower), (upper - frequencies) / (upper - centre)), 0, None)
    features = []
    for i in range(len(recordings)):
        waveform = prepare(recordings.read(i), int(recordings.table["sample_rate"][i]), sample_rate)
        waveform = (waveform - waveform.mean()) / max(waveform.std(), 1e-9)
        frames = np.lib.stride_tricks.sliding_window_view(waveform, n_fft)[::n_fft // 2] * np.hanning(n_fft)
        power = np.abs(np.fft.rfft(frames)) ** 2
        features.append(np.log(power @ bank.T + 1e-10).mean(0))
    return np.stack(features)


def logistic_regression(train, test, sample_rate):
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000))
    model.fit(log_mel_means(train, sample_rate), np.array(train.labels) == "NG")
    return model.predict_proba(log_mel_means(test, sample_rate))[:, 1]


def loudness(recordings):
    """Level of each recording in dB, the mean of its channels."""
    return np.array([10 * np.log10(np.mean(recordings.read(i).mean(0) ** 2) + 1e-12) for i in range(len(recordings))])
