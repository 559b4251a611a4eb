"""What each augmentation of spectrograms is worth alone, beside a network that learns from the clips as they are.

    SOUNDDETECT_TEST_DATA=DIR python bench/augmentations.py --scores FILE.csv [--only NAME ...] [--seeds 3] [--epochs 16]

DIR holds esc10. The smallest network learns at 16 kHz from two of the folds 1 to 4, stops by a third, and answers to the fourth, which is another one for
each seed; all variants of a seed begin with the same weights and have the same folds. Right and wrong answers go to FILE, so a run can be interrupted.
The last columns are the difference from `none` on the test folds, and its 95 % interval by drawing sources with all their clips. Choices belong on `validation`.
"""
import argparse
import os
import tempfile
import time
import warnings
from pathlib import Path

import pandas as pd
from spectrograms import AUGMENTATION, OURS

import sounddetect as sd
from sounddetect.jobs.cross_validation import fold_splits
from sounddetect.judging.comparison import paired_bootstrap

SMALL = OURS | {"model.size": "n", "audio.sample_rate": 16000, "features.hop_length": 512, "data.classes": "auto", "clearml.enabled": False, "device": "cpu"}
NONE = {"noise_factor": 0, "time_shift_max": 0, "eq_db": 0, "mixup": 0}
ALONE = {
    "none": {},
    "noise_factor 0.3": {"noise_factor": 0.3},
    "eq_db 3": {"eq_db": 3},
    "mixup 0.3": {"mixup": 0.3},
    "between_class 0.5": {"between_class": 0.5},
    "spec_augment": {"spec_augment": {}},
    "random_crop 0.9 of time and bands": {"random_crop": {"time": 0.9, "bands": 0.78}},
    "time_roll": {"time_roll": {}},
    "random_erasing": {"random_erasing": {}},
    "pitch_shift 2": {"pitch_shift": {}},
    "the defaults": {"noise_factor": 0.3, "time_shift_max": 0.05, "eq_db": 3, "mixup": 0.3},
}
assert set(NONE) <= set(ALONE["the defaults"])


def trained(augmentation, part, seed, epochs, folder):
    """Decisions on the test part, and the accuracy on the validation part of the epoch that was kept."""
    settings = {f"{AUGMENTATION}.{name}": value for name, value in (NONE | augmentation).items()}
    given = SMALL | settings | {"training.epochs": epochs, "seed": seed, "output.dir": f"{folder}/runs", "data.cache_dir": f"{folder}/cache"}
    run = sd.train(sd.Config.load(None, given), part, progress=False)
    kept = run.results.loc[run.results["val_loss"].idxmin(), "val_accuracy"]
    return run.detector.predict(part.filter(lambda table: table["split"] == "test"), progress=False)["decision"].to_numpy(), kept


def table_of(scores):
    """A row an augmentation; every row has answered to the same clips of the same seeds as `none`."""
    none, rows = scores[scores["name"] == "none"].set_index(["seed", "key"]), {}

    def accuracy(right):
        return lambda counts: {"accuracy": (counts * right).sum(1) / counts.sum(1)}

    for name, of in scores.groupby("name", sort=False):
        beside = none.loc[pd.MultiIndex.from_frame(of[["seed", "key"]])]
        right, before = of["right"].to_numpy(float), beside["right"].to_numpy(float)
        runs = of.groupby("seed")
        rows[name] = {"seeds": runs.ngroups, "validation": f"{runs['validation'].first().mean():.3f}", "test": f"{right.mean():.3f}",
                      "CPU s": f"{runs['seconds'].first().mean():.0f}"}
        if name != "none":
            low, high = paired_bootstrap(accuracy(before), accuracy(right), of["group"].astype(str).tolist())["accuracy"]
            rows[name] |= {"test - none": f"{right.mean() - before.mean():+.3f}", "95 %": f"[{low:+.3f}, {high:+.3f}]"}
    return pd.DataFrame(rows).T.fillna("")


def main():
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("--scores", type=Path, required=True)
    parse.add_argument("--only", nargs="*", choices=list(ALONE), default=list(ALONE))
    parse.add_argument("--seeds", type=int, default=3, choices=range(1, 5))
    parse.add_argument("--epochs", type=int, default=16)
    asked = parse.parse_args()
    warnings.simplefilter("ignore")
    folder = tempfile.mkdtemp()
    recordings = sd.load_recordings(f"{os.environ['SOUNDDETECT_TEST_DATA']}/esc10", classes="auto", cache_dir=f"{folder}/cache")
    parts = fold_splits(recordings, sd.Config.load(None, SMALL).resolve(recordings))
    known = pd.read_csv(asked.scores) if asked.scores.exists() else pd.DataFrame(columns=["name", "seed"])
    done = set(known[["name", "seed"]].itertuples(index=False, name=None))
    for seed in range(asked.seeds):
        for name in asked.only:
            if (name, seed) in done:
                continue
            part, started = parts[seed], time.process_time()
            decisions, validation = trained(ALONE[name], part, seed, asked.epochs, folder)
            test = part.table[part.table["split"] == "test"]
            rows = pd.DataFrame({"name": name, "seed": seed, "key": test["key"].to_numpy(), "group": test["group"].to_numpy(),
                                 "right": decisions == test["label"].to_numpy(), "validation": validation, "seconds": time.process_time() - started})
            rows.to_csv(asked.scores, mode="a", header=not asked.scores.exists(), index=False)
            print(f"{name}, seed {seed}: {rows['right'].mean():.3f}, {rows['seconds'].iat[0]:.0f} s", flush=True)
    print(table_of(pd.read_csv(asked.scores)).to_string())


if __name__ == "__main__":
    main()
