"""Scores that are not finite: named, left out or refused, and never a decision."""

import math
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from support.commands import in_process as command
from support.tiny import RATE, SETTINGS, tone_or_noise, write_folder

import sounddetect as sd
from sounddetect.config import Config
from sounddetect.tasks.pipeline import build_network
from sounddetect.tasks.results import ClassScores, OneScore


def untrained(classes=("OK", "NG"), **changes):
    config = Config().replace(SETTINGS | {"data.classes": list(classes)} | changes)
    torch.manual_seed(0)
    return sd.Detector(build_network(config, len(classes)), config, "cpu")


def too_large():
    """Each weight is finite, what they compute is not."""
    detector = untrained()
    with torch.no_grad():
        for weight in detector.network.parameters():
            weight.fill_(1e38)
    return detector


def blind_to(detector, loud):
    """The detector, answering NaN to windows louder than `loud`."""
    answers = detector.window_answers

    def window_answers(windows, lengths=None):
        said = answers(windows, lengths)
        said[windows.abs().amax((1, 2)) > loud] = math.nan
        return said

    detector.window_answers = window_answers
    return detector


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sounds")
    for name, gain in (("quiet", 0.1), ("loud", 1.0), ("also_quiet", 0.1)):
        soundfile.write(folder / f"{name}.wav", gain * tone_or_noise("NG", np.random.default_rng(1), 4000), RATE, "FLOAT")
    return folder


BROKEN = {
    "weights": too_large,
    "temperature": lambda: untrained(**{"inference.temperature": 1e-320}),
    "classes": lambda: blind_to(untrained(("a", "b", "c")), 0),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_no_score_no_decision(folder, broken):
    """The first recording is named, and there is no row."""
    detector = BROKEN[broken]()
    with pytest.raises(ValueError, match=r"also_quiet\.wav.* not finite"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        detector.predict(folder)
    with pytest.raises(ValueError, match="waveform.* not finite"):
        detector.predict(np.ones(600, np.float32) * 0.1, RATE)
    with pytest.raises(ValueError, match=r"also_quiet\.wav.* not finite"):
        detector.predict(sd.load_recordings(folder, cache_dir=folder.parent / "cache"))
    stream = detector.stream(RATE)
    with pytest.warns(UserWarning, match="from 0.00 s on: scores that are not finite"):
        windows = stream.feed(0.1 * np.ones(1500, np.float32)) + stream.finish()
    assert {(window.decision, window.scores, window.alarm) for window in windows} == {(None, (), False)}
    assert all(window.problem for window in windows) and all(math.isnan(window.anomaly_score) for window in windows)


def test_infinite_logits_are_no_certainty(folder):
    """A probability of exactly 1 that comes from an infinite logit."""
    detector = untrained()
    detector.window_answers = lambda windows, lengths=None: torch.tensor([[-math.inf, 0.0]]).repeat(len(windows), 1)
    with pytest.raises(ValueError, match="not finite"):
        detector.predict(np.ones(600, np.float32) * 0.1, RATE)


def test_the_others_are_scored(folder):
    detector = blind_to(untrained(), 0.5)
    with pytest.warns(UserWarning, match=r"loud\.wav was left out: .*not finite") as said:
        table = detector.predict(folder)
    assert table["key"].tolist() == ["also_quiet.wav", "quiet.wav"] and np.isfinite(table["anomaly_score"]).all()
    assert len(said) == 1
    with pytest.raises(ValueError, match=r"loud\.wav"):        # what is judged on fewer recordings is another judgement
        detector.predict(sd.load_recordings(folder, cache_dir=folder.parent / "cache"))
    with pytest.raises(ValueError, match=r"loud\.wav"):
        detector.answers(sd.load_recordings(folder, cache_dir=folder.parent / "cache"))


def test_scores_make_no_decision_of_nan():
    for form, values in ((OneScore(["OK", "NG"], 0.5), np.array([0.2, math.nan])),
                         (OneScore(["OK", "NG"], 3.0, False), np.array([math.inf, 1.0])),
                         (ClassScores(["a", "b", "c"]), np.array([[0.1, 0.8, 0.1], [math.nan, 0.5, 0.5]]))):
        with pytest.raises(ValueError, match="not finite"):
            form.decisions(values)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run whose saved detector computes what is not finite."""
    root = tmp_path_factory.mktemp("plant")
    write_folder(root / "data")
    config = Config.load(None, SETTINGS | {"data.path": str(root / "data"), "data.cache_dir": str(root / "cache"), "training.epochs": 2})
    run = sd.train(config, run=root / "run", progress=False)
    detector = run.detector
    with torch.no_grad():
        for weight in detector.network.parameters():
            weight.fill_(1e38)
    detector.save(run.path / "model")
    return run.path


@pytest.mark.parametrize("words", ["predict RUN SOUNDS", "watch RUN SOUNDS/quiet.wav", "evaluate RUN"])
def test_commands_end_with_an_error(run, folder, words):
    words = words.replace("RUN", str(run)).replace("SOUNDS", str(folder)).split()
    code, out, err = command(*words)
    assert code == 1 and "not finite" in err and "Traceback" not in err, (code, out, err)
    assert not {"OK", "NG"} & set(out.replace(",", " ").split()), out


def test_weights_that_are_not_finite_are_no_checkpoint(run, tmp_path):
    """A training whose losses were finite did not write them."""
    from sounddetect.training.checkpoint import CheckpointFolder, load_checkpoint, save_checkpoint

    last = Path(run) / "weights" / "last.pt"
    content = load_checkpoint(last)
    for part in ("network", "best"):
        damaged = dict(content)
        damaged[part] = {name: torch.full_like(value, math.nan) if value.is_floating_point() else value for name, value in content[part].items()}
        folder = tmp_path / part
        folder.mkdir()
        save_checkpoint(damaged, folder / "last.pt")
        with pytest.raises(ValueError, match=r"last\.pt.*not finite"):
            CheckpointFolder(folder).load()
        save_checkpoint(content, folder / "previous.pt")
        os.utime(folder / "previous.pt", (0, 0))
        with pytest.warns(UserWarning, match=r"last\.pt.*not finite.*going on from .*previous\.pt"):
            assert CheckpointFolder(folder).load() is not None


def test_a_training_that_has_diverged_goes_on_to_its_end(run, tmp_path):
    """Its losses say so, a warning has said so, and its best weights are from before."""
    from sounddetect.training.checkpoint import CheckpointFolder, load_checkpoint, save_checkpoint

    content = load_checkpoint(Path(run) / "weights" / "last.pt")
    content["network"] = {name: value * math.nan if value.is_floating_point() else value for name, value in content["network"].items()}
    content["progress"]["history"][-1]["train_loss"] = math.nan
    save_checkpoint(content, tmp_path / "last.pt")
    assert CheckpointFolder(tmp_path).load() is not None
