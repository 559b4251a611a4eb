"""The twelve things that an engineer in a plant tries, in JupyterLab with the mouse: each ends in a next step that works. By night.

Six are done in English and six in Japanese, and each is seen in both; pictures of its panels land in build/screenshots.
"""

import os
import shutil
import time

import nbformat
import pytest
from support import browser
from support.plant import amiss, record, record_hum, record_seven, record_spreadsheets, train_theirs
from support.tiny import RATE

from sounddetect.workbench.home_panel import pack_run

pytestmark = pytest.mark.skipif(
    "slow" not in os.environ.get("SOUNDDETECT_FLAGS", ""), reason="twelve ways through all steps take minutes: make nightly"
)
# What stands out on the page: coloured buttons that can be seen, and pressed.
COLOURED = """() => [...document.querySelectorAll('.sd-workbench button.mod-primary')].filter(
    button => button.offsetParent && !button.disabled).map(button => [...button.classList].find(name => name.startsWith('sd-')).slice(3)).join()"""
# What is said on the page, without names of files and recordings, which nobody translates.
SAID = """() => [...document.querySelectorAll('.sd-workbench .sd-message, .sd-workbench .sd-about, .sd-workbench .sd-facts, .sd-workbench .sd-table td')]
    .filter(one => one.offsetParent).map(one => one.innerText)"""

DRAWN = """() => !document.querySelector('.sd-results-threshold').offsetParent
    || document.querySelector('.sd-results-histogram').naturalWidth > 300"""
PICTURES = "() => [...document.querySelectorAll('.sd-check-picture, .sd-results-histogram')].filter(one => one.offsetParent).map(one => one.src)"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A tab with the workbench in it, set to the smallest training."""
    folder = tmp_path_factory.mktemp("plant")
    cell = nbformat.v4.new_code_cell("import sounddetect as sd\nsd.Workbench()")
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata=kernel), folder / "workbench.ipynb")
    with browser.browser() as chrome, browser.Front("lab", folder) as front:
        page = browser.Page(chrome, front, height=3000).open().run_all()
        page.tab.wait_for_selector(".sd-data-load")
        record(folder / "first" / "OK"), record(folder / "first" / "NG")
        load(page, "first")
        stands_out(page, "train-start")
        page.choose("plan-size", 0)
        for name, value in (("epochs", 1), ("batch", 8), ("window", 0.05)):
            page.fill(f"plan-{name}", value)
        yield page
        page.close()


@pytest.fixture
def lang(request, page):
    """The language in which everything is done."""
    speak(page, request.param)
    return request.param


IN_ENGLISH, IN_JAPANESE = (pytest.mark.parametrize("lang", [lang], indirect=True) for lang in ("en", "ja"))


@pytest.fixture
def folder(page, lang, request):
    """A new folder for recordings, of a name that no other message bears."""
    name = request.node.originalname.removeprefix("test_")
    return page.front.folder / name


def speak(page, lang):
    """Choose a language, and wait until all follows: what can be read fits it, and pictures are drawn again."""
    japanese = "/[ぁ-んァ-ン一-龥]/.test(document.querySelector('.sd-data-about').innerText)"
    if page.tab.evaluate(japanese) == (lang == "ja"):
        return
    before = page.tab.evaluate(PICTURES)
    page.press("lang", ("en", "ja").index(lang))
    page.tab.wait_for_function(f"japanese => {japanese} === japanese", arg=lang == "ja")
    page.tab.wait_for_function(f"before => ({PICTURES})().every(source => !before.includes(source))", arg=before)


def misfits(page, lang):
    """What can be read and is of no use in this language."""
    said = page.tab.evaluate(SAID)
    for name in (str(page.front.folder), "録音 データ（2号機）", "不良品", "良品"):
        said = [text.replace(name, "") for text in said]
    return [text for text in said if amiss(text, lang)]


def load(page, path):
    """Choose recordings by their path, and read them."""
    page.press("data-source", 2)
    page.fill("data-path", path)
    page.click("data-load")


def said(page, panel, says, kind="good|warning"):
    """Wait until the message of a panel is an answer that matches a regular expression."""
    page.wait(f"{panel}-message", f'sd-({kind})"[^>]*>[^<]*{says}')


def stands_out(page, *names):
    """Wait until these buttons, and no others, are coloured."""
    page.tab.wait_for_function(f"names => ({COLOURED})() === names", arg=",".join(names))


def look(page, folder, lang, *panels):
    """What can be read fits the language; pictures of the panels in both languages."""
    if "check" in panels:
        said(page, "check", folder.name, "good|warning|error")
    if "results" in panels:
        page.tab.wait_for_function(DRAWN)
    for spoken in ("en", "ja") if lang == "en" else ("ja", "en"):
        speak(page, spoken)
        end = time.monotonic() + browser.PATIENCE / 1000
        while found := misfits(page, spoken):                  # widgets follow one after the other
            assert time.monotonic() < end, found
            page.tab.wait_for_timeout(100)
        for panel in panels:
            page.screenshot(f"twelve_{folder.name}_{panel}_{spoken}", panel)
    speak(page, lang)


def runs(page):
    return {path.parent.name for path in page.front.folder.glob("runs/*/config.yaml")}


def trains(page, *then):
    """Start stands out, trains and ends; the results are of this training, and what comes then stands out."""
    before = runs(page)
    stands_out(page, "train-start")
    page.click("train-start")
    stands_out(page, *(then or ("results-cross", "try-score")))             # of few sources, all are judged by cross-validation
    assert page.state() == "finished"
    (run,) = runs(page) - before
    page.wait("results-message", run)


@IN_ENGLISH
def test_only_good_ones(page, folder, lang):
    record(folder / "OK", 24)
    load(page, folder.name)
    said(page, "plan", "learns what is normal")
    look(page, folder, lang, "data", "check", "plan")
    trains(page, "try-score")
    look(page, folder, lang, "results")


@IN_JAPANESE
def test_three_files(page, folder, lang):
    record(folder / "OK", 2), record(folder / "NG", 1)
    load(page, folder.name)
    said(page, "data", folder.name, "warning")
    stands_out(page, "data-load")
    assert page.widget("train-start").is_disabled()
    look(page, folder, lang, "data", "check", "train")
    record(folder / "OK"), record(folder / "NG")
    page.click("data-load")
    said(page, "data", folder.name, "good")
    stands_out(page, "train-start")


@IN_ENGLISH
def test_mp3(page, folder, lang):
    for name in ("OK", "NG"):
        record(folder / name, suffix=".mp3", rate=16000)
    load(page, folder.name)
    said(page, "data", ".mp3", "error")
    stands_out(page, "data-convert")
    look(page, folder, lang, "data")
    page.click("data-convert")
    said(page, "data", "WAV: 8")
    page.screenshot("twelve_mp3_converted", "data")
    stands_out(page, "train-start")


@IN_JAPANESE
def test_ten_minute_files(page, folder, lang):
    for name in ("OK", "NG"):
        record(folder / name, 1, rate=200, seconds=600)
    page.fill("plan-window", 1)
    load(page, folder.name)
    said(page, "data", folder.name, "warning")
    stands_out(page, "data-cut")
    look(page, folder, lang, "data", "train")
    page.click("data-cut")
    said(page, "data", "NG 60")
    page.screenshot("twelve_ten_minute_files_cut", "data")
    trains(page)
    page.fill("plan-window", 0.05)
    page.fill("data-clip", 0)


@IN_ENGLISH
def test_no_labels(page, folder, lang):
    record(folder, 24)
    load(page, folder.name)
    said(page, "check", "what is good")
    stands_out(page, "data-good")
    look(page, folder, lang, "data", "check", "train")
    page.click("data-good")
    said(page, "plan", "learns what is normal")
    stands_out(page, "train-start")


@IN_JAPANESE
def test_csv_from_a_spreadsheet(page, folder, lang):
    load(page, record_spreadsheets(folder).name)
    said(page, "data", f"{RATE} Hz は")
    look(page, folder, lang, "data", "check")
    trains(page)


@IN_ENGLISH
def test_a_typo(page, folder, lang):
    record(folder / "OK"), record(folder / "NG")
    load(page, f"{folder.name}x")
    said(page, "data", f"{folder.name}x", "error")
    stands_out(page, "data-load")
    assert all(page.widget(name).is_disabled() for name in ("check-run", "plan-make", "train-start"))
    look(page, folder, lang, "data", "train")
    load(page, folder.name)
    said(page, "data", folder.name)
    stands_out(page, "train-start")


@IN_JAPANESE
def test_spaces_and_japanese_in_paths(page, folder, lang):
    folder = folder / "録音 データ（2号機）"
    record(folder / "良品", bad=False), record(folder / "不良品", bad=True)
    load(page, f'"{folder}"')
    said(page, "data", "録音 データ（2号機）")
    stands_out(page, "data-labels-use")
    look(page, folder, lang, "data", "check")
    page.click("data-labels-use")
    said(page, "data", "labels/不良品.csv")
    trains(page)


@IN_ENGLISH
def test_seven_classes(page, folder, lang):
    load(page, record_seven(folder).name)
    said(page, "data", folder.name)
    stands_out(page)                                        # a question is open
    look(page, folder, lang, "data", "train")
    page.click("data-labels-each")
    stands_out(page, "data-labels-use")
    page.click("data-labels-use")
    said(page, "data", "labels/bearing.csv")
    trains(page)
    look(page, folder, lang, "results")


@IN_JAPANESE
def test_mixed_rates(page, folder, lang):
    record(folder / "OK"), record(folder / "NG", rate=16000)
    load(page, folder.name)
    said(page, "data", "8000 Hz, 16000 Hz")
    page.wait("check-table", "16000 Hz")
    look(page, folder, lang, "data", "check")
    trains(page)


@IN_ENGLISH
def test_labels_swapped(page, folder, lang):
    record(folder / "OK", bad=True), record(folder / "NG", bad=False)
    load(page, folder.name)
    said(page, "data", folder.name)
    stands_out(page, "train-start")
    page.click("data-labels-change")
    lists = page.tab.locator(".sd-data-label select")
    lists.nth(0).select_option(label="OK")
    lists.nth(1).select_option(label="NG")
    stands_out(page, "data-labels-use")
    look(page, folder, lang, "data")
    page.click("data-labels-use")
    said(page, "data", "labels/NG.csv")
    stands_out(page, "train-start")
    manifest = (page.front.folder / "labels" / "NG.csv").read_text(encoding="utf-8")
    assert "OK/rec 0.wav,NG" in manifest and "NG/rec 0.wav,OK" in manifest


@IN_JAPANESE
def test_another_machines_detector(page, folder, lang, tmp_path):
    archive = pack_run(train_theirs(tmp_path), tmp_path)
    shutil.rmtree(tmp_path / "theirs")
    record_hum(folder)
    if page.tab.locator(".sd-results.sd-folded").count():    # while nothing has been trained here
        page.click("results-fold")
    page.fill("results-elsewhere", archive)
    page.click("results-open")
    page.wait("results-message", archive.stem)
    page.fill("try-path", folder.name)
    page.click("try-score")
    said(page, "try", folder.name)
    stands_out(page, "results-evaluate", "try-adapt")        # to judge what was opened, or to adapt it to what was tried
    look(page, folder, lang, "results", "try")
    page.click("try-adapt")
    said(page, "try", "10 件")
    page.click("try-score")
    said(page, "try", folder.name, "good")
    page.click("home-download")
    page.tab.wait_for_selector(".sd-home-link a[download]")
    look(page, folder, lang, "home")


# --- what somebody looks at stays where it is -------------------------------------------------------------------------

TOP = "name => document.querySelector('.sd-' + name).getBoundingClientRect().top"
PRESS = "name => document.querySelector('.sd-' + name).click()"       # without moving the page there
LOOK_AT = """name => new Promise(seen => { document.querySelector('.sd-' + name).scrollIntoView({block: 'start'});
    requestAnimationFrame(() => requestAnimationFrame(seen)) })"""


@pytest.mark.parametrize("lang", ["en"], indirect=True)
def test_the_view_does_not_jump(page, folder, lang):
    """What one has pressed stays where it is, while the steps below unfold and fill.

    What one reads further below moves by what grows above: JupyterLab turns the browser's scroll anchoring off."""

    def press(name):
        page.tab.evaluate(LOOK_AT, name)
        before = page.tab.evaluate(TOP, name)
        page.tab.evaluate(PRESS, name)
        return before

    page.tab.set_viewport_size({"width": 1280, "height": 900})
    record(folder / "OK", 12), record(folder / "NG", 12)
    load(page, folder.name)
    said(page, "data", "recordings: 24")
    stands_out(page, "train-start")
    record(folder / "OK", 13)                                 # so that the second load is known by what it says
    before = press("data-load")
    said(page, "data", "recordings: 25")
    said(page, "check", folder.name)
    stands_out(page, "train-start")
    assert abs(page.tab.evaluate(TOP, "data-load") - before) < 3
    before = press("train-start")
    stands_out(page, "results-cross", "try-score")
    assert abs(page.tab.evaluate(TOP, "train-start") - before) < 3
