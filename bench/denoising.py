"""Heart sounds below the noise of vehicles: a trained network beside filters that need no training.

    SOUNDDETECT_TEST_DATA=DIR python bench/denoising.py [--full] [--epochs N] [--loss NAME] [--out FILE.csv]
    SOUNDDETECT_TEST_DATA=DIR python bench/denoising.py --network NAME [--seeds N] [--learnt tank|car] [--epochs N] [--loss NAME]
    python bench/denoising.py --simulated losses|networks|vehicles [--epochs N]
    python bench/denoising.py --hours 1 4

DIR holds heart_pcg_ecg (14 recordings) and car_noise (two vehicles). The network is trained on one vehicle, validated on another stretch of it,
and tested on the other vehicle with heart sounds of people that it never met, at four ratios; then the other way round. Each filter has the
parameters, out of a few, that are best on the validation mixtures. One process. By default one fold of people, the smallest network and
few epochs; --full takes both folds, other losses, rising noise and the default size. --network trains another one in place of the Wave-U-Nets,
with several seeds, --learnt with one of the vehicles alone. --simulated needs no recordings: losses, or networks, beside
each other on simulated beats and drives; improvement of SI-SDR in dB at 0, -5, -10 and -15 dB and on average, L1, weights, s of CPU time.
vehicles compares losses where the test has other vehicles than the training, by the beats found as well.

--hours cleans one file of so many hours at 1000 Hz by `sounddetect denoise`, with a network that was not trained; memory and times real time.

Beats that are found in what comes out are compared with those of the ECG that was recorded at the same time. Sounds follow it by a constant, which
is estimated on the heart sounds of the training, as they are without noise.
"""
import argparse
import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
from scipy.ndimage import convolve1d, gaussian_filter1d, uniform_filter
from scipy.signal import butter, find_peaks, istft, sosfilt, sosfiltfilt, stft

import sounddetect as sd
from sounddetect.data.beats import car_noise, heart_beats
from sounddetect.data.collection.roles import cut_for_split, load_roles
from sounddetect.evaluation.denoising import judged_mixtures, mixtures
from sounddetect.judging.beats import beat_measures, beat_times, constant_delay
from sounddetect.tasks.denoise import recoloured
from sounddetect.tasks.protocol import task_of
from sounddetect.tasks.waveform_results import Waveforms
from sounddetect.tasks.waveforms import prepare_recordings, prepared_waveform

RATE, VEHICLES = 1000, {"car": "Car_Noise_Idle_Noise_60_mph.wav", "tank": "m109.wav"}


# --- filters without training -----------------------------------------------------------------------------------------

def band_pass(low, high):
    sections = butter(4, [low, high], "bandpass", fs=RATE, output="sos")
    return lambda noisy, rate: sosfiltfilt(sections, noisy)


def in_spectra(gains, n_fft=256):
    """A method that multiplies short spectra by gains of their powers `(channel, bin, frame)`."""
    def method(noisy, rate):
        _, _, spectra = stft(noisy, rate, nperseg=n_fft, noverlap=3 * n_fft // 4)
        _, cleaned = istft(spectra * gains(np.abs(spectra) ** 2), rate, nperseg=n_fft, noverlap=3 * n_fft // 4)
        return cleaned[:, :noisy.shape[1]]
    return method


def wiener(quantile, floor):
    """Noise is what a band holds in its quieter moments; after Wiener (1949), with the noise estimated from the recording."""
    def gains(power):
        smooth = uniform_filter(power, (0, 0, 3))
        noise = np.quantile(smooth, quantile, axis=-1, keepdims=True)
        return np.maximum(1 - noise / np.maximum(smooth, 1e-20), floor)
    return in_spectra(gains)


def spectral_gate(deviations, floor):
    """A band is let through where it stands out of its own mean by so many deviations, in dB."""
    def gains(power):
        level = 10 * np.log10(power + 1e-20)
        gate = level > level.mean(-1, keepdims=True) + deviations * level.std(-1, keepdims=True)
        return np.maximum(uniform_filter(gate.astype(float), (0, 3, 5)), floor)
    return in_spectra(gains)


def library_gate(deviations, kept):
    """The same by noisereduce 3, stationary: a library of its own against which ours is held."""
    def method(noisy, rate):
        from noisereduce import reduce_noise

        return reduce_noise(noisy, rate, stationary=True, n_std_thresh_stationary=deviations, prop_decrease=1 - kept, n_fft=256,
                            freq_mask_smooth_hz=20, time_mask_smooth_ms=200)
    return method


def wavelet_shrinkage(factor, coarsest):
    """Soft thresholds of an undecimated spline wavelet; after Donoho & Johnstone (1994), with a threshold a level."""
    spline = np.array([1, 4, 6, 4, 1]) / 16

    def method(noisy, rate):
        rest, cleaned = noisy.astype(float), np.zeros_like(noisy, float)
        for level in range(coarsest):
            kernel = np.zeros(4 * 2 ** level + 1)
            kernel[::2 ** level] = spline
            smooth = convolve1d(rest, kernel, mode="reflect")
            detail, rest = rest - smooth, smooth
            threshold = factor * np.median(np.abs(detail), -1, keepdims=True) / 0.6745
            cleaned += np.sign(detail) * np.maximum(np.abs(detail) - threshold, 0)
        return cleaned                                     # the coarsest rest is below the band of heart sounds
    return method


FILTERS = {
    "nothing": [lambda noisy, rate: noisy],
    "band-pass": [band_pass(low, high) for low in (20, 30, 45) for high in (80, 120, 200)],
    "Wiener": [wiener(quantile, floor) for quantile in (0.3, 0.5, 0.7, 0.85) for floor in (0.02, 0.1)],
    "spectral gate": [spectral_gate(deviations, floor) for deviations in (0, 0.5, 1, 1.5) for floor in (0.02, 0.1)],
    "spectral gate, noisereduce": [library_gate(deviations, kept) for deviations in (0, 0.5, 1, 1.5) for kept in (0.02, 0.1)],
    "wavelet shrinkage": [wavelet_shrinkage(factor, coarsest) for factor in (0.5, 1, 2, 3) for coarsest in (4, 5, 6)],
}
FILTERS["band-pass, then Wiener"] = [
    lambda noisy, rate, first=first, second=second: second(first(noisy, rate), rate)
    for first in FILTERS["band-pass"] for second in FILTERS["Wiener"]]


def told_wiener(signals, noise):
    """The best filter that does not change with time, told the mean spectra of heart sounds and of the test noise."""
    def spectrum(waveforms):
        return np.mean([np.mean(np.abs(stft(w[0], RATE, nperseg=256)[2]) ** 2, -1) for w in waveforms], 0)

    signal, noise = (each / each.sum() for each in (spectrum(signals), spectrum(noise)))

    def of(ratio):
        return in_spectra(lambda power: (signal / (signal + noise / 10 ** (ratio / 10)))[None, :, None])
    return of


def nlms(noisy, reference, n_taps, step):
    """What a filter of `reference` that follows sample by sample does not explain of `noisy`, both `(time,)`; and its taps in the end.

    After Widrow et al. (1975), Adaptive noise cancelling; steps normalised by the power of the reference within the filter.
    """
    seen = np.lib.stride_tricks.sliding_window_view(np.pad(reference, (n_taps - 1, 0)), n_taps)
    sizes = step / ((seen ** 2).sum(1) + 1e-12)
    taps, cleaned = np.zeros(n_taps), np.empty(len(noisy))
    for k, (each, size) in enumerate(zip(seen, sizes)):
        cleaned[k] = noisy[k] - taps @ each
        taps += size * cleaned[k] * each
    return cleaned, taps


def second_sensor(noise, rng):
    """What a sensor that hears the noise `(time,)` and no heart would record: over another path, with noise of its own 20 dB below."""
    echoes = rng.normal(size=20) * np.exp(-np.arange(20) / 6)
    heard = np.convolve(noise, np.r_[1, 0.7 * echoes / np.abs(echoes).sum()])[:len(noise)]
    return heard + 0.1 * heard.std() * rng.normal(size=len(noise))


def with_reference(n_taps, step):
    """NLMS beside a second sensor, which the recordings do not have: it is made of the noise that was mixed in."""
    def of(each):
        reference = second_sensor((each.noisy - each.clean)[0], np.random.default_rng(0))
        return lambda noisy, rate: nlms(noisy[0], reference, n_taps, step)[0][None]
    return of


REFERENCED = [with_reference(n_taps, step) for n_taps in (16, 48) for step in (0.001, 0.01, 0.05)]


# --- beats of the ECG --------------------------------------------------------------------------------------------------

def ecg_beats(file, rate=2000):
    """Moments (s) of the R waves in an ECG of 16 bit integers: the steepest slopes between 5 and 30 Hz."""
    steep = np.gradient(sosfiltfilt(butter(2, [5, 30], "bandpass", fs=rate, output="sos"), np.fromfile(file, "<i2").astype(float))) ** 2
    smooth = gaussian_filter1d(steep, 0.03 * rate)
    return find_peaks(smooth, distance=int(0.35 * rate), height=0.2 * np.quantile(smooth, 0.99))[0] / rate


class Beats:
    """Beats of ECGs beside recordings of heart sounds, and by how much sounds follow them."""

    def __init__(self, data, learnt):
        folder = data / "heart_pcg_ecg" / "physionet2016_training-a"
        self.true = {file.stem: ecg_beats(file) for file in folder.glob("*.dat")}
        keys = learnt.table["key"]
        self.delay = constant_delay([beat_times(learnt.read(i), RATE) for i in range(len(keys))], [self.true[Path(key).stem] for key in keys])

    def judged(self, method, made):
        """Rows of `judged_mixtures`, with measures of beats."""
        for row, each, cleaned in judged_mixtures(method, made, RATE):
            for end, waveform in (("_in", each.noisy), ("", cleaned)):
                found = beat_measures(beat_times(waveform, RATE), self.true[Path(each.key).stem], self.delay)
                row |= {f"{name}{end}": value for name, value in found.items()}
            yield row


# --- the comparison ---------------------------------------------------------------------------------------------------

def recordings_of(data, vehicle, split):
    """Heart sounds, and stretches of one vehicle; parts by what `split` says of each heart sound."""
    config = sd.Config.load(None, {"task": "denoise", "data.signal": str(data / "heart_pcg_ecg" / "physionet2016_training-a"),
                                   "data.noise": str(data / "car_noise" / VEHICLES[vehicle]), "data.cache_dir": args.cache})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        everything = cut_for_split(load_roles(config))
    label = everything.table["label"].to_numpy()
    part, names = [], sorted(everything.table.loc[label == "signal", "key"])
    stretches = everything.table.loc[label == "noise", "key"].tolist()
    for key in everything.table["key"]:
        part.append(split[names.index(key)] if key in names else "validation" if key == stretches[2] else "train")
    return everything.with_columns(split=part)


def config_of(settings, epochs):
    return sd.Config.load(None, {
        "task": "denoise", "audio.sample_rate": RATE, "model.input_length": 4096, "data.test_split": 0,
        "training.epochs": epochs, "training.batch_size": 8, "training.learning_rate": 2e-3, "training.early_stopping": None,
        "preprocessing.filter_params.low_freq": 10, "clearml.enabled": False, "device": "cpu",
        "output.dir": f"{args.cache}/runs", "data.cache_dir": args.cache} | settings)


def best_filter(methods, made):
    """Of some parameters, those with the best mean SI-SDR on validation mixtures."""
    return best_told([lambda each, method=method: method for method in methods], made)(None)


def best_told(makers, made):
    """Likewise of functions that make a method for a mixture."""
    means = [np.mean([row["si_sdr"] for each in made for row, _, _ in judged_mixtures(maker(each), iter([each]), RATE)]) for maker in makers]
    return makers[int(np.argmax(means))]


def compared(data, learnt, tested, fold, networks, epochs):
    """Rows of every method, trained or chosen with one vehicle and tested with the other."""
    split = np.array(["test" if k % 2 == fold else "train" for k in range(14)], object)
    split[np.flatnonzero(split == "train")[[1, 5]]] = "validation"
    with_learnt = recordings_of(data, learnt, split)
    with_tested = recordings_of(data, tested, split)
    part, label = (with_learnt.table[name].to_numpy() for name in ("split", "label"))
    for_learning, for_choice = with_learnt[part != "test"], with_learnt[part == "validation"]
    other, role = with_tested.table["split"].to_numpy(), with_tested.table["label"].to_numpy()
    for_test = with_tested[(other == "test") | (role == "noise")]
    any_config = config_of({}, 1).resolve(for_learning)
    chosen_on, test = list(mixtures(for_choice, any_config)), list(mixtures(for_test, any_config))

    def read(some):
        return [np.asarray(prepared_waveform(some, i, any_config.audio)) for i in range(len(some))]

    beats = Beats(data, prepare_recordings(with_learnt[(part == "train") & (label == "signal")], any_config))
    print(f"sounds follow the ECG by {1000 * beats.delay:.0f} ms", file=sys.stderr)
    methods = {name: best_filter(candidates, chosen_on) for name, candidates in FILTERS.items()}
    told = told_wiener(read(with_learnt[(part == "train") & (label == "signal")]), read(with_tested[role == "noise"]))
    referenced, rows = best_told(REFERENCED, chosen_on), []
    for name, method in methods.items():
        rows += [row | {"method": name} for row in beats.judged(method, iter(test))]
    for each in test:
        rows += [row | {"method": "NLMS, with a second sensor"} for row in beats.judged(referenced(each), iter([each]))]
        rows += [row | {"method": "Wiener, told both spectra"} for row in beats.judged(told(each.snr_db), iter([each]))]
        rows += [row | {"method": "no noise at all"} for row in beats.judged(lambda noisy, rate, each=each: each.clean, iter([each]))]
    costs = []
    for name, settings in networks.items():
        started = time.process_time()
        run = sd.train(config_of(settings, epochs), for_learning, progress=False)
        trained = time.process_time() - started
        detector = run.detector
        started = time.process_time()
        rows += [row | {"method": name} for row in beats.judged(detector.process, iter(test))]
        cleaned = sum(each.noisy.shape[1] for each in test) / RATE
        costs.append({"method": name, "parameters": sum(p.numel() for p in detector.network.parameters()), "training (CPU s)": trained,
                      "times real time": cleaned / (time.process_time() - started), "epochs": len(run.results)})
    about = {"learnt": learnt, "tested": tested}
    return [row | about for row in rows], [cost | about for cost in costs]


def show(table):
    form = Waveforms([])
    for (learnt, tested), of_pair in table.groupby(["learnt", "tested"]):
        print(f"\nlearnt with {learnt}, tested with {tested}: improvement of SI-SDR (dB) over {of_pair['key'].nunique()} recordings")
        lines, of_beats = {}, {}
        for method, rows in of_pair.groupby("method", sort=False):
            values, intervals = form.metrics(rows)
            lines[method] = {f"{ratio:g} dB": "{:+.1f} [{:+.1f}, {:+.1f}]".format(
                values[f"si_sdr_improvement_at_{ratio:g}"], *intervals[f"si_sdr_improvement_at_{ratio:g}"])
                for ratio in sorted(rows["snr_db"].unique(), reverse=True)}
            of_beats[method] = {f"{ratio:g} dB": "{:.2f} [{:.2f}, {:.2f}]".format(
                values[f"beat_f1_at_{ratio:g}"], *intervals[f"beat_f1_at_{ratio:g}"]) for ratio in sorted(rows["snr_db"].unique(), reverse=True)}
            of_beats[method]["rate off by"] = "{:.0f} [{:.0f}, {:.0f}]".format(values["heart_rate_error"], *intervals["heart_rate_error"])
            lines[method] |= {"SI-SDR": f"{values['si_sdr']:+.1f}", "SNR": f"{values['snr']:+.1f}", "log-spectral": f"{values['lsd']:.1f}"}
        print(pd.DataFrame.from_dict({k: v for k, v in lines.items() if k != "no noise at all"}, orient="index").to_string())
        print("beats within 50 ms of the ECG's (F1), and error of the heart rate over all ratios (1/min)")
        print(pd.DataFrame.from_dict(of_beats, orient="index").to_string())


LOSSES = {"default": {}, "l1": {"training.loss_function.name": "l1"}}
NETWORKS = {name: {"model.architecture": name}
            for name in ("wave_unet", "wave_autoencoder", "pixel_shuffle_autoencoder", "two_stage_transformer", "diffusion")}
NETWORKS |= {f"wave_unet, {key}: {value}": {f"model.{key}": value} for key, value in
             (("steps", "strided"), ("causal", True), ("transformer_layers", 2))}
NETWORKS["pixel_shuffle_autoencoder, transformer_layers: 2"] = NETWORKS["pixel_shuffle_autoencoder"] | {"model.transformer_layers": 2}


def compare_simulated(variants, seeds, epochs):
    """Variants of settings on simulated beats and drives, none of the test in training; a line a variant and seed."""
    rng = np.random.default_rng(7)
    waveforms = [heart_beats(rng, 16)[0] for _ in range(30)] + [car_noise(rng, 60) for _ in range(9)]
    part = ["train"] * 18 + ["validation"] * 4 + ["test"] * 8 + ["train"] * 5 + ["validation"] + ["test"] * 3
    recordings = sd.Recordings.from_arrays(waveforms, RATE, ["signal"] * 30 + ["noise"] * 9).with_columns(split=np.array(part, object))
    for seed in seeds:
        for name, settings in variants.items():
            metrics, seconds, n_weights = judged_run({"seed": seed} | settings, recordings, epochs)
            improved = "".join(f"{metrics[f'si_sdr_improvement_at_{ratio}']:8.2f}" for ratio in (0, -5, -10, -15))
            print(f"{name:50}{seed:3d}{improved}{metrics['si_sdr_improvement']:8.2f}{metrics['l1']:9.4f}{n_weights:9d}{seconds:6.0f}", flush=True)


def band(waveform, low, high):
    return sosfilt(butter(2, [low, high], "bandpass", fs=RATE, output="sos"), waveform)


def with_background(rng, beats):
    """Beats as they are recorded: with noise of any colour 8 to 20 dB below, which belongs to what is wanted."""
    noise = band(recoloured(rng.normal(size=(1, len(beats))), 15, rng)[0], 20, 400)
    return beats + noise * beats.std() / noise.std() * 10 ** (-rng.uniform(8, 20) / 20)


SCENES = {"another drive": 20, "other bands": 20, "few people": 30}      # epochs


def one_vehicle(scene, vehicle):
    """Recordings of which those of training and validation have one vehicle, 1 or 2, and those of the test four others.

    In *other bands* noise lies below the heart in the one and above it in the other, in *few people* there are 5 instead of 14, and colours differ.
    """
    rng, is_small = np.random.default_rng(7), scene == "few people"
    if is_small:
        signals = [with_background(rng, heart_beats(rng, 30 if k < 7 else 16)[0]) for k in range(14)]
    else:
        signals = [heart_beats(rng, 16)[0] for _ in range(26)]
    if scene == "other bands":
        signals = [with_background(rng, each) for each in signals]
    rng = np.random.default_rng(vehicle)

    def drive(seconds, is_learnt):
        noise = car_noise(rng, seconds)
        if scene == "other bands":
            return band(noise, *((10, 45) if is_learnt == (vehicle == 1) else (60, 300)))
        return recoloured(noise[None], 20, rng)[0] if is_small else noise

    stretches = np.split(drive(150 if is_small else 120, True), 6)
    waveforms = [*signals, *stretches, *(drive(60, False) for _ in range(4))]
    n_train, n_validation, n_test = (5, 2, 7) if is_small else (14, 4, 8)
    part = ["train"] * n_train + ["validation"] * n_validation + ["test"] * n_test
    part += ["train"] * 2 + ["validation"] + ["train"] * 3 + ["test"] * 4
    label = ["signal"] * len(signals) + ["noise"] * 10
    return sd.Recordings.from_arrays(waveforms, RATE, label).with_columns(split=np.array(part, object))


def compare_vehicles(epochs):
    """Losses on vehicles that training did not have: improvement of SI-SDR, beats (F1) and error of the heart rate, before and after."""
    for scene, usual in SCENES.items():
        for vehicle in (1, 2):
            recordings = one_vehicle(scene, vehicle)
            for name, settings in LOSSES.items():
                metrics, seconds, _ = judged_run({"denoise.beats": True} | settings, recordings, epochs or usual)
                improved = "".join(f"{metrics[f'si_sdr_improvement_at_{ratio}']:8.2f}" for ratio in (0, -5, -10, -15))
                found = "".join(f"{metrics[f'beat_f1_at_{ratio}']:6.2f}" for ratio in (0, -5, -10, -15))
                print(f"{scene:14}{vehicle:3d} {name:8}{improved}  {found}  {metrics['beat_f1_in']:.2f} {metrics['beat_f1']:.2f}  "
                      f"{metrics['heart_rate_error_in']:3.0f}{metrics['heart_rate_error']:4.0f}{seconds:6.0f}", flush=True)


def judged_run(settings, recordings, epochs):
    """Metrics of a training on recordings whose parts are given, s of CPU time, and weights."""
    config, began = config_of({"model.size": "n"} | settings, epochs), time.process_time()
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        run = sd.train(config, recordings, run=f"{folder}/run", progress=False)
        seconds, metrics = time.process_time() - began, sd.evaluate(run, recordings).metrics
        return metrics, seconds, sum(p.numel() for p in run.detector.network.parameters())


def clean_hours(hours):
    """A file of so many hours, cleaned by a process of its own, whose memory is its peak."""
    size = {"task": "denoise", "model.architecture": "wave_unet", "audio.sample_rate": RATE, "model.input_length": 4096}
    config = sd.Config.load(None, size).resolve()
    with tempfile.TemporaryDirectory() as folder:
        sd.Detector(task_of(config).build(), config, "cpu").save(f"{folder}/model")
        noise = car_noise(np.random.default_rng(0), 3600).astype(np.float32)
        with soundfile.SoundFile(f"{folder}/drive.wav", "w", RATE, 1, "FLOAT") as file:
            for _ in range(hours):
                file.write(noise)
        program = ("import resource, time; from sounddetect.cli.cli import main\n"
                   "try: main()\n"
                   "except SystemExit: print(time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)")
        words = [sys.executable, "-c", program, "denoise", "model", "drive.wav", "--out", "out"]
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True)
        seconds, megabytes = map(float, done.stdout.split()[-2:])
    print(f"{hours:3d} h: {megabytes:5.0f} MB at most, {3600 * hours / seconds:5.0f} times real time with the start of the program")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--loss", help="of the networks; without it the default")
    parser.add_argument("--network", help="to be trained in place of the Wave-U-Nets, such as diffusion")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of --network")
    parser.add_argument("--learnt", choices=["tank", "car"], help="the one vehicle to learn with; without it each of both in turn")
    parser.add_argument("--out", default="denoising.csv", help="rows of all mixtures")
    parser.add_argument("--cache", default=".cache", help="for copies of recordings, and runs")
    parser.add_argument("--simulated", choices=["losses", "networks", "vehicles"], help="compared on simulated beats and drives alone")
    parser.add_argument("--hours", type=int, nargs="+", help="of one file to clean, for memory and time")
    args = parser.parse_args()
    for hours in args.hours or ():
        clean_hours(hours)
    if args.hours:
        raise SystemExit
    if args.simulated == "vehicles":
        compare_vehicles(args.epochs)
        raise SystemExit
    if args.simulated:
        compared_are, seeds = (LOSSES, range(3)) if args.simulated == "losses" else (NETWORKS, range(1))
        compare_simulated(compared_are, seeds, args.epochs or 25)
        raise SystemExit
    folder = Path(os.environ["SOUNDDETECT_TEST_DATA"])
    size = {"model.size": "s" if args.full else "n"} | ({"training.loss_function.name": args.loss} if args.loss else {})
    coloured = size | {"denoise.noise_eq_db": 20.0}
    trained = {"Wave-U-Net": size, "Wave-U-Net, noise recoloured": coloured}
    if args.full:
        trained |= {f"Wave-U-Net, noise recoloured, {name}": coloured | {"training.loss_function.name": name}
                    for name in ("l1", "si_sdr", "multi_resolution_stft")}
        trained["Wave-U-Net, noise recoloured, rising"] = coloured | {"denoise.rising_epochs": 40}
    if args.network:
        trained = {f"{args.network}, seed {seed}": size | {"model.architecture": args.network, "seed": seed} for seed in range(args.seeds)}
    rows, costs = [], []
    for fold in (0, 1) if args.full else (0,):
        for pair in (pair for pair in (("tank", "car"), ("car", "tank")) if args.learnt in (None, pair[0])):
            some, cost = compared(folder, *pair, fold, trained, args.epochs or (150 if args.full else 60))
            rows, costs = rows + some, costs + cost
            pd.DataFrame(rows).to_csv(args.out, index=False)
            show(pd.DataFrame(some))
    if args.full:
        show(pd.DataFrame(rows))
    print(pd.DataFrame(costs).to_string(index=False, float_format="{:.0f}".format))
