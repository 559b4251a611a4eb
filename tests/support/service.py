"""A service in a process of its own, and a client of it."""

import contextlib
import signal
import subprocess
import time

import httpx
import psutil
from websockets.sync.client import connect

from support.commands import environment, program
from support.tiny import SETTINGS

TOKEN = "a-token-for-the-tests"
API = "/api/v1/ml"
SMALL = {key: value for key, value in SETTINGS.items() if not key.startswith(("model.size", "training."))}


class Running:
    """A service below a folder, and a client of it."""

    def __init__(self, folder, token=TOKEN, **variables):
        words = [*program(), "serve", "--root", str(folder), "--port", "0"]
        env = environment() | ({"SOUNDDETECT_TOKEN": token} if token else {}) | variables
        self.process = subprocess.Popen(words, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        line = self.process.stdout.readline()
        assert line.startswith("the service is at "), line
        self.address = line.split()[-1].partition("/ui/")[0]
        self.client = httpx.Client(base_url=self.address, headers={"Authorization": f"Bearer {token}"}, timeout=120)

    def get(self, path):
        answer = self.client.get(API + path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, address, /, **body):
        answer = self.client.post(API + address, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def socket(self, path):
        """A WebSocket, open."""
        headers = {"Authorization": self.client.headers["Authorization"]}
        return connect(f"ws{self.address.removeprefix('http')}{API}{path}", additional_headers=headers)

    def until(self, training_id, *statuses):
        """Poll until a training is in one of some states; its status."""
        while (status := self.get(f"/training/status/{training_id}"))["status"] not in statuses:
            time.sleep(0.05)
        return status

    def end(self, number=signal.SIGTERM):
        self.client.close()
        self.process.send_signal(number)
        with contextlib.suppress(ValueError):
            self.process.communicate(timeout=240)
        return self.process.returncode


@contextlib.contextmanager
def services_of(folder):
    """`start()` begins a service below a folder; none is left, and no training of theirs."""
    begun = []

    def start(**options):
        begun.append(Running(folder, **options))
        return begun[-1]

    try:
        yield start
    finally:
        for service in begun:
            if service.process.poll() is None:
                service.end(signal.SIGKILL)
        for lock in (folder / ".sounddetect").glob("*.lock"):
            number = lock.read_text()
            with contextlib.suppress(psutil.NoSuchProcess, ValueError):
                process = psutil.Process(int(number or 0))
                if "work_off" in " ".join(process.cmdline()):
                    process.kill()
