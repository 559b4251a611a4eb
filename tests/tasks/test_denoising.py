"""Noise is removed from signals, from files to files: what a user does, by commands."""

import json
import shutil
import tracemalloc
import warnings

import numpy as np
import pandas as pd
import pytest
import soundfile
from support.commands import in_process, run_command

import sounddetect as sd
from sounddetect.data.beats import car_noise, heart_beats, simulate_beats
from sounddetect.data.readers import audio_files
from sounddetect.data.store import stores
from sounddetect.evaluation.evaluation import saved_evaluation
from sounddetect.jobs.denoising import denoise_files
from sounddetect.tasks.protocol import task_of

SETTINGS = {
    "model.size": "n", "model.depth": 3, "model.input_length": 1024, "training.epochs": 2, "training.batch_size": 4,
    "clearml.enabled": False, "device": "cpu", "denoise.tested_snr_db": [0.0, -10.0],
    "denoise.beats": True,
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("beats")
    simulate_beats(folder / "data", 16, duration=6)
    return folder


@pytest.fixture(scope="module")
def run(place):
    paths = {"data.signal": str(place / "data/signal"), "data.noise": str(place / "data/noise")}
    config = sd.Config.load(None, SETTINGS | paths | {"data.cache_dir": str(place / "cache")})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return sd.train(config, run=place / "run", progress=False)


def test_task_follows_from_the_folders(run):
    assert (run.config.task, run.config.model.architecture) == ("denoise", "wave_unet")
    assert {"val_loss", "val_si_sdr", "val_si_sdr_improvement"} <= set(run.results)


def test_noise_of_the_test_was_never_mixed_in(run):
    label, group, split = (run.data[name] for name in ("labels", "groups", "split"))
    for role in ("signal", "noise"):
        parts = {part: {group[key] for key in keys if label[key] == role} for part, keys in split.items()}
        assert all(parts.values()), parts
        assert sum(map(len, parts.values())) == len(set.union(*parts.values()))


@pytest.fixture(scope="module")
def judged(run):
    return sd.evaluate(run)


def test_evaluation_has_a_row_a_mixture_and_a_report(run, judged):
    evaluation = judged
    table = pd.read_csv(run.path / "evaluation/predictions.csv")
    n_signals = sum(run.data["labels"][key] == "signal" for key in run.data["split"]["test"])
    assert len(table) == len(evaluation.predictions) == 2 * n_signals
    assert set(table["snr_db"]) == {0.0, -10.0}
    metrics = json.loads((run.path / "evaluation/metrics.json").read_text())
    assert {"si_sdr_improvement", "si_sdr_improvement_at_-10", "snr", "l1", "lsd_ci"} <= set(metrics)
    page = (run.path / "evaluation/report.html").read_text()
    assert "<audio" in page and "error of the heart rate" in page
    assert {"beat_f1", "beat_f1_ci", "beat_recall_in", "heart_rate_error_at_-10"} <= set(metrics)
    assert metrics["beat_f1_in"] == pytest.approx(table["beat_f1_in"].mean()) and table["beat_recall"].between(0, 1).all()
    again = sd.evaluate(run)
    pd.testing.assert_frame_equal(again.predictions, evaluation.predictions)


def test_commands_clean_files_and_leave_sources_alone(run, place):
    source = place / "data/mixed/passenger_00.wav"
    before = source.read_bytes()
    done = run_command(place, "denoise", "run", source, "--out", "out")
    assert done.returncode == 0, done.stderr
    written, rate = soundfile.read(place / "out/passenger_00.wav")
    there, _ = soundfile.read(source)
    assert (written.shape, rate, source.read_bytes()) == (there.shape, 1000, before)
    refused = run_command(place, "denoise", "run", source, "--out", source.parent)
    assert refused.returncode == 1 and "is not overwritten" in refused.stderr and source.read_bytes() == before


@pytest.fixture(scope="module")
def folds(run, place):
    """A cross-validation of the same recordings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return sd.cross_validate(run.config.replace({"training.epochs": 1}), folds=2, run=place / "folds", progress=False)


def test_folds_mix_each_signal_once_with_noise_that_the_fold_did_not_learn(folds):
    table = folds.predictions
    assert folds.finished and folds.metrics["n"] == len(table) == 2 * table["key"].nunique() == 24
    for number, fold in enumerate(folds.runs, 1):
        own = table[table["fold"] == number]
        learnt = {fold.data["content_hash"][key] for part in ("train", "validation") for key in fold.data["split"][part]}
        assert len(own) and not learnt & {*own["content_hash"], *own["noise_hash"]}
    assert folds.table.loc["pooled", "si_sdr_improvement"] == pytest.approx(table["si_sdr_improvement"].mean())
    assert folds.metrics["si_sdr_improvement_ci"][0] < folds.metrics["si_sdr_improvement"]


def test_comparison_is_of_the_same_mixtures(folds, run, place):
    """A copy that improves each mixture by 1 dB more is better by 1 dB."""
    better = place / "better_folds"
    shutil.copytree(folds.path, better)
    table = pd.read_csv(better / "predictions.csv")
    table.assign(si_sdr_improvement=table["si_sdr_improvement"] + 1).to_csv(better / "predictions.csv", index=False)
    tested = sd.compare(folds.path, better).tests.iloc[0]
    assert (tested["n"], tested["n_groups"], tested["metric"]) == (24, 12, "si_sdr_improvement")
    np.testing.assert_allclose([tested["difference"], tested["low"], tested["high"]], 1)
    rng = np.random.default_rng(4)
    new = sd.Recordings.from_arrays([heart_beats(rng, 3)[0], car_noise(rng, 4)], 1000, ["signal", "noise"])
    same = sd.compare(run, folds.runs[0], recordings=new)
    assert same.table["n"].tolist() == [2, 2] and same.table["si_sdr_in"].nunique() == 1
    assert "5 recordings of signals or more, got 1" in same.notes[-1]


def test_report_is_written_again_without_the_recordings(run, judged):
    folder = run.path / "evaluation"
    before = {path.name: path.read_bytes() for path in folder.glob("example_*")}
    page = (folder / "report.html").read_text()
    (folder / "report.html").unlink()
    saved_evaluation(run).save(folder)
    assert {path.name: path.read_bytes() for path in folder.glob("example_*")} == before and len(before) == 16
    assert (folder / "report.html").read_text() == page


def test_commands_that_have_no_meaning_here_say_what_has(judged, folds, place, monkeypatch):
    monkeypatch.chdir(place)
    for line, shown in (
        ("runs .", "si_sdr_improvement"),
        ("report run", "4 mixtures of 2 recordings"),
        ("compare folds run", "si_sdr_improvement_at_-10"),
    ):
        code, out, err = in_process(*line.split())
        assert code == 0 and shown in out, err
    for line, remedy in (
        ("adapt run data/signal", "training.mode: transfer"),
        ("threshold run", "nothing is decided"),
        ("watch run data/mixed/passenger_00.wav", "sounddetect denoise run PATH --out DIR"),
    ):
        code, _, err = in_process(*line.split())
        assert code == 1 and remedy in err and len(err.strip().splitlines()) == 1, err


def test_check_looks_at_signal_and_noise(run, place):
    checked = sd.check_recordings(config=run.config)
    assert checked.summary["classes"] == {"signal": 12, "noise": 4} and checked.ok
    one = run.config.replace({"data.noise": str(place / "data/noise/drive_00.wav")})
    assert any("all of the noise is of 1 source" in finding.problem for finding in sd.check_recordings(config=one).findings)


def test_long_recording_in_pieces_equals_the_whole(run):
    detector = run.detector
    noisy = car_noise(np.random.default_rng(5), 90, 2000)
    whole, cleaner = detector.process(noisy, 2000), detector.cleaner(2000, batch_size=3)
    parts = [cleaner.feed(piece) for piece in np.array_split(noisy, 37)]
    np.testing.assert_allclose(np.concatenate([*parts, cleaner.finish()]), whole, atol=1e-6)
    assert whole.shape == noisy.shape
    np.testing.assert_allclose(detector.process(2 * noisy, 2000), 2 * whole, atol=1e-5)


def test_a_few_epochs_make_it_better(place):
    rng = np.random.default_rng(3)
    signals = [heart_beats(rng, 8)[0] for _ in range(8)]
    recordings = sd.Recordings.from_arrays([*signals, *(car_noise(rng, 20) for _ in range(3))], 1000, ["signal"] * 8 + ["noise"] * 3)
    settings = SETTINGS | {"training.epochs": 12, "training.learning_rate": 3e-3, "model.depth": 5, "data.cache_dir": str(place / "cache")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run = sd.train(sd.Config.load(None, settings), recordings, run=place / "better", progress=False)
        evaluation = sd.evaluate(run, recordings)
    assert evaluation.metrics["si_sdr_improvement"] > 1.5


def test_a_transfer_begins_with_the_weights_of_a_run(run, place):
    paths = {"data.signal": str(place / "data/signal"), "data.noise": str(place / "data/noise")}
    settings = SETTINGS | paths | {"training.mode": "transfer", "training.base": str(run.path), "training.epochs": 1,
                                   "denoise.gain": [0.0, 0.5], "denoise.rising_epochs": 1, "data.cache_dir": str(place / "cache")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        later = sd.train(sd.Config.load(None, settings), run=place / "later", progress=False)
    assert later.finished and later.results["val_loss"].notna().all()


@pytest.mark.parametrize(("change", "message"), [
    ({"data.noise": "nowhere"}, "nowhere"),
    ({"preprocessing.normalize": True}, "set preprocessing.normalize: false"),
    ({"model.input_length": 9000}, "a window has 9000"),
    ({"features.kind": "log_mel"}, "log_mel"),
    ({"denoise.snr_db": [5, -5]}, "the lower end first"),
])
def test_mistakes_have_one_message(place, change, message):
    paths = {"data.signal": str(place / "data/signal"), "data.noise": str(place / "data/noise/drive_00.wav")}
    settings = SETTINGS | paths | {"task": "denoise", "data.cache_dir": str(place / "cache")} | change
    with pytest.raises((ValueError, FileNotFoundError), match=message), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sd.train(sd.Config.load(None, settings), run=place / "mistake", progress=False)


@pytest.mark.parametrize(("causal", "overlap"), [(False, 0.5), (True, 0.5), (True, 0.9)])
def test_a_stream_lags_by_no_more_than_it_says(causal, overlap):
    """A causal network waits for no later window; pieces and the whole agree all the same."""
    config = sd.Config.load(None, {"task": "denoise", "model.architecture": "wave_unet", "model.size": "n", "model.depth": 2,
                                   "model.causal": causal, "model.input_length": 400, "audio.sample_rate": 1000, "denoise.overlap": overlap})
    config = config.resolve()
    detector = sd.Detector(task_of(config).build(), config, "cpu")
    noisy, fed, returned, lags = car_noise(np.random.default_rng(2), 3), 0, [], []
    cleaner = detector.cleaner(1000)
    for piece in np.array_split(noisy, 90):
        returned.append(cleaner.feed(piece))
        fed += len(piece)
        if fed >= 400:
            lags.append(fed - sum(map(len, returned)))
    assert max(lags) <= 1000 * cleaner.lag
    assert cleaner.lag == pytest.approx(0.4 * (1 - overlap) + (0 if causal else 0.4))
    whole = detector.process(noisy, 1000)
    np.testing.assert_allclose(np.concatenate([*returned, cleaner.finish()]), whole, atol=1e-6)
    assert whole.shape == noisy.shape and detector.process(noisy[:77], 1000).shape == (77,)


def written(folder, change=None, which=None, rates=(1000, 1000)):
    """Settings for four signals and three drives in files, one of which, or all of a role, are changed before."""
    rng = np.random.default_rng(0)
    for role, make, n, rate in (("signal", heart_beats, 4, rates[0]), ("noise", car_noise, 3, rates[1])):
        (folder / role).mkdir()
        for number in range(n):
            made = make(rng, 4, rate)
            waveform = made[0] if role == "signal" else made
            if which in (role, f"{role} {number}"):
                waveform = change(waveform)
            soundfile.write(folder / role / f"{role}_{number}.wav", waveform, rate, subtype="FLOAT")
    return SETTINGS | {"data.signal": str(folder / "signal"), "data.noise": str(folder / "noise"), "training.epochs": 1,
                       "data.cache_dir": str(folder / "cache")}


@pytest.mark.parametrize(("which", "change", "message"), [
    ("signal 1", lambda x: 0 * x, "signal .*signal_1.wav is silent"),
    ("noise 2", lambda x: 0 * x, "noise .*noise_2.wav is silent"),
    ("signal 0", lambda x: np.where(np.arange(len(x)) == 7, np.nan, x), "(?s)signal_0.wav: sample 7 is nan"),
    ("noise 1", lambda x: np.where(np.arange(len(x)) == 7, np.inf, x), "(?s)noise_1.wav: sample 7 is inf"),
    ("noise", lambda x: x[:500], "has 500 samples at audio.sample_rate, a window has 1024"),
    ("noise", lambda x: np.stack([x, x], 1), "data.noise has recordings of 2 channels, data.signal of 1"),
])
@pytest.mark.parametrize("seed", [0, 1])
def test_recordings_that_cannot_be_mixed_have_one_message(tmp_path, which, change, message, seed):
    """Whatever part of the split they would be in."""
    settings = written(tmp_path, change, which) | {"seed": seed}
    with pytest.raises(ValueError, match=message), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sd.train(sd.Config.load(None, settings), run=tmp_path / "run", progress=False)


def test_signal_and_noise_of_other_rates_are_brought_to_one(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run = sd.train(sd.Config.load(None, written(tmp_path, rates=(1000, 2000))), run=tmp_path / "run", progress=False)
    assert run.finished and run.config.audio.sample_rate == 1000


def test_a_detector_of_classes_returns_no_waveform():
    config = sd.Config.load(None, {"task": "classify", "model.size": "n"}).resolve()
    detector = sd.Detector(task_of(config).build(), config, "cpu")
    with pytest.raises(ValueError, match="task: denoise"):
        detector.process(np.zeros(30000), 44100)


def test_an_hour_is_cleaned_as_a_whole_would_be_in_the_memory_of_minutes(tmp_path, monkeypatch):
    """What a window becomes depends on all of it, so that a seam between pieces would show."""
    monkeypatch.setattr(stores, "SCRATCH", 1 << 20)         # bytes of a recording that are kept in memory; the rest lies in a file
    monkeypatch.setattr(audio_files, "_BLOCK", 1 << 18)     # samples that are read at a time
    config = sd.Config.load(None, {"task": "denoise", "model.architecture": "wave_unet", "model.size": "n", "model.depth": 1,
                                   "model.input_length": 1000, "audio.sample_rate": 1000, "data.cache_dir": str(tmp_path / "cache")}).resolve()
    detector = sd.Detector(task_of(config).build(), config, "cpu")
    detector.window_answers = lambda windows, lengths=None: windows * windows.abs().amax(-1, keepdim=True)
    peaks = {}
    for minutes in (15, 60):
        noise = np.tile(car_noise(np.random.default_rng(0), 37), 100)[: minutes * 60_000].astype(np.float32)
        soundfile.write(tmp_path / f"{minutes}.wav", noise, 1000, subtype="FLOAT")
        tracemalloc.start()
        written, = denoise_files(detector, tmp_path / f"{minutes}.wav", tmp_path / "out")
        peaks[minutes] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    cleaned, _ = soundfile.read(written, dtype="float32")
    np.testing.assert_allclose(cleaned, detector.process(noise, 1000), atol=1e-6)
    assert peaks[60] < 1.1 * peaks[15]
