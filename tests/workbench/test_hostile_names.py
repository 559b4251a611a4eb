"""A file, a folder and a class may be called anything: wherever HTML is shown, their names stay text."""

import json
import re
import warnings
from html.parser import HTMLParser

import ipywidgets as widgets
import pytest
from support.commands import ROOT
from support.tiny import SETTINGS, write_json

import sounddetect as sd
from sounddetect.evaluation.errors import error_cases
from sounddetect.workbench.listening import _SCRIPT

HOSTILE = "<img src=x onerror=alert(1)>"
CLASSES = ["<b>good</b>", "\"'><script>alert(2)</script>"]
FORBIDDEN = {"script", "iframe", "object", "embed", "link", "form", "base"}


class Tags(HTMLParser):
    """The tags that a browser would see."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.texts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self):
        return "".join(self.texts)


def check(text):
    """What a page holds, if no name has become markup."""
    parsed = Tags(text)
    for tag, attributes in parsed.tags:
        if tag == "iframe" and attributes.get("sandbox") == "allow-scripts":  # alone with itself
            page = attributes["srcdoc"]
            assert page.count("<script>") == page.count(_SCRIPT) == 1
            check(page.replace("<script>", "<p>").replace("</script>", "</p>"))
            continue
        assert tag not in FORBIDDEN, (tag, attributes)
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
        assert attributes.get("src", "data:").startswith("data:"), (tag, attributes)
    bold = [tag for tag, _ in parsed.tags if tag == "b"]
    assert len(bold) == len(re.findall(r"<b\b", text))
    return parsed


def test_the_check_sees_markup():
    framed = f'<iframe sandbox="allow-scripts" srcdoc="{HOSTILE}&lt;script&gt;{_SCRIPT.replace(chr(34), "&quot;")}&lt;/script&gt;"></iframe>'
    check(framed.replace(HOSTILE, ""))
    for hostile in (HOSTILE, CLASSES[1], "<p onclick='alert(3)'>", framed, framed.replace("&lt;/script", "alert(4)&lt;/script")):
        with pytest.raises(AssertionError):
            check(f"<p>{hostile}</p>")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Twelve files with hostile names, two of them with labels that are wrong."""
    folder = tmp_path_factory.mktemp("hostile") / HOSTILE
    for number in range(12):
        labels = CLASSES * 2
        path = write_json(folder / f"{number}{HOSTILE}.json", labels, seed=number)
        if number % 2:
            swapped = [CLASSES[1], *labels[1:]]
            text = path.read_text(encoding="utf-8").replace(json.dumps(labels), json.dumps(swapped))
            path.write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def judged(data):
    settings = SETTINGS | {"data.path": str(data), "data.cache_dir": str(data.parent / "cache"), "data.classes": CLASSES}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run = sd.train(sd.Config.load(None, settings), run=data.parent / f"run {HOSTILE}", progress=False)
        return run, sd.evaluate(run, part="all")


def test_report(judged):
    run, evaluation = judged
    assert len(evaluation.errors), "without errors there is no table of them"
    text = (run.path / "evaluation" / "report.html").read_text(encoding="utf-8")
    parsed = check(text)
    assert {tag for tag, _ in parsed.tags} & {"img", "audio"}, "an empty page would pass"
    for name in (HOSTILE, *CLASSES):
        assert name in parsed.text, "the name is to be seen as it is"


def test_errors(judged):
    _, evaluation = judged
    case = next(error_cases(evaluation.detector, evaluation.recordings, evaluation.predictions, limit=1))
    parsed = check(case._repr_html_())
    assert HOSTILE in parsed.text and case.label in parsed.text
    assert [tag for tag, _ in parsed.tags if tag == "img"] == ["img"]


def test_check_of_recordings(data):
    (data.parent / "more").mkdir(exist_ok=True)
    write_json(data.parent / "more" / f"{HOSTILE}.json", ["<b>odd</b>", CLASSES[0]])
    config = sd.Config.load(None, SETTINGS | {"data.classes": CLASSES, "data.cache_dir": str(data.parent / "cache")})
    report = sd.check_recordings([data, data.parent / "more"], config)
    assert report.findings
    parsed = check(report._repr_html_())
    assert HOSTILE in parsed.text and CLASSES[0] in parsed.text


def shown(widget):
    """HTML of a widget and of all that it holds."""
    if isinstance(widget, widgets.HTML):
        yield widget.value
    for child in getattr(widget, "children", ()):
        yield from shown(child)


def test_widgets(judged, data):
    """Every panel, after it has shown something."""
    run, _ = judged
    workbench = sd.Workbench(folder=data.parent, blocking=True)
    bench = workbench.bench
    bench.settings |= SETTINGS | {"data.classes": CLASSES}
    workbench.data.source.value = "browse"
    workbench.data.browser.go(data)
    workbench.data.load()
    assert bench.recordings is not None, workbench.data.message.value
    workbench.check.check()
    workbench.explore.explore()
    bench.set(run=run)
    workbench.results.wait()
    workbench.try_it.path.value = next(data.glob("*.json")).as_posix()
    workbench.try_it.score()
    workbench.home.report()
    workbench.home.fail(ValueError(HOSTILE))
    for panel in workbench.panels.values():
        panel._code_button.value = True
    parsed = [check(text) for text in shown(workbench.widget)]
    named = sum(HOSTILE in one.text for one in parsed)
    assert named >= 6, "file names are in messages, tables and code"
    assert any(CLASSES[0] in one.text for one in parsed)


def test_html_is_made_in_one_place():
    """Markup in a string that is not a template would be put together without escaping; `(?P<name>` is a regular expression."""
    tag = re.compile(r"""f(['"]|\"\"\")[^'"\n]*(?<!\?P)<(?!%)/?[a-z]+[ >/]""")
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()[:80]}"
        for path in sorted((ROOT / "sounddetect").rglob("*.py"))
        for line in path.read_text(encoding="utf-8").splitlines()
        if tag.search(line)
    ]
    assert not found
    for needle in ("b64encode", "import html\n", "html import escape", "to_html("):
        users = {
            path.relative_to(ROOT / "sounddetect").as_posix()
            for path in (ROOT / "sounddetect").rglob("*.py")
            if needle in path.read_text(encoding="utf-8")
        }
        assert users <= {"html.py", "tracking/clearml_server.py"}, needle
