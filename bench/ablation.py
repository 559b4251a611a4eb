"""What each part of the detector is worth on unseen motors: the parts are taken away one at a time.

    SOUNDDETECT_TEST_DATA=DIR python bench/ablation.py [--seeds 3]

The splits are those of bench/detection_quality.py. They were also looked at while the network was designed, so the last row
shows what the chosen design gains over the others, not what it will reach elsewhere.
"""
import argparse
import os
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from detection_quality import (
    MOTORS,
    NO_AUGMENTATION,
    detector,
    motor_held_out_splits,
    motor_splits,
    recordings_of,
)
from sklearn.metrics import roc_auc_score
from torch.nn import functional as F

from sounddetect.judging.thresholds import choose_threshold
from sounddetect.tasks import pipeline
from sounddetect.tasks.pipeline import build_network


def random_filters(network):
    """The filter bank begins at random instead of as Gabor filters."""
    network.bank.filters.conv.reset_parameters()


def random_start(network):
    """Both paths begin at random; only the scale of the bands is measured."""
    network.deep_path.classifier[-1].reset_parameters()

    initialize = network.initialize_from_data

    def scale_alone(batches):
        initialize(batches)
        network.short_path.reset_parameters()

    network.initialize_from_data = scale_alone


def deep_path_alone(network):
    """No short path."""
    random_start(network)
    with_scale = network.initialize_from_data

    def without_short_path(batches):
        with_scale(batches)
        for parameter in network.short_path.parameters():
            parameter.requires_grad_(False).zero_()

    network.initialize_from_data, network.path_dropout = without_short_path, 0.0


class RectifiedBank(torch.nn.Module):
    """The usual first layer: random filters, rectifier, maximum."""

    def __init__(self, bank):
        super().__init__()
        self.filters, self.pool = bank.filters, bank.pool
        self.filters.conv.reset_parameters()

    def forward(self, waveform):
        return F.max_pool2d(F.relu(self.filters(waveform[:, :, None])), (1, self.pool)).float()


def usual_network(network):
    """What most people would write: rectified random filters and a deep path, all from random weights."""
    network.bank = RectifiedBank(network.bank)
    deep_path_alone(network)

VARIANTS = {
    "usual 1D-CNN + attention, no augmentation": (usual_network, NO_AUGMENTATION),
    "usual 1D-CNN + attention": (usual_network, {}),
    "deep path alone": (deep_path_alone, {}),
    "both paths, random start": (random_start, {}),
    "random filters": (random_filters, {}),
    "no augmentation": (None, NO_AUGMENTATION),
    "as it is": (None, {}),
}


def another_microphone(test, folder, seed):
    """The test part as another microphone in another room would record it: a smooth filter of +-6 dB, and noise 10 dB below."""
    rng = np.random.default_rng(seed)
    knots, gains = np.linspace(0, 1, 8), rng.uniform(-6, 6, 8)

    def change(samples, rate):
        spectrum = np.fft.rfft(samples)
        curve = 10 ** (np.interp(np.linspace(0, 1, spectrum.shape[1]), knots, gains) / 20)
        filtered = np.fft.irfft(spectrum * curve, samples.shape[1])
        return (filtered + 10 ** -0.5 * filtered.std() * rng.standard_normal(filtered.shape)).astype(np.float32), rate

    return test.derive(change, f"another microphone, seed {seed}", f"{folder}/cache")


def measure(train, test, settings, seed, folder):
    """AUC and false-alarm rate at the threshold of best F1 on the validation part; NaN where only one class is tested."""
    validation, validated, scores = detector(train, test, settings, seed, folder)
    truth = np.array(test.labels) == "NG"
    threshold = choose_threshold(np.array(validation.labels) == "NG", validated, "best_f1").value
    return {"auc": roc_auc_score(truth, scores) if 0 < truth.mean() < 1 else np.nan, "false_alarms": (scores[~truth] >= threshold).mean()}


def build_with(change):
    def build(config, n_outputs):
        network = build_network(config, n_outputs)
        if change:
            change(network)
        return network

    return build


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", help="variants whose name contains this")
    arguments = parser.parse_args()
    seeds = arguments.seeds
    data = os.environ.get("SOUNDDETECT_TEST_DATA") or sys.exit("set SOUNDDETECT_TEST_DATA to the folder with the recorded data")
    warnings.simplefilter("ignore", UserWarning)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        recordings = recordings_of("motors", Path(data), folder, 0)
        for name, (change, settings) in VARIANTS.items():
            if arguments.only and arguments.only not in name:
                continue
            pipeline.build_network = build_with(change)
            for seed in range(seeds):
                for split, _, _, is_test in [*motor_splits(recordings, seed), *motor_held_out_splits(recordings, seed)]:
                    train, test = recordings[~is_test], recordings[is_test]
                    rows.append({"variant": name, "seed": seed, "split": split, **measure(train, test, MOTORS | settings, seed, folder)})
                    if "rpm" in split:
                        elsewhere = measure(train, another_microphone(test, folder, seed), MOTORS | settings, seed, folder)
                        rows.append({"variant": name, "seed": seed, "split": "rpm, other microphone", "auc": elsewhere["auc"]})
            print(pd.DataFrame(rows)[lambda table: table.variant == name].groupby("split").auc.agg(["mean", "min"]).round(3), file=sys.stderr, flush=True)
    table = pd.DataFrame(rows)
    tested = table.dropna(subset="auc")
    wide = tested.pivot_table(index="variant", columns="split", values="auc", aggfunc=["mean", "min"], sort=False)
    print(wide.reindex([name for name in VARIANTS if name in wide.index]).round(3).to_string())
    print(table[table.split == "motors, M3 held out"].groupby("variant").false_alarms.mean().rename("M3 held out: false alarms").round(3).to_string())
