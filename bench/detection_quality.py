"""How well the detector does on unseen machines, speeds and recordings, beside two peers.

    SOUNDDETECT_TEST_DATA=DIR python bench/detection_quality.py [--seeds 5] [--only SET] [--scores FILE.csv]

DIR holds bldc_motor_audio and ceiling_fan_vibration. A split and seed at a time, the detector, logistic regression on log-mel statistics and a
MiniRocket learn from the same recordings and score the same test part, once. All scores are appended to FILE as they come; what is
in it already is not measured again, so an interrupted run goes on, and a finished one prints its tables.
"""
import argparse
import os
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from peers import logistic_regression, mini_rocket
from quality_tables import promise_table, quality_table
from sklearn.model_selection import StratifiedKFold

import sounddetect as sd

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from support.recorded import (  # the tests make the same files
    motor_files,
    rpm,
    write_fan_json,
    write_motor_json,
)

MOTORS = {"audio.sample_rate": 16000, "model.input_length": 8000}
FAN = {"audio.sample_rate": 200, "model.input_length": 200, "preprocessing.apply_filter": False}
SIMULATED = {"audio.sample_rate": 44100}
NO_AUGMENTATION = {f"training.augmentation.{name}": 0 for name in ("noise_factor", "eq_db", "time_shift_max")}


# Splits: name, fold, recordings that are used, recordings of the test

def motor_splits(recordings, seed):
    """By file five times, and by speed."""
    sources = recordings.table["source"].to_numpy()
    files = np.unique(sources)
    labels = [recordings.table["label"][sources == name].iloc[0] for name in files]
    speed = np.array([rpm(name) for name in sources])
    for fold, (_, test) in enumerate(StratifiedKFold(5, shuffle=True, random_state=seed).split(files, labels)):
        yield "motors, 5-fold by file", fold, recordings, np.isin(sources, files[test])
    yield "motors, rpm >= 1850 held out", 0, recordings, speed >= 1850


def motor_held_out_splits(recordings, seed):
    """By motor."""
    for motor in ("M1", "M3"):
        yield f"motors, {motor} held out", 0, recordings, np.array([motor in name for name in recordings.table["source"]])


def fan_splits(recordings, seed):
    """Half of the recordings of a speed, and a whole speed."""
    low = np.array(["low" in name for name in recordings.table["source"]])
    half = np.random.default_rng(seed).random(len(recordings)) < 0.5
    yield "fan low, half held out", 0, recordings[low], half[low]
    yield "fan medium, half held out", 0, recordings[~low], half[~low]
    yield "fan low held out", 0, recordings, low
    yield "fan medium held out", 0, recordings, ~low


def simulated_splits(recordings, seed):
    """Five of 25 machines, each with parameters of its own."""
    groups = recordings.table["group"].to_numpy()
    held_out = np.random.default_rng(seed).permutation(np.unique(groups))[:5]
    yield "simulated, 5 of 25 machines held out", 0, recordings, np.isin(groups, held_out)


def hard_splits(recordings, seed):
    """The same with faults that no method finds all of."""
    for name, *rest in simulated_splits(recordings, seed):
        yield name.replace("simulated", "simulated --hard"), *rest


def recordings_of(which, data, folder, seed):
    """The recordings of a set; those of the recorded sets are the same for each seed."""
    is_simulated = which in ("simulated", "hard")
    target = f"{folder}/{which}{seed if is_simulated else ''}"
    if "motor" in which:
        for file in motor_files(data):
            write_motor_json(file, target)
    elif which == "fan":
        write_fan_json(data, target, 250)
    else:
        sd.simulate(target, seed=seed, **({"hard": True} if which == "hard" else {"fault_level": 0}))
    return sd.load_recordings(target, group_by="row" if which == "fan" else "auto", cache_dir=f"{folder}/cache")


SETS = {"motors": (motor_splits, MOTORS), "fan": (fan_splits, FAN), "hard": (hard_splits, SIMULATED),
        "other motor": (motor_held_out_splits, MOTORS), "simulated": (simulated_splits, SIMULATED)}
LEFT_OUT = ("simulated",)       # plain faults, which leave no room to compare: only when asked for


# Scores

def detector(train, test, settings, seed, folder):
    """Recordings of the validation part and their scores, and scores of the test part."""
    config = sd.Config.load(None, settings | {"seed": seed, "data.test_split": 0, "output.dir": f"{folder}/runs", "data.cache_dir": f"{folder}/cache"})
    run = sd.train(config, train, progress=False)
    validation = run.parts(train).validation
    return validation, *(run.detector.predict(part).anomaly_score.to_numpy() for part in (validation, test))


def peer(learn):
    """The same of a peer, which validates by folds over all that it may learn from."""
    def measure(train, test, settings, seed, folder):
        tested, validated = learn(train, test, settings["audio.sample_rate"], seed)
        return train, validated, tested
    return measure


METHODS = {"log-mel LR": peer(logistic_regression), "MiniRocket": peer(mini_rocket), "detector": detector}


def scores_of(method, recordings, is_test, settings, seed, folder):
    """A row for each recording of the validation and the test part."""
    train, test = recordings[~is_test], recordings[is_test]
    validation, validated, tested = METHODS[method](train, test, settings, seed, folder)
    rows = [part.table[["group", "label"]].assign(part=name, score=scores)
            for name, part, scores in (("validation", validation, validated), ("test", test, tested))]
    return pd.concat(rows)


def measure_all(data, folder, seeds, only, settings, file):
    """Append the scores of what `file` does not hold yet."""
    keys = ["split", "fold", "seed", "method"]
    done = set(pd.read_csv(file, usecols=keys)[keys].itertuples(index=False, name=None)) if file.exists() else set()
    for seed in range(seeds):
        for which in [only] if only else [name for name in SETS if name not in LEFT_OUT]:
            splits, own = SETS[which]
            recordings = recordings_of(which, data, folder, seed)
            for split, fold, used, is_test in splits(recordings, seed):
                for method in METHODS:
                    if (split, fold, seed, method) in done:
                        continue
                    started = time.time()
                    found = scores_of(method, used, is_test, own | settings, seed, folder).assign(split=split, fold=fold, seed=seed, method=method)
                    found.to_csv(file, mode="a", header=not file.exists(), index=False)
                    print(f"{split}, fold {fold}, seed {seed}, {method}: {time.time() - started:.0f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", choices=SETS)
    parser.add_argument("--no-augmentation", action="store_true")
    parser.add_argument("--scores", type=Path, help="CSV file that the scores are appended to")
    arguments = parser.parse_args()
    data = os.environ.get("SOUNDDETECT_TEST_DATA") or sys.exit("set SOUNDDETECT_TEST_DATA to the folder with the recorded data")
    warnings.simplefilter("ignore", UserWarning)
    with tempfile.TemporaryDirectory() as folder:
        file = arguments.scores or Path(folder) / "scores.csv"
        measure_all(Path(data), folder, arguments.seeds, arguments.only, NO_AUGMENTATION if arguments.no_augmentation else {}, file)
        scores = pd.read_csv(file)
    print(quality_table(scores).to_string(), promise_table(scores).to_string(), sep="\n\n")
