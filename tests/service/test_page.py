"""The page of the service in a real browser: the whole way by mouse and keyboard, in both languages, on a desk and on a phone."""

import re
import shutil
import zipfile

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect
from support.browser import PATIENCE, SCREENSHOTS, browser
from support.service import SMALL, TOKEN, services_of
from support.tiny import write_folder

pytest.importorskip("fastapi")

PAGES = ("", "/data?path=dataset", "/new", "/runs/{run}", "/runs/{run}/results", "/compare?run={run}&run={first}", "/models")


class Tab:
    """A page that remembers errors of its console and requests that left the service."""

    def __init__(self, chromium, service, **options):
        self.address = service.address
        self.context = chromium.new_context(**options)
        self.tab = self.context.new_page()
        self.tab.set_default_timeout(PATIENCE)
        expect.set_options(timeout=PATIENCE)
        self.wrong = []
        self.tab.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.tab.on("console", lambda said: said.type == "error" and self.wrong.append(said.text))
        self.tab.on("request", lambda asked: asked.url.startswith((self.address + "/", "data:", "blob:")) or self.wrong.append(asked.url))

    def go(self, path=""):
        self.tab.goto(f"{self.address}/ui/ml{path}")

    def log_in(self, token=TOKEN):
        self.go()
        expect(self.tab.locator("input[type=password]"), "a page without a token shows the form and nothing else").to_have_count(1)
        self.wrong.clear()                                          # the browser calls a 401 an error
        self.tab.fill("input[name=token]", token)
        self.tab.keyboard.press("Enter")
        self.shows("nav")

    def shows(self, name):
        """Wait until a page has something and its script has run: before that, keys and clicks meet a page that cannot answer."""
        self.tab.wait_for_selector(name)
        self.tab.wait_for_load_state()

    def move_threshold(self, key):
        """To one end by keyboard, and wait until the figure beside the slider has followed. Returns the false alarms there."""
        self.shows('[data-count="validation-alarms"]')
        figure = self.tab.locator("output")
        before = figure.inner_text()
        self.tab.keyboard.press(key)
        expect(figure).not_to_have_text(before)
        return self.tab.inner_text('[data-count="validation-alarms"]')

    def picture(self, name):
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.tab.screenshot(path=SCREENSHOTS / f"service_{name}.png", full_page=True)
        too_wide = self.tab.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert too_wide <= 0, f"{name} is {too_wide} px wider than the window"

    def reach(self, name):
        """Press Tab until something has the focus, which has to be seen wherever it is."""
        for _ in range(80):
            self.tab.keyboard.press("Tab")
            if self.tab.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "none":
                raise AssertionError(f"the focus cannot be seen on {self.tab.evaluate('document.activeElement.outerHTML')[:200]}")
            if self.tab.evaluate("name => document.activeElement.matches(name)", name):
                return
        raise AssertionError(f"{name} cannot be reached by Tab")

    def press(self, name, said=None):
        """By keyboard: go there, write, Enter."""
        self.reach(name)
        if said is not None:
            self.tab.keyboard.type(said)
        self.tab.keyboard.press("Enter")

    def hold_accessible(self, place):
        """Labels, contrast, landmarks, what the keyboard reaches: all that axe looks at."""
        found = Axe().run(self.tab)
        assert found.violations_count == 0, f"{place}\n{found.generate_report()}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("page").resolve()
    write_folder(place / "dataset")
    return place


@pytest.mark.slow
def test_the_whole_way_by_mouse_in_both_languages(folder):
    with services_of(folder) as services, browser() as chromium:
        service = services()
        desk = Tab(chromium, service, viewport={"width": 1280, "height": 900}, locale="en-GB")
        tab = desk.tab
        desk.log_in()
        tab.click("nav >> text=Data")
        tab.click("summary >> text=not there yet")
        tab.set_input_files("#files", [folder / "dataset" / f"machine_{number}.json" for number in range(2)])
        tab.click("#send")
        tab.wait_for_url(re.compile("path=uploads/"))
        expect(tab.locator(".tile", has_text="Recordings").locator("b")).to_have_text("8")
        tab.fill("#path", "dataset")
        tab.click("button >> text=Check")
        desk.shows(".sound audio")
        tab.click("text=Train with these")
        expect(tab.locator("#dataset_path")).to_have_value("dataset")
        desk.shows("#epochs")
        tab.select_option("#model_architecture", "n")
        tab.fill("#epochs", "2")
        tab.click("summary")
        for key, value in SMALL.items():
            tab.fill(f'[name="{key}"]', str(value))
        tab.click("text=Forecast")
        expect(tab.locator("#forecast")).to_contain_text("memory")
        tab.click("button.main >> text=Start")
        tab.wait_for_selector("#stop, #results")
        tab.wait_for_selector("#results")                            # by itself: the page is live
        first = tab.inner_text("h1")
        tab.click("#results")
        tab.focus("#threshold")
        alarms = desk.move_threshold("End")
        assert alarms.startswith(("0 of", "1 of")), alarms
        tab.click("text=Keep this threshold")
        tab.wait_for_selector("#said .message")
        with tab.expect_download() as taken:
            tab.click("#take-archive")
        assert zipfile.ZipFile(taken.value.path()).testzip() is None
        tab.click("#by-limit")
        expect(tab.locator("#said")).to_contain_text("The threshold is now")
        shutil.copytree(folder / "runs" / first, folder / "runs" / "other")
        desk.go(f"/runs/{first}")
        tab.fill("#tags", "line 3, baseline")
        tab.click("#keep-tags")
        expect(tab.locator("#tags")).to_have_value("baseline, line 3")
        desk.go()
        expect(tab.locator("input[type=checkbox]")).to_have_count(2)
        tab.click(".tag >> text=line 3")
        expect(tab.locator("input[type=checkbox]")).to_have_count(1)
        desk.go()
        for box in tab.locator("input[type=checkbox]").all():
            box.check()
        tab.click("text=Compare the chosen ones")
        tab.wait_for_selector(".chart")
        desk.go("/models")
        tab.set_input_files("#file", folder / "dataset" / "machine_0.json")
        tab.click("button >> text=Try")
        tab.wait_for_selector("#scored td")
        expect(tab.locator("#scored")).to_contain_text("machine_0.json")
        for number in (1, 2):
            tab.fill("#registry-name", "pump")
            tab.click("#registry-add")
            tab.locator("#said", has_text=f"pump {number}").wait_for()
            tab.select_option("#version-pump", str(number))
            tab.click("#promote-pump")
            tab.locator("#said", has_text=f"pump {number} (champion)").wait_for()
        tab.click("#rollback-pump")
        tab.locator("#said", has_text="pump 1 (champion)").wait_for()
        by_keyboard(Tab(chromium, service, viewport={"width": 1280, "height": 900}, locale="en-GB"), first)
        token = service.post("/tokens", name="reader", role="read")["token"]
        for_readers(Tab(chromium, service, viewport={"width": 1280, "height": 900}, locale="en-GB"), token, first, folder)
        desk.go(f"/runs/{first}")
        tab.fill("#epochs", "100000")
        tab.click("#extend")
        tab.wait_for_selector("#stop")
        tab.locator(".tile b", has_text=re.compile(r"^([3-9]|\d\d+) / 100000")).wait_for()
        tab.click("#stop")
        tab.wait_for_selector("#resume")
        assert service.get(f"/training/status/{first}")["status"] == "stopped"
        assert not desk.wrong, desk.wrong
        _look_at_all(desk, "desk_en", "other", first)
        tab.select_option("select[name=lang]", "ja")
        desk.shows("html[lang=ja]")
        tab.select_option("select[name=theme]", "dark")
        tab.wait_for_selector("html[data-theme=dark]")
        phone = Tab(chromium, service, viewport={"width": 390, "height": 844}, locale="ja", color_scheme="dark", has_touch=True)
        phone.log_in()
        expect(phone.tab.locator("html")).to_have_attribute("lang", "ja")
        _look_at_all(phone, "phone_ja", "other", first)


def by_keyboard(desk, finished):
    """The same way without a mouse: check, start, stop, choose a threshold, put into use."""
    tab = desk.tab
    desk.log_in()
    desk.press(".skip")
    expect(tab.locator("#content")).to_be_focused()
    desk.go()
    desk.press('nav a[href$="/data"]')
    desk.shows("#path")
    desk.press("#path", "dataset")
    desk.shows(".sound audio")
    desk.press("main a.button.main")
    desk.shows("#epochs")
    desk.press("#epochs", "100000")
    desk.shows("#stop, #forecast")
    if tab.locator("#forecast").count():
        desk.press("button.main")
        desk.shows("#stop")
    desk.press("#stop")
    tab.wait_for_selector("#resume")
    desk.go(f"/runs/{finished}/results")
    desk.reach("#threshold")
    desk.move_threshold("Home")
    desk.go("/models")
    desk.press("#registry-name", "fan")
    tab.locator("#said", has_text="fan 1").wait_for()
    desk.press("#require-fan", "auc>=0")
    tab.locator("#said", has_text="fan 1 (champion)").wait_for()
    assert not desk.wrong, desk.wrong


def for_readers(desk, token, finished, folder):
    """Whoever may only read sees every page, may try a file, and is shown nothing that would be refused."""
    tab = desk.tab
    desk.log_in(token)
    for path in PAGES:
        desk.go(path.format(run="other", first=finished))
        expect(tab.locator("#reader")).to_contain_text("Your token may read.")
        expect(tab.locator("form[method=post]:not(.trial):visible")).to_have_count(0)
    desk.picture("reader")
    tab.set_input_files("#file", folder / "dataset" / "machine_0.json")
    tab.click("button >> text=Try")
    expect(tab.locator("#scored")).to_contain_text("machine_0.json")
    assert not desk.wrong, desk.wrong


def _look_at_all(tab, name, run, first):
    for number, path in enumerate(PAGES):
        tab.go(path.format(run=run, first=first))
        tab.tab.wait_for_load_state("networkidle")
        expect(tab.tab.locator("h1")).to_have_count(1)
        tab.picture(f"{name}_{number}")
        tab.hold_accessible(path)
    assert not tab.wrong, tab.wrong
