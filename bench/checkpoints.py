"""What checkpoints cost.

    python bench/checkpoints.py [--folder DIR] [--saves 25] [--epochs 6]

1. Milliseconds of one checkpoint with Adam's moments and the best weights in it, in turn with its parts: writing (`torch.save`), waiting for the disk
   (fsync), comparing check sums; then `Trainer.save`, which does all of it and renames. `best.pt` is written beside it after an epoch that is better
   than all before. From the medians: the fraction of an hour at the default interval, and the fraction of epochs of 2, 10 and 60 s that end with both.
2. The share in trainings as they are: seconds within `Trainer.save` of all seconds from the first step to the end.

`--folder` says on which disk.
"""
import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import sounddetect as sd
from sounddetect.training.checkpoint import _check_sums
from sounddetect.training.trainer import Trainer


def seconds_of(work):
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def wait_for_disk(path):
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def cost_of_one(recordings, size, folder, saves):
    """Medians over `saves` checkpoints."""
    config = sd.Config.load(None, {"device": "cpu", "model.size": size, "training.batch_size": 4}).resolve()
    trainer = Trainer(recordings, recordings[:4], config, weights=folder / size)
    trainer.pipeline.train()
    trainer._make_step(np.arange(4))                                     # from here on the optimizer has its moments
    trainer.best_state = {name: value.clone() for name, value in trainer.pipeline.learned().items()}
    trainer.save()
    path, probe = folder / size / "last.pt", folder / "probe.pt"
    content = trainer.checkpoints.folder.load()
    parts = {"write": lambda: torch.save(content, probe), "fsync": lambda: wait_for_disk(probe), "check sums": lambda: _check_sums(probe),
             "checkpoint": trainer.save, "best.pt": lambda: trainer.checkpoints.folder.save_best({"network": trainer.best_state})}
    times = pd.DataFrame([{name: 1000 * seconds_of(work) for name, work in parts.items()} for _ in range(saves)])
    row = {"size": size, "MB": path.stat().st_size / 1e6, **times.median(), "checkpoint, slowest": times.checkpoint.max()}
    per_hour = 60 / config.checkpoint.every_minutes
    row["% of an hour"] = 100 * per_hour * row["checkpoint"] / 3.6e6
    return row | {f"% of {length} s": 100 * (row["checkpoint"] + row["best.pt"]) / (1000 * length) for length in (2, 10, 60)}


def share_of_a_training(recordings, size, n_recordings, folder, epochs):
    """Seconds within `save` of a training of `epochs` short epochs."""
    config = sd.Config.load(None, {"device": "cpu", "model.size": size, "training.batch_size": 16, "training.epochs": epochs, "training.early_stopping": None}).resolve()
    begun = []
    trainer = Trainer(recordings[np.arange(n_recordings)], recordings[:16], config, [lambda event: event["event"] == "start" and begun.append(time.perf_counter())],
                      folder / f"training_{size}")
    inside, save = [], trainer.save
    trainer.save = lambda: inside.append(seconds_of(save))
    trainer.fit()
    whole = time.perf_counter() - begun[0]
    return {"size": size, "recordings": n_recordings, "s an epoch": whole / epochs, "saves": len(inside), "ms a save": 1000 * np.median(inside),
            "% in saves": 100 * sum(inside) / whole}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", default=None)
    parser.add_argument("--saves", type=int, default=25)
    parser.add_argument("--epochs", type=int, default=6)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        folder = Path(folder)
        sd.simulate(folder / "data", 800)
        recordings = sd.load_recordings(folder / "data", cache_dir=folder / "cache")
        print(f"{torch.get_num_threads()} threads; ms, medians of {arguments.saves}")
        print(pd.DataFrame([cost_of_one(recordings, size, folder, arguments.saves) for size in "sx"]).set_index("size").round(3).to_string())
        print(f"\ntrainings of {arguments.epochs} epochs")
        runs = [share_of_a_training(recordings, *run, folder, arguments.epochs) for run in (("s", 100), ("s", 800), ("x", 100))]
        print(pd.DataFrame(runs).set_index("size").round(2).to_string())
