"""A PostgreSQL server of the system for one module of tests: in a folder of its own, on a Unix socket, as a user without rights."""

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import psutil
import pytest

REQUIRED = os.environ.get("SOUNDDETECT_POSTGRES") == "required"  # set by .ci/run: there a missing server is a failure
USER, PASSWORD = "sounddetect", "a-secret-of-the-tests"


def programs():
    """Folder of `initdb` and `postgres`; Debian puts it into no PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    one = found[-1] if found else shutil.which("initdb")
    if one is None:
        (pytest.fail if REQUIRED else pytest.skip)("no PostgreSQL here: install the package postgresql of the system")
    return Path(one).resolve().parent


def somebody():
    """What makes a process that of a user without rights: the server refuses to run as root."""
    if os.getuid():
        return {}
    known = {user.pw_name: user for user in pwd.getpwall()}
    user = known.get("postgres") or known["nobody"]
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


class Server:
    """A server that can be killed and started again, and the address of its database."""

    def __init__(self, folder):
        self.folder, self.bin, self.owner = Path(folder), programs(), somebody()
        if self.owner:
            os.chown(self.folder, self.owner["user"], self.owner["group"])
        self.address = f"postgresql://{USER}:{PASSWORD}@/postgres?host={self.folder}"
        secret = self.folder / "secret"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)  # in a folder that only its user may enter
        words = ["--username", USER, "--auth", "scram-sha-256", "--pwfile", secret, "--encoding", "UTF8", "--locale", "C", "--no-sync"]
        self._run("initdb", "--pgdata", self.data, *words)
        self.start()

    @property
    def data(self):
        return self.folder / "data"

    def _run(self, name, *words):
        done = subprocess.run([self.bin / name, *map(str, words)], cwd=self.folder, capture_output=True, text=True, **self.owner)
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self):
        """Start it, and return when it answers. What it has written survives its kill without reaching the disk, so nothing waits for that."""
        settings = {"unix_socket_directories": self.folder, "listen_addresses": "", "fsync": "off", "autovacuum": "off", "max_connections": 30}
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        log = open(self.folder / "log", "a")  # noqa: SIM115 - the server's
        self.process = subprocess.Popen([self.bin / "postgres", "-D", self.data, *words], cwd=self.folder, stdout=log, stderr=log, **self.owner)
        log.close()
        while subprocess.run([self.bin / "pg_isready", "--quiet", "--host", self.folder]).returncode:
            assert self.process.poll() is None, (self.folder / "log").read_text()
            time.sleep(0.05)

    def kill(self):
        """Kill all of it at once, as the kernel does when memory runs out; return when nothing of it is left."""
        parts = psutil.Process(self.process.pid).children(recursive=True)
        self.process.kill()
        self.process.wait()
        for part in parts:
            with contextlib.suppress(psutil.NoSuchProcess):
                part.kill()
        while any(part.is_running() and part.status() != psutil.STATUS_ZOMBIE for part in parts):
            time.sleep(0.01)


@contextlib.contextmanager
def server():
    """A server, which is gone at the end."""
    with tempfile.TemporaryDirectory(prefix="sounddetect-", dir="/tmp") as folder:  # short enough for a socket, and open to its user
        found = Server(folder)
        try:
            yield found
        finally:
            found.kill()
