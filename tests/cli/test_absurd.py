"""Settings, checkpoints and files that nobody should write: refused at once, by name, in bounded memory."""

import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from support.commands import ROOT, environment, last_line, program, run_in, start
from support.commands import in_process as command
from support.tiny import SETTINGS, options, write_folder

import sounddetect as sd
from sounddetect.data.collection import finding
from sounddetect.jobs.archives import Archive
from sounddetect.training.checkpoint import load_checkpoint

PATIENCE = 240  # seconds after which something is taken for hanging, also on a machine with much else to do


@pytest.fixture(scope="module")
def plant(tmp_path_factory):
    root = tmp_path_factory.mktemp("plant")
    write_folder(root / "data")
    own = {"data.path": str(root / "data"), "data.cache_dir": str(root / "cache"), "training.epochs": 2}
    sd.train(sd.Config.load(None, SETTINGS | own), run=root / "run", progress=False)
    return root


@pytest.fixture(autouse=True)
def bounded():
    """What hangs, or takes all memory, fails."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (12 << 30, limits[1]))
    before = signal.signal(signal.SIGALRM, lambda *about: pytest.fail("it hangs"))
    signal.alarm(PATIENCE)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
    resource.setrlimit(resource.RLIMIT_AS, limits)


def clear(code, err):
    return code == 1 and err.count("error:") == 1 and "not foreseen" not in err and "Traceback" not in err


SETTINGS_THAT_ARE_NONE = {
    "brackets": ("training.epochs=" + "[" * 3000, "training.epochs"),
    "400 digits": ("training.epochs=" + "9" * 400, "training.epochs"),
    "5000 digits": ("training.epochs=" + "9" * 5000, "training.epochs"),
    "1e18 epochs": ("training.epochs=1000000000000000000", "training.epochs"),
    "a million characters": ("seed=" + "x" * 100_000, "characters"),
    "aliases": ("training=&a [*a, *a]", "training"),
    "tags": ("training.epochs=!!python/object:os.system x", "training.epochs"),
    "a GPU of 20 digits": ("device=cuda:99999999999999999999", "device"),
    "a window of 1e9": ("model.input_length=1000000000", "model.input_length"),
    "a window of 1e7": ("model.input_length=10000000", "the longest recording has 800: lower it"),
    "a rate of 1e9": ("audio.sample_rate=1000000000", "audio.sample_rate"),
    "a prime rate": ("audio.sample_rate=9999991", "machine_0.json#0: 8000 Hz cannot be resampled"),
    "clips of 1e-9 s": ("data.clip_duration=1e-9", "data.clip_duration"),
    "a batch of 1e12": ("training.batch_size=1000000000000", "training.batch_size"),
}


@pytest.mark.parametrize("name", SETTINGS_THAT_ARE_NONE)
def test_absurd_settings_are_refused(plant, tmp_path, name):
    setting, says = SETTINGS_THAT_ARE_NONE[name]
    words = [*options(data__cache_dir=str(plant / "cache")), "--set", setting]
    code, _, err = command("train", plant / "data", "--run", tmp_path / "run", *words)
    assert clear(code, err) and says in err, err[-2000:]
    assert not (tmp_path / "run").exists()


def test_too_many_clips_are_refused(plant):
    recordings = sd.Recordings.from_arrays(torch.zeros(1, 4_000_000).numpy() + 0.1, 8000)
    with pytest.raises(ValueError, match="more than 2,000,000: raise data.clip_duration, or lower data.clip_overlap"):
        recordings.cut(1.0, 0.9999999)
    assert len(recordings.cut(1e300, 0.5)) == 1


def test_configurations_that_unfold(plant, tmp_path):
    bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{chr(98 + k)}: &{chr(98 + k)} [{', '.join(['*' + chr(97 + k)] * 9)}]\n" for k in range(12))
    for text, says in ((bomb, "by its aliases"), ("a: &a\n  b: *a\n", "by its aliases"), ("[" * 100_000, "not readable as YAML")):
        (tmp_path / "bomb.yaml").write_text(text)
        code, _, err = command("train", plant / "data", "--config", tmp_path / "bomb.yaml")
        assert clear(code, err) and "bomb.yaml" in err and says in err, err[-2000:]


def test_a_prime_rate_is_left_out_by_name(plant, tmp_path):
    soundfile.write(tmp_path / "prime.wav", torch.randn(2000).numpy(), 9_999_991)
    shutil.copy(plant / "data" / "machine_0.json", tmp_path)
    code, out, err = command("predict", plant / "run", tmp_path)
    assert code == 0 and len(out.splitlines()) == 5 and "prime.wav" in err, err


# --- pipes and devices -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["config.yaml", "data.json", "results.csv", "events.jsonl", "log.txt", "model/model.json",
                                  "model/model.safetensors"])
@pytest.mark.parametrize("device", [False, True])
def test_pipes_and_devices_in_place_of_files(plant, tmp_path, name, device):
    run = shutil.copytree(plant / "run", tmp_path / "run")
    (run / name).unlink()
    if device:
        (run / name).symlink_to("/dev/zero")
    else:
        os.mkfifo(run / name)
    for words in (["evaluate", run], ["runs", tmp_path]):
        code, _, err = command(*words)
        assert code == 0 or clear(code, err) and name in err, err


def test_a_manifest_that_names_its_own_folder(plant, tmp_path):
    soundfile.write(tmp_path / "a.wav", torch.randn(800).numpy() / 10, 8000)
    (tmp_path / "list.csv").write_text("path,label\n.,OK\n")
    assert sd.load_recordings(tmp_path, cache_dir=tmp_path.parent / "cache").labels == ["OK"]


@pytest.mark.parametrize("whole", ["/", "../" * 40, "/tmp/.."])
def test_a_manifest_that_names_a_whole_disk(tmp_path, monkeypatch, whole):
    """Which would be walked through to its end."""
    soundfile.write(tmp_path / "a.wav", torch.randn(800).numpy() / 10, 8000)
    (tmp_path / "list.csv").write_text(f"path,label\na.wav,OK\n{whole},OK\n")
    monkeypatch.setattr(finding, "files_below", lambda folder: pytest.fail(f"{folder} was walked through"))
    recordings = sd.load_recordings(tmp_path, cache_dir=tmp_path.parent / "cache")
    assert recordings.labels == ["OK"]
    assert [problem["problem"] for problem in recordings.problems] == [f"line 3: {whole} is a whole disk: name the folder that holds the recordings"]


# --- checkpoints -------------------------------------------------------------------------------------------------------


def without(content, *names):
    return {name: value for name, value in content.items() if name not in names}


def with_progress(content, **values):
    return content | {"progress": content["progress"] | values}


CHECKPOINTS = {
    **{f"no {name}": lambda content, name=name: without(content, name) for name in ("network", "optimizer", "scaler", "progress", "best", "config")},
    "numbers": lambda content: dict.fromkeys(content, 5),
    "a list": lambda content: [1],
    "other shapes": lambda content: content | {"network": {name: torch.zeros(3, 3) for name in content["network"]}},
    "other best shapes": lambda content: content | {"best": {name: torch.zeros(3, 3) for name in content["best"]}},
    "a weight less": lambda content: content | {"network": dict(list(content["network"].items())[1:])},
    "a weight more": lambda content: content | {"network": content["network"] | {"more": torch.zeros(1)}},
    "another configuration": lambda content: content | {"config": "]["},
    "an epoch in words": lambda content: with_progress(content, epoch="two"),
    "an epoch that was not": lambda content: with_progress(content, epoch=9),
    "steps that there are not": lambda content: with_progress(content, step=10**9),
    "of a newer version": lambda content: with_progress(content, mood=1),
    "no history": lambda content: content | {"progress": without(content["progress"], "history")},
    "objects": lambda content: {"network": print},
}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_checkpoints_of_another_form(plant, tmp_path, name):
    run = shutil.copytree(plant / "run", tmp_path / "run")
    shutil.rmtree(run / "model")
    for file in ("last.pt", "previous.pt"):
        torch.save(CHECKPOINTS[name](load_checkpoint(run / "weights" / file)), run / "weights" / file)
    code, _, err = command("resume", run)
    assert clear(code, err) and ".pt" in err and "weights_only" not in err and "trust" not in err, err


# --- signals, and streams that lead nowhere ----------------------------------------------------------------------------

LONG = ["--set", "training.epochs=100000", "--set", "training.early_stopping=null", "--set", "checkpoint.every_minutes=0.01"]


@pytest.fixture
def begun(plant, tmp_path):
    """A long training that has finished an epoch. Whatever becomes of the test, it does not go on behind it."""
    words = ["train", plant / "data", "--run", "run", *options(data__cache_dir=str(plant / "cache")), *LONG]
    with start(tmp_path, *program(), *words) as process:
        try:
            while process.poll() is None and not (tmp_path / "run" / "results.csv").exists():
                time.sleep(0.02)
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("numbers", [[signal.SIGHUP], [signal.SIGTERM] * 2, [signal.SIGINT, signal.SIGTERM], [signal.SIGTERM, signal.SIGINT]])
def test_however_it_is_stopped_it_names_the_run(begun, numbers):
    for number in numbers:
        begun.send_signal(number)
    out, err = begun.communicate()
    assert begun.returncode == 75 and last_line(out) == "run: run" and "sounddetect resume run" in err, (begun.returncode, out, err)


def test_a_full_stderr_ends_nothing(plant, tmp_path):
    words = ["train", str(plant / "data"), "--run", "run", *options(data__cache_dir=str(plant / "cache"))]
    with open("/dev/full", "w") as full:
        done = subprocess.run([*program(), *words], cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=full, text=True)
    assert done.returncode == 0 and last_line(done.stdout) == "run: run"


def test_a_full_stdout_is_an_error(plant):
    words = ["predict", str(plant / "run"), str(plant / "data")]
    with open("/dev/full", "w") as full:
        done = subprocess.run([*program(), *words], env=environment(), stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1 and "error: the output cannot be written: No space left" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr


def test_closed_streams_end_nothing(plant, tmp_path):
    """As a service manager may start it. No file that is opened may be taken for a missing stream."""
    words = ["predict", str(plant / "run"), str(plant / "data")]
    told = ["sh", "-c", '"$@" <&- >&- 2>&-', "sh", *program(), *words, "--out", "scores.csv"]
    assert subprocess.run(told, cwd=tmp_path, env=environment()).returncode == 0
    assert (tmp_path / "scores.csv").read_text() == command(*words)[1]


@pytest.mark.parametrize("changes", [{"LC_ALL": "C"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}])
def test_names_in_a_plain_locale(plant, tmp_path, changes):
    write_folder(tmp_path / "異音 é", n_files=2)
    told = [sys.executable, "-c", "from sounddetect.cli.cli import main; main()", "check", str(tmp_path / "異音 é"),
            *options(data__cache_dir=str(tmp_path / "cache"))]
    done = subprocess.run(told, cwd=ROOT, env=environment() | changes, capture_output=True)
    assert b"Traceback" not in done.stderr and b"codec" not in done.stderr, done.stderr.decode("utf-8", "replace")[-1500:]


def test_an_archive_in_a_plain_locale(plant, tmp_path):
    """Libraries in C and Parquet want the same name as Python, which here would take it for ASCII."""
    folder = tmp_path / "異音 é"
    folder.mkdir()
    soundfile.write(folder / "心.wav", np.zeros(2000), 8000)
    words = ["predict", plant / "run", folder, "--out", tmp_path / "庫"]
    done = run_in(tmp_path, "env", "LC_ALL=C", "PYTHONUTF8=0", *program(), *words)
    assert done.returncode == 0 and "1 recordings scored, 0 damaged" in done.stdout, done.stderr
    assert Archive(tmp_path / "庫").complete


def test_names_in_another_encoding(plant, tmp_path):
    """What a Shift-JIS archive brought along is read by what opens files alone, and refused in plain words by what writes names down."""
    folder = tmp_path / os.fsdecode("異音".encode("shift-jis"))
    folder.mkdir()
    soundfile.write(tmp_path / "a.wav", np.zeros(2000), 8000)
    shutil.copy(tmp_path / "a.wav", folder / "a.wav")
    assert command("predict", plant / "run", folder / "a.wav")[0] == 0
    shutil.copytree(plant / "run", folder / "run")
    sd.Detector.load(folder / "run").save(folder / "run" / "model")
    assert sd.Detector.load(folder / "run").save(folder / "run" / "model").exists()
    assert command("runs", tmp_path)[0] == 0
    for words in (["predict", plant / "run", folder, "--out", tmp_path / "scores"], ["predict", plant / "run", plant / "data", "--out", folder / "scores"]):
        code, _, err = command(*words)
        assert code == 1 and "is not in UTF-8: rename it" in err and "codec" not in err, err


ASKED_AGAIN = """
import atexit, os, signal, sys, threading
when, number = sys.argv.pop(1), int(sys.argv.pop(1))
def ask():
    os.kill(os.getpid(), number)
    signal.sigpending()                                      # a handler runs between two instructions
if when == "while its threads end":
    threading._register_atexit(ask)
else:
    atexit.register(ask)                                     # before main, so after what main has registered
from sounddetect.cli.cli import main
main()
"""


@pytest.mark.parametrize("when", ["while its threads end", "at the very end"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_asked_to_end_while_it_ends_it_keeps_its_code(tmp_path, when, number):
    done = run_in(tmp_path, sys.executable, "-c", ASKED_AGAIN, when, int(number), "evaluate", "nowhere")
    assert done.returncode == 1 and "nowhere is no run" in done.stderr and "Traceback" not in done.stderr, (done.returncode, done.stderr)


def test_memory_that_is_too_little_is_said(plant, monkeypatch):
    """Python's own MemoryError has no text."""

    def full(*about, **options):
        raise MemoryError

    monkeypatch.setattr(sd.Detector, "load", full)
    code, _, err = command("predict", plant / "run", plant / "data")
    assert clear(code, err) and "too little memory" in err, err


def test_a_full_disk_is_said_with_the_name_of_the_file(tmp_path, monkeypatch):
    """What `naming` has said of the file is not taken for an error of the output."""

    def full(self, content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    code, _, err = command("simulate", tmp_path / "data", "--recordings", "12")
    assert clear(code, err) and "machine_00.json cannot be written: No space left on device. Make room" in err, err


@pytest.mark.parametrize("form", ["new", "classes", "multilabel", "dcase", "wear", "noisy", "esc"])
@pytest.mark.parametrize("there", [False, True])
def test_a_disk_that_fills_up_gets_no_half_set(tmp_path, monkeypatch, form, there):
    """Half of a simulated set would be read as a whole one. What else lies in the folder stays."""
    folder, write, written = tmp_path / "data", Path.write_bytes, []
    if there:
        folder.mkdir()
        write(folder / "notes.txt", b"mine")

    def fills_up(self, content):
        written.append(self)
        if len(written) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(self, content)

    monkeypatch.setattr(Path, "write_bytes", fills_up)
    code, _, err = command("simulate", folder, "--recordings", "8", "--form", form)
    assert clear(code, err) and "cannot be written: No space left on device. Make room" in err and ".tmp" not in err, err
    assert [path.name for path in tmp_path.rglob("*")] == (["data", "notes.txt"] if there else [])
