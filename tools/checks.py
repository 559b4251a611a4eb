"""What must hold before any test: notebooks exported, cleaned, and the README in step.

Exits with 1 and the remedy when something is not.
"""
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent


def run(*command):
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def changed(folder):
    """State of the files of a folder, so that a difference shows even where they are not committed yet."""
    return {path: path.read_bytes() for path in sorted((ROOT / folder).rglob("*")) if path.suffix in (".py", ".ipynb")}


def check_unchanged(folder, program, remedy):
    before = changed(folder)
    result = run(str(BIN / program))
    after = changed(folder)
    different = [str(path.relative_to(ROOT)) for path in sorted(before.keys() | after.keys()) if before.get(path) != after.get(path)]
    if result.returncode or different:
        sys.exit(f"{program} changes {', '.join(different) or 'nothing, but fails'}: {remedy}\n{result.stderr}")
    print(f"{program}: no difference")


if __name__ == "__main__":
    notebooks = [path for path in (ROOT / "nbs").rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts]
    if not notebooks:
        sys.exit("there are no notebooks below nbs/: nothing would be tested")
    print(f"{len(notebooks)} notebooks")
    check_unchanged("sounddetect", "nbdev_export", "edit the notebook, not the module; then `make prepare` and commit both")
    check_unchanged("nbs", "nbdev_clean", "run `make prepare` and commit the notebooks")
    readme = run(sys.executable, "tools/readme.py", "--check")
    if readme.returncode:
        sys.exit(readme.stderr)
    print("README: in step")
