"""Notebooks and pages in a real browser: the servers, the browser, and what a user does there.

Three places show the same widgets and differ in all else: JupyterLab with ipywidgets 8, the classic notebook with Colab's versions
(ipywidgets 7, an environment of its own, made by `make .venv-colab`), and Voila. `Front` starts one of them in a folder, `Page` is a tab in headless Chromium
that remembers errors of the console and requests that would have left this machine.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.commands import ROOT, environment, program

BIN = Path(sys.executable).parent
COLAB = Path(os.environ.get("SOUNDDETECT_COLAB_VENV", ROOT / ".venv-colab"))
REQUIRED = os.environ.get("SOUNDDETECT_BROWSER") == "required"  # set by .ci/run: there a missing browser is a failure
SCREENSHOTS = ROOT / "build" / "screenshots"
TOKEN = "token-of-the-test"
PATIENCE = 60_000  # ms that a browser waits for something that takes a second: "does not hang", not a measure of speed
ARGUMENTS = [
    "--no-sandbox",  # CI runs as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]


def missing(reason):
    """Skip, or fail where everything has to be there."""
    (pytest.fail if REQUIRED else pytest.skip)(reason)


def chromium():
    """The browser of the system; Playwright's own is not downloaded."""
    found = [path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))]
    if not found:
        missing("no Chromium here: install the package chromium of the system")
    return found[0]


@contextmanager
def browser():
    """Headless Chromium."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("Playwright is not installed: pip install -e '.[dev]'")
    path = chromium()
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=path, args=ARGUMENTS)


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


# --- servers ---------------------------------------------------------------------------------------------------------


class Front:
    """A server of notebooks or of the page, in a folder: `lab`, `classic` or `voila`."""

    def __init__(self, kind, folder, lang="en"):
        self.kind, self.folder, self.lang, self.port = kind, Path(folder), lang, free_port()
        if kind == "classic" and not (COLAB / "bin" / "jupyter").exists():
            missing(f"no environment with Colab's versions at {COLAB.name}: run `make .venv-colab`")

    def __enter__(self):
        home = self.folder / ".home"
        settings = home / "lab" / "@jupyterlab" / "apputils-extension"
        settings.mkdir(parents=True)
        quiet = {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True}
        (settings / "notification.jupyterlab-settings").write_text(json.dumps(quiet))
        cells = home / "lab" / "@jupyterlab" / "notebook-extension"  # all cells are in the page, not only those that can be seen
        cells.mkdir(parents=True)
        (cells / "tracker.jupyterlab-settings").write_text(json.dumps({"windowingMode": "none"}))
        private = {"HOME": home, "JUPYTERLAB_SETTINGS_DIR": home / "lab", "JUPYTERLAB_WORKSPACES_DIR": home / "spaces"}
        private |= {"JUPYTER_CONFIG_DIR": home / "config", "JUPYTER_RUNTIME_DIR": home / "runtime", "IPYTHONDIR": home / "ipython"}
        variables = environment() | {name: str(path) for name, path in private.items()}
        variables.pop("MPLBACKEND")
        self.log = open(self.folder / "server.log", "w")  # noqa: SIM115 - closed in __exit__
        self.process = subprocess.Popen(self._words(), cwd=self.folder, env=variables, stdout=self.log, stderr=self.log)
        try:
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _words(self):
        at = ["--no-browser", "--ip=127.0.0.1", f"--port={self.port}", "--allow-root"]
        if self.kind == "lab":
            return [BIN / "jupyter-lab", *at, f"--IdentityProvider.token={TOKEN}", "--expose-app-in-browser", "--ServerApp.terminals_enabled=False"]
        if self.kind == "classic":
            return [COLAB / "bin" / "jupyter-notebook", *at, f"--NotebookApp.token={TOKEN}"]
        return [*program(), "app", "--port", str(self.port), "--no-browser", "--lang", self.lang]

    def _wait(self):
        end = time.monotonic() + 60
        while time.monotonic() < end and self.process.poll() is None:
            try:
                if self.kind == "voila":
                    found = re.search(r"token=(\S+)", Path(self.log.name).read_text())
                    if found:
                        self.token = found[1]
                        return
                else:
                    self.token = TOKEN
                    self.api("/api/status")
                    return
            except OSError:
                pass
            time.sleep(0.1)
        raise AssertionError(f"{self.kind} did not start:\n{Path(self.log.name).read_text()[-2000:]}")

    def __exit__(self, *error):
        self.process.terminate()
        try:
            self.process.wait(30)
        finally:
            self.process.kill()
            self.log.close()

    def api(self, path, method="GET"):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", method=method, headers={"Authorization": f"token {self.token}"})
        if method == "POST":
            request.data = b""
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read() or b"null")

    def kernel(self):
        """Id of the one kernel that runs."""
        (kernel,) = self.api("/api/kernels")
        return kernel["id"]

    def restart_kernel(self):
        self.api(f"/api/kernels/{self.kernel()}/restart", "POST")


# --- pages -----------------------------------------------------------------------------------------------------------


class Page:
    """A tab: opens and runs a notebook of a front, and acts on widgets by their class."""

    def __init__(self, browser, front, width=1280, height=900):
        self.front = front
        self.context = browser.new_context(viewport={"width": width, "height": height}, accept_downloads=True)
        self.tab = self.context.new_page()
        self.tab.set_default_timeout(PATIENCE)
        self.errors, self.foreign = [], []
        self.tab.on("pageerror", lambda error: self.errors.append(str(error)[:300]))
        self.tab.on("console", self._hear)
        self.tab.on("request", self._see)

    def _hear(self, message):
        if message.type == "error" and not _harmless(message.text, self.foreign):
            self.errors.append(message.text[:300])

    def _see(self, request):
        local = f"http://127.0.0.1:{self.front.port}/"
        if not request.url.startswith((local, "data:", "blob:", "about:")):
            self.foreign.append(request.url)

    def open(self, notebook="workbench"):
        """Go to a notebook (or to the page) and wait until its kernel can work."""
        at, token = f"http://127.0.0.1:{self.front.port}", f"token={self.front.token}"
        kind = self.front.kind
        if kind == "lab":
            self.tab.goto(f"{at}/lab/tree/{notebook}.ipynb?{token}&reset")
        elif kind == "classic":
            self.tab.goto(f"{at}/notebooks/{notebook}.ipynb?{token}")
        else:
            self.tab.goto(f"{at}/?{token}")
        self.wait_for_kernel()
        return self

    def wait_for_kernel(self):
        if self.front.kind == "lab":
            self.tab.wait_for_selector(".jp-Notebook .jp-Cell")
            self.tab.wait_for_selector('.jp-Notebook-ExecutionIndicator[data-status="idle"]')
        elif self.front.kind == "classic":
            self.tab.wait_for_function(
                "() => window.Jupyter && Jupyter.notebook && Jupyter.notebook.kernel && Jupyter.notebook.kernel.is_connected()"
                " && Jupyter.notebook._fully_loaded && Jupyter.notebook.kernel.info_reply.status === 'ok'"
            )

    def run_all(self):
        """What the menu's entry does."""
        if self.front.kind == "lab":
            prompts = "Array.from(document.querySelectorAll('.jp-Notebook .jp-CodeCell .jp-InputPrompt'), prompt => prompt.innerText).join()"
            before = self.tab.evaluate(f"() => {prompts}")
            ran = f"before => {{ const now = {prompts}; return now !== before && /\\[\\d+\\]/.test(now) }}"
            for _ in range(4):  # a notebook that has just been opened may not take the command yet, or forget it
                self.tab.click(".jp-Notebook .jp-CodeCell .cm-content >> nth=0")  # the command is for the notebook that has the focus
                self.tab.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells') }")
                try:
                    self.tab.wait_for_function(ran, arg=before, timeout=20000)
                    break
                except Exception as error:
                    if "Timeout" not in type(error).__name__:
                        raise
        elif self.front.kind == "classic":
            self.tab.evaluate("() => { Jupyter.notebook.execute_all_cells() }")
        return self

    def save(self):
        if self.front.kind == "lab":
            self.tab.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
        elif self.front.kind == "classic":
            self.tab.evaluate("() => Jupyter.notebook.save_notebook()")

    # --- widgets

    def widget(self, name):
        """The widget with the class `sd-<name>`."""
        return self.tab.locator(f".sd-{name}").first

    def click(self, name):
        self.widget(name).click()

    def fill(self, name, text):
        field = self.widget(name).locator("input, textarea").first
        field.fill(str(text))
        field.press("Enter")

    def choose(self, name, value):
        """An option of a selection, by its text or by its place (a number)."""
        self.widget(name).locator("select").first.select_option(**({"index": value} if isinstance(value, int) else {"label": value}))

    def press(self, name, place):
        """A button of a group, by its place."""
        self.widget(name).locator("button").nth(place).click()

    def text(self, name):
        return self.widget(name).inner_text()

    def wait(self, name, says, timeout=PATIENCE):
        """Wait until the HTML of a widget matches a regular expression."""
        self.tab.wait_for_function(
            "([name, says]) => { const found = document.querySelector('.sd-' + name); return found && new RegExp(says).test(found.innerHTML) }",
            arg=[name, says],
            timeout=timeout,
        )

    def state(self):
        """State of the training: idle, preparing, running, stopping, stopped, finished or failed."""
        return self.tab.locator(".sd-train-state [data-state]").first.get_attribute("data-state")

    def wait_state(self, *states, timeout=PATIENCE):
        self.wait("train-state", f'data-state="({"|".join(states)})"', timeout)
        return self.state()

    def screenshot(self, name, widget=None):
        """A picture for people to look at, below build/screenshots."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        path = SCREENSHOTS / f"{name}.png"
        if widget is None:
            self.tab.screenshot(path=path)
        else:
            self.widget(widget).screenshot(path=path)
        return path

    def close(self):
        """Close the tab, and hold that nothing went wrong in it and that it asked nobody but this machine."""
        self.context.close()
        assert not self.errors, self.errors
        foreign = [url for url in self.foreign if not (self.front.kind == "voila" and _is_icon_font(url))]
        assert not foreign, foreign


def _is_icon_font(url):
    """Voila's page asks for its icons elsewhere, and does without them."""
    return "fontawesome" in url or "font-awesome" in url


def _harmless(text, foreign):
    return text.startswith("Failed to load resource: net::ERR_NAME_NOT_RESOLVED") and all(map(_is_icon_font, foreign))
