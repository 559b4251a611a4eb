"""Whether a search finds what the defaults do not: tune, random search and the default, with an equal budget.

    [SOUNDDETECT_TEST_DATA=DIR] python bench/tuning.py [--only SET ...] [--trials 12] [--seeds 3] [--epochs 8] [--full]

Simulated machines with early faults, once with both classes (classify: the network), once with good recordings alone (anomaly: estimators,
chosen without labels); machines of `sounddetect simulate --hard` (hard); and, where DIR holds them, the recorded motors and the fan (motors,
fan), of which whole files and recordings are held out. Each search is repeated with other seeds, on the same parts; winners are trained
again with new seeds, and judged on the test part, which no search has seen. `--full`: 30 trials of 30 epochs, three seeds.

`--only start` says what a trial costs beside the training itself: 20 trials of one epoch, of which only the learning rate is drawn, and the same
trainings outside of a search, in turns; and what of a training is not its epoch (folder, initialization, detector).
"""
import argparse
import os
import tempfile
import time
import warnings
from unittest.mock import patch

import numpy as np
import optuna
import pandas as pd
import torch
from detection_quality import FAN, MOTORS, SIMULATED, recordings_of

import sounddetect as sd
from sounddetect.data.simulation import simulate_recordings
from sounddetect.jobs import tuning

RECORDED = {"motors": MOTORS, "fan": FAN}
SETS = ("classify", "anomaly", "hard", *RECORDED)
RATE = sd.jobs.spaces.Space({"training.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}})


def sets(folder, epochs, data, names):
    """Name, recordings and settings of some sets; of recorded ones if there is `data`, the folder that holds them."""
    for name in names:
        if name in ("classify", "anomaly"):
            yield simulated(name, folder, epochs)
        elif name == "hard" or data:
            recordings = recordings_of(name, data, folder, 0)
            yield name, recordings, sd.Config.load(None, RECORDED.get(name, SIMULATED) | {
                "data.cache_dir": f"{folder}/cache", "output.dir": f"{folder}/runs", "task": "classify", "model.size": "n",
                "model.architecture": "1d_cnn_attention", "training.epochs": epochs})


def simulated(name, folder, epochs):
    """20 machines, with both classes for the network or as estimators see them."""
    sound, labels, groups = simulate_recordings(240, seed=5, sample_rate=16000, duration=0.5, n_machines=20)
    recordings = sd.Recordings.from_arrays(sound, 16000, labels, groups)
    shared = {"data.cache_dir": f"{folder}/cache", "output.dir": f"{folder}/runs"}
    network = {"model.architecture": "1d_cnn_attention", "model.size": "n", "training.epochs": epochs}
    return name, recordings, sd.Config.load(None, shared | {"task": name} | (network if name == "classify" else {}))


def random_sampler(seed=0, n_startup_trials=0):
    """What takes the place of the sampler that learns from trials."""
    return optuna.samplers.RandomSampler(seed=seed)


def searched(config, recordings, trials, out, learns):
    """A finished search, and the seconds of processor time that it took."""
    began = time.process_time()
    sampler = optuna.samplers.TPESampler if learns else random_sampler
    with patch("optuna.samplers.TPESampler", sampler):
        study = sd.tune(config, recordings, trials=trials, seeds=2, out=out, progress=False)
    return study, time.process_time() - began


def cost_of_start(folder, trials=20):
    """Seconds of processor time: of each trial in all, of its training in it, of the same training alone, and of its epoch."""
    _, recordings, config = simulated("classify", folder, 1)
    whole, inside, alone, epochs = [], [], [], []
    run, again = tuning._Search._try, tuning.trained

    def counted(kept, function):
        def call(*given):
            began = time.process_time()
            found = function(*given)
            kept.append(time.process_time() - began)
            return found
        return call

    def twice(path, own, seen, *rest):
        made = counted(inside, again)(path, own, seen, *rest)
        if "trial" in str(path):
            spent = time.process_time()
            counted(alone, again)(f"{path}-alone", own, seen, False)
            epochs.append(sd.Run(f"{path}-alone").results["seconds"].sum())
            whole_less.append(time.process_time() - spent)
        return made

    whole_less = []
    with patch.object(tuning._Search, "_try", counted(whole, run)), patch.object(tuning, "trained", twice):
        sd.tune(config, recordings, trials=trials, seeds=1, space=RATE, out=f"{folder}/start", progress=False)
    n = len(alone)
    return pd.DataFrame({"trial": np.subtract(whole[:n], whole_less[:n]), "training in it": inside[1:n + 1], "training alone": alone, "epoch": epochs})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=3, help="searches of each kind")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--only", nargs="*", choices=(*SETS, "start"), default=SETS)
    parser.add_argument("--full", action="store_true")
    given = parser.parse_args()
    if given.full:
        given.trials, given.seeds, given.epochs = 30, 3, 30
    warnings.simplefilter("ignore", UserWarning)
    torch.set_num_threads(1)
    if "start" in given.only:
        with tempfile.TemporaryDirectory() as folder:
            told = cost_of_start(folder)
        print(1000 * told.describe().loc[["count", "50%", "min", "max"]].assign(**{"beside it": (told["trial"] - told["training in it"]).describe()}))
        print(f"a trial / the same training alone: {(told['trial'] / told['training alone']).median():.3f}")
        raise SystemExit
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for task, recordings, config in sets(folder, given.epochs, os.environ.get("SOUNDDETECT_TEST_DATA"), given.only):
            split = None
            for seed in range(given.seeds):
                for method in ("tune", "random"):
                    own = config.replace({"seed": seed})
                    if split is None:                    # the same parts for all searches
                        split = sd.jobs.tuning.divided(own.resolve(recordings), recordings)[1]
                    study, seconds = searched(own, split, given.trials, f"{folder}/{task}-{method}-{seed}", method == "tune")
                    said = study.comparison
                    rows.append({"task": task, "search": method, "seed": seed, "default": said["default_value"], "winner": said["value"],
                                 "test": said.get("difference", 0.0), "low": said.get("low", 0.0), "high": said.get("high", 0.0),
                                 "verdict": said["verdict"], "default auc": pd.Series(said.get("default", [])).mean(), "cpu s": round(seconds)})
                    print(rows[-1], flush=True)
    table = pd.DataFrame(rows).set_index(["task", "search", "seed"])
    print(table.to_string(float_format="{:.3f}".format, na_rep=""))
    print(table.groupby(["task", "search"])[["winner", "test", "cpu s"]].mean().to_string(float_format="{:.3f}".format))
