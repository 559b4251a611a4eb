"""The service under load: runs listed, clients that poll while a training runs, a large upload, and scores by REST beside the detector in process.

    OMP_NUM_THREADS=1 python bench/service.py [--only listing polling upload predictions] [--full]

1. `listing`: how long a service with 10,000 finished runs takes to list all of them, or a page of 50, after one run has changed; medians of what the client waits
   and of the CPU time of the service.
2. `polling`: 200 clients ask for the status of a training once a second each. In turn with times without clients: steps of the training a second, and their ratio.
3. `upload`: peak memory of a service that scores an upload of 10 MB, then one of 100 MB (`--full`: 1 GB), WAV of eight channels.
4. `predictions`: recordings of a second scored in a second, by the detector in this process and by REST: a folder below the root, and file after file uploaded.

The service runs in a process of its own, on 127.0.0.1. Networks are small, so that what is measured is the service.
"""
import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path

import httpx
import numpy as np
import psutil
import soundfile

from sounddetect.config import Config
from sounddetect.data.simulation import simulate
from sounddetect.detector.detector import Detector

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from support.service import API, TOKEN, services_of  # noqa: E402 - the harness of the tests

METRICS = {name: value for name in ("auc", "f1", "recall") for name, value in ((name, 0.9), (f"{name}_ci", [0.8, 1.0]))}
MB = 1_000_000


def run_folders(runs, n):
    """Folders as finished trainings leave them, as far as a list looks at them."""
    config = Config.load(None).resolve().to_yaml()
    files = {"config.yaml": config, "model/model.json": "{}", "results.csv": "epoch,train_loss,val_loss\n1,0.5,0.4\n2,0.3,0.2\n",
             "log.txt": "2026-01-01T10:00:00 begun\n", "events.jsonl": json.dumps({"event": "stop", "best_epoch": 2}) + "\n",
             "evaluation/metrics.json": json.dumps(METRICS), "weights/last.pt": ""}
    for number in range(n):
        for name, content in files.items():
            path = runs / f"run-{number:05d}" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)


def listing(folder, services, options):
    run_folders(folder / "runs", options.runs)
    service = services()
    process = psutil.Process(service.process.pid)

    def asked(path):
        """Seconds that the client waited, and of the service's CPU; of several times the medians."""
        times = []
        for number in range(options.repeats):
            (folder / "runs" / f"run-{number:05d}" / "results.csv").write_text("epoch,val_loss\n1,0.5\n")
            (folder / "runs" / f"run-{number:05d}").touch()
            began, used = time.perf_counter(), sum(process.cpu_times()[:2])
            answer = service.client.get(path)
            assert answer.status_code == 200, answer.text
            times.append((time.perf_counter() - began, sum(process.cpu_times()[:2]) - used))
        return np.median(times, 0)

    print(f"{options.runs:,} runs, medians of {options.repeats}{'ms':>17} {'CPU ms':>8}")
    began = time.perf_counter()
    assert service.get("/runs")["count"] == options.runs
    print(f"{'first time after the start':40} {1000 * (time.perf_counter() - began):8.0f}")
    for name, path in {"all runs": f"{API}/runs", "50 runs": f"{API}/runs?limit=50", "50 statuses": f"{API}/training/status?limit=50",
                       "the page": "/ui/ml", "the page, with a filter": "/ui/ml?q=999&state=completed"}.items():
        service.client.get(path)
        print("{:40} {:8.0f} {:8.0f}".format(name, *(1000 * asked(path))), flush=True)


def steps_of(run):
    """Steps that a training has told of."""
    events = run / "events.jsonl"
    return events.read_bytes().count(b'"event": "batch"') if events.exists() else 0


async def poll(address, training_id, n_clients, seconds):
    """Seconds of each answer, and how many requests got none."""
    waited, lost, until = [], 0, time.perf_counter() + seconds
    limits = httpx.Limits(max_connections=n_clients, max_keepalive_connections=n_clients)
    headers = {"Authorization": f"Bearer {TOKEN}"}

    async def one(client, number):
        nonlocal lost
        await asyncio.sleep(number / n_clients)
        while (began := time.perf_counter()) < until:
            try:
                answer = await client.get(f"{API}/training/status/{training_id}")
                lost += answer.status_code != 200
            except httpx.HTTPError:
                lost += 1
            waited.append(time.perf_counter() - began)
            await asyncio.sleep(max(0.0, 1 - waited[-1]))

    async with httpx.AsyncClient(base_url=address, headers=headers, limits=limits, timeout=30) as client:
        await asyncio.gather(*(one(client, number) for number in range(n_clients)))
    return waited, lost


def polling(folder, services, options):
    simulate(folder / "data", 96, seed=1, n_machines=12, duration=1.0)
    service = services()
    training_id = service.post("/training/start", mode="full", dataset_path="data", model_architecture="s", epochs=100_000, batch_size=4,
                               settings={"training.early_stopping": None})["training_id"]
    run = folder / "runs" / training_id
    while steps_of(run) < 20:
        time.sleep(0.2)
    pace = {"alone": [], "polled": []}
    waited, lost = [], 0
    for _ in range(options.repeats):
        for how, rates in pace.items():
            before, began = steps_of(run), time.perf_counter()
            if how == "polled":
                found = asyncio.run(poll(service.address, training_id, options.clients, options.seconds))
                waited, lost = waited + found[0], lost + found[1]
            else:
                time.sleep(options.seconds)
            rates.append((steps_of(run) - before) / (time.perf_counter() - began))
    service.post(f"/jobs/{training_id}/stop")
    service.until(training_id, "stopped")
    alone, polled = (statistics.median(rates) for rates in pace.values())
    p50, p99 = 1000 * np.quantile(waited, [0.5, 0.99])
    print(f"{options.clients} clients for {options.repeats} times {options.seconds:g} s: {len(waited) / options.repeats / options.seconds:.0f} requests/s, "
          f"p50 {p50:.0f} ms, p99 {p99:.0f} ms, {lost} lost")
    print(f"training: {alone:.1f} steps/s alone, {polled:.1f} polled, ratio {polled / alone:.3f}", flush=True)


def detector_run(service):
    """A tiny training that has come to its end."""
    training_id = service.post("/training/start", mode="full", dataset_path="data", model_architecture="n", epochs=1)["training_id"]
    status = service.until(training_id, "completed", "failed")
    assert status["status"] == "completed", status
    return f"runs/{training_id}"


def peak_memory(pid):
    """Greatest resident memory of a process so far (MB)."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(lines["VmHWM"].split()[0]) * 1024 / MB


def wav_of(path, n_bytes, channels=8, rate=48_000):
    """A WAV file of noise, written in pieces."""
    piece = (3000 * np.random.default_rng(0).standard_normal((rate, channels))).astype(np.int16)
    with soundfile.SoundFile(path, "w", rate, channels, "PCM_16") as file:
        for _ in range(max(1, n_bytes // piece.nbytes)):
            file.write(piece)
    return path


def upload(folder, services, options):
    simulate(folder / "data", 24, seed=1, n_machines=6, duration=0.2)
    service = services()
    model = detector_run(service)
    print(f"{'uploaded, MB':>14} {'seconds':>8} {'peak MB':>8}")
    print(f"{0:14} {0:8.1f} {peak_memory(service.process.pid):8.0f}", flush=True)
    for n_bytes in (10 * MB, 990 * MB if options.full else 100 * MB):
        path = wav_of(folder / "large.wav", n_bytes)
        began = time.perf_counter()
        with open(path, "rb") as content:
            answer = service.client.post(f"{API}/predictions/upload", params={"model_path": model, "name": "large.wav"},
                                         content=iter(lambda: content.read(MB), b""), headers={"content-length": str(path.stat().st_size)}, timeout=3600)
        assert answer.status_code == 200, answer.text
        print(f"{path.stat().st_size / MB:14.0f} {time.perf_counter() - began:8.1f} {peak_memory(service.process.pid):8.0f}", flush=True)


def predictions(folder, services, options):
    simulate(folder / "data", 24, seed=1, n_machines=6, duration=0.2)
    many = folder / "many"
    many.mkdir()
    draw = np.random.default_rng(0)
    for number in range(options.recordings):
        soundfile.write(many / f"{number:04d}.wav", 0.1 * draw.standard_normal(44_100), 44_100)
    service = services()
    model = detector_run(service)
    detector = Detector.load(folder / model)
    files = sorted(many.iterdir())[:options.recordings // 4]

    def by_upload():
        for file in files:
            answer = service.client.post(f"{API}/predictions/upload", params={"model_path": model, "name": file.name}, content=file.read_bytes())
            assert answer.status_code == 200, answer.text

    ways = {"in process, a folder": (lambda: detector.predict(many, progress=False), options.recordings),
            "by REST, a folder": (lambda: service.post("/predictions", model_path=model, path="many"), options.recordings),
            "in process, file after file": (lambda: [detector.predict(file, progress=False) for file in files], len(files)),
            "by REST, file after file": (by_upload, len(files))}
    rates = {name: [] for name in ways}
    for repeat in range(options.repeats + 1):
        for name, (score, n) in ways.items():
            began = time.perf_counter()
            score()
            if repeat:                                      # the first one warms up
                rates[name].append(n / (time.perf_counter() - began))
    found = {name: statistics.median(those) for name, those in rates.items()}
    for kind in ("a folder", "file after file"):
        here, rest = found[f"in process, {kind}"], found[f"by REST, {kind}"]
        print(f"{kind:16} {here:7.1f} recordings/s in process, {rest:7.1f} by REST, ratio {rest / here:.3f}", flush=True)


if __name__ == "__main__":
    parts = {"listing": listing, "polling": polling, "upload": upload, "predictions": predictions}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=parts, default=list(parts))
    parser.add_argument("--full", action="store_true", help="an upload of 1 GB")
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=8.0, help="of polling at a time")
    parser.add_argument("--recordings", type=int, default=400)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    for name in options.only:
        with tempfile.TemporaryDirectory() as place, services_of(Path(place).resolve()) as services:
            parts[name](Path(place).resolve(), services, options)
