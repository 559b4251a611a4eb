"""Speed of training on this machine, in interleaved pairs.

    python bench/training_speed.py [--pairs 7] [--batch-size 16] [--recordings 400] [--trainer-only] [--processor-time]
    python bench/training_speed.py --networks 2d_cnn resnet18 cnn8_avg_pool cnn4_max_pool [--recordings 64] [--processor-time]

1. The trainer against a bare PyTorch loop over tensors in memory, same model, same precision, same batches. The trainer does all that belongs to a
   training: it writes events and logs, looks for the stop file, forecasts the time; at the end of an epoch it validates (two recordings), saves a
   checkpoint and writes `results.csv`. First its steps alone, then epochs of `--recordings` with their end.
2. The network against the same network written with plain `Conv1d`, in float32 (what `auto` chooses on a CPU) and in bfloat16, first
   with the allocator as it is, then as the trainer sets it. The last row puts our default beside the twin without that setting; its two
   medians come from different pairs of the same run.

`--networks`: 1. alone, for networks on spectrograms of the smallest size and windows of five seconds at 16 kHz, which neither side changes at random.
With `--parts` in place of that, where the time of a step goes.

`--processor-time` counts seconds of the processor instead of the clock's, of all threads together: for a machine that others use too. Waiting for the disk is
not in it.
"""
import argparse
import copy
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn import functional as F

import sounddetect as sd
from sounddetect.machine.allocator import keep_freed_memory
from sounddetect.models.layers import ENERGY_FLOOR, FilterBank, SameConv
from sounddetect.runs.listeners import RunWriter
from sounddetect.tasks.pipeline import Pipeline, build_network, collate
from sounddetect.training.trainer import Trainer

clock = time.perf_counter


class PlainConv(nn.Module):
    """`SameConv` as people write it: `Conv1d` on `(batch, channel, time)`."""

    def __init__(self, layer: SameConv):
        super().__init__()
        conv = layer.conv
        self.conv = nn.Conv1d(conv.in_channels, conv.out_channels, conv.kernel_size[1], conv.stride[1], conv.padding[1])
        self.conv.weight.data, self.conv.bias.data = conv.weight.data[:, :, 0].contiguous(), conv.bias.data.clone()

    def forward(self, x):
        return self.conv(x[:, :, 0])[:, :, None]


class PlainBank(nn.Module):
    """`FilterBank` as people write it."""

    def __init__(self, bank: FilterBank):
        super().__init__()
        self.filters, self.pool = PlainConv(bank.filters), bank.pool

    def forward(self, waveform):
        x = self.filters(waveform[:, :, None])[:, :, 0]
        return torch.log(F.avg_pool1d(x.float() ** 2, self.pool) + ENERGY_FLOOR)[:, :, None]


def plain_twin(network):
    """The same network written with plain `Conv1d`."""
    twin = copy.deepcopy(network)
    twin.bank = PlainBank(twin.bank)
    for block in twin.deep_path.blocks:
        block.conv = PlainConv(block.conv)
    return twin


def train_steps(model, batches, dtype, optimizer):
    """Seconds for one step on each batch."""
    model.train()
    started = clock()
    for inputs, target in batches:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            output = model(inputs)
        F.cross_entropy(output.float(), target).backward()
        optimizer.step()
    return clock() - started


def times_in_turn(first, second, pairs):
    """Seconds of both `(pair, 2)`, run in turn, after one of each that does not count."""
    first(), second()
    return np.array([[first(), second()] if k % 2 else [second(), first()][::-1] for k in range(pairs)])


def summary(times):
    """Median, lowest and highest ratio of seconds of the second to the first, and the median seconds of both."""
    ratios = times[:, 1] / times[:, 0]
    return np.median(ratios), ratios.min(), ratios.max(), *np.median(times, 0)


SPECTROGRAM = {"features.kind": "log_mel", "model.size": "n", "model.input_length": 80000, "audio.sample_rate": 16000,
               **{f"training.augmentation.{key}": 0 for key in ("noise_factor", "time_shift_max", "eq_db", "mixup")}}


def simulated(folder, batch_size, n_recordings, settings):
    """Recordings, and the settings of a training on them that does not end by itself."""
    sd.simulate(f"{folder}/data", n_recordings, **({"duration": 5.0, "sample_rate": 16000} if settings else {}))
    given = {"device": "cpu", "training.batch_size": batch_size, "training.epochs": 10**6, "training.early_stopping": None, "session.max_hours": None}
    return sd.load_recordings(f"{folder}/data", cache_dir=f"{folder}/cache"), sd.Config.load(None, given | dict(settings)).resolve()


def parts_of_a_step(batch_size, n_recordings, settings, n_epochs=12):
    """Median seconds of each part of a step of the trainer, and of the front end as a bare loop calls it."""
    with tempfile.TemporaryDirectory() as folder:
        recordings, config = simulated(folder, batch_size, n_recordings, settings)
        trainer, rows = Trainer(recordings, recordings[:2], config, [RunWriter(folder)], f"{folder}/weights"), []
        step, pipeline = trainer.step, trainer.pipeline
        step.begin_epoch(1e-3)
        for epoch in range(n_epochs):
            for numbers in trainer.samples.steps(epoch, batch_size):
                at = [clock()]
                samples = trainer.samples.draw(numbers, epoch)
                at.append(clock())
                batch = collate(samples, step.device)
                at.append(clock())
                with torch.no_grad():
                    features = pipeline.features_of(batch)
                    at.append(clock())
                    pipeline.features(batch["waveform"])
                at.append(clock())
                loss, _, _ = step.task.loss(pipeline.network(features), batch)
                loss.backward()
                at.append(clock())
                step.change_weights()
                step.optimizer.zero_grad(set_to_none=True)
                rows.append(np.diff([*at, clock()]))
    names = "drawing", "stacking", "front end", "front end of a bare loop", "network and loss", "optimizer"
    return dict(zip(names, np.median(rows[len(rows) // n_epochs:], 0)))        # the first epoch warms up


def trainer_share(pairs, batch_size, n_recordings, settings=()):
    """How fast the trainer is as a fraction of a bare loop that has all windows in memory, with everything that belongs to a training: the rows of
    `interleaved` for the steps of an epoch alone, and for an epoch with its end."""
    with tempfile.TemporaryDirectory() as folder:
        recordings, config = simulated(folder, batch_size, n_recordings, settings)
        marks, steps = {}, []                                    # when an event came last; seconds of the steps of each epoch

        def mark(event):
            marks[event["event"]] = clock()

        trainer = Trainer(recordings, recordings[:2], config, [RunWriter(folder), mark], f"{folder}/weights")
        trainer.stops.file = Path(folder, "stop")

        def ours():
            trainer.epochs = trainer.progress.epoch              # one more
            trainer.fit()
            steps.append(marks["batch"] - marks["start"])
            return marks["epoch"] - marks["start"]

        windows = torch.stack([torch.from_numpy(recordings.read(i, 0, config.model.input_length)) for i in range(n_recordings)])
        target = torch.tensor([label == "NG" for label in recordings.labels]).long()
        bare = Pipeline(trainer.pipeline.front_end, build_network(config, 2))
        optimizer = torch.optim.Adam(bare.parameters(), 1e-3)
        parts = torch.arange(n_recordings).split(batch_size)
        whole = times_in_turn(ours, lambda: train_steps(bare, [(windows[p], target[p]) for p in parts], trainer.dtype, optimizer), pairs)
        return summary(np.stack([steps[1:], whole[:, 1]], 1)), summary(whole)


def layout_gain(pairs, batch_size, dtypes, n_batches=6, twin_of=plain_twin):
    """How much faster the network trains than its plain twin; `dtypes` are those of the network and of the twin."""
    torch.manual_seed(0)
    network = build_network(sd.Config(), 2)
    twin = twin_of(network)
    batches = [(torch.randn(batch_size, 1, 22050), torch.randint(0, 2, (batch_size,))) for _ in range(n_batches)]
    with torch.no_grad():
        difference = (network.eval()(batches[0][0]) - twin.eval()(batches[0][0])).abs().max().item()
    assert difference < 1e-4, f"the twin is another network: {difference}"
    runs = [lambda m=m, d=d, o=torch.optim.Adam(m.parameters()): train_steps(m, batches, d, o) for m, d in zip((network, twin), dtypes)]
    return summary(times_in_turn(*runs, pairs))


def against_twin(size):
    """Rows of the network beside its twin; sets the allocator on the way."""
    float32, half = torch.float32, torch.bfloat16
    rows = {"network / Conv1d twin, float32, allocator as it is": layout_gain(*size, (float32, float32))}
    plain_seconds = rows["network / Conv1d twin, float32, allocator as it is"][4]
    keep_freed_memory()
    rows |= {
        "network / Conv1d twin, float32": layout_gain(*size, (float32, float32)),
        "network / Conv1d twin, bfloat16": layout_gain(*size, (half, half)),
        "network in bfloat16 / itself in float32": layout_gain(*size, (half, float32), twin_of=copy.deepcopy),
    }
    ours = rows["network / Conv1d twin, float32"][3]
    rows["network as trained by default / Conv1d twin as people run it"] = (plain_seconds / ours, np.nan, np.nan, ours, plain_seconds)
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--recordings", type=int, default=400)
    parser.add_argument("--trainer-only", action="store_true")
    parser.add_argument("--networks", nargs="+", default=[])
    parser.add_argument("--parts", action="store_true")
    parser.add_argument("--processor-time", action="store_true")
    arguments = parser.parse_args()
    clock = time.process_time if arguments.processor_time else clock
    size = arguments.pairs, arguments.batch_size
    if arguments.parts:
        keep_freed_memory()
        of = {name: parts_of_a_step(arguments.batch_size, arguments.recordings, SPECTROGRAM | {"model.architecture": name}) for name in arguments.networks}
        print("milliseconds of a step", (1000 * pd.DataFrame(of).T).round(2).to_string(), sep="\n")
        raise SystemExit
    measured = {} if arguments.trainer_only or arguments.networks else against_twin(size)
    keep_freed_memory()                              # as the trainer does; from here on it holds for both sides
    for name in arguments.networks or [""]:
        of, settings = (f"{name}, ", SPECTROGRAM | {"model.architecture": name}) if name else ("", {})
        shares = trainer_share(*size, arguments.recordings, settings)
        measured |= dict(zip((f"{of}trainer, steps / bare loop", f"{of}trainer, epochs of {arguments.recordings} / bare loop"), shares))
    table = pd.DataFrame(measured, ["speed ratio (median)", "lowest", "highest", "seconds, ours", "seconds, peer"]).T
    print(f"{torch.get_num_threads()} threads, batch {arguments.batch_size}, {arguments.pairs} pairs; above 1: ours is faster")
    print(table.round(3).to_string())
