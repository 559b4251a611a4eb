"""Bytes of the cache that are not those that were written: nothing is checked or trained on them."""

import json
import shutil
import warnings

import numpy as np
import pytest
from support.commands import in_process as command
from support.tiny import options, write_folder

import sounddetect as sd
from sounddetect.data.store import caching
from sounddetect.data.store import stores as stores_module


@pytest.fixture
def data(tmp_path):
    return write_folder(tmp_path / "data")


def load(data):
    recordings = sd.load_recordings(data, cache_dir=data.parent / "cache")
    return recordings, np.stack([recordings.read(i) for i in range(len(recordings))])


def stores(data):
    return sorted((data.parent / "cache" / "stores").iterdir())


def change(path, start, n_bytes, to=b"\0"):
    content = bytearray(path.read_bytes())
    content[start : start + n_bytes] = to * n_bytes
    path.write_bytes(content)


def test_zeroed_samples_are_read_again(data):
    _, wanted = load(data)
    for store in stores(data):
        change(store / "samples", 0, (store / "samples").stat().st_size)
    recordings, found = load(data)
    np.testing.assert_array_equal(found, wanted)
    assert not recordings.problems


@pytest.mark.parametrize("name", ["rows", "index"])
def test_damaged_rows_are_no_index_error(data, name):
    """Any byte of them: offsets beyond the end, labels that there are not, other rates."""
    _, wanted = load(data)
    (store,) = stores(data)
    whole = shutil.copytree(store, data.parent / "whole")
    size = (store / name).stat().st_size
    for place in np.random.default_rng(0).integers(0, size, 25):
        shutil.rmtree(store)
        shutil.copytree(whole, store)
        change(store / name, place, 1, b"\x7f")
        recordings, found = load(data)
        np.testing.assert_array_equal(found, wanted)
        assert set(recordings.table["sample_rate"]) == {8000} and recordings.labels[:2] == ["OK", "NG"]


@pytest.mark.parametrize("n_bytes", [4, 64, 4096])
@pytest.mark.parametrize("to", [b"\0", b"\x55"])
def test_a_small_hole_is_seen_before_anything_is_trained(data, n_bytes, to):
    """Anywhere, at any start: what is compared at opening is not a few places."""
    _, wanted = load(data)
    (store,) = stores(data)
    for place in np.random.default_rng(n_bytes).integers(0, (store / "samples").stat().st_size - n_bytes, 5):
        change(store / "samples", place, n_bytes, to)
        np.testing.assert_array_equal(load(data)[1], wanted)


def test_of_a_large_cache_another_part_each_time(data, monkeypatch):
    """Which sees a hole in the end."""
    monkeypatch.setattr(caching, "_COMPARED", 1)
    monkeypatch.setattr(stores_module, "_BLOCK", 4096)
    _, wanted = load(data)
    (store,) = stores(data)
    assert len(json.loads((store / "index").read_bytes().rpartition(b"\n")[0])["sums"]["words"]) > 10
    change(store / "samples", 9000, 40)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        tries = next(n for n in range(1, 1000) if [load(data), said][1])
    assert tries < 999 and "read again" in str(said[0].message)
    np.testing.assert_array_equal(load(data)[1], wanted)


def test_check_compares_everything(data):
    """Also two words that have changed places, which leave every sum as it was."""
    _, wanted = load(data)
    (store,) = stores(data)
    content = (store / "samples").read_bytes()
    content = content[:5000] + content[5008:5016] + content[5000:5008] + content[5016:]
    (store / "samples").write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(data)
    code, out, err = command("check", data, *options(data__cache_dir=str(data.parent / "cache")))
    assert code == 0 and "samples is damaged" in err and "read again" in err, (out, err)
    np.testing.assert_array_equal(load(data)[1], wanted)


def test_caches_of_older_versions_are_read_again(data):
    """They have no check sums."""
    _, wanted = load(data)
    (store,) = stores(data)
    index = store / "index"
    index.write_bytes(index.read_bytes().rpartition(b"\n")[0])
    np.testing.assert_array_equal(load(data)[1], wanted)
