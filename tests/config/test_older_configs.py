"""Configuration files of the older SoundDitect load, and every value that still means something arrives."""

import json
import warnings
from functools import reduce
from pathlib import Path

import numpy as np
import pytest
import torch

import sounddetect as sd
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
    assert look_up(load(file), key) == VALUES[file][key]


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
    config = load(file)
    length = config.model.input_length
    torch.manual_seed(0)
    network = build_network(config, 2).eval()
    waveforms = torch.randn(2, 1, length)
    with torch.no_grad():
        assert network.bank.filters(waveforms[:, None, None]).shape[-1] == expected
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
