"""A command that is killed at any of its calls that write something, and done again, leaves what it would have left."""

import os
import random
import shutil
from pathlib import Path

import pandas as pd
import pytest
from support.commands import run_command, run_killed
from support.tiny import options, write_folder, write_json

from sounddetect.training.trainer import MACHINE_COLUMNS

N_CALLS = int(os.environ.get("SOUNDDETECT_CALLS", 3))  # `make nightly` sets more
SETTINGS = options(
    training__epochs=2, training__batch_size=8, training__early_stopping=None, checkpoint__every_minutes=0.001, data__cache_dir="cache",
    output__copy_detector_to=["copy"],
)  # fmt: skip
TRAIN = ["train", "../data", "--run", "run", *SETTINGS]
# what is done, in a folder that holds what; and how many of the kills are in it, of 10
COMMANDS = {
    "train": (TRAIN, None, 4),
    "extend": (["resume", "run", "--epochs", "3"], "train", 2),
    "cross-validate": (["cross-validate", "../data", "--folds", "2", "--run", "run", *SETTINGS], None, 2),
    "evaluate": (["evaluate", "run"], "train", 1),
    "threshold": (["threshold", "run", "--best-f1"], "train", 1),
}
COUNTED = ("copy/*", "run/model/*", "run/evaluation/*", "run/evaluation/errors/*", "run/*.csv", "run/*.json", "run/fold-*/*", "run/fold-*/model/*")
OF_THE_MOMENT = ("report.html", "training_curves.png", "data.json", "events.jsonl", "log.txt", "config.yaml")  # times, places


def outcome(folder):
    """The files that two equal commands leave, by their names; of tables of trainings, without the machine's columns."""
    found = {}
    for path in (path for pattern in COUNTED for path in folder.glob(pattern) if path.is_file()):
        content = path.read_bytes()
        if path.name == "results.csv":
            content = pd.read_csv(path).drop(columns=MACHINE_COLUMNS, errors="ignore").to_csv()
        found[path.relative_to(folder).as_posix()] = None if path.name in OF_THE_MOMENT else content
    return found


def begun(root, name, command):
    """A folder with what the command finds there."""
    _, after, _ = COMMANDS[command]
    if after:
        return Path(shutil.copytree(whole_of(root, after)[0], root / name))
    (root / name).mkdir()
    return root / name


def whole_of(root, command):
    """The folder of the command that came to its end, and what it called; it is run when first asked for."""
    folder = root / f"whole {command}"
    if not folder.exists():
        done = run_killed(begun(root, folder.name, command), 0, *COMMANDS[command][0])
        assert done.returncode == 0, done.stderr
    return folder, Path(f"{folder}.calls").read_text().splitlines()


def again(folder, command):
    """Do what the messages advise, until it is done."""
    words, _, _ = COMMANDS[command]
    run = folder / "run"
    if command == "train" and run.exists():
        words = ["resume", "run"]
    elif command == "cross-validate" and (run / "folds.csv").exists():
        words = ["cross-validate", "--run", "run"]
    done = run_command(folder, *words)
    if done.returncode == 1 and "To evaluate it: sounddetect evaluate run" in done.stderr:
        done = run_command(folder, "evaluate", "run")
    return done


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kills")
    write_folder(folder / "data")
    return folder


def drawn():
    """(command, where in it as a fraction): spread over all of it, each kill elsewhere."""
    draw = random.Random(0)
    share = [name for name, (_, _, tenths) in COMMANDS.items() for _ in range(tenths)]
    names = sorted(share[k % len(share)] for k in range(N_CALLS)) if N_CALLS > len(COMMANDS) else ["train", "train", "threshold"][:N_CALLS]
    for name in dict.fromkeys(names):
        n = names.count(name)
        yield from ((name, (k + draw.random()) / n) for k in range(n))


@pytest.mark.parametrize(("command", "fraction"), list(drawn()))
def test_killed_at_a_call_it_ends_with_the_same_files(root, command, fraction):
    whole, calls = whole_of(root, command)
    number = 1 + int(fraction * len(calls))
    folder = begun(root, f"{command} {number}", command)
    killed = run_killed(folder, number, *COMMANDS[command][0])
    assert killed.returncode == -9 and len(killed.calls) == number, killed.stderr
    where = f"before {killed.calls[-1]}, call {number} of {len(calls)}"
    done = again(folder, command)
    assert done.returncode == 0, f"{where}: {done.stderr}"
    wanted, found = outcome(whole), outcome(folder)
    differing = sorted(name for name in wanted | found if wanted.get(name) != found.get(name) or (name in wanted) != (name in found))
    assert not differing, f"{where}: {differing}"
    drafts = [path for path in folder.rglob("*.tmp") if "cache" not in path.parts]  # where they go after ten minutes
    assert not drafts, f"{where}: {drafts}"
    shutil.rmtree(folder)


def test_an_evaluation_that_is_killed_leaves_no_metrics_beside_predictions_of_others(root):
    """Killed before a table, the list of errors or the metrics are put in their place, judging recordings that the run has not met."""
    for seed in (11, 12):
        write_json(root / "others" / f"{seed}.json", ["OK", "OK", "NG"], seed=seed)
    words = ["evaluate", "run", "../others"]
    whole = begun(root, "others whole", "evaluate")
    before = outcome(whole)
    calls = run_killed(whole, 0, *words).calls
    of_all = {f"run/evaluation/{name}" for name in ("metrics.json", "predictions.csv", "per_class.csv", "errors/errors_by_source.csv")}
    after = outcome(whole)
    assert all(before[name] != after[name] for name in of_all)
    for name in sorted(of_all - {"run/evaluation/predictions.csv"}):
        number = 1 + next(n for n, call in enumerate(calls) if call.startswith(f"os.rename {name}."))
        folder = begun(root, f"others {number}", "evaluate")
        assert run_killed(folder, number, *words).returncode == -9
        found = outcome(folder)
        if "run/evaluation/metrics.json" in found:
            states = [{name: found[name] for name in of_all} == {name: content[name] for name in of_all} for content in (before, after)]
            assert any(states), f"before {calls[number - 1]}"
        else:
            assert not (folder / "run" / "evaluation" / "report.html").exists()
        done = run_command(folder, *words)
        assert done.returncode == 0, done.stderr
        assert {name: content for name, content in outcome(folder).items() if content} == {name: content for name, content in after.items() if content}
        shutil.rmtree(folder)
