"""Does installing this package leave Colab's own packages as they are? Needs the package index, so it is no test.

    python tools/check_colab.py [PYTHON]    PYTHON: an interpreter of Colab's version (default: the one that runs this)

Makes an empty environment that claims to hold what `colab_pins.txt` lists, and asks pip what it would install there.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PINS = Path(__file__).with_name("colab_pins.txt")


def normal(name):
    """A project's name as pip compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_pins():
    """Version of each package that Colab ships."""
    lines = (line.split("#")[0].strip() for line in PINS.read_text(encoding="utf-8").splitlines())
    return dict(line.split("==") for line in lines if line)


def pretend(environment, pins):
    """Put the papers of each package into an environment, but not the package."""
    site = next(environment.glob("[Ll]ib*/**/site-packages"))
    for name, version in pins.items():
        papers = site / f"{name.replace('-', '_')}-{version}.dist-info"
        papers.mkdir()
        (papers / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")
        (papers / "INSTALLER").write_text("pip\n", encoding="utf-8")
        (papers / "RECORD").write_text("", encoding="utf-8")


def planned(environment):
    """Name and version of each package that pip would install beside ours."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(environment),
        "install",
        "--dry-run",
        "--quiet",
        "--report",
        "-",
        str(ROOT),
    ]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        sys.exit(f"pip cannot install the package beside what Colab ships:\n{result.stderr}")
    report = json.loads(result.stdout)
    found = {item["metadata"]["name"]: item["metadata"]["version"] for item in report["install"]}
    return report["environment"]["python_version"], found


if __name__ == "__main__":
    pins = read_pins()
    with tempfile.TemporaryDirectory() as folder:
        environment = Path(folder) / "colab"
        subprocess.run(
            [*(sys.argv[1:2] or [sys.executable]), "-m", "venv", "--without-pip", str(environment)], check=True
        )
        pretend(environment, pins)
        version, found = planned(environment)
    print(f"On Python {version}, beside {len(pins)} packages of Colab, pip would install:")
    shipped = {normal(name): pin for name, pin in pins.items()}
    replaced = [name for name in found if normal(name) in shipped]
    for name in sorted(found, key=str.lower):
        print(f"  {name} {found[name]}" + (f"   REPLACES {shipped[normal(name)]}" if name in replaced else ""))
    if "sounddetect" not in map(normal, found):
        sys.exit("the package itself is not among them: the check has checked nothing")
    if replaced:
        sys.exit(f"replaced on Colab: {', '.join(replaced)}; loosen `requirements` in settings.ini")
    print("nothing of Colab is replaced")
