"""Two processes at one search: each configuration is trained once, the default too, and one of them judges."""

import subprocess
import sys

import numpy as np
import yaml
from support.commands import environment

from sounddetect.jobs.studies import Study

WORKER = """
import os, sys, time
from pathlib import Path
import numpy as np, optuna, sklearn.metrics, torch
import sounddetect as sd
from sounddetect.jobs import tuning
from sounddetect.jobs.spaces import Space
from sounddetect.plotting.style import Picture

dot = Picture(figsize=(0.1, 0.1)).to_png()          # nobody looks at these pictures
Picture.to_png = lambda self, dpi=None, **options: dot
torch.set_num_threads(1)


class Bands(torch.nn.Module):
    def __init__(self, n_outputs):
        super().__init__()
        self.last = torch.nn.Linear(16, n_outputs)

    def forward(self, windows, lengths=None):
        power = torch.fft.rfft(windows[:, 0]).abs().square()[:, 1:]
        return self.last((power.unflatten(1, (16, -1)).mean(-1) + 1e-6).log())


sd.register_network("bands", None, lambda settings, inputs, n_outputs: Bands(n_outputs), tasks=["classify"])
folder = Path(sys.argv[1])
rng = np.random.default_rng(0)
labels = ["NG" if k % 3 == 0 else "OK" for k in range(36)]
tone = np.sin(2 * np.pi * 1000 * np.arange(800) / 8000)
sound = [0.1 * rng.normal(size=800) + (label == "NG") * 0.1 * tone for label in labels]
recordings = sd.Recordings.from_arrays(sound, 8000, labels)
config = sd.Config.load(None, {
    "task": "classify", "model.architecture": "bands", "audio.sample_rate": 8000, "model.input_length": 512,
    "preprocessing.filter_params.high_freq": 3000, "training.epochs": 1, "output.dir": str(folder),
    "data.cache_dir": str(folder / "cache")})
own = os.fork()                                      # what is imported need not be imported twice
me, other = ("second", "first") if own == 0 else ("first", "second")
space = Space({"training.learning_rate": {"low": 1e-5, "high": 1e-2, "log": True}})


def until(path):
    while not path.exists():
        time.sleep(0.01)


def meet(event):
    '''At the first epoch, wait until the other process is about to search, too.'''
    (folder / me).touch()
    until(folder / other)


shared = dict(recordings=recordings, trials=3, seeds=1, out=folder / "study", progress=False,
              storage=f"sqlite:///{folder}/study.db", listeners=[meet])
if me == "first":
    study = sd.tune(config, space=space, **shared)
else:
    until(folder / "first")
    (folder / me).touch()
    study = sd.tune(resume=True, **shared)
(folder / f"{me}.txt").write_text(f"{study.finished} {study.n_trained}")
if own:
    os.waitpid(own, 0)
"""


def test_two_processes_share_a_search(tmp_path):
    told = [sys.executable, "-c", WORKER, str(tmp_path)]
    done = subprocess.run(told, env=environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert [(tmp_path / f"{name}.txt").read_text() for name in ("first", "second")] == ["True 3"] * 2, done.stderr
    study = Study(tmp_path / "study")
    table = study.table
    assert table["trial"].tolist() == list(range(4)) and (table["state"] == "complete").all()
    assert table["training.learning_rate"].nunique() == 4, "the same configuration was trained twice"
    runs = [study.path / ("default" if k == 0 else f"trial-{k}") for k in range(4)]
    rates = [yaml.safe_load((run / "config.yaml").read_text())["training"]["learning_rate"] for run in runs]
    np.testing.assert_allclose(rates, table["training.learning_rate"])
    assert all((run / "model/model.json").exists() for run in runs)
    assert study.comparison["n_tried"] == 3
