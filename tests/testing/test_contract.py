"""The contract of parts: every part under every task that can take it, from training to an exported file."""

import importlib
import os
import sys

import pytest

import sounddetect as sd
from sounddetect import parts
from sounddetect.parts import names
from sounddetect.testing import BrokenPromise, check_part

SMALL = {
    "condition_classifier": {"model.size": "n", "model.norm": "group"},
    "1d_cnn_attention": {"model.size": "n"},
    "2d_cnn": {"model.size": "n", "features.n_mels": 16},
    "resnet18": {"model.size": "n", "features.n_mels": 16},
    "cnn8_avg_pool": {"model.size": "n", "features.n_mels": 16},
    "cnn4_max_pool": {"model.size": "n", "features.n_mels": 16, "model.norm": "group"},
    "dense_autoencoder": {"model.width": 16, "model.depth": 1, "model.context": 2, "features.n_mels": 16},
    "variational_autoencoder": {"model.width": 16, "model.depth": 1, "model.context": 2, "features.n_mels": 16},
    "convolutional_autoencoder": {"model.size": "n", "features.n_mels": 16},
    "idnn": {"model.width": 8, "model.context": 3, "features.n_mels": 16},
    "mahalanobis": {"features.n_mels": 16},
    "nearest_neighbors": {"features.n_mels": 16, "model.neighbors": 2, "model.density": "local"},
    "gaussian_mixture": {"features.n_mels": 16, "model.pooling": "ranked"},
    "pca_residual": {"features.n_mels": 16, "model.pooling": "mean"},
    "wave_unet": {"model.size": "n", "model.depth": 3},
    "wave_autoencoder": {"model.size": "n", "model.depth": 2},
    "pixel_shuffle_autoencoder": {"model.size": "n", "model.depth": 2, "model.transformer_layers": 1},
    "two_stage_transformer": {"model.size": "n", "model.depth": 2, "model.blocks": 1, "model.stretch": 8},
    "diffusion": {"model.size": "n", "model.depth": 2, "model.sampling_steps": 2},
}
# Networks that differ from `2d_cnn`, `dense_autoencoder` or `wave_unet` in their layers alone, and estimators that differ from `mahalanobis`
# in what they keep: the rest of the contract is left to `make nightly`.
ALIKE = (
    "resnet18", "cnn8_avg_pool", "cnn4_max_pool", "variational_autoencoder", "convolutional_autoencoder", "idnn",
    "wave_autoencoder", "pixel_shuffle_autoencoder", "two_stage_transformer", "diffusion",
    "gaussian_mixture", "nearest_neighbors", "pca_residual",
)
# What is drawn at random in training, or kept beside weights, has to be resumed too.
RESUMED = ("variational_autoencoder", "diffusion", "gaussian_mixture", "nearest_neighbors", "pca_residual")
IS_NIGHT = "slow" in os.environ.get("SOUNDDETECT_FLAGS", "")
# Networks know nothing of the task: by day, `multilabel` is tried with one of them.
TRIED = ("2d_cnn", "multilabel")
# Everything that came with the package: each model under each of its tasks, with each of its features.
BUILT_IN = [
    (kind, name, task, feature)
    for kind in ("network", "estimator")
    for name in names(kind)
    for part in [parts.find(kind, name)]
    if part.built_in
    for task in part.tasks or names("task")
    for feature in part.features or names("feature")
    if IS_NIGHT or task != TRIED[1] or name == TRIED[0]
]


@pytest.fixture
def own_parts():
    """Parts of a module that new processes can import."""
    before = dict(parts._parts)
    sys.modules.pop("support.own_parts", None)
    yield importlib.import_module("support.own_parts")
    parts._parts.clear()
    parts._parts.update(before)


def test_every_kind_of_part_is_among_the_checked():
    assert {task for _, _, task, _ in BUILT_IN} == {name for name in names("task") if parts.find("task", name).built_in}
    assert {("classify", "waveform"), ("anomaly", "log_mel")} <= {(task, feature) for *_, task, feature in BUILT_IN}


@pytest.mark.parametrize(("kind", "name", "task", "feature"), BUILT_IN)
def test_built_in(kind, name, task, feature, tmp_path):
    settings = {"task": task, "features.kind": feature} | SMALL.get(name, {})
    is_short = (name in ALIKE or task == "multilabel") and not IS_NIGHT
    only = ["windows", "forecast", "explanation", "ONNX"] if is_short else []
    only += ["resume"] if only and name in RESUMED else []
    checked = check_part(kind, name, settings, only=only, folder=tmp_path)
    assert checked.outcomes["ONNX"].startswith("differs by at most")
    assert only or checked.outcomes["new process"].startswith("the same scores")
    assert checked.outcomes["forecast"].endswith("in a batch")


NIGHTLY = pytest.mark.skipif(not IS_NIGHT, reason="a Ray that is started takes a minute: make nightly")


@pytest.mark.parametrize("engine", ["local", pytest.param("ray", marks=NIGHTLY)])
def test_engine(engine, tmp_path):
    """One light part by each engine: its worker trains what this process trains."""
    if engine == "ray":
        pytest.importorskip("ray")
    checked = check_part("estimator", "mahalanobis", {"task": "anomaly"} | SMALL["mahalanobis"], only=["engine"], engine=engine, folder=tmp_path)
    assert checked.outcomes["engine"].startswith("the same scores within")


@pytest.mark.parametrize(("name", "task"), [("1d_cnn_attention", "classify"), ("mahalanobis", "anomaly"), ("nearest_neighbors", "anomaly")])
def test_three_channels(name, task, tmp_path):
    kind = "estimator" if name in names("estimator") else "network"
    checked = check_part(kind, name, {"task": task} | SMALL[name], n_channels=3, only=["windows", "stream", "ONNX"], folder=tmp_path)
    assert checked.outcomes["ONNX"].startswith("differs by at most")


@pytest.mark.parametrize(
    ("kind", "name", "settings"),
    [
        ("network", "pooling", {"features.kind": "log_mel", "features.n_mels": 16}),
        ("feature", "stretches", {"features.n_stretches": 5, "model.architecture": "pooling", "model.width": 6}),
        ("estimator", "level", {"features.kind": "waveform", "preprocessing.normalize": True}),
        ("task", "loudest", {"model.architecture": "level", "preprocessing.normalize": True}),
    ],
)
def test_own_part_of_a_module(kind, name, settings, own_parts, tmp_path):
    checked = check_part(kind, name, settings, folder=tmp_path)
    assert checked.outcomes["new process"].startswith("the same scores")
    assert checked.outcomes["ONNX"].startswith("differs by at most")


WAVEFORM_LOSSES = [name for name in names("loss") if parts.find("loss", name).built_in and parts.find("loss", name).tasks == ("denoise",)]


@pytest.mark.parametrize("name", [name for name in WAVEFORM_LOSSES if name == "wavelet" or IS_NIGHT])
def test_built_in_loss(name, tmp_path):
    settings = {"model.architecture": "wave_unet"} | SMALL["wave_unet"]
    check_part("loss", name, settings, only=["settings", "resume"], folder=tmp_path)


def test_own_loss(own_parts, tmp_path):
    settings = {"model.architecture": "pooling", "training.loss_function.gamma": 1.0}
    check_part("loss", "focal", settings, only=["settings", "resume"], folder=tmp_path)


def test_a_feature_that_is_replaced_is_noticed(own_parts, tmp_path, monkeypatch):
    """The saved detector has the part with the settings that were asked for, or somebody says that it has not."""
    load = sd.Detector.load

    def with_the_usual_settings(path, device="auto"):
        detector = load(path, device)
        detector.config = detector.config.replace({"features.n_stretches": 8})
        return detector

    monkeypatch.setattr(sd.Detector, "load", staticmethod(with_the_usual_settings))
    settings = {"features.n_stretches": 5, "model.architecture": "pooling"}
    with pytest.raises(BrokenPromise, match="settings: features was .*n_stretches=5.* saved as .*n_stretches=8"):
        check_part("feature", "stretches", settings, only=["settings"], folder=tmp_path)


def test_an_estimator_that_forgets_is_noticed(own_parts, tmp_path):
    """What a pass leaves outside of buffers is neither saved nor resumed."""

    class Forgetful(own_parts.Level):
        n_passes = 1

        def finish(self):
            self.known = self._sum / self._weight

        def forward(self, features):
            return (self._level(features) - getattr(self, "known", 0.0)).square()[:, None]

    sd.register_estimator("forgetful", own_parts.LevelSettings, lambda settings, inputs, n_outputs: Forgetful(inputs))
    with pytest.raises(BrokenPromise):
        check_part("estimator", "forgetful", {"features.kind": "waveform"}, folder=tmp_path)
