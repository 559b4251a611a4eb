"""Damaged inputs of every form, made by code when they are needed.

`CASES` is a list of `Case`. Each writes its files into a folder; beside it `write_good` puts three recordings that have to
survive whatever lies next to them.
"""

import gzip
import io
import json
import os
import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import h5py
import numpy as np
import soundfile
from scipy.io import savemat

RATE = 8000
LONG_JUNK = np.random.default_rng(1).bytes(5000)


@dataclass(frozen=True)
class Case:
    """Something that users bring."""

    name: str
    file: str  # key of what is damaged: the message names it
    write: Callable[[Path], None]  # into a folder
    says: str | None  # pattern that the message holds; None: it is no damage, nothing is said
    remains: int = 0  # recordings that can be used all the same
    options: dict = field(default_factory=dict)  # of `load_recordings`


CASES: list[Case] = []


def write(folder, file, content):
    path = folder / file
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content() if callable(content) else content)


def add(name, file, content, says, remains=0, **options):
    """A case of one file of these bytes (or text)."""
    content = content.encode() if isinstance(content, str) else content
    CASES.append(Case(name, file, lambda folder: write(folder, file, content), says, remains, options))


def good_samples():
    """What `write_good` writes: two rows, and 300 moments of two channels. Float32."""
    rng = np.random.default_rng(0)
    return rng.normal(0, 0.1, (2, 200)).astype(np.float32), rng.normal(0, 0.1, (300, 2)).astype(np.float32)


def write_good(folder):
    """One good file of each of two forms: keys `good.json#0`, `good.json#1` and `OK/good.wav`."""
    rows, sound = good_samples()
    content = {"waveforms": rows.astype(float).tolist(), "labels": ["OK", "NG"], "fs": RATE}
    (folder / "OK").mkdir(parents=True)
    (folder / "good.json").write_text(json.dumps(content), encoding="utf-8")
    soundfile.write(folder / "OK/good.wav", sound, RATE, "FLOAT")


# --- JSON: cut off behind every token --------------------------------------------------------------------------------

NEW = '{"labels": ["OK", "NG"], "fs": 8000, "waveforms": [[0.5, 1, -2e-1], [0.25, 0.75]]}'
NEW_REVERSED = '{"waveforms": [[0.5, 1], [0.25, 0.75]], "fs": 8000, "metric": "RMS", "labels": ["OK", "NG"]}'
LEGACY = '[{"Waveform": [0.5, 1], "Labels": 0}, {"Labels": null, "Waveform": [0.25]}]'
ENDS = "the file ends|needs a name in quotes|needs to be of the form|unexpected end of data"


def cuts(text):
    """Places behind each token but the last; in one of the forms, inside of them too."""
    tokens = list(re.finditer(r'"\w+"|[\d.e-]+|\S', text))[:-1]
    return sorted({token.end() for token in tokens} | {token.start() + 1 for token in tokens if text is NEW})


def rows_before(text, cut):
    """Rows that are whole before a cut, and whose labels and rate stand in front."""
    if text is NEW_REVERSED:
        return 0
    row = r"\[[-\d., e]+\]" if text is NEW else r"\{[^}]*\}"
    return sum(found.end() <= cut for found in re.finditer(row, text))


for form, text in (("new", NEW), ("new, labels behind", NEW_REVERSED), ("legacy", LEGACY)):
    for cut in cuts(text):
        add(f"{form} cut at {cut}, behind {text[:cut][-6:]!r}", "cut.json", text[:cut], ENDS, rows_before(text, cut))
packed = gzip.compress(NEW.encode(), mtime=0)
for cut in (1, 5, 11, len(packed) // 2, len(packed) - 9, len(packed) - 1):
    add(f"gz cut at {cut}", "cut.json.gz", packed[:cut], "compressed file is damaged or cut off")

# --- JSON: values ----------------------------------------------------------------------------------------------------


def row_of(number):
    return f'{{"waveforms": [[1, 2], [0.5, {number}], [3]], "labels": [0, 1, 1], "fs": 8000}}'


for number in (
    *("NaN", "nan", "Infinity", "-Infinity", "inf", "1e400", "-1e400", "1e39", "1e16", "9" * 400, "1" + "0" * 5000),
    *("01", "-01", "+1", ".5", "1.", "0x10", "1_000", "--1", "1e", "1e+", "0b1", "1,,2", "1 2", "1;2", "１"),
    *(
        "null",
        "true",
        "false",
        '"1"',
        '"[1]"',
        "'1'",
        "{}",
        '{"x": 1}',
        "[]",
        "[1]",
        "[[1]]",
        "abc",
        "\\u0031",
        "1 /* one */",
    ),
):
    says = (
        "list inside the list"
        if number[0] in "[{" or number == '"[1]"'
        else "JSON knows no comments"
        if "/*" in number
        else "sample 1 is|sample 2 is|the numbers cannot be read"
    )
    add(f"sample {number[:12]}", "row.json", row_of(number), says, 2)
add("sample of control characters", "row.json", row_of("\x00\x01"), "sample 1 is", 2)
add("trailing comma in a row", "row.json", row_of("1,"), "sample 2 is nothing", 2)
add(
    "legacy sample NaN",
    "row.json",
    '[{"Waveform": [NaN], "Labels": 0}, {"Waveform": [1], "Labels": 1}]',
    "sample 0 is NaN",
    1,
)
for row in ("[]", "{}", "null", "1", '"x"', "true", '{"x": [1]}', "[[1, 2]]"):
    says = "no samples|no list of samples|list inside the list"
    add(f"row {row}", "row.json", f'{{"waveforms": [[1], {row}], "labels": [0, 1], "fs": 8000}}', says, 1)
    add(
        f"legacy row {row}",
        "row.json",
        f'[{{"Waveform": [1], "Labels": 0}}, {{"Waveform": {row}, "Labels": 1}}]',
        says,
        1,
    )

# --- JSON: members ---------------------------------------------------------------------------------------------------

for rate in (
    "0",
    "-1",
    "-0.0",
    "0.5",
    "44100.5",
    "1e300",
    "1e400",
    "99999999",
    "9" * 30,
    '"fast"',
    '"8000"',
    "true",
    "[8000]",
    "{}",
):
    says = "fs needs to be a whole number|unexpected|number|range"
    add(f"fs {rate[:10]}", "rate.json", f'{{"waveforms": [[1, 2]], "labels": ["OK"], "fs": {rate}}}', says)
    add(f"fs {rate[:10]} in front", "rate.json", f'{{"fs": {rate}, "labels": ["OK"], "waveforms": [[1, 2]]}}', says)
add(
    "a rate that shares no factor",
    "rate.json",
    f'{{"waveforms": [{list(range(300))}], "labels": ["OK"], "fs": 9999991}}',
    None,
    1,
)
for labels in (
    '"OK"',
    "0",
    "true",
    "{}",
    '{"0": "OK"}',
    '["OK"]',
    '["OK", "NG", "OK"]',
    "[]",
    '[["OK"], ["NG"]]',
    '[{"x": 1}, 0]',
):
    says = "labels needs|entry 0 of labels"
    add(f"labels {labels}", "labels.json", f'{{"waveforms": [[1, 2], [3]], "fs": 8000, "labels": {labels}}}', says)
    add(
        f"labels {labels} in front",
        "labels.json",
        f'{{"labels": {labels}, "fs": 8000, "waveforms": [[1, 2], [3]]}}',
        says,
    )
    add(
        f"groups {labels}",
        "labels.json",
        f'{{"waveforms": [[1, 2], [3]], "labels": [0, 1], "fs": 8000, "groups": {labels}}}',
        says.replace("labels", "groups"),
    )
for label in (
    "true",
    "false",
    '"O K"',
    '""',
    '" "',
    "2",
    "-1",
    "0.5",
    "1e400",
    "9" * 30,
    '"\\u0000"',
    '"OK\\n"x'[:-1],
    '"' + "x" * 5000 + '"',
):
    says = None if "\\n" in label else "label .* is not one of|range|number"
    add(
        f"label {label[:12]}",
        "label.json",
        f'{{"waveforms": [[1, 2], [3]], "labels": ["OK", {label}], "fs": 8000}}',
        says,
        2 if says is None else 0 if "400" in label else 1,
    )
    add(
        f"legacy label {label[:12]}", "label.json", f'[{{"Waveform": [1], "Labels": {label}}}]', says, int(says is None)
    )
for label in ("[0]", "{}", '[["OK"]]'):
    add(
        f"legacy label {label}",
        "label.json",
        f'[{{"Waveform": [1], "Labels": 0}}, {{"Waveform": [1], "Labels": {label}}}]',
        "Labels is .*not a name",
        1,
    )
for name, text, says in (
    ("nothing but blanks", " \n\t ", "no recordings|ends"),
    ("no bytes", "", "the file is empty"),
    ("empty object", "{}", "waveforms is missing; found nothing"),
    ("empty list", "[]", "holds no recordings"),
    ("no rows", '{"waveforms": [], "labels": [], "fs": 8000}', "holds no recordings"),
    ("waveforms null", '{"waveforms": null}', "'n' stands where '\\[' should be"),
    ("waveforms an object", '{"waveforms": {"0": [1]}}', "stands where '\\[' should be"),
    ("waveforms flat", '{"waveforms": [1, 2, 3], "labels": [0, 0, 0], "fs": 8000}', "1 is no list of samples"),
    ("waveform, singular", '{"waveform": [[1]], "labels": [0]}', "waveforms is missing; found waveform, labels"),
    ("Waveforms, capital", '{"Waveforms": [[1]], "labels": [0]}', "waveforms is missing; found Waveforms"),
    ("no waveforms", '{"labels": ["OK"], "fs": 8000}', "waveforms is missing; found labels, fs"),
    ("labels twice", '{"labels": [0], "labels": [1], "waveforms": [[1]]}', "the member labels stands twice"),
    ("waveforms twice", '{"waveforms": [[1]], "waveforms": [[2]]}', "the member waveforms stands twice"),
    ("legacy member twice", '[{"Waveform": [1], "Waveform": [2], "Labels": 0}]', "the member Waveform stands twice"),
    ("legacy without Waveform", '[{"Labels": 0}]', "the member Waveform is missing; found Labels"),
    ("legacy empty row", "[{}]", "the member Waveform is missing; found nothing"),
    ("list of lists", "[[1, 2], [3]]", "row 0 needs to be of the form"),
    ("list of numbers", "[1, 2]", "row 0 needs to be of the form"),
    ("a number", "17", "no recordings inside"),
    ("a text", '"waveforms"', "no recordings inside"),
    ("null", "null", "no recordings inside"),
    ("single quotes", "{'waveforms': [[1]], 'labels': ['OK']}", "needs a name in quotes"),
    ("names without quotes", "{waveforms: [[1]]}", "needs a name in quotes"),
    ("line comment", '{"waveforms": [[1]], // first\n "labels": [0]}', "JSON knows no comments"),
    ("comment in front", "/* by logger */" + NEW, "JSON knows no comments"),
    (
        "trailing comma behind the last row",
        '{"waveforms": [[1],], "labels": [0], "fs": 8000}',
        "no list of samples|value is missing",
    ),
    (
        "trailing comma behind the last member",
        '{"waveforms": [[1]], "labels": [0], "fs": 8000,}',
        "needs a name in quotes",
    ),
    ("missing comma", '{"waveforms": [[1] [2]], "labels": [0, 0]}', "stands where '\\]' should be"),
    ("missing colon", '{"waveforms" [[1]]}', "stands where ':' should be"),
    ("wrong bracket", '{"waveforms": [[1}], "labels": [0]}', "."),
    ("HTML", "<!DOCTYPE html><html><body>404</body></html>", "no recordings inside"),
    ("a name that is no text", '{"\ud83d": 1}'.encode("utf-8", "surrogatepass"), "."),
    ("a lone surrogate in a name", '{"\\ud83d": 1, "waveforms": [[1]]}', "."),
    ("a lone surrogate in a label", '{"waveforms": [[1]], "labels": ["\\ud800"], "fs": 8000}', "."),
    ("a lone surrogate in a remark", '{"waveforms": [[1]], "labels": [0], "fs": 8000, "metric": "\\udfff"}', "."),
    ("a raw tab in a label", '{"waveforms": [[1]], "labels": ["O\tK"], "fs": 8000}', "."),
    ("latin-1", '{"waveforms": [[1]], "labels": [0], "fs": 8000, "metric": "°"}'.encode("latin-1"), "."),
    ("UTF-16", NEW.encode("utf-16"), "no recordings inside"),
    ("UTF-16 without mark", NEW.encode("utf-16-le"), "."),
    ("UTF-32", NEW.encode("utf-32"), "no recordings inside"),
    ("binary junk", LONG_JUNK, "no recordings inside"),
    ("zeros", bytes(5000), "no recordings inside"),
    ("WAV inside", b"RIFF" + bytes(60), "no recordings inside"),
    ("pickle", b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00]\x94.", "no recordings inside"),
    ("gzip without its ending", packed, "no recordings inside"),
    ("100000 brackets", "[" * 100_000, "."),
    ("100000 brackets, closed", "[" * 100_000 + "]" * 100_000, "row 0 needs to be of the form"),
    ("100000 objects", '{"a":' * 100_000 + "1" + "}" * 100_000, "."),
    ("a row of 100000 brackets", '{"waveforms": [' + "[" * 100_000 + "]" * 100_000 + "]}", "list inside the list"),
    ("labels of 100000 brackets", '{"waveforms": [[1]], "labels": ' + "[" * 100_000 + "]" * 100_000 + "}", "."),
    ("unterminated name of 8 MB", '{"' + "x" * (8 << 20), "."),
    ("unterminated label of 8 MB", '{"labels": ["' + "x" * (8 << 20), "the file ends in the middle"),
    ("unterminated row of 8 MB", '{"waveforms": [[' + "1," * (4 << 20), "the file ends in the middle of a row"),
    ("a member of 4 MB", '{"' + "x" * (4 << 20) + '": 1}', "waveforms is missing"),
):
    add(name, "broken.json", text, says)
for name, text in (
    ("UTF-8 with mark", b"\xef\xbb\xbf" + NEW.encode()),
    ("pretty", json.dumps(json.loads(NEW), indent=4).replace("\n", "\r\n")),
    ("escaped names", NEW.replace('"labels"', '"l\\u0061bels"')),
    ("rate null", NEW.replace("8000", "null")),
    ("100 remarks", NEW[:-1] + "".join(f', "note {k}": {{"a": [{k}]}}' for k in range(100)) + "}"),
    ("a remark 300 levels deep", NEW[:-1] + ', "note": ' + "[" * 300 + "]" * 300 + "}"),
    ("a remark 1500 levels deep", NEW[:-1] + ', "note": ' + "[" * 1500 + "]" * 1500 + "}"),
    ("a remark 100000 levels deep", NEW[:-1] + ', "note": ' + "[" * 100_000 + "]" * 100_000 + "}"),
    ("a remark of 1 MB", NEW[:-1] + ', "note": "' + "x" * (1 << 20) + '"}'),
    ("a remark of 40 digits", NEW[:-1] + ', "note": ' + "9" * 40 + "}"),
    (
        "remarks called like columns",
        NEW[:-1] + ', "key": "a", "source": 1, "n_samples": "many", "level_db": 3, "seconds": "x", "": null}',
    ),
    ("NUL in a remark", NEW[:-1] + ', "note\\u0000": "\\u0000"}'),
    ("zero minus zero", NEW.replace("0.25", "-0.0")),
    ("a denormal number", NEW.replace("0.25", "1e-320")),
):
    add(name, "fine.json", text, None, 2)
for name, text in (("two documents", NEW + NEW), ("JSON lines", NEW + "\n" + NEW), ("junk behind", NEW + "\0" * 100)):
    add(
        name,
        "behind.json",
        text,
        "something follows the end of the recordings \\(byte 8[23]\\); 2 rows could be read before",
        2,
    )


def bomb(head=b"", n_bytes=100 << 20):
    """100 MB of blanks in 100 kB."""
    packing = io.BytesIO()
    with gzip.GzipFile(fileobj=packing, mode="wb", mtime=0) as file:
        file.write(head)
        for _ in range(n_bytes >> 20):
            file.write(b" " * (1 << 20))
    return packing.getvalue()


add("gzip bomb", "bomb.json.gz", bomb, "unpacked it is larger than 64 MB, over 100 times its size")
add(
    "gzip bomb with a beginning",
    "bomb.json.gz",
    lambda: bomb(b'{"waveforms": [[1]], "labels": [0], "note": "'),
    "unpacked it is larger",
)
add("gz of nothing", "x.json.gz", gzip.compress(b"", mtime=0), "the file is empty")
add("gz of junk", "x.json.gz", gzip.compress(LONG_JUNK, mtime=0), "no recordings inside")
add("gz that is plain", "x.json.gz", NEW, "damaged or cut off")
add("gz of gz", "x.json.gz", gzip.compress(packed, mtime=0), "no recordings inside")
add("gz with a wrong checksum", "x.json.gz", packed[:-8] + bytes(4) + packed[-4:], "damaged or cut off")
add("gz with junk behind", "x.json.gz", packed + b"junk", "damaged or cut off")
add("no bytes, gz", "x.json.gz", b"", "the file is empty")
add(
    "two good ones in one gz", "x.json.gz", gzip.compress(NEW[:30].encode()) + gzip.compress(NEW[30:].encode()), None, 2
)

# --- sound files -----------------------------------------------------------------------------------------------------


def sound(kind="WAV", subtype="PCM_16", n_channels=1, n_samples=400):
    """Bytes of a sound file."""
    content = io.BytesIO()
    samples = np.random.default_rng(2).normal(0, 0.1, (n_samples, n_channels))
    soundfile.write(content, samples, RATE, subtype, format=kind)
    return content.getvalue()


def patched(content, at, pack_as, value):
    """`content` with another number at a byte."""
    patch = struct.pack(pack_as, value)
    return content[:at] + patch + content[at + len(patch) :]


WAV, FLOAT, FLAC, OGG = sound(), sound(subtype="FLOAT"), sound("FLAC"), sound("OGG", "VORBIS")
SOUNDS = {"wav": WAV, "flac": FLAC, "ogg": OGG}
DATA = WAV.index(b"data")
for suffix, content in SOUNDS.items():
    for name, damaged in (
        ("no bytes", b""),
        ("one byte", content[:1]),
        ("header only", content[:44]),
        ("a third", content[: len(content) // 3]),
        ("all but a byte", content[:-1]),
        ("junk", LONG_JUNK),
        ("zeros", bytes(4000)),
        ("header and junk", content[:40] + LONG_JUNK),
        ("header and zeros", content[: len(content) // 2] + bytes(len(content) - len(content) // 2)),
        ("text", b"see folder 2\n"),
        ("JSON", NEW.encode()),
    ):
        if (suffix, name) in (("wav", "header and zeros"), ("wav", "header and junk")):
            continue  # any bytes are samples in there
        add(f"{suffix}: {name}", f"OK/broken.{suffix}", damaged, "cut off|cannot be decoded|the file is empty")
    add(f"{suffix} behind 10 bytes", f"OK/broken.{suffix}", b"\0" * 10 + content, "cannot be decoded|cut off")
for name, damaged, says in (
    ("rate 0", patched(WAV, 24, "<I", 0), "rate|decoded"),
    ("rate 4 GHz", patched(WAV, 24, "<I", 0xFFFFFFFF), "rate|decoded"),
    ("rate 20 MHz", patched(WAV, 24, "<I", 20_000_000), "sample rate in the header needs"),
    ("0 channels", patched(WAV, 22, "<H", 0), "decoded"),
    ("65535 channels", patched(WAV, 22, "<H", 65535), "decoded|cut off"),
    ("1025 channels", patched(WAV, 22, "<H", 1025), "decoded|no samples|cut off"),
    ("0 bits", patched(WAV, 34, "<H", 0), "decoded|no samples"),
    ("99 bits", patched(WAV, 34, "<H", 99), "decoded|no samples"),
    ("unknown format", patched(WAV, 20, "<H", 0x4242), "decoded"),
    ("RIFF size of 4 GB", patched(WAV, 4, "<I", 0xFFFFFF00), "the file is cut off"),
    ("data size of 2 GB", patched(patched(WAV, 4, "<I", 0), DATA + 4, "<I", 1 << 31), "the file is cut off"),
    ("data size one more", patched(patched(WAV, 4, "<I", 0), DATA + 4, "<I", 801), "the file is cut off"),
    ("chunk of 2 GB before the samples", WAV[:36] + b"LIST" + struct.pack("<I", 1 << 31) + WAV[36:], "."),
    ("no samples", sound(n_samples=0), "no samples"),
    ("no fmt chunk", WAV[:12] + WAV[36:], "."),
    ("no data chunk", WAV[:36], "."),
    ("fmt chunk of 4 bytes", patched(WAV, 16, "<I", 4), "."),
    (
        "float: NaN",
        patched(FLOAT, FLOAT.index(b"data") + 8 + 4 * 7, "<f", np.nan),
        "sample 7 is nan: cut this part out",
    ),
    ("float: Inf", patched(FLOAT, FLOAT.index(b"data") + 8 + 4 * 399, "<f", np.inf), "sample 399 is inf"),
    ("float: -Inf", patched(FLOAT, FLOAT.index(b"data") + 8, "<f", -np.inf), "sample 0 is -inf"),
    ("float: 1e30", patched(FLOAT, FLOAT.index(b"data") + 8, "<f", 1e30), "sample 0 is larger than 1e\\+15"),
    (
        "double: 1e300",
        patched(sound(subtype="DOUBLE"), -8 % len(sound(subtype="DOUBLE")), "<d", 1e300),
        "sample 399 is inf",
    ),
):
    add(f"wav: {name}", "NG/broken.wav", damaged, says)
nan_in_stereo = sound(subtype="FLOAT", n_channels=2)
add(
    "wav: NaN in channel 1",
    "broken.wav",
    patched(nan_in_stereo, len(nan_in_stereo) - 4, "<f", np.nan),
    "sample 399 of channel 1 is nan",
)
add("flac: rate 0", "broken.flac", FLAC[:18] + b"\0\0\x02" + FLAC[21:], "decoded|rate")
add("flac: more samples than there are", "broken.flac", patched(FLAC, 22, ">I", 100_000), "cut off|decoded")
add("flac: frames damaged", "broken.flac", FLAC[:-300] + bytes(200) + FLAC[-100:], "cut off|decoded")
add(
    "flac: a bit of a sample turned",
    "broken.flac",
    patched(FLAC, len(FLAC) - 200, "B", FLAC[-200] ^ 1),
    "cut off|decoded|damaged",
)
add(
    "ogg: a page lost",
    "broken.ogg",
    OGG[: OGG.index(b"OggS", 40)] + OGG[OGG.rindex(b"OggS") :],
    "cut off|decoded|samples",
)
add("ogg: last page without its mark", "broken.ogg", patched(OGG, OGG.rindex(b"OggS") + 5, "B", 0), "cut off")
for name, content in (
    ("WAV called flac", "x.flac"),
    ("WAV called ogg", "x.ogg"),
    ("WAV called WAV", "x.WAV"),
):
    add(name, content, WAV, None, 1)
add("FLAC called wav", "x.wav", FLAC, None, 1)
add("OGG called wav", "x.wav", OGG, None, 1)
add("a third of OGG called wav", "x.wav", OGG[: len(OGG) // 3], "cut off")
add("MP3 frames called wav", "x.wav", b"\xff\xfb\x90\x00" + bytes(413), "cannot be decoded|cut off|no samples")
add("wav of unknown length", "x.wav", patched(patched(WAV, 4, "<I", 0xFFFFFFFF), DATA + 4, "<I", 0xFFFFFFFF), None, 1)
add("wav with chunks behind", "x.wav", WAV + b"LIST\x04\0\0\0INFO", None, 1)
add("wav with junk behind", "x.wav", WAV + LONG_JUNK[:1001], None, 1)
add("wav of 1 sample", "x.wav", sound(n_samples=1), None, 1)
add("wav of 100 channels", "x.wav", sound(n_channels=100), None, 1)
add("wav at 1 Hz", "x.wav", patched(WAV, 24, "<I", 1), None, 1)

# --- MAT -------------------------------------------------------------------------------------------------------------


def mat(variables, **options):
    content = io.BytesIO()
    savemat(content, variables, **options)
    return content.getvalue()


def mat_bomb(n_mebibytes):
    """One variable x of that many MiB of zeros, which nobody holds in memory to write them."""
    n = n_mebibytes << 17
    head = struct.pack("<8I", 6, 8, 6, 0, 5, 8, 1, n) + struct.pack("<2H4s2I", 1, 1, b"x", 9, 8 * n)
    packer = zlib.compressobj()
    packed = packer.compress(struct.pack("<2I", 14, len(head) + 8 * n) + head)
    packed += b"".join(packer.compress(bytes(1 << 20)) for _ in range(n_mebibytes)) + packer.flush()
    return mat({}) + struct.pack("<2I", 15, len(packed)) + packed


def mat73(fill):
    """Bytes of a file of version 7.3 as MATLAB writes it."""
    content = io.BytesIO()
    with h5py.File(content, "w", userblock_size=512) as file:
        fill(file)
    return b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM" + content.getvalue()[128:]


SIGNAL = np.random.default_rng(3).normal(0, 0.1, 300)
MAT = {
    "v4": mat({"x": SIGNAL}, format="4"),
    "v5": mat({"x": SIGNAL}),
    "v7": mat({"x": SIGNAL}, do_compression=True),
    "v7.3": mat73(lambda file: file.create_dataset("x", data=SIGNAL[:, None], chunks=(50, 1), compression="gzip")),
}
for version, content in MAT.items():
    add(f"mat {version}: whole", "x.mat", content, None, 1)
    for name, damaged in (
        ("a byte", content[:1]),
        ("128 bytes", content[:128]),
        ("half", content[: len(content) // 2]),
        ("all but a byte", content[:-1]),
        ("half and zeros", content[: len(content) // 2] + bytes(len(content) - len(content) // 2)),
        ("half and junk", content[: len(content) // 2] + LONG_JUNK[: len(content) - len(content) // 2]),
    ):
        if (version, name) in (("v4", "half and zeros"), ("v5", "half and zeros"), ("v4", "half and junk")):
            continue  # any bytes are samples in there
        add(
            f"mat {version}: {name}",
            "broken.mat",
            damaged,
            "damaged|cut off|no MAT file|no variable|no samples|sample|larger",
        )
for name, content, says in (
    ("no bytes", b"", "the file is empty"),
    ("text", b"x = [1 2 3]", "no MAT file"),
    ("junk", LONG_JUNK, "no MAT file|damaged"),
    ("zeros", bytes(4000), "no MAT file|damaged"),
    ("WAV", WAV, "no MAT file"),
    (
        "HDF5 of another program",
        mat73(lambda file: file.create_dataset("x", data=SIGNAL))[512:],
        "none that MATLAB wrote",
    ),
    ("no variables", mat({}), "found nothing|no variable"),
    ("nothing long enough", mat({"rpm": 1797.0}), "no variable holds a recording.*found rpm"),
    ("two recordings", mat({"a": SIGNAL, "b": SIGNAL}), "2 variables can be the recording"),
    ("text variable", mat({"x": "bearing" * 20}), "no variable holds a recording"),
    ("complex", mat({"x": SIGNAL + 1j}), "no variable holds a recording"),
    ("struct of text", mat({"x": {"a": "b"}}), "no variable holds a recording"),
    ("many channels", mat({"x": np.zeros((300, 100))}), "no variable holds a recording"),
    ("NaN", mat({"x": np.where(np.arange(300) == 77, np.nan, SIGNAL)}), "sample 77 is nan"),
    ("Inf", mat({"x": np.where(np.arange(300) == 77, np.inf, SIGNAL)}), "sample 77 is inf"),
    ("large", mat({"x": SIGNAL * 1e20}), "larger than"),
    ("empty", mat({"x": np.zeros((0, 0))}), "no variable holds a recording"),
    (
        "a chunk left out",
        mat73(lambda file: file.create_dataset("x", (300, 1), chunks=(50, 1), dtype="f8")),
        "does not hold what it promises",
    ),
    (
        "a link elsewhere",
        mat73(lambda file: file.__setitem__("x", h5py.ExternalLink("/etc/passwd", "/x"))),
        "link to another place",
    ),
    (
        "itself inside",
        mat73(lambda file: file.create_group("x").__setitem__("x", file["x"])),
        "no variable holds|object",
    ),
    (
        "100 Gsamples, 7.3",
        mat73(lambda file: file.create_dataset("x", (10**11, 1), chunks=(1000, 1), compression="gzip", dtype="f8")),
        ".",
    ),
    ("negative size, v4", patched(MAT["v4"], 4, "<i", -1), "no MAT file|damaged"),
    ("size of 2 GB, v4", patched(MAT["v4"], 8, "<i", 2**31 - 1), "cut off"),
    ("rate 0", mat({"x": SIGNAL, "fs": 0}), "fs needs to be a whole number"),
    ("rate text", mat({"x": SIGNAL, "fs": np.nan}), "fs needs to be a whole number"),
):
    add(f"mat: {name}", "broken.mat", content, says)
add(
    "mat: bomb",
    "bomb.mat",
    lambda: mat_bomb(70),
    "unpacked it is larger than 64 MB, over 100 times its size",
)
add("mat: another variable is asked for", "x.mat", MAT["v5"], "no variable is called y; found x", variable="y")

# --- columns of numbers ----------------------------------------------------------------------------------------------

for name, text, says in (
    ("no bytes", "", "the file is empty"),
    ("ragged", "1,2\n3,4\n5\n", "line 3 has 1 columns, the first has 2"),
    ("one column more", "1,2\n3,4,5\n", "line 2 has 3 columns"),
    ("text in a cell", "1,2\n3,four\n", "line 2, column 2 is 'four'"),
    ("empty cell", "1,2\n3,\n", "line 2, column 2 is empty"),
    ("NaN", "1,2\n3,NaN\n", "line 2, column 2 is NaN"),
    ("Inf", "1,2\n3,-inf\n", "line 2, column 2 is -inf"),
    ("1e400", "1,2\n3,1e400\n", "line 2, column 2 is 1e400"),
    ("blank line", "1,2\n\n3,4\n", "line 2 is blank"),
    ("1000 columns", "\n".join([",".join(["0.5"] * 1000)] * 5), "line 1 has 1000 columns"),
    ("hex", "1,2\n0x10,4\n", "line 2, column 1 is '0x10'"),
    ("other minus", "1,2\n−3,4\n", "line 2, column 1 is '−3'"),
    ("thousands", "1;2\n1.234,5;3\n", "line 2, column 1 is"),
    ("another separator later", "1,2\n3;4\n", "line 2"),
    ("UTF-16", "1,2\n3,4\n".encode("utf-16"), "no table of text"),
    ("binary", b"\0\1\2" + LONG_JUNK, "no table of text"),
    ("zeros", bytes(5000), "no table of text"),
    ("text, then junk", b"1,2\n3,4\n" + LONG_JUNK, "no text in UTF-8|line 3"),
    ("a line of 1 MB", "1," * (1 << 19), "no table of text"),
    ("a second line of 1 MB", "1,2\n" + "1," * (1 << 19), "line 2"),
    ("quotes", '1,2\n"3","4"\n', "line 2, column 1"),
    ("NUL", b"1,2\n3,\0\n", "line 2, column 2"),
):
    add(f"csv: {name}", "OK/broken.csv", text, says, sample_rate=200)
for name, text in (
    ("one number", "1"),
    ("one line", "1,2,3"),
    ("marked", "\ufeff1,2\n3,4"),
    ("old Mac", "1,2\r3,4\r"),
    ("blanks behind", "1,2\n3,4\n\n\n"),
    ("header", "x,y\n1,2\n3,4\n"),
):
    add(f"csv: {name}", "OK/fine.csv", text, None, 1, sample_rate=200)
add("csv: some other table", "table.csv", "name,remark\npump,loud\nfan,broken\n", None)

# --- manifests -------------------------------------------------------------------------------------------------------


def add_manifest(name, lines, says, remains=0, header="path,label,start_s,end_s,channel,sample_rate"):
    """A manifest that speaks of `extra.wav`: 400 samples of two channels, 50 ms."""

    def write_both(folder):
        (folder / "extra.wav").write_bytes(sound(n_channels=2))
        (folder / "list.csv").write_bytes((header + "\n" + lines).encode() if isinstance(lines, str) else lines)

    about_it = says is not None and re.match("manifest|label", says)
    CASES.append(Case(f"manifest: {name}", "extra.wav" if about_it else "list.csv", write_both, says, remains))


for name, lines, says, remains in (
    ("a file that is not there", "gone.wav,OK\nextra.wav,OK\n", "line 2: gone.wav does not exist", 1),
    (
        "a path of another computer",
        "/data/nowhere/a.wav,OK\nextra.wav,OK\n",
        "line 2: /data/nowhere/a.wav does not exist",
        1,
    ),
    ("a drive of Windows", "C:\\sounds\\a.wav,OK\nextra.wav,OK\n", "line 2: C:/sounds/a.wav does not exist", 1),
    (
        "out of the folder",
        "../../../nowhere/a.wav,OK\nextra.wav,OK\n",
        "line 2: ../../../nowhere/a.wav does not exist",
        1,
    ),
    ("a NUL in a path", "a\0.wav,OK\nextra.wav,OK\n", "line 2|cannot be read", 1),
    ("a path of 5000 characters", "x" * 5000 + ".wav,OK\nextra.wav,OK\n", "line 2", 1),
    ("no path", ",OK\nextra.wav,OK\n", "line 2: the path is empty", 1),
    ("end before start", "extra.wav,OK,0.04,0.01\n", "line 2: end_s 0.01 needs to be over start_s 0.04", 1),
    ("end at start", "extra.wav,OK,0.01,0.01\n", "line 2: end_s", 1),
    ("negative start", "extra.wav,OK,-1,\n", "line 2: start_s needs to be a time", 1),
    ("start as text", "extra.wav,OK,soon,\n", "line 2: start_s needs to be a number", 1),
    ("start NaN", "extra.wav,OK,nan,\n", "line 2: start_s needs", 1),
    ("end infinite", "extra.wav,OK,,inf\n", "line 2: end_s needs", 1),
    ("end 1e400", "extra.wav,OK,,1e400\n", "line 2: end_s needs", 1),
    ("end behind the end", "extra.wav,OK,0,1\n", "manifest list.csv, line 2: the recording ends at 0.05 s", 0),
    ("start behind the end", "extra.wav,OK,1,\n", "manifest list.csv, line 2: the recording ends at 0.05 s", 0),
    ("nothing between", "extra.wav,OK,0.01,0.01000001\n", "manifest list.csv, line 2", 0),
    ("a channel that is not there", "extra.wav,OK,,,2\n", "manifest list.csv, line 2: the recording has channels 0 to 1", 0),
    ("channel of another name", "extra.wav,OK,,,left\n", "manifest list.csv, line 2: channel left is none of the recording", 0),
    ("channel negative", "extra.wav,OK,,,-1\n", "line 2: channel needs to be a number", 1),
    ("rate 0", "extra.wav,OK,,,,0\n", "line 2: sample_rate needs to be a whole number", 1),
    ("rate negative", "extra.wav,OK,,,,-8000\n", "line 2: sample_rate needs", 1),
    ("rate as text", "extra.wav,OK,,,,8 kHz\n", "line 2: sample_rate needs to be a number", 1),
    ("rate 1e300", "extra.wav,OK,,,,1e300\n", "line 2: sample_rate needs", 1),
    ("rate inf", "extra.wav,OK,,,,inf\n", "line 2: sample_rate needs", 1),
    ("rate nan", "extra.wav,OK,,,,nan\n", "line 2: sample_rate needs", 1),
    ("a cell too many", "extra.wav,OK,,,,,x\n", "line 2: 7 cells, the header has 6", 1),
    ("unknown label", "extra.wav,bearing\n", "label 'bearing' is not one of", 0),
    ("doubled line", "extra.wav,OK\nextra.wav,NG\n", "manifest list.csv, line 3: an earlier line names the same recording", 1),
    ("an open quote", 'extra.wav,"OK\n', "the manifest cannot be read", 1),
    ("no lines", "", "names no recordings", 1),
    ("only empty lines", ",,,\n\n,,\n", "names no recordings", 1),
    ("junk in a line", b"path,label\nextra.wav,OK\n\xff\xfe\x81\n", "no text in UTF-8 or Shift-JIS", 1),
    ("itself", "list.csv,OK\nextra.wav,OK\n", ".", 1),
    ("a file that is no recording", "/etc/passwd,OK\nextra.wav,OK\n", "line 2: /etc/passwd", 1),
    ("short lines", "extra.wav\n", None, 1),
    ("two parts", "extra.wav,OK,0,0.02\nextra.wav,NG,0.02,\n", None, 2),
):
    add_manifest(name, lines, says, remains)
add_manifest("two columns path", "extra.wav,extra.wav\n", "two columns path", 1, header="path,path")
add_manifest("Path", "extra.wav,OK\n", "no column path; found Path", 1, header="Path,label")
add_manifest("separated by semicolons", "extra.wav;OK\n", None, 1, header="path;label")

# --- the file system -------------------------------------------------------------------------------------------------


def add_place(name, file, write, says, remains=0):
    CASES.append(Case(f"place: {name}", file, write, says, remains))


def pipe(folder):
    os.mkfifo(folder / "pipe.wav")


def unreadable(folder):
    (folder / "closed.wav").write_bytes(WAV)
    (folder / "closed.wav").chmod(0)


def folder_called_wav(folder):
    (folder / "x.wav/y.json").mkdir(parents=True)
    (folder / "x.wav/y.json/z.wav").write_bytes(WAV)


add_place("broken link", "link.wav", lambda folder: (folder / "link.wav").symlink_to("nowhere.wav"), "No such file")
add_place("link to itself", "link.wav", lambda folder: (folder / "link.wav").symlink_to("link.wav"), "symbolic link")


def linked_folder(folder):
    elsewhere = folder.parents[1] / f"elsewhere {folder.parent.name} {folder.name}"
    elsewhere.mkdir()
    (elsewhere / "x.wav").write_bytes(WAV)
    (folder / "day").symlink_to(elsewhere)


add_place("linked folder", "day/x.wav", linked_folder, None, 1)
add_place(
    "link to a linked folder",
    "more/x.wav",
    lambda folder: (linked_folder(folder), (folder / "more").symlink_to("day")),
    None,
    1,
)
add_place("link to the folder above", "up", lambda folder: (folder / "up").symlink_to(".."), None)
add_place("link to a device", "zero.wav", lambda folder: (folder / "zero.wav").symlink_to("/dev/zero"), None)
add_place("link to a device, CSV", "zero.csv", lambda folder: (folder / "zero.csv").symlink_to("/dev/urandom"), None)
add_place("pipe", "pipe.wav", pipe, None)
add_place("link to a pipe", "x.json", lambda folder: (pipe(folder), (folder / "x.json").symlink_to("pipe.wav")), None)
add_place("no permission", "closed.wav", unreadable, "Permission denied")
add_place("folder called x.wav", "x.wav/y.json/z.wav", folder_called_wav, None, 1)
add_place("empty folder", "empty", lambda folder: (folder / "empty").mkdir(), None)
add_place("hidden file", ".x.wav", lambda folder: (folder / ".x.wav").write_bytes(b"junk"), None)
for name in (
    "a b  c.wav",
    "軸受 1号機.wav",
    "🔧.wav",
    "line\nbreak.wav",
    "x" * 200 + ".wav",
    "tab\t'\"quote.wav",
    "50%#1@2.wav",
    "-rf.wav",
    "back\\slash.wav",
    "a.b.c.wav",
):
    add(f"a file called {name[:20]!r}", f"NG/{name}", WAV, None, 1)
    add(f"a broken file called {name[:20]!r}", f"NG/{name}", WAV[:-1], "cut off")
    shown = name.replace("\n", "\\n").replace("\t", "\\t")  # as it may be printed
    CASES[-1] = replace(CASES[-1], file=f"NG/{shown}")
not_utf8 = os.fsdecode(b"NG/caf\xe9.wav")
CASES.append(
    Case(
        "a file whose name is not UTF-8",
        "NG/caf\ufffd.wav",
        lambda folder: write(folder, not_utf8, WAV),
        "not in UTF-8: rename it",
    )
)
