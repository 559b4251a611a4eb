"""Sets of DCASE Task 2 are read as their names say: what is for training trains, what is for the test judges."""

import shutil

import pytest

import sounddetect as sd
from sounddetect.data.collection.splitting import split_good


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("made")
    for form in ("dcase", "dcase2020"):
        sd.simulate(root / form, 80, form=form, sample_rate=16000, duration=0.1)
    return root


def load(path, made):
    return sd.load_recordings(path, cache_dir=made / ".cache")


@pytest.mark.parametrize("form", ["dcase", "dcase2020"])
def test_simulated_sets_have_what_the_real_ones_have(made, form):
    table = load(made / form, made).table
    assert sorted(table["machine_type"].unique()) == ["fan", "pump"]
    unit = "section" if form == "dcase" else "machine_id"
    assert table.groupby("machine_type")[unit].nunique().tolist() == [2, 2]
    assert table.loc[table["subset"] == "train", "label"].unique().tolist() == ["OK"]
    assert table.loc[table["subset"] == "test"].groupby(["machine_type", unit])["label"].nunique().eq(2).all()
    assert ("domain" in table) == (form == "dcase")
    if form == "dcase":
        assert sorted(table["domain"].unique()) == ["source", "target"]
        assert table["condition"].nunique() == 8


@pytest.mark.parametrize("form", ["dcase", "dcase2020"])
def test_training_keeps_to_the_parts_that_the_names_say(made, form):
    """`task: auto` learns what is normal, from training recordings alone, and judges by all of the test part."""
    recordings = load(made / form / "fan", made)
    config = sd.Config.load().resolve(recordings)
    assert config.task == "anomaly"
    table = recordings.table
    split = split_good(recordings, table["label"].eq("OK").to_numpy())
    assert set(split.train.table["subset"]) == set(split.validation.table["subset"]) == {"train"}
    assert sorted(split.test.table["key"]) == sorted(table.loc[table["subset"] == "test", "key"])
    n_train = (table["subset"] == "train").sum()
    assert len(split.train) + len(split.validation) == n_train and 0.1 < len(split.validation) / n_train < 0.3


def test_good_training_folder_alone_is_divided(made):
    """Nothing is said of a test where only the training folder was given."""
    recordings = load(made / "dcase/fan/train", made)
    split = split_good(recordings, recordings.table["label"].eq("OK").to_numpy())
    assert all(len(part) for part in split) and sum(map(len, split)) == len(recordings)


def test_two_classes_to_train_on_are_still_told_apart(made):
    """Names that say nothing of the parts leave `task: auto` as it was."""
    recordings = load(made / "dcase/fan/test", made)
    assert sd.Config.load().resolve(recordings).task == "classify"


def test_evaluation_and_supplemental_recordings_are_neither_learnt_nor_mistaken(made, tmp_path):
    """An evaluation set has no labels, and additional training data lies beside it."""
    fan = tmp_path / "eval_data/fan"
    shutil.copytree(made / "dcase/fan/train", fan / "train")
    for folder, name in (("test", "section_00_{:04d}.wav"), ("supplemental", "section_00_noise_{:04d}_.wav")):
        (fan / folder).mkdir()
        for i, file in enumerate(sorted((made / "dcase/fan/test").glob("*normal*"))):
            shutil.copy(file, fan / folder / name.format(i))
    recordings = load(tmp_path / "eval_data", made)
    table = recordings.table
    assert table.loc[table["subset"] != "train", "label"].isna().all()
    assert sd.Config.load().resolve(recordings).task == "anomaly"
    split = split_good(recordings, table["label"].eq("OK").to_numpy())
    assert set(split.test.table["subset"]) == {"test"}
    assert not any("supplemental" in key for part in split for key in part.table["key"])
