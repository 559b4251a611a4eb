"""A training that is killed, stopped or shared between processes ends as if nothing had happened."""

import json
import os
import random
import shutil
import signal
import socket
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
import torch
from safetensors.numpy import load_file
from support.commands import in_process, program, run_command, run_in, start, weights
from support.tiny import options, write_folder

from sounddetect.data.beats import simulate_beats
from sounddetect.training.trainer import MACHINE_COLUMNS

N_KILLS = int(os.environ.get("SOUNDDETECT_KILLS", 3))  # `make nightly` sets more
SETTINGS = options(
    training__epochs=40,
    training__batch_size=2,
    training__early_stopping=None,
    checkpoint__every_minutes=0.002,
)


def outcome(run):
    """What two equal trainings have in common: the detector, bit for bit, and the table without the machine's columns."""
    return weights(run), pd.read_csv(Path(run) / "results.csv").drop(columns=MACHINE_COLUMNS, errors="ignore").to_csv()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Recordings, and a training of them that nobody disturbed; how many seconds it took after its start."""
    folder = tmp_path_factory.mktemp("interruptions")
    write_folder(folder / "data")
    done = run_command(folder, "train", "data", "--run", "whole", *SETTINGS)
    assert done.returncode == 0, done.stderr
    times = [json.loads(line)["time"] for line in (folder / "whole" / "events.jsonl").read_text().splitlines()]
    return folder, (pd.Timestamp(times[-1]) - pd.Timestamp(times[0])).total_seconds()


def killed(folder, words, when, seconds=0):
    """Start a command and kill it some seconds after `when()` has become true; False when it was quicker."""
    process = start(folder, *program(), *words)
    while process.poll() is None and not when():
        time.sleep(0.002)
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL


def killed_after(folder, words, run, seconds):
    """The same, some seconds after the training of `run` has begun."""
    events = folder / run / "events.jsonl"
    before = events.stat().st_size if events.exists() else 0
    return killed(folder, words, lambda: events.exists() and events.stat().st_size != before, seconds)


@pytest.mark.parametrize("number", range(N_KILLS))
def test_killed_at_any_moment_it_ends_with_the_same_bits(whole, number):
    folder, seconds = whole
    draw = random.Random(number)
    run = f"killed_{number}"
    interrupted = killed_after(folder, ["train", "data", "--run", run, *SETTINGS], run, draw.uniform(0, seconds))
    if interrupted and draw.random() < 0.5 and not (folder / run / "model").exists():  # and once more on its way
        killed_after(folder, ["resume", run], run, draw.uniform(0, seconds / 2))
    if not (folder / run / "model").exists():
        done = run_command(folder, "resume", run)
        assert done.returncode == 0, done.stderr
    assert outcome(folder / run) == outcome(folder / "whole")
    assert not list((folder / run).rglob("*.tmp")) or interrupted, "drafts were left behind"


def test_killed_before_the_first_checkpoint_it_begins_again(whole):
    folder, _ = whole
    words = ["train", "data", "--run", "early", *SETTINGS, "--set", "checkpoint.every_minutes=100"]
    killed_after(folder, words, "early", 0)
    shutil.rmtree(folder / "early" / "weights", ignore_errors=True)
    done = run_command(folder, "resume", "early")
    assert done.returncode == 0 and "has no checkpoint yet" in done.stderr
    assert outcome(folder / "early") == outcome(folder / "whole")


def test_a_damaged_checkpoint_falls_back_to_the_one_before(whole):
    folder, _ = whole
    checkpoints = folder / "damaged" / "weights"
    assert killed(folder, ["train", "data", "--run", "damaged", *SETTINGS], (checkpoints / "previous.pt").exists)
    (checkpoints / "last.pt").write_bytes((checkpoints / "previous.pt").read_bytes()[:1000])
    done = run_command(folder, "resume", "damaged")
    assert done.returncode == 0 and "last.pt is damaged" in done.stderr and "previous.pt" in done.stderr
    assert outcome(folder / "damaged") == outcome(folder / "whole")


def test_a_stop_file_stops_it_from_outside(whole):
    folder, _ = whole
    process = start(folder, *program(), "train", "data", "--run", "outside", *SETTINGS, "--set", "training.epochs=5000")
    while not (folder / "outside" / "events.jsonl").exists():
        time.sleep(0.01)
    (folder / "outside" / "stop").write_text("")
    out, err = process.communicate(timeout=240)
    assert process.returncode == 75 and out.strip().splitlines()[-1] == "run: outside"
    assert "stopped; go on with: sounddetect resume outside" in err
    assert not (folder / "outside" / "stop").exists()


FOLDS = {
    "denoise": ["--set", "data.signal=data/signal", "--set", "data.noise=data/noise", "--set", "model.size=n", "--set", "model.depth=2",
                "--set", "model.input_length=512", "--set", "training.epochs=4", "--set", "denoise.rising_epochs=2",
                "--set", "denoise.tested_snr_db=[-5.0]", "--set", "clearml.enabled=false"],
    "log_mel": ["data", *options(features__kind="log_mel", features__n_mels=16, model__architecture="2d_cnn", training__epochs=12,
                                 training__augmentation__copies=2)],
}  # fmt: skip
OFTEN = ["--set", "training.batch_size=2", "--set", "training.early_stopping=null", "--set", "checkpoint.every_minutes=0.0005"]


@pytest.mark.parametrize("kind", list(FOLDS) if N_KILLS > 3 else ["denoise"])
def test_killed_in_a_fold_it_ends_with_the_same_bits(tmp_path, monkeypatch, kind):
    """Noise that is mixed in, and what is changed in copies, is drawn by epoch and index, not by what was drawn before."""
    monkeypatch.chdir(tmp_path)
    if kind == "denoise":
        simulate_beats("data", 8, duration=2)
    else:
        write_folder("data")
    words = ["cross-validate", *FOLDS[kind], *OFTEN, "--folds", "2"]
    assert killed(tmp_path, [*words, "--run", "killed"], Path("killed/fold-2/weights/last.pt").exists)
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the one that was killed
    try:
        for more in (["cross-validate", "--run", "killed"], [*words, "--run", "whole"]):
            code, _, err = in_process(*more)
            assert code == 0, err
    finally:
        torch.set_num_threads(n_threads)
    events = [json.loads(line)["event"] for line in Path("killed/fold-2/events.jsonl").read_text().splitlines()]
    assert events.count("start") == 2, "the fold that was killed went on"
    for fold in ("fold-1", "fold-2"):
        assert outcome(Path("killed", fold)) == outcome(Path("whole", fold))
    assert Path("killed/predictions.csv").read_bytes() == Path("whole/predictions.csv").read_bytes()


TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]


@pytest.mark.skipif(N_KILLS <= 3, reason="four processes that import PyTorch, some of them twice: make nightly")
@pytest.mark.parametrize("dies", ["process", "machine"])
def test_two_machines_of_which_one_dies(whole, dies):
    """With all processes begun again, equal bit for bit; with those of one machine alone, up to rounding."""
    folder, _ = whole
    short = [*SETTINGS, "--set", "training.epochs=12", "--set", "training.batch_size=4"]
    words = ["-m", "--", "sounddetect", "train", "data", *short, "--set", "model.size=null", "--set", "model.fully_connected=[{units: 8, dropout: 0}]"]
    if not (folder / "undisturbed").exists():
        done = run_in(folder, *TORCHRUN, "--standalone", "--nproc_per_node=2", *words, "--run", "undisturbed")
        assert done.returncode == 0, done.stderr
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    run = folder / f"elastic-{dies}"
    several = ["--nnodes=1:2", "--nproc_per_node=1", "--max-restarts=3", "--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{port}", "--rdzv-id=test"]
    if dies == "process":
        several[0] = "--nnodes=2"
    ends = [start(folder, *TORCHRUN, *several, f"--rdzv-conf=is_host={k}", *words, "--run", run.name) for k in (1, 0)]
    while not (run / "results.csv").exists():
        assert ends[0].poll() is None, ends[0].communicate()
        time.sleep(0.01)
    agent = psutil.Process(ends[1].pid)
    for process in [*agent.children(recursive=True), *([agent] if dies == "machine" else [])]:
        process.kill()
    out, err = ends[0].communicate()
    ends[1].communicate()
    assert ends[0].returncode == 0, err
    events = [json.loads(line)["event"] for line in (run / "events.jsonl").read_text().splitlines()]
    assert events.count("start") == 2, "the training was begun again"
    assert f"run: {run.name}" in out
    if dies == "process":
        assert outcome(run) == outcome(folder / "undisturbed")
    else:
        one, two = (pd.read_csv(path / "results.csv").drop(columns=MACHINE_COLUMNS, errors="ignore") for path in (run, folder / "undisturbed"))
        pd.testing.assert_frame_equal(one, two, rtol=1e-4)


def test_two_processes_train_as_one(whole):
    folder, _ = whole
    torchrun = [*TORCHRUN, "--standalone", "--nproc_per_node=2", "-m", "--", "sounddetect"]
    short = [*SETTINGS, "--set", "training.epochs=3", "--set", "training.batch_size=4"]
    plain = ["--set", "model.size=null", "--set", "model.fully_connected=[{units: 8, dropout: 0}]"]
    alone = run_command(folder, "train", "data", "--run", "alone", *short, *plain)
    both = run_in(folder, *torchrun, "train", "data", "--run", "both", *short, *plain)
    assert alone.returncode == 0 and both.returncode == 0, both.stderr
    assert both.stdout.count("run: both") == 1
    one, two = (pd.read_csv(folder / run / "results.csv").drop(columns=MACHINE_COLUMNS, errors="ignore") for run in ("alone", "both"))
    pd.testing.assert_frame_equal(one, two, rtol=1e-4)
    learnt = [load_file(folder / run / "model" / "model.safetensors") for run in ("alone", "both")]
    assert learnt[0].keys() == learnt[1].keys()
    for name in learnt[0]:
        np.testing.assert_allclose(learnt[1][name], learnt[0][name], rtol=1e-5, atol=1e-6, err_msg=name)
    events = [json.loads(line)["event"] for line in (folder / "both" / "events.jsonl").read_text().splitlines()]
    assert events.count("start") == events.count("stop") == 1 and events.count("epoch") == 3
    more = run_in(folder, *torchrun, "resume", "both", "--epochs", "4")
    assert more.returncode == 0, more.stderr
    assert pd.read_csv(folder / "both" / "results.csv")["epoch"].tolist() == [1, 2, 3, 4]
