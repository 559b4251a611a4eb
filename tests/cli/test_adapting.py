"""`predict` says what is unlike anything learnt, and `adapt` re-aims the detector there, on the command line."""

import numpy as np
import pandas as pd
import soundfile
from support.tiny import options


def write_hum(folder, n, frequency, faulty, seed):
    """A machine at a speed, as WAV files; a faulty one crackles."""
    rng, time = np.random.default_rng([seed, frequency, faulty]), np.arange(1024) / 8000
    folder.mkdir(parents=True)
    for k in range(n):
        crackle = faulty * 0.1 * rng.normal(size=1024) * (rng.random(1024) < 0.3)
        sound = 0.1 * np.sin(2 * np.pi * frequency * time + rng.uniform(0, 6)) + 0.02 * rng.normal(size=1024) + crackle
        soundfile.write(folder / f"{k:02d}.wav", sound, 8000, subtype="FLOAT")


def test_foreign_recordings_are_named_and_ten_good_ones_help(command, tmp_path):
    for label, faulty in (("OK", 0), ("NG", 1)):
        write_hum(tmp_path / "slow" / label, 40, 1000, faulty, 0)
        write_hum(tmp_path / "fast" / label, 20, 2000, faulty, 1)
    write_hum(tmp_path / "ten", 10, 2000, 0, 2)
    trained = command("train", "slow", "--run", "run", *options(model__input_length=1024, training__epochs=2))
    assert trained.returncode == 0, trained.stderr
    lost = command("predict", "run", "fast", "--out", "lost.csv")
    assert lost.returncode == 0
    last = lost.stderr.strip().splitlines()[-1]
    assert last.startswith("40 of 40 recordings are unlike anything that this detector has learnt from: ")
    assert "sounddetect adapt run PATH" in last and "worth nothing" in last
    before = (tmp_path / "run" / "model" / "model.json").read_bytes()
    adapted = command("adapt", "run", "ten", "--condition", "fast")
    assert adapted.returncode == 0, adapted.stderr
    assert adapted.stdout.strip() == "run: run-adapted"
    assert "10 good recordings can promise 9.1%" in adapted.stderr
    assert (tmp_path / "run" / "model" / "model.json").read_bytes() == before
    found = command("predict", "run-adapted", "fast", "--out", "found.csv")
    assert found.returncode == 0
    table = pd.read_csv(tmp_path / "found.csv")
    assert table.columns.tolist() == ["key", "anomaly_score", "decision", "familiarity", "familiar", "condition", "label"]
    assert (table["decision"] == table["label"]).mean() >= 0.9
    judged = command("evaluate", "run-adapted", "ten", "fast")
    assert judged.returncode == 0, judged.stderr
    assert "10 of 50 recordings were left out, because this detector was adapted by them" in judged.stderr
    again = command("adapt", "run", "ten")
    assert again.returncode == 1 and "run-adapted exists already" in again.stderr
