"""Samples promised against samples read: no form of sound file is taken for whole when a part of it is missing."""

import struct

import numpy as np
import pytest
import soundfile

from sounddetect.data.readers.audio_files import read_audio
from sounddetect.data.readers.rows import About

RATE = 16000
FORMS = {
    "wav": ("a.wav", dict(format="WAV", subtype="PCM_16")),
    "rifx": ("a.wav", dict(format="WAV", subtype="PCM_16", endian="BIG")),
    "wavex": ("a.wav", dict(format="WAVEX", subtype="PCM_24")),
    "rf64": ("a.wav", dict(format="RF64", subtype="PCM_16")),
    "w64": ("a.wav", dict(format="W64", subtype="PCM_16")),
    "aiff": ("a.wav", dict(format="AIFF", subtype="PCM_16")),
    "aifc": ("a.wav", dict(format="AIFF", subtype="FLOAT")),
    "au": ("a.wav", dict(format="AU", subtype="PCM_16")),
    "au little": ("a.wav", dict(format="AU", subtype="PCM_16", endian="LITTLE")),
    "flac": ("a.flac", dict(format="FLAC", subtype="PCM_16")),
    "ogg": ("a.ogg", dict(format="OGG", subtype="VORBIS")),
}


def sound(n_samples=RATE, n_channels=1, seed=0):
    return 0.2 * np.random.default_rng(seed).standard_normal((n_samples, n_channels))


def written(folder, form, **about):
    name, how = FORMS[form]
    soundfile.write(folder / name, sound(**about), RATE, **how)
    return folder / name


def read(path):
    """All samples of a file, `(time, channel)`."""
    (row,) = read_audio(path, About())
    blocks = row.samples() if callable(row.samples) else [row.samples]
    return np.concatenate(list(blocks))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("n_channels", [1, 3])
def test_whole_files_are_read_whole(tmp_path, form, n_channels):
    path = written(tmp_path, form, n_channels=n_channels, n_samples=RATE + 1)
    assert read(path).shape == (RATE + 1, n_channels)
    if form != "ogg":
        np.testing.assert_allclose(read(path), sound(RATE + 1, n_channels), atol=2e-4)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("part", [0.1, 0.35, 0.5, 0.9, 0.999])
def test_cut_off_files_are_refused(tmp_path, form, part):
    path = written(tmp_path, form)
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content)) - 1])
    with pytest.raises(ValueError, match="cut off|decoded"):
        read(path)


def test_rf64_that_promises_double(tmp_path):
    path = written(tmp_path, "rf64")
    content = bytearray(path.read_bytes())
    place = content.index(b"ds64")
    length = struct.unpack_from("<Q", content, place + 16)[0]
    assert length == 2 * RATE
    struct.pack_into("<Q", content, place + 16, 2 * length)
    path.write_bytes(content)
    with pytest.raises(ValueError, match="cut off: 32000 of 64000 bytes of samples"):
        read(path)


def pages(content):
    starts = [k for k in range(len(content)) if content.startswith(b"OggS", k)] + [len(content)]
    return [content[a:b] for a, b in zip(starts, starts[1:])]


@pytest.fixture
def ogg(tmp_path):
    path = written(tmp_path, "ogg", n_samples=5 * RATE)
    return path, pages(path.read_bytes())


def test_ogg_without_a_page(ogg):
    path, found = ogg
    assert len(found) > 5
    for number in range(2, len(found)):
        path.write_bytes(b"".join(found[:number] + found[number + 1 :]))
        with pytest.raises(ValueError, match="cut off|missing"):
            read(path)


def test_ogg_with_a_damaged_byte(ogg):
    path, found = ogg
    content = b"".join(found)
    for place in np.random.default_rng(0).integers(0, len(content), 60):
        damaged = bytearray(content)
        damaged[place] ^= 0x41
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="damaged|cut off|decoded|sound file"):
            read(path)


def test_chained_ogg(ogg):
    path, found = ogg
    path.write_bytes(b"".join(found) * 2)
    with pytest.raises(ValueError, match="several streams"):
        read(path)


@pytest.mark.parametrize("form", ["CAF", "VOC", "NIST", "PAF", "IRCAM", "AVR"])
def test_forms_of_unknown_length_are_refused(tmp_path, form):
    path = tmp_path / "a.wav"
    soundfile.write(path, sound(), RATE, format=form, subtype="PCM_16")
    with pytest.raises(ValueError, match="convert it to FLAC or WAV"):
        read(path)
