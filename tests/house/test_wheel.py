"""What is installed: every module, nothing else, and nothing of the tools it was written with."""

import re
import shutil
import subprocess
import sys
import zipfile
from email.parser import Parser

import pytest
from support.commands import ROOT, run_in

MODULES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "sounddetect").rglob("*.py"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy of what is in git, so that a module that git ignores is missed here as it would be by users."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    if listed.returncode:
        pytest.skip("this is no git repository")
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for path in filter(lambda path: (ROOT / path).is_file(), listed.stdout.splitlines()):
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, source / path)
    built = run_in(source, sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", target)
    assert built.returncode == 0, built.stdout[-2000:] + built.stderr[-2000:]
    return next(target.glob("*.whl"))


def metadata(wheel):
    with zipfile.ZipFile(wheel) as content:
        name = next(name for name in content.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(content.read(name).decode("utf-8"))


def test_wheel_holds_every_module_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as content:
        held = sorted(name for name in content.namelist() if ".dist-info/" not in name)
    assert held == MODULES


def test_wheel_needs_what_it_imports_and_no_tools(wheel):
    needed = metadata(wheel).get_all("Requires-Dist")
    runtime = {re.match(r"[\w.-]+", line)[0].lower() for line in needed if "extra ==" not in line}
    tools = {re.match(r"[\w.-]+", line)[0].lower() for line in needed if "extra ==" in line}
    assert {"torch", "numpy", "pydantic", "orjson", "safetensors"} <= runtime
    assert {"nbdev", "fastcore", "pytest"} <= tools and not {"nbdev", "fastcore", "execnb", "pytest"} & runtime
    assert metadata(wheel)["Requires-Python"] == ">=3.11"


def test_wheel_brings_the_command(wheel):
    with zipfile.ZipFile(wheel) as content:
        name = next(name for name in content.namelist() if name.endswith("entry_points.txt"))
        assert re.search(r"^sounddetect *= *sounddetect\.cli\.cli:main$", content.read(name).decode(), re.M)


def test_every_module_of_the_wheel_can_be_imported(wheel, tmp_path):
    """From another folder, with the wheel first: not from the checkout."""
    with zipfile.ZipFile(wheel) as content:
        content.extractall(tmp_path / "site")
    names = [name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in MODULES]
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path / "site")!r})
import importlib
for name in {names!r}:
    place = importlib.import_module(name).__file__
    assert place.startswith({str(tmp_path / "site")!r}), place
"""
    result = subprocess.run([sys.executable, "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
