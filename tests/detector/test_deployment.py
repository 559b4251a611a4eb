"""A detector at work: on folders, on streams, as ONNX; and what comes of it when its files are damaged."""

import json
import signal
import subprocess
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from safetensors.torch import load_file, save_file
from support.commands import environment, program
from support.recorded import motor_files
from support.tiny import RATE, SETTINGS, tone_or_noise, write_folder

import sounddetect as sd
from sounddetect.config import Config
from sounddetect.data.store import stores
from sounddetect.detector.onnx_detector import MAX_DIFFERENCE, OnnxDetector, export_onnx
from sounddetect.tasks.pipeline import build_network


def untrained(classes=("OK", "NG"), **changes):
    """A detector whose scores differ from window to window, although it has learnt nothing."""
    changes = {key.replace("__", "."): value for key, value in changes.items()}
    config = Config().replace(SETTINGS | {"data.classes": list(classes)} | changes)
    torch.manual_seed(0)
    network = build_network(config, len(classes))
    torch.nn.init.normal_(network.deep_path.classifier[-1].weight)
    return sd.Detector(network, config, "cpu", {"versions": {"torch": "2"}, "training_data": ["abc"]})


@pytest.fixture(scope="module")
def detector():
    return untrained()


@pytest.fixture(scope="module")
def saved(tmp_path_factory, detector):
    return detector.save(tmp_path_factory.mktemp("saved") / "model")


def long_recording(folder, seconds=30, rate=RATE):
    """Two channels, louder in the middle."""
    samples = np.concatenate([tone_or_noise(label, np.random.default_rng(k), seconds * rate // 3, rate) for k, label in enumerate(["OK", "NG", "OK"])])
    path = Path(folder) / "long.wav"
    soundfile.write(path, np.stack([samples, 0.5 * samples], 1), rate, "FLOAT")
    return path


# --- folders -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Files of several forms, rates, lengths and numbers of channels, one of them broken."""
    folder = write_folder(tmp_path_factory.mktemp("folder") / "data", 3)
    long_recording(folder)
    rng = np.random.default_rng(0)
    for name, rate, shape in (("fast", 3 * RATE, (2001, 1)), ("odd", 11025, (5000, 3)), ("short", RATE, (1, 1))):
        soundfile.write(folder / f"{name}.flac", 0.1 * rng.normal(size=shape), rate)
    (folder / "broken.wav").write_bytes(b"junk")
    return folder


def predicted(detector, source, **options):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        return detector.predict(source, **options), sorted({str(w.message) for w in caught})


@pytest.mark.parametrize("per", ["recording", "window"])
def test_folder_gives_the_scores_of_its_recordings(detector, folder, tmp_path, per):
    """Without a cache the same as with one, whatever the batch size; what cannot be read is named."""
    recordings = sd.load_recordings(folder, sample_rate=RATE, cache_dir=tmp_path)
    wanted, said = predicted(detector, recordings, per=per)
    assert any(message.startswith("broken.wav was left out") for message in said)
    assert any(message.startswith("resampled to audio.sample_rate 8000 Hz") for message in said)
    for batch_size in (1, 7, 32):
        got, also_said = predicted(detector, folder, per=per, batch_size=batch_size)
        assert also_said == said
        np.testing.assert_allclose(got.pop("anomaly_score"), wanted["anomaly_score"], atol=1e-6)
        pd.testing.assert_frame_equal(got, wanted.drop(columns="anomaly_score"))


def test_folder_is_read_piece_by_piece_and_nothing_is_left(detector, folder, tmp_path, monkeypatch):
    """Sources that are larger than the memory they may take lie in a file without a name."""
    wanted, _ = predicted(detector, folder)
    monkeypatch.setattr("sounddetect.data.store.caching.ONCE", 1)
    monkeypatch.setattr(stores, "SCRATCH", 1000)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    got, _ = predicted(detector, folder)
    pd.testing.assert_frame_equal(got, wanted)
    assert list(tmp_path.iterdir()) == []


def test_recording_of_hours_is_read_in_parts(detector, tmp_path, monkeypatch):
    """No read is longer than a window and what the change of rate needs around it."""
    path = long_recording(tmp_path, rate=11025)
    lengths = []
    read = sd.Recordings.read
    monkeypatch.setattr(sd.Recordings, "read", lambda self, i, start=0, stop=None: lengths.append(stop - start) or read(self, i, start, stop))
    predicted(detector, path)
    assert len(lengths) > 400 and max(lengths) < 2 * 512 * 11025 / RATE


def test_bar_is_shown_when_asked_for_and_silent_otherwise(detector, folder, capsys):
    for progress, shown in ((None, False), (False, False), (True, True)):
        predicted(detector, folder, progress=progress)
        assert ("scoring" in capsys.readouterr().err) == shown


def test_nothing_to_score_is_said(detector, tmp_path):
    (tmp_path / "broken.wav").write_bytes(b"junk")
    with pytest.raises(ValueError, match="no recordings to score"), pytest.warns(UserWarning, match="broken.wav was left out"):
        detector.predict(tmp_path)


# --- the saved detector ----------------------------------------------------------------------------------------------


def copy_with(saved, folder, file, content):
    """The saved detector with another file in it."""
    for name in ("model.json", "model.safetensors"):
        (folder / name).write_bytes((saved / name).read_bytes())
    (folder / file).write_bytes(content)
    return folder


def refusal(path):
    with pytest.raises(ValueError) as caught:
        sd.Detector.load(path)
    message = str(caught.value)
    assert str(path) in message and len(message) < 500 and "Traceback" not in message
    return message


@pytest.mark.parametrize("file", ["model.json", "model.safetensors"])
def test_cut_off_anywhere_is_refused(saved, tmp_path, file):
    content = (saved / file).read_bytes()
    places = {0, 1, 7, 8, 9, len(content) - 1, *np.linspace(0, len(content) - 1, 60, dtype=int).tolist()}
    for place in places:
        assert "again from its run" in refusal(copy_with(saved, tmp_path, file, content[:place]))


def test_flipped_bit_is_noticed(saved, tmp_path):
    rng = np.random.default_rng(0)
    for file in ("model.json", "model.safetensors"):
        content = bytearray((saved / file).read_bytes())
        for place in rng.integers(0, len(content), 30):
            changed = content.copy()
            changed[place] ^= 1 << rng.integers(8)
            try:
                same = file == "model.json" and json.loads(changed) == json.loads(content)
            except ValueError:
                same = False
            if not same:
                refusal(copy_with(saved, tmp_path, file, bytes(changed)))


def as_format_1(saved, folder):
    """The folder as the first versions wrote it."""
    said = json.loads((saved / "model.json").read_text())
    config = said["config"] | {"task": said["task"]}
    (model,) = [part["settings"] for part in said["parts"] if part["kind"] == "network"]
    config["model"] = model
    del config["inference"]["temperature"]
    said["about"].pop("threshold", None)
    older = {"kind": "detector", "format_version": 1, "config": config, "about": said["about"]}
    return copy_with(saved, folder, "model.json", json.dumps(older).encode())


def test_format_1_loads_and_scores_the_same(detector, saved, tmp_path):
    older = sd.Detector.load(as_format_1(saved, tmp_path), "cpu")
    assert (older.temperature, older.threshold) == (1.0, 0.5)
    sound = np.random.default_rng(0).normal(size=3000).astype(np.float32)
    pd.testing.assert_frame_equal(older.predict(sound, RATE), detector.predict(sound, RATE))


@pytest.mark.parametrize("change", ["nan", "shape", "name", "type"])
def test_weights_that_cannot_be_right_are_refused_without_a_check_sum_too(saved, tmp_path, change):
    path = as_format_1(saved, tmp_path) / "model.safetensors"
    weights = load_file(path)
    name = "short_path.weight"
    value = weights.pop(name)
    weights |= {
        "nan": {name: torch.full_like(value, torch.nan)},
        "shape": {name: value[:, 1:].clone()},
        "name": {"another": value},
        "type": {name: value.double()},
    }[change]
    save_file(weights, path)
    assert ("not finite" if change == "nan" else f"for {name} it has") in refusal(tmp_path)


@pytest.mark.parametrize("network", [{"cnn_layers": [{"filters": 10**9, "kernel_size": 63}]}, {"size": "x"}, {"input_length": 10**15}])
def test_settings_that_fit_no_memory_or_no_weights_are_refused(saved, tmp_path, network):
    folder = as_format_1(saved, tmp_path)
    said = json.loads((folder / "model.json").read_text())
    said["config"]["model"] = {key: value for key, value in said["config"]["model"].items() if key != "size"} | network
    (folder / "model.json").write_text(json.dumps(said))
    refusal(folder)


@pytest.mark.parametrize("name", ["picture.png", "model.safetensors", "other.json"])
def test_file_in_place_of_a_folder_is_no_detector(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    with pytest.raises(FileNotFoundError, match="no detector at"):
        sd.Detector.load(tmp_path / name)


# --- ONNX --------------------------------------------------------------------------------------------------------------


CASES = [
    ("s", ["OK", "NG"], True, True),
    ("n", ["rain", "dog", "OK"], False, True),
    ("n", ["OK", "NG"], True, False),
    ("s", ["a", "b", "c"], False, False),
]


def case_of(size, classes, apply_filter, normalize):
    return untrained(classes, model__size=size, model__input_length=2000, preprocessing__apply_filter=apply_filter, preprocessing__normalize=normalize)


def agreement(detector, path, sources):
    """Largest difference of a probability over all windows."""
    in_onnx = OnnxDetector.load(path)
    columns = ["anomaly_score"] if len(detector.classes) == 2 else detector.classes
    differences = []
    for source in sources:
        (ours, _), (theirs, _) = predicted(detector, source, per="window"), predicted(in_onnx, source, per="window")
        differences.append(np.abs(ours[columns] - theirs[columns]).to_numpy().max())
        assert ours[columns].to_numpy().std() > 1e-4, "scores that are all the same tell nothing"
    return max(differences)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_onnx_agrees_with_pytorch(folder, tmp_path, case):
    detector = case_of(*case).with_temperature(1.5)
    export_onnx(detector, tmp_path / "a.onnx")
    assert agreement(detector, tmp_path / "a.onnx", [folder]) < MAX_DIFFERENCE


@pytest.mark.parametrize("case", CASES[:1], ids=str)
def test_onnx_agrees_with_pytorch_on_recorded_machines(recorded, tmp_path, case):
    detector = case_of(*case)
    files = motor_files(recorded)[::6]
    recordings = sd.load_recordings([str(file) for file in files], cache_dir=tmp_path / "cache")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert export_onnx(detector, tmp_path / "a.onnx", recordings) < MAX_DIFFERENCE
    assert agreement(detector, tmp_path / "a.onnx", files) < MAX_DIFFERENCE


def test_missing_extra_is_named(detector, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r'needs onnx and onnxscript and onnxruntime.*pip install "sounddetect\[onnx\]"'):
        export_onnx(detector, tmp_path / "a.onnx")


# --- streams -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [RATE, 11025])
def test_stream_gives_the_scores_of_the_file(detector, tmp_path, rate):
    path = long_recording(tmp_path, rate=rate)
    wanted, _ = predicted(detector, path, per="window")
    samples, _ = soundfile.read(path, dtype="float32")
    for size in (2048, 100_000):
        stream = detector.stream(rate)
        found = [window for k in range(0, len(samples), size) for window in stream.feed(samples[k : k + size].T)] + stream.finish()
        np.testing.assert_allclose([window.anomaly_score for window in found], wanted["anomaly_score"], atol=1e-6)
        assert [(w.start_s, w.end_s, w.decision) for w in found] == list(zip(wanted.start_s, wanted.end_s, wanted.decision, strict=True))


def watching(saved, *words, **options):
    """`sounddetect watch` as a process with pipes."""
    words = [*program(), "watch", str(saved), "-", "--sample-rate", str(RATE), *words]
    return subprocess.Popen(words, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


SECOND = np.int16(3000 * np.random.default_rng(0).normal(size=RATE)).tobytes()


def test_watch_answers_while_the_sound_goes_on_and_ends_by_ctrl_c(saved):
    process = watching(saved)
    process.stdin.write(SECOND)
    process.stdin.flush()
    lines = [process.stdout.readline().decode() for _ in range(5)]  # waits for ever if a line is kept back
    assert lines[0].split() == ["start_s", "end_s", "score"]
    assert any(line.split()[:1] == ["0.000"] for line in lines)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert (process.returncode, errors) == (0, b"")


def test_watch_ends_quietly_when_nobody_reads_it_any_more(saved):
    process = watching(saved)
    process.stdin.write(SECOND)
    process.stdin.flush()
    process.stdout.readline()
    process.stdout.close()
    try:
        for _ in range(100):
            process.stdin.write(SECOND)
            process.stdin.flush()
    except BrokenPipeError:
        pass
    process.stdin = None
    errors = process.stderr.read()
    assert (process.wait(), errors) == (0, b"")


def test_watch_names_bytes_that_are_no_whole_sample(saved):
    out, errors = watching(saved, "--channels", "2").communicate(SECOND[:-1])
    assert b"the last 3 bytes are no whole sample of 2 channels in s16" in errors
    assert out.splitlines()[-1].split()[1] == b"0.500"
