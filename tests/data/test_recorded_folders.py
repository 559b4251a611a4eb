"""Each folder of the recorded data: with which options or manifest it opens, what comes out, and what the check finds in it.

The README of each folder tells the truth. A line here is what a user would have to write.
"""

import csv
import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

import sounddetect as sd
from sounddetect.config import Config

UNLABELLED = None


@dataclass(frozen=True)
class Line:
    """One way to open a folder. `settings` are those of the configuration, as on the command line."""

    name: str
    folder: str  # below the recorded data
    counts: dict  # {(label, Hz, channels): recordings}
    settings: dict = field(default_factory=dict)
    manifest: Callable | None = None  # folder -> lines of a manifest, the first is its header
    groups: int | None = None
    finds: tuple[str, ...] = ()  # "severity: text" of what the check has to say
    silent: tuple[str, ...] = ("NaN", "nan", "clipped", "rates are mixed", "alone tells")  # and what it must not say


def motors(folder):
    """A label by folder, a group for each motor, and speed as a further column."""
    yield "path", "label", "group", "rpm"
    for path in sorted(folder.glob("*/*/*.wav")):
        condition, motor = path.parts[-3:-1]
        yield path, {"Healthy": "OK"}.get(condition, "NG"), motor, path.stem


def fans(folder):
    """A line for each folder; speeds are groups of their own."""
    yield "path", "label", "machine", "sample_rate"
    for speed in ("low", "med"):
        for weight, label in ((0, "OK"), (1, "NG")):
            yield folder / f"fan_0_{speed}_{weight}_weight", label, speed, 200


def bearings(folder):
    yield "path", "label", "fault", "sample_rate"
    yield folder / "Normal", "OK", "none", 48000
    for fault in ("B", "IR", "OR"):
        yield folder / "48k_Drive_End_Bearing_Fault_Data" / fault, "NG", fault, 48000


def hearts(folder):
    """The hospital's own table, which is no manifest, as one."""
    yield "path", "label", "quality"
    with open(folder / "REFERENCE-SQI.csv", encoding="utf-8") as file:
        for name, label, quality in csv.reader(file):
            if (folder / f"{name}.wav").exists():
                yield folder / f"{name}.wav", {"-1": "normal", "1": "abnormal"}[label], quality


def machines(folder):
    """File names such as fan_abnormal.wav; of the ring of eight microphones the first."""
    yield "path", "label", "machine", "channel"
    for path in sorted(folder.glob("*.wav")):
        machine, label = path.stem.split("_")
        yield path, label, machine, 0


ESC10 = [
    "Dog bark",
    "Rain",
    "Sea waves",
    "Baby cry",
    "Clock tick",
    "Person sneeze",
    "Helicopter",
    "Chainsaw",
    "Rooster",
    "Fire crackling",
]
MOTOR_COUNTS = {("OK", 16000, 2): 13, ("OK", 44100, 2): 1, ("NG", 16000, 2): 10}
MOTOR_LABELS = {"Healthy": "OK", "Propeller": "NG", "Bearing": "NG"}
NO_LABEL = "warning: there is no label"
NO_RATE = "warning: {} recordings do not say their sample rate"
LINES = [
    Line(
        "ac motor",
        "ac_motor_contact_mic",
        {("OK", 104755, 1): 2, ("NG", 104755, 1): 1},
        {"data.labels": {"new": "OK", "used": "OK", "red": "NG"}},
        finds=("error: NG comes from 1 group",),
    ),
    Line("ac motor as it is", "ac_motor_contact_mic", {(UNLABELLED, 104755, 1): 3}, finds=(NO_LABEL,)),
    Line(
        "motors",
        "bldc_motor_audio",
        MOTOR_COUNTS,
        {"data.labels": MOTOR_LABELS, "audio.sample_rate": 16000},
        groups=24,
        finds=("warning: rates are mixed: 23 at 16000 Hz, 1 at 44100 Hz", "warning: 0.54% of the samples are clipped"),
        silent=("nan",),
    ),
    Line(
        "motors by manifest",
        "bldc_motor_audio",
        MOTOR_COUNTS,
        {"audio.sample_rate": 16000},
        motors,
        groups=3,
        finds=("warning: rates are mixed", "warning: 0.54% of the samples are clipped", "error: "),
        silent=("nan",),
    ),
    Line(
        "one motor, whole and with a broken propeller",
        "bldc_motor_audio",
        {("OK", 16000, 2): 7, ("OK", 44100, 2): 1, ("NG", 16000, 2): 6},
        {"data.labels": {"Healthy": "OK", "Propeller": "NG"}, "audio.sample_rate": 16000},
        lambda folder: [
            ("path", "label"),
            (folder / "Healthy/M1", "Healthy"),
            (folder / "Propeller/M1", "Propeller"),
        ],
        finds=("warning: loudness alone tells OK from NG (AUC 0.96)", "warning: rates are mixed"),
        silent=("nan",),
    ),
    Line(
        "car noise",
        "car_noise",
        {(UNLABELLED, 16000, 1): 1, (UNLABELLED, 8000, 1): 1},
        finds=(NO_LABEL, "warning: rates are mixed: 1 at 16000 Hz, 1 at 8000 Hz"),
        silent=("nan", "clipped"),
    ),
    Line(
        "fan by labels",
        "ceiling_fan_vibration",
        {("OK", 200, 3): 500, ("NG", 200, 3): 500},
        {
            "data.labels": {f"fan_0_{speed}_{k}_weight": ("OK", "NG")[k] for speed in ("low", "med") for k in (0, 1)},
            "audio.sample_rate": 200,
            "model.input_length": 128,
        },
        groups=1000,
        finds=(NO_RATE.format(1000), "note: 100% of the level is a constant offset"),
    ),
    Line(
        "fan by manifest",
        "ceiling_fan_vibration",
        {("OK", 200, 3): 500, ("NG", 200, 3): 500},
        {"audio.sample_rate": 200, "model.input_length": 128},
        fans,
        groups=1000,
        finds=("note: 100% of the level is a constant offset",),
        silent=("nan", "do not say", "shorter"),
    ),
    Line(
        "bearings",
        "cwru_bearing_48k_0hp",
        {("OK", 48000, 1): 1, ("NG", 48000, 1): 4},
        {
            "data.labels": {"B": "NG", "IR": "NG", "OR": "NG", "Normal": "OK"},
            "audio.sample_rate": 48000,
            "data.variable": "*_DE_time",
        },
        finds=("error: OK comes from 1 group", NO_RATE.format(5)),
    ),
    Line(
        "bearings by manifest",
        "cwru_bearing_48k_0hp",
        {("OK", 48000, 1): 1, ("NG", 48000, 1): 4},
        {"data.variable": "*_FE_time"},
        bearings,
        finds=("error: OK comes from 1 group",),
        silent=("do not say", "nan"),
    ),
    Line(
        "bearings, seconds",
        "cwru_bearing_48k_0hp",
        {("OK", 48000, 1): 51, ("NG", 48000, 1): 51 + 51 + 14 + 51},
        {"data.variable": "*_DE_time", "data.clip_duration": 0.1},
        bearings,
        groups=5,
        finds=("error: OK comes from 1 group", "warning: loudness alone tells OK from NG (AUC 1.00)"),
    ),
    Line(
        "DCASE 2020",
        "dcase2020_clips",
        {("OK", 16000, 1): 30, ("NG", 16000, 1): 2},
        {"audio.sample_rate": 16000},
        groups=32,
        finds=("error: NG comes from 2 groups", "warning: 30 are OK, only 2 are NG"),
    ),
    Line(
        "ESC-10",
        "esc10",
        {(name, 44100, 1): 32 for name in ESC10},
        {"data.classes": ESC10},
        groups=247,
        finds=(
            "warning: it holds the same sound as",
            "warning: the signal stands still for",
            "warning: loudness alone tells Clock tick from",
        ),
    ),
    Line(
        "hearts",
        "heart_pcg_ecg/physionet2016_training-a",
        {("OK", 2000, 1): 7, ("NG", 2000, 1): 7},
        {"audio.sample_rate": 2000},
        hearts,
        groups=14,
        finds=("warning: 0.64% of the samples are clipped",),
        silent=("nan", "not read", "no label"),
    ),
    Line(
        "hearts as they are",
        "heart_pcg_ecg/physionet2016_training-a",
        {(UNLABELLED, 2000, 1): 14},
        {"audio.sample_rate": 2000},
        finds=(NO_LABEL, "warning: 14 .dat files were not read", "warning: 14 .hea files were not read"),
        silent=("nan", "rates are mixed"),
    ),
    Line(
        "hearts, MATLAB",
        "heart_pcg_ecg/springer_example_mat",
        {(UNLABELLED, 1000, 1): 6},
        {"audio.sample_rate": 1000},
        finds=(NO_LABEL, NO_RATE.format(6)),
    ),
    Line(
        "ECG, MATLAB",
        "heart_pcg_ecg/wfdb_ecg_mat",
        {(UNLABELLED, 250, 3): 1},
        {"audio.sample_rate": 250},
        finds=(NO_RATE.format(1), "warning: 1 .hea file was not read", "note: 99% of the level is a constant offset"),
    ),
    Line(
        "machines, all channels",
        "mimii_8ch_clips",
        {("OK", 16000, 8): 3, ("NG", 16000, 8): 3},
        {"audio.sample_rate": 16000},
        lambda folder: [row[:3] for row in machines(folder)],
        groups=6,
    ),
    Line(
        "machines, one channel",
        "mimii_8ch_clips",
        {("OK", 16000, 1): 3, ("NG", 16000, 1): 3},
        {"audio.sample_rate": 16000},
        machines,
        groups=6,
    ),
    Line(
        "machines as they are",
        "mimii_8ch_clips",
        {(UNLABELLED, 16000, 8): 6},
        {"audio.sample_rate": 16000},
        finds=(NO_LABEL,),
    ),
]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """The same for all lines: a file is read once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(params=LINES, ids=lambda line: line.name)
def line(request):
    return request.param


@pytest.fixture
def opened(line, recorded, cache, tmp_path):
    """Paths and configuration of a line."""
    folder = recorded / line.folder
    paths = folder
    if line.manifest:
        paths = tmp_path / "manifest.csv"
        with open(paths, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(line.manifest(folder))
    return paths, Config.load(None, line.settings | {"data.cache_dir": str(cache)})


def counts(table):
    rows = zip(
        table["label"].where(table["label"].notna(), None), table["sample_rate"], table["n_channels"], strict=True
    )
    found = {}
    for label, rate, channels in rows:
        key = (label if isinstance(label, str) else None, rate, channels)
        found[key] = found.get(key, 0) + 1
    return found


def test_folder_opens_as_its_readme_says(line, opened):
    paths, config = opened
    report = sd.check_recordings(paths, config)
    recordings = report.recordings
    assert not recordings.problems
    assert counts(recordings.table) == line.counts
    assert line.groups is None or recordings.table["group"].nunique() == line.groups
    assert recordings.table["key"].is_unique
    assert all(np.isfinite(recordings.read(i, 0, 100)).all() for i in range(0, len(recordings), 10))

    said = [f"{finding.severity}: {finding.problem}" for finding in report.findings]
    for text in line.finds:
        assert [one for one in said if one.startswith(text)], said
    for text in line.silent:
        assert not [one for one in said if text in one and not one.startswith(line.finds)], said
    assert report.ok == (not [one for one in said if one.startswith("error")])
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False))["summary"]["recordings"] == sum(
        line.counts.values()
    )


def load(*arguments, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return sd.load_recordings(*arguments, **options)


def test_feature_arrays_are_named_and_not_read(recorded, cache):
    with pytest.raises(
        ValueError, match=r"no recordings found; .*Not read: 6 \.npy \(arrays without a rate, often features"
    ):
        load(recorded / "dcase2020_modspec_features", cache_dir=cache)


def test_bearings_of_two_sensors_are_not_guessed(recorded, cache):
    report = sd.check_recordings(recorded / "cwru_bearing_48k_0hp", cache_dir=cache)
    assert not len(report.recordings) and not report.ok
    assert len(report.findings) == 5 and all(finding.severity == "error" for finding in report.findings)
    assert all(
        "2 variables can be the recording, X" in finding.problem and "'*_DE_time'" in finding.problem
        for finding in report.findings
    )
    assert [finding.key for finding in report.findings] == sorted(finding.key for finding in report.findings)


def test_clipped_motors_are_named(recorded, cache):
    report = sd.check_recordings(recorded / "bldc_motor_audio", cache_dir=cache)
    (clipped,) = [finding for finding in report.findings if "clipped" in finding.problem]
    assert clipped.keys == ("Propeller/M1/1850.wav", "Propeller/M1/1750.wav")
    (mixed,) = [finding for finding in report.findings if "rates are mixed" in finding.problem]
    assert mixed.keys == ("Healthy/M1/1400.wav",)


def test_ac_motor_touches_full_scale(recorded, cache):
    """Each recording was brought to full scale: the largest value is reached at most three times, so nothing is cut off."""
    report = sd.check_recordings(recorded / "ac_motor_contact_mic", cache_dir=cache)
    assert (report.quality["peak"] == np.float32(32767 / 32768)).all()
    assert (report.quality["clipped_share"] < 1e-4).all()


def test_folds_of_esc10_are_columns_and_stay_whole(recorded, cache):
    recordings = load(recorded / "esc10", classes=ESC10, cache_dir=cache)
    table = recordings.table
    assert table.groupby("fold").size().to_dict() == {1: 80, 2: 80, 3: 80, 4: 80}
    assert set(table["take"]) >= {"A", "B"} and (table.groupby("group")["fold"].nunique() == 1).all()
    fire = table[table["key"].str.endswith(("2-28314-A.ogg", "2-28314-B.ogg"))]
    assert fire["group"].tolist() == ["2-28314", "2-28314"]


def test_channels_of_a_ring_differ(recorded, cache):
    recordings = load(recorded / "mimii_8ch_clips", cache_dir=cache)
    samples = recordings.read(0)
    assert samples.shape == (8, 160_000) and recordings[0].waveform.shape == (160_000,)
    np.testing.assert_allclose(recordings[0].waveform, samples.mean(0), atol=1e-7)
    correlation = np.corrcoef(samples)
    assert (correlation[~np.eye(8, dtype=bool)] < 0.999).all()
