"""Configuration files of the older SoundDitect load, and every value that still means something arrives."""

import json
import shutil
import sys
import warnings
from functools import reduce
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from support.commands import ROOT, run_in

import sounddetect as sd
from sounddetect.settings.older import GONE, MOVED
from sounddetect.tasks.pipeline import build_network

FILES = Path(__file__).parent / "files"
GONE_EVERYWHERE = [
    "project",
    "logging",
    "audio.chunk_size",
    "audio.format",
    "audio.channels",
    "data.use_data_generator",
    "data.prefetch_buffer_size",
    "data.pin_memory",
    "data.num_workers",
    "augmentation.pitch_shift_range",
]
GONE_ON_COLAB = ["colab.cache_size_limit", "colab.aggressive_memory_cleanup", "colab.monitor_memory_every_n_batches"]
VALUES = {
    "older_local.yaml": {
        "audio.sample_rate": 22050,
        "data.path": "recordings/press",
        "data.test_split": 0.25,
        "output.dir": "results",
        "output.copy_detector_to": ["models/best_model", "models/in_use"],
        "training.gradient_accumulation_steps": 4,
        "memory.efficient_attention": False,
        "inference.threshold": 0.7,
        "device": "cpu",
        "training.loss_function.name": "cross_entropy",
        "training.augmentation.noise_factor": 0.02,
        "training.augmentation.time_shift_max": 0.1,
        "training.batch_size": 2,
        "training.epochs": 7,
        "training.learning_rate": 0.0005,
        "preprocessing.filter_params.low_freq": 50,
        "preprocessing.filter_params.high_freq": 7000,
        "preprocessing.filter_params.order": 3,
        "model.cnn_layers.0.kernel_size": 255,
        "model.cnn_layers.0.stride": 1,
        "model.cnn_layers.0.padding": 127,
        "model.cnn_layers.1.padding": "same",
        "model.attention.hidden_dim": 16,
        "model.fully_connected.0.dropout": 0.3,
    },
    "older_colab.yaml": {
        "data.path": "data",
        "data.max_memory_usage": "6GB",
        "output.dir": "/content/output",
        "output.copy_detector_to": ["/content/models/best_model", "/content/models"],
        "training.gradient_accumulation_steps": 8,
        "memory.efficient_attention": True,
        "memory.mixed_precision": True,
        "memory.gradient_checkpointing": True,
        "inference.threshold": 0.35,
        "device": "auto",
        "training.loss_function.pos_weight": 2.5,
        "training.lr_scheduler.T_max": 30,
        "training.augmentation.noise_factor": 0.01,
        "training.augmentation.time_shift_max": 0.2,
        "model.input_length": 11025,
        "model.cnn_layers.0.stride": 2,
        "model.cnn_layers.0.padding": "same",
    },
}


def load(file, overrides=None):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return sd.Config.load(FILES / file, overrides)


def look_up(config, key):
    return reduce(
        lambda value, part: value[int(part)] if part.isdigit() else getattr(value, part), key.split("."), config
    )


@pytest.mark.parametrize("file, key", [(file, key) for file in VALUES for key in VALUES[file]])
def test_value_arrives_at_its_new_place(file, key):
    assert look_up(load(file).resolve(), key) == VALUES[file][key]


@pytest.mark.parametrize("file", VALUES)
def test_expected_values_are_not_the_defaults(file):
    """Else the test above could not tell a value that arrived from one that was lost. Some are equal on purpose."""
    same = {
        key
        for key, value in VALUES[file].items()
        if look_up(sd.Config(), key if ".cnn_" not in key else "seed") == value
    }
    assert same <= {"data.path", "memory.efficient_attention", "device", "training.loss_function.name"}


@pytest.mark.parametrize(
    "file, gone", [("older_local.yaml", GONE_EVERYWHERE), ("older_colab.yaml", GONE_EVERYWHERE + GONE_ON_COLAB)]
)
def test_one_warning_names_all_that_has_no_effect_any_more(file, gone):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        sd.Config.load(FILES / file)
    assert len(caught) == 1
    text = str(caught[0].message)
    assert file in text
    named = text.partition(": these older settings")[2].partition(": ")[2].split(", ")
    assert len(named) == len(gone) and all(any(one.endswith(key) for one in named) for key in gone)


def test_a_file_of_today_gives_no_warning(tmp_path):
    load("older_local.yaml").save(tmp_path / "config.yaml")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sd.Config.load(tmp_path / "config.yaml") == load("older_local.yaml")


def test_old_and_new_name_with_different_values_are_refused(tmp_path):
    path = tmp_path / "both.yaml"
    path.write_text("inference: {confidence_threshold: 0.7, threshold: 0.2}", encoding="utf-8")
    with pytest.raises(ValueError, match="inference.confidence_threshold.*0.7.*inference.threshold.*0.2"):
        sd.Config.load(path)


def test_what_is_said_beside_a_file_wins_over_it():
    assert load("older_local.yaml", {"inference.threshold": 0.2}).inference.threshold == 0.2


@pytest.mark.parametrize("file, expected", [("older_local.yaml", 22050), ("older_colab.yaml", 5513)])
def test_network_of_an_older_file_hears(file, expected):
    """Padding by 127 with kernel 255 keeps the length; "same" with stride 2 gives half of it, rounded up."""
    config = load(file).resolve()
    length = config.model.input_length
    torch.manual_seed(0)
    network = build_network(config, 2).eval()
    waveforms = torch.randn(2, 1, length)
    with torch.no_grad():
        assert network.bank.filters(waveforms[:, None]).shape[-1] == expected
        logits = network(waveforms)
    assert logits.shape == (2, 2) and torch.isfinite(logits).all()
    assert not torch.equal(logits[0], logits[1])


def test_remedy_of_the_older_readme_trains(tmp_path, monkeypatch):
    """What people were told to do when memory ran out: one small layer, short windows, batches of 1."""
    monkeypatch.chdir(tmp_path)
    settings = {
        "model": {"cnn_layers": [{"filters": 16, "kernel_size": 63}], "input_length": 11025},
        "training": {"batch_size": 1, "epochs": 1},
    }
    Path("older.yaml").write_text(json.dumps(settings), encoding="utf-8")  # JSON is YAML
    sd.simulate("recordings", 12, sample_rate=44100, duration=0.5, n_machines=4)
    run = sd.train(sd.Config.load("older.yaml", {"data.path": "recordings"}), progress=False)
    assert run.finished and len(run.results) == 1 and np.isfinite(run.results["train_loss"]).all()
    assert run.config.training.batch_size == 1 and len(run.config.model.network.cnn_layers) == 1
    scores = run.detector.predict("recordings")
    assert len(scores) == 12 and scores["anomaly_score"].between(0, 1).all()


# --- every version that was public -----------------------------------------------------------------------------------

VERSIONS = sorted((FILES / "older").glob("*.yaml"))


def flat(settings, prefix=""):
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def kept(key, value):
    """Where a value of an older file stands today, and as what."""
    if key == "inference.use_gpu":
        return "device", "auto" if value else "cpu"
    if key in ("data.model_save_path", "inference.model_path"):
        return "output.copy_detector_to", ["models/best_model"]
    if key in ("training.loss_function", "training.loss_function.name"):
        return "training.loss_function.name", "cross_entropy"
    return MOVED.get(key, key), value


def test_all_versions_are_here():
    assert len(VERSIONS) == 13 and len({path.read_text() for path in VERSIONS}) == 13


@pytest.mark.parametrize("path", VERSIONS, ids=lambda path: path.stem)
def test_each_key_of_a_version_is_kept_or_named_as_gone(path):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        config = sd.Config.load(path)
    assert len(caught) == 1
    named = str(caught[0].message).rpartition(": ")[2].split(", ")
    for key, value in flat(yaml.safe_load(path.read_text(encoding="utf-8"))):
        if any(key == gone or key.startswith(f"{gone}.") for gone in GONE):
            assert any(key == name or key.startswith(f"{name}.") for name in named), key
            continue
        place, expected = kept(key, value)
        found = look_up(config, place)
        if isinstance(found, list) and found and hasattr(found[0], "model_dump"):
            found = [layer.model_dump() for layer in found]
        assert found == (float(expected) if isinstance(found, float) else expected), key


@pytest.mark.parametrize("path", VERSIONS, ids=lambda path: path.stem)
def test_network_of_each_version_answers(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config = sd.Config.load(path, {"model.input_length": 4410}).resolve()
    with torch.no_grad():
        logits = build_network(config, 2).eval()(torch.randn(2, 1, 4410))
    assert logits.shape == (2, 2) and torch.isfinite(logits).all()


@pytest.mark.parametrize("path", VERSIONS, ids=lambda path: path.stem)
def test_what_is_said_beside_a_version_wins(path):
    beside = {"data.path": ["here"], "output.dir": "there", "output.copy_detector_to": [], "inference.threshold": 0.9,
              "training.gradient_accumulation_steps": 3, "memory.mixed_precision": False, "device": "cpu",
              "training.loss_function.pos_weight": 2.0, "model.size": "n"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config = sd.Config.load(path, beside)
    assert {key: look_up(config, key) for key in beside} == beside
    assert config.model.cnn_layers is None


# --- as people start it ----------------------------------------------------------------------------------------------

QUICK = ["--set", "model.size=n", "--set", "model.input_length=4410", "--set", "training.epochs=1"]


@pytest.fixture
def home(tmp_path):
    """A folder in the older layout, with what the older program left there."""
    sd.simulate(tmp_path / "data", 24, n_machines=6)
    (tmp_path / "models").mkdir()
    (tmp_path / "models/README.md").write_text("our models")
    (tmp_path / "models/best_model.pth").write_text("an older model")
    return tmp_path


@pytest.mark.parametrize(
    "version, file, script",
    [("local_12", "config.yaml", "train_model.py"), ("colab_13", "config_colab.yaml", "train_model_colab.py")],
)
def test_older_scripts_train_in_the_older_layout(home, version, file, script):
    shutil.copy(FILES / f"older/{version}.yaml", home / file)
    done = run_in(home, sys.executable, ROOT / "scripts" / script, "data", *QUICK)
    assert done.returncode == 0, done.stderr
    run = Path(done.stdout.splitlines()[-1].removeprefix("run: "))
    assert run.parent == Path("outputs") and (home / run / "model/model.json").exists()
    assert (home / "models/best_model/model.json").exists()
    assert (home / "models/README.md").read_text() == "our models"
    assert (home / "models/best_model.pth").read_text() == "an older model"


def test_resume_looks_below_the_folder_of_the_older_file(home):
    shutil.copy(FILES / "older/local_09.yaml", home / "old.yaml")
    start = """
import sounddetect as sd
small = {"model.size": "n", "model.input_length": 4410, "training.epochs": 1}
print(sd.prepare_training(sd.Config.load("old.yaml", small), progress=False).run.path)
"""
    begun = run_in(home, sys.executable, "-c", start)
    assert begun.returncode == 0, begun.stderr
    words = [sys.executable, ROOT / "scripts/train_model.py", "data", "--config", "old.yaml", "--resume"]
    done = run_in(home, *words)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"run: {begun.stdout.strip()}" and "outputs" in begun.stdout
