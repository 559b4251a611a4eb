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
import warnings
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.commands import ROOT, environment, program

BIN = Path(sys.executable).parent
COLAB = Path(os.environ.get("SOUNDDETECT_COLAB_VENV", ROOT / ".venv-colab"))
REQUIRED = os.environ.get("SOUNDDETECT_BROWSER") == "required"  # set by .ci/run: there a missing browser is a failure
SCREENSHOTS = ROOT / "build" / "screenshots"
TOKEN = "token-of-the-test"
PATIENCE = 240_000  # ms until a page that shows nothing new is taken for hanging, also on a machine with much else to do
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
        no_build = home / "config" / "labconfig"  # else the page asks whether to build it anew, over all else, where the answer says so
        no_build.mkdir(parents=True)
        (no_build / "page_config.json").write_text(json.dumps({"buildCheck": False, "buildAvailable": False}))
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
                    if found:  # the address is said before it answers
                        socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
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
            self.process.wait(PATIENCE / 1000)
        finally:
            self.process.kill()
            self.log.close()

    def api(self, path, method="GET"):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", method=method, headers={"Authorization": f"token {self.token}"})
        if method == "POST":
            request.data = b""
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read() or b"null")

    def said(self, n_lines=15):
        """The last lines of the server's log."""
        return "\n".join(Path(self.log.name).read_text(errors="replace").splitlines()[-n_lines:])


# --- pages -----------------------------------------------------------------------------------------------------------

DIALOG = ".jp-Dialog-content, .modal.in .modal-content"  # of JupyterLab, of the classic notebook
DISMISS = """selector => { const dialog = document.querySelector(selector), said = dialog?.innerText;
    dialog?.querySelector('.jp-mod-reject, .jp-mod-accept, [data-dismiss=modal]')?.click(); return said }"""
OPEN = []  # pages that were not closed: what they show is part of the message of a test that fails
NOTEBOOK = "const panel = window.jupyterapp?.shell.currentWidget, session = panel?.sessionContext, kernel = session?.session?.kernel;"
READY = {  # that a notebook can be run
    "lab": f"""() => {{ {NOTEBOOK} return panel?.context?.isReady && session.isReady && kernel?.connectionStatus === 'connected' && kernel.status === 'idle'
        && document.querySelector('.jp-Notebook .jp-Cell') && jupyterapp.commands.isEnabled('notebook:run-all-cells') }}""",
    "classic": """() => { const notebook = window.Jupyter?.notebook, kernel = notebook?.kernel;
        return notebook?._fully_loaded && kernel?.is_connected() && kernel.info_reply?.status === 'ok' && kernel.widget_manager }""",
}
# The classic notebook asks a new kernel for widgets that are there already. A cell that makes some before the answer has come makes them twice: a view
# may then belong to the one that is told nothing more. Questions are answered in turn, so the notebook's have been when the same ones are asked here.
HAS_ASKED = """async () => { const manager = Jupyter.notebook.kernel.widget_manager;
    const control = await manager._create_comm('jupyter.widget.control', 'test-has-asked', {}, {});
    await new Promise(closed => { control.on_close(closed); setTimeout(closed, 10000) });
    await manager._get_comm_info() }"""
RUN_ALL = {  # the promise of the first ends with the last cell, so nobody waits for it
    "lab": "() => { jupyterapp.commands.execute('notebook:run-all-cells') }",
    "classic": "() => { Jupyter.notebook.execute_all_cells() }",
}
RESTART = {
    "lab": f"async () => {{ {NOTEBOOK} await session.restartKernel() }}",
    "classic": """() => new Promise(ready => { Jupyter.notebook.kernel.events.one('kernel_ready.Kernel', () => ready()); Jupyter.notebook.kernel.restart() })""",
}


class Page:
    """A tab: opens and runs a notebook of a front, and acts on widgets by their class."""

    def __init__(self, browser, front, width=1280, height=900):
        self.front = front
        self.context = browser.new_context(viewport={"width": width, "height": height}, accept_downloads=True)
        self.tab = self.context.new_page()
        self.tab.set_default_timeout(PATIENCE)
        self.errors, self.foreign, self.dialogs = [], [], []
        self.tab.add_locator_handler(self.tab.locator(DIALOG), self._dismiss)
        self.tab.on("pageerror", lambda error: self.errors.append(str(error)[:300]))
        self.tab.on("console", self._hear)
        self.tab.on("request", self._see)
        OPEN.append(self)

    def _hear(self, message):
        if message.type == "error" and not _harmless(message.text, self.foreign):
            self.errors.append(message.text[:300])

    def _see(self, request):
        local = f"http://127.0.0.1:{self.front.port}/"
        if not request.url.startswith((local, "data:", "blob:", "about:")):
            self.foreign.append(request.url)

    def _dismiss(self, dialog=None):
        """Close what lies over the page without agreeing to anything, and keep what it said."""
        if said := self.tab.evaluate(DISMISS, DIALOG):
            self.dialogs.append(" ".join(said.split()))

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
        if kind == "classic":
            self.tab.evaluate(HAS_ASKED)
        return self

    def wait_for_kernel(self):
        """Wait until a notebook that is open can be run: loaded, its kernel connected, and nothing to do."""
        if self.front.kind not in READY:
            return
        while True:  # a dialog takes the focus, and a notebook without it takes no command
            self.tab.wait_for_function(f"dialog => document.querySelector(dialog) || ({READY[self.front.kind]})()", arg=DIALOG)
            if not self.tab.evaluate("dialog => Boolean(document.querySelector(dialog))", DIALOG):
                return
            self._dismiss()

    def restart_kernel(self):
        """What the menu's entry does once it is confirmed; then wait until the new kernel can work."""
        self.tab.evaluate(RESTART[self.front.kind])
        self.wait_for_kernel()

    def run_all(self):
        """What the menu's entry does, and wait until the kernel has taken the first cell."""
        if self.front.kind in RUN_ALL:
            self.tab.evaluate(RUN_ALL[self.front.kind])
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

    def situation(self):
        """What the page shows, for the message of a test that failed: dialogs first, since they lie over all else."""
        dialogs = self.dialogs + self.tab.locator(DIALOG).all_inner_texts()
        said = self.tab.locator(".sd-message, .sd-train-state").all_inner_texts()
        try:
            kernels = [f"{kernel['name']} {kernel['execution_state']}" for kernel in self.front.api("/api/kernels")]
        except (OSError, ValueError) as error:
            kernels = [str(error)]
        seen = {"dialog": dialogs, "panel": filter(str.strip, said), "console": self.errors, "kernel": kernels}
        lines = [f"{kind}: {' '.join(text.split())}" for kind, texts in seen.items() for text in texts]
        return "\n".join([f"{self.front.kind} showed (picture: {self.screenshot('failed_' + self.front.kind)}):", *lines, self.front.said()])

    def close(self):
        """Close the tab, and hold that nothing went wrong in it and that it asked nobody but this machine."""
        OPEN.remove(self)
        self.context.close()
        if self.dialogs:
            warnings.warn(f"{self.front.kind} asked: {self.dialogs}", stacklevel=2)
        assert not self.errors, self.errors + self.dialogs
        foreign = [url for url in self.foreign if not (self.front.kind == "voila" and _is_icon_font(url))]
        assert not foreign, foreign


def _is_icon_font(url):
    """Voila's page asks for its icons elsewhere, and does without them."""
    return "fontawesome" in url or "font-awesome" in url


def _harmless(text, foreign):
    if text.startswith("Comm promise not found for comm id"):  # the classic notebook, of widgets from before a restart
        return True
    return text.startswith("Failed to load resource: net::ERR_NAME_NOT_RESOLVED") and all(map(_is_icon_font, foreign))
