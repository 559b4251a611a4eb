"""A reader of one's own takes part in everything: finding, caching, checking, training, and what is said when it is missing."""

import json

import numpy as np
import pytest
from support.tiny import RATE, SETTINGS, tone_or_noise

import sounddetect as sd
from sounddetect import parts


@pytest.fixture(autouse=True)
def no_reader_stays():
    known = dict(parts._parts)
    yield
    parts._parts.clear()
    parts._parts.update(known)


def read_logger(path):
    for entry in json.loads(path.read_text()):
        yield sd.Recording(np.float32(entry["x"]), RATE, entry["label"], group=entry["machine"])


def write_logger(path, seed=0, labels=("OK", "NG", "OK", "NG")):
    rng = np.random.default_rng(seed)
    rows = [{"x": tone_or_noise(label, rng).tolist(), "label": label.lower(), "machine": f"m{seed}"} for label in labels]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows))


@pytest.fixture
def plant(tmp_path):
    for seed in range(6):
        write_logger(tmp_path / "data" / f"{seed}.logger", seed)
    return tmp_path / "data"


@pytest.fixture
def config(tmp_path, plant):
    own = {"data.path": str(plant), "data.cache_dir": str(tmp_path / "cache"), "output.dir": str(tmp_path / "runs")}
    return sd.Config.load(None, SETTINGS | {"training.batch_size": 8} | own)


def test_files_of_an_own_reader_are_loaded_and_checked(plant, config):
    with pytest.raises(ValueError, match="no recordings found; looked for .json, .json.gz, .wav"):
        sd.load_recordings(plant, config)
    sd.register_reader("logger", ".logger", read_logger)
    recordings = sd.load_recordings(plant, config)
    assert recordings.table["key"][1] == "0.logger#1" and recordings.labels[:2] == ["OK", "NG"]
    assert recordings.table["group"].unique().tolist() == [f"m{k}" for k in range(6)]
    (plant / "broken.logger").write_text("[{}]")
    report = sd.check_recordings(plant, config)
    (finding,) = [finding for finding in report.findings if finding.severity == "error"]
    assert (finding.key, finding.problem) == ("broken.logger", "the reader logger failed: KeyError: 'x'")


def test_changed_reader_reads_again_and_the_same_does_not(plant, config):
    calls = []

    def read(path):
        calls.append(path.name)
        return np.ones(100), RATE

    sd.register_reader("logger", ".logger", read)
    for _ in range(2):
        assert sd.load_recordings(plant, config)[0].waveform[0] == 1
    assert len(calls) == 6

    def read(path):
        return np.full(100, 2.0), RATE

    sd.register_reader("logger", ".logger", read)
    assert sd.load_recordings(plant, config)[0].waveform[0] == 2


def test_own_reader_for_csv_leaves_manifests_what_they_are(tmp_path, config):
    folder = tmp_path / "csv"
    folder.mkdir()
    (folder / "a.csv").write_text("time;x\n0,0;1\n0,1;2\n")
    (folder / "b.csv").write_text("time;x\n0,0;3\n0,1;4\n")
    (folder / "list.csv").write_text("path,label\na.csv,OK\nb.csv,NG\n")

    def read_with_header(path):
        lines = path.read_text().replace(",", ".").splitlines()[1:]
        return np.array([float(line.split(";")[1]) for line in lines]), 10

    sd.register_reader("csv_with_header", ".csv", read_with_header)
    recordings = sd.load_recordings(folder, config)
    assert recordings.labels == ["OK", "NG"] and recordings[1].waveform.tolist() == [3, 4]


@pytest.mark.filterwarnings("ignore")
def test_run_says_which_reader_it_needs(config):
    sd.register_reader("logger", ".logger", read_logger)
    run = sd.train(config, progress=False)
    assert {source["reader"] for source in run.data["sources"]} == {"logger"}
    assert len(sd.evaluate(run, errors=0).predictions) == len(run.data["split"]["test"])
    del parts._parts["reader", "logger"]
    with pytest.raises(ValueError, match=r"there is no reader 'logger'.*register_reader\('logger', ...\)"):
        sd.evaluate(run)
