"""The workbench in a real browser: from recordings to a downloaded detector with the mouse, and what happens when something comes between.

In JupyterLab (ipywidgets 8), in the classic notebook with Colab's versions (ipywidgets 7), and as a page. Pictures of it land in build/screenshots.
"""

import json
import os
import re
import time
import zipfile

import nbformat
import numpy as np
import pandas as pd
import pytest
from scipy.io import wavfile
from support import browser
from support.tiny import RATE, write_folder

import sounddetect as sd

WORKBENCH = "import sounddetect as sd\nsd.Workbench(lang={lang!r})"
LANGUAGE = {"lab": "en", "classic": "ja", "voila": "ja"}
# By day the two that notebooks are read with: the newest widgets, and those of Colab. The page alone is seen by `make nightly`.
FRONTS = [name for name in LANGUAGE if name != "voila" or "slow" in os.environ.get("SOUNDDETECT_FLAGS", "")]


@pytest.fixture(scope="module")
def chrome():
    with browser.browser() as chrome:
        yield chrome


@pytest.fixture(scope="module", params=FRONTS)
def front(request, tmp_path_factory):
    """A folder with recordings and a notebook with the workbench, served."""
    folder = tmp_path_factory.mktemp(request.param)
    write_folder(folder / "motors", 8, ["OK", "NG"] * 5, n_samples=2400)
    lang = LANGUAGE[request.param]
    cell = nbformat.v4.new_code_cell(WORKBENCH.format(lang=lang))
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata=kernel), folder / "workbench.ipynb")
    with browser.Front(request.param, folder, lang) as front:
        yield front


@pytest.fixture(scope="module")
def page(chrome, front):
    """A tab with the workbench in it; at its end, nothing went wrong in the console and nobody else was asked for anything."""
    page = browser.Page(chrome, front, height=1400).open().run_all()
    page.tab.wait_for_selector(".sd-data-load")
    yield page
    page.close()


def runs(front):
    return sorted(path.parent for path in front.folder.glob("runs/*/config.yaml"))


def events(run):
    return [json.loads(line) for line in (run / "events.jsonl").read_text(encoding="utf-8").splitlines()]


def load(page):
    """Choose the recordings by their path, and read them."""
    page.press("data-source", 2)
    page.fill("data-path", "motors")
    page.fill("data-rate", RATE)
    page.click("data-load")
    page.wait("data-message", "sd-(good|error)")
    page.wait("check-message", "sd-(good|warning|error)")


def plan(page, epochs):
    """The smallest network, in steps of two windows, so that a training takes some seconds."""
    page.choose("plan-size", 0)
    for name, value in (("epochs", epochs), ("batch", 2), ("window", 0.1)):
        page.fill(f"plan-{name}", value)
    page.click("plan-make")
    page.wait("plan-message", "sd-(good|warning|error)")


def percent(page):
    found = re.match(r"\s*(\d+)\s*%", page.text("train-left"))
    return int(found[1]) if found else 0


def wait_for_progress(page, after=0):
    """Wait until the bar has moved; how far it is."""
    page.tab.wait_for_function(
        "after => parseInt(document.querySelector('.sd-train-left').innerText) > after", arg=after
    )
    return percent(page)


def test_recordings_are_chosen_and_checked(page, front):
    page.screenshot(f"{front.kind}_empty")
    load(page)
    assert "sd-good" in page.widget("data-message").inner_html() and "80" in page.text("data-message")
    picture = page.tab.wait_for_selector(".sd-check-picture")
    # two pixels for one of the page, whatever is left beside the margins
    page.tab.wait_for_function("image => image.naturalWidth > 1.8 * image.getBoundingClientRect().width && image.naturalWidth > 300", arg=picture)
    frame = page.tab.locator(".sd-check-player iframe").element_handle().content_frame()
    frame.wait_for_function("() => [...document.querySelectorAll('audio')].map(player => player.duration > 0).join() === 'true,true'")
    plan(page, 20)
    assert "sd-error" not in page.widget("plan-message").inner_html()


def test_recordings_are_looked_at_and_listened_to(page, front):
    if front.kind != "classic":
        pytest.skip("widgets are the same everywhere, and Colab's versions are the older ones")
    page.click("explore-run")
    page.wait("explore-message", "sd-(good|warning|error)")
    for picture in ("counts", "spectra", "looks"):
        page.tab.wait_for_function(
            "name => document.querySelector('.sd-explore-' + name).naturalWidth > 200", arg=picture)
    frame = page.tab.locator(".sd-explore-player iframe").element_handle().content_frame()
    frame.wait_for_function("() => [...document.querySelectorAll('audio')].map(player => player.duration > 0).join() === 'true,true'")
    frame.click("button")
    for number in (0, 1, 0):  # one after the other, and the first again
        frame.wait_for_function("number => { const box = document.querySelectorAll('.sound')[number]; return !box.querySelector('audio').paused && parseFloat(box.querySelector('i').style.left) > 0 }", arg=number)
    frame.click("button")
    frame.wait_for_function("() => [...document.querySelectorAll('audio')].every(player => player.paused)")
    page.screenshot(f"{front.kind}_listening", "explore-player")
    page.click("explore-save")
    link = page.tab.wait_for_selector(".sd-explore-link a[download]")
    page.screenshot(f"{front.kind}_explore", "explore")
    with page.tab.expect_download() as caught:
        link.click()
    assert f'<html lang="{front.lang}"' in caught.value.path().read_text(encoding="utf-8")


def test_a_dialog_over_the_page_is_closed_and_part_of_the_message(page, front):
    """Another program's question, such as for a connection that was lost for a moment, is not what is tested here."""
    if front.kind != "lab":
        pytest.skip("a dialog that can be called up")
    page.tab.evaluate("() => { jupyterapp.commands.execute('help:about') }")
    page.tab.wait_for_function("() => document.querySelector('.jp-Dialog')")
    assert "dialog: Version" in page.situation()
    page.press("lang", 0)
    assert len(page.dialogs) == 1 and "Project Jupyter Contributors" in page.dialogs[0]
    page.dialogs.clear()


def test_training_moves_stops_and_goes_on(page, front):
    page.widget("train-start").dblclick()  # two clicks in a row
    page.wait_state("running")
    first = wait_for_progress(page)
    assert wait_for_progress(page, first) > first
    page.screenshot(f"{front.kind}_training", "train")
    page.click("train-stop")
    assert page.wait_state("stopped", "finished", "failed") == "stopped"
    (run,) = runs(front)
    assert (run / "weights" / "last.pt").exists() and not (run / "model").exists()
    stopped = events(run)[-1]
    assert (stopped["event"], stopped["resumable"]) == ("stop", True)
    page.click("train-resume")
    assert page.wait_state("finished", "failed") == "finished"
    (run,) = runs(front)
    assert pd.read_csv(run / "results.csv")["epoch"].is_monotonic_increasing
    steps = [(event["epoch"], event["step"]) for event in events(run) if event["event"] == "batch"]
    assert len(set(steps)) == len(steps), "steps were made twice"


def test_the_threshold_moves_misses_and_false_alarms(page, front):
    page.wait("results-table", "<td")
    page.tab.wait_for_selector(".sd-results-histogram")
    before = page.text("results-effect")
    handle = page.widget("results-threshold").locator(".noUi-handle, .ui-slider-handle").first
    handle.focus()
    handle.press("Home")
    page.tab.wait_for_function(
        "before => document.querySelector('.sd-results-effect').innerText !== before", arg=before
    )
    page.widget("results-title").scroll_into_view_if_needed()
    page.tab.wait_for_function("() => document.querySelector('.sd-results-histogram').naturalWidth > 300")
    page.screenshot(f"{front.kind}_results", "results")


def test_the_detector_is_downloaded_and_gives_the_same_scores(page, front, tmp_path):
    page.click("home-download")
    link = page.tab.wait_for_selector(".sd-home-link a[download]")
    with page.tab.expect_download() as caught:
        link.click()
    archive = tmp_path / caught.value.suggested_filename
    caught.value.save_as(archive)
    with zipfile.ZipFile(archive) as content:
        content.extractall(tmp_path / "home")
    (home,) = (tmp_path / "home").iterdir()
    scores = sd.Detector.load(home).predict(front.folder / "motors").set_index("key")["anomaly_score"]
    judged = pd.read_csv(home / "evaluation" / "predictions.csv").set_index("key")["anomaly_score"]
    np.testing.assert_allclose(scores[judged.index], judged, atol=1e-5)
    page.screenshot(f"{front.kind}_home", "home")


def test_a_file_is_tried(page, front):
    page.fill("try-path", "motors/machine_0.json")
    page.click("try-score")
    page.wait("try-table", "<td")
    frame = page.tab.locator(".sd-try-player iframe").element_handle().content_frame()
    frame.wait_for_function("() => document.querySelector('audio').duration > 0")
    box = frame.locator(".ground").bounding_box()
    frame.locator(".ground").click(position={"x": box["width"] / 2, "y": 20})
    frame.wait_for_function("() => Math.abs(parseFloat(document.querySelector('i').style.left) - 50) < 2")
    page.screenshot(f"{front.kind}_try", "try")


def test_every_word_follows_the_language(page, front):
    panels = ["data", "check", "explore", "plan", "train", "results", "try", "trend", "home"]
    for lang in ("en", "ja", front.lang):
        page.press("lang", ("en", "ja").index(lang))
        page.tab.wait_for_function(
            "([panels, japanese]) => panels.every(panel => /[ぁ-んァ-ン一-龥]/.test(document.querySelector('.sd-' + panel + '-about').innerText) === japanese)",
            arg=[panels, lang == "ja"],
        )
        page.tab.evaluate("() => window.scrollTo(0, 0)")
        page.screenshot(f"{front.kind}_{lang}")


def test_a_tab_that_is_reloaded_loses_nothing(page, front):
    """A notebook's widgets come back and follow the training that went on; a page's kernel ends with it, after a checkpoint."""
    plan(page, 60)
    page.click("train-start")
    page.wait_state("running")
    wait_for_progress(page)
    page.save()
    page.tab.reload()
    page.wait_for_kernel()
    page.tab.wait_for_selector(".sd-train-state [data-state]", state="attached")
    run = runs(front)[-1]
    if front.kind == "voila":
        _goes_on(page, front, run)
        return
    assert page.state() == "running"
    wait_for_progress(page, percent(page))
    page.click("train-stop")
    assert page.wait_state("stopped", "finished", "failed") == "stopped"
    assert events(run)[-1]["reason"] == "stop"


def test_a_kernel_restarted_in_mid_training_loses_nothing(page, front):
    if front.kind == "voila":
        pytest.skip("a page has no such button; reloading it does the same")
    page.click("train-resume")
    page.wait_state("running")
    wait_for_progress(page)
    page.restart_kernel()
    page.run_all()
    _goes_on(page, front, runs(front)[-1])


def _goes_on(page, front, run):
    """What was interrupted saved its last step, is offered, and goes on from there by one click."""
    page.wait("train-message", run.name)
    end = time.monotonic() + 240
    while events(run)[-1]["event"] != "stop" and time.monotonic() < end:  # the kernel that was let go has some seconds
        time.sleep(0.1)
    last = events(run)[-1]
    assert (last["event"], last["reason"], last["resumable"]) == ("stop", "end of the program", True)
    assert page.state() == "idle"
    page.screenshot(f"{front.kind}_found", "train")
    page.click("train-resume")
    assert page.wait_state("running", "failed") == "running"
    wait_for_progress(page, percent(page))
    page.click("train-stop")
    assert page.wait_state("stopped", "finished", "failed") != "failed"  # early stopping may have been quicker
    steps = [(event["epoch"], event["step"]) for event in events(run) if event["event"] == "batch"]
    assert len(set(steps)) == len(steps), "steps were made twice"


def test_the_driver_notebook_needs_one_click_until_the_download(chrome, front):
    """`nbs/colab.ipynb` as it is, but smaller: run all, wait, download."""
    if front.kind == "voila":
        pytest.skip("the page has no notebook")
    notebook = nbformat.read(browser.ROOT / "nbs" / "colab.ipynb", 4)
    (place,) = [i for i, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", [])]
    small = f"LANG, simulated, EPOCHS, SIZE, folder = {front.lang!r}, 48, 3, 'n', 'driver'"
    notebook.cells.insert(place + 1, nbformat.v4.new_code_cell(small))
    nbformat.write(notebook, front.folder / "colab.ipynb")
    page = browser.Page(chrome, front, height=2000).open("colab").run_all()
    assert page.wait_state("finished", "failed") == "finished"
    page.wait("results-table", "<td")
    page.click("home-download")
    link = page.tab.wait_for_selector(".sd-home-link a[download]")
    with page.tab.expect_download() as caught:
        link.click()
    assert zipfile.ZipFile(caught.value.path()).testzip() is None
    page.screenshot(f"{front.kind}_driver")
    page.close()


def test_only_good_recordings_lead_to_a_detector(page, front, tmp_path):
    """Nobody has recorded a fault yet: from a folder without labels to the archive, by mouse."""
    if front.kind != "lab":
        pytest.skip("widgets are the same everywhere, and this takes a while")
    noise = np.random.default_rng(0).normal(scale=0.1, size=(40, 4000))
    (front.folder / "new_pump").mkdir()
    for k, waveform in enumerate(noise):
        wavfile.write(front.folder / "new_pump" / f"day_{k:02d}.wav", RATE, waveform.astype(np.float32))
    page.press("data-source", 2)
    page.fill("data-path", "new_pump")
    page.click("data-load")
    page.tab.wait_for_selector(".sd-data-good", state="visible")
    page.click("data-good")
    page.wait("plan-message", "sd-good")
    page.screenshot("lab_good_plan", "plan")
    page.click("train-start")
    page.wait_state("running", "finished", "failed")
    assert page.wait_state("finished", "failed") == "finished"
    page.wait("results-message", runs(front)[-1].name)  # of this run, not what stood there before
    page.wait("results-table", "<td")
    page.tab.wait_for_function("() => document.querySelector('.sd-results-histogram').naturalWidth > 300")
    page.screenshot("lab_good_results", "results")
    page.click("try-score")
    page.wait("try-table", "<td")
    page.screenshot("lab_good_try", "try")
    alarms, of_all = map(int, re.search(r"(\d+) of (\d+)$", page.text("results-effect").strip()).groups())
    assert alarms < of_all, "the slider is not at the threshold"
    page.fill("trend-path", "new_pump")
    page.click("trend-run")
    page.wait("trend-message", "sd-(good|warning|error)")
    page.tab.wait_for_function("() => document.querySelector('.sd-trend-picture').naturalWidth > 300")
    page.screenshot("lab_good_trend", "trend")
    page.click("home-download")
    link = page.tab.wait_for_selector(".sd-home-link a[download]")
    page.screenshot("lab_good_home", "home")
    with page.tab.expect_download() as caught:
        link.click()
    with zipfile.ZipFile(caught.value.path()) as content:
        content.extractall(tmp_path)
    (home,) = tmp_path.iterdir()
    assert {"README.txt", "score.py", "data_sheet.html", "report.html"} <= {path.name for path in home.iterdir()}
    deployed = sd.Detector.load(home)
    at_home, here = (one.predict(front.folder / "new_pump") for one in (deployed, sd.Detector.load(runs(front)[-1])))
    np.testing.assert_allclose(at_home["anomaly_score"], here["anomaly_score"], atol=1e-5)
    assert at_home["decision"].eq("OK").mean() > 0.8 and at_home["familiar"].mean() > 0.8
    rng = np.random.default_rng(1)
    knocking = noise[0] + 3 * (np.arange(4000) % 400 < 8) * rng.standard_normal(4000)
    assert deployed.predict(knocking.astype(np.float32), RATE)["decision"].tolist() == ["NG"]
    for panel in ("data", "check", "explore", "plan", "train", "results", "try", "trend", "home"):
        assert "sd-error" not in page.widget(f"{panel}-message").inner_html(), page.text(f"{panel}-message")


def test_ten_classes_from_their_folders_to_the_report(page, front):
    """With the widgets of Colab: each folder is a class, which nobody types, and the report tells all ten apart."""
    if front.kind != "classic":
        pytest.skip("widgets are the same everywhere, and this takes a while")
    rng, time_s = np.random.default_rng(0), np.arange(1000) / RATE
    names = "chainsaw clock crying dog fire helicopter rain rooster sea sneeze".split()
    for number, name in enumerate(names):
        (front.folder / "ten" / name).mkdir(parents=True)
        for k in range(4):
            tone = np.sin(2 * np.pi * 150 * (number + 1) * time_s + rng.uniform(0, 6)) + 0.1 * rng.standard_normal(1000)
            wavfile.write(front.folder / "ten" / name / f"{k}.wav", RATE, (0.2 * tone).astype(np.float32))
    page.press("data-source", 2)
    page.fill("data-path", "ten")
    page.click("data-load")
    page.tab.wait_for_selector(".sd-data-labels-each", state="visible")
    page.click("data-labels-each")
    page.wait("data-labels-counts", "sneeze: 4")
    page.screenshot("classic_ten_labels", "data")
    page.click("data-labels-use")
    page.wait("data-message", "sd-(good|error)")
    plan(page, 2)
    page.click("train-start")
    page.wait_state("running", "finished", "failed")
    assert page.wait_state("finished", "failed") == "finished", page.text("train-message")
    page.wait("results-message", runs(front)[-1].name)  # of this run, not what stood there before
    page.wait("results-table", "<td")
    page.screenshot("classic_ten_results", "results")
    page.click("home-report")
    link = page.tab.wait_for_selector(".sd-home-link a[download]")
    with page.tab.expect_download() as caught:
        link.click()
    report = caught.value.path().read_text(encoding="utf-8")
    assert [name for name in names if name not in report] == []
    assert sd.Detector.load(runs(front)[-1]).classes == names


def test_a_path_with_a_typo_clears_and_disables_what_follows(page, front):
    page.press("data-source", 2)
    page.fill("data-path", "motorss")
    page.click("data-load")
    page.wait("data-message", "sd-error")
    for button in ("check-run", "plan-make", "train-start"):
        assert page.widget(button).is_disabled(), button
    assert not page.text("check-table").strip() and not page.text("plan-figures").strip()
    page.screenshot(f"{front.kind}_typo")


def test_the_keyboard_goes_where_the_mouse_does(page, front):
    """From a path to the button of the training by Tab and Space; nothing in between holds the focus."""

    def go(name):
        for _ in range(100):
            page.tab.keyboard.press("Tab")
            if page.tab.evaluate("name => Boolean(document.activeElement.closest('.sd-' + name))", name):
                return
        raise AssertionError(f"Tab does not reach {name}")

    page.press("data-source", 2)
    page.fill("data-path", "motors")
    go("data-load")
    page.tab.keyboard.press("Space")
    page.wait("data-message", "sd-good")
    page.wait("plan-message", "sd-(good|warning|error)")  # which follows by itself
    go("plan-make")
    page.tab.keyboard.press("Space")
    page.wait("plan-message", "sd-(good|warning|error)")
    go("train-start")
    assert page.widget("train-start").is_enabled()
