"""Tables of bench/detection_quality.py: from scores of recordings to metrics with intervals.

A row of scores is a recording: split, fold, seed, method, part (validation or test), group, label, score. A metric is the mean over
folds, then seeds. Its 95 % interval draws the groups of the test parts again (files of the motors, recordings of the fan, simulated machines):
a draw counts for all folds, seeds and methods alike, so differences are paired, and a group tested in five seeds is still one
group. Where no draw shows an error, the end is the exact bound for the number of groups (Clopper & Pearson). `auc sd` is over seeds.
"""
import numpy as np
import pandas as pd

from sounddetect.judging.intervals import bootstrap_intervals, rate_interval
from sounddetect.judging.metrics import anomaly_metrics_by_draw
from sounddetect.judging.thresholds import choose_threshold

RULES = {"fixed 0.5": 0.5, "best F1": "best_f1", "at most 5 %": {"false_alarm_rate": 0.05}}
METRICS = ["auc", "p_auc", "false alarms", "recall"]


def prepared(scores):
    """Scores with truth, and with the unit that is drawn: simulated machines of another seed are other machines."""
    unit = np.where(scores["split"].str.startswith("simulated"), scores["group"] + ", seed " + scores["seed"].astype(str), scores["group"])
    return scores.assign(truth=scores["label"] == "NG", unit=unit)


def choices_of(scores, rule):
    """What the validation part of each run chose: `{(fold, seed, method): ThresholdChoice}`."""
    runs = scores[scores["part"] == "validation"].groupby(["fold", "seed", "method"])
    return {key: choose_threshold(run["truth"], run["score"], RULES[rule], run["group"]) for key, run in runs}


def mean_over(values):
    """Mean over the first dimension of what is not NaN; NaN where nothing is left."""
    values = np.array(values)
    there = np.isfinite(values)
    return np.divide(np.where(there, values, 0).sum(0), there.sum(0), out=np.full(values.shape[1:], np.nan), where=there.any(0))


def metrics_of(test, counts, choices):
    """Metrics of each method and seed where recordings count so often: `{method: {metric: (seed, draw)}}`."""
    found = {}
    for method, of_method in test.groupby("method", sort=False):
        by_seed = []
        for seed, of_seed in of_method.groupby("seed"):
            folds = [anomaly_metrics_by_draw(run["truth"].to_numpy(), run["score"].to_numpy(), choices[fold, seed, method].value, counts[:, run.index])
                     for fold, run in of_seed.groupby("fold")]
            false_alarms = [1 - fold["specificity"] for fold in folds]
            columns = [*([fold[name] for fold in folds] for name in ("auc", "p_auc")), false_alarms, [fold["recall"] for fold in folds]]
            by_seed.append([mean_over(column) for column in columns])
        found[method] = dict(zip(METRICS, np.moveaxis(by_seed, 1, 0)))
    return found


def with_bounds(name, low, high, n_groups):
    """An end of an interval at which no draw has an error, as an exact bound."""
    low, high = round(low, 6), round(high, 6)                       # a mean of ones may be 0.9999999
    if low == high in (0.0, 1.0) and name in n_groups:
        allowed = rate_interval(0, n_groups[name])[1]
        return (0.0, allowed) if high == 0 else (1 - allowed, 1.0)
    return low, high


def judged(scores, rule="best F1", n_draws=1000):
    """A row for each method of one split: metrics, intervals, standard deviation of the AUC over seeds, and the AUC beside the best peer's."""
    test = scores[scores["part"] == "test"].reset_index(drop=True)
    choices = choices_of(scores, rule)
    once = metrics_of(test, np.ones((1, len(test))), choices)
    estimate = {method: {name: mean_over(values)[0] for name, values in metrics.items()} for method, metrics in once.items()}
    peers = [method for method in estimate if method != "detector"]
    best = max(peers, key=lambda method: np.nan_to_num(estimate[method]["auc"]))

    def drawn(counts):
        metrics = metrics_of(test, counts, choices)
        values = {(method, name): mean_over(of[name]) for method, of in metrics.items() for name in METRICS}
        return values | {"gain": values["detector", "auc"] - values[best, "auc"]}

    intervals = bootstrap_intervals(drawn, test["unit"], n_draws)
    kinds = test.groupby("truth")["unit"].nunique()
    n_groups = {"auc": kinds.min(), "p_auc": kinds.min(), "false alarms": kinds.get(False, 0), "recall": kinds.get(True, 0)}
    rows = []
    for method, of in estimate.items():
        row = {"method": method} | {name: in_words(of[name], *with_bounds(name, *intervals[method, name], n_groups)) for name in METRICS}
        seeds = once[method]["auc"][:, 0]
        row["auc sd"] = in_words(seeds.std(ddof=1)) if len(seeds) > 1 else "-"
        if method == "detector":
            row["beside best peer"] = in_words(of["auc"] - estimate[best]["auc"], *intervals["gain"], sign="+")
        rows.append(row)
    return pd.DataFrame(rows).set_index("method")


def in_words(value, low=None, high=None, sign=""):
    """`0.987 [0.950, 0.999]`."""
    if not np.isfinite(value):
        return "-"
    text = f"{value:{sign}.3f}"
    return text if low is None or not np.isfinite(low) else f"{text} [{low:{sign}.3f}, {high:{sign}.3f}]"


def quality_table(scores):
    """All splits, one below the other; the threshold is that of best F1 on the validation part."""
    parts = {f"{split} ({of['seed'].nunique()} seeds)": judged(of) for split, of in prepared(scores).groupby("split", sort=False)}
    return pd.concat(parts, names=["split"]).fillna("")


def promise_table(scores, method="detector"):
    """What each rule promised on the validation part, and what the test part showed; means over folds and seeds."""
    rows = []
    for split, of in prepared(scores[scores["method"] == method]).groupby("split", sort=False):
        test = of[of["part"] == "test"].reset_index(drop=True)
        for rule in RULES:
            choices = choices_of(of, rule)
            once = metrics_of(test, np.ones((1, len(test))), choices)[method]
            came = [test[(test["fold"] == fold) & (test["seed"] == seed) & ~test["truth"]]["score"] >= choice.value for (fold, seed, _), choice in choices.items()]
            bounds = np.array([choice.false_alarm_bound for choice in choices.values()])
            rows.append({
                "split": split, "rule": rule, "good ones seen": np.mean([choice.n_good for choice in choices.values()]),
                "false alarms seen": np.mean([choice.false_alarms / choice.n_good for choice in choices.values()]),
                "bound": bounds.mean(), "bound over groups": np.mean([choice.group_bound for choice in choices.values()]),
                "false alarms that came": mean_over(once["false alarms"])[0], "highest": np.nanmax([run.mean() for run in came]),
                "runs above bound": f"{sum(run.mean() > bound for run, bound in zip(came, bounds))} of {len(came)}",
                "recall that came": mean_over(once["recall"])[0],
            })
    return pd.DataFrame(rows).set_index(["split", "rule"]).round(3)
