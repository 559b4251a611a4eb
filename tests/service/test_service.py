"""The service as people run it: a process that may be killed, requests of others, trainings that come to their end all the same."""

import contextlib
import json
import os
import random
import signal
import subprocess
import time

import httpx
import numpy as np
import pytest
from support.commands import weights
from support.service import API, SMALL, TOKEN, services_of
from support.tiny import RATE, write_folder
from websockets.exceptions import ConnectionClosed

pytest.importorskip("sqlalchemy")

N_KILLS = max(1, int(os.environ.get("SOUNDDETECT_KILLS", 3)) // 3)  # `make nightly` sets more
STEADY = SMALL | {"training.early_stopping": None}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("service").resolve()
    write_folder(place / "dataset")
    return place


@pytest.fixture
def services(folder):
    """`services()` starts one; none is left, and no training of theirs."""
    with services_of(folder) as start:
        yield start


def test_a_program_written_for_images_trains_a_detector(services, folder):
    """As such a program does: check, train, ask until it has ended; only address, path, token and network are others."""
    service = services()
    checked = service.post("/dataset/validate", dataset_path="dataset", check_images=True, check_labels=True, validate_format=True)
    assert checked["recordings"] == 24 and checked["valid"]
    asked = {"mode": "full", "dataset_path": "dataset", "model_architecture": "n", "epochs": 2, "batch_size": 16}
    training_id = service.post("/training/start", **asked, learning_rate=0.01, settings=SMALL)["training_id"]
    seen = []
    while not seen or seen[-1]["status"] not in ("completed", "failed"):
        seen.append(service.get(f"/training/status/{training_id}"))
        assert 0 <= seen[-1]["progress"] <= 100
    assert seen[-1]["status"] == "completed" and seen[-1]["progress"] == 100, seen[-1]
    model = f"runs/{training_id}/weights/best.pt"
    shown = service.post("/model/visualize", model_path=model)
    picture = service.client.get(shown["confusion_matrix_url"])
    assert picture.headers["content-type"] == "image/png" and picture.content[:4] == b"\x89PNG"
    judged = service.post("/model/validate", model_path=model, confidence_threshold=0.25, save_predictions=True, analyze_errors=True)
    assert judged["threshold"] == 0.25 and judged["predictions_path"].startswith("validations/")
    scored = service.post("/predictions", model_path=model, path="dataset/machine_0.json")
    file = "machine_0.json"
    content = (folder / "dataset" / file).read_bytes()
    sent = service.client.post(f"{API}/predictions/upload", params={"model_path": model, "name": file}, content=content)
    assert sent.status_code == 200, sent.text
    assert sent.json()["predictions"] == scored["predictions"]
    assert not list((folder / ".sounddetect" / "uploads").iterdir()), "an upload leaves nothing"
    many = service.post("/predictions/batch", model_path=model, paths=["dataset", "dataset/lost.json"])
    assert many["entries"][0]["predictions"][: scored["count"]] == scored["predictions"] and many["count"] == 24
    assert [(one["path"], one["detail"]) for one in many["failed"]] == [("dataset/lost.json", "'dataset/lost.json' is not there")]
    windows = service.post("/predictions", model_path=model, path="dataset/machine_0.json", per="window")["predictions"]
    first = [row["anomaly_score"] for row in windows if row["key"] == windows[0]["key"]]
    sound = np.array(json.loads(content)["waveforms"][0], "<f4").tobytes()
    with service.socket(f"/stream?model_path={model}&sample_rate={RATE}") as stream:
        stream.send(sound[:1000])
        stream.send(sound[1000:])
        stream.send("finish")
        live = [window["anomaly_score"] for _ in range(3) for window in json.loads(stream.recv())["windows"]]
    assert live == pytest.approx(first, abs=1e-5)
    added = service.post("/registry/fan", training_id=training_id, notes="first")
    assert (added["version"], added["aliases"], added["run"]) == (1, [], training_id)
    assert service.post("/registry/fan/promote", version=1)["aliases"] == ["champion"]
    again = service.post("/predictions", model_path="models:/fan@champion", path="dataset/machine_0.json")
    assert again["predictions"] == scored["predictions"]
    assert service.end() == 0


def test_killed_with_its_trainings_at_any_moment_they_end_with_the_same_bits(services, folder):
    service = services()
    asked = {"mode": "full", "dataset_path": "dataset", "model_architecture": "n", "epochs": 30, "batch_size": 2}
    undisturbed = service.post("/training/start", **asked, settings=STEADY)["training_id"]
    assert service.until(undisturbed, "completed", "failed")["status"] == "completed"
    for number in range(N_KILLS):
        draw = random.Random(number)
        first, second = (service.post("/training/start", **asked, settings=STEADY)["training_id"] for _ in range(2))
        while service.get(f"/training/status/{first}")["epoch"] < draw.randint(1, 20):
            time.sleep(0.02)
        worker = worker_of(folder, first)
        order = [service.process.pid, worker] if draw.random() < 0.5 else [worker, service.process.pid]
        for victim in order if draw.random() < 0.7 else [service.process.pid]:
            os.kill(victim, signal.SIGKILL)
        service.process.communicate()
        service = services()
        assert service.get(f"/training/status/{first}")["status"] in ("queued", "running", "completed")
        wanted = draw.randint(1, 20)
        while service.get(f"/training/status/{second}")["epoch"] < wanted:
            time.sleep(0.02)
        with contextlib.suppress(ProcessLookupError, FileNotFoundError, ValueError):      # it may be at its end already
            os.kill(worker_of(folder, second), signal.SIGKILL)                            # alone: the service begins it again
        for training_id in (first, second):
            assert service.until(training_id, "completed", "failed")["status"] == "completed"
            assert weights(folder / "runs" / training_id) == weights(folder / "runs" / undisturbed)
            log = (folder / "runs" / training_id / "log.txt").read_text()
            assert log.count("finished after epoch 30") == 1, "it was trained twice"


def worker_of(folder, training_id):
    """Number of the process that trains."""
    return int((folder / ".sounddetect" / f"{training_id}.lock").read_text())


def test_stopped_and_gone_on_with(services, folder):
    service = services()
    asked = {"mode": "full", "dataset_path": "dataset", "model_architecture": "n", "epochs": 3000, "batch_size": 2}
    training_id = service.post("/training/start", **asked, settings=STEADY)["training_id"]
    while service.get(f"/training/status/{training_id}")["epoch"] < 1:
        time.sleep(0.05)
    with service.socket(f"/jobs/{training_id}/events") as listener:
        assert json.loads(listener.recv()) == {"event": "status", "status": "running"}
        numbers = [json.loads(listener.recv())["number"]]
        assert service.end() == 0                                # the service goes, whoever listens; the training stays
        with pytest.raises(ConnectionClosed):
            while True:
                numbers.append(json.loads(listener.recv())["number"])
    service = services()
    with service.socket(f"/jobs/{training_id}/events?after={numbers[-1]}") as listener:
        listener.recv()
        assert numbers + [json.loads(listener.recv())["number"]] == list(range(1, len(numbers) + 2)), "an event is lost"
    assert service.get(f"/training/status/{training_id}")["status"] == "running"
    service.post(f"/jobs/{training_id}/stop")
    stopped = service.until(training_id, "stopped")
    assert stopped["actions"] == ["resume", "extend"] and 0 < stopped["progress"] < 100
    again = service.client.post(f"{API}/jobs/{training_id}/stop")
    assert again.status_code == 409 and "is stopped, which allows resume and extend" in again.json()["detail"]
    service.post("/training/start", mode="resume", training_id=training_id)
    service.until(training_id, "running")
    service.post(f"/jobs/{training_id}/stop")
    service.until(training_id, "stopped")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 8 MB."""
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", tmp_path], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {made.stderr.strip()}")
    yield tmp_path
    subprocess.run(["umount", "--lazy", tmp_path], check=True)


@pytest.mark.skipif(N_KILLS == 1, reason="a service and three processes that train: make nightly")
def test_a_full_disk_is_said_and_nothing_is_lost(small_disk):
    write_folder(small_disk / "dataset")
    with services_of(small_disk) as services:
        service = services()
        asked = {"mode": "full", "dataset_path": "dataset", "model_architecture": "n", "epochs": 5, "batch_size": 2, "settings": STEADY}
        undisturbed = service.post("/training/start", **asked)["training_id"]
        assert service.until(undisturbed, "completed", "failed")["status"] == "completed"
        fill(small_disk, left=0)
        refused = service.client.post(f"{API}/training/start", json=asked)
        assert refused.status_code == 503 and "disk is full" in refused.json()["detail"]
        answers_all(service, undisturbed)
        (small_disk / "filler").unlink()
        fill(small_disk, left=100_000)                                  # for a queue and a folder, not for a checkpoint
        training_id = service.post("/training/start", **asked)["training_id"]
        failed = service.until(training_id, "completed", "failed")
        assert failed["status"] == "failed" and "room" in failed["message"], failed
        answers_all(service, training_id)
        (small_disk / "filler").unlink()
        service.post("/training/start", mode="resume", training_id=training_id)
        assert service.until(training_id, "completed", "failed")["status"] == "completed"
        assert weights(small_disk / "runs" / training_id) == weights(small_disk / "runs" / undisturbed)
        assert service.end() == 0


def answers_all(service, training_id):
    for path in ("/training/status", f"/training/status/{training_id}", "/runs", "/status", "/health"):
        assert service.get(path)


def fill(disk, left):
    """Write until so many bytes are left."""
    with open(disk / "filler", "wb") as filler:
        room = os.statvfs(disk)
        filler.write(bytes(max(0, room.f_bavail * room.f_frsize - left)))


def outside(path):
    return {"dataset_path": path}


START = {"mode": "full", "dataset_path": "dataset"}
HOSTILE = [
    *[("POST", "/dataset/validate", outside(path), 403) for path in (
        "..", "../..", "dataset/../..", "/etc/passwd", "/", "/proc/self/environ", "/dev/zero", "/dev/stdin", "link", "link/hosts",
        ".sounddetect", ".sounddetect/service.db", "dataset\\..\\..", "/root")],
    *[("POST", "/dataset/validate", outside(path), 422) for path in ("", "a\0b", "a\nb", "x" * 5000, "pipe", 7, None, ["dataset"])],
    ("POST", "/dataset/validate", outside("holds_link"), 403),
    ("POST", "/dataset/validate", outside("nothing"), 404),
    ("POST", "/dataset/validate", outside("<script>alert(1)</script>"), 404),
    *[("POST", "/training/start", START | more, 422) for more in (
        {"mode": "fool"}, {"epochs": 0}, {"epochs": 10**30}, {"epochs": "many"}, {"learning_rate": -1}, {"learning_rate": 1e400},
        {"batch_size": -5}, {"settings": {"output.dir": "/etc"}}, {"settings": {"data.path": "/etc"}}, {"settings": {"x" * 500: 1}},
        {"settings": {"training.epochs": {"a": [1] * 50}}}, {"settings": {"clearml.enabled": True}}, {"mode": "transfer"},
        {"model_architecture": "yolov8s"}, {"model_architecture": "../../x"}, {"unknown": 1})],
    ("POST", "/training/start", {"mode": "resume", "training_id": "../x"}, 422),
    ("POST", "/training/start", {"mode": "resume", "training_id": "none"}, 404),
    ("POST", "/model/validate", {"model_path": "dataset"}, 404),
    ("POST", "/model/validate", {"model_path": "dataset", "iou_threshold": 0.45}, 422),
    ("GET", "/training/status/..%2f..%2fetc", None, 404),
    ("GET", "/runs/x/pictures/..%2f..%2fconfig.yaml", None, 404),
    ("DELETE", "/training/status", None, 405),
    ("POST", "/jobs/none/stop", None, 404),
]


def test_hostile_requests_are_refused_in_one_sentence(services, folder):
    (folder / "link").symlink_to("/etc")
    (folder / "holds_link").mkdir()
    (folder / "holds_link" / "out").symlink_to("/etc")
    os.mkfifo(folder / "pipe")
    service = services()
    try:
        for method, path, body, status in HOSTILE:
            content = None if body is None else json.dumps(body)
            answer = service.client.request(method, API + path, content=content, headers={"content-type": "application/json"})
            assert answer.status_code == status, (method, path, body, answer.text)
            said = answer.json()
            assert list(said) == ["detail"] and 0 < len(said["detail"]) <= 2000 and "Traceback" not in said["detail"]
            assert answer.headers["x-content-type-options"] == "nosniff" and "server" not in answer.headers
        for content in (b"", b"{", b"[" * 100_000, b"\xff\xfe", b"null", b"[]"):
            answer = service.client.post(f"{API}/training/start", content=content, headers={"content-type": "application/json"})
            assert answer.status_code in (400, 422) and answer.json()["detail"], content[:10]
        large = service.client.post(f"{API}/training/start", content=b" " * 2_000_000)
        assert large.status_code == 413
        for header in ("", "Bearer", "Bearer x", f"Basic {TOKEN}"):
            answer = httpx.get(f"{service.address}{API}/status", headers={"authorization": header})
            assert answer.status_code == 401 and TOKEN not in answer.text
        assert service.get("/training/status")["count"] == len(list((folder / "runs").glob("*/config.yaml")))
        assert service.get("/health") == {"status": "ok"}
    finally:
        for name in ("link", "pipe", "holds_link/out"):
            (folder / name).unlink()


def test_beyond_this_machine_it_wants_a_token(command):
    refused = command("serve", "--host", "0.0.0.0", "--port", "0")
    assert refused.returncode == 1 and "a token is needed: set SOUNDDETECT_TOKEN" in refused.stderr
