"""Nothing that somebody else has put where runs, recordings or detectors go is deleted or written over."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from support.commands import in_process as command
from support.tiny import SETTINGS, options, write_folder

import sounddetect as sd
from sounddetect.data.simulation import simulate
from sounddetect.evaluation.evaluation import Evaluation
from sounddetect.jobs import cross_validation, engines, fleets, training_runs, tuning
from sounddetect.runs.run_folder import create_run_folder
from sounddetect.tasks.protocol import task_of


@pytest.fixture
def machines(tmp_path, monkeypatch):
    """Recordings in a folder for each machine."""
    monkeypatch.chdir(tmp_path)
    for machine in ("fan", "pump"):
        write_folder(tmp_path / "data" / machine, n_files=3)
    (tmp_path / "data" / "list.csv").write_text("path,machine_type\nfan,fan\npump,pump\n")
    return tmp_path / "data"


def files_in(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_detector_for_each_machine_leaves_their_recordings_alone(machines):
    before = files_in(machines)
    code, _, err = command("train", "data", "--per", "machine_type", "--run", "data", *options())
    assert code == 1 and "data holds something else than the runs of a fleet: give another --run" in err, err
    assert files_in(machines) == before


def test_a_run_of_many_leaves_what_lies_in_its_place(machines, monkeypatch):
    before = files_in(machines)
    monkeypatch.setattr(training_runs, "train", lambda config, recordings, run, **options: create_run_folder(config, run))
    with pytest.raises(FileExistsError, match="fan exists already"):
        training_runs.trained(machines / "fan", sd.Config.load(None, SETTINGS), None)
    assert files_in(machines) == before


def test_recordings_are_written_beside_what_is_called_alike(machines):
    shutil.move(machines, "more.tmp")
    before = files_in(Path("more.tmp"))
    simulate("more", 2, n_machines=2, duration=0.1, sample_rate=16000)
    assert files_in(Path("more.tmp")) == before and len(sd.load_recordings("more", cache_dir="cache")) == 2


def ends(error=None):
    """A function that is stopped at once, or is refused."""

    def function(*arguments, **options):
        raise error or KeyboardInterrupt

    return function


def test_a_search_that_cannot_go_on_keeps_its_folder(machines, monkeypatch):
    """Its trials took long, whatever has become of the default."""
    recordings, config = sd.load_recordings("data", cache_dir="cache"), sd.Config.load(None, SETTINGS)
    monkeypatch.setattr(tuning, "_searched", ends())
    tuning.tune(config, recordings, trials=1, out="search")
    Path("search/trial-1").mkdir()
    monkeypatch.setattr(tuning, "_searched", ends(ValueError("refused")))
    for out, begun in (("search", True), ("new", False)):
        with pytest.raises(ValueError, match="refused"):
            tuning.tune(config, recordings, trials=1, out=out, resume=begun)
    assert Path("search/trial-1").is_dir() and Path("search/study.json").exists() and not Path("new").exists()


def test_folds_that_cannot_go_on_keep_their_folder(machines, monkeypatch):
    recordings, config = sd.load_recordings("data", cache_dir="cache"), sd.Config.load(None, SETTINGS)
    monkeypatch.setattr(engines, "trained", ends())
    cross_validation.cross_validate(config, recordings, folds=3, run="folds", progress=False)
    Path("folds/notes.txt").write_text("mine")
    monkeypatch.setattr(engines, "trained", ends(ValueError("refused")))
    for run in ("folds", "new"):
        with pytest.raises(ValueError, match="refused"):
            cross_validation.cross_validate(config, recordings, folds=3, run=run, progress=False)
    assert Path("folds/notes.txt").read_text() == "mine" and not Path("new").exists()


def test_an_evaluation_replaces_its_own_tables_alone(machines):
    recordings = sd.load_recordings("data", cache_dir="cache")
    kept = ["by_hand.csv", "example_mine.wav", "notes.png"]
    Path("judged").mkdir()
    for name in kept:
        Path("judged", name).write_text("mine")
    scores = task_of(sd.Config.load(None, SETTINGS).resolve(recordings)).scores
    Evaluation(recordings.table.assign(decision="NG", **dict.fromkeys(scores.columns, 0.9)), scores).save("judged")
    assert [Path("judged", name).read_text() for name in kept] == ["mine"] * 3 and Path("judged/metrics.json").exists()


def test_recordings_that_no_detector_learns_from_are_said(tmp_path, monkeypatch):
    """Their machine is not known."""
    waves = list(np.zeros((3, 800)))
    recordings = sd.Recordings.from_arrays(waves, 8000, machine_id=["a", "a", None])

    def refuses(*about):
        raise ValueError("too few")

    monkeypatch.setattr(engines, "trained", refuses)
    with pytest.warns(UserWarning, match="1 recordings do not say their machine_id, such as .*: no detector learns from them"):
        fleets.train_fleet(sd.Config.load(None, SETTINGS), recordings, "machine_id", tmp_path / "of some", progress=False)
