"""Does a detector notice what is foreign, and do a few good recordings put it right there?

    SOUNDDETECT_TEST_DATA=DIR python bench/familiarity.py [--seeds 3]

DIR holds ceiling_fan_vibration and bldc_motor_audio. Takes a few minutes on one core.
"""

import argparse
import os
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

import sounddetect as sd
from sounddetect.judging.intervals import rate_interval
from sounddetect.judging.metrics import area_under_roc

ANOMALY = {"task": "anomaly", "model.architecture": "mahalanobis", "features.kind": "log_mel", "preprocessing.normalize": False,
           "preprocessing.apply_filter": False, "audio.channel": "all", "data.test_split": 0}
FAN = ANOMALY | {"audio.sample_rate": 200, "model.input_length": 200, "features.n_fft": 64, "features.n_mels": 16}
MOTORS = ANOMALY | {"audio.sample_rate": 16000, "model.input_length": 16000, "audio.channel": 0, "preprocessing.filter_params.high_freq": 7000}
SIMULATED = MOTORS | {"model.input_length": 8000}


def learnt(recordings, settings, seed, folder):
    """A detector of good recordings."""
    own = {"output.dir": f"{folder}/runs", "data.cache_dir": f"{folder}/cache", "seed": seed}
    return sd.train(sd.Config.load(None, settings | own), recordings, progress=False).detector


def fan(data, speed, weight):
    folder = data / "ceiling_fan_vibration" / f"fan_0_{speed}_{weight}_weight"
    found = sd.load_recordings(folder, sd.Config.load(None, {"audio.sample_rate": 200, "data.group_by": "row"}))
    return found.with_columns(label=["NG" if weight else "OK"] * len(found))


def halves(recordings, seed):
    first = np.random.default_rng(seed).permutation(len(recordings)) < len(recordings) // 2
    return recordings[first], recordings[~first]


def flagged(rows, what, detector, recordings, seed):
    said = detector.predict(recordings)
    rows.append({"what": what, "seed": seed, "foreign": int((~said["familiar"].astype(bool)).sum()), "n": len(said)})


def readapted(rows, what, detector, good, bad, seed):
    """Adapted by 5, 10 and 20 of the good ones, judged on the others and on the bad ones."""
    for n in (5, 10, 20):
        chosen = np.isin(np.arange(len(good)), np.random.default_rng([seed, n]).permutation(len(good))[:n])
        adapted = detector.adapt(good[chosen])
        rest, faulty = adapted.predict(good[~chosen]), adapted.predict(bad)
        scores = np.r_[rest["anomaly_score"], faulty["anomaly_score"]]
        auc = area_under_roc(np.arange(len(scores)) >= len(rest), scores)
        rows.append({"what": what, "good ones": n, "seed": seed, "auc": auc, "promised": adapted.about["adapted"][0]["promised"],
                     "alarms": int((rest["decision"] == "NG").sum()), "of": len(rest),
                     "found": (faulty["decision"] == "NG").mean(), "before": detector_auc(detector, good[~chosen], bad)})


def detector_auc(detector, good, bad):
    scores = np.r_[detector.predict(good)["anomaly_score"], detector.predict(bad)["anomaly_score"]]
    return area_under_roc(np.arange(len(scores)) >= len(good), scores)


def measure_fan(data, seeds, folder, told, adapted):
    good, bad = ({speed: fan(data, speed, weight) for speed in ("low", "med")} for weight in (0, 1))
    for here, there in (("low", "med"), ("med", "low")):
        for seed in range(seeds):
            train, rest = halves(good[here], seed)
            detector = learnt(train, FAN, seed, folder)
            flagged(told, f"fan {here}, same speed", detector, rest, seed)
            flagged(told, f"fan {here}, same speed, unbalanced", detector, bad[here], seed)
            flagged(told, f"fan {here}, other speed", detector, good[there], seed)
            readapted(adapted, f"fan {here} to {there}", detector, good[there], bad[there], seed)


def measure_motors(data, seeds, folder, told, adapted):
    def of(*parts):
        paths = sorted((data / "bldc_motor_audio" / Path(*parts)).rglob("*.wav"))
        return sd.load_recordings(paths, clip_duration=1.0) if paths else None

    motors = {name: of("Healthy", name) for name in ("M1", "M3")}
    bad = of("Propeller", "M1")
    for seed in range(seeds):
        groups = motors["M1"].table["group"].to_numpy()
        is_train = np.isin(groups, np.random.default_rng(seed).permutation(np.unique(groups))[: len(np.unique(groups)) // 2])
        detector = learnt(motors["M1"][is_train].with_columns(label=["OK"] * int(is_train.sum())), MOTORS, seed, folder)
        flagged(told, "motor M1, other files", detector, motors["M1"][~is_train], seed)
        flagged(told, "motor M1, propeller fault", detector, bad, seed)
        flagged(told, "motor M3", detector, motors["M3"], seed)


def heard(recordings, change, n_samples):
    waveforms = [change(recordings.read(i)[0]).astype(np.float32) for i in range(len(recordings))]
    return sd.Recordings.from_arrays([np.resize(one, n_samples) for one in waveforms], 16000, recordings.labels)


def measure_simulated(data, seeds, folder, told, adapted):
    for seed in range(seeds):
        sd.simulate(f"{folder}/s{seed}", 400, seed=seed, sample_rate=16000, duration=0.5, n_machines=1)
        everything = sd.load_recordings(f"{folder}/s{seed}", group_by="row")
        good = everything.filter(lambda table: table["label"] == "OK")
        train, rest = halves(good, seed)
        detector = learnt(train, SIMULATED, seed, folder)
        flagged(told, "simulated, same machine", detector, rest, seed)
        echo = np.r_[1, np.zeros(300), 0.7, np.zeros(500), 0.5]
        changes = {"speed +25 %": lambda x: np.interp(np.arange(0, len(x) - 1, 1.25), np.arange(len(x)), x),
                   "duller microphone": lambda x: np.convolve(x, np.ones(6) / 6, "same"), "echoing room": lambda x: np.convolve(x, echo)[: len(x)]}
        for name, change in changes.items():
            flagged(told, f"simulated, {name}", detector, heard(rest, change, 8000), seed)


def cost(folder):
    """Seconds of predicting with and without a reference."""
    rows = []
    sd.simulate(f"{folder}/cost", 64, sample_rate=22050, n_machines=8)
    recordings = sd.load_recordings(f"{folder}/cost")
    small = {"audio.sample_rate": 22050, "model.input_length": 22050, "training.epochs": 1, "output.dir": f"{folder}/runs", "data.cache_dir": f"{folder}/cache"}
    for size in ("n", "s"):
        detector = sd.train(sd.Config.load(None, small | {"model.size": size}), recordings, progress=False).detector
        bare = sd.Detector(detector.pipeline, detector.config, "cpu")
        times = {with_it: [] for with_it in (True, False)}
        for _ in range(5):
            for with_it, one in ((True, detector), (False, bare)):
                started = time.process_time()
                one.predict(recordings)
                times[with_it].append(time.process_time() - started)
        rows.append({"network": size, "ratio": np.median(times[True]) / np.median(times[False])})
    return pd.DataFrame(rows)


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seeds", type=int, default=3)
    seeds, told, adapted = options.parse_args().seeds, [], []
    data = Path(os.environ["SOUNDDETECT_TEST_DATA"])
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        for measure in (measure_fan, measure_motors, measure_simulated):
            measure(data, seeds, folder, told, adapted)
        told = pd.DataFrame(told).groupby("what", sort=False)[["foreign", "n"]].sum()
        low, high = np.array([rate_interval(int(k), int(n)) for k, n in told.to_numpy()]).T
        print(told.assign(rate=told["foreign"] / told["n"], low=low, high=high).to_string(float_format="{:.3f}".format), "\n")
        of = pd.DataFrame(adapted).groupby(["what", "good ones"], sort=False)
        table = of.agg(before=("before", "mean"), auc=("auc", "mean"), worst=("auc", "min"), found=("found", "mean"), promised=("promised", "mean"))
        sums = of[["alarms", "of"]].sum()
        low, high = np.array([rate_interval(int(k), int(n)) for k, n in sums.to_numpy()]).T
        table = table.assign(false_alarms=sums["alarms"] / sums["of"], low=low, high=high)
        print(table.to_string(float_format="{:.3f}".format), "\n")
        print(cost(folder).to_string(index=False, float_format="{:.3f}".format))


if __name__ == "__main__":
    main()
