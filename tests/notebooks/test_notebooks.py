"""Every notebook runs from top to bottom, as `nbdev_test` runs it: what it shows holds, and what it refuses is refused."""

import os

import pytest
from support.notebooks import all_notebooks, name, run_notebook

FLAGS = os.environ.get("SOUNDDETECT_FLAGS", "").split()  # `make nightly` runs cells marked as slow, too

# Households whose notebooks train and evaluate: their pictures are drawn by night, since drawing takes a third of their time.
# What each picture shows is seen where it is made, in the notebooks of plotting and evaluation.
BLIND = ("07_training/", "10_jobs/", "11a_cli/", "11b_workbench/", "11d_service/", "tutorials/")
LOOKS = {f"11b_workbench/{panel}" for panel in ("06b_explore_panel", "09b_mixtures")} | {"11a_cli/01_data_commands"}  # they compare pictures


@pytest.mark.parametrize("path", all_notebooks(), ids=name)
def test_notebook_runs(path):
    draws = "slow" in FLAGS or not name(path).startswith(BLIND) or name(path) in LOOKS
    failed = run_notebook(path, FLAGS, draws)
    assert failed is None, failed
