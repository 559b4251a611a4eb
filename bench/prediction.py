"""Prediction: seconds of sound scored in a second, how long one answer takes, and memory over the number of recordings.

    OMP_NUM_THREADS=2 python bench/prediction.py [--only speed latency memory hour] [--repeats 5] [--sizes n s]

1. `speed`: three recordings of 10 s at 44.1 kHz, one at a time, in batches of 32 windows, and as a stream in pieces of 2048 samples; PyTorch and ONNX. Peers: a loop over windows with the
   same front end and network, and SciPy's `sosfiltfilt` with the same network, both without anything around them.
2. `latency`: one recording of a second, and one full window of a stream: median and 95 % point.
3. `memory`: peak resident memory of a process that scores 1,000 and 10,000 WAV files of 0.25 s at 16 kHz, over that of one that scores one file.
4. `hour`: the same for one recording of an hour, at the rate of the detector and at another one.

The networks are untrained: time does not depend on the weights.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
import torch
from scipy.signal import butter, sosfiltfilt

from sounddetect.config import Config
from sounddetect.data.collection.loading import load_recordings
from sounddetect.detector.detector import Detector
from sounddetect.detector.onnx_detector import OnnxDetector, export_onnx
from sounddetect.tasks.pipeline import build_network
from sounddetect.tasks.windows import exact_float32

RATE, LENGTH, SECONDS, N_RECORDINGS = 44100, 22050, 10, 3


def untrained(size="s", **changes):
    config = Config().replace({"model.size": size} | {key.replace("__", "."): value for key, value in changes.items()})
    torch.manual_seed(0)
    return Detector(build_network(config, 2), config, "cpu")


def in_onnx(detector, folder):
    export_onnx(detector, path := Path(folder) / "detector.onnx")
    return OnnxDetector.load(path)


def median_seconds(functions, repeats):
    """Of each function, its repetitions in turn with the others'."""
    times = {name: [] for name in functions}
    for repeat in range(repeats + 1):
        for name, function in functions.items():
            started = time.perf_counter()
            function()
            if repeat:                                      # the first one warms up
                times[name].append(time.perf_counter() - started)
    return {name: statistics.median(found) for name, found in times.items()}


# Peers: what one writes in a notebook

def window_by_window(detector, waveforms):
    with exact_float32():
        for waveform in waveforms:
            logits = [detector.window_answers(torch.from_numpy(waveform[None, None, k:k + LENGTH])) for k in range(0, len(waveform), LENGTH)]
            torch.stack(logits).mean(0).softmax(-1)


def with_sosfiltfilt(detector, waveforms):
    filters = detector.config.preprocessing.filter_params
    sections = butter(filters.order, [filters.low_freq, filters.high_freq], "bandpass", fs=RATE, output="sos")
    with exact_float32():
        for waveform in waveforms:
            logits = []
            for k in range(0, len(waveform), LENGTH):
                window = sosfiltfilt(sections, waveform[k:k + LENGTH] - waveform[k:k + LENGTH].mean())
                logits.append(detector.network(torch.from_numpy((window / window.std()).astype(np.float32)[None, None])))
            torch.stack(logits).mean(0).softmax(-1)


def streamed(detector, waveforms, size=2048):
    for waveform in waveforms:
        stream = detector.stream(RATE)
        for k in range(0, len(waveform), size):
            stream.feed(waveform[k:k + size])
        stream.finish()


def speed(repeats, sizes):
    waveforms = list(np.random.default_rng(0).normal(0, 0.1, (N_RECORDINGS, SECONDS * RATE)).astype(np.float32))
    columns = {}
    with tempfile.TemporaryDirectory() as folder:
        for k, waveform in enumerate(waveforms):
            soundfile.write(f"{folder}/{k}.wav", waveform, RATE, "FLOAT")
        recordings = load_recordings(folder, cache_dir=f"{folder}/.cache")
        for size in sizes:
            detector = untrained(size)
            functions = {}
            for name, scorer in (("PyTorch", detector), ("ONNX", in_onnx(detector, folder))):
                functions |= {
                    ("one recording at a time", name): lambda scorer=scorer: [scorer.predict(waveform, RATE) for waveform in waveforms],
                    ("Recordings, batches of 32", name): lambda scorer=scorer: scorer.predict(recordings),
                    ("a folder of WAV files", name): lambda scorer=scorer: scorer.predict(folder),
                    ("stream, pieces of 2048", name): lambda scorer=scorer: streamed(scorer, waveforms),
                }
            functions |= {("peer: loop over windows", "PyTorch"): lambda detector=detector: window_by_window(detector, waveforms),
                          ("peer: sosfiltfilt, loop", "PyTorch"): lambda detector=detector: with_sosfiltfilt(detector, waveforms)}
            for (what, name), seconds in median_seconds(functions, repeats).items():
                columns.setdefault((size, name), {})[what] = N_RECORDINGS * SECONDS / seconds
    print(f"seconds of sound a second, {torch.get_num_threads()} threads; medians of {repeats}")
    print(pd.DataFrame(columns).round(0).to_string(na_rep=""), "\n")


def latency(repeats, sizes):
    waveform, rows = np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32), []
    with tempfile.TemporaryDirectory() as folder:
        for size in sizes:
            detector = untrained(size)
            for name, scorer in (("PyTorch", detector), ("ONNX", in_onnx(detector, folder))):
                stream = scorer.stream(RATE)
                stream.feed(waveform[:LENGTH - 2048])
                functions = {"predict, 1 s": lambda scorer=scorer: scorer.predict(waveform, RATE),
                             "stream, a piece that fills a window": lambda stream=stream: stream.feed(waveform[:LENGTH])}
                for what, function in functions.items():
                    function()
                    times = []
                    for _ in range(20 * repeats):
                        started = time.perf_counter()
                        function()
                        times.append(1000 * (time.perf_counter() - started))
                    rows.append((size, name, what, np.median(times), np.percentile(times, 95)))
    print(f"milliseconds until the answer, {torch.get_num_threads()} threads")
    print(pd.DataFrame(rows, columns=["size", "", "what", "median", "95 %"]).set_index(["size", "", "what"]).round(1).to_string(), "\n")


# A process for each number

def peak_in_child(*arguments):
    made = subprocess.run([sys.executable, __file__, "--child", *map(str, arguments)], capture_output=True, text=True, check=True)
    return json.loads(made.stdout.splitlines()[-1])


def resident(name):
    return next(int(line.split()[1]) / 1000 for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{name}:"))


def child(path, rate, kind):
    """Score one path; seconds, and the peak of resident memory in MB."""
    warnings.simplefilter("ignore")
    detector = untrained("n", audio__sample_rate=int(rate), model__input_length=int(rate) // 4, preprocessing__filter_params__high_freq=0.4 * int(rate))
    if kind == "ONNX":
        with tempfile.TemporaryDirectory() as folder:
            detector = in_onnx(detector, folder)
    started = time.perf_counter()
    scores = detector.predict(path)
    print(json.dumps({"recordings": len(scores), "seconds": time.perf_counter() - started, "peak": resident("VmHWM"), "anonymous": resident("RssAnon")}))


def memory():
    rows, noise = [], np.random.default_rng(0).normal(0, 0.1, 8000).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        for n_files in (1, 1000, 10_000):
            (place := Path(folder) / str(n_files)).mkdir()
            for k in range(n_files):
                soundfile.write(place / f"{k:05d}.wav", np.roll(noise, k)[:4000], 16000, "PCM_16")
            found = peak_in_child(place, 16000, "PyTorch")
            rows.append((n_files, found["peak"], found["peak"] - rows[0][1] if rows else 0.0, n_files * 0.25 / found["seconds"], n_files * 16000 / 1e6))
    columns = ["WAV files", "peak MB", "over one file", "sound s/s", "samples as float32, MB"]
    print(pd.DataFrame(rows, columns=columns).set_index("WAV files").round(1).to_string(), "\n")


def hour():
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for seconds, rate in ((60, 16000), (3600, 16000), (3600, 44100)):
            path = Path(folder) / f"{seconds}_{rate}.wav"
            with soundfile.SoundFile(path, "w", rate, 1, "PCM_16") as file:
                rng = np.random.default_rng(0)
                for _ in range(seconds // 10):
                    file.write(rng.normal(0, 0.1, 10 * rate).astype(np.float32))
            found = peak_in_child(path, 16000, "PyTorch")
            rows.append((seconds, rate, found["peak"], found["anonymous"], seconds / found["seconds"], seconds * rate * 4 / 1e6))
            path.unlink()
    columns = ["s", "Hz", "peak MB", "of it anonymous, at the end", "sound s/s", "samples as float32, MB"]
    print("one recording, scored at 16 kHz; samples beyond 64 MB lie in a temporary file, whose mapped pages count")
    print(pd.DataFrame(rows, columns=columns).set_index(["s", "Hz"]).round(1).to_string(), "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:])
        sys.exit()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=["speed", "latency", "memory", "hour"], choices=["speed", "latency", "memory", "hour"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--sizes", nargs="+", default=["n", "s"])
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 2)))
    for name in options.only:
        {"speed": lambda: speed(options.repeats, options.sizes), "latency": lambda: latency(options.repeats, options.sizes), "memory": memory, "hour": hour}[name]()
