"""How quickly the workbench answers while it trains: from a click in a real browser to what it changes on the screen.

    python bench/responsiveness.py [--fronts lab classic voila] [--clicks 6] [--size m] [--stops 3]

For each place (JupyterLab with ipywidgets 8, the classic notebook with Colab's versions, the page), while nothing else runs:

- `usable`: from asking for the page until its first button stands there (in notebooks with the running of the cell);
- `try`: a click until one file is judged by a detector that lies in a folder, with its picture.

Then a training of simulated recordings runs in the background, and

- `answer`: a click on another source of recordings until its field stands there, a round trip through the kernel;
- `toggle`: a click on the language until every word of the page has changed;
- `stop`: a click on stop until the state says stopped, with the checkpoint written; then the training goes on.

Many clicks take longer than early stopping lets the training last; then it ends with an error. Prints median and greatest of each in ms; the aims are 5 s for a page, 3 s for a file, 500 ms for an answer and 2 s for a stop. Chromium is needed, and `make .venv-colab` for the classic notebook.
"""
import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
from support import browser, plant  # noqa: E402 - the harness of the browser tests

NOTEBOOK = {"cell_type": "code", "id": "workbench", "metadata": {}, "source": "import sounddetect as sd\nsd.Workbench()", "outputs": [], "execution_count": None}
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
AIMS = {"usable": 5000, "try": 3000, "answer": 500, "toggle": 500, "stop": 2000}


def ms_until(page, act, condition, argument=None):
    """Milliseconds from an action until a condition holds in the page."""
    began = time.perf_counter()
    act()
    page.tab.wait_for_function(condition, arg=argument, polling="raf")
    return 1000 * (time.perf_counter() - began)


def opened(chrome, front):
    """The page, and how long it took to stand there."""
    page = browser.Page(chrome, front)

    def open_it():
        page.open().run_all()
    return page, ms_until(page, open_it, "() => !!document.querySelector('.sd-data-load')")


def try_files(page, run, files):
    """Milliseconds of each file."""
    for step in ("results", "try"):                # folded while nothing has been trained here
        if page.tab.locator(f".sd-{step}.sd-folded").count():
            page.click(f"{step}-fold")
    page.fill("results-elsewhere", run)
    page.click("results-open")
    page.wait("results-message", run.name)
    times = []
    for file in files:
        page.fill("try-path", file)
        judged = "name => document.querySelector('.sd-try-message').innerText.includes(name)"
        times.append(ms_until(page, lambda: page.click("try-score"), judged, file.name))
    return times


def train_in(page, size):
    """A training that will not end by itself while we measure."""
    handle = page.widget("data-count").locator(".noUi-handle, .ui-slider-handle").first
    handle.focus()
    handle.press("End")                # as many as there are: an epoch shall last, or early stopping ends it all
    page.click("data-load")
    page.wait("check-message", "sd-(good|warning)")
    page.choose("plan-size", ["n", "s", "m", "l", "x"].index(size))
    page.fill("plan-epochs", 500)
    page.click("plan-make")
    page.wait("plan-message", "sd-(good|warning)")
    page.click("train-start")
    page.wait_state("running")
    page.tab.wait_for_function("() => parseInt(document.querySelector('.sd-train-left').innerText) >= 0")


def measure(page, clicks, stops):
    """Lists of milliseconds by what was measured."""
    found = {name: [] for name in ("answer", "toggle", "stop")}
    there = "name => !!document.querySelector(name)"
    for k in range(clicks):
        place, field = [(2, ".sd-data-path"), (0, ".sd-data-count")][k % 2]
        found["answer"].append(ms_until(page, lambda place=place: page.press("data-source", place), there, field))
        japanese = "japanese => /[ぁ-ん]/.test(document.querySelector('.sd-home-about').innerText) === japanese"
        found["toggle"].append(ms_until(page, lambda place=(k + 1) % 2: page.press("lang", place), japanese, k % 2 == 0))
    for _ in range(stops):
        stopped = "() => !!document.querySelector('.sd-train-state [data-state=stopped]')"
        found["stop"].append(ms_until(page, lambda: page.click("train-stop"), stopped))
        page.click("train-resume")
        page.wait_state("running")
        time.sleep(1)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fronts", nargs="+", default=["lab", "classic", "voila"])
    parser.add_argument("--clicks", type=int, default=6)
    parser.add_argument("--stops", type=int, default=3)
    parser.add_argument("--size", default="m")
    options = parser.parse_args()
    print(f"{'ms':>18} {'median':>8} {'greatest':>9} {'aim':>6}")
    colleague = Path(tempfile.mkdtemp())
    run = plant.train_theirs(colleague)
    for kind in options.fronts:
        with tempfile.TemporaryDirectory() as folder, browser.browser() as chrome:
            Path(folder, "workbench.ipynb").write_text(json.dumps({"cells": [NOTEBOOK], "metadata": KERNEL, "nbformat": 4, "nbformat_minor": 5}))
            with browser.Front(kind, folder) as front:
                page, usable = opened(chrome, front)
                found = {"usable": [usable], "try": try_files(page, run.path, sorted((colleague / "theirs" / "NG").glob("*.wav"))[:options.clicks])}
                train_in(page, options.size)
                for name, times in (found | measure(page, options.clicks, options.stops)).items():
                    print(f"{kind + ' ' + name:>18} {median(times):8.0f} {max(times):9.0f} {AIMS[name]:6d}", flush=True)
                page.close()
