"""A command that is killed at its n-th call that changes something below a folder: no clock decides when."""

import itertools
import os
import signal
import sys
from types import SimpleNamespace

VARIABLE = "SOUNDDETECT_TEST_KILL"  # "NUMBER FOLDER": for commands that `many_commands` runs
CHANGES = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "os.link", "os.symlink"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


def arm_if_told():
    """What `VARIABLE` asks of this process, if it is there."""
    number, _, folder = os.environ.pop(VARIABLE, "").partition(" ")
    if folder:
        arm(int(number), folder)


def arm(number, folder):
    """Count the calls of this process that change something below `folder`, note each in `FOLDER.calls`, and kill it just before
    call `number`; with 0 it is left alone.
    """
    place = os.path.join(os.path.realpath(folder), "")
    notes = os.open(f"{folder}.calls", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    counted = itertools.count(1)

    def meet(call, path):
        path = os.path.realpath(os.fsdecode(path))
        if path.startswith(place):
            now = next(counted)
            os.write(notes, f"{call} {path.removeprefix(place)}\n".encode())
            if now == number:
                os.kill(os.getpid(), signal.SIGKILL)

    def audit(event, arguments):
        if event in CHANGES and isinstance(arguments[0], str | bytes | os.PathLike):
            if event != "open" or (arguments[2] or 0) & WRITING:
                meet(event, arguments[0])

    def fsync(descriptor, really=os.fsync):
        meet("os.fsync", os.readlink(f"/proc/self/fd/{descriptor}"))
        really(descriptor)

    stop_the_clock()
    os.fsync = fsync
    sys.addaudithook(audit)


def stop_the_clock():
    """What is done now and then in a training is done at each step, however long a step takes."""
    from sounddetect.runs import listeners
    from sounddetect.training import checkpoint

    checkpoint.time = listeners.time = SimpleNamespace(monotonic=itertools.count(0, 3600).__next__)
