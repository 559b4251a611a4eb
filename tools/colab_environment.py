"""An environment with exactly Colab's published versions, for tests: `python tools/colab_environment.py .venv-colab`

Torch is taken from the environment that runs this, by links: it has nearly a gigabyte, and there is no build of Colab's version for a CPU everywhere.
"""

import subprocess
import sys
import venv
from importlib.metadata import distribution
from pathlib import Path

LOCK = Path(__file__).resolve().parents[1] / "tests" / "workbench" / "constraints-colab.txt"


def pins(lock=LOCK):
    """Lines of the lock without comments."""
    lines = (line.partition("#")[0].strip() for line in lock.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line]


def lend_torch(environment):
    """Link torch and its papers into another environment of the same Python."""
    torch = distribution("torch")
    site = next(environment.glob("[Ll]ib*/**/site-packages"))
    here = Path(torch.locate_file(""))
    for name in {Path(file).parts[0] for file in torch.files if not str(file).startswith(("..", "__pycache__"))}:
        (site / name).symlink_to(here / name)


def make(environment):
    """Make the environment; what pip may take is fixed by the lock, so it asks nobody what fits."""
    venv.create(environment, clear=True)
    lend_torch(environment)
    pip = [sys.executable, "-m", "pip", "--python", str(environment)]
    listed = [pin for pin in pins() if not pin.startswith("torch==")]
    subprocess.run([*pip, "install", "--quiet", "--no-deps", *listed], check=True)
    subprocess.run([*pip, "check"], check=True)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    make(Path(sys.argv[1]))
