"""Set ClearML up by its own program: python scripts/setup_clearml.py

SoundDetect needs no experiment tracker: every run keeps its figures in results.csv and events.jsonl.
"""
import shutil
import subprocess
import sys

if __name__ == "__main__":
    program = shutil.which("clearml-init")
    if program is None:
        sys.exit("error: ClearML is not installed; install it by: pip install clearml")
    sys.exit(subprocess.call([program]))
