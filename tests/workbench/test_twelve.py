"""Twelve things that an engineer in a plant tries, by the widgets: each ends in a next step that works, in both languages."""

import html
import re
import shutil

import pytest
from support.plant import (
    JAPANESE,
    amiss,
    record,
    record_hum,
    record_seven,
    record_spreadsheets,
    train_theirs,
)
from support.tiny import RATE

from sounddetect.workbench import check_panel, plan_panel
from sounddetect.workbench.home_panel import pack_run
from sounddetect.workbench.workbench import Workbench


@pytest.fixture
def workbench(tmp_path, monkeypatch):
    """One that draws no picture and forecasts without making real steps, and waits for what is clicked."""
    monkeypatch.setattr(plan_panel, "measured_epoch_seconds", lambda *given: 1.0)
    monkeypatch.setattr(check_panel, "picture_bytes", lambda *given: b"")      # which takes longest, and is not asked for here
    workbench = Workbench("en", tmp_path / "work", blocking=True)
    workbench.plan.size.value, workbench.plan.window.value = "n", 0.05
    return workbench


def load(workbench, path, **fields):
    for name, value in {"source": "path", "path": str(path), **fields}.items():
        getattr(workbench.data, name).value = value
    workbench.data.load_button.click()


def plain(markup):
    return html.unescape(re.sub(r"<style.*?</style>|<[^>]+>", " ", markup, flags=re.S)).strip()


def shown(button):
    return button.layout.display != "none"


def look(workbench, *paths):
    """What is said, in both languages, holds nothing of the other and nothing that no mouse can do; the English messages."""
    found = {}
    for lang in ("ja", "en"):
        workbench.bench.words.switch(lang)
        found = {name: plain(panel.message.value) for name, panel in workbench.panels.items()}
        tables = {name: plain(workbench.panels[name].table.value) for name in ("check", "results", "try")}
        for name, said in [*found.items(), *((f"table of {name}", table) for name, table in tables.items())]:
            for path in (*paths, workbench.bench.folder):
                said = said.replace(str(path), "")
            assert not amiss(said, lang), f"{name}: {said}"
            assert bool(JAPANESE.search(said)) == (lang == "ja") or not said.strip() or name.startswith("table"), f"{name}: {said}"
    return found


def is_ready(workbench):
    """Whether the training can begin, and no step before it says otherwise."""
    wrong = [name for name in ("data", "check", "plan", "train") if "sd-error" in workbench.panels[name].message.value]
    return workbench.bench.plan is not None and not workbench.train.buttons["start"].disabled and not wrong


def test_only_good_ones(workbench, tmp_path):
    load(workbench, record(tmp_path / "pump" / "OK", 12).parent)
    assert is_ready(workbench) and "learns what is normal" in look(workbench)["plan"]


def test_three_files(workbench, tmp_path):
    record(tmp_path / "pump" / "OK", 2), record(tmp_path / "pump" / "NG", 1)
    load(workbench, tmp_path / "pump")
    said = look(workbench)
    assert not is_ready(workbench) and workbench.train.buttons["start"].disabled
    assert "fewer than three files" in said["data"] and "sd-warning" in workbench.data.message.value
    assert "record more" in said["train"], "what is grey says why"
    record(tmp_path / "pump" / "OK"), record(tmp_path / "pump" / "NG")
    load(workbench, tmp_path / "pump")
    assert is_ready(workbench) and not look(workbench)["train"]


def test_mp3(workbench, tmp_path):
    for name in ("OK", "NG"):
        record(tmp_path / "phone" / name, suffix=".mp3", rate=16000)
    load(workbench, tmp_path / "phone")
    assert ".mp3" in look(workbench, tmp_path)["data"] and workbench.train.buttons["start"].disabled
    assert shown(workbench.data.convert_button)
    workbench.data.convert_button.click()
    assert is_ready(workbench) and "WAV: 8" in look(workbench, tmp_path)["data"]


def test_ten_minute_files(workbench, tmp_path):
    for name in ("OK", "NG"):
        record(tmp_path / "pump" / name, 1, rate=200, seconds=600)
    workbench.plan.window.value = 1.0
    load(workbench, tmp_path / "pump")
    assert not is_ready(workbench) and "button below" in look(workbench)["data"]
    assert shown(workbench.data.cut_button) and workbench.data.cut_button.description == "Cut into clips of 10 s"
    workbench.data.cut_button.click()
    assert len(workbench.bench.recordings) == 120 and is_ready(workbench)
    assert "these very machines" in look(workbench)["data"]


def test_no_labels(workbench, tmp_path):
    load(workbench, record(tmp_path / "pump", 12))
    said = look(workbench)
    assert not is_ready(workbench) and shown(workbench.data.good_button)
    assert "what is good" in said["check"] and "all of these are of a good machine" in said["train"]
    workbench.data.good_button.click()
    assert is_ready(workbench) and "learns what is normal" in look(workbench)["plan"]


def test_csv_from_a_spreadsheet(workbench, tmp_path):
    load(workbench, record_spreadsheets(tmp_path / "pump"))
    said = look(workbench)["data"]
    assert is_ready(workbench) and "column Beschleunigung [g]" in said and f"{RATE} Hz, comes from Zeit [s]" in said


def test_a_typo(workbench, tmp_path):
    record(tmp_path / "pump" / "OK"), record(tmp_path / "pump" / "NG")
    load(workbench, tmp_path / "pmup")
    said = look(workbench, tmp_path)["data"]
    assert "pmup does not exist" in said and "“Simulated machine” in step 3" in said
    disabled = [workbench.check.run_button, workbench.plan.plan_button, workbench.train.buttons["start"]]
    assert all(button.disabled for button in disabled)
    for labels in ("gut", "gut=BETTER"):
        load(workbench, tmp_path / "pump", labels=labels)
        assert "“Other label names”" in look(workbench, tmp_path)["data"]
    load(workbench, tmp_path / "pump", labels="")
    assert is_ready(workbench)


def test_spaces_and_japanese_in_paths(workbench, tmp_path):
    folder = tmp_path / "録音 データ（2号機）"
    record(folder / "良品", bad=False), record(folder / "不良品", bad=True)
    load(workbench, f'"{folder}"')
    if not is_ready(workbench):
        assert shown(workbench.data.label_table.widget)
        workbench.data.label_table.use_button.click()
    assert is_ready(workbench) and sorted(set(workbench.bench.recordings.labels)) == ["NG", "OK"]
    workbench.bench.words.switch("ja")
    assert not amiss(plain(workbench.data.message.value), "ja")


def test_seven_classes(workbench, tmp_path):
    load(workbench, record_seven(tmp_path / "pump"))
    table = workbench.data.label_table
    assert not is_ready(workbench) and shown(table.widget) and table.use_button.disabled
    look(workbench)
    table.each_button.click()
    table.use_button.click()
    assert is_ready(workbench) and len(set(workbench.bench.recordings.labels)) == 7
    look(workbench)


def test_mixed_rates(workbench, tmp_path):
    record(tmp_path / "pump" / "OK"), record(tmp_path / "pump" / "NG", rate=16000)
    load(workbench, tmp_path / "pump")
    said = look(workbench)
    assert is_ready(workbench) and "8000 Hz, 16000 Hz" in said["data"]
    assert "rates are mixed: 4 at 16000 Hz" in plain(workbench.check.table.value)


def test_labels_swapped(workbench, tmp_path):
    record(tmp_path / "pump" / "OK", bad=True), record(tmp_path / "pump" / "NG", bad=False)
    load(workbench, tmp_path / "pump")
    assert shown(workbench.data.labels_button)
    workbench.data.labels_button.click()
    lists = workbench.data.label_table.lists
    lists["OK"].value, lists["NG"].value = "NG", "OK"
    workbench.data.label_table.use_button.click()
    look(workbench)
    recordings = workbench.bench.recordings
    meant = {key.split("/")[-2]: label for key, label in zip(recordings.table["key"], recordings.labels)}
    assert is_ready(workbench) and meant == {"OK": "NG", "NG": "OK"}


def test_another_machines_detector(workbench, tmp_path):
    """A ZIP file of a colleague, and recordings of a machine that its detector does not know."""
    archive = pack_run(train_theirs(tmp_path), tmp_path)
    shutil.rmtree(tmp_path / "theirs")                                    # it stays where it was recorded
    record_hum(tmp_path / "ours")
    workbench.results.elsewhere.value = str(archive)
    workbench.results.open_button.click()
    assert "Opened" in look(workbench, tmp_path)["results"]
    workbench.try_it.path.value = str(tmp_path / "ours")
    workbench.try_it.score_button.click()
    assert "unlike anything learnt: 10" in look(workbench, tmp_path)["try"] and shown(workbench.try_it.adapt_button)
    workbench.try_it.adapt_button.click()
    assert "Adapted by 10 good recordings" in look(workbench, tmp_path)["try"]
    workbench.try_it.score_button.click()
    look(workbench, tmp_path)
    assert "sd-good" in workbench.try_it.message.value and not shown(workbench.try_it.adapt_button)
    workbench.home.buttons["download"].click()
    assert "sd-good" in workbench.home.message.value
