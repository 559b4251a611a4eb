"""The simulated machine over several seeds: loudness, logistic regression on log-mel means, and the detector.

    python bench/simulated_machines.py [--seeds 5]

`sounddetect simulate` and the defaults of config.yaml; the test part holds machines that are in no other part. Logistic
regression learns from the training and the validation part together.
"""
import argparse
import sys
import tempfile
import time
import warnings

import numpy as np
import pandas as pd
from peers import log_mel_means, logistic_regression, loudness
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import sounddetect as sd


def measure(seed):
    with tempfile.TemporaryDirectory() as folder:
        sd.simulate(f"{folder}/data", seed=seed)
        recordings = sd.load_recordings(f"{folder}/data", cache_dir=f"{folder}/cache")
        truth = np.array(recordings.labels) == "NG"
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000))
        folds = cross_val_predict(model, log_mel_means(recordings, 44100), truth, groups=recordings.table["group"], cv=GroupKFold(5),
                                  method="predict_proba")[:, 1]
        config = sd.Config.load(None, {"seed": seed, "output.dir": f"{folder}/runs", "data.cache_dir": f"{folder}/cache"})
        started = time.time()
        run = sd.train(config, recordings, progress=False)
        seconds = time.time() - started
        evaluation = sd.evaluate(run, recordings)
        train, validation, test = run.parts(recordings)
        rest = recordings.filter(lambda table: ~table["key"].isin(test.table["key"]))
        tested = np.array(test.labels) == "NG"
        return {"seed": seed, "loudness": roc_auc_score(truth, loudness(recordings)), "LR, 5-fold by machine": roc_auc_score(truth, folds),
                "LR, test part": roc_auc_score(tested, logistic_regression(rest, test, 44100)),
                "detector, test part": evaluation.metrics["auc"], "accuracy": evaluation.metrics["accuracy"],
                "epochs": len(run.results), "training s": seconds}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    warnings.simplefilter("ignore", UserWarning)
    rows = []
    for seed in range(parser.parse_args().seeds):
        rows.append(measure(seed))
        print(rows[-1], file=sys.stderr, flush=True)
    table = pd.DataFrame(rows).set_index("seed")
    print(pd.concat([table, table.mean().to_frame("mean").T, table.min().to_frame("lowest").T]).round(3).to_string())
