"""Jobs by Ray: the same results as without it, also when a machine or the command itself is killed in the middle.

One cluster for all: its head, and a machine beside it that is killed.
"""

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pandas as pd
import pytest
import soundfile
from support.commands import environment
from support.tiny import RATE, SETTINGS, tone_or_noise, write_folder

import sounddetect as sd
from sounddetect.jobs.archives import Archive, score_archive

pytestmark = pytest.mark.skipif(
    "slow" not in os.environ.get("SOUNDDETECT_FLAGS", ""), reason="a cluster whose machines are killed takes minutes: make nightly"
)
MACHINE = {"num_cpus": 1, "object_store_memory": 80 << 20, "node_ip_address": "127.0.0.1", "include_dashboard": False, "no_monitor": True, "include_log_monitor": False}


def until(true):
    """Wait for a state; a test that waits in vain is ended from outside."""
    while not true():
        time.sleep(0.05)


@pytest.fixture(scope="module")
def cluster():
    """Ray's own cluster on one host, and this process connected to it."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    before = signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment().items():
            patch.setenv(name, value)
        for name in ("RAY_USAGE_STATS_ENABLED", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "RAY_worker_niceness"):
            patch.setenv(name, "0")
        # Ray takes 127.0.0.1 for the address of this host in its network, where nothing listens
        patch.setattr("ray._private.services.resolve_ip_for_localhost", lambda host: host)
        here = Cluster()
        here.add_node(wait=False, **MACHINE)
        # Before there is another machine: a process connects to any at its address, and must not be connected to the one that is killed
        ray.init(here.address, _node_ip_address="127.0.0.1", log_to_driver=False)
        here.machine = here.add_node(wait=False, **MACHINE)
        until(lambda: ray.cluster_resources().get("CPU") == 2)
        yield here
        ray.shutdown()
        here.shutdown()
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="module")
def folds(tmp_path_factory):
    """A folder with recordings, and a cross-validation of them without Ray; where this process is."""
    folder = tmp_path_factory.mktemp("plant")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)                            # paths are relative, and workers were started elsewhere
        write_folder("data", 4)
        places = {"data.path": "data", "data.cache_dir": "cache", "output.dir": "runs"}
        config = sd.Config.load(None, SETTINGS | places | {"training.epochs": 3})
        yield sd.cross_validate(config, folds=2, run="runs/local", progress=False)


def test_folds_survive_the_death_of_a_machine(cluster, folds):
    import ray

    def kill():
        until(lambda: all((folds.path.parent / f"ray/fold-{k}/weights/last.pt").exists() for k in (1, 2)))
        cluster.remove_node(cluster.machine, allow_graceful=False)
        until(lambda: ray.cluster_resources().get("CPU") == 1)         # before, another process might be connected to it

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    done = sd.cross_validate(folds.config, folds=2, run="runs/ray", engine="ray", progress=False)
    killer.join()
    for name in ("folds.csv", "predictions.csv", "metrics.json"):
        assert (done.path / name).read_bytes() == (folds.path / name).read_bytes(), name
    assert sorted(path.name for path in done.path.glob("fold-*")) == ["fold-1", "fold-2"]
    assert [run.results["epoch"].tolist() for run in done.runs] == [[1, 2, 3]] * 2


DRIVER = """
import os, signal, sys
import ray
from ray._private import services

services.resolve_ip_for_localhost = lambda host: host
ray.init(sys.argv[1], _node_ip_address="127.0.0.1", log_to_driver=False)
import sounddetect as sd
from sounddetect.jobs import archives

noted, note = [], archives._note


def until_the_third(out, names):
    noted.append(names)
    note(out, names)
    if len(noted) == 3:
        os.kill(os.getpid(), signal.SIGKILL)        # its files are in place, and it is not counted


archives._note = until_the_third
archives.score_archive(sd.Detector.load("runs/local/fold-1"), "archive", "scores", n_files=2, engine="ray", progress=False)
"""


def test_an_archive_survives_the_death_of_its_command(cluster, folds):
    rng = np.random.default_rng(0)
    for k in range(24):
        path = f"archive/2026-03-0{k // 8 + 1}/{k:02d}.wav"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        soundfile.write(path, tone_or_noise("NG" if k % 5 == 0 else "OK", rng), RATE)
    with open("archive/2026-03-02/broken.wav", "wb") as file:
        file.write(b"RIFF, but no sound")
    detector = folds.runs[0].detector
    local = score_archive(detector, "archive", "local", n_files=2, progress=False)

    killed = subprocess.run([sys.executable, "-c", DRIVER, cluster.address], env=environment(), capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    half = Archive("scores")
    assert (half.complete, half.about["n_shards"]) == (False, 2)
    done = score_archive(detector, "archive", "scores", n_files=2, engine="ray", progress=False)
    assert done.complete and (done.about["n_scored"], done.about["n_damaged"]) == (24, 1)
    pd.testing.assert_frame_equal(done.read(), local.read(), check_exact=True)
    assert done.damaged["key"].tolist() == ["2026-03-02/broken.wav"]
    assert not list(done.path.glob("*.tmp")), "drafts are left"
