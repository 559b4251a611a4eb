"""Three axes of a sensor from a folder of tables to a score: trained, saved, streamed, exported, judged."""

import numpy as np
import pytest
import torch
from support.tiny import SETTINGS

import sounddetect as sd
from sounddetect.detector.onnx_detector import OnnxDetector, export_onnx

RATE, N_SAMPLES = 200, 400
pytestmark = pytest.mark.filterwarnings("ignore:.*do not say their sample rate")


def axes(label, rng):
    """Noise on three axes; NG shakes along the second one, against the first: their mean hides it."""
    samples = rng.standard_normal((3, N_SAMPLES))
    shake = (label == "NG") * 1.5 * np.sin(2 * np.pi * 30 * np.arange(N_SAMPLES) / RATE + rng.uniform(0, 6))
    return samples + np.outer([-1, 1, 0], shake)


def write_table(path, samples):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, samples.T, "%.4f", ",")
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("axes"), np.random.default_rng(0)
    for number in range(16):
        for label in ("OK", "NG"):
            write_table(folder / "data" / label / f"{number}.csv", axes(label, rng))
    settings = SETTINGS | {
        "data.path": str(folder / "data"),
        "data.cache_dir": str(folder / "cache"),
        "data.group_by": "file",
        "audio.sample_rate": RATE,
        "audio.channel": "all",
        "model.input_length": 200,
        "preprocessing.filter_params.low_freq": 1,
        "preprocessing.filter_params.high_freq": 90,
        "training.epochs": 3,
        "device": "cpu",
    }
    return sd.train(sd.Config.load(None, settings), run=folder / "run", progress=False)


def test_the_run_knows_how_many_channels_it_was_made_for(run):
    assert run.config.audio.n_channels == 3
    assert sd.Detector.load(run.path / "model", "cpu").config.audio.n_channels == 3


def test_what_the_mean_hides_is_found(run):
    judged = sd.evaluate(run, part="all")
    assert judged.metrics["auc"] > 0.95


def test_another_number_of_channels_is_refused_by_name(run, tmp_path):
    detector = sd.Detector.load(run.path, "cpu")
    rng = np.random.default_rng(1)
    write_table(tmp_path / "three.csv", axes("OK", rng))
    write_table(tmp_path / "two.csv", axes("OK", rng)[:2])
    with pytest.warns(UserWarning, match=r"two.csv was left out: it has 2 channels where 3 channels are needed"):
        assert detector.predict(tmp_path).key.tolist() == ["three.csv"]
    with pytest.raises(ValueError, match="the recording has 1 channel where 3 channels are needed"):
        detector.predict(np.zeros(500), RATE)
    with pytest.raises(ValueError, match=r"got \(3, 200\)"):
        detector.window_answers(torch.zeros(3, 200))


def test_stream_and_onnx_score_as_the_detector_does(run, tmp_path):
    detector, samples = sd.Detector.load(run.path, "cpu"), axes("NG", np.random.default_rng(2)).astype(np.float32)
    export_onnx(detector, tmp_path / "detector.onnx")
    windows = detector.predict(samples, RATE, per="window").anomaly_score
    assert windows.std() > 1e-4
    for scorer in (detector, OnnxDetector.load(tmp_path / "detector.onnx")):
        stream = scorer.stream(RATE)
        found = [w for k in range(0, N_SAMPLES, 33) for w in stream.feed(samples[:, k : k + 33])] + stream.finish()
        np.testing.assert_allclose([w.anomaly_score for w in found], windows, atol=1e-5)


def test_the_order_of_the_axes_counts(run):
    detector, samples = sd.Detector.load(run.path, "cpu"), axes("NG", np.random.default_rng(3))
    turned = detector.predict(samples[[1, 2, 0]], RATE).anomaly_score[0]
    assert abs(detector.predict(samples, RATE).anomaly_score[0] - turned) > 1e-4


def test_a_resumed_run_knows_them_too(run):
    longer = sd.resume(run.path, {"training.epochs": 4}, progress=False)
    assert len(longer.results) == 4 and longer.config.audio.n_channels == 3
