"""What it costs to score an archive: per file, beside `predict` on the same folder, and per file of a listing; and by workers of Ray.

    python bench/archives.py [--files 2000] [--listed 1000000] [--workers 1 2] [--shard 256] [--price 0.05]

Files are a second of a simulated machine at 16 kHz, in folders by day; the detector is the default for good recordings alone. Both ways
take turns three times, in one process on one thread. With `--workers`, the same archive is scored by so many workers of Ray on one thread each,
in turns with this process alone; counted is wall time, without the start of Ray, which is given beside. The last lines are arithmetic, not
measured: what 10^4 to 10^8 such files would take by the constants of the same run, at `--price` for an hour of one core.
"""
import argparse
import os
import tempfile
import time
import tracemalloc
import warnings
from pathlib import Path

import fsspec
import numpy as np
import soundfile
import torch

import sounddetect as sd
from sounddetect.data.simulation import simulate_recordings
from sounddetect.jobs.archives import N_FILES, files_in, score_archive


class Days(fsspec.AbstractFileSystem):
    """`days://N`: N folders, each with a thousand files."""

    protocol, cachable = "days", False

    def ls(self, path, detail=True, **options):
        n, _, day = self._strip_protocol(path).strip("/").partition("/")
        if not day:
            return [{"name": f"{n}/{k:08d}", "size": 0, "type": "directory"} for k in range(int(n))]
        return [{"name": f"{n}/{day}/{k:03d}.wav", "size": 32044, "type": "file"} for k in range(1000)]

    def isdir(self, path):
        return True


def listing(n_files):
    """Seconds for a million names, and the peak of memory in MB."""
    began = time.process_time()
    count = sum(1 for _ in files_in(Days(), str(n_files // 1000)))
    seconds = time.process_time() - began
    tracemalloc.start()
    sum(1 for _ in files_in(Days(), str(max(1, n_files // 10000))))
    return seconds / count * 1e6, tracemalloc.get_traced_memory()[1] / 1e6


def on_paper(n_files, score_s, list_s, price):
    """Hours of one core for scoring and listing so many files, and what they cost; the store's own time and money are not in it."""
    hours = n_files * (score_s + list_s) / 3600
    return hours, hours * price


def by_workers(detector, folder, n_workers, n_files, n_turns=3):
    """Seconds to start, and for the archive: here and by workers, in turns, in shards of `n_files`."""
    os.environ["RAY_worker_niceness"] = "0"                       # as `--engine ray` starts it
    import ray

    def score(engine, turn):
        began = time.perf_counter()
        found = score_archive(detector, f"{folder}/archive", f"{folder}/{engine}-{n_workers}-{turn}", n_files=n_files,
                              progress=False, engine=engine)
        return time.perf_counter() - began, found.read()["anomaly_score"]

    began = time.perf_counter()
    ray.init(address="local", num_cpus=n_workers, include_dashboard=False, _node_ip_address="127.0.0.1", log_to_driver=False,
             object_store_memory=1 << 28)
    score("ray", "warm")                                          # workers import torch and load the detector
    start = time.perf_counter() - began
    turns = [(score("local", turn), score("ray", turn)) for turn in range(n_turns)]
    ray.shutdown()
    for (_, here), (_, there) in turns:
        np.testing.assert_array_equal(here, there)
    return start, np.array([[here[0], there[0]] for here, there in turns])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--listed", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, nargs="*", default=[])
    parser.add_argument("--shard", type=int, default=N_FILES)
    parser.add_argument("--price", type=float, default=0.05, help="of an hour of one core, in any currency")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        sound, labels, _ = simulate_recordings(100, sample_rate=16000, n_machines=4, fault_level=0)
        good = [one for one, label in zip(sound, labels) if label == "OK"]
        config = sd.Config.load(None, {"task": "anomaly", "data.cache_dir": f"{folder}/cache", "output.dir": f"{folder}/runs"})
        detector = sd.train(config, sd.Recordings.from_arrays(good, 16000, ["OK"] * len(good)), progress=False).detector
        for k in range(given.files):
            path = Path(folder) / "archive" / f"2026-01-{k * 28 // given.files + 1:02d}" / f"{k:06d}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, sound[k % 100], 16000)
        seconds = {"predict": [], "score_archive": []}
        for turn in range(3):
            began = time.process_time()
            told = detector.predict(f"{folder}/archive", progress=False)
            seconds["predict"].append(time.process_time() - began)
            began = time.process_time()
            archive = score_archive(detector, f"{folder}/archive", f"{folder}/scores-{turn}", progress=False)
            seconds["score_archive"].append(time.process_time() - began)
        np.testing.assert_allclose(archive.read()["anomaly_score"], told.sort_values("key")["anomaly_score"], rtol=1e-5)
        by_ray = {n: by_workers(detector, folder, n, given.shard) for n in given.workers}
    for name, found in seconds.items():
        print(f"{name}: {1000 * np.median(found) / given.files:.2f} ms of CPU a file, from {1000 * min(found) / given.files:.2f} to "
              f"{1000 * max(found) / given.files:.2f}")
    print(f"score_archive / predict: {np.median(np.divide(seconds['score_archive'], seconds['predict'])):.3f}")
    per_million, peak = listing(given.listed)
    print(f"listing: {per_million:.1f} s of CPU a million files, {peak:.1f} MB at most")
    print(f"on paper, at {given.price:g} for an hour of one core:")
    for power in range(4, 9):
        hours, cost = on_paper(10**power, np.median(seconds["score_archive"]) / given.files, per_million / 1e6, given.price)
        print(f"  10^{power} files: {hours:.3g} hours of one core, {hours / 64:.2g} h on 64 cores if they scale, {cost:.2g}")
    for n, (start, found) in by_ray.items():
        faster = found[:, 0] / found[:, 1]
        print(f"Ray, {n} workers: {np.median(faster):.2f} times as fast as one process, from {faster.min():.2f} to {faster.max():.2f}; "
              f"start and first archive {start:.1f} s, each further one {np.median(found[:, 1]):.1f} s")
