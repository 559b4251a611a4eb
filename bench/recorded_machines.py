"""How well the detector does on recorded machines that it has not heard, beside logistic regression on log-mel means.

    SOUNDDETECT_TEST_DATA=DIR python bench/recorded_machines.py [--seeds 5] [--only bldc|fan] [--no-augmentation]

DIR holds bldc_motor_audio and ceiling_fan_vibration; their JSON files are made in a temporary folder. Every split is by
file (bldc) or by recording within a speed (fan); the test part is touched once, by the finished detector.
"""
import argparse
import os
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from peers import logistic_regression
from sklearn.metrics import f1_score, roc_auc_score
from sklearn.model_selection import StratifiedKFold

import sounddetect as sd

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from recorded import motor_files, write_fan_json, write_motor_json  # noqa: E402  (the tests make the same files)

BLDC = {"audio.sample_rate": 16000, "model.input_length": 8000}
NO_AUGMENTATION = {f"training.augmentation.{name}": 0 for name in ("noise_factor", "eq_db", "time_shift_max")}
FAN = {"audio.sample_rate": 200, "model.input_length": 200, "preprocessing.apply_filter": False}


def network(train, test, settings, seed, folder):
    """Scores of the test part, and the threshold of best F1 on the validation part."""
    config = sd.Config.load(None, settings | {"seed": seed, "data.test_split": 0, "output.dir": f"{folder}/runs", "data.cache_dir": f"{folder}/cache"})
    run = sd.train(config, train, progress=False)
    detector = run.detector
    validation = run.parts(train).validation
    scores = detector.predict(validation).anomaly_score.to_numpy()
    truth = np.array(validation.labels) == "NG"
    threshold = max(np.unique(scores), key=lambda value: f1_score(truth, scores >= value))
    return detector.predict(test).anomaly_score.to_numpy(), threshold


def measure(recordings, is_test, settings, seed, folder):
    """AUC and false-alarm rate of both on one split; NaN where only one class is tested."""
    train, test = recordings[~is_test], recordings[is_test]
    truth = np.array(test.labels) == "NG"
    ours, threshold = network(train, test, settings, seed, folder)
    peer = logistic_regression(train, test, settings["audio.sample_rate"])
    auc = [roc_auc_score(truth, scores) if 0 < truth.mean() < 1 else np.nan for scores in (ours, peer)]
    return dict(auc=auc[0], lr_auc=auc[1], false_alarms=(ours[~truth] >= threshold).mean(), lr_false_alarms=(peer[~truth] >= 0.5).mean())


def bldc_splits(recordings, seed):
    """Name and test mask of each split of the motors."""
    sources = recordings.table["source"].to_numpy()
    files = np.unique(sources)
    labels = [recordings.table["label"][sources == name].iloc[0] for name in files]
    for k, (_, test) in enumerate(StratifiedKFold(5, shuffle=True, random_state=seed).split(files, labels)):
        yield f"5-fold by file, fold {k}", np.isin(sources, files[test])
    rpm = np.array([int(Path(name).stem.split("_")[-1]) for name in sources])
    yield "rpm >= 1850 held out", rpm >= 1850
    yield "M1 held out", np.array(["M1" in name for name in sources])
    yield "M3 held out", np.array(["M3" in name for name in sources])


def fan_splits(recordings, seed):
    """Name and recordings' mask of each split of the fan: within a speed, and one speed held out."""
    sources = recordings.table["source"].to_numpy()
    low = np.array(["low" in name for name in sources])
    half = np.random.default_rng(seed).random(len(recordings)) < 0.5
    yield "fan low, half held out", low, half
    yield "fan medium, half held out", ~low, half
    yield "fan low held out", np.ones(len(low), bool), low
    yield "fan medium held out", np.ones(len(low), bool), ~low


def rows(data, folder, seeds, only, settings):
    if only != "fan":
        for file in motor_files(data):
            write_motor_json(file, f"{folder}/bldc")
        recordings = sd.load_recordings(f"{folder}/bldc", cache_dir=f"{folder}/cache")
        for seed in range(seeds):
            for name, is_test in bldc_splits(recordings, seed):
                yield dict(split=name, seed=seed, **measure(recordings, is_test, BLDC | settings, seed, folder))
    if only != "bldc":
        write_fan_json(data, f"{folder}/fan", 250)
        recordings = sd.load_recordings(f"{folder}/fan", group_by="row", cache_dir=f"{folder}/cache")
        for seed in range(seeds):
            for name, used, is_test in fan_splits(recordings, seed):
                yield dict(split=name, seed=seed, **measure(recordings[used], is_test[used], FAN | settings, seed, folder))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", choices=["bldc", "fan"])
    parser.add_argument("--no-augmentation", action="store_true")
    arguments = parser.parse_args()
    settings = NO_AUGMENTATION if arguments.no_augmentation else {}
    data = os.environ.get("SOUNDDETECT_TEST_DATA") or sys.exit("set SOUNDDETECT_TEST_DATA to the folder with the recorded data")
    warnings.simplefilter("ignore", UserWarning)
    with tempfile.TemporaryDirectory() as folder:
        found = []
        for row in rows(Path(data), folder, arguments.seeds, arguments.only, settings):
            print({name: value if isinstance(value, (str, int)) else round(float(value), 3) for name, value in row.items()}, file=sys.stderr, flush=True)
            found.append(row)
    table = pd.DataFrame(found)
    table["split"] = table["split"].str.replace(r", fold \d", "", regex=True)
    columns = ["auc", "lr_auc", "false_alarms", "lr_false_alarms"]
    by_seed = table.groupby(["split", "seed"], sort=False)[columns].mean().groupby("split", sort=False)
    worst = table.groupby("split", sort=False)[["auc", "lr_auc"]].min().add_prefix("worst_")
    spread = by_seed[["auc"]].std().rename(columns={"auc": "sd_over_seeds"})
    print(pd.concat([by_seed.mean(), spread, worst], axis=1).round(3).to_string())
