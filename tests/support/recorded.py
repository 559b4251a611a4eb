"""JSON files of both forms made of recorded data: what users bring, in the forms they bring it in."""

import json
from pathlib import Path

import numpy as np
import soundfile

LABELS = {"Healthy": "OK", "Bearing": "NG", "Propeller": "NG"}


def motor_files(recorded):
    """Sound files of the motors, in order."""
    files = sorted((Path(recorded) / "bldc_motor_audio").glob("*/*/*.wav"))
    assert len(files) == 24
    return files


def rpm(path):
    """Revolutions per minute: the name of a motor's file."""
    return int(Path(path).stem.split("_")[-1])


def seconds_of(path):
    """Windows of one second, side by side, mean of the channels; and the rate (Hz)."""
    samples, sample_rate = soundfile.read(path, dtype="float32", always_2d=True)
    whole = samples.mean(1)[: len(samples) // sample_rate * sample_rate]
    return whole.reshape(-1, sample_rate), sample_rate


def write_motor_json(file, folder, form="new"):
    """One JSON file of one sound file: a row a second. The legacy form has no rate inside."""
    windows, sample_rate = seconds_of(file)
    label = LABELS[file.parts[-3]]
    rows = [[round(float(sample), 5) for sample in window] for window in windows]
    if form == "new":
        content = {"waveforms": rows, "labels": [label] * len(rows), "fs": sample_rate, "metric": "sound pressure"}
    else:
        content = [{"Waveform": row, "Labels": int(label == "NG")} for row in rows]
    target = Path(folder) / f"{'_'.join([*file.parts[-3:-1], file.stem])}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(content), encoding="utf-8")
    return target


def write_fan_json(recorded, folder, n_files=40):
    """JSON files of the fan: size of the acceleration at 200 Hz, a row for each of `n_files` files of a folder."""
    for source in sorted((Path(recorded) / "ceiling_fan_vibration").glob("fan_*_weight")):
        tables = [np.loadtxt(path, delimiter=",") for path in sorted(source.glob("*.csv"))[:n_files]]
        rows = [np.round(np.linalg.norm(table, axis=1), 5).tolist() for table in tables]
        label = "OK" if source.name.endswith("0_weight") else "NG"
        target = Path(folder) / f"{source.name}.json"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(
            json.dumps({"waveforms": rows, "labels": [label] * len(rows), "fs": 200, "metric": "g"}), encoding="utf-8"
        )
    return Path(folder)


def fan_axes(recorded, speed, weight):
    """Acceleration of the fan, float32 `(3, time)` at 200 Hz, of each file of a speed with so many weights on a blade."""
    folder = Path(recorded) / "ceiling_fan_vibration" / f"fan_0_{speed}_{weight}_weight"
    return [np.loadtxt(path, delimiter=",", dtype="float32").T for path in sorted(folder.glob("*.csv"))]
