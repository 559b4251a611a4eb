"""The report is one page that fetches nothing, runs nothing, believes no file name, and says what metrics.json says."""

import base64
import html
import io
import json
import re
import shutil
import warnings
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import soundfile
from PIL import Image
from support.tiny import N_SAMPLES, RATE, SETTINGS, write_folder, write_json

import sounddetect as sd
from sounddetect.evaluation.evaluation import report_in
from sounddetect.evaluation.page import WAYS_TO_SAY

HOSTILE = "<script>alert('x')<img src=x onerror=alert(1)> & \"quoted\" 異常.json"
VOID = {"meta", "img", "wbr", "path", "circle", "br"}


class Page(HTMLParser):
    """What stands in a page: tags with attributes, figures, texts, and whether all that was opened is closed."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.figures, self.open, self.texts, self.rows = [], [], [], [], []
        self.feed(text)
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "data":
            self.figures.append([dict(attributes), ""])
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        if "style" not in self.open:
            self.texts.append(data)
        if "data" in self.open:
            self.figures[-1][1] += data
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data

    @property
    def text(self):
        return " ".join("".join(self.texts).split())


def read(folder):
    text = (folder / "report.html").read_text(encoding="utf-8")
    return text, Page(text), json.loads((folder / "metrics.json").read_text(encoding="utf-8"))


def train(folder, **changes):
    settings = SETTINGS | {"data.path": str(folder), "data.cache_dir": f"{folder}/../cache"} | changes
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run = sd.train(sd.Config.load(None, settings), run=folder.parent / "run", progress=False)
        return run, sd.evaluate(run) if run.data["split"]["test"] else None


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """A run on files with hostile names and a wrong label in each, so that there are errors, evaluated on its test part."""
    folder = tmp_path_factory.mktemp("report") / "data"
    write_folder(folder, 12)
    for number in range(12):
        path = write_json(folder / f"{number}{HOSTILE}", ["OK", "NG", "OK", "NG"], seed=50 + number)
        path.write_text(path.read_text(encoding="utf-8").replace('["OK", "NG", "OK", "NG"]', '["NG", "NG", "OK", "NG"]'), encoding="utf-8")
    return train(folder)


@pytest.fixture(scope="module")
def page(judged):
    return read(judged[0].path / "evaluation")


def test_every_figure_is_that_of_metrics_json(page):
    _, parsed, metrics = page
    assert len({attributes["data-metric"] for attributes, _ in parsed.figures}) >= 10
    for attributes, said in parsed.figures:
        name, end = attributes["data-metric"], attributes.get("data-end")
        value = metrics[name] if end is None else metrics[f"{name}_ci"][int(end)]
        assert float(attributes["value"]) == value, name
        assert said == WAYS_TO_SAY[attributes["data-spelling"]](value), name


def test_every_metric_with_an_interval_is_told(page):
    _, parsed, metrics = page
    told = {(attributes["data-metric"], attributes.get("data-end")) for attributes, _ in parsed.figures}
    for name in (name for name in metrics if f"{name}_ci" in metrics and metrics[name] is not None):
        assert {(name, None), (name, "0"), (name, "1")} <= told, name


def test_the_verdict_counts_what_the_predictions_say(judged, page):
    run, evaluation = judged
    table = pd.read_csv(run.path / "evaluation" / "predictions.csv")
    right = (table["label"] == table["decision"]).sum()
    assert f"Of {len(table)} recordings from {evaluation.predictions.group.nunique()} sources it judged {right} right." in page[1].text
    assert len(evaluation.errors) > 0, "an evaluation without errors shows no table of them"
    rows = {row[0]: row[1:] for row in page[1].rows if len(row) == 5}
    assert {key: rows[key][:2] for key in evaluation.errors.key[:30]} == {
        row.key: [row.label, row.decision] for row in evaluation.errors[:30].itertuples()
    }


def test_a_report_in_japanese_is_whole_and_stays_japanese(judged, page, tmp_path):
    """Every figure of the English page, sections under the same anchors, no sentence left in English."""
    run, evaluation = judged
    folder = evaluation.save(tmp_path / "evaluation", lang="ja")
    text, parsed, metrics = read(folder)
    assert '<html lang="ja">' in text and '<html lang="en">' in page[0]
    assert [attributes for attributes, _ in parsed.figures] == [attributes for attributes, _ in page[1].figures]
    assert [attributes["id"] for tag, attributes in parsed.tags if tag == "section"] == [
        attributes["id"] for tag, attributes in page[1].tags if tag == "section"]
    assert "件の録音のうち" in parsed.text and "しきい値" in parsed.text and "誤判定" in parsed.text
    said = html.unescape(re.sub(r"<(style|pre|code)>.*?</\1>|<[^>]+>", " ", text, flags=re.S))
    assert not re.findall(r"[A-Za-z]+ [a-z]+ [a-z]+ [a-z]+", said.replace(HOSTILE, ""))
    evaluation.save(folder, errors=0)                                          # a new threshold, say
    assert '<html lang="ja">' in read(folder)[0]
    evaluation.save(folder, errors=0, lang="en")
    assert '<html lang="en">' in read(folder)[0]
    with pytest.raises(ValueError, match="one of en, ja"):
        sd.evaluate(run, lang="de")


def test_why_a_recording_was_left_out_is_said_in_japanese(judged, tmp_path):
    run = sd.Run(shutil.copytree(judged[0].path, tmp_path / "run"))
    data = json.loads((run.path / "data.json").read_text(encoding="utf-8"))
    data["skipped"] = [{"key": "a.wav", "problem": "the file is empty"}, {"key": "b.csv", "problem": "line 3: the path is empty"}]
    (run.path / "data.json").write_text(json.dumps(data), encoding="utf-8")
    text = report_in(run, "ja").read_text(encoding="utf-8")
    assert "ファイルが空です" in text and "3 行目：path が空です" in text and "the file is empty" not in text


def test_nothing_is_fetched_and_nothing_runs(page):
    text, parsed, _ = page
    assert not re.search(r"https?:", text)
    assert {tag for tag, _ in parsed.tags} & {"script", "link", "iframe", "object", "embed", "base", "form"} == set()
    for tag, attributes in parsed.tags:
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
        for name in ("src", "href", "xlink:href", "srcset", "action", "data"):
            assert attributes.get(name, "#").startswith(("#", "data:image/png;base64,", "data:audio/wav;base64,")), (tag, attributes)
    assert "url(" not in text and "@import" not in text
    policy = [attributes["content"] for tag, attributes in parsed.tags if "http-equiv" in attributes]
    assert policy and policy[0].startswith("default-src 'none'")


def test_hostile_names_stay_text(page):
    text, parsed, _ = page
    assert HOSTILE in parsed.text, "the name is to be seen as it is"
    assert "<script>" not in text.lower() and "<img src=x" not in text.replace("<wbr>", "")


def test_anchors_lead_somewhere_and_are_unique(page):
    _, parsed, _ = page
    ids = [attributes["id"] for _, attributes in parsed.tags if "id" in attributes]
    links = [attributes["href"][1:] for tag, attributes in parsed.tags if tag == "a"]
    assert len(links) >= 10 and set(links) <= set(ids) and len(ids) == len(set(ids))


def test_pictures_can_be_seen_and_are_described(judged, page):
    _, parsed, _ = page
    pictures = [attributes for tag, attributes in parsed.tags if tag == "img"]
    assert len(pictures) >= 7
    for attributes in pictures:
        image = Image.open(io.BytesIO(base64.b64decode(attributes["src"].partition(",")[2])))
        image.load()
        assert image.format == "PNG" and min(image.size) > 100
        assert len(set(np.asarray(image.convert("L")).flat)) > 5, "an empty picture"
        assert attributes["alt"] and int(attributes["width"]) / int(attributes["height"]) == pytest.approx(image.width / image.height, rel=0.02)
    files = {path.read_bytes() for path in (judged[0].path / "evaluation").glob("*.png")}
    curves = [attributes for attributes in pictures if attributes["alt"].endswith(("curve", "matrix", "histogram", "reliability"))]
    assert len(curves) >= 6
    assert all(base64.b64decode(attributes["src"].partition(",")[2]) in files for attributes in curves)


def test_errors_are_shown_and_can_be_heard(judged, page):
    run, evaluation = judged
    shown = [attributes for tag, attributes in page[1].tags if tag == "audio"]
    drawn = sorted((run.path / "evaluation" / "errors").glob("[0-9]*.png"))
    assert len(shown) == len(drawn) == min(len(evaluation.errors), 6) > 0
    for attributes, key, picture in zip(shown, evaluation.errors.key, drawn):
        samples, rate = soundfile.read(io.BytesIO(base64.b64decode(attributes["src"].partition(",")[2])))
        assert (len(samples), rate) == (N_SAMPLES, RATE)
        assert base64.b64encode(picture.read_bytes()).decode() in page[0] and f"{key}: really" in page[1].text


def test_it_says_where_it_comes_from(judged, page):
    run, _ = judged
    for known in (*(source["hash"] for source in run.data["sources"]), "model.size", "training.epochs", str(SETTINGS["audio.sample_rate"]),
                  "sd.Detector.load(", "sounddetect predict", sd.__version__):
        assert str(known) in page[1].text, known
    rows = {row[0]: row for row in page[1].rows if row}
    assert rows["test"][1] == str(sum(run.data["counts"]["test"].values()))
    assert rows["train"][4] == str(run.data["recorded"]["train"]["groups"])


# --- the odd ones --------------------------------------------------------------------------------------------------


@pytest.fixture
def on(judged):
    """The run judged on some of its own recordings."""

    def judge(keep):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            recordings = judged[1].recordings
            sd.evaluate(judged[0], recordings[np.flatnonzero(keep(recordings.table))])
        return read(judged[0].path / "evaluation")

    return judge


def test_one_class_only(on):
    _, parsed, metrics = on(lambda table: table.label == "OK")
    assert "How many NG it would find is not known" in parsed.text and "There was no NG among the judged recordings" in parsed.text
    assert metrics["auc"] is None and "auc" not in {attributes["data-metric"] for attributes, _ in parsed.figures}
    assert [attributes["alt"] for tag, attributes in parsed.tags if tag == "img"][0] == "confusion matrix"


def test_three_recordings(on):
    _, parsed, metrics = on(lambda table: np.arange(len(table)) < 3)
    assert "Of 3 recordings" in parsed.text and "There are no intervals" in parsed.text
    assert not [attributes for attributes, _ in parsed.figures if "data-end" in attributes]
    assert metrics["accuracy_ci"] == [None, None]


def test_three_classes_with_markup_and_no_test_part(tmp_path):
    classes = ["正常", "<b>dry</b>", "worn & torn"]
    for number in range(9):
        write_json(tmp_path / "data" / f"{number}.json", classes * 3, seed=number)
    run, none = train(tmp_path / "data", **{"data.classes": classes, "data.test_split": 0})
    assert none is None
    with pytest.raises(ValueError, match="has no test part"):
        sd.evaluate(run)
    for number in range(6):
        write_json(tmp_path / "later" / f"{number}.json", classes * 3, seed=100 + number)
    evaluation = sd.evaluate(run, sd.load_recordings(tmp_path / "later", labels={}, cache_dir=tmp_path / "cache", classes=classes))
    text, parsed, metrics = read(run.path / "evaluation")
    assert "Of 54 recordings from 6 sources" in parsed.text and "<b>dry</b>" not in text.replace("<wbr>", "")
    assert {row[0] for row in parsed.rows} >= set(classes)
    assert metrics["auc"] == evaluation.metrics["auc"] and "Threshold" not in [row[0] for row in parsed.rows]
