"""What folders and columns mean is said by mouse, and all later steps keep to it. Widgets are driven without a browser."""

import re

import numpy as np
import pandas as pd
import pytest
import soundfile

from sounddetect.workbench.check_panel import CheckPanel
from sounddetect.workbench.data_panel import DataPanel
from sounddetect.workbench.panels import Bench
from sounddetect.workbench.workbench import Workbench

RATE = 4000


@pytest.fixture
def workbench(tmp_path):
    workbench = Workbench("en", tmp_path / "work", blocking=True)
    workbench.plan.size.value, workbench.plan.epochs.value, workbench.plan.window.value = "n", 1, 0.1
    return workbench


def load(panel, path):
    panel.source.value, panel.path.value = "path", str(path)
    panel.load_button.click()
    return panel.message.value


def errors(workbench):
    return {name: panel.message.value for name, panel in workbench.panels.items() if "sd-error" in panel.message.value}


def test_ten_classes_from_their_folders_to_the_report(workbench, tmp_path):
    """Nobody types a name of a class; the list that is written names the same classes when it is loaded again."""
    rng, time = np.random.default_rng(0), np.arange(RATE // 4) / RATE
    names = [f"fault {letter}" for letter in "abcdefghij"]
    for number, name in enumerate(names):
        (tmp_path / "line" / name).mkdir(parents=True)
        for k in range(4):
            tone = np.sin(2 * np.pi * 150 * (number + 1) * time + rng.uniform(0, 6))
            soundfile.write(tmp_path / "line" / name / f"{k}.wav", 0.2 * tone + 0.02 * rng.standard_normal(len(time)), RATE)
    load(workbench.data, tmp_path / "line")
    table = workbench.data.label_table
    assert list(table.lists) == names
    assert {one.value for one in table.lists.values()} == {"NG"}, "a word for what is bad"
    table.each_button.click()
    table.lists["fault j"].value = ""
    assert "leave out: 4" in table.counts.value
    table.use_button.click()
    assert workbench.bench.recordings.table["label"].value_counts().to_dict() == dict.fromkeys(names[:9], 4)
    workbench.train.buttons["start"].click()
    assert workbench.bench.run is not None and workbench.bench.run.config.data.classes == names[:9], errors(workbench)
    assert set(workbench.bench.evaluation.predictions["decision"]) <= set(names[:9])
    workbench.try_it.score_button.click()
    for name in ("report", "download"):
        workbench.home.buttons[name].click()
    assert not errors(workbench)
    (written,) = (tmp_path / "work" / "labels").iterdir()
    assert "recordings: 36" in load(DataPanel(Bench("en", tmp_path / "other", blocking=True)), written)


@pytest.mark.parametrize("form", ["csv", "xlsx"])
def test_columns_are_shown_and_chosen(tmp_path, form):
    """The time gives the rate, an angle is left to people, and what is ticked is learnt from, each by itself."""
    rng = np.random.default_rng(0)
    for k in range(12):
        folder = tmp_path / "bench" / ("OK", "NG")[k % 2]
        folder.mkdir(parents=True, exist_ok=True)
        axes = rng.standard_normal((400, 2)) * (1, 1 + k % 2)
        table = pd.DataFrame({"time (ms)": np.arange(400) / 0.5, "angle": 0.9 * np.arange(400), "ax": axes[:, 0], "ay": axes[:, 1]})
        if form == "csv":
            table.to_csv(folder / f"{k}.csv", index=False, sep=";", decimal=",")
        else:
            table.to_excel(folder / f"{k}.xlsx", index=False)
    panel = DataPanel(Bench("en", tmp_path / "work", blocking=True))
    bench, columns, message = panel.bench, panel.columns, load(panel, tmp_path / "bench")
    assert "sd-error" in message and "tick the columns" in message and bench.recordings is None
    assert columns.taken == [] and columns.boxes["time (ms)"].disabled and "500 Hz" in columns.about.value
    columns.boxes["ax"].value = columns.boxes["ay"].value = True
    columns.use_button.click()
    table = bench.recordings.table
    assert set(table["sample_rate"]) == {500} and set(table["n_channels"]) == {2} and set(table["channel_names"]) == {"ax, ay"}
    assert "each by itself" in panel.message.value and bench.config.audio.channel == "all"
    assert "columns=['ax', 'ay']" in panel.code()
    columns.boxes["ax"].value = False
    columns.use_button.click()
    assert set(bench.recordings.table["n_channels"]) == {1} and "column ay" in panel.message.value
    assert "sd-good" in panel.message.value


def test_folders_above_the_machines_say_what_recordings_are(tmp_path):
    """Healthy/M1, Bearing/M4: the check asks for Healthy and Bearing, and missing labels are no green message."""
    rng = np.random.default_rng(0)
    for state in ("Healthy", "Bearing"):
        for machine in ("M1", "M4"):
            (tmp_path / "plant" / state / machine).mkdir(parents=True)
            for k in range(3):
                soundfile.write(tmp_path / "plant" / state / machine / f"{k}.wav", 0.1 * rng.standard_normal(800), RATE)
    for lang, said in (("en", "Recordings without a label: 12"), ("ja", "12 件の録音にラベルがありません")):
        bench = Bench(lang, tmp_path / "work", blocking=True)
        panel, check = DataPanel(bench), CheckPanel(bench)
        message = load(panel, tmp_path / "plant")
        assert "sd-warning" in message and said in message
        check.check()
        told = re.sub(r"<[^>]+>", "", check.table.value)
        assert "Bearing: OK or NG, Healthy: OK or NG" in told and "M1:" not in told, told
