"""The commands as people run them: a process, its exit code, what it prints, what it leaves."""

import io
import json
import re
import signal
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import yaml
from support.commands import (
    ROOT,
    each,
    last_line,
    program,
    run_command,
    run_in,
    start,
    stop_by,
    weights,
)
from support.tiny import RATE, SETTINGS, options, tone_or_noise, write_folder, write_json

import sounddetect as sd
from sounddetect.data.sounds import KINDS
from sounddetect.training.trainer import MACHINE_COLUMNS

LONG = {
    "training__epochs": 25,
    "training__batch_size": 4,
    "training__lr_scheduler__T_max": 25,
    "training__early_stopping": None,
}
STOPPED = 75


def as_yaml(settings):
    nested = {}
    for key, value in settings.items():
        section = nested
        *path, last = key.split(".")
        for part in path:
            section = section.setdefault(part, {})
        section[last] = value
    return yaml.safe_dump(nested)


# --- one folder, four ways to the same weights -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder as people have it: recordings in data/, both configuration files."""
    folder = tmp_path_factory.mktemp("place")
    write_folder(folder / "data")
    settings = SETTINGS | {key.replace("__", "."): value for key, value in LONG.items()}
    for file in ("config.yaml", "config_colab.yaml"):
        (folder / file).write_text(as_yaml(settings), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def whole(place):
    """A training that nobody disturbed."""
    return run_in(place, *program(), "train", "data", *options(**LONG), "--run", "runs/whole")


@pytest.fixture(scope="module")
def interrupted(place):
    """The same, stopped by Ctrl-C and continued by `sounddetect resume`."""
    run = place / "runs/interrupted"
    stopped = stop_by(
        start(place, *program(), "train", "data", *options(**LONG), "--run", "runs/interrupted"), signal.SIGINT, run
    )
    epochs = len(pd.read_csv(run / "results.csv"))
    return stopped, epochs, run_command(place, "resume", "runs/interrupted")


@pytest.fixture(scope="module")
def terminated(place):
    """The same by the script for Colab, stopped by SIGTERM and continued by its --resume."""
    script, run = ROOT / "scripts/train_model_colab.py", place / "runs/terminated"
    stopped = stop_by(start(place, sys.executable, script, "--run", "runs/terminated"), signal.SIGTERM, run)
    return stopped, run_in(place, sys.executable, script, "--resume", "--run", "runs/terminated")


def test_train_ends_with_the_name_of_the_run(place, whole):
    assert whole.returncode == 0, whole.stderr
    assert last_line(whole.stdout) == "run: runs/whole"
    assert "Traceback" not in whole.stderr
    left = {
        path.relative_to(place / "runs/whole").as_posix()
        for path in (place / "runs/whole").rglob("*")
        if path.is_file()
    }
    assert left >= {
        "config.yaml",
        "data.json",
        "results.csv",
        "events.jsonl",
        "log.txt",
        "weights/last.pt",
        "weights/best.pt",
        "model/model.safetensors",
        "model/model.json",
        "evaluation/metrics.json",
        "evaluation/predictions.csv",
        "evaluation/confusion_matrix.png",
        "evaluation/training_curves.png",
    }
    assert not [path for path in left if path.endswith(".tmp")]


def test_train_learns(place, whole):
    """Noise against noise with a tone: who cannot tell that has learnt nothing."""
    assert json.loads((place / "runs/whole/evaluation/metrics.json").read_text())["auc"] == 1
    losses = pd.read_csv(place / "runs/whole/results.csv")["train_loss"]
    assert losses.iloc[-1] < losses.iloc[0] / 2


@pytest.mark.parametrize("how", ["interrupted", "terminated"])
def test_stopped_training_says_how_to_go_on(how, request):
    stopped = request.getfixturevalue(how)[0]
    assert stopped.returncode == STOPPED, stopped.stderr
    assert last_line(stopped.stdout) == f"run: runs/{how}"
    assert f"sounddetect resume runs/{how}" in stopped.stderr
    assert "Traceback" not in stopped.stderr


def test_training_was_stopped_before_its_end(interrupted):
    assert 1 <= interrupted[1] < LONG["training__epochs"]


@pytest.mark.parametrize("how", ["interrupted", "terminated"])
def test_resumed_training_equals_one_that_was_never_stopped(how, place, whole, request):
    resumed = request.getfixturevalue(how)[-1]
    assert resumed.returncode == 0, resumed.stderr
    assert last_line(resumed.stdout) == f"run: runs/{how}"
    assert weights(place / "runs" / how) == weights(place / "runs/whole")
    tables = [pd.read_csv(place / "runs" / name / "results.csv").drop(columns=MACHINE_COLUMNS, errors="ignore") for name in (how, "whole")]
    pd.testing.assert_frame_equal(*tables, check_exact=True)


def test_script_of_the_older_system_trains_the_same(place, whole):
    result = run_in(place, sys.executable, ROOT / "scripts/train_model.py", "--run", "runs/script")
    assert result.returncode == 0, result.stderr
    assert last_line(result.stdout) == "run: runs/script"
    assert weights(place / "runs/script") == weights(place / "runs/whole")
    predictions = [(place / "runs" / name / "evaluation/predictions.csv").read_bytes() for name in ("script", "whole")]
    assert predictions[0] == predictions[1]


# --- what it is good for ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def asked(place, whole):
    """What the finished run answers to several commands. Metrics as they were before stand in `before`."""
    sound = tone_or_noise("NG", np.random.default_rng(0), 2400, 2 * RATE)
    (place / "sound").mkdir()
    soundfile.write(place / "sound/stereo.wav", np.stack([sound, sound], 1), 2 * RATE)
    soundfile.write(place / "sound/mono.wav", sound, 2 * RATE)
    commands = {
        "resume": ["resume", "runs/whole"],
        "evaluate --json": ["evaluate", "runs/whole", "--json"],
        "predict sound": ["predict", "runs/whole", "sound"],
        "evaluate data": ["evaluate", "runs/whole", "data"],
    }
    before = json.loads((place / "runs/whole/evaluation/metrics.json").read_text())
    return {"before": before} | dict(zip(commands, each([(place, words) for words in commands.values()])))


def test_finished_training_is_not_resumed(asked):
    assert asked["resume"].returncode == 1 and "is finished" in asked["resume"].stderr


def test_evaluate_prints_what_training_wrote(asked):
    result = asked["evaluate --json"]
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == asked["before"]
    assert {"accuracy", "precision", "recall", "f1", "auc", "p_auc", "n", "threshold", "auc_ci"} <= set(asked["before"])


def test_evaluate_leaves_out_what_the_run_has_met(place, asked):
    result, split = asked["evaluate data"], json.loads((place / "runs/whole/data.json").read_text())["split"]
    met = len(split["train"]) + len(split["validation"])
    assert result.returncode == 0, result.stderr
    assert f"{met} of 24 recordings were left out" in result.stderr
    assert f"{len(split['test'])} recordings from" in result.stdout


def test_predict_takes_stereo_sound_of_another_rate(asked):
    result = asked["predict sound"]
    assert result.returncode == 0, result.stderr
    scores = pd.read_csv(io.StringIO(result.stdout)).set_index("key")
    assert scores["decision"].to_dict() == {"mono.wav": "NG", "stereo.wav": "NG"}
    assert scores["anomaly_score"]["stereo.wav"] == pytest.approx(scores["anomaly_score"]["mono.wav"], abs=1e-5)
    assert f"resampled to audio.sample_rate {RATE} Hz: 2 at {2 * RATE} Hz" in result.stderr


def test_predict_gives_the_scores_of_the_python_interface(place, whole, monkeypatch):
    monkeypatch.chdir(place)
    result = run_command(place, "predict", "runs/whole", "data/machine_3.json", "--out", "scores.csv")
    assert result.returncode == 0, result.stderr
    said = pd.read_csv(place / "scores.csv")
    assert said["key"].tolist() == [f"machine_3.json#{row}" for row in range(4)]
    assert said["label"].tolist() == ["OK", "NG", "OK", "NG"]
    assert said["decision"].tolist() == np.where(said["anomaly_score"] >= 0.5, "NG", "OK").tolist()
    assert said["anomaly_score"].std() > 0.01  # else equality says little
    detector = sd.Detector.load("runs/whole")
    recordings = sd.load_recordings("data/machine_3.json")
    rows = json.loads(Path("data/machine_3.json").read_text())["waveforms"]
    one_by_one = [detector.predict(np.array(row, np.float32), RATE)["anomaly_score"].item() for row in rows]
    for scores in (
        one_by_one,
        detector.predict("data/machine_3.json")["anomaly_score"],
        detector.predict(recordings)["anomaly_score"],
        detector.predict(recordings, batch_size=1)["anomaly_score"],
        sd.Detector.load("runs/whole/model").predict(recordings)["anomaly_score"],
    ):
        np.testing.assert_allclose(scores, said["anomaly_score"], atol=1e-5, rtol=0)


FAULTS = {"bearing": 2, "healthy": 4, "imbalance": 1, "rub": 1}


@pytest.mark.parametrize("form", ["new", "legacy", "wav", "classes", "dcase"])
def test_simulate_writes_what_can_be_read(command, tmp_path, form):
    result = command("simulate", "made", "--recordings", 8, "--seed", 1, "--form", form)
    assert result.returncode == 0, result.stderr
    recordings = sd.load_recordings(tmp_path / "made", classes="auto", cache_dir=tmp_path / ".cache")
    assert Counter(recordings.labels) == (FAULTS if form == "classes" else {"NG": 4, "OK": 4}) and not recordings.problems
    assert recordings.table["sample_rate"].eq(44100).all()


def test_simulated_sounds_are_read_with_their_classes_and_folds(command, tmp_path):
    result = command("simulate", "made", "--recordings", 20, "--form", "esc")
    assert result.returncode == 0, result.stderr
    recordings = sd.load_recordings(tmp_path / "made", classes="auto", cache_dir=tmp_path / ".cache")
    assert Counter(recordings.labels) == dict.fromkeys(KINDS, 2) and not recordings.problems
    assert Counter(recordings.table["fold"]) == {1: 10, 2: 10}


def test_simulate_writes_what_the_function_of_the_same_name_writes(command, tmp_path):
    """Faults too are as loud by default."""
    result = command("simulate", "made", "--recordings", 4)
    assert result.returncode == 0, result.stderr
    files = sd.simulate(tmp_path / "again", 4)
    assert [file.read_bytes() for file in files] == [(tmp_path / "made" / file.name).read_bytes() for file in files]


def test_rate_that_the_legacy_form_does_not_hold_is_said(tmp_path):
    """A wrong guess would shift every frequency, so nobody may be left in the dark."""
    sd.simulate(tmp_path / "made", 4, form="legacy", duration=0.1)
    with pytest.warns(UserWarning, match="16000"):
        recordings = sd.load_recordings(tmp_path / "made", sample_rate=16000, cache_dir=tmp_path / ".cache")
    assert recordings.table["sample_rate"].eq(16000).all()


def test_help_without_a_command_is_wrong_usage(command):
    result = command()
    assert result.returncode == 2 and "simulate" in result.stdout + result.stderr


# --- mistakes --------------------------------------------------------------------------------------------------------


def bad_row(folder):
    write_folder(folder / "data")
    path = folder / "data/machine_1.json"
    content = json.loads(path.read_text())
    content["waveforms"][2][7] = None
    path.write_text(json.dumps(content))


def text_only(folder):
    (folder / "data").mkdir()
    (folder / "data/notes.txt").write_text("no sound")


def damaged_only(folder):
    (folder / "data").mkdir()
    (folder / "data/a.json").write_text('{"waveforms": [[0.1, 0.2')


def with_foreign_label(folder):
    write_json(folder / "data/a.json", ["OK", "NG", "squeaky"])


def one_class(folder):
    write_folder(folder / "data", labels=["OK"] * 4)


def too_few(folder):
    write_json(folder / "data/a.json", ["OK", "OK", "NG", "NG"])


def empty(folder):
    (folder / "data").mkdir()


def good(folder):
    write_folder(folder / "data")


A_RUN = {"config.yaml": b"", "data.json": b""}


def good_and_a_run(folder):
    good(folder)
    (folder / "there").mkdir()
    for name, content in A_RUN.items():
        (folder / "there" / name).write_bytes(content)


def nothing(folder):
    pass


def good_and_a_file(folder):
    (folder / "there").write_text("a file")
    good(folder)


TRAIN = ["train", "data"]
# case: what is there, the command, exit code, pieces of the message in order
CASES = {
    "missing folder": (nothing, [*TRAIN], 1, ["data does not exist", "sounddetect simulate"]),
    "empty folder": (empty, [*TRAIN], 1, ["data", "no recordings found", ".json", ".wav"]),
    "only text files": (text_only, [*TRAIN], 1, ["data", "no recordings found", ".json", ".wav"]),
    "only damaged files": (damaged_only, [*TRAIN], 1, ["a.json", "the file ends"]),
    "only damaged files, to be skipped": (damaged_only, [*TRAIN, "--skip-bad"], 1, ["no recordings"]),
    "one class": (
        one_class,
        [*TRAIN, "--set", "task=classify"],
        1,
        ["two classes", "all 24 are OK"],
    ),
    "too few to split": (too_few, [*TRAIN], 1, ["comes from 2 groups", "3 or more of each class"]),
    "unknown label": (with_foreign_label, [*TRAIN], 1, ["a.json", "'squeaky'", "ok", "data.labels"]),
    "damaged row": (bad_row, [*TRAIN], 1, ["machine_1.json#2", "sample 7 is null", "--skip-bad"]),
    "unknown key": (good, [*TRAIN, "--set", "training.epoch=3"], 1, ["unknown key training.epoch", "training.epochs"]),
    "value out of range": (
        good,
        [*TRAIN, "--set", "training.epochs=0"],
        1,
        ["training.epochs", "greater than or equal to 1", "got 0"],
    ),
    "value of another kind": (
        good,
        [*TRAIN, "--set", "training.epochs=many"],
        1,
        ["training.epochs", "integer", "'many'"],
    ),
    "setting without a value": (good, [*TRAIN, "--set", "training.epochs"], 1, ["KEY=VALUE", "training.epochs"]),
    "window too short": (
        good,
        [*TRAIN, "--set", "model.input_length=100"],
        1,
        ["model.input_length", "128", "got 100"],
    ),
    "missing configuration": (
        good,
        [*TRAIN, "--config", "none.yaml"],
        1,
        ["no configuration at none.yaml", "--config FILE"],
    ),
    "folder of the run is there": (
        good_and_a_run,
        [*TRAIN, "--run", "there"],
        1,
        ["there exists already", "sounddetect resume there"],
    ),
    "file where the run should be": (good_and_a_file, [*TRAIN, "--run", "there"], 1, ["there exists already"]),
    "no such run": (nothing, ["evaluate", "runs/none"], 1, ["runs/none", "no run"]),
    "no such detector": (good, ["predict", "runs/none", "data"], 1, ["no detector at runs/none"]),
    "nothing to resume": (nothing, ["resume"], 1, ["no unfinished run"]),
    "unknown form": (nothing, ["simulate", "made", "--form", "mp3"], 1, ["form", "new", "mp3"]),
    "unknown option": (good, [*TRAIN, "--epochs", "3"], 2, ["--epochs"]),
    "unknown command": (nothing, ["fly"], 2, ["fly"]),
    "resume where nothing was begun": (good, [*TRAIN, "--resume"], 1, ["no unfinished run below"]),
    "GPU that is not there": (good, [*TRAIN, "--set", "device=cuda:99"], 1, ["cuda:99"]),
}


def prepared(case, folder):
    """Make the folder ready; folder and words of the command, its own options behind those that make it quick."""
    prepare, words, *_ = case
    prepare(folder)
    quick = options() if words[0] == "train" and "--resume" not in words else []
    return folder, [*words[:2], *quick, *words[2:]]


def short(folder):
    write_folder(folder / "data", n_samples=300)


def with_labels_by_chance(folder):
    """So no epoch is better by more than chance, and a training ends early."""
    rng = np.random.default_rng(0)
    for number in range(6):
        path = write_json(folder / f"data/{number}.json", ["OK"] * 6, seed=number)
        content = json.loads(path.read_text())
        path.write_text(json.dumps(content | {"labels": rng.permutation(["OK", "NG"] * 3).tolist()}))


def good_and_an_older_model(folder):
    good(folder)
    (folder / "best_model.pth").write_text("an older model")


SUCCESSES = {
    "skip": (bad_row, [*TRAIN, "--skip-bad", "--run", "run"]),
    "short": (short, [*TRAIN, "--run", "run"]),
    "early": (
        with_labels_by_chance,
        [
            *TRAIN,
            "--run",
            "run",
            *(
                word
                for setting in (
                    "training.epochs=60",
                    "training.learning_rate=0.01",
                    "training.early_stopping.patience=1",
                )
                for word in ("--set", setting)
            ),
        ],
    ),
    "older model": (good_and_an_older_model, [*TRAIN, "--run", "run", "--set", "data.model_save_path=best_model.pth"]),
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """All mistakes made."""
    return run_each(CASES, tmp_path_factory)


@pytest.fixture(scope="module")
def successes(tmp_path_factory):
    """What is unusual, but no mistake."""
    return run_each(SUCCESSES, tmp_path_factory)


def run_each(cases, tmp_path_factory):
    """Folder and outcome of each case, every command in a process of its own."""
    folders = {case: tmp_path_factory.mktemp("case") for case in cases}
    results = each([prepared(cases[case], folder) for case, folder in folders.items()])
    return {case: (folders[case], result) for case, result in zip(cases, results)}


@pytest.mark.parametrize("case", CASES)
def test_mistake_ends_in_one_clear_message(outcomes, case):
    _, _, code, pieces = CASES[case]
    _, result = outcomes[case]
    assert "Traceback" not in result.stderr, result.stderr[-500:]
    assert result.returncode == code, result.stderr
    assert re.search(".*?".join(map(re.escape, pieces)), result.stderr, re.S), result.stderr
    assert "run: " not in result.stdout
    if code == 1:
        assert result.stderr.count("error: ") == 1 and last_line(result.stderr) != "error:"


@pytest.mark.parametrize("case", [case for case in CASES if CASES[case][1][0] == "train"])
def test_mistake_leaves_no_run_behind(outcomes, case):
    """Else the next try, with the mistake mended, would find its folder taken."""
    folder, _ = outcomes[case]
    found = {path.name: path.read_bytes() for path in folder.glob("there/*")}
    assert not list(folder.glob("runs/*")) and found == (A_RUN if CASES[case][0] is good_and_a_run else {})


def test_debug_shows_where_a_mistake_comes_from(command):
    result = command("train", "nowhere", "--debug")
    assert (
        result.returncode == 1 and "Traceback" in result.stderr and "nowhere does not exist" in last_line(result.stderr)
    )


def test_damaged_rows_are_skipped_when_asked_and_listed(successes):
    folder, result = successes["skip"]
    assert result.returncode == 0, result.stderr
    assert "1 recordings or files cannot be used and were skipped" in result.stderr
    about = json.loads((folder / "run/data.json").read_text())
    assert [problem["key"] for problem in about["skipped"]] == ["machine_1.json#2"]
    assert "sample 7 is null" in about["skipped"][0]["problem"]
    used = sum(about["split"].values(), [])
    assert len(used) == 23 and "machine_1.json#2" not in used


def test_recordings_shorter_than_the_window_are_filled_up(successes, tmp_path):
    folder, result = successes["short"]
    assert result.returncode == 0, result.stderr
    scores = sd.Detector.load(folder / "run").predict(folder / "data", per="window")
    assert len(scores) == 24 and scores["anomaly_score"].between(0, 1).all()


def test_early_stopping_is_said_and_logged(successes):
    folder, result = successes["early"]
    assert result.returncode == 0, result.stderr
    assert "Early stopping triggered" in result.stderr
    assert "Early stopping triggered" in (folder / "run/log.txt").read_text()
    losses = pd.read_csv(folder / "run/results.csv")["val_loss"]
    assert len(losses) < 60 and losses.idxmin() == len(losses) - 2  # patience 1


def test_older_model_file_in_the_way_does_not_cost_the_training(successes):
    """`model_save_path` of an older file often names a model that is there: that must not end a training in nothing."""
    folder, result = successes["older model"]
    assert result.returncode == 0 and "Traceback" not in result.stderr
    assert (folder / "best_model.pth").read_text() == "an older model"
    assert (folder / "run/model/model.json").exists() and (folder / "best_model/model.json").exists()
