"""Run folders that were edited or cut off, and names that would speak to the terminal: one message that names the file."""

import contextlib
import io
import json
import shutil
from pathlib import Path

import pytest
from support.commands import in_process as command
from support.tiny import SETTINGS, write_folder, write_json

import sounddetect as sd
from sounddetect.cli.cli import main
from sounddetect.evaluation.evaluation import saved_evaluation
from sounddetect.jobs.archives import Archive
from sounddetect.jobs.fleets import Fleet
from sounddetect.jobs.registry import Registry
from sounddetect.jobs.studies import Study


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    root = tmp_path_factory.mktemp("plant")
    write_folder(root / "data")
    config = sd.Config.load(None, SETTINGS | {"data.path": str(root / "data"), "data.cache_dir": str(root / "cache"), "training.epochs": 2})
    run = sd.train(config, run=root / "run", progress=False)
    sd.evaluate(run)
    return run.path


@pytest.fixture
def run(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


def edit(run, change):
    said = json.loads((run / "data.json").read_text())
    change(said)
    (run / "data.json").write_text(json.dumps(said))


@pytest.mark.parametrize("other", ["train", "validation"])
def test_a_test_part_that_was_trained_on_is_refused(run, other):
    edit(run, lambda said: said["split"].update(test=said["split"][other]))
    code, out, err = command("evaluate", run)
    assert code == 1 and "data.json" in err and "test" in err and "auc" not in out, (out, err)
    with pytest.raises(ValueError, match=r"data\.json"):
        sd.Run(run).data


SHAPES = {
    "a list": lambda said: [],
    "no split": lambda said: {name: value for name, value in said.items() if name != "split"},
    "a split of texts": lambda said: said | {"split": {"train": "abc", "validation": [], "test": []}},
    "no test": lambda said: said | {"split": {"train": [], "validation": []}},
    "an unknown key": lambda said: said | {"split": said["split"] | {"test": ["nobody"]}},
    "numbers": lambda said: said | {"content_hash": 5},
    "paths of numbers": lambda said: said | {"paths": [1]},
    "no counts": lambda said: {name: value for name, value in said.items() if name != "counts"},
    "counts of a part less": lambda said: said | {"counts": {"train": {}, "validation": {}}},
    "counts of texts": lambda said: said | {"counts": said["counts"] | {"train": {"OK": "many"}}},
    "sources of numbers": lambda said: said | {"sources": [5]},
    "sources without a hash": lambda said: said | {"sources": [{"key": "a.wav", "path": None, "bytes": 1, "recordings": 1}]},
    "skipped of texts": lambda said: said | {"skipped": "none"},
    "labels of numbers": lambda said: said | {"labels": dict.fromkeys(said["labels"], 5)},
    "no paths": lambda said: {name: value for name, value in said.items() if name != "paths"},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_data_of_another_shape(run, shape):
    said = json.loads((run / "data.json").read_text())
    (run / "data.json").write_text(json.dumps(SHAPES[shape](said)))
    code, out, err = command("evaluate", run)
    assert code == 1 and "data.json" in err and "Traceback" not in err, (out, err)


ARCHIVE = {"format_version": 1, "address": "/data", "detector": "0f", "n_shards": 1, "last": "a.wav", "n_listed": 1, "n_scored": 1, "n_damaged": 0}
SEARCH = {"format_version": 1, "name": "search-1", "shared": False, "seed": 0, "objective": "validation loss", "space": {}}
FLEET = {"format_version": 1, "column": "machine_type", "runs": {}, "failed": {}}
VERSION = {"run": "run", "created": "today", "notes": "", "metrics": {}}
OPENED = {
    "archive.json": (ARCHIVE, lambda folder: Archive(folder).about),
    "study.json": (SEARCH, Study),
    "fleet.json": (FLEET, Fleet),
    "fan/1/version.json": (VERSION, lambda folder: Registry(folder).table),
}


@pytest.mark.parametrize("name", OPENED)
def test_what_many_runs_are_kept_in_names_the_file_and_the_value(tmp_path, name):
    content, opened = OPENED[name]
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)

    def write(said):
        (tmp_path / name).write_text(json.dumps(said))

    write(content)
    opened(tmp_path)
    for key in content:
        wrong = [None, [[]], {"a": []}, -1, 2**70] + ([] if isinstance(content[key], str) else ["many"])
        for said in [content | {key: value} for value in wrong if type(value) is not type(content[key]) or isinstance(value, int)]:
            write(said)
            with pytest.raises(ValueError, match=rf"{Path(name).name} is damaged: {key} needs to be"):
                opened(tmp_path)
        write({other: value for other, value in content.items() if other != key})
        with pytest.raises(ValueError, match=rf"{Path(name).name} is damaged: {key} is missing"):
            opened(tmp_path)


def cut(path):
    content = path.read_bytes().rstrip()
    path.write_bytes(content[: content.rindex(b",") - 1])


@pytest.mark.parametrize("name", ["results.csv", "data.json", "evaluation/metrics.json", "evaluation/predictions.csv"])
@pytest.mark.parametrize("content", ["cut", "nothing", "no text"])
def test_files_that_are_cut_off_are_named(run, name, content):
    if content == "cut":
        cut(run / name)
    else:
        (run / name).write_bytes(b"" if content == "nothing" else b"\xff\xfe\x00" * 50)

    def everything():
        opened = sd.Run(run)
        repr(opened), opened.results, opened.data, opened.metrics, saved_evaluation(opened)

    with pytest.raises(ValueError, match=name.replace(".", r"\.")):
        everything()


@pytest.mark.parametrize("name", ["events.jsonl", "tracking.json"])
def test_what_an_evaluation_can_do_without(run, name):
    """The evaluation is there; what could not be read is said, or left out."""
    if not (run / name).exists():
        (run / name).write_text('{"clearml": {"task": "a", "x"')
    else:
        cut(run / name)
    code, out, err = command("evaluate", run)
    assert (code == 0 and "auc" in out) or (code == 1 and name in err), (out, err)
    assert "Traceback" not in err, err


def test_a_run_whose_settings_are_no_text_is_listed(run):
    (run / "config.yaml").write_bytes(b"\xff\xfe" + (run / "config.yaml").read_bytes())
    code, out, err = command("runs", run.parent)
    assert code == 0 and "run" in out and not err, (out, err)


def test_metrics_that_do_not_say_what_was_judged(run):
    file = run / "evaluation" / "metrics.json"
    said = json.loads(file.read_text())
    del said["judged_on"]
    file.write_text(json.dumps(said))
    with pytest.raises(ValueError, match=r"metrics\.json.*sounddetect evaluate"):
        saved_evaluation(sd.Run(run))


@pytest.mark.parametrize("change", [lambda lines: [], lambda lines: lines[:1], lambda lines: [*lines[:2], lines[2] + ",1,2", *lines[3:]]])
def test_predictions_that_are_no_table_are_named_once(finished, run, change):
    file = run / "evaluation" / "predictions.csv"
    file.write_text("\n".join(change(file.read_text().splitlines())))
    code, _, err = command("compare", finished, run)
    assert code == 1 and err.count("error:") == 1 and "predictions.csv" in err, err


def test_predictions_that_do_not_say_which_recordings_they_are_of(run):
    file = run / "evaluation" / "predictions.csv"
    file.write_text(file.read_text().replace("content_hash", "content_hasg", 1))
    assert saved_evaluation(sd.Run(run)).recordings is None


def test_drafts_of_an_evaluation_that_was_killed_are_removed(run):
    draft = run / "evaluation" / "metrics.json.2147483646.tmp"  # of a process that is not there
    draft.write_text("half")
    assert command("report", run)[0] == 0 and not draft.exists()


# --- what reaches the terminal -----------------------------------------------------------------------------------------


@pytest.fixture
def hostile(tmp_path):
    """Names that clear the screen, and that write a line of their own."""
    data = tmp_path / "data"
    for name in ("\x1b[2Jclear", "a\nerror: forged", "b\rwarning: forged", "\x9b31mred"):
        write_json(data / f"{name}.json", ["OK", "NG"])
        (data / f"{name}-broken.json").write_text("{")
    return data


def test_names_do_not_speak_to_the_terminal(run, hostile, tmp_path):
    for words in (["check", hostile], ["predict", run, hostile], ["train", hostile, "--run", tmp_path / "new"]):
        code, out, err = command(*words)
        text = out + err
        assert "forged" in text and not {"\x1b", "\r", "\x9b"} & set(text), words
        assert not [line for line in text.splitlines() if line.startswith(("error: forged", "warning: forged"))], text


def test_labels_do_not_speak_to_the_terminal(tmp_path):
    write_json(tmp_path / "data" / "a.json", ["OK", "\x1b[2J\nerror: forged"])
    code, out, err = command("train", tmp_path / "data", "--run", tmp_path / "new")
    assert code == 1 and "\x1b" not in err and "\nerror: forged" not in err, err


@pytest.mark.parametrize("encoding", ["cp1252", "cp932", "ascii"])
def test_names_that_the_output_cannot_say(run, tmp_path, monkeypatch, encoding):
    """A row for each recording, whatever the encoding of the terminal."""
    import sys

    write_json(tmp_path / "data" / "異音 é ß 😀.json", ["OK", "NG"])
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2))
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    with contextlib.suppress(SystemExit):
        main(["predict", str(run), str(tmp_path / "data")])
    out.flush()
    assert len(out.buffer.getvalue().splitlines()) == 3
