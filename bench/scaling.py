"""One epoch over 200, 400, 800 and 1600 recordings of 44100 samples: seconds and peak memory, which should stay flat per recording.

    python bench/scaling.py
"""
import json
import os
import subprocess
import sys
import tempfile

import pandas as pd

CHILD = """
import json, resource, sys, time
import sounddetect as sd
from sounddetect.training.trainer import Trainer
folder, n = sys.argv[1], int(sys.argv[2])
recordings = sd.load_recordings(folder + "/data", cache_dir=folder + "/cache")
config = sd.Config.load(None, {"training.epochs": 1}).resolve()
trainer = Trainer(recordings[:n], recordings[:20], config)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
started = time.perf_counter()
trainer.fit()
print(json.dumps({"recordings": n, "seconds": time.perf_counter() - started, "peak MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                  "of it before": before / 1024}))
"""

if __name__ == "__main__":
    import sounddetect as sd

    with tempfile.TemporaryDirectory() as folder:
        sd.simulate(f"{folder}/data", 1600)
        sd.load_recordings(f"{folder}/data", cache_dir=f"{folder}/cache")
        rows = []
        for n in (200, 400, 800, 1600):
            child = subprocess.run([sys.executable, "-c", CHILD, folder, str(n)], capture_output=True, text=True, env=os.environ)
            if child.returncode:
                sys.exit(child.stderr)
            rows.append(json.loads(child.stdout))
    table = pd.DataFrame(rows).set_index("recordings")
    table["ms a recording"] = table["seconds"] / table.index * 1000
    print(table.round(2).to_string())
