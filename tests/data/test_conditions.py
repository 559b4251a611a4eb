"""The condition of a recording stays with it: through files, joining, splitting, run folders and settings."""

import json

import numpy as np
import pytest

import sounddetect as sd
from sounddetect.data.collection.splitting import split_good, split_recordings
from sounddetect.runs.run_folder import Run, describe_data

RATE = 16000


@pytest.fixture
def recordings():
    rng = np.random.default_rng(0)
    waveforms = rng.normal(0, 0.1, (24, 800)).astype(np.float32)
    speeds = ["low", "high", None] * 8
    return sd.Recordings.from_arrays(waveforms, RATE, ["OK", "NG"] * 12, condition=speeds)


def by_content(recordings):
    return dict(zip(recordings.table["content_hash"], recordings.table["condition"]))


@pytest.mark.parametrize("form", ["json", "wav"])
def test_condition_is_written_and_read(recordings, tmp_path, form):
    if form == "json":
        recordings.to_json(tmp_path / "fan.json")
        read = sd.load_recordings(tmp_path / "fan.json", cache_dir=tmp_path / ".cache")
    else:
        recordings.to_wav(tmp_path / "fan")
        read = sd.load_recordings(tmp_path / "fan", cache_dir=tmp_path / ".cache")
    assert by_content(read) == by_content(recordings)
    again = sd.load_recordings(read.paths, cache_dir=tmp_path / ".cache")
    assert again.table["condition"].tolist() == read.table["condition"].tolist()


def test_conditions_of_damaged_rows_stay_where_they_belong(recordings, tmp_path):
    """Rows are told by their number, and one that cannot be used moves no other's condition."""
    recordings.to_json(tmp_path / "fan.json")
    content = json.loads((tmp_path / "fan.json").read_text())
    content["waveforms"][1][3] = None
    (tmp_path / "fan.json").write_text(json.dumps(content))
    read = sd.load_recordings(tmp_path / "fan.json", cache_dir=tmp_path / ".cache")
    assert len(read) == 23 and by_content(read).items() <= by_content(recordings).items()


def test_another_number_of_conditions_is_refused(recordings, tmp_path):
    recordings.to_json(tmp_path / "fan.json")
    content = json.loads((tmp_path / "fan.json").read_text())
    content["conditions"].pop()
    (tmp_path / "fan.json").write_text(json.dumps(content))
    read = sd.load_recordings(tmp_path / "fan.json", cache_dir=tmp_path / ".cache")
    assert not len(read) and "conditions needs one entry for each of the 24 waveforms, got 23" in read.problems[0]["problem"]


def test_joining_splitting_and_cutting_keep_it(recordings):
    plain = sd.Recordings.from_arrays(np.ones((2, 800), np.float32) * [[0.1], [0.2]], RATE, ["OK", "NG"], keys=["a", "b"])
    joined = sd.concatenate(recordings, plain)
    known = by_content(joined)
    assert [known[digest] for digest in recordings.table["content_hash"]] == recordings.table["condition"].tolist()
    assert joined.table["condition"].isna().tolist()[-2:] == [True, True]
    labelled = recordings.table["label"].eq("OK").to_numpy()
    for part in (*split_recordings(recordings), *split_good(recordings, labelled), recordings[3:9]):
        assert by_content(part).items() <= by_content(recordings).items()
    cut = recordings.cut(0.025)
    assert len(cut) == 48 and cut.table["condition"].tolist() == [name for name in recordings.table["condition"] for _ in "12"]


def test_good_ones_are_divided_when_faults_lie_in_groups_of_their_own(recordings):
    """Each recording is a group here: all good ones went into the test part."""
    split = split_good(recordings, recordings.table["label"].eq("OK").to_numpy())
    n_good = {name: part.labels.count("OK") for name, part in split._asdict().items()}
    assert n_good["test"] in (2, 3) and n_good["validation"] in (1, 2, 3) and sum(n_good.values()) == 12
    assert split.test.labels.count("NG") == 12 and not (split.train.labels + split.validation.labels).count("NG")


@pytest.mark.parametrize("written", [True, False])
def test_run_folder_knows_it(recordings, tmp_path, written):
    """The folder of an older run, which tells none, is read as before."""
    split = split_recordings(recordings)
    data = describe_data(recordings, split)
    assert data["recorded"]["train"]["conditions"]["condition"] == ["high", "low"]
    if not written:
        del data["conditions"]
    (tmp_path / "data.json").write_text(json.dumps(data))
    (tmp_path / "config.yaml").write_text("task: classify\n")
    bare = recordings[:]
    bare.table = bare.table.drop(columns="condition")
    parts = Run(tmp_path).parts(bare)
    for part, before in zip(parts, split):
        assert part.table["key"].tolist() == before.table["key"].tolist()
        assert not written or part.table["condition"].tolist() == before.table["condition"].tolist()


def test_run_without_conditions_says_nothing_of_them(recordings):
    bare = recordings[:]
    bare.table = bare.table.drop(columns="condition")
    assert "conditions" not in describe_data(bare, split_recordings(bare))


def test_setting_is_heard_by_whatever_reads(recordings, tmp_path):
    for i, speed in enumerate(["low", "high"] * 6):
        path = tmp_path / "data" / ("OK" if i % 4 < 2 else "NG") / f"fan_0_{speed}_{i}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        recordings[i : i + 1].to_wav(tmp_path / "one")
        next((tmp_path / "one").rglob("*.wav")).rename(path)
        for left in sorted((tmp_path / "one").rglob("*"), reverse=True):
            left.unlink() if left.is_file() else left.rmdir()
        (tmp_path / "one").rmdir()
    config = sd.Config.load(None, {"data.condition": "fan_0_([a-z]+)_", "data.cache_dir": str(tmp_path / ".cache")})
    read = sd.load_recordings(tmp_path / "data", config)
    assert [key.split("_")[2] for key in read.table["key"]] == read.table["condition"].tolist()
    assert sd.check_recordings(tmp_path / "data", config).recordings.table["condition"].notna().all()
    unfit = config.replace({"data.condition": "pump_([a-z]+)"})
    for look in (sd.load_recordings, sd.check_recordings):
        with pytest.raises(ValueError, match=r"data.condition 'pump_\(\[a-z\]\+\)' fits none of the 12 recordings"):
            look(tmp_path / "data", unfit)
