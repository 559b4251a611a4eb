"""Names, labels and remarks that somebody else wrote are shown by terminals and spreadsheets, never obeyed."""

import csv
import json
import re

import numpy as np
import pytest
import soundfile
from support.tiny import RATE, SETTINGS, options, tone_or_noise

import sounddetect as sd
from sounddetect.cli.deploying_commands import _draw_explained
from sounddetect.runs.run_folder import read_table
from sounddetect.tasks.pipeline import build_network

FORGED = "fine\x1b[31m\nerror: the disk is broken"
LABELS = {"OK": FORGED, "NG": "=HYPERLINK(1)"}
MAPPED = {FORGED: "OK", LABELS["NG"]: "NG"}


@pytest.fixture(scope="module")
def plant(tmp_path_factory):
    """24 files whose names and manifest give orders, in 12 groups."""
    folder = tmp_path_factory.mktemp("plant")
    rng = np.random.default_rng(0)
    rows = []
    for number in range(24):
        label = ["OK", "NG"][number % 2]
        name = f"={number}.wav" if number % 3 else f"$a_{number}$\x1b]0;title\x07.wav"
        soundfile.write(folder / name, tone_or_noise(label, rng), RATE)
        rows.append([name, LABELS[label], f"@group{number // 4}\x1b[2J", FORGED])
    rows.append(["gone\x1b[31m.wav", "OK", "", ""])
    with open(folder / "manifest.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["path", "label", "group", "remark\x1b[0m"], *rows])
    return folder


def assert_obeys_nothing(result):
    for text in (result.stdout, result.stderr):
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", text), repr(text)
        assert not re.search(r"^error: the disk", text, re.M), text


def test_names_only_show(command, plant, tmp_path):
    """A forged message, an escape sequence and a cell that calculates stay text, from check to predictions; pictures with `$` are drawn."""
    checked = command("check", plant)
    assert_obeys_nothing(checked)
    assert r"\x1b[31m\nerror: the disk is broken" in checked.stdout

    labels = ["--set", f"data.labels={json.dumps(MAPPED)}"]
    trained = command("train", plant, "--run", tmp_path / "run", *options(), *labels, "--set", "data.skip_bad=true")
    assert_obeys_nothing(trained)
    assert trained.returncode == 0, trained.stdout + trained.stderr

    run = tmp_path / "run"
    for table in run.rglob("*.csv"):
        with open(table, encoding="utf-8", newline="") as file:
            cells = [cell for line in csv.reader(file) for cell in line]
        assert not [cell for cell in cells if re.match(r"[=@\t]", cell)], table
    keys = read_table(run / "evaluation" / "predictions.csv")["key"]
    assert all(key.startswith(("=", "$a_")) for key in keys) and any(key.startswith("=") for key in keys)
    assert (run / "evaluation" / "confusion_matrix.png").exists() and (run / "evaluation" / "report.html").exists()

    for words in (["predict", run, plant], ["trend", run, plant, "--out", tmp_path / "trend"], ["evaluate", run], ["report", run], ["runs", run.parent]):
        result = command(*words)
        assert_obeys_nothing(result)
        assert result.returncode == 0, result.stderr


def test_a_manifest_that_is_written_calculates_nothing_and_says_the_same(plant, tmp_path):
    recordings = sd.load_recordings(plant, labels=MAPPED, cache_dir=tmp_path / "cache")
    named = recordings.with_columns(label=[LABELS["NG"] if label == "NG" else "-20 dB" for label in recordings.labels], group=recordings.table["group"])
    named.to_wav(tmp_path / "wav")
    with open(tmp_path / "wav" / "manifest.csv", encoding="utf-8", newline="") as file:
        assert not [cell for line in csv.reader(file) for cell in line if re.match(r"[=@\t-]", cell)]
    back = sd.load_recordings(tmp_path / "wav", classes="auto", cache_dir=tmp_path / "cache")
    assert not back.problems and sorted(back.labels) == sorted(named.labels)
    assert sorted(back.table["group"]) == sorted(named.table["group"])


def test_what_lies_elsewhere_is_drawn_in_the_folder(tmp_path):
    """A manifest may name recordings beside its folder; pictures of them stay in the folder that was asked for."""
    config = sd.Config.load(None, SETTINGS).resolve()
    detector = sd.Detector(build_network(config, 2), config, "cpu")
    (tmp_path / "list").mkdir()
    for number in range(2):
        soundfile.write(tmp_path / f"{number}.wav", tone_or_noise("OK", np.random.default_rng(number)), RATE)
    (tmp_path / "list" / "manifest.csv").write_text(f"path,label\n../0.wav,OK\n{tmp_path}/1.wav,OK\n")
    pictures = tmp_path / "a" / "b" / "pictures"
    _draw_explained(detector, [tmp_path / "list"], detector.predict(tmp_path / "list"), pictures)
    assert len(list(pictures.rglob("*.png"))) == len(list(tmp_path.rglob("*.png"))) == 2


def test_a_class_name_rules_no_terminal(command, plant):
    refused = command("check", plant, "--set", 'data.classes=["a", "b\\u001b[31m"]')
    assert_obeys_nothing(refused)
    assert "data.classes needs names without control characters" in refused.stderr
