"""A detector is re-aimed at a new condition by a few good recordings, says what they can promise, and is otherwise as it was."""

import warnings

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from support.tiny import SETTINGS

import sounddetect as sd
from sounddetect.detector.explaining import explain
from sounddetect.detector.onnx_detector import OnnxDetector, export_onnx
from sounddetect.evaluation.errors import shown_part

RATE = 8000


def hum(n, frequency, faulty=False, seed=0):
    """A machine at a speed; a faulty one crackles."""
    rng, time = np.random.default_rng([seed, frequency, faulty]), np.arange(1024) / RATE
    for _ in range(n):
        crackle = faulty * 0.1 * rng.normal(size=1024) * (rng.random(1024) < 0.3)
        yield 0.1 * np.sin(2 * np.pi * frequency * time + rng.uniform(0, 6)) + 0.02 * rng.normal(size=1024) + crackle


def speed(frequency, n_good, n_bad=0, seed=0):
    waveforms = [*hum(n_good, frequency, seed=seed), *hum(n_bad, frequency, True, seed)]
    return sd.Recordings.from_arrays(waveforms, RATE, ["OK"] * n_good + ["NG"] * n_bad)


@pytest.fixture(scope="module", params=["classify", "anomaly"])
def run(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    own = {"output.dir": str(folder / "runs"), "data.cache_dir": str(folder / "cache"), "model.input_length": 1024,
           "training.batch_size": 16, "training.epochs": 2}
    settings = SETTINGS | own
    if request.param == "anomaly":
        del settings["model.size"]
        settings |= {"task": "anomaly", "model.architecture": "mahalanobis", "features.kind": "log_mel"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return sd.train(sd.Config.load(None, settings), speed(1000, 80, 40), progress=False)


@pytest.fixture(scope="module")
def adapted(run):
    return run.detector.adapt(speed(2000, 10, seed=1), "fast")


def test_it_answers_where_it_was_lost_and_false_alarms_come_as_promised(run, adapted):
    new = speed(2000, 150, 60, seed=2)
    before, after = run.detector.predict(new), adapted.predict(new)
    assert before["familiar"].mean() <= 0.05
    assert set(after["condition"]) == {"fast"}
    is_bad = after["label"] == "NG"
    assert (after["decision"] == "NG")[is_bad].mean() >= 0.95
    assert (after["decision"] == "NG")[~is_bad].mean() <= 1 / 11 + 0.05
    assert after["familiar"][~is_bad].mean() >= 0.9
    assert after.columns.tolist() == ["key", "anomaly_score", "decision", "familiarity", "familiar", "condition", "label"]


def test_what_it_knew_is_answered_as_before(run, adapted):
    known = speed(1000, 60, seed=3)
    before, after = run.detector.predict(known), adapted.predict(known)
    by_network = after["condition"] == "learnt"
    assert by_network.mean() >= 0.95
    pd.testing.assert_series_equal(after["anomaly_score"][by_network], before["anomaly_score"][by_network])


def test_adapting_a_classifier_that_is_not_lost_is_warned_of(run):
    """Its network finds faults that a distance from ten recordings misses."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        run.detector.adapt(speed(2000, 10, seed=1), "fast")
        assert not [one for one in said if "familiar to this detector before" in str(one.message)]
        run.detector.adapt(speed(1000, 10, seed=7), "again")
    told = [str(one.message) for one in said if "familiar to this detector before" in str(one.message)]
    assert len(told) == (run.config.task == "classify")
    assert not told or "10 of 10" in told[0] and "may miss faults" in told[0]


def test_it_says_what_ten_can_promise(adapted):
    said = adapted.about["adapted"][0]
    assert (said["condition"], said["n_recordings"]) == ("fast", 10)
    assert said["promised"] == pytest.approx(1 / 11)
    assert "9.1 % false alarms at best" in said["promise"].replace("%", " %").replace("  ", " ")
    assert "takes 19" in said["promise"]


def test_saved_windows_and_streams_agree(adapted, tmp_path):
    new = speed(2000, 6, 6, seed=4)
    again = sd.Detector.load(adapted.save(tmp_path / "model"))
    table = adapted.predict(new)
    pd.testing.assert_frame_equal(again.predict(new), table)
    windows = adapted.predict(new, per="window")
    stream = adapted.stream(RATE)
    came = [*stream.feed(new.read(0)), *stream.finish()]
    assert came[0].anomaly_score == pytest.approx(windows["anomaly_score"][0], abs=1e-5)
    assert (came[0].condition, came[0].familiar) == ("fast", bool(windows["familiar"][0]))


def test_two_conditions_beside_each_other(adapted):
    both = adapted.adapt(speed(3000, 12, seed=5), "faster")
    for frequency, name in ((2000, "fast"), (3000, "faster")):
        assert set(both.predict(speed(frequency, 20, 20, seed=6))["condition"]) == {name}
    assert [said["condition"] for said in both.about["adapted"]] == ["fast", "faster"]
    with pytest.raises(ValueError, match="not taken"):
        both.adapt(speed(3000, 12), "fast")


def test_moving_the_threshold_moves_its_answers_too(adapted):
    new = speed(2000, 40, seed=7)
    line = float(adapted.predict(new)["anomaly_score"].median())
    assert (adapted.with_threshold(line).predict(new)["decision"] == "NG").mean() == pytest.approx(0.5, abs=0.1)


def test_faulty_ones_among_the_good_are_named(run):
    mixed = sd.Recordings.from_arrays([*hum(9, 2000, seed=8), *hum(2, 2000, True, seed=8)], RATE)
    with pytest.warns(UserWarning, match=r"2 of 11 recordings are unlike the others.*array#9, array#10"):
        found = run.detector.adapt(mixed, "fast")
    assert found.about["adapted"][0]["unlike"] == ["array#9", "array#10"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run.detector.adapt(speed(2000, 10, seed=9), "fast")


def test_what_cannot_be_adapted_is_refused(run):
    detector = run.detector
    with pytest.raises(ValueError, match="5 good recordings or more, got 4"):
        detector.adapt(speed(2000, 4))
    with pytest.raises(ValueError, match="2 of 8 recordings are labelled NG, such as"):
        detector.adapt(speed(2000, 6, 2))
    bare = sd.Detector(detector.pipeline, detector.config, "cpu")
    with pytest.raises(ValueError, match="no reference of its training"):
        bare.adapt(speed(2000, 10))


def test_export_says_familiarity(run, tmp_path):
    export_onnx(run.detector, tmp_path / "plain.onnx")
    new = sd.concatenate(speed(1000, 10, seed=10), speed(2000, 10, seed=10))
    ours, theirs = run.detector.predict(new), OnnxDetector.load(tmp_path / "plain.onnx").predict(new)
    np.testing.assert_allclose(theirs["familiarity"], ours["familiarity"], atol=0.02)
    assert theirs["familiar"].tolist() == ours["familiar"].tolist()
    assert ours["familiar"].nunique() == 2


def test_what_was_adapted_answers_alike_from_a_file(adapted, tmp_path):
    """Recordings, windows, a moved threshold, and another program that knows the file alone."""
    path, both = tmp_path / "adapted.onnx", adapted.adapt(speed(3000, 12, seed=5), "faster")
    new = sd.concatenate(*(speed(frequency, 10, 5, seed=10) for frequency in (1000, 2000, 3000)))
    assert export_onnx(both, path, new) < 1e-5
    file = OnnxDetector.load(path)
    for one, other in ((both, file), (both.with_threshold(0.7), file.with_threshold(0.7))):
        for per in ("recording", "window"):
            ours, theirs = one.predict(new, per=per), other.predict(new, per=per)
            np.testing.assert_allclose(theirs.pop("anomaly_score"), ours.pop("anomaly_score"), rtol=1e-5, atol=1e-5)
            np.testing.assert_allclose(theirs.pop("familiarity"), ours.pop("familiarity"), atol=0.02)
            pd.testing.assert_frame_equal(theirs, ours)
            assert set(ours["condition"]) == {"learnt", "fast", "faster"}
    windows = np.stack([np.float32(new.read(i)) for i in range(len(new))]).reshape(len(new), 1, -1)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    given = {"windows": windows, "lengths": np.full(len(new), 1024)}
    score, condition = session.run(["adapted_score", "condition"], given)
    ours = both.predict(new, per="window")
    np.testing.assert_allclose(score, ours["anomaly_score"], rtol=1e-5, atol=1e-5)
    assert [("learnt", "fast", "faster")[k + 1] for k in condition] == ours["condition"].tolist()


def test_explaining_says_that_the_network_did_not_decide(run, adapted):
    if run.config.task != "classify":
        pytest.skip("this model has nothing to explain anyway")
    with pytest.raises(ValueError, match="condition 'fast'"):
        explain(adapted, np.float32(speed(2000, 1).read(0)))
    explain(adapted, np.float32(speed(1000, 3, seed=3).read(0)))


def test_errors_of_an_adapted_detector_are_drawn(adapted):
    new = speed(2000, 20, 4, seed=11).with_columns(label=["NG"] * 4 + ["OK"] * 16 + ["NG"] * 4)
    evaluation = sd.evaluate(adapted, new)
    assert len(evaluation.errors) >= 4
    assert shown_part(adapted, np.float32(new.read(0)), "NG").picture.to_png()
