"""What holds for any recordings, tried with many that nobody would think of."""

import json
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from sounddetect.data.collection.joining import concatenate
from sounddetect.data.collection.loading import load_recordings
from sounddetect.data.collection.recordings import COLUMNS, PLACE, Recordings, places_of
from sounddetect.data.collection.splitting import split_recordings
from sounddetect.data.inspection.checking import check_recordings
from sounddetect.data.readers.json_rows import _Walker, read_json_rows
from sounddetect.data.readers.rows import MAX_SAMPLE, About, Row
from sounddetect.data.store.stores import STORE_DTYPES, StoreWriter, find_stores


def tried(n):
    """The same `n` examples at each run; the disk may be slow."""
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    return settings(max_examples=n, derandomize=True, deadline=None, database=None, suppress_health_check=checks)


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch):
    """Writing is tested elsewhere; here it is done hundreds of times."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


# --- what is tried ---------------------------------------------------------------------------------------------------

TINY = float(np.finfo(np.float32).smallest_subnormal)
LARGEST = float(np.nextafter(np.float32(MAX_SAMPLE), np.float32(0)))
finite = st.floats(-LARGEST, LARGEST, width=32) | st.sampled_from([0.0, -0.0, TINY, -TINY, 1.0, -1.0, 2.0**-15])
rates = st.integers(1, 10_000_000) | st.sampled_from([8000, 44100, 192_000])
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
names = words.filter(lambda word: word.strip())


def waveforms(max_channels=1, elements=finite):
    """Float32 `(time, channel)`."""
    return array_shapes(min_dims=2, max_dims=2, max_side=40).flatmap(
        lambda shape: arrays(np.float32, (shape[0], 1 + shape[1] % max_channels), elements=elements)
    )


def recordings_of(folder, items, labels, groups, dtype="float32"):
    """A collection of `items`, pairs of samples and rate, without a way through any file format."""
    with StoreWriter(folder / "stores", dtype) as writer:
        writer.add("x", [Row(k, samples, rate) for k, (samples, rate) in enumerate(items)], About())
    store, found = find_stores(writer.folder)["x"]
    assert not found["problems"]
    table = pd.DataFrame(
        {
            "key": [f"x.json#{k}" for k in range(len(items))],
            "label": pd.Series(labels, dtype=object),
            "group": groups,
            "source": "x.json",
        }
    )
    table["content_hash"] = [f"{digest:016x}" for digest in store.rows["content_hash"].tolist()]
    table = table.assign(**{name: store.rows[name] for name in ("sample_rate", "n_channels", "n_samples")})
    return Recordings(table[[*COLUMNS]], [store], places_of(store.rows, 0))


def loaded(folder, path, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return load_recordings(path, cache_dir=Path(folder) / "cache", **options)


def same(a, b):
    """Bit for bit: minus zero is not zero."""
    assert a.shape == b.shape and a.dtype == b.dtype == np.float32
    np.testing.assert_array_equal(a.view(np.uint32), b.view(np.uint32))


@st.composite
def collections(draw, max_channels=1, one_rate=False):
    """Samples and rates, labels and groups."""
    n = draw(st.integers(1, 6))
    rate = draw(rates)
    items = [(draw(waveforms(max_channels)), rate if one_rate else draw(rates)) for _ in range(n)]
    labels = draw(st.lists(st.sampled_from(["OK", "NG", None]), min_size=n, max_size=n))
    groups = draw(st.lists(names, min_size=n, max_size=n))
    return items, labels, groups


# --- from arrays -----------------------------------------------------------------------------------------------------


@tried(60)
@given(collections(max_channels=3))
def test_arrays_are_kept_as_they_are(made):
    items, labels, groups = made
    kept = Recordings.from_arrays([samples.T for samples, _ in items], [rate for _, rate in items], labels, groups)
    assert kept.labels == labels and kept.table["sample_rate"].tolist() == [rate for _, rate in items]
    for i, (samples, _) in enumerate(items):
        same(kept.read(i), samples.T)
    with tempfile.TemporaryDirectory() as folder:
        written = recordings_of(Path(folder), items, labels, groups)
        assert kept.table["content_hash"].tolist() == written.table["content_hash"].tolist()


@tried(60)
@given(st.lists(collections(), min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_concatenated_recordings_are_those_of_the_parts(made, random):
    parts = [Recordings.from_arrays([samples.T for samples, _ in items], rates) for items, rates in (
        (items, [rate for _, rate in items]) for items, _, _ in made)]
    halves = [half for part in parts for half in (part[::2], part[1::2])]
    random.shuffle(halves)
    whole = concatenate(halves)
    assert whole.table["key"].is_unique and whole.table["group"].is_unique
    singles = [(half, i) for half in halves for i in range(len(half))]
    assert len(whole) == len(singles)
    for k, (half, i) in enumerate(singles):
        same(whole.read(k), half.read(i))
        assert whole.table["content_hash"][k] == half.table["content_hash"][i]


# --- out and in again ------------------------------------------------------------------------------------------------


@tried(60)
@given(collections(one_rate=True), st.sampled_from(["new", "legacy"]))
def test_json_reads_back_as_it_was_written(made, form):
    items, labels, groups = made
    with tempfile.TemporaryDirectory() as folder:
        written = recordings_of(Path(folder), items, labels, groups)
        written.to_json(Path(folder, "out.json"), form)
        back = loaded(folder, Path(folder, "out.json"), sample_rate=items[0][1])
        assert not back.problems and back.labels == labels
        assert back.table["key"].tolist() == [f"out.json#{k}" for k in range(len(items))]
        assert (back.table["sample_rate"] == items[0][1]).all()
        assert back.table["content_hash"].tolist() == written.table["content_hash"].tolist()
        assert form == "legacy" or back.table["group"].tolist() == groups
        for k, (samples, _) in enumerate(items):
            same(back.read(k), samples.T)


@tried(40)
@given(collections(max_channels=4))
@example(([(np.ones((2, 1), np.float32), 8000)], ["OK"], ['a\r,"\nb']))
def test_wav_reads_back_as_it_was_written(made):
    items, labels, groups = made
    with tempfile.TemporaryDirectory() as folder:
        written = recordings_of(Path(folder), items, labels, groups)
        written.to_wav(Path(folder, "out"))
        back = loaded(folder, Path(folder, "out"))
        assert not back.problems and back.table["key"].is_unique
        assert len(list(Path(folder, "out").rglob("*.wav"))) == len(items)
        order = [
            back.table["key"].tolist().index(f"{label or 'unlabelled'}/x_{k}.wav") for k, label in enumerate(labels)
        ]
        back = back[order]
        assert back.labels == labels and back.table["sample_rate"].tolist() == [rate for _, rate in items]
        assert back.table["group"].tolist() == [group.strip() for group in groups]
        for k, (samples, _) in enumerate(items):
            same(back.read(k), np.ascontiguousarray(samples.T))


@tried(60)
@given(waveforms(3), rates, st.sampled_from(STORE_DTYPES))
@example(np.full((5, 1), TINY, np.float32), 8000, "int16")
@example(np.full((5, 1), TINY, np.float32), 8000, "float16")
@example(np.array([[LARGEST], [1.0]], np.float32), 8000, "float16")
def test_smaller_stores_lose_no_more_than_they_say(samples, rate, dtype):
    with tempfile.TemporaryDirectory() as folder:
        recordings = recordings_of(Path(folder), [(samples, rate)], ["OK"], ["a"], dtype)
        error = np.abs(recordings.read(0).astype(np.float64) - samples.T)
        peak, size = float(np.abs(samples).max()), np.abs(samples.T).astype(np.float64)
        rounding = np.maximum(size * 2.0**-23, float(np.finfo(np.float32).tiny))  # of float32, in which all is read
        allowed = {"float32": 0 * size, "int16": peak / 65534, "float16": np.maximum(size / 2048, peak * 2.0**-24)}[
            dtype
        ]
        assert (error <= allowed + (dtype != "float32") * rounding).all(), (error.max(), peak)


@tried(20)
@given(collections(max_channels=2), st.randoms(use_true_random=False))
def test_keys_are_unique_and_stay(made, random):
    """Whatever else lies in the folder, and in whichever order files were written."""
    items, labels, groups = made
    with tempfile.TemporaryDirectory() as folder:
        recordings_of(Path(folder), items, labels, groups).to_wav(Path(folder, "out"))
        first = loaded(folder, Path(folder, "out"))
        assert first.table["key"].is_unique
        random.choice(list(Path(folder, "out").rglob("*.wav"))).rename(Path(folder, "out", "moved.wav"))
        second = loaded(folder, Path(folder, "out"))
        both = set(first.table["key"]) & set(second.table["key"])
        assert len(both) == len(items) - 1
        hashes = [
            table.set_index("key")["content_hash"][sorted(both)].tolist() for table in (first.table, second.table)
        ]
        assert hashes[0] == hashes[1]


# --- cutting ---------------------------------------------------------------------------------------------------------


@tried(80)
@given(
    waveforms(3), st.sampled_from([1, 10, 100, 8000]), st.integers(1, 50), st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9])
)
def test_clips_cover_the_recording_in_order(samples, rate, length, overlap):
    with tempfile.TemporaryDirectory() as folder:
        recordings = recordings_of(Path(folder), [(samples, rate)], ["OK"], ["a"])
        clips = recordings.cut(length / rate, overlap)
        assert clips.table["key"].is_unique and clips.table["content_hash"].is_unique
        assert set(clips.table["group"]) == {"a"} and set(clips.table["label"]) == {"OK"}
        assert (clips.n_samples == min(length, len(samples))).all()
        covered = np.zeros((samples.shape[1], 0), np.float32)
        for k, key in enumerate(clips.table["key"]):
            start, stop = map(int, key.rpartition("@")[2].split("-")) if "@" in key else (0, len(samples))
            assert start <= covered.shape[1] < stop
            clip = clips.read(k)
            same(clip[:, : covered.shape[1] - start], np.ascontiguousarray(covered[:, start:]))
            covered = np.concatenate([covered, clip[:, covered.shape[1] - start :]], 1)
        same(covered, np.ascontiguousarray(samples.T))


# --- splitting -------------------------------------------------------------------------------------------------------


@st.composite
def tables(draw):
    """Recordings of a few groups, some of them copies of each other under another name."""
    n_groups = draw(st.integers(3, 12))
    n = draw(st.integers(8, 30))
    label_of = draw(st.lists(st.sampled_from(["OK", "NG"]), min_size=n, max_size=n))
    content = draw(st.lists(st.integers(0, 200), min_size=n, max_size=n))
    of_content = dict(zip(content, label_of))
    groups = draw(st.lists(st.integers(0, n_groups - 1), min_size=n, max_size=n))
    columns = {
        "label": [of_content[c] for c in content],
        "group": [f"g{g}" for g in groups],
        "content_hash": [f"{c:016x}" for c in content],
    }
    if draw(st.integers(0, 4)) == 0:
        columns["fold"] = [1 + g % 4 for g in groups]
    return pd.DataFrame({"key": [f"{k}.wav" for k in range(n)], "source": [f"{k}.wav" for k in range(n)], **columns})


def parts_of(table, **how):
    """Keys of the parts, or the message by which the split was refused."""
    recordings = Recordings(table, [], np.zeros(len(table), PLACE))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            split = split_recordings(recordings, **how)
        except ValueError as error:
            return str(error)
    return {name: part.table["key"].tolist() for name, part in split._asdict().items()}


@tried(100)
@given(tables(), st.integers(0, 2**31), st.floats(0.1, 0.5), st.floats(0.1, 0.5))
def test_split_tears_nothing_apart(table, seed, test, validation):
    parts = parts_of(table, seed=seed, test=test, validation=validation)
    assume(isinstance(parts, dict))  # refused: too few groups
    keys = [key for part in parts.values() for key in part]
    assert sorted(keys) == sorted(table["key"])
    part_of = table["key"].map({key: name for name, part in parts.items() for key in part})
    for column in {"group", "content_hash", "fold"} & set(table):
        assert (part_of.groupby(table[column]).nunique() == 1).all(), column
    assert all(set(table["label"][part_of == name]) == {"OK", "NG"} for name in parts)


@tried(80)
@given(tables(), st.integers(0, 2**31), st.randoms(use_true_random=False))
def test_split_depends_on_the_table_and_the_seed_alone(table, seed, random):
    np.random.seed(random.randrange(2**32))
    parts = parts_of(table, seed=seed)
    np.random.seed(random.randrange(2**32))
    assert parts_of(table.copy(), seed=seed) == parts
    if isinstance(parts, dict):
        shuffled = table.sample(frac=1, random_state=random.randrange(2**32)).reset_index(drop=True)
        assert {name: sorted(keys) for name, keys in parts_of(shuffled, seed=seed).items()} == {
            name: sorted(keys) for name, keys in parts.items()
        }


# --- JSON ------------------------------------------------------------------------------------------------------------

numbers = st.integers(-(10**15), 10**15) | st.floats(-MAX_SAMPLE, MAX_SAMPLE)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4),
    max_leaves=12,
)
rows = st.lists(st.lists(numbers, min_size=1, max_size=8), max_size=6)
label_values = st.none() | st.sampled_from([0, 1, "OK", "NG", 'a "quote"', "[", "}", "\\", "音", ""])
layouts = st.sampled_from(
    [
        {},
        {"indent": 2},
        {"indent": "\t"},
        {"separators": (",", ":")},
        {"separators": (" ,\r\n", "\t: ")},
        {"ensure_ascii": False},
    ]
)


@st.composite
def new_form(draw):
    waveforms = draw(rows)
    extra = draw(
        st.dictionaries(
            words.filter(lambda name: name not in ("waveforms", "labels", "fs", "groups")), values, max_size=4
        )
    )
    members = {"waveforms": waveforms, "fs": draw(rates), **extra}
    if draw(st.booleans()):
        members["labels"] = draw(st.lists(label_values, min_size=len(waveforms), max_size=len(waveforms)))
    if draw(st.booleans()):
        members["groups"] = draw(st.lists(words, min_size=len(waveforms), max_size=len(waveforms)))
    return dict(draw(st.permutations(list(members.items()))))


@st.composite
def legacy_form(draw):
    content = []
    for row in draw(rows):
        extra = draw(st.dictionaries(words.filter(lambda name: name not in ("Waveform", "Labels")), values, max_size=2))
        members = {"Waveform": row, **extra, **({"Labels": draw(label_values)} if draw(st.booleans()) else {})}
        content.append(dict(draw(st.permutations(list(members.items())))))
    return content


def read(text, folder):
    path = Path(folder, "x.json")
    path.write_text(text, encoding="utf-8", newline="")
    about = About()
    return list(read_json_rows(path, about)), about


@tried(120)
@given(new_form(), layouts, st.booleans())
def test_new_form_is_read_as_json_reads_it(content, layout, mark):
    with tempfile.TemporaryDirectory() as folder:
        found, about = read("\ufeff" * mark + json.dumps(content, **layout), folder)
    assert [row.problem for row in found] == [None] * len(content["waveforms"])
    for row, wanted in zip(found, content["waveforms"], strict=True):
        same(row.samples, np.float32(wanted))
    assert (about.sample_rate, about.labels, about.groups) == (
        content["fs"],
        content.get("labels"),
        content.get("groups"),
    )
    assert about.meta == {
        name: value for name, value in content.items() if name not in ("waveforms", "labels", "fs", "groups")
    }


@tried(30)
@given(new_form())
@example(
    {
        "waveforms": [[1]],
        "labels": [0],
        "fs": 8000,
        "recordings": 1,
        "OK": 2,
        "seconds": [3],
        "findings": None,
        "split": "train",
        "fold": {},
    }
)
def test_any_member_beside_the_waveforms_can_be_loaded_checked_and_reported(content):
    n = len(content["waveforms"])
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder, "x.json")
        path.write_text(json.dumps(content), encoding="utf-8")
        recordings = loaded(folder, path, unknown_labels="ignore")
        report = check_recordings(path, cache_dir=Path(folder, "cache"))
    assert len(recordings) == n and len(recordings.problems) == (n == 0)
    for name in set(content) - {"waveforms", "fs", "labels", "groups", *COLUMNS} if n else ():
        said = recordings.table[name].iloc[-1]
        assert (
            content[name] is None
            or (json.loads(said) if isinstance(content[name], (list, dict)) else said) == content[name]
        )
    plain = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert plain["summary"]["recordings"] <= n and str(report)


@tried(100)
@given(legacy_form(), layouts)
def test_legacy_form_is_read_as_json_reads_it(content, layout):
    with tempfile.TemporaryDirectory() as folder:
        found, about = read(json.dumps(content, **layout), folder)
    assert [row.problem for row in found] == [None] * len(content)
    for row, wanted in zip(found, content, strict=True):
        same(row.samples, np.float32(wanted["Waveform"]))
    assert about.labels == [row.get("Labels") for row in content]


@tried(200)
@given(values, layouts)
def test_walker_steps_over_exactly_one_value(value, layout):
    text = json.dumps(value, **layout).encode()
    walker = _Walker(b" \n" + text + b" ,17")
    assert walker.skip() == (2, 2 + len(text))
    assert json.loads(walker.text[2 : walker.position]) == value
    walker = _Walker(b'{"before": ' + text + b', "behind": [' + text + b"]}")
    assert [walker.value() for _ in walker.members()] == [value, [value]]
