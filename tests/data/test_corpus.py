"""A seeded corpus: valid files of every form and whole run folders, changed at random.

Each ends in success with samples that can be trusted, or in one message that names the file, in 30 s and 2 GB.
"""

import gzip
import io
import json
import os
import random
import re
import resource
import shutil
import signal
import warnings

import numpy as np
import pytest
import soundfile
from scipy.io import savemat
from support.commands import in_process as command
from support.tiny import SETTINGS, write_folder

import sounddetect as sd
from sounddetect.evaluation.evaluation import saved_evaluation

N_INPUTS = int(os.environ.get("SOUNDDETECT_INPUTS", 160))       # `make nightly` sets more
N_FOLDERS = int(os.environ.get("SOUNDDETECT_FOLDERS", 40))
SECONDS, MEGABYTES = 30, 2000
RATE, N_SAMPLES = 8000, 800
SOUND = (0.3 * np.random.default_rng(0).standard_normal((2, N_SAMPLES))).astype(np.float32)


def sound_file(**how):
    file = io.BytesIO()
    soundfile.write(file, SOUND[0], RATE, **how)
    return file.getvalue()


def mat_file(**how):
    file = io.BytesIO()
    savemat(file, {"signal": SOUND[0].astype(float), "fs": float(RATE)}, **how)
    return file.getvalue()


NEW_FORM = json.dumps({"waveforms": SOUND.astype(float).tolist(), "labels": ["OK", "NG"], "fs": RATE}).encode()
OLD_FORM = json.dumps([{"Waveform": row.tolist(), "Labels": k} for k, row in enumerate(SOUND)]).encode()
NUMBERS = "\n".join(",".join(f"{value:.5f}" for value in moment) for moment in SOUND.T).encode()
FORMS = {
    "a.wav": [sound_file(format=form, subtype="PCM_16") for form in ("WAV", "WAVEX", "RF64", "W64", "AIFF", "AU")],
    "a.flac": [sound_file(format="FLAC", subtype="PCM_16")],
    "a.ogg": [sound_file(format="OGG", subtype="VORBIS")],
    "a.json": [NEW_FORM, OLD_FORM],
    "a.json.gz": [gzip.compress(NEW_FORM, mtime=0)],
    "a.csv": [NUMBERS, NUMBERS.replace(b",", b"\t"), b"path,label,start_s\ngood.wav,OK,0.01\n"],
    "a.mat": [mat_file(), mat_file(do_compression=True), mat_file(format="4")],
}
CHECKED = ("a.flac", "a.ogg", "a.json.gz")                      # forms that have check sums of their own


def mutated(content, draw):
    """What a disk, an editor or a bad will makes of a file; and whether it is only a part of it."""
    kind, size = draw.choice(["bits", "bytes", "cut", "zeros", "insert", "twice", "swap", "numbers", "head"]), len(content)
    start = draw.randrange(size)
    stop = min(size, start + draw.choice([1, 4, 40, 400]))
    if kind == "cut":
        return content[:start], True
    if kind == "numbers":                                       # another number where the text, or the header, has one
        places = [found.span() for found in re.finditer(rb"\d+", content)] or [(0, 1)]
        start, stop = draw.choice(places)
        return content[:start] + draw.choice([b"0", b"-1", b"1e400", b"99999999999999999999", b"null"]) + content[stop:], False
    changed = bytearray(content)
    if kind in ("bits", "head"):
        for _ in range(draw.randint(1, 4)):
            changed[draw.randrange(min(size, 120) if kind == "head" else size)] ^= 1 << draw.randrange(8)
    elif kind == "bytes":
        changed[start:stop] = bytes(draw.randrange(256) for _ in range(stop - start))
    elif kind == "zeros":
        changed[start:stop] = bytes(stop - start)
    elif kind == "insert":
        changed[start:start] = bytes(draw.randrange(256) for _ in range(draw.choice([1, 3, 50])))
    elif kind == "twice":
        changed[stop:stop] = changed[start:stop]
    else:
        other = draw.randrange(size)
        changed[start:stop], changed[other:other] = b"", changed[start:stop]
    return bytes(changed), False


@pytest.fixture(autouse=True)
def bounded():
    before = signal.signal(signal.SIGALRM, lambda *about: pytest.fail(f"it hangs: not done after {SECONDS} s"))
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < MEGABYTES * 1024


def samples_of(recordings):
    return [recordings.read(i) for i in range(len(recordings))]


def read(folder):
    """Recordings, and what is said of the others."""
    try:
        recordings = sd.load_recordings(folder, cache_dir=folder.parent / "cache", unknown_labels="ignore")
    except (ValueError, OSError) as error:
        return None, str(error)
    return recordings, "; ".join(f"{problem['key']}: {problem['problem']}" for problem in recordings.problems)


@pytest.mark.parametrize("part", range(8))
def test_inputs(part, tmp_path):
    warnings.simplefilter("ignore")
    for number in range(part, N_INPUTS, 8):
        draw = random.Random(number)
        name = draw.choice(list(FORMS))
        content = draw.choice(FORMS[name])
        (data := tmp_path / str(number) / "data").mkdir(parents=True)
        soundfile.write(data / "good.wav", SOUND[0], RATE, "FLOAT")
        (data / name).write_bytes(content)
        whole = samples_of(read(data)[0])
        changed, is_part = mutated(content, draw)
        (data / name).write_bytes(changed)
        signal.alarm(SECONDS)
        recordings, said = read(data)
        signal.alarm(0)
        what = f"input {number}, {name}: {said}"
        assert len(said) < 1000, what
        if recordings is None or said:
            assert name in said, what
        if recordings is not None:
            found = samples_of(recordings)
            assert all(np.isfinite(samples).all() and samples.size for samples in found), what
            if (is_part or name in CHECKED) and not said and "path" not in changed[:10].decode("latin-1"):
                rest = changed.rstrip()
                same = len(found) == len(whole) and all(map(np.array_equal, found, whole))
                # a table of numbers that ends with a line says nothing about how many there were
                assert same or name == "a.csv" and content.startswith(rest[:-8]), what
        shutil.rmtree(tmp_path / str(number))


@pytest.fixture(scope="module")
def plant(tmp_path_factory):
    root = tmp_path_factory.mktemp("plant")
    write_folder(root / "data", n_files=6)
    own = {"data.path": str(root / "data"), "data.cache_dir": str(root / "cache"), "training.epochs": 2}
    run = sd.train(sd.Config.load(None, SETTINGS | own), run=root / "run", progress=False)
    sd.evaluate(run)
    return root


def everything(run):
    opened = sd.Run(run)
    repr(opened), opened.results, opened.data, opened.metrics, opened.config, saved_evaluation(opened)


@pytest.mark.parametrize("part", range(4))
def test_run_folders(plant, part, tmp_path):
    """All that reads a run folder, after one of its files was changed, removed, or taken for another."""
    files = sorted(path.relative_to(plant / "run") for path in (plant / "run").rglob("*") if path.suffix in (
        ".yaml", ".json", ".csv", ".jsonl", ".safetensors", ".txt"))
    wanted = command("predict", plant / "run", plant / "data" / "machine_0.json")[1]
    for number in range(part, N_FOLDERS, 4):
        draw = random.Random(number)
        run = shutil.copytree(plant / "run", tmp_path / f"run-{number}")
        name = draw.choice(files)
        how = draw.random()
        if how < 0.1:
            (run / name).unlink()
        elif how < 0.2:
            shutil.copy(plant / "run" / draw.choice(files), run / name)
        else:
            (run / name).write_bytes(mutated((run / name).read_bytes(), draw)[0])
        signal.alarm(SECONDS)
        for words in (["predict", run, plant / "data" / "machine_0.json"], ["runs", tmp_path], ["compare", plant / "run", run]):
            code, out, err = command(*words)
            what = f"folder {number}, {name}, {words[0]}: {out}{err}"
            assert "Traceback" not in err and "not foreseen" not in err and err.count("error:") == (code != 0), what
            if code:
                assert run.name in err or str(name.name) in err, what
            elif words[0] == "predict":
                assert out == wanted, what
        try:
            everything(run)
        except (ValueError, OSError) as error:
            assert run.name in str(error), f"folder {number}, {name}: {error}"
        signal.alarm(0)
        shutil.rmtree(run)
