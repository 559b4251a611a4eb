"""Jobs by Ray: the same results as without it, also when a machine or the command itself is killed in the middle.

One cluster for all: a head without cores, and a machine beside it that tests kill and replace.
"""

import threading
import time

import pytest
from support.commands import environment
from support.tiny import SETTINGS, write_folder

import sounddetect as sd
from sounddetect.config import Config

MACHINE = {"object_store_memory": 80 << 20, "node_ip_address": "127.0.0.1", "include_dashboard": False}


def until(true):
    """Wait for a state; a test that waits in vain is ended from outside."""
    while not true():
        time.sleep(0.05)


class Machines:
    """Ray's own cluster on one host."""

    def __init__(self):
        from ray.cluster_utils import Cluster

        self.cluster = Cluster()
        self.cluster.add_node(wait=False, num_cpus=0, **MACHINE)
        self.add()

    def add(self):
        self.machine = self.cluster.add_node(wait=False, num_cpus=2, **MACHINE)

    def replace(self):
        """Kill the machine with all that works on it, and bring another one."""
        self.cluster.remove_node(self.machine, allow_graceful=False)
        self.add()


@pytest.fixture(scope="module")
def machines():
    ray = pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment().items():
            patch.setenv(name, value)
        for name in ("RAY_USAGE_STATS_ENABLED", "RAY_enable_metrics_collection", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"):
            patch.setenv(name, "0")
        # Ray takes 127.0.0.1 for the address of this host in its network, where nothing listens
        patch.setattr("ray._private.services.resolve_ip_for_localhost", lambda host: host)
        here = Machines()
        ray.init(here.cluster.address, _node_ip_address="127.0.0.1", log_to_driver=False)
        until(lambda: ray.cluster_resources().get("CPU"))
        yield here
        ray.shutdown()
        here.cluster.shutdown()


def written(path):
    return {name: (path / name).read_bytes() for name in ("folds.csv", "predictions.csv", "metrics.json")}


def test_folds_survive_the_death_of_a_machine(machines, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)                        # paths are relative, and workers were started elsewhere
    write_folder("data", 4)
    config = Config.load(None, SETTINGS | {"data.path": "data", "data.cache_dir": "cache", "output.dir": "runs", "training.epochs": 3})
    local = sd.cross_validate(config, folds=2, run="runs/local", progress=False)

    def kill():
        until(lambda: (tmp_path / "runs/ray/fold-1/weights/last.pt").exists())
        machines.replace()

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    done = sd.cross_validate(config, folds=2, run="runs/ray", engine="ray", progress=False)
    killer.join()
    assert written(done.path) == written(local.path)
    assert sorted(path.name for path in done.path.glob("fold-*")) == ["fold-1", "fold-2"]
    epochs = [run.results["epoch"].tolist() for run in done.runs]
    assert epochs == [[1, 2, 3]] * 2
