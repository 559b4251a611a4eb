"""Whether good recordings alone tell which estimator to take: four criteria, and what each choice by them loses.

    SOUNDDETECT_TEST_DATA=DIR python bench/label_free_choice.py

Estimators are fitted to pooled vectors: of motors, a fan, two simulated sets, and the matrices of DCASE 2020. Labels judge the choices only.
"""
import os
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from normal_only import LABELS, LEARNT_RPM, fan_axes, motor_files, rpm, seconds_of
from scipy.stats import spearmanr

import sounddetect as sd
from sounddetect.config import Memory
from sounddetect.data.simulation import simulate_recordings
from sounddetect.judging.metrics import area_under_roc
from sounddetect.models.pooling import pooled
from sounddetect.parts import find
from sounddetect.signal.front_end import front_end_of
from sounddetect.signal.inputs import Inputs
from sounddetect.signal.resampling import resample

CANDIDATES = {"mahalanobis": ("mahalanobis", {}), "neighbors": ("nearest_neighbors", {}),
              "neighbors, local": ("nearest_neighbors", {"density": "local"}),
              "mixture": ("gaussian_mixture", {}), "pca": ("pca_residual", {})}


def fitted(name, vectors):
    """An estimator that has learnt from vectors."""
    kind, own = CANDIDATES[name]
    part = find("estimator", kind)
    inputs = Inputs((1, vectors.shape[1], 1), 16000, (0, 8000), Memory())
    estimator = part.build(part.settings(**own, pooling="mean"), inputs, 1)
    estimator.update(vectors[:, None, :, None], torch.ones(len(vectors)))
    estimator.finish()
    return estimator


def scores(estimator, vectors):
    with torch.no_grad():
        return estimator(vectors[:, None, :, None])[:, 0].numpy()


def told_apart(low, high):
    """AUC of `high` against `low`."""
    return area_under_roc(np.arange(len(low) + len(high)) >= len(low), np.concatenate([low, high]))


def lifted(vectors, spread, rng):
    """A tenth of the values, side by side, two deviations higher."""
    changed, width = vectors.clone(), max(1, vectors.shape[1] // 10)
    for row in changed:
        start = rng.integers(len(row) - width + 1)
        row[start:start + width] += 2 * spread[start:start + width]
    return changed


def mixed(vectors, others, rng):
    """Each value from one of two recordings."""
    partners = others[torch.from_numpy(rng.permutation(len(others))[:len(vectors)])]
    return torch.where(torch.from_numpy(rng.random(tuple(vectors.shape)) < 0.5), vectors, partners)


def criteria(name, vectors, groups):
    """What folds of good recordings say of a candidate: higher is meant to be better."""
    rng = np.random.default_rng(0)
    order = rng.permutation(np.unique(groups))
    spread, rows = vectors.std(0).clamp_min(1e-3), []
    for fold in np.array_split(order, min(4, len(order))):
        out = np.isin(groups, fold)
        estimator, held = fitted(name, vectors[~out]), vectors[out]
        good, bump, blend = scores(estimator, held), [], []
        for _ in range(3):
            bump.append(scores(estimator, lifted(held, spread, rng)))
            blend.append(scores(estimator, mixed(held, vectors, rng)))
        rows.append({"held out like learnt": -abs(told_apart(scores(estimator, vectors[~out]), good) - 0.5),
                     "a lifted band": told_apart(good, np.concatenate(bump)),
                     "two recordings mixed": told_apart(good, np.concatenate(blend))})
    half = rng.random(len(vectors)) < 0.5
    ranks = (scores(fitted(name, vectors[part]), vectors) for part in (half, ~half))
    return pd.DataFrame(rows).mean().to_dict() | {"two halves rank alike": spearmanr(*ranks)[0]}


def vectors_of(waveforms, rate, **settings):
    """Pooled log-mel of windows `(window, channel, time)`, as a detector with these settings sees them."""
    recordings = sd.Recordings.from_arrays(list(waveforms), rate, ["OK"] * len(waveforms))
    config = sd.Config.load(None, {"task": "anomaly", "model.input_length": waveforms.shape[-1]} | settings)
    front_end = front_end_of(config.resolve(recordings))
    with torch.inference_mode():
        return torch.cat([pooled(front_end(part)) for part in torch.from_numpy(waveforms).split(64)]).clone()


def sets(data):
    """Name, vectors, groups, what is faulty, and what is learnt."""
    for number in (4, 6):
        learnt, tested, truth = (np.load(data / f"dcase2020_modspec_features/slider{number}_{part}_NR-100_d_.npy")
                                 for part in ("X_train", "X_test", "y_test"))
        both = torch.from_numpy(np.concatenate([learnt, tested])).float().flatten(1)
        is_bad = np.concatenate([np.zeros(len(learnt), bool), truth == 1])
        yield f"slider {number}", both, np.arange(len(both)), is_bad, np.arange(len(both)) < len(learnt)
    waveforms, is_bad, source, speed = [], [], [], []
    for file in motor_files(data):
        windows, rate = seconds_of(file)
        waveforms += [resample(window[None], rate, 16000) for window in windows]
        is_bad += [LABELS[file.parts[-3]] == "NG"] * len(windows)
        source, speed = source + [str(file)] * len(windows), speed + [rpm(file)] * len(windows)
    learnt = ~np.array(is_bad) & np.isin(speed, LEARNT_RPM)
    yield "motors", vectors_of(np.stack(waveforms), 16000), np.array(source), np.array(is_bad), learnt
    axes = [window for weight in (0, 1) for window in fan_axes(data, "low", weight)]
    axes = np.stack([np.pad(window[:, :200], [(0, 0), (0, max(0, 200 - window.shape[1]))], "edge") for window in axes])
    number = np.arange(len(axes))
    yield "fan low", vectors_of(axes, 200), number, number >= len(axes) // 2, number < 40
    for name, seed, n_machines in (("25 machines", 0, 25), ("one machine", 1, 1)):
        sound, labels, groups = simulate_recordings(300, seed=seed, n_machines=n_machines)
        is_bad = np.array(labels) == "NG"
        learnt = ~is_bad & (np.random.default_rng(0).random(len(is_bad)) < 0.6)
        yield name, vectors_of(sound[:, None], 44100), np.array(groups) if n_machines > 1 else np.arange(300), is_bad, learnt


if __name__ == "__main__":
    data = Path(os.environ.get("SOUNDDETECT_TEST_DATA") or sys.exit("set SOUNDDETECT_TEST_DATA to the folder with the recorded data"))
    warnings.simplefilter("ignore", UserWarning)
    torch.set_num_threads(1)
    lost = {}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for name, vectors, groups, is_bad, learnt in sets(data.resolve()):
            table = pd.DataFrame({each: criteria(each, vectors[learnt], groups[learnt]) for each in CANDIDATES}).T
            judged = pd.Series({each: area_under_roc(is_bad[~learnt], scores(fitted(each, vectors[learnt]), vectors[~learnt]))
                                for each in CANDIDATES})
            print(table.assign(AUC=judged).round(3).rename_axis(name).to_string(), end="\n\n", flush=True)
            lost[name] = {key: judged.max() - judged[table[key].idxmax()] for key in table}
            lost[name]["always mahalanobis"] = judged.max() - judged["mahalanobis"]
    print("AUC that is lost against the best of the five")
    print(pd.DataFrame(lost).round(3).to_string())
