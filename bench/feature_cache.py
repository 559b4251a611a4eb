"""What keeping log-mel spectrograms would save of a training step, against computing them from the waveform in each step.

    python bench/feature_cache.py [--pairs 7] [--batch-size 16]

Windows of five seconds at 16 kHz and 64 bands, processor time, in interleaved pairs: a step of the trainer from waveforms, and the same step of the network from
spectrograms that lie in memory. What is kept can no longer be changed before the transform: no mixture, no noise, no other microphone, no other start of a window.
"""
import argparse
import time

import numpy as np
import pandas as pd
import torch

import sounddetect as sd
from sounddetect.tasks.protocol import task_of

WINDOWS = {"features.kind": "log_mel", "features.n_mels": 64, "audio.sample_rate": 16000, "model.input_length": 80000, "device": "cpu",
           "data.classes": [f"class {k}" for k in range(10)]}
NETWORKS = {f"{name}, {size}": {"model.architecture": name, "model.size": size} for name, size in (("2d_cnn", "n"), ("2d_cnn", "s"), ("resnet18", "n"))}


def seconds(step):
    """Processor time of one step."""
    started = time.process_time()
    step()
    return time.process_time() - started


def ratios(settings, pairs, batch_size):
    """Steps from waveforms over steps from spectrograms, one a pair."""
    task = task_of(sd.Config.load(None, WINDOWS | settings).resolve())
    pipeline, batch = task.build().train(), task.empty_batch(batch_size)
    batch |= {"waveform": torch.randn_like(batch["waveform"]), "weight": torch.ones(batch_size),
              "target": torch.eye(10)[torch.arange(batch_size) % 10]}
    features = pipeline.features_of(batch).detach()
    optimizer = torch.optim.Adam(pipeline.parameters())

    def step(output_of):
        optimizer.zero_grad(set_to_none=True)
        total, weight, _ = task.loss(output_of(), batch)
        (total / weight).backward()
        optimizer.step()

    ways = (lambda: pipeline.output_of(batch)), (lambda: pipeline.network(features))
    for way in ways:
        step(way)
    return [np.divide(*(seconds(lambda way=way: step(way)) for way in ways)) for _ in range(pairs)]


if __name__ == "__main__":
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("--pairs", type=int, default=7)
    parse.add_argument("--batch-size", type=int, default=16)
    asked = parse.parse_args()
    torch.manual_seed(0)
    rows = {name: np.quantile(ratios(settings, asked.pairs, asked.batch_size), (0.5, 0, 1)) for name, settings in NETWORKS.items()}
    print(pd.DataFrame.from_dict(rows, orient="index", columns=["median", "lowest", "highest"]).round(3).to_string())
