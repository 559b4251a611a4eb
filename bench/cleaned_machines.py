"""Whether cleaning helps or harms: faults found in recordings from a loud hall, with and without taking the noise off first.

    python bench/cleaned_machines.py [--seeds N] [--epochs N] [--out FILE.csv]

Machines and hall are simulated. A network learns to remove the noise from good recordings made in quiet and from noise of the same hall, at
other times than those of the test. A detector learns from other good ones, and is tested on good and faulty ones at four ratios: learnt in
quiet, or from recordings made in the hall; each without cleaning, cleaned by the network, and cleaned by a filter of Wiener's that needs no
training. AUC as mean over seeds, in brackets 95 % by bootstrap over recordings within each seed, and what cleaning adds to it, as pairs.
One process.
"""
import argparse
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import sounddetect as sd
from sounddetect.data.simulation import simulate_recordings
from sounddetect.judging.denoising import noise_gain, si_sdr_db
from sounddetect.judging.metrics import area_under_roc

sys.path.insert(0, str(Path(__file__).resolve().parent))
from denoising import wiener

RATE, RATIOS, DETECTORS = 16000, (10, 0, -5, -10), ("mahalanobis", "nearest_neighbors")
N_MACHINES, N_EACH = 4, 60      # units; recordings for the network, for the detector, and of each class in the test


def hall_of(seed):
    """Noise of a factory hall by `(moment, seconds)`: neighbouring machines, their air, and hammers."""
    rng = np.random.default_rng([seed, 1])
    tones = [(rng.uniform(12, 60), rng.uniform(0.2, 1, 25), rng.uniform(0, 6.3, 25)) for _ in range(4)]
    slope, anvils = rng.uniform(0.3, 0.7), rng.uniform(300, 4000, 3)

    def noise(moment, seconds):
        rng, n = np.random.default_rng([seed, 2, moment]), round(seconds * RATE)
        clock = np.arange(n) / RATE
        machines = 0
        for rate, amplitudes, phases in tones:
            turn = 2 * np.pi * rate * (1 + rng.normal(0, 0.02)) * clock
            loud = 1 + 0.4 * np.sin(2 * np.pi * rng.uniform(0.1, 1) * clock + rng.uniform(0, 6.3))
            machines += rng.uniform(0.3, 1) * loud * sum(a * np.sin(k * turn + p) for k, (a, p) in enumerate(zip(amplitudes, phases), 1))
        spectrum = np.fft.rfft(rng.standard_normal(n)) * np.maximum(np.fft.rfftfreq(n, 1 / RATE), 40) ** -slope
        air, blows = np.fft.irfft(spectrum, n), np.zeros(n)
        for at in rng.integers(0, n, rng.poisson(3 * seconds)):
            ring = np.arange(min(n - at, RATE // 3)) / RATE
            blows[at:at + len(ring)] += rng.uniform(1, 5) * np.exp(-ring / 0.03) * np.sin(2 * np.pi * rng.choice(anvils) * ring)
        return (machines / np.std(machines) + air / np.std(air) + blows).astype(np.float32)
    return noise


def machines_of(seed):
    """Good recordings for the network, good ones for the detector, recordings to test, and which of these are faulty."""
    waveforms, labels, _ = simulate_recordings(6 * N_EACH, seed, RATE, 1.0, N_MACHINES)
    good, bad = (waveforms[np.array(labels) == name] for name in ("OK", "NG"))
    order = np.random.default_rng([seed, 3]).permutation(len(good))
    for_network, for_detector, tested = (good[part] for part in np.split(order, 3))
    return for_network, for_detector, np.concatenate([tested, bad[:N_EACH]]), np.arange(2 * N_EACH) >= N_EACH


def in_hall(waveforms, noise, first, ratio):
    """Recordings as the hall would have them, from moment number `first` on."""
    mixed = []
    for moment, clean in enumerate(waveforms, first):
        of_hall = noise(moment, 1.0)
        mixed.append(clean + np.float32(noise_gain(clean[None], of_hall[None], ratio)) * of_hall)
    return np.stack(mixed)


def learnt_cleaner(quiet, noise, seed, epochs, folder):
    """A network that removes the noise of the hall, from recordings in quiet."""
    waveforms = [*quiet, *(noise(10_000 + k, 10.0) for k in range(8))]
    recordings = sd.Recordings.from_arrays(waveforms, RATE, ["signal"] * len(quiet) + ["noise"] * 8)
    config = sd.Config.load(None, {
        "task": "denoise", "model.size": "n", "model.input_length": 4096, "data.test_split": 0, "seed": seed, "training.epochs": epochs,
        "training.batch_size": 16, "training.learning_rate": 2e-3, "training.early_stopping": None, "denoise.snr_db": [-12.0, 12.0],
        "clearml.enabled": False, "device": "cpu", "output.dir": f"{folder}/runs", "data.cache_dir": f"{folder}/cache"})
    return sd.train(config, recordings, progress=False).detector.process


def scores_of(learnt, tested, method, seed, folder):
    """Anomaly scores of a detector that knows the good recordings `learnt`."""
    config = sd.Config.load(None, {
        "task": "anomaly", "model.architecture": method, "seed": seed, "data.test_split": 0, "clearml.enabled": False, "device": "cpu",
        "output.dir": f"{folder}/runs", "data.cache_dir": f"{folder}/cache"})
    detector = sd.train(config, sd.Recordings.from_arrays(list(learnt), RATE, ["OK"] * len(learnt)), progress=False).detector
    return detector.predict(sd.Recordings.from_arrays(list(tested), RATE)).anomaly_score.to_numpy()


def of_seed(seed, epochs):
    """A row for each way and test recording; and by how much SI-SDR improves, a row for each cleaner and ratio."""
    for_network, quiet, tested, truth = machines_of(seed)
    noise, rows, improved = hall_of(seed), [], []
    with tempfile.TemporaryDirectory() as folder:
        started = time.process_time()
        network = learnt_cleaner(for_network, noise, seed, epochs, folder)
        print(f"seed {seed}: network learnt in {time.process_time() - started:.0f} s of CPU time", file=sys.stderr)
        cleaners = {"none": None, "network": network, "Wiener": wiener(0.5, 0.1)}

        def add(good, others, **about):
            for method in DETECTORS:
                scores = scores_of(good, others, method, seed, folder)
                rows.extend({"seed": seed, "detector": method, **about, "recording": i, "truth": truth[i], "score": scores[i]}
                            for i in range(len(scores)))

        add(quiet, tested, learnt="quiet", cleaning="none", ratio=np.inf)
        for ratio in RATIOS:
            learnt_loud, tested_loud = in_hall(quiet, noise, 1000, ratio), in_hall(tested, noise, 2000, ratio)
            for name, cleaner in cleaners.items():
                if cleaner is None:
                    of_hall, of_test = learnt_loud, tested_loud
                else:
                    of_hall, of_test = (np.stack([cleaner(x[None], RATE)[0] for x in some]) for some in (learnt_loud, tested_loud))
                    gain = si_sdr_db(of_test, tested) - si_sdr_db(tested_loud, tested)
                    improved.append({"cleaning": name, "ratio": ratio, "good": gain[~truth].mean(), "faulty": gain[truth].mean()})
                add(quiet, of_test, learnt="quiet", cleaning=name, ratio=ratio)
                add(of_hall, of_test, learnt="hall", cleaning=name, ratio=ratio)
    return rows, improved


def areas(table, n_draws=1000):
    """AUC of each way as mean over seeds, and its difference from no cleaning, each with its interval."""
    rng, ways = np.random.default_rng(0), ["detector", "learnt", "ratio", "cleaning"]
    scores = {key: [part.sort_values("recording") for _, part in of_way.groupby("seed")] for key, of_way in table.groupby(ways)}
    n_seeds, n = table["seed"].nunique(), table["recording"].nunique()
    draws = rng.integers(n // 2, size=(n_draws, n_seeds, n)) + np.repeat([0, n // 2], n // 2)      # good and faulty, each by itself
    draws = np.concatenate([np.broadcast_to(np.arange(n), (1, n_seeds, n)), draws])

    def of(parts):
        arrays = [(part["truth"].to_numpy(bool), part["score"].to_numpy()) for part in parts]
        return np.array([np.mean([area_under_roc(truth[k], score[k]) for (truth, score), k in zip(arrays, draw)]) for draw in draws])

    found = {key: of(parts) for key, parts in scores.items()}
    shown = lambda values, sign="": "{:{s}.3f} [{:{s}.3f}, {:{s}.3f}]".format(values[0], *np.quantile(values[1:], [0.025, 0.975]), s=sign)
    lines = {}
    order = ["none", "network", "Wiener"]
    for detector, learnt, ratio, cleaning in sorted(found, key=lambda way: (way[0], way[1] == "hall", -way[2], order.index(way[3]))):
        values = found[detector, learnt, ratio, cleaning]
        line = lines.setdefault((detector, learnt, f"{ratio:+g} dB" if np.isfinite(ratio) else "no noise"), {})
        if cleaning == "none":
            line["as it is"] = shown(values)
        else:
            line |= {cleaning: f"{values[0]:.3f}", f"by {cleaning}": shown(values - found[detector, learnt, ratio, "none"], "+")}
    return pd.DataFrame.from_dict(lines, orient="index").fillna("").rename_axis(["detector", "learnt in", "ratio"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=40, help="of the network that removes noise")
    parser.add_argument("--out", default="cleaned_machines.csv", help="scores of all recordings")
    args = parser.parse_args()
    warnings.simplefilter("ignore", UserWarning)
    torch.set_num_threads(1)
    rows, improved = (sum(both, []) for both in zip(*(of_seed(seed, args.epochs) for seed in range(args.seeds))))
    pd.DataFrame(rows).to_csv(args.out, index=False)
    print(areas(pd.DataFrame(rows)).reset_index().to_string(index=False))
    means = pd.DataFrame(improved).groupby(["cleaning", "ratio"]).mean().sort_index(ascending=False)
    print(f"\nimprovement of SI-SDR (dB)\n{means.to_string(float_format='{:+.1f}'.format)}\n{time.process_time():.0f} s of one core")
