"""Recordings as twelve engineers in plants have them, and what must not stand on a page that they read."""

import re

import numpy as np
import pandas as pd
import soundfile

import sounddetect as sd
from support.tiny import RATE, SETTINGS, tone_or_noise

SEVEN = ("bearing", "belt", "dry", "fan", "gear", "leak", "loose")
COMMANDS = re.compile(r"--[a-z]|ffmpeg|register_reader|Traceback|\b(data|audio|model|training|detector)\.[a-z]|sounddetect [a-z]")
ENGLISH = re.compile(r"[A-Za-z]{3,} [a-z]{2,} [a-z]{2,}")
JAPANESE = re.compile("[ぁ-んァ-ン一-龥]")


def record(folder, n=4, seed=0, bad=None, rate=RATE, seconds=0.25, suffix=".wav"):
    """Files of noise in a folder, with a tone where they are bad; by default in one called NG."""
    bad = folder.name == "NG" if bad is None else bad
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(n):
        waveform = tone_or_noise("NG" if bad else "OK", np.random.default_rng([seed, bad, k]), round(seconds * rate), rate)
        soundfile.write(folder / f"rec {k}{suffix}", waveform, rate)
    return folder


def record_spreadsheets(folder):
    """CSV files as a German spreadsheet saves them: semicolons, decimal commas, a column of time."""
    for label in ("OK", "NG"):
        (folder / label).mkdir(parents=True)
        for k in range(4):
            values = tone_or_noise(label, np.random.default_rng([9, k, label == "NG"]))
            table = pd.DataFrame({"Zeit [s]": np.arange(len(values)) / RATE, "Beschleunigung [g]": values})
            table.to_csv(folder / label / f"{k}.csv", sep=";", decimal=",", index=False)
    return folder


def record_seven(folder):
    """Seven folders that say nothing of good and bad."""
    for k, name in enumerate(SEVEN):
        record(folder / name, 3, seed=k, bad=False)
    return folder


def record_hum(folder, n=10):
    """A machine that is nothing but a hum."""
    folder.mkdir(parents=True)
    for k in range(n):
        hum = np.sin(2 * np.pi * 120 * np.arange(2000) / RATE + k) + 0.01 * np.random.default_rng(k).standard_normal(2000)
        soundfile.write(folder / f"{k}.wav", 0.2 * hum, RATE)
    return folder


def train_theirs(folder):
    """A run of a colleague in `folder`, trained on machines of his."""
    record(folder / "theirs" / "OK", 20), record(folder / "theirs" / "NG", 20)
    config = sd.Config.load(None, SETTINGS | {"data.path": str(folder / "theirs"), "output.dir": str(folder / "runs")})
    return sd.train(config, progress=False)


def amiss(said, lang):
    """What a person in front of a page in `lang` cannot read or do of what it says; empty for nothing."""
    found = [match[0] for match in COMMANDS.finditer(said)]
    if lang == "ja":
        return found + [match[0] for match in ENGLISH.finditer(said)]
    return found + JAPANESE.findall(said)
