"""The batch size that is found: ours, Lightning's and accelerate's, on the same network under the same memory limit.

    python bench/batch_size.py [--device cpu] [--only NAME ...]

On a CPU the limit is made up: `limited_memory` raises at the operation that crosses it, in the words of a GPU. Ours knows the limit as a budget
and its forecast of the bytes that are alive; it does not see the counter. On a GPU (`--device cuda`) the limit is the 14.75 GiB of a T4, in float16 without
TF32. All have the same model, loss, optimizer and windows. Peers with their defaults; what accelerate shall execute is what a try of ours makes: two
steps and a batch of validation.

- `largest` is the truth: found by bisection, each size with ten steps of our trainer and a validation that has a whole batch.
- `steps` are passes forward in training that were begun by the search, `windows` what all its passes saw, with those of validation.
- `dies later`: memory runs out within 20 steps of our trainer with the found size, or in the validation after the first ten or at the end.

Lightning and accelerate are no part of the development environment. Put them into a folder of their own, so that they bring no other PyTorch:

    pip install --no-deps --target PEERS lightning pytorch-lightning lightning-utilities torchmetrics accelerate huggingface_hub
    PYTHONPATH=PEERS python bench/batch_size.py
"""
import argparse
import gc
import logging
import sys
import tempfile
import time
import warnings
from contextlib import nullcontext
from unittest.mock import patch

import numpy as np
import pandas as pd
import torch
from t4 import stand_for_t4

import sounddetect as sd
from sounddetect.machine.devices import GPUS
from sounddetect.machine.memory_budget import MemoryBudget
from sounddetect.machine.out_of_memory import limited_memory
from sounddetect.tasks.pipeline import collate
from sounddetect.training import forecast as forecasts
from sounddetect.training.batch_size import Trial, find_batch_size, search_batch_size
from sounddetect.training.step import make_optimizer
from sounddetect.training.trainer import Progress, Trainer, validate

try:
    import lightning.pytorch as lightning
    from lightning.pytorch.tuner import Tuner
except ImportError:
    lightning = None
try:
    from accelerate.utils import find_executable_batch_size
except ImportError:
    find_executable_batch_size = None

MIB = 2**20
MOST = 2**16                        # nobody wants more windows at a time
CASES = {                           # overrides, MiB of the made-up device
    "n, 60 MiB": ({"model.size": "n"}, 60),
    "n, 250 MiB": ({"model.size": "n"}, 250),
    "s, 100 MiB": ({}, 100),
    "s, 300 MiB": ({}, 300),
    "s, sgd, 100 MiB": ({"training.optimizer": "sgd"}, 100),
    "s, window 5512, 120 MiB": ({"model.input_length": 5512}, 120),
    "s, window 44100, 200 MiB": ({"model.input_length": 44100}, 200),
    "x, 300 MiB": ({"model.size": "x"}, 300),
}


class SmallDevice(limited_memory):
    """A made-up device that complains as a GPU does; peers know the error by its words."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        try:
            return super().__torch_dispatch__(operation, types, args, kwargs)
        except torch.OutOfMemoryError:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate more than there is") from None


class Passes:
    """Counts what goes through a model."""

    def __init__(self, model):
        self.steps = self.windows = 0
        self.handle = model.register_forward_pre_hook(self)

    def __call__(self, model, inputs):
        self.steps += model.training
        self.windows += len(inputs[0])


class Windows(torch.utils.data.Dataset):
    """The training windows of our task, as often as one likes."""

    def __init__(self, ours):
        self.ours = ours

    def __len__(self):
        return 2 * MOST

    def __getitem__(self, i):
        return self.ours.task.sample(self.ours.train, i % len(self.ours.train), np.random.default_rng([0, i]))


def loss_of(ours, batch):
    """Mean loss of a batch, in the precision of our trainer."""
    dtype = ours.step.dtype
    with torch.autocast(ours.device.type, dtype, enabled=dtype != torch.float32):
        output = ours.pipeline.output_of(batch)
    loss, total, _ = ours.task.loss(output, batch)
    return loss / total


def by_ours(ours, limit, device):
    trial = Trial(ours.step, ours.samples.some, ours.config.model.input_length)
    if ours.device.type == "cuda":
        forecast = forecasts.forecast(ours.config, "cuda", ours.step.dtype)
        return find_batch_size(trial, forecast, MemoryBudget("GPU", {"its size": limit}), MOST).size
    with patch.object(forecasts, "HEAP", dict.fromkeys((True, False), (1, 0))):       # the limit is on what is alive, as on a GPU
        guess = forecasts.forecast(ours.config, "cpu", ours.step.dtype).largest_batch(MemoryBudget("made up", {"its size": limit}))
    with device:
        return search_batch_size(trial.fits, guess, MOST).size


def by_lightning(mode):
    def found(ours, limit, device):
        class Module(lightning.LightningModule):
            def __init__(self):
                super().__init__()
                self.model, self.batch_size = ours.pipeline, 2

            def training_step(self, batch, number):
                return loss_of(ours, batch)

            validation_step = training_step

            def train_dataloader(self):
                return torch.utils.data.DataLoader(Windows(ours), self.batch_size, collate_fn=collate)

            val_dataloader = train_dataloader

            def configure_optimizers(self):
                return make_optimizer(self.model.parameters(), ours.config.training, fused=ours.device.type == "cpu")

        with tempfile.TemporaryDirectory() as folder, device:
            trainer = lightning.Trainer(accelerator="gpu" if ours.device.type == "cuda" else "cpu", devices=1, logger=False, enable_checkpointing=False,
                                        enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder)
            return Tuner(trainer).scale_batch_size(Module(), mode=mode)
    return found


def by_accelerate(ours, limit, device):
    windows = Windows(ours)

    @find_executable_batch_size
    def execute(size):
        optimizer = make_optimizer(ours.pipeline.parameters(), ours.config.training, fused=ours.device.type == "cpu")
        ours.pipeline.train()
        for _ in range(2):
            optimizer.zero_grad(set_to_none=True)
            loss_of(ours, collate([windows[i] for i in range(size)], ours.device)).backward()
            optimizer.step()
        ours.pipeline.eval()
        with torch.no_grad():
            loss_of(ours, collate([windows[i] for i in range(size)], ours.device))
        return size

    with device:
        return execute()


def finders():
    """Searches by name, of those that are installed."""
    found = {"ours": by_ours}
    if lightning:
        found |= {"Lightning, power": by_lightning("power"), "Lightning, binsearch": by_lightning("binsearch")}
    if find_executable_batch_size:
        found["accelerate"] = by_accelerate
    for name, there in (("lightning", lightning), ("accelerate", find_executable_batch_size)):
        if not there:
            print(f"{name} is not installed and is left out; how to install it stands at the top of this file")
    return found


def device_of(limit, cuda):
    """Context in which memory is limited; a whole GPU is limited already."""
    gc.collect()
    if cuda:
        torch.cuda.empty_cache()
    return nullcontext() if cuda else SmallDevice(limit)


def trains(ours, size, limit, steps):
    """Whether `steps` steps of our trainer and validations, after each ten, never run out of memory with batches of `size`."""
    with ours.step.unchanged(), device_of(limit, ours.device.type == "cuda"):
        ours.progress = Progress(micro_batch=size, validation_batch=size)
        ours.validation = ours.train[np.arange(size) % len(ours.train)]
        for number in range(1, steps + 1):
            ours.pipeline.train()
            try:
                ours._make_step((np.arange(size) + number) % len(ours.train))
                if number % 10 == 0:
                    validate(ours.pipeline, ours.task, ours.validation, size)
            except (MemoryError, torch.OutOfMemoryError):
                return False
            if ours.progress.micro_batch < size:
                return False
    return True


def largest(ours, limit):
    """The largest batch size that trains, by bisection."""
    low, high = 0, 1
    while trains(ours, high, limit, 10):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if trains(ours, middle, limit, 10) else (low, middle)
    return low


def rows(recordings, name, finders, cuda):
    """What each search finds in one case."""
    overrides, mebibytes = CASES[name]
    limit = GPUS["T4"].usable if cuda else mebibytes * MIB
    config = sd.Config.load(None, {"device": "cuda" if cuda else "cpu", "training.batch_size": 1, **overrides}).resolve()

    def made():
        ours = Trainer(recordings, recordings[:2], config)
        if cuda:
            ours.step.dtype, ours.step.scaler = torch.float16, torch.amp.GradScaler("cuda")
        return ours

    truth = largest(made(), limit)
    for finder, search in finders.items():
        ours = made()
        passes = Passes(ours.pipeline)
        started = time.perf_counter()
        size = search(ours, limit, device_of(limit, cuda))
        seconds = time.perf_counter() - started
        counted = passes.steps, passes.windows
        del ours, passes
        yield {"case": name.rpartition(",")[0] if cuda else name, "finder": finder, "found": size, "largest": truth, "share": size / truth,
               "steps": counted[0], "windows": counted[1], "seconds": seconds, "dies later": not trains(made(), size, limit, 20)}


def report(table):
    print(table.set_index(["case", "finder"]).round({"share": 3, "seconds": 1}).replace({"dies later": {True: "yes", False: "no"}}).to_string())
    groups = table.groupby("finder", sort=False)
    total = pd.DataFrame({"share, median": groups.share.median(), "share, lowest": groups.share.min(), "steps": groups.steps.sum(), "windows": groups.windows.sum(),
                          "seconds": groups.seconds.sum(), "dies later": groups["dies later"].sum()})
    print(f"\nall {table.case.nunique()} cases; steps, windows and seconds in all\n{total.round({'share, median': 3, 'share, lowest': 3, 'seconds': 1}).to_string()}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--only", nargs="*", default=list(CASES), choices=CASES)
    arguments = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    cuda = arguments.device == "cuda"
    if cuda:
        stand_for_t4()
    with tempfile.TemporaryDirectory() as folder:
        sd.simulate(f"{folder}/data", 64)
        recordings = sd.load_recordings(f"{folder}/data", cache_dir=f"{folder}/cache")
        with patch("sounddetect.tasks.pipeline.INITIAL_WINDOWS", 32):                   # what it finds does not matter here
            searches = finders()
            table = []
            for name in arguments.only:
                table.extend(rows(recordings, name, searches, cuda))
                print(f"{name}: {table[-1]['largest']} windows fit", file=sys.stderr)
            report(pd.DataFrame(table))
