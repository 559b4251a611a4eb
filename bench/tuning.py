"""Whether a search finds what the defaults do not: tune, random search and the default, with an equal budget.

    python bench/tuning.py [--trials 12] [--seeds 3] [--epochs 8]

Simulated machines with early faults, once with both classes (the network), once with good recordings alone (estimators, chosen without
labels). Each search is repeated with other seeds, on the same parts; winners are trained again with new seeds, and judged on the test
part, which no search has seen.
"""
import argparse
import tempfile
import time
import warnings
from unittest.mock import patch

import optuna
import pandas as pd
import torch

import sounddetect as sd
from sounddetect.data.simulation import simulate_recordings


def sets(folder, epochs):
    """Name, recordings and settings."""
    sound, labels, groups = simulate_recordings(240, seed=5, sample_rate=16000, duration=0.5, n_machines=20)
    recordings = sd.Recordings.from_arrays(sound, 16000, labels, groups)
    shared = {"data.cache_dir": f"{folder}/cache", "output.dir": f"{folder}/runs"}
    yield "classify", recordings, sd.Config.load(None, shared | {"task": "classify", "model.size": "n", "training.epochs": epochs})
    yield "anomaly", recordings, sd.Config.load(None, shared | {"task": "anomaly"})


def random_sampler(seed, n_startup_trials):
    """What takes the place of the sampler that learns from trials."""
    return optuna.samplers.RandomSampler(seed=seed)


def searched(config, recordings, trials, out, learns):
    """A finished search, and the seconds of processor time that it took."""
    began = time.process_time()
    sampler = optuna.samplers.TPESampler if learns else random_sampler
    with patch("optuna.samplers.TPESampler", sampler):
        study = sd.tune(config, recordings, trials=trials, seeds=2, out=out, progress=False)
    return study, time.process_time() - began


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=3, help="searches of each kind")
    parser.add_argument("--epochs", type=int, default=8)
    given = parser.parse_args()
    warnings.simplefilter("ignore", UserWarning)
    torch.set_num_threads(1)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for task, recordings, config in sets(folder, given.epochs):
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
