"""`sounddetect app`: who may see the page and talk to its kernel, and that nothing stays when it ends."""

import base64
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.parse

import psutil
import pytest
from support.commands import environment, program, run_in

pytest.importorskip("voila")


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def start_page(folder, *words):
    """The process, and its address with the token."""
    words = [*program(), "app", "--port", str(free_port()), "--no-browser", *words]
    process = subprocess.Popen(
        words, cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    line = process.stdout.readline()
    assert line, process.communicate()[1]
    return process, urllib.parse.urlsplit(line.split()[-1])


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A served page that was opened once: its address, the cookie of who has the token, and the id of its kernel."""
    process, address = start_page(tmp_path_factory.mktemp("page"))
    try:
        answer = ask(address, f"/?{address.query}")
        cookie = "; ".join(line.partition(";")[0] for line in answer.headers.get_all("Set-Cookie"))
        kernel = re.search(r'"kernelId": *"([\w-]{36})"', answer.text)
        assert answer.status == 200 and kernel, answer.text[:2000]
        yield address, cookie, kernel[1]
        end(process, signal.SIGINT)
    finally:
        process.kill()


def end(process, number):
    """End the command as Ctrl-C or the system does: no traceback, no kernel is left."""
    kernels = psutil.Process(process.pid).children(recursive=True)
    assert kernels
    process.send_signal(number)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0 and "KeyboardInterrupt" not in err
    assert not any(kernel.is_running() and kernel.status() != psutil.STATUS_ZOMBIE for kernel in kernels)


def ask(address, path, method="GET", **headers):
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=240)
    connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    answer.text = answer.read().decode("utf-8", "replace")
    connection.close()
    return answer


def websocket(address, kernel, **headers):
    """Status of the answer to the handshake that opens the kernel's line: 101 is open."""
    upgrade = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
    }
    return ask(address, f"/api/kernels/{kernel}/channels?session_id=x", **upgrade, **headers).status


def test_without_the_token_one_is_asked_for_it(page):
    address, cookie, kernel = page
    for path in ("/", "/?token=wrong", "/voila/render/SoundDetect.ipynb"):
        answer = ask(address, path)
        assert answer.status == 302 and answer.headers["Location"].startswith("/login"), path
    assert ask(address, f"/api/kernels/{kernel}").status == 403
    assert ask(address, f"/voila/api/shutdown/{kernel}", "POST").status == 403
    foreign = {"Cookie": cookie, "Origin": "http://evil.example"}
    assert ask(address, f"/voila/api/shutdown/{kernel}", "POST", **foreign).status in (403, 404)


def test_the_kernel_is_open_to_the_page_only(page):
    address, cookie, kernel = page
    own = f"http://127.0.0.1:{address.port}"
    assert websocket(address, kernel, Origin=own, Cookie=cookie) == 101
    assert websocket(address, kernel, Origin=own) == 403
    assert websocket(address, kernel, Origin="http://evil.example", Cookie=cookie) == 403
    assert websocket(address, kernel, Origin=f"http://127.0.0.1:{address.port + 1}", Cookie=cookie) == 403
    assert websocket(address, kernel, Origin="null", Cookie=cookie) == 403


def test_another_name_for_this_machine_is_refused(page):
    """A hostile site may let its name point to 127.0.0.1; the browser then takes the page for its own."""
    address, cookie, kernel = page
    host = f"rebound.example:{address.port}"
    assert ask(address, f"/?{address.query}", Host=host).status == 403
    assert websocket(address, kernel, Host=host, Origin=f"http://{host}", Cookie=cookie) == 403


def test_it_listens_on_this_machine_only(page):
    address, _, _ = page
    for name in {socket.gethostbyname(socket.gethostname()), "127.0.0.2"} - {"127.0.0.1"}:
        with pytest.raises(OSError), socket.create_connection((name, address.port), timeout=5):
            pass


def test_the_page_is_in_no_frame_of_another_site(page):
    address, _, _ = page
    assert "frame-ancestors 'self'" in ask(address, f"/?{address.query}").headers["Content-Security-Policy"]


def test_the_page_fetches_nothing_from_elsewhere(tmp_path):
    """Nor does a path that the server below does not serve well show the token in a log."""
    process, address = start_page(tmp_path)
    try:
        page = ask(address, f"/?{address.query}")
        assert page.status == 200 and "voila" in page.text
        assert not re.findall(r"<(?:link|script|img)[^>]*(?:href|src)=[\"']?(?:https?:)?//[^>]*>", page.text)
        assert ask(address, f"/logout?{address.query}").status < 500
        ask(address, f"/voila/static/%00?{address.query}")
    finally:
        process.send_signal(signal.SIGINT)
        log = process.communicate(timeout=240)[1]
    assert address.query.partition("=")[2] not in log, log


def test_it_ends_with_its_kernels_and_ran_no_settings_of_the_folder(tmp_path):
    (tmp_path / "voila.py").write_text("open('run', 'w')")
    process, address = start_page(tmp_path)
    assert ask(address, f"/?{address.query}").status == 200
    end(process, signal.SIGTERM)
    assert [path.name for path in tmp_path.iterdir()] == ["voila.py"]


def test_without_voila_it_names_what_to_install(tmp_path):
    code = "import sys; sys.modules['voila'] = None; from sounddetect.cli.cli import main; main(['app'])"
    done = run_in(tmp_path, sys.executable, "-c", code)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == 'error: the web page needs Voila, which is not installed: pip install "sounddetect[app]"\n'
    assert run_in(tmp_path, *program(), "app", "--lang", "fr").stderr.startswith("error: --lang needs one of en, ja")
