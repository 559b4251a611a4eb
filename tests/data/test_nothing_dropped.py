"""Every file below a path is used, named as left out, or counted; no table is read by a guess."""

import os
import warnings

import numpy as np
import pytest
import soundfile

import sounddetect as sd
from sounddetect.jobs.training_runs import prepare_training

RATE = 8000


@pytest.fixture
def data(tmp_path):
    (tmp_path / "data").mkdir()
    for number in range(4):
        soundfile.write(tmp_path / "data" / f"{number}.wav", 0.1 * np.random.default_rng(number).standard_normal(800), RATE)
    return tmp_path / "data"


def load(data, **options):
    return sd.load_recordings(data, cache_dir=data.parent / "cache", **options)


# --- manifests ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("remark", ["remark (ok; bad)", "remark (a, b, c)", "a; b, c\td; e; f", "x;;;;;;"])
def test_a_separator_inside_a_name_is_no_separator(data, separator, remark):
    """Quoted where it has to be, as spreadsheets do."""
    quoted = f'"{remark}"' if separator in remark else remark
    lines = [["path", "label", "group", quoted]] + [[f"{k}.wav", ("OK", "NG")[k % 2], f"m{k // 2}", "x"] for k in range(4)]
    (data / "list.csv").write_text("\n".join(separator.join(line) for line in lines))
    table = load(data).table
    assert table["label"].tolist() == ["OK", "NG"] * 2 and table["group"].tolist() == ["m0", "m0", "m1", "m1"]
    assert remark in table


def test_names_of_columns_in_capitals(data):
    (data / "list.csv").write_text("path,LABEL,Group\n" + "".join(f"{k}.wav,OK,m{k}\n" for k in range(4)))
    table = load(data).table
    assert table["label"].tolist() == ["OK"] * 4 and table["group"].tolist() == ["m0", "m1", "m2", "m3"]


@pytest.mark.parametrize("name, meant", [("labels", "label"), ("groups", "group"), ("start", "start_s"), ("end s", "end_s"),
                                         ("samplerate", "sample_rate"), ("Sample Rate", "sample_rate")])
def test_columns_that_were_meant_are_said(data, name, meant):
    (data / "list.csv").write_text(f"path,{name}\n0.wav,1\n")
    with pytest.warns(UserWarning, match=f"list.csv: .*{name}.* {meant}"):
        load(data)


def test_other_columns_are_no_mistake(data):
    (data / "list.csv").write_text("path,label,fold,split,speed,load,remark\n0.wav,OK,1,train,3,4,x\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(data)


# --- tables of numbers -------------------------------------------------------------------------------------------------


def written(data, lines):
    (data / "table.csv").write_text("\n".join(lines) + "\n")
    return {problem["key"]: problem["problem"] for problem in load(data, sample_rate=RATE).problems}


@pytest.mark.parametrize("decimals", [3, 4, 6])
@pytest.mark.parametrize("column", [0, 1])
@pytest.mark.parametrize("header", ["", "time (s),x"])
def test_a_column_of_time_is_no_channel_and_gives_the_rate(data, decimals, column, header):
    value = 0.1 * np.random.default_rng(0).standard_normal(500)
    time = [f"{k / RATE + 2:.{decimals}f}" for k in range(500)]
    names, *cells = [line[:: 1 if column == 0 else -1] for line in [header.split(","), *([t, f"{v:.4f}"] for t, v in zip(time, value))]]
    assert not written(data, map(",".join, [*([names] if header else []), *cells]))
    (row,) = load(data, sample_rate=999).table.query("key == 'table.csv'").itertuples()
    assert (row.sample_rate, row.n_channels, row.n_samples) == (RATE, 1, 500)


def test_a_column_of_numbers_of_lines_is_no_channel(data):
    value = np.random.default_rng(0).integers(-99, 99, 100)
    assert not written(data, [f"{k};{v}" for k, v in enumerate(value)])
    recordings = load(data, sample_rate=RATE)
    np.testing.assert_array_equal(recordings.read(recordings.table["key"].tolist().index("table.csv")), np.float32([value]))


def test_a_column_that_rises_and_is_no_time_is_refused(data):
    """An angle, say, or a ramp: whoever knows names the channels, in settings or in a manifest."""
    value = np.random.default_rng(0).standard_normal((100, 2))
    said = written(data, ["angle (deg),ax (g),ay (g)", *(f"{0.9 * k:.1f},{a},{b}" for k, (a, b) in enumerate(value))])
    assert "column 1 (angle (deg)) rises evenly" in said["table.csv"] and "data.columns" in said["table.csv"]
    recordings = load(data, sample_rate=RATE, columns=["ay", 2])
    at = recordings.table["key"].tolist().index("table.csv")
    assert recordings.table["channel_names"][at] == "ay (g), ax (g)"
    np.testing.assert_array_equal(recordings.read(at), np.float32(value.T[::-1]))


def test_a_manifest_names_the_column(data):
    value = np.random.default_rng(0).standard_normal((100, 2))
    written(data, ["time,ax,ay", *(f"{k / RATE},{a},{b}" for k, (a, b) in enumerate(value))])
    (data / "list.csv").write_text("path,label,channel\ntable.csv,OK,ay\ntable.csv,OK,az\n")
    recordings = load(data)
    at = recordings.table["source"].tolist().index("table.csv")
    np.testing.assert_array_equal(recordings.read(at), np.float32(value.T[1:]))
    assert "channel az is none of the recording: give its number, from 0, or one of ax, ay" in recordings.problems[0]["problem"]


def test_a_doubtful_column_is_said_each_time(data):
    """Also where the recordings come from the cache, and by whatever reads them once."""
    lines = [f"{k / RATE},{v:.4f}" for k, v in enumerate(0.1 * np.random.default_rng(0).standard_normal(10))]
    for name in ("short.csv", "other.csv"):
        (data / name).write_text("\n".join(lines))
    for read in (load, load, lambda data: detector(data).predict(data / "short.csv")):
        with pytest.warns(UserWarning, match="column 1 rises like a time, and is taken for a channel") as said:
            read(data)
        assert len([each for each in said if "rises like" in str(each.message)]) == 1
    with pytest.warns(UserWarning, match=r"other\.csv and 1 more: column 1"):
        load(data)


def test_channels_are_channels(data):
    """Also those that climb for a while, stand still, or hold whole numbers."""
    rng = np.random.default_rng(0)
    tables = [rng.standard_normal((300, 2)), np.cumsum(rng.uniform(0, 1, (300, 2)) ** 8, 0), np.zeros((300, 2)),
              rng.integers(-2000, 2000, (300, 2)), rng.integers(0, 4096, (300, 2))]
    for samples in tables:
        lines = [",".join(f"{cell:.4f}" if samples.dtype.kind == "f" else str(cell) for cell in row) for row in samples]
        assert not written(data, lines)


@pytest.mark.parametrize("n_lines", [3, 400])
@pytest.mark.parametrize("form", [".1f", ".2f", ".4f", ".3e"])
@pytest.mark.parametrize("scale", [0.3, 3])
def test_decimal_commas_are_no_second_channel(data, scale, form, n_lines):
    value = scale * np.random.default_rng(0).standard_normal(n_lines)
    said = written(data, [f"{v:{form}}".replace(".", ",") for v in value])
    assert "decimal comma" in said["table.csv"]


@pytest.mark.parametrize("form", [".1f", ",.1f", ",.2f"])
def test_decimal_commas_of_large_numbers_are_no_second_channel(data, form):
    value = 800 * np.random.default_rng(0).standard_normal(400)
    said = written(data, [f"{v:{form}}".translate(str.maketrans(",.", ".,")) for v in value])
    assert "decimal comma" in said["table.csv"]


def test_three_digits_behind_a_point_are_no_thousands(data):
    rng = np.random.default_rng(0)
    for scale in (0.5, 800):
        assert not written(data, [f"{scale * v:.3f},{k}" for v, k in zip(rng.standard_normal(400), rng.integers(0, 4096, 400))])


@pytest.mark.parametrize("separator", [",", ", "])
def test_decimal_commas_between_commas(data, separator):
    values = 0.3 * np.random.default_rng(0).standard_normal((400, 2))
    said = written(data, [separator.join(f"{v:.3f}".replace(".", ",") for v in row) for row in values])
    assert "4 columns look like 2 with a decimal comma" in said["table.csv"]


@pytest.mark.parametrize("separator", [";", "\t"])
def test_decimal_commas_between_other_separators_are_read(data, separator):
    values = np.round(0.3 * np.random.default_rng(0).standard_normal((400, 2)), 3)
    assert not written(data, [separator.join(f"{v:.3f}".replace(".", ",") for v in row) for row in values])
    recordings = load(data, sample_rate=RATE)
    np.testing.assert_array_equal(recordings.read(recordings.table["key"].tolist().index("table.csv")), np.float32(values.T))


def test_a_column_that_counts_down_is_no_channel(data):
    value = 0.1 * np.random.default_rng(0).standard_normal(500)
    assert "column 1 falls evenly" in written(data, [f"{500 - k},{v:.4f}" for k, v in enumerate(value)])["table.csv"]


# --- files -------------------------------------------------------------------------------------------------------------


def test_lines_above_the_numbers_are_a_header(data):
    for number, lines in enumerate(("Logger 7\nserial,12\n", "Logger 7,,\n\nax,ay,az\n[g],[g],[g]\n")):
        (data / f"logger{number}.csv").write_text(lines + f"0.1{',0.1' * 2 * number}\n0.3{',0.2' * 2 * number}\n" * 50)
    table = load(data, sample_rate=RATE).table.set_index("key")
    assert table.loc[["logger0.csv", "logger1.csv"], "n_channels"].tolist() == [1, 3]
    assert table["channel_names"]["logger1.csv"] == "ax (g), ay (g), az (g)"


def test_columns_of_a_table_are_never_averaged_unawares(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(12):
        folder = tmp_path / "data" / ("OK", "NG")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        lines = "\n".join(f"{k / 500},{a:.5f},{b:.5f}" for k, (a, b) in enumerate(rng.standard_normal((400, 2))))
        (folder / f"{number}.csv").write_text("t (s),ax,ay\n" + lines)
    config = sd.Config.load(None, {"data.path": str(tmp_path / "data"), "data.cache_dir": str(tmp_path / "cache"),
                                   "output.dir": str(tmp_path / "runs"), "audio.sample_rate": 500, "audio.channel": "mean", "model.input_length": 128,
                                   "preprocessing.filter_params.high_freq": 200, "training.epochs": 1, "model.size": "n"})
    (said,) = [finding for finding in sd.check_recordings(None, config).findings if "mean" in finding.problem]
    assert (said.severity, len(said.keys)) == ("warning", 12) and "ax, ay" in said.problem and "data.columns" in said.remedy
    with pytest.warns(UserWarning, match="NG/1.csv and 11 more: the mean of the columns ax, ay"):
        prepare_training(config, progress=False)
    for chosen in ({"data.columns": ["ay"]}, {"audio.channel": "all"}):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            prepare_training(config.replace(chosen), progress=False)


def test_tables_without_lines_of_numbers_are_counted(data):
    for number in range(2):
        (data / f"logger{number}.csv").write_text("Logger 7\nserial,12\n" + "12:00:01,0.1\n12:00:02,0.2\n" * 50)
    with pytest.warns(UserWarning, match=r"Not read: 2 \.csv .*lines of numbers"):
        load(data)


def test_files_of_unknown_forms_are_counted(data):
    for name in ("a.raw", "b.raw", "c.xyz", "noend"):
        (data / name).write_bytes(b"x" * 100)
    with pytest.warns(UserWarning, match=r"2 \.raw .*1 \.xyz|1 without a suffix.*2 \.raw"):
        load(data)
    report = sd.check_recordings(data, cache_dir=data.parent / "cache")
    assert any(".xyz" in finding.problem for finding in report.findings)


def test_a_folder_that_cannot_be_read_is_named(data, monkeypatch):
    (data / "locked").mkdir()
    scandir = os.scandir

    def denied(path):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", denied)
    recordings = load(data)
    assert len(recordings) == 4 and [(p["key"], p["problem"]) for p in recordings.problems] == [("locked", "Permission denied")]
    with pytest.warns(UserWarning, match="locked was left out: Permission denied"):
        detector(data).predict(data)


def detector(data):
    config = sd.Config.load(None, {"audio.sample_rate": RATE, "model.input_length": 512, "model.size": "n"}).resolve()
    return sd.Detector(sd.tasks.pipeline.build_network(config, 2), config, "cpu")


def test_a_path_beyond_the_limit_is_named(data):
    here = os.getcwd()
    try:
        os.chdir(data)
        for _ in range(25):
            os.mkdir("x" * 200)
            os.chdir("x" * 200)
        soundfile.write("deep.wav", np.ones(100), RATE)
    finally:
        os.chdir(here)
    recordings = load(data)
    assert len(recordings) == 4
    assert len(recordings.problems) == 1 and "too long" in recordings.problems[0]["problem"]


def test_a_number_of_a_machine_stays_whole_beside_an_empty_cell(data):
    """Else machine 1 would be called 1.0 where another line says nothing, and another machine where all say something."""
    wavs = sorted(path.name for path in data.rglob("*.wav"))[:3]
    for cells, wanted in ((["1", "2", ""], ["1", "2"]), (["1", "2", "2"], ["1", "2"]), (["1.5", "2", ""], ["1.5", "2.0"])):
        lines = [f"{name},OK,{cell}" for name, cell in zip(wavs, cells)]
        (data / "list.csv").write_text("\n".join(["path,label,machine", *lines]))
        table = load(data).table
        assert sorted(table["machine"].dropna().astype(str).unique()) == wanted
