"""Reading recordings, against what people read them with; each number in a process of its own, repetitions interleaved.

    python bench/reading.py [--scale 1] [--repeats 3] [--only json sizes files batches] [--folder DIR]

1. `json`: one file of the new form, 500 MB with 17 digits, 200 MB with 6 digits, 200 MB of integers. `load_recordings` begins with an empty cache, so
   its time includes writing the store and waiting for the disk. The peers end in float32 rows in memory, and those that can go row by row drop each row.
2. `sizes`: 100, 500 and 2000 MB, and the same opened again from the cache.
3. `files`: 10,000 WAV files of a second, first and second start.
4. `batches`: random batches of 64 windows from 4 GB of recordings, against a PyTorch `DataLoader` over the WAV files they came from.

`--scale 0.1` makes everything ten times smaller. ijson is needed for its row only (`pip install ijson==3.6.0`); a peer that is not there is left out.
What is generated is deleted at the end.
"""
import argparse
import importlib.util
import json
import mmap
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import orjson
import pandas as pd

MB, GB = 10**6, 10**9
LIMIT = 10 * GB                 # of a reader's memory; one that needs more is shown as such
ROW = 44100                     # samples


# What is read

def write_json(path, megabytes, form):
    """A file of the new form of about that size: samples as `17 digits`, `6 digits` or `integers`."""
    rng = np.random.default_rng(0)
    make = {"17 digits": lambda x: x, "6 digits": lambda x: x.round(6), "integers": lambda x: np.round(x * 32768).astype(np.int64)}[form]
    n_rows = 0
    with open(path, "wb") as file:
        file.write(b'{"waveforms":[')
        while file.tell() < megabytes * MB:
            file.write(b"," * (n_rows > 0) + orjson.dumps(make(rng.normal(0, 0.1, ROW)), option=orjson.OPT_SERIALIZE_NUMPY))
            n_rows += 1
        file.write(b'],"labels":' + orjson.dumps(["OK", "NG"] * (n_rows // 2) + ["OK"] * (n_rows % 2)) + b',"fs":44100}')
    return path


def write_wavs(folder, n_files, seconds, sample_rate, subtype):
    import soundfile
    noise = np.random.default_rng(0).normal(0, 0.1, 2 * seconds * sample_rate).astype(np.float32)
    for k in range(n_files):
        (path := folder / ("OK", "NG")[k % 2] / f"{k:05d}.wav").parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.roll(noise, k)[:seconds * sample_rate], sample_rate, subtype)
    return folder


# Readers of one JSON file: each returns the function to be timed, so that imports are not

def ours(path, cache):
    from sounddetect.data.collection.loading import load_recordings
    return lambda: len(load_recordings(path, cache_dir=cache))


def json_load(path, cache):
    def read():
        with open(path) as file:
            content = json.load(file)
        return len([np.array(row, np.float32) for row in content["waveforms"]])
    return read


def orjson_whole(path, cache):
    return lambda: len([np.array(row, np.float32) for row in orjson.loads(Path(path).read_bytes())["waveforms"]])


def ijson_rows(path, cache):
    import ijson.backends.yajl2_c as backend

    def read():
        with open(path, "rb") as file:
            return sum(1 for row in backend.items(file, "waveforms.item", buf_size=1 << 20, use_float=True) if np.array(row, np.float32).size)
    return read


def pandas_read_json(path, cache):
    return lambda: len([np.array(row, np.float32) for row in pd.read_json(path)["waveforms"]])


READERS = {"json.load": json_load, "load_recordings": ours, "orjson, whole file": orjson_whole, "ijson, row by row": ijson_rows,
           "pandas.read_json": pandas_read_json}


# A process for each number

def memory(name):
    """A number of /proc/self/status in MB: VmRSS, VmHWM (its peak), RssAnon."""
    return _status("self", name)


def _status(process, name):
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024 / MB
    raise ProcessLookupError


def child(reader, path, cache):
    """Time one reader; what it needs beyond what was there before."""
    read = READERS[reader](path, cache)
    Path("/proc/self/clear_refs").write_text("5")                   # VmHWM begins anew
    before = {name: memory(name) for name in ("VmRSS", "RssAnon")}
    resource.setrlimit(resource.RLIMIT_DATA, (LIMIT, LIMIT))
    started = time.perf_counter()
    try:
        n_rows = read()
    except MemoryError:
        print(json.dumps({"failed": f"over {LIMIT // GB} GB"}))
        return
    seconds = time.perf_counter() - started
    print(json.dumps({"rows": n_rows, "seconds": seconds, "peak": memory("VmHWM") - before["VmRSS"], "anonymous before": before["RssAnon"]}))


def in_child(*arguments):
    """What `child` prints, and the peak of anonymous memory as seen from outside every 2 ms: mapped pages of files are not part of it."""
    process = subprocess.Popen([sys.executable, __file__, "--child", *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    anonymous = 0
    while process.poll() is None:
        try:
            anonymous = max(anonymous, _status(process.pid, "RssAnon"))
        except (ProcessLookupError, FileNotFoundError):
            pass                                                    # it has just ended
        time.sleep(0.002)
    out, err = process.communicate()
    if process.returncode:
        return {"failed": (err.strip().splitlines() or [f"ended with {process.returncode}"])[-1][:60]}
    measured = json.loads(out.splitlines()[-1])
    if "anonymous before" in measured:
        measured["anonymous"] = anonymous - measured.pop("anonymous before")
    return measured


def _unless_failed(measured):
    if "failed" in measured:
        raise SystemExit(measured["failed"])
    return measured


def read_once(path):
    """Bring a file into the page cache."""
    with open(path, "rb") as file:
        while file.read(1 << 24):
            pass


def with_fresh_cache(folder, reader, path):
    read_once(path)
    cache = Path(tempfile.mkdtemp(dir=folder))
    try:
        return in_child(reader, path, cache)
    finally:
        shutil.rmtree(cache)


# The four parts

def compare_json(folder, scale, repeats):
    present = [name for name in READERS if not name.startswith("ijson") or importlib.util.find_spec("ijson")]
    for form, megabytes in (("17 digits", 500), ("6 digits", 200), ("integers", 200)):
        path = write_json(folder / "recordings.json", megabytes * scale, form)
        size = path.stat().st_size / MB
        runs = {name: [] for name in present}
        for _ in range(repeats):
            for name in present:
                if not (runs[name] and "failed" in runs[name][-1]):
                    runs[name].append(with_fresh_cache(folder, name, path))
        yield f"{size:.0f} MB, {form}; medians of {repeats}", _json_table(runs, size)
        path.unlink()


def _json_table(runs, size):
    rows = {}
    for name, own in runs.items():
        if "failed" in own[-1]:
            rows[name] = {"MB/s": own[-1]["failed"]}
            continue
        ratios = [reference["seconds"] / run["seconds"] for reference, run in zip(runs["json.load"], own)]
        middle = pd.DataFrame(own).median()
        rows[name] = {"MB/s": round(size / middle["seconds"]), "/ json.load": round(np.median(ratios), 1), "lowest": round(min(ratios), 1),
                      "peak MB": round(middle["peak"]), "of it anonymous": round(middle["anonymous"])}
    return pd.DataFrame.from_dict(rows, orient="index")


def compare_sizes(folder, scale, repeats):
    rows = {}
    for megabytes in (100, 500, 2000):
        path = write_json(folder / "recordings.json", megabytes * scale, "17 digits")
        first = pd.DataFrame([_unless_failed(with_fresh_cache(folder, "load_recordings", path)) for _ in range(repeats)]).median()
        cache = Path(tempfile.mkdtemp(dir=folder))
        in_child("load_recordings", path, cache)
        again = pd.DataFrame([_unless_failed(in_child("load_recordings", path, cache)) for _ in range(repeats)]).median()
        rows[f"{path.stat().st_size / MB:.0f} MB"] = {"seconds": round(first["seconds"], 2), "MB/s": round(path.stat().st_size / MB / first["seconds"]), "peak MB": round(first["peak"]),
                                                     "of it anonymous": round(first["anonymous"]), "again, seconds": round(again["seconds"], 3)}
        shutil.rmtree(cache)
        path.unlink()
    yield f"load_recordings, 17 digits; medians of {repeats}", pd.DataFrame.from_dict(rows, orient="index")


def compare_files(folder, scale, repeats):
    n_files, rows = round(10_000 * scale), []
    data = write_wavs(folder / "wavs", n_files, 1, 16000, "PCM_16")
    for _ in range(repeats):
        cache = Path(tempfile.mkdtemp(dir=folder))
        first, second = (_unless_failed(in_child("load_recordings", data, cache)) for _ in range(2))
        rows.append({"first, seconds": first["seconds"], "second, seconds": second["seconds"], "stores": len(list(cache.glob("stores/*"))), "peak MB": first["peak"]})
        shutil.rmtree(cache)
    shutil.rmtree(data)
    yield f"{n_files} WAV files of 1 s, 16 kHz, 16 bit; medians of {repeats}", pd.DataFrame(rows).median().to_frame("load_recordings").T.round(2)


# Random windows. What a machine with less memory than recordings would have to fetch from disk each time is dropped from the page cache after each use.

WINDOW, BATCH = 22050, 64


def drop(path):
    """Take a file's pages out of the page cache."""
    with open(path, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


class Wavs:
    """Random windows of WAV files, for `DataLoader`."""

    def __init__(self, folder, cold):
        import soundfile
        self.read, self.cold = soundfile.read, cold
        self.paths = sorted(map(str, Path(folder).rglob("*.wav")))
        self.n_samples = soundfile.info(self.paths[0]).frames

    def __len__(self):
        return 10**9

    def __getitem__(self, number):
        rng = np.random.default_rng(number)
        path, start = self.paths[rng.integers(len(self.paths))], int(rng.integers(self.n_samples - WINDOW))
        window = self.read(path, WINDOW, start, dtype="float32")[0]
        if self.cold:
            drop(path)
        return window


def batches_of_loader(folder, cache, n_workers, cold):
    import torch
    torch.set_num_threads(1)
    loader = torch.utils.data.DataLoader(Wavs(folder, cold), BATCH, shuffle=False, num_workers=n_workers)
    return iter(loader)


def batches_of_store(folder, cache, cold):
    import torch

    from sounddetect.data.collection.loading import load_recordings
    recordings, rng = load_recordings(folder, cache_dir=cache), np.random.default_rng(0)
    n_samples = recordings.n_samples

    def batches():
        while True:
            rows = rng.integers(len(recordings), size=BATCH)
            starts = [int(rng.integers(n_samples[i] - WINDOW)) for i in rows]
            yield torch.from_numpy(np.stack([recordings.read(i, start, start + WINDOW)[0] for i, start in zip(rows, starts)]))
            if cold:
                for store in recordings._stores:
                    store._mapped.madvise(mmap.MADV_DONTNEED)         # pages that are mapped cannot be dropped
                    drop(store.path / "samples")
    return batches()


LOADERS = {"load_recordings": batches_of_store, "DataLoader, no workers": lambda *a: batches_of_loader(*a[:2], 0, a[2]),
           "DataLoader, 2 workers": lambda *a: batches_of_loader(*a[:2], 2, a[2])}


def child_of_batches(name, folder, cache, cold, n_batches):
    batches = LOADERS[name](folder, cache, cold == "cold")
    for _ in range(3):
        next(batches)
    data = int(_status("self", "VmData") * MB)
    resource.setrlimit(resource.RLIMIT_DATA, (data + 256 * MB,) * 2)
    started = time.perf_counter()
    for _ in range(int(n_batches)):
        assert next(batches).shape == (BATCH, WINDOW)
    print(json.dumps({"batches/s": int(n_batches) / (time.perf_counter() - started)}))


def compare_batches(folder, scale, repeats):
    data = write_wavs(folder / "long", round(2400 * scale), 10, 44100, "FLOAT")
    cache = folder / "cache"
    _unless_failed(in_child("load_recordings", data, cache))
    files = [*data.rglob("*.wav"), *cache.rglob("samples")]
    size = sum(path.stat().st_size for path in cache.rglob("samples")) / GB
    rows = {name: {} for name in LOADERS}
    for state in ("cold", "warm"):
        runs = {name: [] for name in LOADERS}
        os.sync()                                                   # pages not yet written cannot be dropped
        for path in files:
            drop(path) if state == "cold" else read_once(path)
        for _ in range(repeats):
            for name in LOADERS:
                runs[name].append(in_child("batches", name, data, cache, state, 40 if state == "cold" else 200))
        for name, own in runs.items():
            speeds = [_unless_failed(run)["batches/s"] for run in own]
            rows[name] |= {f"{state}, batches/s": round(np.median(speeds), 1), f"{state}, lowest": round(min(speeds), 1)}
    shutil.rmtree(data)
    shutil.rmtree(cache)
    yield f"batches of {BATCH} windows of {WINDOW} samples from {size:.1f} GB; medians of {repeats}", pd.DataFrame.from_dict(rows, orient="index")


PARTS = {"json": compare_json, "sizes": compare_sizes, "files": compare_files, "batches": compare_batches}


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child_of_batches(*sys.argv[3:]) if sys.argv[2] == "batches" else child(*sys.argv[2:])
        sys.exit()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--folder", help="where to generate, about 9 GB at scale 1; default: the system's temporary folder")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        for part in arguments.only:
            for title, table in PARTS[part](Path(folder), arguments.scale, arguments.repeats):
                print(f"{title}\n{table.to_string()}\n", flush=True)
