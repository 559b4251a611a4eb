"""What is found by detectors that have seen good recordings alone, beside what each of them costs.

    SOUNDDETECT_TEST_DATA=DIR python bench/normal_only.py [--only SET] [--out FILE]

DIR holds bldc_motor_audio, ceiling_fan_vibration and dcase2020_modspec_features. Motors and fan go the whole way, from recordings through a
training with default settings to predictions; the feature matrices of DCASE 2020 go through the estimators alone. Simulated DCASE data need no DIR.
One process, minutes.
"""
import argparse
import os
import resource
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import sounddetect as sd
from sounddetect.config import Memory
from sounddetect.data.simulation import HARD_LEVEL
from sounddetect.judging.fusion import fused
from sounddetect.judging.metrics import area_under_roc
from sounddetect.parts import find
from sounddetect.signal.inputs import Inputs
from sounddetect.tasks.waveforms import prepare_recordings

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from support.recorded import (  # the tests use the same
    LABELS,
    fan_axes,
    motor_files,
    rpm,
    seconds_of,
)

ESTIMATORS = ("mahalanobis", "nearest_neighbors", "gaussian_mixture", "pca_residual")
NETWORKS = {"dense_autoencoder": {}, "variational_autoencoder": {}, "convolutional_autoencoder": {"model.size": "s"}, "idnn": {},
            "condition_classifier": {"model.size": "n"}}
VARIANTS = {
    **{name: {"model.architecture": name} for name in ESTIMATORS},
    "nearest_neighbors, mean": {"model.architecture": "nearest_neighbors", "model.pooling": "mean"},
    "nearest_neighbors, local": {"model.architecture": "nearest_neighbors", "model.density": "local"},
    "gaussian_mixture, mean": {"model.architecture": "gaussian_mixture", "model.pooling": "mean"},
    "gaussian_mixture, ranked": {"model.architecture": "gaussian_mixture", "model.pooling": "ranked"},
}
LEARNT_RPM = (1400, 1550, 1750, 1950)
PUBLISHED = {"slider 4": (0.977, 0.878), "slider 6": (0.800, 0.549)}     # of the repository of the matrices


def areas(truth, scores, groups):
    """AUC and standardised pAUC (up to 10 % false alarms) with 95 % intervals, groups drawn again within their class."""
    def of(truth, scores):
        return area_under_roc(truth, scores), area_under_roc(truth, scores, max_fpr=0.1)

    rng, names, truth = np.random.default_rng(0), np.asarray(groups), np.asarray(truth, bool)
    members = [[np.flatnonzero((names == name) & (truth == kind)) for name in np.unique(names[truth == kind])]
               for kind in (False, True)]
    draws = []
    for _ in range(500):
        chosen = np.concatenate([np.concatenate([units[k] for k in rng.integers(len(units), size=len(units))])
                                 for units in members])
        draws.append(of(truth[chosen], scores[chosen]))
    low, high = np.quantile(draws, [0.025, 0.975], axis=0)
    return {name: f"{value:.3f} [{a:.3f}, {b:.3f}]" for name, value, a, b in zip(("auc", "p_auc"), of(truth, scores), low, high)}


def whole_way(learnt, tested, truth, rate, groups, settings, folder):
    """A training with default settings on good recordings, and the scores of others."""
    names, groups_learnt = ["OK"] * len(learnt), groups[0]
    recordings = sd.Recordings.from_arrays(learnt, rate, names, groups=groups_learnt)
    config = sd.Config.load(None, {"task": "anomaly", "data.test_split": 0, "output.dir": f"{folder}/runs",
                                   "data.cache_dir": f"{folder}/cache"} | settings)
    started = time.process_time()
    run = sd.train(config, recordings, progress=False)
    fitted, detector = time.process_time() - started, run.detector
    started = time.process_time()
    scores = detector.predict(sd.Recordings.from_arrays(tested, rate)).anomaly_score.to_numpy()
    predicted = (time.process_time() - started) / len(tested)
    kept_apart = run.parts(recordings).validation
    own = detector.predict(kept_apart).anomaly_score.to_numpy() if len(kept_apart) else np.empty(0)
    size = sum(path.stat().st_size for path in (run.path / "model").glob("*.safetensors")) / 1e6
    return {"scores": scores, "good": own} | areas(truth, scores, groups[1]) | {
        "level": "taken away" if detector.config.preprocessing.normalize else "kept",
        "false alarms": f"{(scores[~truth] >= detector.threshold).mean():.3f}",
        "found": f"{(scores[truth] >= detector.threshold).mean():.3f}",
        "fit (s)": f"{fitted:.1f}", "model (MB)": f"{size:.2f}", "ms a recording": f"{1000 * predicted:.1f}"}


def together(name, found, truth, groups):
    """Rows of several detectors, and of their scores put together without labels."""
    for method, row in found.items():
        yield {"set": name, "method": method} | {key: row[key] for key in row if key not in ("scores", "good")}
    of = {method: found[method] for method in ESTIMATORS if method in found}
    for how in ("mean", "minimum"):
        score = fused({m: row["scores"] for m, row in of.items()}, {m: row["good"] for m, row in of.items()}, how)
        yield {"set": name, "method": f"all four, {how}"} | areas(truth, score, groups)


def motors(data, folder):
    """Good files at four speeds are learnt, all others judged, in seconds."""
    seconds, truth, source, speed = [], [], [], []
    for file in motor_files(data):
        windows, rate = seconds_of(file)
        if rate == 16000:                                  # one file has another rate: below
            seconds += list(windows)
        else:
            clips = sd.Recordings.from_arrays(list(windows), rate)
            config = sd.Config.load(None, {"task": "classify", "audio.sample_rate": 16000,
                                           "data.cache_dir": f"{folder}/cache"}).resolve(clips)
            prepared = prepare_recordings(clips, config)
            seconds += [prepared.read(i)[0] for i in range(len(prepared))]
        truth += [LABELS[file.parts[-3]] == "NG"] * len(windows)
        source += ["/".join(file.parts[-3:])] * len(windows)
        speed += [rpm(file)] * len(windows)
    truth, source, speed = map(np.array, (truth, source, speed))
    learnt = ~truth & np.isin(speed, LEARNT_RPM)
    pick = lambda mask: [seconds[i] for i in np.flatnonzero(mask)]
    found = {name: whole_way(pick(learnt), pick(~learnt), truth[~learnt], 16000, (source[learnt], source[~learnt]), settings, folder)
             for name, settings in VARIANTS.items()}
    yield from together("motors, other speeds", found, truth[~learnt], source[~learnt])


def fan(data, folder):
    """Half of the good recordings of a speed, or ten of them, and all others of this speed."""
    for speed, name in (("low", "low"), ("med", "medium")):
        good, bad = (fan_axes(data, speed, weight) for weight in (0, 1))
        for n in (125, 10):
            order = np.random.default_rng(0).permutation(len(good))
            learnt, rest = [good[i] for i in order[:n]], [good[i] for i in order[n:]]
            truth = np.arange(len(rest) + len(bad)) >= len(rest)
            found = {method: whole_way(learnt, rest + bad, truth, 200, (np.arange(n), np.arange(len(truth))),
                                       {"model.architecture": method}, folder) for method in ESTIMATORS}
            yield from together(f"fan {name}, {n} good", found, truth, np.arange(len(truth)))


def simulated(_, folder, out=None):
    """Simulated sets as in DCASE Task 2, plain faults and hard ones: a detector for each machine type, that of conditions for both together.

    What `out` (CSV) holds already is not measured again.
    """
    names = [(level, kind, seed) for level, kind in ((0, "plain"), (HARD_LEVEL, "hard")) for seed in range(3)]
    done = pd.read_csv(out) if out and Path(out).exists() else pd.DataFrame(columns=["set", "method", "seed"])
    for level, name, seed in names:
        here = set(done[(done["set"] == name) & (done["seed"] == seed)]["method"])
        missing = [method for method in (*ESTIMATORS, *NETWORKS) if method not in here]
        if not missing:
            continue
        place = f"{folder}/{name}{seed}"
        sd.simulate(place, 320, seed=seed, form="dcase", sample_rate=16000, fault_level=level)
        everything = sd.load_recordings(place, cache_dir=f"{folder}/cache")
        kinds = everything.table["machine_type"]
        parts = [everything[(kinds == kind).to_numpy()] for kind in sorted(set(kinds))]
        for methods in (ESTIMATORS, *zip(NETWORKS)):
            rows = []
            for method in methods if set(methods) & set(missing) else ():
                own = [everything] if method == "condition_classifier" else parts
                rows += [{"method": method} | one for part in own for one in of_ids(part, method, seed, folder)]
            if methods == ESTIMATORS and rows:
                rows += together_by_id(rows)
            kept = pd.DataFrame([{"set": name, "seed": seed} | row for row in rows]).drop(columns=["scores", "good", "truth"], errors="ignore")
            done = pd.concat([one for one in (done, kept) if len(one)], ignore_index=True)
            if out:
                done.to_csv(out, index=False)
    order = [*ESTIMATORS, "all four, mean", "all four, minimum", *NETWORKS]
    for name in dict.fromkeys(name for _, name, _ in names):
        for method in order:
            part = done[(done["set"] == name) & (done["method"] == method)]
            of_id, of_seed = part.groupby("id")["auc"].mean(), part.groupby("seed")["auc"].mean()
            costs = {key: f"{part[key].mean():.1f}" for key in ("fit (s)", "model (MB)", "ms a recording") if part[key].notna().all()}
            yield {"set": f"simulated DCASE, {name}", "method": method, "auc": f"{of_seed.mean():.3f} ({of_seed.min():.3f} to {of_seed.max():.3f})",
                   "p_auc": f"{part['p_auc'].mean():.3f}"} | {key: f"{value:.3f}" for key, value in of_id.items()} | costs


def of_ids(recordings, method, seed, folder):
    """A detector learnt from the training part of a set, judged on each id of its test part."""
    is_test = (recordings.table["subset"] == "test").to_numpy()
    learnt, tested = recordings[~is_test], recordings[is_test]
    config = sd.Config.load(None, {"task": "anomaly", "model.architecture": method, "seed": seed, "data.test_split": 0, "output.dir": f"{folder}/runs",
                                   "data.cache_dir": f"{folder}/cache"} | NETWORKS.get(method, {}))
    started = time.process_time()
    run = sd.train(config, learnt, progress=False)
    fitted, detector, started = time.process_time() - started, run.detector, time.process_time()
    scores = detector.predict(tested).anomaly_score.to_numpy()
    predicted = (time.process_time() - started) / len(tested)
    good = detector.predict(run.parts(learnt).validation).anomaly_score.to_numpy()
    size = sum(path.stat().st_size for path in (run.path / "model").glob("*.safetensors")) / 1e6
    ids, truth = (tested.table["machine_type"] + " " + tested.table["section"].astype(str)).to_numpy(), (tested.table["label"] == "NG").to_numpy()
    for each in np.unique(ids):
        own = ids == each
        yield {"id": each, "auc": area_under_roc(truth[own], scores[own]), "p_auc": area_under_roc(truth[own], scores[own], max_fpr=0.1),
               "fit (s)": fitted, "model (MB)": size, "ms a recording": 1000 * predicted, "scores": scores[own], "good": good, "truth": truth[own]}


def together_by_id(rows):
    """Rows of the four estimators put together without labels, id by id."""
    for each in sorted({row["id"] for row in rows}):
        of = {row["method"]: row for row in rows if row["id"] == each}
        truth = next(iter(of.values()))["truth"]
        for how in ("mean", "minimum"):
            score = fused({m: row["scores"] for m, row in of.items()}, {m: row["good"] for m, row in of.items()}, how)
            yield {"method": f"all four, {how}", "id": each, "auc": area_under_roc(truth, score), "p_auc": area_under_roc(truth, score, max_fpr=0.1)}


def dcase(data, folder):
    """Modulation spectra of sliders, each clip a matrix of 60 x 8: a feature whose frames are its eight columns."""
    place = Path(data) / "dcase2020_modspec_features"
    for number, name in ((4, "slider 4"), (6, "slider 6")):
        learnt, tested, truth = (np.load(place / f"slider{number}_{part}_NR-100_d_.npy")
                                 for part in ("X_train", "X_test", "y_test"))
        learnt, tested = (torch.from_numpy(x).float().reshape(len(x), 1, -1, 1) for x in (learnt, tested))
        for variant, settings in VARIANTS.items():
            if "mean" in variant or "ranked" in variant:
                continue                                   # there are no frames left to pool
            part = find("estimator", settings["model.architecture"])
            own = {key.removeprefix("model."): value for key, value in settings.items()} | {"pooling": "mean"}
            inputs = Inputs(tuple(learnt.shape[1:]), 16000, (0, 8000), Memory())
            estimator = part.build(part.settings(**own), inputs, 1)
            started = time.process_time()
            for batch in learnt.split(64):
                estimator.update(batch, torch.ones(len(batch)))
            estimator.finish()
            fitted = time.process_time() - started
            with torch.no_grad():
                scores = estimator(tested)[:, 0].numpy()
            size = sum(value.numel() * value.element_size() for value in estimator.state_dict().values()) / 1e6
            yield {"set": f"DCASE 2020, {name}", "method": variant,
                   **areas(truth == 1, scores, np.arange(len(truth))), "published": "{:.3f} / {:.3f}".format(*PUBLISHED[name]),
                   "fit (s)": f"{fitted:.1f}", "model (MB)": f"{size:.2f}"}


SETS = {"motors": motors, "fan": fan, "dcase": dcase, "simulated": simulated}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=SETS)
    parser.add_argument("--out", help="CSV of what was measured on simulated sets, written as it goes, and continued")
    arguments = parser.parse_args()
    data = os.environ.get("SOUNDDETECT_TEST_DATA") or arguments.only == "simulated" or sys.exit("set SOUNDDETECT_TEST_DATA to the folder with the recorded data")
    warnings.simplefilter("ignore", UserWarning)
    torch.set_num_threads(1)
    for which in [arguments.only] if arguments.only else SETS:
        with tempfile.TemporaryDirectory() as folder:
            table = pd.DataFrame(list(SETS[which](data, folder, *([arguments.out] if which == "simulated" else []))))
        print(table.fillna("").set_index(["set", "method"]).to_string(), end="\n\n", flush=True)
    print(f"{time.process_time():.0f} s of one core, {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:.0f} MB at most")
