"""Whatever lies among the recordings: the good ones arrive whole, and the message names what is not."""

import json
import os
import pickle
import re
import resource
import signal
import traceback
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from support.damage import CASES, good_samples, write_good

from sounddetect.data.collection.loading import load_recordings
from sounddetect.data.inspection.checking import check_recordings

SECONDS = 20  # a guard against hanging: the slowest case takes less than one
MEGABYTES = 200  # more than before
LONGEST = 400  # characters of a message
GOOD = ["OK/good.wav", "good.json#0", "good.json#1"]
UGLY = re.compile(r"Traceback|[Ee]rrno|<[\w.]+ object|<class|0x[0-9a-f]{8}|\bNone\b|np\.\w+\(|Error\(|^\s*$|\n")


def opened(folder, cache, **options):
    """What comes of a folder, as plain values."""
    recordings = load_recordings(folder, cache_dir=cache, **options)
    table = recordings.table
    return {
        "problems": [(problem["key"], problem["problem"]) for problem in recordings.problems],
        "good": [recordings.read(table.index[table["key"] == key][0]) for key in GOOD if key in set(table["key"])],
        "rows": table.loc[~table["key"].isin(GOOD), ["key", "source", "label"]].values.tolist(),
        "finite": all(np.isfinite(recordings.read(i)).all() for i in range(len(recordings))),
    }


def look(folder, cache, options):
    """Everything that is asked of a case."""
    said = {"refused": None}
    try:
        said |= opened(folder, cache, **options)
    except (ValueError, OSError) as error:
        said["refused"] = type(error).__name__, str(error)
        said |= opened(folder, cache, unknown_labels="skip", **options)
    report = check_recordings(folder, cache_dir=cache, **options)
    said["findings"] = [(finding.severity, finding.key, finding.keys, finding.problem) for finding in report.findings]
    said["report"] = json.dumps(report.to_dict(), allow_nan=False)
    said["printed"] = str(report)
    said["left"] = [path.name for path in Path(cache).rglob("*.tmp")]
    return said


def megabytes():
    return (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    )  # of Linux; elsewhere the unit is smaller, and this no bound


def look_at_each(cases, folder, pipe):
    """Runs in a copy of this process, which may hang or die: what was found of each case is sent at once."""
    os.fsync = lambda descriptor: None  # it is not the disk that is tested, and it is slow
    warnings.simplefilter("ignore")
    look(*prepared(CASES[0], folder / "before"))  # what is imported and built at the first time counts for no case
    before = megabytes()
    for number, case in enumerate(cases):
        signal.alarm(SECONDS)  # without a handler: the process ends
        try:
            answer = look(*prepared(case, folder / str(number)))
        except Exception:
            answer = {"crash": traceback.format_exc()}
        answer["megabytes"] = megabytes() - before
        pickle.dump(answer, pipe)
        pipe.flush()
        if answer["megabytes"] > MEGABYTES:
            return  # the peak of a process does not fall again


def prepared(case, folder):
    (data := folder / "data").mkdir(parents=True)
    write_good(data)
    case.write(data)
    return data, folder / "cache", case.options


def answers(cases, folder):
    """Answer of `look_at_each` to some of `cases`, from the first on: until the process is done, or ended."""
    end, begin = os.pipe()
    child = os.fork()
    if not child:
        os.close(end)
        try:
            with open(begin, "wb") as pipe:
                look_at_each(cases, folder, pipe)
        finally:
            os._exit(0)
    os.close(begin)
    found = []
    with open(end, "rb") as pipe:
        while len(found) < len(cases):
            try:
                found.append(pickle.load(pipe))
            except EOFError:
                break
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status:
        found.append(
            {"crash": f"it hangs: not done after {SECONDS} s" if status == -signal.SIGALRM else f"ended by {-status}"}
        )
    return found


def name_of(case):
    return case.name.encode("ascii", "backslashreplace").decode()


@pytest.fixture(scope="module")
def outcomes(request, tmp_path_factory):
    """{name of a case: what came of it}, for those that were asked for."""
    cases = [item.callspec.params["case"] for item in request.session.items if item.name.startswith("test_damage[")]
    found = []
    while len(found) < len(cases):
        found += answers(cases[len(found) :], tmp_path_factory.mktemp("cases"))
    return {case.name: said for case, said in zip(cases, found, strict=True)}


def source_of(key):
    return re.sub(r"[#@]\w[\w-]*$", "", key)


def is_readable(path):
    try:
        path.open("rb").close()
        return True
    except OSError:
        return False


def test_corpus_is_large():
    assert len(CASES) > 500 and not [name for name, count in Counter(case.name for case in CASES).items() if count > 1]
    assert len({case.says for case in CASES}) > 100


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_damage(case, outcomes, tmp_path):
    said = outcomes[case.name]
    assert "crash" not in said, said["crash"]
    if case.name == "place: no permission":
        case.write(tmp_path)
        if is_readable(tmp_path / case.file):
            pytest.skip("this user may read everything")
    rows, sound = good_samples()
    assert len(said["good"]) == 3 and said["finite"]
    for samples, wanted in zip(said["good"], (sound.T, rows[:1], rows[1:]), strict=True):
        np.testing.assert_array_equal(samples, wanted)
    assert len(said["rows"]) == case.remains

    about_it = [text for key, text in said["problems"] if source_of(key) == case.file]
    assert len(about_it) == len(said["problems"]), "a problem of another file"
    if case.says is None:
        assert not about_it and not said["refused"]
    else:
        assert any(re.search(case.says, text) for text in about_it), about_it
        findings = [
            finding
            for finding in said["findings"]
            if finding[0] == "error" and case.file in map(source_of, (finding[1], *finding[2]))
        ]
        assert findings, "the check does not name it"
    if said["refused"]:
        assert (
            said["refused"][0] == "ValueError" and case.file in said["refused"][1] and len(said["refused"][1]) < LONGEST
        )
    for text in [*about_it, *(finding[3] for finding in said["findings"])]:
        assert text.strip() and len(text) <= LONGEST and not UGLY.search(text), text

    assert json.loads(said["report"])["ok"] == (not any(finding[0] == "error" for finding in said["findings"]))
    assert said["printed"].startswith(f"{3 + case.remains} recordings in ")
    assert said["megabytes"] < MEGABYTES and not said["left"]


def test_all_damage_at_once(tmp_path):
    """One folder with everything in it: every damaged file is named, every good one is there."""
    cases = [case for case in CASES if not case.options and "permission" not in case.name]
    for number, case in enumerate(cases):
        (folder := tmp_path / "data" / f"{number:03d}").mkdir(parents=True)
        case.write(folder)
    write_good(tmp_path / "data/good")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        recordings = load_recordings(tmp_path / "data", cache_dir=tmp_path / "cache", unknown_labels="skip")
    assert len(recordings) == 3 + sum(case.remains for case in cases)
    assert {source_of(problem["key"]) for problem in recordings.problems} == {
        f"{number:03d}/{case.file}" for number, case in enumerate(cases) if case.says is not None
    }
    rows, sound = good_samples()
    where = {key: i for i, key in enumerate(recordings.table["key"])}
    np.testing.assert_array_equal(recordings.read(where["good/OK/good.wav"]), sound.T)
    np.testing.assert_array_equal(recordings.read(where["good/good.json#1"]), rows[1:])
    assert not list((tmp_path / "cache").rglob("*.tmp"))
