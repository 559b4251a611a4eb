"""Removing noise by mouse: from two folders to files without noise, in the same panels as everything else."""

import io
import re
import runpy
import sys
import zipfile

import numpy as np
import pytest
import soundfile

import sounddetect as sd
from sounddetect.data.beats import simulate_beats
from sounddetect.workbench.data_panel import DataPanel
from sounddetect.workbench.panels import Bench


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("noise")
    simulate_beats(folder / "beats", 12, duration=6)
    return folder


@pytest.fixture(scope="module")
def bench(place):
    """A workbench in which two folders were pointed at, and everything was clicked once."""
    bench = sd.Workbench("en", place / "work", blocking=True)
    bench.data.source.value = "roles"
    for role in ("signal", "noise"):
        bench.data.roles.browser.go(place / "beats" / role)
        bench.data.roles.take(role)
    bench.data.roles.beats.value = True
    bench.plan.size.value, bench.plan.epochs.value = "n", 1
    bench.bench.settings["denoise.tested_snr_db"] = [-5.0]
    bench.data.load_button.click()
    bench.train.buttons["start"].click()
    return bench


def faults(bench):
    return [name for name, panel in bench.panels.items() if "sd-error" in panel.message.value]


def test_two_folders_lead_to_a_detector_that_is_judged(bench):
    assert faults(bench) == [] and bench.bench.run.finished
    assert bench.bench.run.config.task == "denoise" and bench.bench.run.config.denoise.beats
    assert "9 signal, 3 noise" in bench.data.message.value
    assert bench.bench.run.config.model.input_length == 5120 == 1000 * bench.plan.window.value
    results = bench.results
    assert "SI-SDR" in results.verdict.value and "F1" in results.table.value
    assert results.pictures["improvement"].value[:4] == b"\x89PNG"
    assert results.threshold.layout.display == results.errors.layout.display == "none"
    sounds = results.mixtures.player.sounds
    assert list(sounds) == ["noisy", "cleaned", "clean"] and len(set(sounds.values())) == 3
    assert all(sound[:4] == b"RIFF" for sound in sounds.values())
    assert bench.bench.updates.wait_for(results.mixtures._newest.job, 60)
    assert results.mixtures.picture.value[:4] == b"\x89PNG"


def test_what_is_cleaned_can_be_heard_and_taken_away(bench, place):
    tried, before = bench.try_it, (place / "beats/mixed/passenger_00.wav").read_bytes()
    assert tried.path.value == (place / "beats/mixed").as_posix()
    assert tried.score_button.description == "Remove the noise"
    tried.score_button.click()
    assert faults(bench) == [] and "power kept" in tried.table.value and tried.clean_button.layout.display == ""
    heard = {name: soundfile.read(io.BytesIO(wav))[0] for name, wav in tried.pair.sounds.items()}
    assert heard["noisy"].shape == heard["cleaned"].shape and not np.allclose(heard["noisy"], heard["cleaned"])
    assert "denoise_files" in tried.code()
    tried.clean_button.click()
    (archive,) = (place / "work/cleaned").glob("*.zip")
    assert zipfile.ZipFile(archive).namelist() == [f"cleaned_mixed/passenger_0{k}.wav" for k in range(2)]
    assert archive.name in tried.link.value and "sd-good" in tried.message.value
    assert tried.pair.sounds["cleaned"][:4] == b"RIFF" and "power kept" in tried.table.value
    assert (place / "beats/mixed/passenger_00.wav").read_bytes() == before


def test_the_archive_cleans_on_a_double_click(bench, place, monkeypatch):
    bench.home.buttons["download"].click()
    (archive,) = (place / "work/downloads").glob("*.zip")
    zipfile.ZipFile(archive).extractall(place / "home")
    home = place / "home" / archive.stem
    monkeypatch.setattr(sys, "argv", ["score.py", str(place / "beats/mixed")])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(home / "score.py"), run_name="__main__")
    assert not end.value.code
    assert sorted(path.name for path in (home / "cleaned").rglob("*.wav")) == ["passenger_00.wav", "passenger_01.wav"]
    assert "denoise" in (home / "data_sheet.html").read_text(encoding="utf-8")


def test_the_code_shown_trains_the_same(bench):
    assert "data.signal" in bench.data.code() and "load_roles(config)" in bench.data.code()
    names = {}
    exec(bench.data.code(), names)
    assert names["recordings"].table["label"].value_counts().to_dict() == {"signal": 9, "noise": 3}
    names["run"] = bench.bench.run
    exec("import sounddetect as sd\n" + bench.results.code(), names)
    assert len(names["evaluation"].predictions) == len(bench.bench.evaluation.predictions)


def test_the_other_language_leaves_no_english(bench):
    bench.lang.value = "ja"
    try:
        for shown in (bench.data.message.value, bench.results.verdict.value, bench.try_it.clean_button.description):
            assert re.search("[぀-ヿ一-鿿]", shown), shown
    finally:
        bench.lang.value = "en"


@pytest.mark.parametrize(("names", "roles"), [(("signal", "noise"), {"data.signal", "data.noise"}), (("clean", "noisy"), {"data.signal", "data.noisy"})])
def test_a_folder_that_says_what_it_holds_needs_no_question(tmp_path, place, names, roles):
    for name in names:
        (tmp_path / "given" / name).mkdir(parents=True)
        for k in range(3):
            samples, rate = soundfile.read(place / f"beats/signal/person_0{k}.wav")
            soundfile.write(tmp_path / "given" / name / f"{k}.wav", samples, rate)
    panel = DataPanel(Bench("en", tmp_path / "work", blocking=True))
    panel.source.value, panel.path.value = "path", str(tmp_path / "given")
    panel.load_button.click()
    assert roles <= set(panel.bench.settings) and "data.path" not in panel.bench.settings
    assert "sd-good" in panel.message.value and panel.bench.config.resolve(panel.bench.recordings).task == "denoise"


def test_what_is_missing_is_said(tmp_path, place):
    panel = DataPanel(Bench("en", tmp_path, blocking=True))
    panel.source.value = "roles"
    for given, message in (({}, "recordings without noise first"), ({"signal": "beats/signal"}, "noise alone, or noisy"),
                           ({"noise": "nowhere"}, "nowhere")):
        for role, path in given.items():
            panel.roles.paths[role].value = str(place / path)
        panel.load_button.click()
        assert message in panel.message.value and "sd-error" in panel.message.value
    assert panel.bench.recordings is None
