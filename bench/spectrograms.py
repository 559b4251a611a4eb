"""Classes of environmental sound by their log-mel spectrograms: our network, published ones, and simple peers.

    SOUNDDETECT_TEST_DATA=DIR python bench/spectrograms.py --scores FILE.csv [--only NAME ...] [--folds 1 2 3 4] [--seeds 1] [--full]
    python bench/spectrograms.py --plan T4

DIR holds esc10 (320 clips of five seconds, ten classes, folds 1 to 4). Each fold is the test once. Networks learn from two of the others and stop by the third;
peers learn from all three. The right and wrong answers go to FILE, so a run can be interrupted, and the table is printed
again from what is there. --full: three seeds of every network, and the published ones at the size at which they were published; hours on two cores.
--plan: what training with 2000 clips of 50 classes, as many as ESC-50 has, would take of a GPU, by the forecast; recordings of that size are made up of silence.
"""
import argparse
import os
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.signal import resample_poly
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegressionCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import sounddetect as sd
from sounddetect.jobs.cross_validation import fold_splits
from sounddetect.judging.intervals import bootstrap_intervals
from sounddetect.settings.common import Memory
from sounddetect.signal.features import LogMel
from sounddetect.signal.inputs import Inputs
from sounddetect.signal.settings import LogMelSettings

N_MELS = 64
AUGMENTATION = "training.augmentation"
OURS = {"features.kind": "log_mel", "features.n_mels": N_MELS, "features.hop_length": 1024, "training.early_stopping": None}     # 64 x 216
PLAIN = {f"{AUGMENTATION}.mixup": 0}
VARIANTS = {
    "2d_cnn": {},
    "2d_cnn, size n, 128 x 216": {"model.size": "n", "features.n_mels": 128},
    "2d_cnn, size n, 128 x 431": {"model.size": "n", "features.n_mels": 128, "features.hop_length": 512},       # as by default
    "2d_cnn, no mixup": PLAIN,
    "2d_cnn, SpecAugment": {f"{AUGMENTATION}.spec_augment": {}},
    "2d_cnn, SpecAugment, no mixup": PLAIN | {f"{AUGMENTATION}.spec_augment": {}},
    "2d_cnn, crop of 0.6": {f"{AUGMENTATION}.random_crop": {"time": 0.6}},
    "2d_cnn, five copies": {f"{AUGMENTATION}.copies": 5},
    "2d_cnn, by groups": {"model.norm": "group"},
    "resnet18, size n, mixup": {"model.architecture": "resnet18", "model.size": "n"},
    "cnn8_avg_pool, size n, mixup": {"model.architecture": "cnn8_avg_pool", "model.size": "n"},
}
# What document 002 changes of spectrograms, 100 x 384 of 128 x 431 shown; as many steps with five copies in an epoch as without.
CHANGES = {
    "": {},
    ", SpecAugment": {f"{AUGMENTATION}.spec_augment": {}},
    ", crop": {f"{AUGMENTATION}.random_crop": {"time": 384 / 431, "bands": 100 / 128}},
    ", SpecAugment, five copies": {f"{AUGMENTATION}.spec_augment": {}, f"{AUGMENTATION}.copies": 5},
}
PUBLISHED = ("resnet18", "cnn8_avg_pool", "cnn4_max_pool")
VARIANTS |= {f"{name}, size n{kind}": {"model.architecture": name, "model.size": "n"} | PLAIN | change
             for kind, change in CHANGES.items() for name in PUBLISHED}
AS_PUBLISHED = {name: {"model.architecture": name} | PLAIN for name in PUBLISHED}
ROCKET_RATE = 8000


def mini_rocket(seed):
    """MiniRocket of aeon, after Dempster, Schmidt and Webb (2021): 10,000 random convolutions and a ridge."""
    from aeon.classification.convolution_based import MiniRocketClassifier

    return MiniRocketClassifier(random_state=seed)


def statistics(recordings):
    """Mean and standard deviation over time of the log-mel bands of each recording."""
    rows = []
    for i in range(len(recordings)):
        waveform = torch.from_numpy(np.ascontiguousarray(recordings.read(i)))[None]
        rate = int(recordings.table["sample_rate"].iat[i])
        settings = LogMelSettings(n_fft=2048, win_length=2048, hop_length=1024, n_mels=N_MELS, f_min=20, f_max=20_000)
        picture = LogMel(settings, Inputs(tuple(waveform.shape[1:]), rate, (20, 20_000), Memory()))(waveform)[0, 0]
        rows.append(torch.cat([picture.mean(1), picture.std(1)]).numpy())
    return np.stack(rows)


def waveforms(recordings):
    """Five seconds of each recording at 8 kHz, `(recording, 1, time)`; silence where one is shorter."""
    rows = np.zeros((len(recordings), 1, 5 * ROCKET_RATE), np.float32)
    for i in range(len(recordings)):
        rate = int(recordings.table["sample_rate"].iat[i])
        row = resample_poly(recordings.read(i)[0], ROCKET_RATE, rate)[:rows.shape[2]]
        rows[i, 0, :len(row)] = row
    return rows


PEERS = {       # what they look at, and how they are made
    "random forest": (statistics, lambda seed: RandomForestClassifier(500, random_state=seed, n_jobs=1)),
    "logistic regression": (statistics, lambda seed: make_pipeline(
        StandardScaler(), LogisticRegressionCV(Cs=np.logspace(-4, 1, 6), cv=3, max_iter=2000))),
    "MiniRocket": (waveforms, mini_rocket),
}


def judged_by_network(settings, part, seed, epochs, folder):
    """Decisions on the test part of one fold."""
    given = OURS | {"training.epochs": epochs, "seed": seed, "data.classes": "auto", "clearml.enabled": False,
                    "output.dir": f"{folder}/runs", "data.cache_dir": f"{folder}/cache"}
    run = sd.train(sd.Config.load(None, given | settings), part, progress=False)
    test = part.filter(lambda table: table["split"] == "test")
    return sd.Detector.load(run.path, "cpu").predict(test, progress=False)["decision"].to_numpy()


def judged_by_peer(make, values, part, seed):
    is_test = (part.table["split"] == "test").to_numpy()
    labels = part.table["label"].to_numpy()
    return make(seed).fit(values[~is_test], labels[~is_test]).predict(values[is_test])


def plan_esc50(gpu):
    """Print the forecast for as many recordings as ESC-50 has, and as many classes."""
    silence, kinds = np.zeros((1, 5 * 44100), np.float32), [f"class {k % 50}" for k in range(2000)]
    recordings = sd.Recordings.from_arrays([silence] * 2000, 44100, kinds)
    for name in ("2d_cnn", "resnet18"):
        config = sd.Config.load(None, {"features.kind": "log_mel", "data.classes": "auto", "model.architecture": name})
        print(f"{name}, size {config.model.size}", sd.plan(config, recordings, gpu=gpu), "", sep="\n")


def table_of(scores):
    """Accuracy of each fold, of all, and its 95 % interval, by drawing clips of one source together."""
    rows = {}
    for name, of in scores.groupby("name", sort=False):
        seeds = of.groupby("seed")
        by_fold = of.groupby("fold")["right"].mean()
        right = of["right"].to_numpy(float)

        def accuracy(counts, right=right):
            return {"accuracy": (counts * right).sum(1) / counts.sum(1)}

        low, high = bootstrap_intervals(accuracy, of["group"].astype(str).tolist())["accuracy"]
        rows[name] = {f"fold {fold}": f"{value:.3f}" for fold, value in by_fold.items()} | {
            "mean": f"{by_fold.mean():.3f}", "95 %": f"[{low:.3f}, {high:.3f}]", "seeds": seeds.ngroups,
            "epochs": of["epochs"].iat[0], "CPU s a fold": f"{of.groupby(['seed', 'fold'])['seconds'].first().mean():.0f}"}
    return pd.DataFrame(rows).T.fillna("")


def main():
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("--scores", type=Path)
    parse.add_argument("--plan", metavar="GPU")
    parse.add_argument("--only", nargs="*", default=[])
    parse.add_argument("--folds", nargs="*", type=int, default=[1, 2, 3, 4])
    parse.add_argument("--seeds", type=int, default=1)
    parse.add_argument("--epochs", type=int, default=50)
    parse.add_argument("--full", action="store_true")
    asked = parse.parse_args()
    warnings.simplefilter("ignore")
    if asked.plan:
        return plan_esc50(asked.plan)
    if asked.scores is None:
        parse.error("--scores FILE.csv: where the answers go")
    folder = tempfile.mkdtemp()
    variants = VARIANTS | (AS_PUBLISHED if asked.full else {})
    n_seeds = 3 if asked.full else asked.seeds
    recordings = sd.load_recordings(f"{os.environ['SOUNDDETECT_TEST_DATA']}/esc10", classes="auto", cache_dir=f"{folder}/cache")
    parts = fold_splits(recordings, sd.Config.load(None, OURS | {"data.classes": "auto"}).resolve(recordings))
    known = pd.read_csv(asked.scores) if asked.scores.exists() else pd.DataFrame(columns=["name", "fold", "seed"])
    done = set(known[["name", "fold", "seed"]].itertuples(index=False, name=None))
    values = {}
    for seed in range(n_seeds):
        for name in [*PEERS, *variants]:
            for fold in asked.folds:
                if (asked.only and name not in asked.only) or (name, fold, seed) in done or (seed and name in PEERS):
                    continue
                part, started = parts[fold - 1], time.process_time()
                if name in PEERS:
                    look, make = PEERS[name]
                    values[look] = look(recordings) if look not in values else values[look]
                    decisions, epochs = judged_by_peer(make, values[look], part, seed), ""
                else:
                    epochs = asked.epochs // variants[name].get(f"{AUGMENTATION}.copies", 1)
                    decisions = judged_by_network(variants[name], part, seed, epochs, folder)
                test = part.table[part.table["split"] == "test"]
                rows = pd.DataFrame({"name": name, "fold": fold, "seed": seed, "epochs": epochs, "group": test["group"].to_numpy(),
                                     "right": decisions == test["label"].to_numpy(), "seconds": time.process_time() - started})
                rows.to_csv(asked.scores, mode="a", header=not asked.scores.exists(), index=False)
                print(f"{name}, fold {fold}, seed {seed}: {rows['right'].mean():.3f}", flush=True)
    print(table_of(pd.read_csv(asked.scores)).to_string())


if __name__ == "__main__":
    main()
