"""Forecast of peak memory against what the trainer's own steps take.

    python bench/memory_forecast.py [--device cpu] [--only NAME ...]

On a CPU: the most bytes that PyTorch's allocator holds, by the memory events of its profiler, plus the most that numpy holds, by tracemalloc (the
windows of a step). On a GPU (`--device cuda`): `max_memory_allocated` and `max_memory_reserved`, in float16 without TF32 and limited to the 14.75 GiB
of a T4. Every trainer is built anew, makes two steps and validates. Columns of errors: how much more was forecast than taken, in percent and in MiB; nothing
may be below 0.

The last table (CPU only): by how much the resident memory of a process grows over two epochs, in processes of their own, beside what is alive at most by
the forecast, and what `MemoryForecast.run` reckons with.
"""
import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
import tracemalloc
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import torch
from t4 import stand_for_t4
from torch.profiler import ProfilerActivity, profile, record_function

import sounddetect as sd
from sounddetect.tasks.pipeline import Pipeline
from sounddetect.training.forecast import forecast
from sounddetect.training.trainer import Trainer, validate

MIB = 2**20
PARTS = ("initialization", "training", "validation")
LONG = {"filters": 32, "kernel_size": 31, "stride": 1}
SPECTROGRAM = {"features.kind": "log_mel", "features.n_mels": 64, "model.size": "n", "model.input_length": 44100}
CONFIGURATIONS = {
    "n": {"model.size": "n"},
    "s": {},
    "m": {"model.size": "m"},
    "x": {"model.size": "x"},
    "s, window 5512": {"model.input_length": 5512},
    "s, window 44100": {"model.input_length": 44100},
    "s, checkpointing": {"memory.gradient_checkpointing": True},
    "s, bfloat16": {"memory.mixed_precision": True},
    "m, bfloat16, checkpointing": {"model.size": "m", "memory.mixed_precision": True, "memory.gradient_checkpointing": True},
    "s, 3 micro-batches": {"training.gradient_accumulation_steps": 3},
    "s, attention step by step": {"memory.efficient_attention": False},
    "one layer, window 11025": {"model.cnn_layers": [{"filters": 16, "kernel_size": 63}], "model.input_length": 11025},
    "kernel 255, stride 1": {"model.cnn_layers": [{"filters": 16, "kernel_size": 255, "stride": 1, "padding": 127}, {"filters": 32, "kernel_size": 31}]},
    "five layers, stride 1": {"model.cnn_layers": [{"filters": 8, "kernel_size": 63}, *[LONG] * 3, {"filters": 128, "kernel_size": 15}]},
    "window 512": {"model.input_length": 512},
    "sgd, no filter": {"training.optimizer": "sgd", "preprocessing.apply_filter": False},
    **{f"{name}, n": SPECTROGRAM | {"model.architecture": name} for name in ("2d_cnn", "resnet18", "cnn8_avg_pool", "cnn4_max_pool")},
    "2d_cnn, s": SPECTROGRAM | {"model.size": "s"},
    "2d_cnn, s, checkpointing": SPECTROGRAM | {"model.size": "s", "memory.gradient_checkpointing": True},
}


def allocator_peaks(profiler):
    """Most bytes of PyTorch's CPU allocator within each part, from the memory events of a profile that began with nothing."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "trace.json")
        profiler.export_chrome_trace(str(path))
        events = json.loads(path.read_text())["traceEvents"]
    memory = sorted((e["ts"], e["args"]["Total Allocated"], e["args"]["Bytes"]) for e in events if e.get("name") == "[memory]" and e["args"]["Device Type"] == 0)
    start = memory[0][1] - memory[0][2]                     # left over from an earlier profile
    peaks = {}
    for part in PARTS:
        spans = [(e["ts"], e["ts"] + e["dur"]) for e in events if e.get("name") == part and e.get("cat") == "user_annotation"]
        peaks[part] = max((total - start for begin, end in spans for time, total, _ in memory if begin <= time <= end), default=0)
    return peaks


def run_parts(recordings, config, watch, initialize=True, half=None):
    """Build a trainer, make two steps and validate; the parts named above within `watch(part)`."""
    with patch.object(Pipeline, "initialize_from_data", lambda pipeline, batches: initialize_within(watch, pipeline, batches) if initialize else None):
        trainer = Trainer(recordings, recordings[:max(2, config.training.batch_size)], config)
    if half is not None:
        trainer.step.dtype, trainer.step.scaler = half, torch.amp.GradScaler(trainer.device.type, enabled=half == torch.float16)
    trainer.pipeline.train()
    n_step = trainer.config.training.batch_size * config.training.gradient_accumulation_steps
    for _ in range(2):
        with watch("training"):
            trainer._make_step(np.arange(n_step) % len(recordings))
    with watch("validation"):
        validate(trainer.pipeline, trainer.task, trainer.validation, trainer.progress.validation_batch)


def initialize_within(watch, pipeline, batches, initialize=Pipeline.initialize_from_data):
    with watch("initialization"):
        initialize(pipeline, batches)


class NumpyPeaks:
    """Most bytes that numpy and Python held in each part."""

    def __init__(self):
        self.peaks = dict.fromkeys(PARTS, 0)

    def __call__(self, part):
        self.part = part
        return self

    def __enter__(self):
        if self.part == "initialization":
            self.windows = tracemalloc.get_traced_memory()[1]       # while they were drawn
        tracemalloc.reset_peak()
        self.annotation = record_function(self.part)
        self.annotation.__enter__()

    def __exit__(self, *error):
        self.annotation.__exit__(*error)
        self.peaks[self.part] = max(self.peaks[self.part], tracemalloc.get_traced_memory()[1])


def measured_on_cpu(recordings, config, initialize):
    """Bytes in each part: PyTorch's allocator and numpy."""
    gc.collect()
    watch = NumpyPeaks()
    tracemalloc.start()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run_parts(recordings, config, watch, initialize)
    tracemalloc.stop()
    peaks = allocator_peaks(profiler)
    taken = {part: (peaks[part] + watch.peaks[part],) for part in PARTS}
    return taken | {"initialization": (max(*taken["initialization"], watch.windows),)} if initialize else taken


class CudaPeaks:
    """Most bytes allocated and reserved on the GPU in each part."""

    def __init__(self):
        self.peaks = dict.fromkeys(PARTS, (0, 0))

    def __call__(self, part):
        self.part = part
        return self

    def __enter__(self):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()

    def __exit__(self, *error):
        torch.cuda.synchronize()
        found = torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()
        self.peaks[self.part] = tuple(map(max, self.peaks[self.part], found))


def measured_on_cuda(recordings, config, initialize):
    """Bytes allocated and reserved in each part."""
    gc.collect()
    watch = CudaPeaks()
    run_parts(recordings, config, watch, initialize, torch.float16)
    return watch.peaks


def rows(recordings, name, overrides, sizes, cuda):
    """Forecast and measurement for each batch size and part."""
    config = sd.Config.load(None, {"device": "cuda" if cuda else "cpu", **overrides}).resolve()
    expected = forecast(config, "T4", torch.float16) if cuda else forecast(config, "cpu")
    for size in sizes:
        taken = (measured_on_cuda if cuda else measured_on_cpu)(recordings, config.replace({"training.batch_size": size}), size == sizes[0])
        told = {"initialization": expected.initialization(), "training": expected.training(size), "validation": expected.validation(size)}
        for part in PARTS[size != sizes[0]:]:
            yield {"configuration": name, "batch": size, "part": part, "forecast": told[part] / MIB, "taken": taken[part][0] / MIB, "reserved": taken[part][-1] / MIB}


RESIDENT = """
import json, sys
import sounddetect as sd
from sounddetect.machine.memory_budget import peak_resident_memory, resident_memory
from sounddetect.training.trainer import Trainer
folder, overrides = sys.argv[1], json.loads(sys.argv[2])
recordings = sd.load_recordings(folder + "/data", cache_dir=folder + "/cache")
config = sd.Config.load(None, {"training.epochs": 2, "device": "cpu", **overrides}).resolve()
warm = config.replace({"model.input_length": 512, "training.batch_size": 1, "training.epochs": 1})
Trainer(recordings[:4], recordings[:2], warm).fit()          # libraries are loaded
before = resident_memory()
Trainer(recordings, recordings[:16], config).fit()
print(json.dumps(peak_resident_memory() - before))
"""


def resident_table(folder):
    """Growth of resident memory for batch sizes with and without `memory.keep_freed`."""
    rows = []
    for keep in (True, False):
        for size in (16, 64, 192, 384):
            overrides = {"training.batch_size": size, "memory.keep_freed": keep}
            child = subprocess.run([sys.executable, "-c", RESIDENT, folder, json.dumps(overrides)], capture_output=True, text=True, check=True)
            expected = forecast(sd.Config.load(None, {"device": "cpu", **overrides}).resolve(), "cpu")
            rows.append({"keep_freed": keep, "batch": size, "MiB alive by forecast": max(expected.parts(size).values()) / MIB,
                         "MiB resident": json.loads(child.stdout) / MIB, "MiB reckoned with": expected.run(size) / MIB})
    return pd.DataFrame(rows).set_index(["keep_freed", "batch"])


def report(table, cuda):
    """Print the error of training for each batch size, and the worst of the other parts."""
    for against in ("taken", "reserved")[: 1 + cuda]:
        table["MiB"] = table["forecast"] - table[against]
        table["percent"] = 100 * table["MiB"] / table[against]
        training = table[table.part == "training"].set_index(["configuration", "batch"]).unstack()
        shown = pd.concat({"MiB " + against: training[against], "percent more": training["percent"], "MiB more": training["MiB"]}, axis=1)
        print(f"training, forecast against memory {against}")
        print(shown.loc[table.configuration.unique()].round(1).to_string())
        others = table[table.part != "training"].groupby(["part", "configuration"], sort=False)[["percent", "MiB"]].agg(["min", "max"])
        print(f"calibration and validation, forecast against memory {against}: what was forecast too much")
        print(others.round(1).to_string())
        outside = table[(table.MiB < 0) | ((table.percent > 7) & (table.MiB > 8))]
        print(f"{len(table)} cases, below what was {against}: {(table.MiB < 0).sum()}, more than 7 % and 8 MiB above: {len(outside) - (outside.MiB < 0).sum()}")


if __name__ == "__main__":
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--only", nargs="*", default=list(CONFIGURATIONS), choices=CONFIGURATIONS)
    arguments = parser.parse_args()
    cuda = arguments.device == "cuda"
    if cuda:
        stand_for_t4()
    with tempfile.TemporaryDirectory() as folder:
        sd.simulate(f"{folder}/data", 384)
        recordings = sd.load_recordings(f"{folder}/data", cache_dir=f"{folder}/cache")
        run_parts(recordings, sd.Config.load(None, {"model.size": "n", "training.batch_size": 2, "device": arguments.device}).resolve(), record_function)      # what is kept: the noise
        sizes = (16, 64, 256, 1024) if cuda else (1, 4, 16, 48)
        table = pd.DataFrame([row for name in arguments.only for row in rows(recordings, name, CONFIGURATIONS[name], sizes, cuda)])
        report(table, cuda)
        if not cuda:
            print("\nresident memory, size s")
            print(resident_table(folder).round(0).to_string())
