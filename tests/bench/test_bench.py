"""What the detector is measured against is what it says it is, and so are the figures of the tables."""

import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))
import denoising
import peers
import quality_tables


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(0).standard_normal((6, 200)).astype(np.float32)


def by_hand(waveform, rocket):
    """Features of one waveform as the paper writes them: a dilated kernel of -1 and 2, and the share of what exceeds a bias."""
    features = []
    for d, dilation in enumerate(rocket.dilations):
        for k, twos in enumerate(combinations(range(9), 3)):
            kernel = np.zeros(8 * dilation + 1)
            kernel[::dilation] = -1
            kernel[[dilation * j for j in twos]] = 2
            padded = np.pad(waveform, 4 * dilation) if (d + k) % 2 == 0 else waveform
            output = np.correlate(padded, kernel, "valid")
            features += [np.mean(output > bias) for bias in rocket.biases[d][k]]
    return np.array(features)


def test_mini_rocket_is_that_of_the_paper(noise):
    rocket = peers.MiniRocket().fit(noise[:4], seed=0)
    features = rocket.transform(noise)
    assert features.shape == (6, 9996) and rocket.dilations[0] == 1 and rocket.dilations[-1] == int(199 / 8)
    assert len(peers.MiniRocket.KERNELS) == 84
    for row in (0, 5):
        assert (np.abs(features[row] - by_hand(noise[row], rocket)) > 1e-6).mean() < 2e-3  # a value at a bias may round either way
    assert 0.4 < features[:4].mean() < 0.6  # biases are quantiles of what training waveforms give
    np.testing.assert_array_equal(peers.MiniRocket().fit(noise[:4], 0).transform(noise), features)


def test_kernels_without_padding_hear_no_offset(noise):
    """Six weights of -1 and three of 2 sum to nothing."""
    rocket = peers.MiniRocket().fit(noise[:1], seed=1)
    padded = np.concatenate([np.full(len(biases), (d + k) % 2 == 0) for d, row in enumerate(rocket.biases) for k, biases in enumerate(row)])
    plain, raised = rocket.transform(noise[:1])[0], rocket.transform(noise[:1] + 0.25)[0]
    assert (np.abs(plain - raised)[~padded] > 1e-6).mean() < 2e-3 < (np.abs(plain - raised)[padded] > 1e-6).mean()


def test_log_mel_statistics_show_where_a_tone_is_and_that_it_beats():
    time = np.arange(16000) / 16000
    steady = np.sin(2 * np.pi * 1000 * time)
    beating = steady * (1 + 0.9 * np.sin(2 * np.pi * 4 * time))
    mean, spread = np.split(peers.log_mel_statistics(np.stack([steady, beating]), 16000), 2, axis=1)
    mel = 2595 * np.log10(1 + 1000 / 700) / (2595 * np.log10(1 + 8000 / 700)) * 65 - 1
    assert mean.shape == (2, 64) and abs(mean[0].argmax() - mel) < 1
    assert spread[1, mean[0].argmax()] > 10 * spread[0, mean[0].argmax()]


def test_the_rotated_ridge_is_the_ridge(noise):
    rng = np.random.default_rng(1)
    features, tested, truth = rng.standard_normal((30, 200)), rng.standard_normal((9, 200)), np.arange(30) % 2 == 0
    rotate = peers.make_pipeline(StandardScaler(), peers.PCA())
    rotated = RidgeClassifier(alpha=10).fit(rotate.fit_transform(features), truth).decision_function(rotate.transform(tested))
    scale = StandardScaler().fit(features)
    plain = RidgeClassifier(alpha=10).fit(scale.transform(features), truth).decision_function(scale.transform(tested))
    np.testing.assert_allclose(rotated, plain, atol=1e-8)


def test_the_model_that_is_chosen_has_not_seen_the_group_it_is_judged_on():
    """Features that name the group and say nothing else: a split that tears groups apart would find them perfect."""
    groups = np.repeat(np.arange(20), 5)
    truth = np.random.default_rng(2).permutation(20)[groups] % 2 == 0
    names = np.eye(20)[groups]
    model, scores = peers._choose([peers.LogisticRegression(C=100)], names, truth, groups)
    assert roc_auc_score(truth, scores) < 0.7 and roc_auc_score(truth, peers._score(model, names)) == 1


@pytest.fixture
def scores():
    """Two methods, two folds, two seeds; the detector ranks all but one recording rightly."""
    rng = np.random.default_rng(3)
    rows = []
    for method, noise in (("detector", 0.1), ("MiniRocket", 0.3), ("log-mel LR", 0.5)):
        for seed in range(2):
            for fold in range(2):
                for part in ("validation", "test"):
                    label = np.array(["OK", "NG"] * 20)
                    group = [f"{part} {fold} {i // 8} {name}" for i, name in enumerate(label)]
                    score = np.clip((label == "NG") * 0.6 + 0.2 + noise * rng.standard_normal(40), 0, 1)
                    rows.append(pd.DataFrame({"split": "machine", "fold": fold, "seed": seed, "method": method, "part": part, "group": group, "label": label, "score": score}))
    return pd.concat(rows, ignore_index=True)


def test_a_table_has_the_mean_of_scikit_learns_figures(scores):
    table = quality_tables.quality_table(scores)
    runs = scores[(scores["part"] == "test") & (scores["method"] == "MiniRocket")].groupby(["seed", "fold"])
    for name, max_fpr in (("auc", None), ("p_auc", 0.1)):
        wanted = np.mean([roc_auc_score(run["label"] == "NG", run["score"], max_fpr=max_fpr) for _, run in runs])
        value, low, high = (float(text.strip("[],")) for text in table.loc[("machine (2 seeds)", "MiniRocket"), name].split())
        assert abs(value - wanted) < 6e-4 and low < value < high
    gain = table.loc[("machine (2 seeds)", "detector"), "beside best peer"]
    assert gain.startswith("+0.") and (table["beside best peer"] == "").sum() == 2


def test_a_faultless_figure_has_an_exact_bound_and_not_the_interval_1_to_1(scores):
    perfect = scores["method"] == "detector"
    scores.loc[perfect, "score"] = (scores.loc[perfect, "label"] == "NG") * 0.8 + 0.1
    row = quality_tables.quality_table(scores).loc[("machine (2 seeds)", "detector")]
    assert row["auc"] == row["recall"] == f"1.000 [{0.025 ** (1 / 10):.3f}, 1.000]"  # ten groups of each class, none wrong
    assert row["false alarms"] == f"0.000 [0.000, {1 - 0.025 ** (1 / 10):.3f}]"


def test_what_was_promised_stands_beside_what_came(scores):
    table = quality_tables.promise_table(scores, "MiniRocket")
    row = table.loc[("machine", "at most 5 %")]
    assert list(table.index.get_level_values("rule")) == list(quality_tables.RULES) and row["good ones seen"] == 20
    assert row["false alarms seen"] == 0 < row["false alarms that came"]  # 20 good ones cannot promise 5 %: the threshold lies above all of them
    assert abs(row["bound"] - (1 - 0.05 ** (1 / 20))) < 6e-4
    test = scores[(scores["part"] == "test") & (scores["method"] == "MiniRocket") & (scores["label"] == "OK")]
    assert abs(table.loc[("machine", "fixed 0.5"), "false alarms that came"] - (test["score"] >= 0.5).mean()) < 6e-4


def test_adaptive_filter_finds_the_wiener_solution():
    """Of a stationary reference: the taps of least squares, and what these leave."""
    rng = np.random.default_rng(0)
    reference = np.convolve(rng.normal(size=40_000), [1, 0.6, 0.2])[:40_000]
    path, signal = np.array([0.8, -0.5, 0.3, 0.1]), 0.3 * rng.normal(size=40_000)
    noisy = signal + np.convolve(reference, path)[:40_000]
    cleaned, taps = denoising.nlms(noisy, reference, 8, 0.005)
    lagged = np.stack([np.pad(reference, (k, 0))[:40_000] for k in range(8)], 1)
    wiener, *_ = np.linalg.lstsq(lagged, noisy, rcond=None)
    np.testing.assert_allclose(wiener[:4], path, atol=0.01)
    np.testing.assert_allclose(taps[::-1], wiener, atol=0.05)
    left, best = (cleaned[20_000:] - signal[20_000:]).var(), (noisy - lagged @ wiener - signal)[20_000:].var()
    assert best <= left < 0.02 * signal.var() and cleaned[20_000:].var() == pytest.approx(signal.var(), rel=0.05)
