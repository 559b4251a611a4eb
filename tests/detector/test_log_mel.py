"""Detectors of log-mel spectrograms keep the bands that they were saved with, and new ones can be exported."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.commands import in_process
from support.tiny import RATE, tone_or_noise

import sounddetect as sd
from sounddetect.detector.onnx_detector import MAX_DIFFERENCE, OnnxDetector, export_onnx

# A Mahalanobis estimator saved when mel bands reached to half the sample rate and nothing was cut off.
SAVED = Path(__file__).parent / "log_mel_whole_band"


def recordings(labels, seed):
    rng = np.random.default_rng(seed)
    return sd.Recordings.from_arrays([tone_or_noise(label, rng, 1600) for label in labels], RATE, labels)


def test_saved_detector_keeps_its_bands_and_scores():
    detector = sd.Detector.load(SAVED / "model")
    features = detector.config.features
    assert (features.f_min, features.f_max, features.top_db) == (0, 4000, None)
    scores = detector.predict(recordings(["OK", "NG"] * 3, 2))["anomaly_score"]
    np.testing.assert_allclose(scores, json.loads((SAVED / "scores.json").read_text()), rtol=1e-6)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulated")
    sd.simulate(folder, 24, seed=3)
    return sd.load_recordings(folder, cache_dir=folder / ".cache")


@pytest.mark.parametrize("filtered", [True, False])
@pytest.mark.parametrize("architecture", ["mahalanobis", "dense_autoencoder"])
def test_export_agrees_on_whatever_is_asked(architecture, filtered, simulated, tmp_path):
    own = {"task": "anomaly", "model.architecture": architecture, "training.epochs": 1}
    own |= {"preprocessing.apply_filter": filtered, "data.cache_dir": str(tmp_path / "cache")}
    run = sd.train(sd.Config.load(None, own), simulated, run=tmp_path / "run", progress=False)
    detector, path = sd.Detector.load(run.path), tmp_path / "detector.onnx"
    assert export_onnx(detector, path, simulated) < MAX_DIFFERENCE
    ours, theirs = (one.predict(simulated)["anomaly_score"] for one in (detector, OnnxDetector.load(path)))
    np.testing.assert_allclose(theirs, ours, rtol=MAX_DIFFERENCE)
    band = (20, 8000) if filtered else (0, 22050)
    assert (run.config.features.f_min, run.config.features.f_max) == band


def test_export_names_the_setting_that_lets_rounding_show(simulated, tmp_path):
    own = {"task": "anomaly", "features.f_min": 0, "features.f_max": 22050, "features.top_db": None, "data.cache_dir": str(tmp_path / "cache")}
    run = sd.train(sd.Config.load(None, own), simulated, run=tmp_path / "run", progress=False)
    with pytest.raises(ValueError, match="was not written.*features.top_db is null.*train with features.top_db: 80"):
        export_onnx(sd.Detector.load(run.path), tmp_path / "detector.onnx", simulated)
    assert not (tmp_path / "detector.onnx").exists()


def test_predict_draws_where_a_network_found_its_class(tmp_path):
    """A picture for each recording; an estimator has nothing to be asked."""
    rng = np.random.default_rng(0)
    for label in ("rain", "siren"):
        for number in range(4):
            (tmp_path / "data" / label).mkdir(parents=True, exist_ok=True)
            waveform = tone_or_noise("NG" if label == "siren" else "OK", rng, 1600)
            soundfile.write(tmp_path / "data" / label / f"{number}.wav", waveform, RATE, subtype="FLOAT")
    own = {"task": "classify", "features.kind": "log_mel", "features.n_mels": 24, "model.size": "n", "model.input_length": 1600, "training.epochs": 1,
           "data.classes": "auto", "data.path": str(tmp_path / "data"), "data.cache_dir": str(tmp_path / "cache")}
    run = sd.train(sd.Config.load(None, own), run=tmp_path / "run", progress=False)
    code, out, err = in_process("predict", run.path, tmp_path / "data/siren", "--explain", tmp_path / "pictures")
    assert code == 0 and len(out.splitlines()) == 5, err
    drawn = sorted(path.relative_to(tmp_path / "pictures").as_posix() for path in (tmp_path / "pictures").rglob("*.png"))
    assert drawn == [f"{number}.wav.png" for number in range(4)]
    code, out, err = in_process("predict", SAVED / "model", tmp_path / "data", "--explain", tmp_path / "others")
    assert code == 1 and out == "" and "--explain needs a network with attention_map" in err and not (tmp_path / "others").exists()
