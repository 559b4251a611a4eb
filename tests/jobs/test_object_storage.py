"""Archives on object storage: `predict RUN s3://...` on a real S3 server on 127.0.0.1, which a package brings."""

import contextlib
import io
import os

import numpy as np
import pandas as pd
import pytest
import requests
import soundfile
from support.commands import ROOT, last_line, run_command, run_killed
from support.tiny import RATE, tone_or_noise

from sounddetect.jobs.archives import Archive

boto3 = pytest.importorskip("boto3")
RUN = ROOT / "tests/detector/first_edition/run"
N_DAYS, N_EACH = 3, 8


def wav(k):
    file = io.BytesIO()
    soundfile.write(file, tone_or_noise("NG" if k % 5 == 0 else "OK", np.random.default_rng(k)), RATE, format="WAV")
    return file.getvalue()


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    """A server with the recordings of three days in a bucket, and clients of its services; commands find it by the variables of S3 itself.

    The same recordings lie in the folder `plant` of the folder that it yields.
    """
    moto = pytest.importorskip("moto.server")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    folder = tmp_path_factory.mktemp("storage")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "an-owner",
            "AWS_SECRET_ACCESS_KEY": "a-secret-of-the-tests",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        }.items():
            patch.setenv(name, value)
        s3 = boto3.client("s3")
        for bucket in ("plant", "closed"):
            s3.create_bucket(Bucket=bucket)
        for k in range(N_DAYS * N_EACH):
            key, sound = f"fans/2026-03-0{k // N_EACH + 1}/{k:04d}.wav", wav(k)
            s3.put_object(Bucket="plant", Key=key, Body=sound)
            path = folder / "plant" / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(sound)
        s3.put_object(Bucket="plant", Key="fans/2026-03-02/broken.wav", Body=b"RIFF, but no sound")
        s3.put_object(Bucket="plant", Key="fans/notes.txt", Body=b"no recording")
        s3.put_object(Bucket="plant", Key="offices/one.wav", Body=wav(0))            # below another prefix
        yield folder, s3
        server.stop()


@contextlib.contextmanager
def rights_count(server):
    """Within, the server asks what whoever calls it may do."""
    requests.post(f"{server}/moto-api/reset-auth", data=b"0", timeout=60)
    yield
    requests.post(f"{server}/moto-api/reset-auth", data=b"inf", timeout=60)


def predict(folder, address, out, kill=None):
    words = ("predict", RUN, address, "--out", out)
    return run_command(folder, *words) if kill is None else run_killed(folder, kill, *words)


def test_a_bucket_is_scored_as_the_folder_and_goes_on_after_a_kill(storage):
    folder, _ = storage
    here = predict(folder, "plant/fans", "here")
    assert here.returncode == 0, here.stderr
    whole = predict(folder, "s3://plant/fans", "there", kill=0)
    assert whole.returncode == 0, whole.stderr
    wanted, found = Archive(folder / "here").read(), Archive(folder / "there")
    pd.testing.assert_frame_equal(found.read(), wanted, check_exact=True)
    assert (found.about["n_scored"], found.about["n_shards"]) == (N_DAYS * N_EACH, 1)
    assert found.damaged["key"].tolist() == ["2026-03-02/broken.wav"]

    uncounted = max(k for k, call in enumerate(whole.calls, 1) if "part-" in call)           # its rows are written, and not counted
    killed = predict(folder, "s3://plant/fans", "killed", kill=uncounted)
    assert killed.returncode == -9 and not Archive(folder / "killed").complete
    again = predict(folder, "s3://plant/fans", "killed")
    assert again.returncode == 0, again.stderr
    done = Archive(folder / "killed")
    pd.testing.assert_frame_equal(done.read(), wanted, check_exact=True)
    assert done.complete and len(done.damaged) == 1 and not list(done.path.rglob("*.tmp"))


def test_a_bucket_that_is_not_there_or_not_ours_is_one_message(storage, monkeypatch):
    folder, _ = storage
    gone = predict(folder, "s3://nobody/fans", "never")
    assert gone.returncode == 1 and "s3://nobody/fans does not exist, or may not be seen" in gone.stderr
    iam = boto3.client("iam")
    iam.create_user(UserName="guest")
    key = iam.create_access_key(UserName="guest")["AccessKey"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
    with rights_count(os.environ["AWS_ENDPOINT_URL"]):
        refused = predict(folder, "s3://closed/fans", "never")
    assert refused.returncode == 1, refused.stdout
    said = refused.stderr
    assert "s3://closed/fans" in said and "rights" in last_line(said) and "Traceback" not in said
    assert key["SecretAccessKey"] not in said and key["AccessKeyId"] not in said
    assert not (folder / "never").exists()
