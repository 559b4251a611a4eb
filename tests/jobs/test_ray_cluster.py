"""Fleets and searches on a cluster that runs already, at an address `ray://127.0.0.1:PORT`: the same results as without it."""

import contextlib
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from support.commands import environment, program, run_in
from support.tiny import RATE, options, tone_or_noise

from sounddetect.jobs.fleets import Fleet
from sounddetect.jobs.studies import Study

pytestmark = pytest.mark.skipif(
    "slow" not in os.environ.get("SOUNDDETECT_FLAGS", ""), reason="a cluster that runs beside takes a minute: make nightly"
)
RAY = [sys.executable, "-m", "ray.scripts.scripts"]


def free_ports(n):
    """Ports of this machine at which nobody listens; those of workers are far away from them."""
    with contextlib.ExitStack() as all_at_once:
        sockets = [all_at_once.enter_context(socket.socket()) for _ in range(n)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Address of a cluster of one machine, as `ray start --head` begins it; it was started in another folder than the jobs."""
    pytest.importorskip("ray")
    port, client = free_ports(2)
    words = ["start", "--head", "--block", "--node-ip-address=127.0.0.1", f"--port={port}", f"--ray-client-server-port={client}"]
    about = environment() | {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
    with open(tmp_path_factory.mktemp("ray") / "log.txt", "w+") as log:
        head = subprocess.Popen([*RAY, *words, "--num-cpus=1", "--include-dashboard=false"], env=about, stdout=log, stderr=log, cwd="/")
        while True:                                       # until it answers
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", client)).close()
                break
            assert head.poll() is None, Path(log.name).read_text()
        yield f"ray://127.0.0.1:{client}"
        head.terminate()
        head.wait()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Recordings of two machines, good ones and faults."""
    folder, rng = tmp_path_factory.mktemp("plant"), np.random.default_rng(0)
    for k in range(48):
        label = "NG" if k % 4 == 0 else "OK"
        path = folder / "data" / f"machine_{k % 2}" / label / f"{k:02d}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, tone_or_noise(label, rng), RATE)
    return folder


def both(folder, cluster, *words):
    """A command without Ray and by the cluster: the folders `local` and `ray`."""
    for out, engine in (("local", "local"), ("ray", cluster)):
        done = run_in(folder, *program(), *words, "--run" if words[0] == "train" else "--out", f"{words[0]}-{out}", "--engine", engine)
        assert done.returncode == 0, done.stderr
    return folder / f"{words[0]}-local", folder / f"{words[0]}-ray"


def test_a_fleet_is_the_same(folder, cluster):
    local, far = map(Fleet, both(folder, cluster, "train", "data", "--per", "condition", "--set", "data.condition=(machine_[0-9])/", *options()))
    assert sorted(far.runs) == sorted(local.runs) == ["machine_0", "machine_1"]
    for name, run in local.runs.items():
        assert (far.runs[name].path / "model/model.safetensors").read_bytes() == (run.path / "model/model.safetensors").read_bytes()
    pd.testing.assert_frame_equal(far.table.filter(regex="auc|^n$"), local.table.filter(regex="auc|^n$"), check_exact=True)


def test_a_search_by_one_worker_is_the_same(folder, cluster):
    """What is tried next follows from what is known by then: with one worker, as without."""
    (folder / "space.yaml").write_text("model.architecture: [mahalanobis, pca_residual]\nfeatures.n_mels: [16, 32]\n")
    own = ["--set", "task=anomaly", "--set", "features.n_fft=256", "--set", f"audio.sample_rate={RATE}", "--set", "preprocessing.filter_params.high_freq=3000"]
    words = ["tune", "data", "--space", "space.yaml", "--trials", "2", "--seeds", "1", *own]
    local, far = map(Study, both(folder, cluster, *words))
    for study in (local, far):
        assert study.finished and study.n_trained == 2
    pd.testing.assert_frame_equal(far.table.drop(columns="seconds", errors="ignore"), local.table.drop(columns="seconds", errors="ignore"), check_exact=True)
