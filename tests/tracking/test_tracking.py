"""Trackers are told everything and can spoil nothing: against servers that refuse, hang, lie, die, and one that works."""

import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
import warnings
import zipfile
from contextlib import contextmanager

import pytest
from support.clearml_server import ACCESS, SECRET, clearml_server, variables
from support.commands import program, run_in
from support.tiny import SETTINGS, options, write_folder

import sounddetect as sd
from sounddetect.tracking import run_tracking
from sounddetect.tracking.clearml_server import Keys, log_in, set_up_clearml
from sounddetect.tracking.guard import Guarded
from sounddetect.training.trainer import MACHINE_COLUMNS

EPOCHS = 3


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A user without any ClearML, and all the time that a slow machine needs."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CLEARML_CONFIG_FILE", str(tmp_path / "home" / "clearml.conf"))
    monkeypatch.setattr(run_tracking, "CLOSING", 60)
    (tmp_path / "home").mkdir()
    return tmp_path


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("tracking") / "data")


def settings(recordings, folder, **changes):
    changes = {key.replace("__", "."): value for key, value in changes.items()}
    places = {"data.path": str(recordings), "data.cache_dir": f"{folder}/cache", "output.dir": f"{folder}/runs"}
    return sd.Config.load(None, SETTINGS | places | {"training.epochs": EPOCHS} | changes)


def trained(config, name, listeners=()):
    """A run, and what was said in it besides the epochs."""
    events = []
    path = f"{config.output.dir}/{name}"
    run = sd.train(config, run=path, progress=False, listeners=[events.append, *listeners])
    return run, [event["message"] for event in events if event["event"] in ("note", "warning")]


def table(run):
    """What does not depend on the machine."""
    return run.results.drop(columns=MACHINE_COLUMNS, errors="ignore").to_csv()


@pytest.fixture(scope="module")
def untracked(recordings, tmp_path_factory):
    return table(trained(settings(recordings, tmp_path_factory.mktemp("untracked"), clearml__enabled=False), "run")[0])


# --- servers that do not work ----------------------------------------------------------------------------------------


@contextmanager
def listening(talk):
    """A socket whose every connection is given to `talk`; its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept():
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=talk, args=[connection], daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1]


def silent(connection):
    time.sleep(1000)


def dribbling(connection):
    """An answer that never ends, a byte at a time: no time-out between two bytes is ever over."""
    try:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            time.sleep(0.2)
            connection.sendall(b" ")
    except OSError:
        pass


def says(answer):
    def talk(connection):
        try:
            connection.recv(10_000)
            connection.sendall(answer)
        finally:
            connection.close()

    return talk


def status(code, body=b"{}"):
    return says(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (code, len(body), body))


def self_signed(folder):
    """TLS with a certificate that nobody knows."""
    if not shutil.which("openssl"):
        pytest.skip("no openssl to make a certificate with")
    words = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    subprocess.run(["openssl", *words.split(), "-keyout", f"{folder}/key", "-out", f"{folder}/cert"], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{folder}/cert", f"{folder}/key")

    def talk(connection):
        try:
            with context.wrap_socket(connection, server_side=True) as secured:
                secured.recv(10_000)
        except OSError:
            pass

    return talk


FAILURES = {
    "silent": (silent, "http", "does not answer"),
    "silent, TLS": (silent, "https", "does not answer"),
    "dribbling": (dribbling, "http", "does not answer within 0.7 s"),
    "garbage": (says(b"\x00\xff" * 500), "http", "not as a ClearML server"),
    "closes": (says(b""), "http", "cannot be reached"),
    "a web page": (status(200, b"<html></html>"), "http", "not as a ClearML server"),
    "500": (status(500), "http", "error 500"),
    "401": (status(401), "http", "refuses the keys"),
    "TLS on a plain socket": (says(b"HTTP/1.1 400 X\r\n\r\n"), "https", "cannot be reached"),
    "self-signed": (self_signed, "https", "self-signed certificate"),
}


@pytest.mark.parametrize("kind", FAILURES)
def test_a_server_that_fails_is_named_in_time(kind, tmp_path):
    talk, scheme, words = FAILURES[kind]
    talk = talk(tmp_path) if talk is self_signed else talk
    begun = time.monotonic()
    with listening(talk) as port, pytest.raises((ConnectionError, PermissionError)) as raised:
        log_in(Keys(ACCESS, SECRET, api_server=f"{scheme}://127.0.0.1:{port}"), seconds=0.7 if "silent" in kind or kind == "dribbling" else 20)
    assert words in str(raised.value)
    assert SECRET not in repr(raised.value) and time.monotonic() - begun < 500, "it waited for a server that is silent for 1000 s"


def offline(run):
    """The task of `clearml_offline.zip` and its events."""
    with zipfile.ZipFile(run.path / "clearml_offline.zip") as archive:
        lines = archive.read("metrics.jsonl").decode().splitlines()
        return json.loads(archive.read("task.json")), [event for line in lines for event in json.loads(line)]


def loss_points(events):
    return [(e["iter"], e["value"]) for e in events if e.get("variant") == "train_loss"]


def points_of(run):
    return [(epoch, pytest.approx(loss)) for epoch, loss in zip(run.results.epoch, run.results.train_loss)]


def test_a_hanging_server_changes_nothing(home, recordings, untracked, monkeypatch):
    with listening(silent) as port:
        for name, value in variables(f"http://127.0.0.1:{port}").items():
            monkeypatch.setenv(name, value)
        run, said = trained(settings(recordings, home), "run")
    assert table(run) == untracked
    (note,) = said
    assert "does not answer" in note and "clearml-task --import-offline-session" in note
    assert loss_points(offline(run)[1]) == points_of(run)


def test_the_command_keeps_all_of_it_offline_and_the_key_to_itself(home, recordings, monkeypatch):
    """Keys, no server: the training and its evaluation end up in one file."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    for name, value in variables(f"http://127.0.0.1:{port}").items():
        monkeypatch.setenv(name, value)
    words = ["train", str(recordings), "--run", "run", *options(training__epochs=EPOCHS), "--debug"]
    done = run_in(home, *program(), *words)
    assert done.returncode == 0, done.stderr
    run = sd.Run(home / "run")
    assert done.stdout.splitlines()[-1] == "run: run"
    assert re.search(r"ClearML: \S+ cannot be reached .*kept offline", done.stderr)
    until = time.monotonic() + 240
    while time.monotonic() < until and not (
        (run.path / "clearml_offline.zip").exists() and any(e.get("metric") == "Summary" for e in offline(run)[1])
    ):
        time.sleep(0.2)
    task, events = offline(run)
    assert loss_points(events) == points_of(run)
    assert {e["variant"] for e in events if e.get("metric") == "Summary"} >= {"auc", "n", "threshold"}
    assert {e["metric"] for e in events if e["type"] == "plot"} >= {"training_curves", "confusion_matrix", "roc_curve"}
    assert {a["key"] for a in task["execution"]["artifacts"]} >= {"config.yaml", "data.json", "results.csv", "predictions.csv", "model"}
    assert task["hyperparams"]["training"]["epochs"]["value"] == str(EPOCHS) and task["tags"] == ["run"]
    assert no_secret(home, done.stdout + done.stderr)


def no_secret(folder, text):
    """True when the keys stand in no file below `folder`, archives included, and not in `text`."""
    for path in folder.rglob("*"):
        if path.is_file() and path.name != "clearml.conf":
            contents = [path.read_bytes()]
            if path.suffix == ".zip":
                with zipfile.ZipFile(path) as archive:
                    contents += [archive.read(name) for name in archive.namelist()]
            assert not any(key.encode() in content for key in (SECRET, ACCESS) for content in contents), path
    return SECRET not in text and ACCESS not in text


# --- a server that works ---------------------------------------------------------------------------------------------


def test_stopped_resumed_and_evaluated_it_is_one_task(home, recordings, untracked, capfd):
    with clearml_server() as server:
        set_up_clearml(lambda name: variables(server.address)[name])
        config = settings(recordings, home)

        def interrupt(event):
            if event["event"] == "batch" and event["epoch"] == 3:
                signal.raise_signal(signal.SIGTERM)

        run, said = trained(config, "run", [interrupt])
        ((identity, task),) = server.tasks.items()
        assert f"{identity}/output/log" in " ".join(said) and server.address in " ".join(said)
        assert (task["status"], task["status_message"]) == ("stopped", "SIGTERM")
        assert loss_points(server.events) == points_of(run) and len(run.results) == 2
        task["last_iteration"] = 2
        run = sd.resume(run.path, progress=False)
        assert table(run) == untracked
        sd.evaluate(run)
    assert list(server.tasks) == [identity] and task["status"] == "completed"
    assert sorted(loss_points(server.events)) == points_of(run)
    assert "auc" in {e["variant"] for e in server.events if e.get("metric") == "Summary"}
    assert {e["metric"] for e in server.events if e["type"] == "plot"} >= {"training_curves", "confusion_matrix"}
    assert {a["key"] for a in task["execution"]["artifacts"]} >= {"config.yaml", "results.csv", "model", "metrics.json"}
    assert task["hyperparams"]["training"]["epochs"]["value"] == str(EPOCHS)
    assert not (run.path / "clearml_offline.zip").exists()
    assert json.loads((run.path / "tracking.json").read_text())["clearml"]["task_id"] == identity
    assert no_secret(home, "".join(capfd.readouterr()))


def test_a_server_that_dies_in_the_middle_changes_nothing(home, recordings, untracked, monkeypatch):
    monkeypatch.setattr(run_tracking, "CLOSING", 1)
    with clearml_server() as server:
        for name, value in variables(server.address).items():
            monkeypatch.setenv(name, value)

        def breaks(event):
            if event["event"] == "epoch" and event["epoch"] == 1:
                until = time.monotonic() + 240
                while not server.tasks and time.monotonic() < until:
                    time.sleep(0.1)
                assert server.tasks
                server.broken = "silent"

        run, said = trained(settings(recordings, home), "run", [breaks])
        assert table(run) == untracked and run.finished
        assert any("ClearML" in message for message in said)
        assert no_secret(home, " ".join(said))


# --- others ----------------------------------------------------------------------------------------------------------


def test_nothing_is_contacted_without_keys(home, recordings, untracked, monkeypatch):
    """All three trackers, no keys: no connection is tried, neither to a default server nor to tell of the use."""
    log = home / "connections"
    (home / "sitecustomize.py").write_text(f"""
import socket
def refuse(self, address):
    if self.family != socket.AF_UNIX:
        open({str(log)!r}, "a").write(repr(address))
    raise OSError("no network here")
def look_up(*arguments, **options):
    open({str(log)!r}, "a").write(repr(arguments))
    raise OSError("no network here")
socket.socket.connect = socket.socket.connect_ex = refuse
socket.getaddrinfo = look_up
open({str(home / "used")!r}, "a").write("x")
""")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(home), os.environ.get("PYTHONPATH")])))
    for variable in ("PYTEST_CURRENT_TEST", "CI", "GITHUB_ACTIONS"):  # with these, MLflow would keep silent by itself
        monkeypatch.delenv(variable, raising=False)
    changes = {"clearml.enabled": True, "tracking.tensorboard": True, "tracking.mlflow": f"{home}/mlruns"}
    run, said = trained(settings(recordings, home).replace(changes), "run")
    assert table(run) == untracked
    assert (home / "used").read_text() == "xxx" and not log.exists()
    assert len(said) == 1 and "no keys were found" in said[0]
    assert loss_points(offline(run)[1]) == points_of(run)
    assert list((run.path / "tensorboard").iterdir()) and list((home / "mlruns").rglob("metrics/train_loss"))
    assert not (home / "home" / ".clearml").exists() and "MLFLOW_ALLOW_FILE_STORE" not in os.environ


def test_a_tracker_that_is_killed_costs_one_warning(home, recordings, untracked):
    def kill(event):
        if event["event"] == "epoch" and event["epoch"] == 1:
            (guarded,) = training.tracking._told.guarded.values()
            guarded._process.kill()
            guarded._ended.wait(60)

    config = settings(recordings, home, tracking__tensorboard=True)
    events = []
    training = sd.prepare_training(config, progress=False, listeners=[events.append, kill])
    run = training.fit()
    assert table(run) == untracked
    (warning,) = [event["message"] for event in events if event["event"] == "warning"]
    assert "TensorBoard receives no more of this run: its process ended by itself (exit code -9)" in warning
    shutil.rmtree(run.path / "tensorboard", ignore_errors=True)
    (run.path / "tensorboard").write_text("in the way")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        evaluation = sd.evaluate(run)
    assert evaluation.metrics["n"] and (run.path / "evaluation" / "metrics.json").exists()
    assert sum("TensorBoard receives no more of this run" in str(warning.message) for warning in caught) == 1


@pytest.mark.parametrize("name, install", [("clearml", "clearml"), ("tensorboard", "'sounddetect[tracking]'"), ("mlflow", "'sounddetect[tracking]'")])
def test_a_library_that_is_not_there_is_named_with_the_line_that_installs_it(name, install, home, monkeypatch):
    (home / f"{name}.py").write_text("raise ImportError('not here')")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(home), os.environ.get("PYTHONPATH")])))
    config = sd.Config().replace({"clearml.enabled": True, "tracking.tensorboard": True, "tracking.mlflow": "mlruns"})
    guarded = Guarded(*run_tracking.TRACKERS[name], run_tracking.trackers_of(config)[name])
    guarded.tell("start", {"run": "run", "folder": str(home), "settings": {}, "config": "", "earlier": [], "remembered": None})
    guarded.close("finished")
    guarded.wait(60)
    ((kind, warning),) = guarded.said()
    assert kind == "warning" and f"install it by: pip install {install}" in warning
