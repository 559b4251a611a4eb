"""The commands of the older program for heart beats train and judge as they did, under the names they had."""

import importlib.util
import os
import subprocess

import numpy as np
import pytest
import soundfile
from scipy.io import savemat
from support.commands import ROOT, environment

import sounddetect as sd
from sounddetect.data.beats import car_noise, heart_beats

TINY = ["model.size=n", "model.input_length=512", "training.epochs=1", "training.batch_size=4",
        "data.cache_dir=cache", "device=cpu", "denoise.tested_snr_db=[-5]"]
SECRET = "hunter2hunter2"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("older_denoise", ROOT / "scripts/denoise.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder in the older layout: one recording at rest, one drive, switches and keys."""
    folder, rng = tmp_path_factory.mktemp("older"), np.random.default_rng(0)
    (folder / "data").mkdir()
    savemat(folder / "data/Stop.mat", {"ecg": heart_beats(rng, 20)[0][:, None]})
    savemat(folder / "data/100km.mat", {"ecg": car_noise(rng, 30)[:, None]})
    (folder / ".env").write_text(f"ONLY_FIRST_BATCH=1\nSTDOUT_LOGGING=1\nREMOTE_LOGGING=0\nNEPTUNE_API_TOKEN={SECRET}\n")
    return folder


@pytest.fixture
def call(script, place, monkeypatch, capfd):
    """Exit code, standard output and standard error of the script."""

    def call(*words):
        monkeypatch.chdir(place)
        try:
            script.main([str(word) for word in words])
            code = 0
        except SystemExit as end:
            code = end.code or 0
        return (code, *capfd.readouterr())

    return call


@pytest.fixture
def trained(call, place):
    """A run by the older command, made once."""
    folder = place / "output/checkpoint/AE"
    if not folder.exists():
        sets = [word for setting in TINY for word in ("--set", setting)]
        code, out, err = call("train", "--model", "Conv1DAutoencoder", "--loss-fn", "WeightedLoss", "--checkpoint-dir", "output/checkpoint/AE", *sets)
        assert code == 0, err
        assert SECRET not in out + err and "without effect here: STDOUT_LOGGING, NEPTUNE_API_TOKEN" in err
        assert out.splitlines()[-1].startswith("run: output/checkpoint/AE/")
    return next(folder.iterdir()).relative_to(place)


def test_older_names_and_switches_become_settings(trained, place):
    config = sd.Run(place / trained).config
    assert (config.task, config.model.architecture, config.training.loss_function.peak_weight) == ("denoise", "wave_autoencoder", 1)
    assert (config.training.optimizer, config.training.learning_rate, config.training.epochs) == ("adamw", 1e-4, 1)
    assert config.audio.sample_rate == 1000 and config.clearml.enabled is False


def test_eval_writes_the_files_that_it_is_told(trained, place, call):
    names = [f"--{name}-filename" for name in ("figure", "clean-audio", "noisy-audio", "audio")]
    files = ["AE.png", "AE_clean.wav", "AE_noisy.wav", "AE_output.wav"]
    words = ["eval", "--model", "Conv1DAutoencoder", "--weights-path", trained, *(word for pair in zip(names, files) for word in pair)]
    code, out, err = call(*words)
    assert code == 0 and "si_sdr_improvement" in out and SECRET not in out + err, err
    assert (place / "AE.png").read_bytes().startswith(b"\x89PNG")
    assert len({soundfile.info(place / file).frames for file in files[1:]}) == 1
    code, _, err = call(*words)
    assert code == 1 and err == "error: AE.png exists and is not overwritten: give another name, or move it away\n"


@pytest.mark.parametrize(("words", "message"), [
    (["--weights-path", "output/model_weights_epoch_5.pth"], "train again by python scripts/denoise.py train"),
    (["--model", "WaveUNet"], "leave --model out, or give another run"),
    (["--loss-fn", "L1Loss"], "leave --loss-fn out, or give another run"),
    (["--model", "NoSuchNet"], "NoSuchNet"),
    (["--weights-path", "nowhere"], "nowhere"),
])
def test_what_cannot_be_judged_has_one_message(trained, call, words, message):
    code, _, err = call("eval", "--weights-path", trained, *words)
    assert code == 1 and message in err and len([line for line in err.splitlines() if line.startswith("error: ")]) == 1, err


@pytest.mark.skipif(os.name == "nt", reason="a script of the shell")
def test_three_arguments_train_and_judge(tmp_path):
    """With a Python that says what it is asked."""
    said = tmp_path / "python"
    said.write_text(f"#!/bin/sh\necho \"$@\" >> {tmp_path}/said\necho 'run: output/checkpoint/PSAE/now'\n")
    said.chmod(0o755)
    words = ["bash", ROOT / "scripts/train_and_eval.sh", "PSAE", "PixelShuffleConv1DAutoencoder", "CombinedLoss", "--set", "seed=3"]
    done = subprocess.run(words, env=environment() | {"PYTHON": str(said)}, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    train, judge = (line.split(" ", 1)[1] for line in (tmp_path / "said").read_text().splitlines())
    assert train == "train --model PixelShuffleConv1DAutoencoder --loss-fn CombinedLoss --checkpoint-dir output/checkpoint/PSAE --set seed=3"
    assert judge == ("eval --model PixelShuffleConv1DAutoencoder --loss-fn CombinedLoss --weights-path output/checkpoint/PSAE/now "
                     "--figure-filename PSAE.png --clean-audio-filename PSAE_clean.wav --noisy-audio-filename PSAE_noisy.wav "
                     "--audio-filename PSAE_output.wav")
    few = subprocess.run(words[:3], env=environment(), capture_output=True, text=True, cwd=tmp_path)
    assert few.returncode == 1 and "NAME MODEL LOSS" in few.stderr
