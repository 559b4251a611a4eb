"""DCASE Task 2 from the folder of a set to its official files, which are byte for byte those of the baseline systems."""

import csv
import io
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import hmean
from sklearn.metrics import confusion_matrix, roc_auc_score
from support.commands import each

import sounddetect as sd
from sounddetect.evaluation.dcase import DcaseResults, evaluate_dcase

QUICK = "--set model.architecture=mahalanobis --set features.kind=log_mel".split()
EPS = np.finfo(float).eps

# The README of the baseline of 2023 to 2025 shows these lines.
PUBLISHED_SCORES = """\
section_00_source_test_normal_0000_car_A2_spd_28V_mic_1_noise_1.wav,0.3084583878517151
section_00_source_test_normal_0001_car_A2_spd_28V_mic_1_noise_1.wav,0.31289517879486084
section_00_source_test_normal_0002_car_A2_spd_28V_mic_1_noise_1.wav,0.4160425364971161
section_00_source_test_normal_0003_car_A2_spd_28V_mic_1_noise_1.wav,0.25631701946258545
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Both forms of a set, and a run for each machine type."""
    folder = tmp_path_factory.mktemp("place")
    for form in ("dcase", "dcase2020"):
        sd.simulate(folder / form, 160, form=form, sample_rate=16000, duration=0.25)
        (done,) = each([(folder, ["train", form, "--per", "machine_type", "--run", f"runs/{form}", *QUICK])])
        assert done.returncode == 0, done.stderr
    return folder


def official(rows):
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def by_baseline_of_2020(predictions):
    """`result.csv` as 01_test.py of the baseline of 2020 makes it."""
    rows = []
    for kind, of_type in predictions.groupby("machine_type"):
        rows += [[kind], ["id", "AUC", "pAUC"]]
        performance = []
        for unit, part in of_type.groupby("unit"):
            truth, score = part["is_anomaly"].astype(bool), part["anomaly_score"]
            values = [roc_auc_score(truth, score), roc_auc_score(truth, score, max_fpr=0.1)]
            rows.append([unit.split("_", 1)[1], *values])
            performance.append(values)
        rows += [["Average", *np.mean(performance, axis=0)], []]
    return rows


def by_baseline_of_2023(predictions):
    """`result.csv` as the baseline of 2023 to 2025 makes it, of several machine types one after the other."""
    header = ["section", "AUC (source)", "AUC (target)", "pAUC", "pAUC (source)", "pAUC (target)"]
    header += [f"{name} ({domain})" for name in ("precision", "recall", "F1 score") for domain in ("source", "target")]
    rows = []
    for kind, of_type in predictions.groupby("machine_type"):
        rows += [[kind], header]
        performance = []
        for unit, part in of_type.groupby("unit"):
            truth, score, alarm = (part[name].to_numpy(float) for name in ("is_anomaly", "anomaly_score", "is_alarm"))
            domain = part["domain"].to_numpy()
            ranked = [(domain == name) | (truth == 1) for name in ("source", "target")]
            aucs = [roc_auc_score(truth[one], score[one]) for one in ranked]
            own = [domain == name for name in ("source", "target")]
            p_aucs = [roc_auc_score(truth, score, max_fpr=0.1), *(roc_auc_score(truth[one], score[one], max_fpr=0.1) for one in own)]
            counts = [confusion_matrix(truth[one], alarm[one], labels=[0, 1]).ravel() for one in own]
            precisions = [tp / np.maximum(tp + fp, EPS) for _, fp, _, tp in counts]
            recalls = [tp / np.maximum(tp + fn, EPS) for _, _, fn, tp in counts]
            f1 = [2 * p * r / np.maximum(p + r, EPS) for p, r in zip(precisions, recalls)]
            values = [*aucs, *p_aucs, *precisions, *recalls, *f1]
            rows.append([unit.split("_", 1)[1], *values])
            performance.append(values)
        rows += [["arithmetic mean", *np.mean(performance, axis=0)], ["harmonic mean", *hmean(np.maximum(performance, EPS), axis=0)], []]
    return rows


def assert_same(text, rows):
    """The same cells, names and order; numbers up to their last digits."""
    lines = list(csv.reader(io.StringIO(text)))
    assert len(lines) == len(rows) and text.endswith("\n") and "\r" not in text
    for line, row in zip(lines, rows):
        assert len(line) == len(row)
        for cell, value in zip(line, row):
            assert cell == value if isinstance(value, str) else np.isclose(float(cell), value, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("form, reference", [("dcase", by_baseline_of_2023), ("dcase2020", by_baseline_of_2020)])
def test_two_commands_from_a_set_to_its_official_files(place, form, reference):
    (done,) = each([(place, f"evaluate runs/{form} --dcase results/{form}".split())])
    assert done.returncode == 0, done.stderr
    assert "official score" in done.stdout and "worst AUC" in done.stdout
    counts = [line.split()[2] for line in done.stdout.splitlines() if line.startswith("fan ") and "mean" not in line]
    assert counts and all(n.isdigit() for n in counts), done.stdout
    runs = [sd.Run(place / "runs" / form / kind) for kind in ("fan", "pump")]
    results = evaluate_dcase(runs)
    out = place / "results" / form
    assert_same((out / "result.csv").read_bytes().decode(), reference(results.predictions))
    names = sorted(path.name for path in out.iterdir())
    if form == "dcase":
        units = [f"{kind}_section_{number:02d}_test.csv" for kind in ("fan", "pump") for number in (0, 1)]
        assert names == sorted([f"{what}_{unit}" for what in ("anomaly_score", "decision_result") for unit in units] + ["result.csv", "results.csv"])
    else:
        units = [f"{kind}_id_{number:02d}.csv" for kind in ("fan", "pump") for number in (0, 2)]
        assert names == sorted([f"anomaly_score_{unit}" for unit in units] + ["result.csv", "results.csv"])
    for name in names[: len(units)]:
        files = [line.split(",")[0] for line in (out / name).read_text().splitlines()]
        labels = ["anomaly" in file for file in files]
        assert labels == sorted(labels) and files[: labels.index(True)] == sorted(files[: labels.index(True)])
    judged = {file.name for file in (place / form).rglob("test/*.wav")}
    assert set(results.predictions["file"]) == judged


def test_scores_and_decisions_are_written_as_published(tmp_path):
    rows = [line.split(",") for line in PUBLISHED_SCORES.splitlines()]
    predictions = pd.DataFrame(
        [
            {"key": file, "file": file, "machine_type": "ToyCar", "unit": "section_00", "domain": "source", "anomaly_score": float(score)}
            for file, score in rows[::-1]
        ]
    ).assign(is_alarm=False, is_anomaly=None)
    DcaseResults(predictions).save(tmp_path)
    assert (tmp_path / "anomaly_score_ToyCar_section_00_test.csv").read_bytes().decode() == PUBLISHED_SCORES
    decided = official([[file, 0] for file, _ in rows])
    assert (tmp_path / "decision_result_ToyCar_section_00_test.csv").read_bytes().decode() == decided
    assert sorted(path.name for path in tmp_path.iterdir())[0].startswith("anomaly_score") and not (tmp_path / "result.csv").exists()


@pytest.mark.parametrize("form", ["dcase", "dcase2020"])
def test_evaluation_set_is_scored_without_labels_and_judged_by_the_published_list(place, tmp_path, form):
    """The same recordings under names that say nothing: the list of the truth gives the same results."""
    lines = []
    for kind in ("fan", "pump"):
        lines.append(kind)
        (tmp_path / f"eval_data/{kind}/test").mkdir(parents=True)
        counts = {}
        files = sorted((place / form / kind / "test").iterdir())
        np.random.default_rng(0).shuffle(files)
        for file in files:
            unit = file.name[:10] if form == "dcase" else file.name.split("_", 1)[1][:5]
            counts[unit] = counts.get(unit, -1) + 1
            name = f"{unit}_{counts[unit]:04d}.wav" if form == "dcase" else f"{unit}_{counts[unit]:08d}.wav"
            shutil.copy(file, tmp_path / f"eval_data/{kind}/test/{name}")
            lines.append(f"{name},{file.name}" + (f",{int('anomaly' in file.name)}" if form == "dcase2020" else ""))
    (tmp_path / "eval_data_list.csv").write_text("\n".join(lines) + "\n")
    blind, judged = each(
        [
            (place, ["evaluate", f"runs/{form}", tmp_path / "eval_data", "--dcase", tmp_path / "blind"]),
            (place, ["evaluate", f"runs/{form}", tmp_path / "eval_data", "--dcase", tmp_path / "judged", "--truth", tmp_path / "eval_data_list.csv"]),
        ]
    )
    assert blind.returncode == judged.returncode == 0, blind.stderr + judged.stderr
    assert "none labelled" in blind.stdout and not (tmp_path / "blind/result.csv").exists()
    known = evaluate_dcase([sd.Run(place / "runs" / form / kind) for kind in ("fan", "pump")])
    known.save(tmp_path / "known")
    first, second = ((tmp_path / name / "result.csv").read_text() for name in ("judged", "known"))
    assert_same(first, [[cell if not cell[:1].isdigit() or len(cell) < 3 else float(cell) for cell in line] for line in csv.reader(io.StringIO(second))])


def test_mistakes_have_one_message(place, tmp_path):
    (tmp_path / "other.csv").write_text("gearbox\nsection_00_0001.wav,section_00_source_test_normal_0001.wav\n")
    sd.simulate(tmp_path / "plain", 4, form="wav", sample_rate=16000, duration=0.1)
    unknown, plain, alone, nowhere = each(
        [
            (place, ["evaluate", "runs/dcase", "dcase", "--dcase", "x", "--truth", tmp_path / "other.csv"]),
            (place, ["evaluate", "runs/dcase", tmp_path / "plain", "--dcase", "x"]),
            (place, "evaluate runs/dcase/fan --truth list.csv".split()),
            (place, "evaluate runs/nothing --dcase x".split()),
        ]
    )
    assert unknown.returncode == 1 and "names none of the" in unknown.stderr and "gearbox" in unknown.stderr
    assert plain.returncode == 1 and "machine type" in plain.stderr
    assert alone.returncode == 2 and "--dcase" in alone.stderr
    assert nowhere.returncode == 1 and "is no run" in nowhere.stderr
    for result in (unknown, plain, alone, nowhere):
        assert "Traceback" not in result.stderr
    assert not (place / "x").exists()


# --- a folder speaks of one evaluation ---------------------------------------------------------------------------------


class Killed(BaseException):
    """Nothing catches it, as nothing catches a signal."""


def scored(seed):
    rng = np.random.default_rng(seed)
    rows = [(kind, section, label, number) for kind in ("fan", "pump") for section in ("00", "01") for label in ("normal", "anomaly") for number in range(4)]
    return DcaseResults(pd.DataFrame([{
        "key": f"{kind}/test/{number}", "file": f"section_{section}_source_test_{label}_{number:04d}.wav", "machine_type": kind,
        "unit": f"section_{section}", "domain": "source", "anomaly_score": rng.normal(), "is_alarm": bool(number % 2), "is_anomaly": label == "anomaly",
    } for kind, section, label, number in rows]))  # fmt: skip


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix == ".csv"}


def test_killed_at_any_file_it_mixes_no_evaluations(tmp_path, monkeypatch):
    """Before each file gets its name."""
    whole = content(scored(1).save(tmp_path / "whole"))
    replace, n_files = Path.replace, len(whole)
    for n_done in range(n_files):
        folder = scored(0).save(tmp_path / str(n_done))
        (folder / "notes.txt").write_text("mine")
        calls = iter(range(n_files))

        def dies(path, target, calls=calls, n_done=n_done):
            if next(calls, n_files) >= n_done:
                raise Killed
            return replace(path, target)

        monkeypatch.setattr(Path, "replace", dies)
        with pytest.raises(Killed):
            scored(1).save(folder)
        monkeypatch.setattr(Path, "replace", replace)
        left = content(folder)
        assert len(left) == n_done and left.items() <= whole.items() and "result.csv" not in left
        assert content(scored(1).save(folder)) == whole and (folder / "notes.txt").exists()


def test_a_table_of_other_scores_goes(tmp_path):
    """Judged by a published truth once, and then by nobody."""
    scored(0).save(tmp_path)
    unknown = scored(1).predictions.assign(is_anomaly=None)
    DcaseResults(unknown).save(tmp_path)
    assert not {"result.csv", "results.csv"} & set(content(tmp_path)) and len(content(tmp_path)) == 8
