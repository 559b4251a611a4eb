"""A stand-in for Google Colab inside a kernel: its package, its Drive as a folder, and its pip as a list of what was asked for.

`install(root)` puts `google.colab` where the kernel finds it. What is asked of it goes into `calls`; `failing["mount"]`, `["upload"]`, `["download"]`
and `["secret"]` hold errors that it raises, one after the other, before it works.
"""

import sys
import time
import types
from pathlib import Path

UP = 60.0  # seconds that the machine has been up: Colab's clock of a session counts from there
calls, failing, uploads, secrets = [], {"mount": [], "upload": [], "download": [], "secret": []}, {}, {}


class MessageError(Exception):
    """What Colab raises when the browser says no."""


class SecretNotFoundError(Exception):
    """There is no such secret."""


class NotebookAccessError(Exception):
    """The notebook may not read it."""


KNOWN = {
    "not authorised": MessageError("Error: credential propagation was unsuccessful"),
    "lost": OSError(107, "Transport endpoint is not connected"),
    "timeout": ValueError("mount failed: timeout"),
    "blocked": MessageError("TypeError: google.colab._files is undefined"),
    "no access": NotebookAccessError("CLEARML_API_ACCESS_KEY"),
}


def _fail(what):
    if failing[what]:
        raise failing[what].pop(0)


def _modules(root):
    drive, files, output, userdata = (types.ModuleType(f"google.colab.{name}") for name in ("drive", "files", "output", "userdata"))

    def mount(mountpoint, force_remount=False, timeout_ms=120000, readonly=False):
        calls.append(("remount" if force_remount else "mount", mountpoint))
        _fail("mount")
        (Path(mountpoint) / "MyDrive").mkdir(parents=True, exist_ok=True)
        print(f"Mounted at {mountpoint}")

    def upload(target_dir=""):
        calls.append(("upload",))
        _fail("upload")
        for name, content in uploads.items():
            (Path(target_dir) / name).write_bytes(content)
        return dict(uploads)

    def download(filename):
        calls.append(("download", str(filename)))
        _fail("download")
        if not Path(filename).exists():
            raise FileNotFoundError(filename)

    def get(name):
        _fail("secret")
        if name not in secrets:
            raise SecretNotFoundError(name)
        return secrets[name]

    drive.mount, drive.flush_and_unmount = mount, lambda timeout_ms=0: calls.append(("unmount",))
    files.upload, files.download, userdata.get = upload, download, get
    userdata.SecretNotFoundError, userdata.NotebookAccessError = SecretNotFoundError, NotebookAccessError
    output.enable_custom_widget_manager = lambda: calls.append(("widgets",))
    output.eval_js = lambda code: calls.append(("js", code))
    output.register_callback = lambda name, function: calls.append(("callback", name))
    return {"drive": drive, "files": files, "output": output, "userdata": userdata}


def install(root):
    """Put `google.colab` into this process; its Drive and the machine's own disk lie below `root`."""
    google, colab = types.ModuleType("google"), types.ModuleType("google.colab")
    google.__path__, colab.__path__ = [], []
    google.colab = colab
    sys.modules |= {"google": google, "google.colab": colab}
    for name, module in _modules(root).items():
        setattr(colab, name, module)
        sys.modules[f"google.colab.{name}"] = module
    _move(Path(root))
    _record_pip()


def _move(root):
    """Colab's fixed places are folders of a test here, and its machine was started a minute ago."""
    import psutil

    from sounddetect.jobs import training_runs
    from sounddetect.workbench import colab

    colab.mount_drive.__defaults__ = (str(root / "drive"), *colab.mount_drive.__defaults__[1:])
    training_runs.checkpoint_folder.__defaults__ = (str(root / "drive"), str(root / "disk"))
    psutil.boot_time = lambda: time.time() - UP


def _record_pip():
    """`%pip` and `!pip` are written down and not done."""
    from IPython import get_ipython

    shell = get_ipython()
    if shell is not None:
        shell.register_magic_function(lambda line: calls.append(("pip", line)), magic_name="pip")
        shell.system = lambda command: calls.append(("system", command))
