"""Folders that were killed while they were made, disks that take nothing more, copies that cannot be written."""

import os
import resource
import shutil
import subprocess
import sys

import numpy as np
import pytest
from support.commands import ROOT, environment
from support.commands import in_process as command
from support.tiny import SETTINGS, write_folder

import sounddetect as sd
from sounddetect.files import replacing
from sounddetect.jobs.denoising import _write_audio
from sounddetect.jobs.training_runs import prepare_training

KILLED = """
import os, signal, sys
from pathlib import Path
n_written, words = int(sys.argv[1]), sys.argv[2:]
replace, seen = Path.replace, []
def counted(self, target):
    seen.append(target)
    if len(seen) > n_written:
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(self, target)
Path.replace = counted
from sounddetect.cli.cli import main
main(words)
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("plant") / "data")


def settings(data, **changes):
    own = {"data.path": str(data), "data.cache_dir": str(data.parent / "cache")}
    return sd.Config.load(None, SETTINGS | own | {name.replace("__", "."): value for name, value in changes.items()})


def words(data):
    given = {**SETTINGS, "data.cache_dir": str(data.parent / "cache")}
    return [data, *(word for key, value in given.items() for word in ("--set", f"{key}={value}"))]


@pytest.mark.parametrize("n_written", range(4))
def test_killed_while_its_folder_is_made(data, tmp_path, n_written):
    """Before its first file, between them, and after the last: what is there is a run, or is not in the way."""
    run = tmp_path / "run"
    told = [sys.executable, "-c", KILLED, str(n_written), "train", *map(str, words(data)), "--run", str(run)]
    done = subprocess.run(told, env=environment(), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
    code, out, err = command("resume", run) if run.exists() else command("train", *words(data), "--run", run)
    assert code == 0, err
    assert sd.Run(run).finished
    assert not list(run.rglob("*.tmp")), "drafts of the killed process"


def test_an_empty_folder_is_no_run_yet(data, tmp_path):
    """An older version made it, and was killed."""
    (tmp_path / "run").mkdir()
    assert command("train", *words(data), "--run", tmp_path / "run")[0] == 0
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    code, _, err = command("train", *words(data), "--run", tmp_path / "full")
    assert code == 1 and "exists already" in err and "resume" not in err
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["notes.txt"]


def obstructed(run, *names):
    """A listener that puts files where folders have to be, once the training is over."""

    def listen(event):
        if event["event"] == "stop":
            for name in names:
                shutil.rmtree(run / name, ignore_errors=True)
                (run / name).write_text("")

    return listen


def test_nothing_is_lost_when_a_checkpoint_is_there(data, tmp_path):
    run = tmp_path / "run"
    with pytest.raises(OSError, match="Nothing is lost") as said:
        sd.train(settings(data), run=run, progress=False, listeners=[obstructed(run, "model")])
    assert "weights" in os.listdir(run) and (run / "weights" / "last.pt").exists(), said
    (run / "model").unlink()
    assert sd.resume(run, progress=False).finished


def test_a_checkpoint_that_cannot_be_written_is_put_elsewhere(data, tmp_path):
    run = tmp_path / "run"
    training = prepare_training(settings(data), run=run, progress=False, listeners=[obstructed(run, "model")])
    (run / "weights").write_text("")
    with pytest.raises(OSError, match="lies in (.*?): when") as said:
        training.fit()
    assert "Nothing is lost" not in str(said.value)
    elsewhere = str(said.value).partition("lies in ")[2].partition(": when")[0]
    (run / "model").unlink()
    (run / "weights").unlink()
    shutil.move(elsewhere, run / "weights")                  # as the message says
    assert sd.resume(run, progress=False).finished


def test_a_copy_that_cannot_be_written_is_made_up_for(data, tmp_path):
    (tmp_path / "plant").write_text("")
    place = tmp_path / "plant" / "detector"
    config = settings(data, output__copy_detector_to=[str(place), str(tmp_path / "other")])
    with pytest.warns(UserWarning, match="the detector is finished.*could not be copied to .*plant.*sounddetect resume"):
        run = sd.train(config, run=tmp_path / "run", progress=False)
    assert run.finished and (tmp_path / "other" / "model.json").exists()
    code, _, err = command("resume", run.path)
    assert code == 1 and "could not be copied" in err and "finished after" not in err, err
    (tmp_path / "plant").unlink()
    assert command("resume", run.path)[0] == 0
    assert (place / "model.json").read_bytes() == (run.path / "model" / "model.json").read_bytes()
    code, _, err = command("resume", run.path)
    assert code == 1 and "is finished" in err


@pytest.fixture
def small_files():
    """No file of more than 1000 bytes can be written, as on a disk that is full."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_cleaned_sound_that_the_disk_does_not_take(tmp_path, small_files):
    """The sound library says "System error." and no more."""
    with pytest.raises(OSError, match=r"a\.wav cannot be written: .* Is there room"), replacing(tmp_path / "a.wav") as draft:
        _write_audio(draft, None, iter([np.zeros((1, 100_000), np.float32)]), 8000)
    assert not list(tmp_path.iterdir())


def test_recordings_that_the_disk_does_not_take_as_wav(tmp_path, small_files):
    recordings = sd.Recordings.from_arrays([np.zeros(100_000)], 8000, ["OK"])
    with pytest.raises(OSError, match=r"wav/OK/.*\.wav cannot be written: .* Is there room"):
        recordings.to_wav(tmp_path / "wav")
    assert not list(tmp_path.iterdir())
